//! Events that come twice, and events that break the tracking plan.

use serde_json::json;
use tagfleet_crds::{event_schema::EventSchema, tagging_container::OnInvalid};

use super::*;
use crate::{
    deduplication::{Limits as Remembered, Tending},
    pipeline::{
        policies::Policies,
        validation::{Rule, TrackingPlan},
    },
};

const PURCHASE: &str = "/g/collect?v=2&tid=G-TEST1&cid=1.2&en=purchase&ep.event_id=T-1";
const LIMITS: Remembered = Remembered {
    window_s: 3600,
    max_entries: 1_000,
};

/// A gateway that drops repeats.
fn deduplicating(log: SharedLog, deduplication: &Arc<Deduplication>) -> Gateway {
    let keys = deduplication.set_limits(Some(LIMITS), clock::now_ms());
    gateway_with(log, Limits::default(), Arc::clone(deduplication), |plan| {
        plan.duplicate_keys = keys;
    })
}

fn memory_log() -> SharedLog {
    Arc::new(MemoryLog::open(1024 * 1024, WhenFull::Refuse))
}

fn assert_events(gateway: &Gateway, client: &str, outcome: &str, count: u64) {
    gateway.assert_metric(&format!(
        r#"tagfleet_events_total{{client="{client}",outcome="{outcome}",tagging_container="shop"}} {count}"#
    ));
}

#[tokio::test]
async fn a_repeat_is_answered_as_usual_and_stored_once() {
    let gateway = deduplicating(memory_log(), &Arc::new(Deduplication::in_memory()));
    for _ in 0..3 {
        assert_eq!(gateway.get(PURCHASE, &[]).status, 204);
    }
    assert_eq!(gateway.get(&PURCHASE.replace("cid=1.2", "cid=1.3"), &[]).status, 204);
    assert_eq!(gateway.stored("client_id"), ["1.2", "1.3"]);
    assert_events(&gateway, "web", "accepted", 2);
    assert_events(&gateway, "web", "duplicate", 2);
}

#[tokio::test]
async fn without_an_id_of_its_sender_nothing_is_a_repeat() {
    let gateway = deduplicating(memory_log(), &Arc::new(Deduplication::in_memory()));
    let pixel = "/open.gif?en=open&client_id=1.2";
    let body = r#"{"event_name": "open", "client_id": "1.2"}"#;
    for _ in 0..2 {
        gateway.get(HIT, &[]);
        gateway.get(pixel, &[]);
        gateway.ask("POST", "/v1/events", &[], body);
    }
    assert_eq!(gateway.stored("event_name").len(), 6);
}

#[tokio::test]
async fn of_two_in_one_batch_one_is_stored() {
    let gateway = deduplicating(memory_log(), &Arc::new(Deduplication::in_memory()));
    let event = |id: &str| format!(r#"{{"event_name": "order", "client_id": "1.2", "event_id": "{id}"}}"#);
    let body = format!("[{},{},{}]", event("a"), event("a"), event("b"));
    assert_eq!(gateway.ask("POST", "/v1/events", &[], &body).status, 204);
    assert_eq!(gateway.ask("POST", "/v1/events", &[], &body).status, 204);
    assert_eq!(gateway.stored("event_id"), ["a", "b"]);
    assert_events(&gateway, "app", "accepted", 2);
    assert_events(&gateway, "app", "duplicate", 4);
}

#[tokio::test]
async fn a_repeat_is_known_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = clock::now_ms();
    let open = || Arc::new(Deduplication::open(folder.path(), Some(LIMITS), now_ms));
    let first = open();
    let tending = Tending::start(Arc::clone(&first), clock::now_ms).unwrap();
    let gateway = deduplicating(memory_log(), &first);
    gateway.get(PURCHASE, &[]);
    tending.stop();
    drop((gateway, first));

    let gateway = deduplicating(memory_log(), &open());
    assert_eq!(gateway.get(PURCHASE, &[]).status, 204);
    assert_eq!(gateway.stored("event_id"), Vec::<String>::new());
    assert_events(&gateway, "web", "duplicate", 1);
}

