//! The shop of the demo and of the browser test: a page whose buttons send GA4 hits, and the list of what arrived at the
//! destinations. The page is in `tests/page`; its client libraries come from npm (`tests/browser`).

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::{http, process, pubsub::Message, sink::Received};

/// A destination to look at.
#[derive(Clone, Debug)]
pub enum Watched {
    /// A sink that a webhook Destination sends to.
    Webhook(SocketAddr),
    /// A sink that a GA4 Destination sends to by the Measurement Protocol.
    Analytics(SocketAddr),
    /// A topic of a Pub/Sub server, by the address of its HTTP side.
    Topic(SocketAddr),
}

/// An event at a destination.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Delivery {
    /// The Destination's name.
    pub destination: String,
    /// The event's name.
    pub event_name: String,
    /// The event's id.
    pub event_id: String,
    /// What is worth a look.
    pub detail: String,
}

/// Everything that arrived at the destinations, one destination after the other, each in order.
#[must_use]
pub fn deliveries(watched: &[(String, Watched)]) -> Vec<Delivery> {
    watched
        .iter()
        .flat_map(|(name, source)| arrived(name, source))
        .collect()
}

fn arrived(name: &str, source: &Watched) -> Vec<Delivery> {
    match source {
        Watched::Webhook(address) => {
            let requests: Vec<Received> = fetch(*address, "/_sink/requests");
            requests
                .iter()
                .flat_map(Received::events)
                .map(|event| event_delivery(name, &event, &[]))
                .collect()
        }
        Watched::Analytics(address) => {
            let requests: Vec<Received> = fetch(*address, "/_sink/requests");
            requests
                .iter()
                .flat_map(|request| analytics_deliveries(name, request))
                .collect()
        }
        Watched::Topic(address) => {
            let messages: Vec<Message> = fetch(*address, &format!("/messages?topic={name}"));
            messages
                .iter()
                .map(|message| {
                    let own = message
                        .attributes
                        .iter()
                        .flatten()
                        .filter(|(key, _)| !key.starts_with("event_"));
                    let attributes: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
                    event_delivery(name, &message.data, &attributes)
                })
                .collect()
        }
    }
}

/// What a program says over HTTP; nothing, while it is away.
fn fetch<T: serde::de::DeserializeOwned>(address: SocketAddr, target: &str) -> Vec<T> {
    http::get(address, target)
        .ok()
        .and_then(|answer| serde_json::from_slice(&answer.body).ok())
        .unwrap_or_default()
}

fn event_delivery(destination: &str, event: &Value, attributes: &[String]) -> Delivery {
    let fields = ["value", "currency", "transaction_id", "sku", "stock"];
    let items = event["items"].as_array().into_iter().flatten();
    let detail: Vec<String> = fields
        .iter()
        .filter_map(|field| event.get(field).map(|value| format!("{field}={}", plain(value))))
        .chain(
            items
                .filter_map(|item| item.get("promotion_id"))
                .map(|id| format!("promotion={}", plain(id))),
        )
        .chain(attributes.iter().map(|attribute| format!("[{attribute}]")))
        .collect();
    Delivery {
        destination: destination.to_owned(),
        event_name: plain(&event["event_name"]),
        event_id: plain(&event["event_id"]),
        detail: detail.join(" "),
    }
}

fn analytics_deliveries(destination: &str, request: &Received) -> Vec<Delivery> {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let events = body["events"].as_array().cloned().unwrap_or_default();
    events
        .iter()
        .map(|event| {
            let parameters = &event["params"];
            Delivery {
                destination: destination.to_owned(),
                event_name: plain(&event["name"]),
                event_id: plain(&parameters["event_id"]),
                detail: format!(
                    "client_id={} session={}",
                    plain(&body["client_id"]),
                    plain(&parameters["session_id"])
                ),
            }
        })
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The page's server. It lives as long as the program.
pub struct Shop {
    address: SocketAddr,
}

struct Content {
    gateway: String,
    libraries: PathBuf,
    watched: Vec<(String, Watched)>,
}

impl Shop {
    /// Serves the page at `listen`; it sends hits to the gateway at `gateway` (scheme and host as the browser knows them).
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn start(listen: SocketAddr, gateway: &str, watched: Vec<(String, Watched)>) -> Self {
        let listener = TcpListener::bind(listen).unwrap_or_else(|error| panic!("{listen}: {error}"));
        let address = listener.local_addr().expect("a listener has an address");
        let content = Arc::new(Content {
            gateway: gateway.to_owned(),
            libraries: process::repository().join("tests/browser/node_modules"),
            watched,
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = Arc::clone(&content);
                // A browser that goes away in the middle is none of our business.
                thread::spawn(move || drop(content.serve(&stream)));
            }
        });
        Self { address }
    }

    /// Where the page is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Content {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let (status, content_type, body) = self.page(path);
        let mut writer = stream;
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: \
             no-store\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        writer.write_all(&body)
    }

    fn page(&self, path: &str) -> (&'static str, &'static str, Vec<u8>) {
        let script = "text/javascript";
        let ok = |content_type: &'static str, text: &str| ("200 OK", content_type, text.as_bytes().to_vec());
        match path {
            "/" => ok("text/html", include_str!("../page/index.html")),
            "/page.js" => ok(script, include_str!("../page/page.js")),
            "/shop.js" => ok(script, include_str!("../page/shop.js")),
            "/config.js" => {
                let config = serde_json::json!({ "gateway": self.gateway });
                ok(script, &format!("window.tagfleet = {config};"))
            }
            "/deliveries" => {
                let list = serde_json::to_string(&deliveries(&self.watched)).unwrap_or_default();
                ok("application/json", &list)
            }
            "/lib/minimal-analytics.js" => self.library("@minimal-analytics/ga4/dist/index.js"),
            "/lib/ga4mp.js" => self.library("@analytics-debugger/ga4mp/dist/ga4mp.iife.js"),
            _ => ("404 Not Found", "text/plain", b"no such page\n".to_vec()),
        }
    }

    fn library(&self, file: &str) -> (&'static str, &'static str, Vec<u8>) {
        match fs::read(self.libraries.join(file)) {
            Ok(text) => ("200 OK", "text/javascript", text),
            Err(error) => (
                "404 Not Found",
                "text/plain",
                format!("{file}: {error}; run npm ci in tests/browser\n").into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_purchase_shows_its_value_and_promotion() {
        let event = json!({"event_name": "purchase", "event_id": "e1", "value": 19.5, "currency": "EUR",
            "items": [{"promotion_id": "AUTUMN"}]});
        let delivery = event_delivery("promotions", &event, &["currency=EUR".to_owned()]);
        assert_eq!(
            delivery.detail,
            "value=19.5 currency=EUR promotion=AUTUMN [currency=EUR]"
        );
    }

    #[test]
    fn a_measurement_protocol_body_shows_each_of_its_events() {
        let body = json!({"client_id": "1.2", "events": [{"name": "a", "params": {"session_id": "7", "event_id": "x"}}, {"name": "b"}]});
        let request = Received {
            time_ms: 0,
            method: "POST".to_owned(),
            target: "/mp/collect".to_owned(),
            headers: std::collections::HashMap::new(),
            body: body.to_string(),
        };
        let shown: Vec<_> = analytics_deliveries("analytics", &request)
            .into_iter()
            .map(|d| (d.event_name, d.detail))
            .collect();
        assert_eq!(
            shown,
            [
                ("a".to_owned(), "client_id=1.2 session=7".to_owned()),
                ("b".to_owned(), "client_id=1.2 session=".to_owned())
            ]
        );
    }
}
