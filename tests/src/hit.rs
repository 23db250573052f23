//! GA4 hits as a browser sends them.

use std::net::SocketAddr;

use crate::http;

/// The measurement id of the examples.
pub const MEASUREMENT_ID: &str = "G-TEST1";

/// The target (path and query) of a GET hit with the usual parameters of a browser and the given ones behind them, which
/// must be encoded already.
#[must_use]
pub fn target(event: &str, event_id: &str, parameters: &str) -> String {
    let separator = if parameters.is_empty() { "" } else { "&" };
    format!(
        "/g/collect?v=2&tid={MEASUREMENT_ID}&gtm=45je61d1v9100000001za200&_p=1768476420055&cid=1506821430.1730448757\
         &ul=en-us&sr=2560x1440&_s=1&sid=1768475378&sct=5&seg=1&dl=https%3A%2F%2Fwww.shop.example%2Fbowls\
         &dt=Bowls&en={event}&ep.event_id={event_id}&_et=1200{separator}{parameters}"
    )
}

/// Sends one GET hit and returns the status.
///
/// # Panics
/// When the gateway does not answer.
#[must_use]
pub fn send(gateway: SocketAddr, event: &str, event_id: &str, parameters: &str) -> u16 {
    let headers = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0")];
    let answer = http::request(gateway, "GET", &target(event, event_id, parameters), &headers, b"");
    answer
        .unwrap_or_else(|error| panic!("the gateway at {gateway} did not answer: {error}"))
        .status
}