#[tokio::test]
async fn what_the_log_did_not_take_is_no_repeat() {
    let log = Arc::new(Gated::default());
    let gateway = deduplicating(Arc::clone(&log) as SharedLog, &Arc::new(Deduplication::in_memory()));
    log.gate.send_replace(Some(Err(AppendError::Device("full".into()))));
    assert_eq!(gateway.get(PURCHASE, &[]).status, 503);
    log.gate.send_replace(Some(Ok(())));
    assert_eq!(gateway.get(PURCHASE, &[]).status, 204);
    assert_events(&gateway, "web", "accepted", 1);
    assert_events(&gateway, "web", "duplicate", 0);
}

/// A repeat that comes while the log has not answered for the first shares its fate.
#[tokio::test]
async fn a_repeat_waits_for_the_first() {
    for (outcome, status, duplicates) in [(Ok(()), 204, 1), (Err(AppendError::Device("full".into())), 503, 0)] {
        let log = Arc::new(Gated::default());
        let gateway = deduplicating(Arc::clone(&log) as SharedLog, &Arc::new(Deduplication::in_memory()));
        let mut first = gateway.connect();
        let request = format!("GET {PURCHASE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        first.write_all(request.as_bytes()).unwrap();
        log.appended.notified().await;
        let mut second = gateway.connect();
        second.write_all(request.as_bytes()).unwrap();
        // It must not be answered before; that it was not can only be seen by waiting.
        second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(second.read(&mut [0; 1]).is_err());
        second.set_read_timeout(Some(PATIENCE)).unwrap();
        log.gate.send_replace(Some(outcome));
        assert_eq!(read_reply(&mut first).status, status);
        assert_eq!(read_reply(&mut second).status, status);
        assert_events(&gateway, "web", "duplicate", duplicates);
    }
}

fn rule(events: &[&str], on_invalid: OnInvalid) -> Rule {
    let schema = json!({"properties": {"value": {"type": "number"}}});
    Rule {
        events: events.iter().map(|name| (*name).to_owned()).collect(),
        schema: EventSchema::compile(schema.as_object().unwrap()).unwrap(),
        on_invalid,
    }
}

#[tokio::test]
async fn what_breaks_the_tracking_plan_is_dropped_marked_or_rejected_and_counted_by_rule() {
    let gateway = gateway_into(memory_log(), Limits::default(), |plan| {
        plan.policies = Arc::new(Policies {
            tracking_plan: TrackingPlan::new(vec![
                rule(&["dropped"], OnInvalid::Drop),
                rule(&["marked"], OnInvalid::Mark),
                rule(&["rejected"], OnInvalid::DeadLetter),
            ]),
            ..Policies::default()
        });
    });
    let event = |name: &str, value: &str| format!(r#"{{"event_name": "{name}", "value": {value}}}"#);
    for name in ["dropped", "marked", "rejected", "free"] {
        let lines = [event(name, "7.5"), event(name, "\"jane\"")].join("\n");
        assert_eq!(gateway.ask("POST", "/v1/events", &[], &lines).status, 204);
    }
    assert_eq!(
        gateway
            .ask("POST", "/v1/events", &[], &event("dropped", "\"jane\""))
            .status,
        204
    );
    let id = gateway.log.register("orders").unwrap();
    let chunk = gateway.log.reader(id).unwrap().read(1_000, 1_000_000).unwrap();
    let stored: Vec<_> = chunk
        .events
        .iter()
        .map(|stored| {
            let record = codec::decode(&stored.payload).unwrap();
            let mark = serde_json::to_value(record.event.get("x_invalid")).unwrap();
            (
                record.event.name().to_owned(),
                mark,
                record.rejected.as_deref().map(str::to_owned),
            )
        })
        .collect();
    let entry = |name: &str, mark: serde_json::Value, rejected: Option<&str>| {
        (name.to_owned(), mark, rejected.map(str::to_owned))
    };
    assert_eq!(
        stored,
        [
            entry("dropped", json!(null), None),
            entry("marked", json!(null), None),
            entry("marked", json!(["/value: type"]), None),
            entry("rejected", json!(null), None),
            entry("rejected", json!(null), Some("/value: type")),
            entry("free", json!(null), None),
            entry("free", json!(null), None),
        ]
    );
    assert_events(&gateway, "app", "accepted", 7);
    assert_events(&gateway, "app", "invalid", 2);
    for (rule, count) in [(0, 2), (1, 1), (2, 1)] {
        gateway.assert_metric(&format!(
            r#"tagfleet_invalid_events_total{{rule="validation[{rule}]",tagging_container="shop"}} {count}"#
        ));
    }
}
