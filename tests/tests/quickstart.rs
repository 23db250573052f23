//! examples/quickstart as it is written: hits go in, and each destination gets what its trigger wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tagfleet_tests::{gateway, process, quickstart::Quickstart, wait};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn check_accepts_the_quickstart() {
    let example = process::repository().join("examples/quickstart");
    let output = gateway::run(&["check", example.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn each_destination_gets_what_its_trigger_wants() {
    let shop = Quickstart::start();
    let gateway = &shop.gateway;

    // Given what a browser sends ...
    assert_eq!(gateway.hit("page_view", "q-page", ""), 204);
    assert_eq!(
        gateway.hit(
            "add_to_cart",
            "q-few",
            "ep.sku=BOWL-10&epn.stock=5&cu=EUR&epn.value=19.5"
        ),
        204
    );
    assert_eq!(
        gateway.hit(
            "add_to_cart",
            "q-enough",
            "ep.sku=BOWL-10&epn.stock=6&cu=EUR&epn.value=19.5"
        ),
        204
    );
    // ... an article that the table does not know, which makes the variable's expression fail and nothing else ...
    assert_eq!(
        gateway.hit("add_to_cart", "q-unknown", "ep.sku=SPOON-1&epn.stock=1"),
        204
    );
    assert_eq!(
        gateway.hit(
            "purchase",
            "q-plain",
            "cu=EUR&epn.value=19.5&ep.transaction_id=T-1&pr1=idBOWL-10~pr19.5~qt1"
        ),
        204
    );
    let on_promotion = "cu=EUR&epn.value=39&ep.transaction_id=T-2&pr1=idCUP-1~pr9~qt1&pr2=idBOWL-10~pr30~qt1~piAUTUMN";
    assert_eq!(gateway.hit("purchase", "q-promotion", on_promotion), 204);
    // ... and what the shop's own application sends,
    let counted =
        json!({"event_name": "stock_count", "event_id": "q-app", "client_id": "1.2", "sku": "CUP-1", "stock": 12});
    let answer = gateway.post(
        "/v1/events",
        &[("Content-Type", "application/json")],
        counted.to_string().as_bytes(),
    );
    assert!(
        (200..300).contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text()
    );

    // then Google Analytics gets all seven,
    let analytics = wait::until("seven events in Google Analytics", PATIENCE, || {
        let events: Vec<Value> = shop
            .analytics
            .requests()
            .iter()
            .flat_map(|request| request.events())
            .collect();
        (events.len() >= 7).then_some(events)
    });
    assert_eq!(analytics.len(), 7);
    let target = &shop.analytics.requests()[0].target;
    assert!(
        target.starts_with("/mp/collect?") && target.contains("measurement_id=G-TEST1"),
        "{target}"
    );

    // the topic low-stock the two articles that the lookup table calls short,
    let low: BTreeSet<String> = shop.pubsub.wait_for("low-stock", 2, PATIENCE).iter().map(id).collect();
    assert_eq!(low, BTreeSet::from(["q-few".to_owned(), "q-app".to_owned()]));

    // the topic promotions the one purchase with a promotion, its currency beside it,
    let promotions = shop.pubsub.wait_for("promotions", 1, PATIENCE);
    assert_eq!(promotions.iter().map(id).collect::<Vec<_>>(), ["q-promotion"]);
    assert_eq!(promotions[0].data["items"][1]["promotion_id"], "AUTUMN");
    let attributes = promotions[0].attributes.clone().unwrap_or_default();
    assert_eq!(attributes.get("currency").map(String::as_str), Some("EUR"));

    // the shop's own system both purchases, signed,
    shop.orders.wait_for_ids(2, PATIENCE);
    assert_eq!(
        shop.orders.ids().into_keys().collect::<BTreeSet<_>>(),
        BTreeSet::from(["q-plain".to_owned(), "q-promotion".to_owned()])
    );
    assert_eq!(shop.orders.stats().bad_signatures, 0);
    let order = &shop.orders.events()[0];
    assert_eq!(
        (&order["value"], &order["currency"], &order["event_name"]),
        (&json!(19.5), &json!("EUR"), &json!("purchase"))
    );

    // every book is closed, and the one failed expression was counted.
    wait::until_true("deliveries are counted", PATIENCE, || {
        gateway.deliveries("orders", "delivered") == 2.0
    });
    for destination in ["analytics", "orders", "low-stock", "promotions"] {
        assert_eq!(gateway.imbalance(destination), 0.0, "{destination}");
    }
    assert_eq!(gateway.deliveries("promotions", "filtered"), 6.0);
    assert_eq!(
        gateway
            .metrics()
            .count("tagfleet_events_total", &[("client", "web"), ("outcome", "accepted")]),
        6.0
    );
    assert!(gateway.metrics().count("tagfleet_expression_errors_total", &[]) >= 1.0);
}

#[test]
fn pubsub_that_is_away_for_a_while_loses_nothing() {
    let shop = Quickstart::start();
    // 14 is UNAVAILABLE.
    shop.pubsub.fail(14, 3);
    assert_eq!(
        shop.gateway.hit("add_to_cart", "retried", "ep.sku=BOWL-10&epn.stock=1"),
        204
    );
    let messages = shop.pubsub.wait_for("low-stock", 1, Duration::from_secs(60));
    assert_eq!(messages.iter().map(id).collect::<Vec<_>>(), ["retried"]);
}

fn id(message: &tagfleet_tests::pubsub::Message) -> String {
    message.data["event_id"].as_str().unwrap_or_default().to_owned()
}
