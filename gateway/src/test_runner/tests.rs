#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const MANIFESTS: &str = r#"
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec:
  clients: [{name: app, json: {path: /v1/events}}]
---
apiVersion: tagfleet.dev/v1alpha1
kind: Destination
metadata: {name: orders}
spec:
  containerRefs: [{name: shop}]
  trigger: {events: [purchase], when: "event.value > 10.0"}
  webhook:
    url: https://orders.shop.example/hook
    headers: {authorization: {secretKeyRef: {name: shop-secrets, key: orders}}}
    parameters: {total: event.value}
"#;

fn run_on(manifests: &str, tests: &str) -> Vec<CaseResult> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), manifests).unwrap();
    let file = folder.path().join("shop.test.yaml");
    fs::write(&file, tests).unwrap();
    assert_eq!(find(folder.path()).unwrap(), [file.clone()]);
    run(&file).cases
}

const TESTS: &str = r#"
tests:
- name: an order of 72 euros is reported
  request: |
    POST /v1/events HTTP/1.1
    Host: metrics.shop.example

    {"event_name": "purchase", "event_id": "e-1", "value": 72.05}
  expect:
    status: 204
    destinations:
      orders:
        requests:
        - method: POST
          url: https://orders.shop.example/hook
          headers: {authorization: "[hidden]"}
          body: {events: [{event_id: e-1, total: 72.05, timestamp_ms: any, nonsense: absent}]}
- name: a small order is not
  request: |
    curl https://metrics.shop.example/v1/events --json '{"event_name": "purchase", "value": 2}'
  expect:
    destinations:
      orders: {notSent: trigger.when}
"#;

#[test]
fn what_is_as_expected_passes_without_any_secret_at_hand() {
    for case in run_on(MANIFESTS, TESTS) {
        assert_eq!(case.failures, Vec::<String>::new(), "{}", case.name);
    }
}

#[test]
fn a_changed_mapping_shows_as_a_readable_difference() {
    let changed = MANIFESTS.replace("total: event.value", "total: event.value * 2.0");
    let changed = changed.replace("event.value > 10.0", "event.value > 1.0");
    let cases = run_on(&changed, TESTS);
    assert_eq!(
        cases[0].failures,
        ["destinations.orders.requests[0].body.events[0].total: expected 72.05, got 144.1"]
    );
    assert_eq!(
        cases[1].failures,
        ["destinations.orders: expected nothing to be sent, got 1 requests"]
    );
}

#[test]
fn a_file_or_manifests_that_cannot_be_used_fail() {
    let cases = run_on(
        MANIFESTS,
        "tests:\n- name: x\n  request: GET /\n  expect: {state: 204}\n",
    );
    assert!(cases[0].failures[0].contains(":4:"), "{:?}", cases[0].failures);
    assert!(cases[0].failures[0].contains("state"), "{:?}", cases[0].failures);
    let cases = run_on(&MANIFESTS.replace("event.value > 10.0", "event.value >"), TESTS);
    assert!(
        cases[0].failures[0].contains("spec.trigger.when"),
        "{:?}",
        cases[0].failures
    );
}

#[test]
fn results_are_written_for_ci_systems() {
    let results = [SuiteResult {
        file: "shop.test.yaml".to_owned(),
        cases: vec![CaseResult {
            name: "a < b".to_owned(),
            failures: vec!["status: expected 204, got 404".to_owned()],
            took: Duration::from_millis(1),
        }],
    }];
    let mut out = Vec::new();
    junit::write(&results, &mut out).unwrap();
    let xml = String::from_utf8(out).unwrap();
    assert!(xml.contains(r#"failures="1""#) && xml.contains("a &lt; b"), "{xml}");
}
