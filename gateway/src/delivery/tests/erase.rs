//! Erasure while events are on their way.

use super::*;
use crate::erase::Visitor;

fn jane() -> Visitor {
    Visitor::ClientId("jane".to_owned())
}

/// Appends an event of a visitor.
async fn append_of(log: &dyn Log, client_id: &str, event_id: &str, destination: DestinationId) {
    let record = testing::record(serde_json::json!({
        "event_name": "purchase", "event_id": event_id, "client_id": client_id, "timestamp_ms": now_ms(),
    }));
    let verdicts = [(destination, Verdict::Meant)];
    let commit = log.appender().append(&[Accepted {
        record: &record,
        verdicts: &verdicts,
    }]);
    commit.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_in_the_log_are_not_sent_and_later_ones_are() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let orders = gateway.destination("orders");
    append_of(&*gateway.log, "jane", "e1", orders.id).await;
    append_of(&*gateway.log, "john", "e2", orders.id).await;
    gateway.erasures.add(&jane(), now_ms()).unwrap();
    sleep(SECOND).await;
    append_of(&*gateway.log, "jane", "e3", orders.id).await;
    gateway.apply(vec![orders]);
    sleep(5 * SECOND).await;
    assert_eq!(gateway.network.ids(), ["e2", "e3"]);
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.erased, ledger.in_flight), (2, 1, 0));
    assert_eq!(ledger.imbalance(), 0);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_tried_again_and_again_are_settled_at_once() {
    let gateway = Gateway::new(Network::new(|_| DOWN));
    let orders = gateway.destination("orders");
    append_of(&*gateway.log, "jane", "e1", orders.id).await;
    append_of(&*gateway.log, "john", "e2", orders.id).await;
    gateway.apply(vec![orders]);
    sleep(SECOND / 2).await;
    let before = gateway.network.bodies();
    assert!(
        !before.is_empty() && before.iter().all(|body| body == "e1 e2"),
        "{before:?}"
    );
    gateway.erasures.add(&jane(), now_ms()).unwrap();
    // No try is due yet.
    sleep(SECOND / 100).await;
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.erased, ledger.in_flight, ledger.imbalance()), (1, 1, 0));
    gateway.network.answers(|_| OK);
    sleep(600 * SECOND).await;
    let bodies = gateway.network.bodies();
    assert!(bodies.iter().skip(before.len()).all(|body| body == "e2"), "{bodies:?}");
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.delivered, ledger.erased, ledger.in_flight), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_after_the_request_becomes_no_dead_letter() {
    let slow = Answer(5 * SECOND, 400, None);
    let gateway = Gateway::new(Network::new(move |_| slow));
    let orders = gateway.destination("orders");
    append_of(&*gateway.log, "jane", "e1", orders.id).await;
    append_of(&*gateway.log, "john", "e2", orders.id).await;
    gateway.apply(vec![orders]);
    sleep(SECOND).await;
    // The request with both is under way: it cannot be called back.
    gateway.erasures.add(&jane(), now_ms()).unwrap();
    sleep(10 * SECOND).await;
    let letters = gateway.letters("orders");
    assert_eq!(letters.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["e2"]);
    let ledger = gateway.ledger("orders");
    assert_eq!((ledger.dead_lettered, ledger.erased, ledger.imbalance()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_emptied_when_no_event_of_its_time_waits() {
    let gateway = Gateway::new(Network::new(|_| OK));
    let orders = gateway.destination("orders");
    append_of(&*gateway.log, "jane", "e1", orders.id).await;
    gateway.erasures.add(&jane(), now_ms()).unwrap();
    let own = || testing::record(serde_json::json!({"client_id": "jane"})).event;
    let day = Duration::from_secs(26 * 3600);
    sleep(day).await;
    assert!(
        gateway.erasures.covers(&own(), EPOCH_MS),
        "its event waits: nothing is sent yet"
    );
    gateway.apply(vec![orders]);
    sleep(120 * SECOND).await;
    assert!(!gateway.erasures.covers(&own(), EPOCH_MS));
    assert_eq!(gateway.ledger("orders").erased, 1);
    assert!(gateway.network.ids().is_empty());
}
