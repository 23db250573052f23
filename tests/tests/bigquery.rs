//! BigQuery, against a double that makes tables and checks rows as its documentation says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Duration;

use serde_json::Value;
use tagfleet_tests::{
    gateway::{Gateway, Setup},
    manifests::Manifests,
    vendors::Vendors,
    wait,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A Destination `warehouse` that writes to this dataset; of an event whose id begins with `bad` the row has a column of
/// the wrong type.
fn manifests(vendors: &Vendors, dataset: &str) -> Manifests {
    let url = vendors.url();
    let destination = format!(
        "apiVersion: tagfleet.dev/v1alpha1\nkind: Destination\nmetadata: {{name: warehouse}}\nspec:\n  \
         containerRefs: [{{name: shop}}]\n  \
         delivery: {{batch: {{maxDelay: 500ms}}, retry: {{initialBackoff: 100ms, maxBackoff: 500ms}}}}\n  \
         bigQuery:\n    endpoint: {url}\n    project: demo\n    dataset: {dataset}\n    table: events\n    \
         createTable: true\n    parameters:\n      \
         user_first_touch_timestamp: \"event.event_id.startsWith('bad') ? dyn('yesterday') : dyn(1)\"\n"
    );
    Manifests::new().container("").file("warehouse.yaml", &destination)
}

fn send(gateway: &Gateway, ids: &[&str]) {
    for id in ids {
        let order = "cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&pr1=idSKU-1~nmShirt~pr33.03~qt2&uid=user-42";
        assert_eq!(gateway.hit("purchase", id, order), 204, "{id}");
    }
}

fn wait_until_settled(gateway: &Gateway, delivered: f64, dead: f64) {
    wait::until_true("all is settled", PATIENCE, || {
        let ended = |how| gateway.deliveries("warehouse", how);
        (ended("delivered"), ended("dead_lettered")) == (delivered, dead)
    });
    assert_eq!(gateway.imbalance("warehouse"), 0.0);
}

#[test]
fn the_table_is_made_and_only_the_row_that_does_not_fit_becomes_a_dead_letter() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, "shop");
    let gateway = Setup::new(manifests.path()).start();
    send(&gateway, &["good-1", "bad-2", "good-3"]);
    wait_until_settled(&gateway, 2.0, 1.0);
    let rows = vendors.events("bigQuery");
    let mut ids: Vec<&str> = rows.iter().map(|row| row["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["good-1", "good-3"]);
    // Requests that were under way at the same time may each have asked for it.
    let made = vendors.requests("bigQuery").into_iter();
    let made: Vec<Value> = made
        .filter(|request| request.target.ends_with("/tables"))
        .map(|request| request.json()["tableReference"]["tableId"].clone())
        .collect();
    assert!(
        !made.is_empty() && made.iter().all(|table| table == "events"),
        "{made:?}"
    );
}

#[test]
fn without_its_dataset_events_wait_and_the_status_says_what_is_missing() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, "elsewhere");
    let gateway = Setup::new(manifests.path()).start();
    send(&gateway, &["good-1"]);
    wait::until_true("the status says what is missing", PATIENCE, || {
        let status = gateway.status();
        let message = status["destinations"][0]["lastError"]["message"].to_string();
        message.contains("making it: 404 notFound: Not found: Dataset elsewhere")
    });
    assert_eq!(gateway.deliveries("warehouse", "dead_lettered"), 0.0);
}
