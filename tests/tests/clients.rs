//! A Measurement Protocol client from PyPI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{collections::BTreeSet, env, path::PathBuf, process::Command, time::Duration};

use serde_json::json;
use tagfleet_tests::{
    process,
    quickstart::{MP_SECRET, Quickstart},
    skip, wait,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The Python with the client installed: scripts/test makes it.
fn python() -> PathBuf {
    let venv = || process::repository().join("target/venv/bin/python");
    env::var_os("TAGFLEET_PYTHON").map_or_else(venv, PathBuf::from)
}

fn send(gateway: &str, secret: &str) -> std::process::Output {
    let script = process::repository().join("tests/clients/measurement_protocol.py");
    Command::new(python())
        .arg(script)
        .args([gateway, secret])
        .output()
        .expect("python")
}

#[test]
fn events_of_a_measurement_protocol_client_arrive() {
    if !python().exists() {
        return skip::skip("clients", "no Python with ga4mp (scripts/test makes target/venv)");
    }
    let shop = Quickstart::start();
    let gateway = format!("http://{}", shop.gateway.address());

    // With a wrong secret nothing gets in.
    let refused = send(&gateway, "wrong");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("403"), "{refused:?}");

    let sent = send(&gateway, MP_SECRET);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

    // The purchase, whole.
    shop.orders.wait_for_ids(1, PATIENCE);
    let order = &shop.orders.events()[0];
    assert_eq!(order["event_id"], "mp-purchase");
    assert_eq!(order["client_id"], "1506821430.1730448757");
    assert_eq!(
        (&order["value"], &order["currency"], &order["transaction_id"]),
        (&json!(42.5), &json!("EUR"), &json!("T-2002"))
    );
    assert_eq!(order["items"][0]["item_name"], "Blue bowl");
    assert_eq!(order["user_properties"]["plan"], "gold", "{order}");
    assert_eq!(shop.pubsub.wait_for("promotions", 1, PATIENCE).len(), 1);

    // Thirty counts in two batches; 0 to 12 are low for CUP-1.
    let low: BTreeSet<i64> = shop
        .pubsub
        .wait_for("low-stock", 13, PATIENCE)
        .iter()
        .filter_map(|m| m.data["stock"].as_i64())
        .collect();
    assert_eq!(low, (0..=12).collect());
    wait::until_true("31 events in Google Analytics", PATIENCE, || {
        shop.analytics
            .requests()
            .iter()
            .flat_map(|request| request.events())
            .count()
            == 31
    });
}
