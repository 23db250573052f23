//! What a scrape shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::*;
use crate::{
    log::{DestinationId, Ledger, Usage},
    status::{CredentialsReason, Delivery},
    testing,
};

fn sources(plan: &Plan) -> Sources<'_> {
    testing::sources(plan, 10_000)
}

/// The value of a series as it stands in the text.
fn value(text: &str, series: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn every_metric_of_the_contract_is_there_with_its_type_and_labels() {
    let plan = testing::plan(
        "v1",
        vec![],
        vec![testing::destination("orders", DestinationId(0), &[])],
    );
    let metrics = Metrics::new("shop").unwrap();
    metrics.plan_applied(&plan);
    metrics
        .client(Some("web"))
        .answered(StatusCode::NO_CONTENT, Duration::from_millis(3));
    let orders = metrics.destination("orders");
    orders.called(CallCode::Http(StatusCode::BAD_GATEWAY), Duration::from_millis(40));
    orders.retry(CallCode::Http(StatusCode::BAD_GATEWAY));
    metrics.config_error("Destination/meta");
    metrics.set_config_refused(&BTreeSet::from(["Destination/meta".to_owned()]));
    metrics.expression_errors("shop", "low_stock", 2);

    let text = metrics.scrape(&sources(&plan)).unwrap();
    for (name, kind) in [
        ("tagfleet_requests_total", "counter"),
        ("tagfleet_request_duration_seconds", "histogram"),
        ("tagfleet_events_total", "counter"),
        ("tagfleet_deliveries_total", "counter"),
        ("tagfleet_delivery_retries_total", "counter"),
        ("tagfleet_delivery_duration_seconds", "histogram"),
        ("tagfleet_delivery_lag_seconds", "gauge"),
        ("tagfleet_buffer_bytes", "gauge"),
        ("tagfleet_buffer_events", "gauge"),
        ("tagfleet_buffer_seconds_to_full", "gauge"),
        ("tagfleet_dead_letters", "gauge"),
        ("tagfleet_trace_spans_dropped_total", "counter"),
        ("tagfleet_ledger_imbalance_events", "gauge"),
        ("tagfleet_config_info", "gauge"),
        ("tagfleet_config_errors_total", "counter"),
        ("tagfleet_config_refused", "gauge"),
        ("tagfleet_destination_state", "gauge"),
        ("tagfleet_expression_errors_total", "counter"),
    ] {
        assert!(
            text.contains(&format!("\n# TYPE {name} {kind}\n")),
            "{name} is no {kind} in\n{text}"
        );
    }
    for series in [
        r#"tagfleet_requests_total{client="web",code="204",tagging_container="shop"} 1"#,
        r#"tagfleet_request_duration_seconds_bucket{client="web",tagging_container="shop",le="0.1"} 1"#,
        r#"tagfleet_request_duration_seconds_bucket{client="web",tagging_container="shop",le="0.002"} 0"#,
        r#"tagfleet_events_total{client="web",outcome="accepted",tagging_container="shop"} 0"#,
        r#"tagfleet_delivery_retries_total{code="502",destination="orders",tagging_container="shop"} 1"#,
        r#"tagfleet_delivery_duration_seconds_count{code="502",destination="orders",tagging_container="shop"} 1"#,
        r#"tagfleet_config_info{version="v1",tagging_container="shop"} 1"#,
        r#"tagfleet_config_errors_total{object="Destination/meta",tagging_container="shop"} 1"#,
        r#"tagfleet_config_refused{object="Destination/meta",tagging_container="shop"} 1"#,
        r#"tagfleet_expression_errors_total{expression="low_stock",object="shop",tagging_container="shop"} 2"#,
        r#"tagfleet_buffer_seconds_to_full{tagging_container="shop"} +Inf"#,
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
    }
    let own = text.lines().filter(|line| !line.starts_with('#'));
    assert!(
        own.clone().all(|line| line.contains(r#"tagging_container="shop""#)),
        "{text}"
    );
}

#[test]
fn deliveries_lag_and_imbalance_are_read_from_the_log() {
    let plan = testing::plan(
        "v1",
        vec![],
        vec![testing::destination("orders", DestinationId(0), &[])],
    );
    let ledger = Ledger {
        accepted: 21,
        filtered: 1,
        consent_denied: 2,
        delivered: 3,
        dead_lettered: 4,
        expired: 5,
        erased: 0,
        in_flight: 5,
        oldest_in_flight_ms: Some(7_500),
    };
    let metrics = Metrics::new("shop").unwrap();
    let scrape = || {
        metrics
            .scrape(&Sources {
                ledgers: BTreeMap::from([("orders".to_owned(), ledger), ("deleted".to_owned(), ledger)]),
                dead_letters: BTreeMap::from([("orders".to_owned(), 4)]),
                usage: Usage {
                    bytes: 700,
                    events: 5,
                    max_bytes: 1_000,
                },
                ..sources(&plan)
            })
            .unwrap()
    };
    scrape();
    let text = scrape();
    for (series, expected) in [
        (
            r#"tagfleet_deliveries_total{destination="orders",outcome="delivered",tagging_container="shop"}"#,
            "3",
        ),
        (
            r#"tagfleet_deliveries_total{destination="orders",outcome="expired",tagging_container="shop"}"#,
            "5",
        ),
        (
            r#"tagfleet_deliveries_total{destination="orders",outcome="erased",tagging_container="shop"}"#,
            "0",
        ),
        (
            r#"tagfleet_delivery_lag_seconds{destination="orders",tagging_container="shop"}"#,
            "2.5",
        ),
        (
            r#"tagfleet_dead_letters{destination="orders",tagging_container="shop"}"#,
            "4",
        ),
        (
            r#"tagfleet_ledger_imbalance_events{destination="orders",tagging_container="shop"}"#,
            "1",
        ),
        (r#"tagfleet_buffer_bytes{tagging_container="shop"}"#, "700"),
        (r#"tagfleet_buffer_events{tagging_container="shop"}"#, "5"),
    ] {
        assert_eq!(value(&text, series).as_deref(), Some(expected), "{series} in\n{text}");
    }
    assert!(!text.contains("deleted"), "{text}");
}

#[test]
fn series_of_what_is_no_longer_configured_go() {
    let metrics = Metrics::new("shop").unwrap();
    let before = testing::plan(
        "v1",
        vec![],
        vec![
            testing::destination("orders", DestinationId(0), &[]),
            testing::destination("stock", DestinationId(1), &[]),
        ],
    );
    metrics.plan_applied(&before);
    for name in ["orders", "stock"] {
        metrics.destination(name).retry(CallCode::Timeout);
        metrics.destination(name).called(CallCode::Grpc(14), Duration::ZERO);
        metrics.expression_errors(name, "trigger.when", 1);
    }
    metrics.client(Some("web")).accepted.inc();
    metrics.client(None).answered(StatusCode::NOT_FOUND, Duration::ZERO);
    metrics.expression_errors("shop", "low_stock", 1);

    let after = testing::plan(
        "v2",
        vec![],
        vec![testing::destination("orders", DestinationId(0), &[])],
    );
    metrics.plan_applied(&after);
    let text = metrics.scrape(&sources(&after)).unwrap();
    for gone in [r#""stock""#, r#""web""#, r#""v1""#] {
        assert!(!text.contains(gone), "{gone} is still in\n{text}");
    }
    for kept in [
        r#"tagfleet_delivery_retries_total{code="timeout",destination="orders",tagging_container="shop"} 1"#,
        r#"tagfleet_delivery_duration_seconds_count{code="grpc-14",destination="orders",tagging_container="shop"} 1"#,
        r#"tagfleet_requests_total{client="",code="404",tagging_container="shop"} 1"#,
        r#"tagfleet_expression_errors_total{expression="low_stock",object="shop",tagging_container="shop"} 1"#,
        r#"tagfleet_expression_errors_total{expression="trigger.when",object="orders",tagging_container="shop"} 1"#,
        r#"tagfleet_config_info{version="v2",tagging_container="shop"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == kept), "{kept} is not in\n{text}");
    }
}

#[test]
fn refusals_stay_until_their_object_is_gone() {
    let plan = testing::plan("v1", vec![], vec![]);
    let metrics = Metrics::new("shop").unwrap();
    metrics.config_error("Destination/meta");
    metrics.config_error("Destination/stock");
    metrics.plan_applied(&plan);
    metrics.retain_config_errors(|object| object == "Destination/meta");
    let text = metrics.scrape(&sources(&plan)).unwrap();
    assert!(
        text.contains("Destination/meta") && !text.contains("Destination/stock"),
        "{text}"
    );
}

#[test]
fn an_object_is_shown_as_refused_while_it_is() {
    let plan = testing::plan("v1", vec![], vec![]);
    let metrics = Metrics::new("shop").unwrap();
    let refused = |objects: &[&str]| {
        metrics.set_config_refused(&objects.iter().map(ToString::to_string).collect());
        let text = metrics.scrape(&sources(&plan)).unwrap();
        ["Destination/meta", "Destination/stock"].map(|object| {
            let series = format!(r#"tagfleet_config_refused{{object="{object}",tagging_container="shop"}}"#);
            value(&text, &series)
        })
    };
    let one = Some("1".to_owned());
    assert_eq!(
        refused(&["Destination/meta", "Destination/stock"]),
        [one.clone(), one.clone()]
    );
    assert_eq!(refused(&["Destination/stock"]), [None, one]);
    assert_eq!(refused(&[]), [None, None]);
}

#[test]
fn a_destination_is_in_one_state_at_a_time() {
    let plan = testing::plan(
        "v1",
        vec![],
        vec![testing::destination("orders", DestinationId(0), &[])],
    );
    let metrics = Metrics::new("shop").unwrap();
    let states = |deliveries: &[(&str, Delivery)]| -> Vec<String> {
        let deliveries = deliveries
            .iter()
            .map(|(name, delivery)| ((*name).to_owned(), delivery.clone()));
        let text = metrics
            .scrape(&Sources {
                deliveries: deliveries.collect(),
                ..sources(&plan)
            })
            .unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("tagfleet_destination_state{"));
        assert_eq!(lines.clone().count(), Delivery::REASONS.len(), "{text}");
        lines.filter(|line| line.ends_with(" 1")).map(str::to_owned).collect()
    };
    let shown = |state: &str| {
        vec![format!(
            r#"tagfleet_destination_state{{destination="orders",state="{state}",tagging_container="shop"}} 1"#
        )]
    };
    assert_eq!(states(&[]), shown("Delivering"), "nothing was sent yet");
    let rejected = Delivery::WaitingForCredentials {
        reason: CredentialsReason::CredentialsRejected,
    };
    let deleted = ("deleted", Delivery::Stopped);
    assert_eq!(states(&[("orders", rejected), deleted]), shown("CredentialsRejected"));
    assert_eq!(
        states(&[("orders", Delivery::Retrying { next_attempt_ms: 1 })]),
        shown("VendorFailing")
    );
}
