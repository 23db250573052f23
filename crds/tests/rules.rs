//! Every CEL rule of both CRDs: what it refuses, and with which message. Evaluated by kube's own CEL, the nearest to the
//! API server that runs without one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use kube::core::cel::Validator;
use serde_json::{Value, json};
use tagfleet_crds::schema;

/// A valid object of each kind, for the cases below to break.
fn container() -> Value {
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"},
        "spec": {
            "hostnames": ["metrics.shop.example"],
            "clients": [{"name": "web", "ga4": {}}],
            "transformations": [{"name": "short", "exclude": ["screen_resolution"]}],
        },
    })
}

fn destination() -> Value {
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": "orders"},
        "spec": {"containerRefs": [{"name": "shop"}], "webhook": {"url": "https://orders.shop.example/hook"}},
    })
}

fn secret() -> Value {
    json!({"secretKeyRef": {"name": "s", "key": "k"}})
}

/// The messages of the rules that an object breaks, each with the field's path.
fn broken(object: &Value) -> Vec<String> {
    let crd = match object["kind"].as_str() {
        Some("TaggingContainer") => schema::tagging_container(),
        _ => schema::destination(),
    };
    let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema;
    match Validator::new().validate(&serde_json::to_value(schema).unwrap(), object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

/// The object with a value set at a pointer below `spec` (`-` appends), or removed with null.
fn with(mut object: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = match parent.strip_prefix('^') {
            Some(root) => object.pointer_mut(root).expect(pointer),
            None => object.pointer_mut(&format!("/spec{parent}")).expect(pointer),
        };
        match (parent, value) {
            (Value::Object(fields), Value::Null) => assert!(fields.remove(name).is_some(), "{pointer}"),
            (Value::Object(fields), value) => drop(fields.insert(name.to_owned(), value.clone())),
            (Value::Array(elements), value) => elements.push(value.clone()),
            _ => panic!("{pointer}"),
        }
    }
    object
}

#[test]
fn valid_objects_break_no_rule() {
    assert_eq!(broken(&container()), Vec::<String>::new());
    assert_eq!(broken(&destination()), Vec::<String>::new());
    for (pointer, value) in [
        ("/gatewayRefs", json!([{"name": "public"}])),
        ("/ingress", json!({"className": "nginx"})),
        ("/trustedProxies", json!(["10.0.0.0/8", "fd00::/8"])),
        (
            "/cors",
            json!({"allowedOrigins": ["https://www.partner.example", "http://localhost:3000"]}),
        ),
        ("/replicas", json!({"min": 3, "max": 3})),
        ("/buffer", json!({"whenFull": "Refuse"})),
        ("/deduplication", json!({"window": "48h"})),
    ] {
        assert_eq!(
            broken(&with(container(), &[(pointer, value)])),
            Vec::<String>::new(),
            "{pointer}"
        );
    }
    let many_topics = json!({"project": "demo", "topicExpression": "'a-' + event.event_name"});
    let pub_sub = with(destination(), &[("/webhook", Value::Null), ("/pubSub", many_topics)]);
    assert_eq!(broken(&pub_sub), Vec::<String>::new());
}

#[test]
fn the_contracts_example_breaks_no_rule() {
    let objects: Vec<Value> = serde_saphyr::from_multiple(include_str!("data/contract.yaml")).unwrap();
    assert_eq!(objects.len(), 6);
    for object in objects {
        assert_eq!(broken(&object), Vec::<String>::new(), "{}", object["metadata"]["name"]);
    }
}

#[test]
fn a_broken_container_is_named_with_a_message() {
    let cases: &[(&[(&str, Value)], &str)] = &[
        (
            &[("^/metadata/name", json!("Shop"))],
            "metadata.name must be a DNS label",
        ),
        (
            &[("^/metadata/name", json!("s".repeat(64)))],
            "metadata.name must be a DNS label",
        ),
        (&[("^/metadata/name", json!("1shop"))], "begins with a letter"),
        (
            &[("/ingress", json!({})), ("/gatewayRefs", json!([{"name": "g"}]))],
            "set at most one way in",
        ),
        (
            &[("/hostnames", Value::Null), ("/ingress", json!({}))],
            "list at least one in hostnames",
        ),
        (
            &[("/hostnames/-", json!("https://shop.example"))],
            "must be a DNS name in lower case",
        ),
        (
            &[("/hostnames/-", json!("Shop.example"))],
            "must be a DNS name in lower case",
        ),
        (
            &[("/hostnames/-", json!("shop..example"))],
            "must be a DNS name in lower case",
        ),
        (
            &[("/clients/0/json", json!({"path": "/a"}))],
            "set exactly one kind of client",
        ),
        (&[("/clients/0/ga4", Value::Null)], "set exactly one kind of client"),
        (
            &[("/clients/-", json!({"name": "a", "json": {"path": "a"}}))],
            "must begin with /",
        ),
        (
            &[("/clients/-", json!({"name": "a", "pixel": {"path": "/a?b"}}))],
            "must begin with /",
        ),
        (
            &[("/clients/-", json!({"name": "a", "json": {"path": "/a", "auth": {}}}))],
            "set exactly one way to authenticate",
        ),
        (
            &[("/trustedProxies", json!(["10.0.0.1"]))],
            "must be a range of addresses",
        ),
        (
            &[("/cors", json!({"allowedOrigins": ["https://a.example/path"]}))],
            "must be an origin",
        ),
        (
            &[("/replicas", json!({"min": 3, "max": 2}))],
            "min must not be greater than max",
        ),
        (
            &[("/buffer", json!({"memory": {}, "disk": {}}))],
            "set at most one kind of buffer",
        ),
        (&[("/deduplication", json!({"window": "0h"}))], "must be longer than 0s"),
        (
            &[("/consent", json!({"hold": {"maxAge": "0s"}}))],
            "must be longer than 0s",
        ),
        (
            &[("/transformations/0/allow", json!(["value"]))],
            "set exactly one kind of transformation",
        ),
        (
            &[("/transformations/0/exclude", Value::Null)],
            "set exactly one kind of transformation",
        ),
        (
            &[("/telemetry", json!({"otlp": {"endpoint": "collector:4317"}}))],
            "must be an http or https URL",
        ),
    ];
    for (changes, message) in cases {
        let broken = broken(&with(container(), changes));
        assert!(
            broken.len() == 1 && broken[0].contains(message),
            "{changes:?}: {broken:?}"
        );
    }
}

#[test]
fn a_broken_destination_is_named_with_a_message() {
    let ads = |extra: Value| {
        let mut block = json!({
            "customerId": "123-456-7890", "conversionActions": {"purchase": "1"},
            "oauth": {"clientId": secret(), "clientSecret": secret(), "refreshToken": secret()},
        });
        block
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        block
    };
    assert_eq!(
        broken(&with(
            destination(),
            &[
                ("/webhook", Value::Null),
                ("/googleAds", ads(json!({"api": "DataManager"})))
            ]
        )),
        Vec::<String>::new()
    );
    let pub_sub = |block: Value| [("/webhook", Value::Null), ("/pubSub", block)];
    let cases: &[(&[(&str, Value)], &str)] = &[
        (
            &[("^/metadata/name", json!("or.ders"))],
            "metadata.name must be a DNS label",
        ),
        (&[("/ga4", json!({"measurementId": "G-1"}))], "set exactly one vendor"),
        (&[("/webhook", Value::Null)], "set exactly one vendor"),
        (
            &[("/webhook/url", json!("orders.shop.example"))],
            "must be an http or https URL",
        ),
        (
            &[("/webhook/url", json!("ftp://orders.shop.example"))],
            "must be an http or https URL",
        ),
        (
            &[("/webhook/url", json!("https://user:pass@orders.shop.example"))],
            "without user or password",
        ),
        (
            &[("/webhook/endpoint", json!("https://proxy.example/path"))],
            "must be scheme and host",
        ),
        (&[("/delivery", json!({"timeout": "6m"}))], "at most 5m"),
        (
            &[("/delivery", json!({"batch": {"maxDelay": "6m"}}))],
            "must be at most 5m",
        ),
        (
            &[(
                "/delivery",
                json!({"retry": {"initialBackoff": "2m", "maxBackoff": "1m30s"}}),
            )],
            "initialBackoff must not be longer than maxBackoff",
        ),
        (&[("/delivery", json!({"timeout": "0s"}))], "must be longer than 0s"),
        (
            &[("/delivery", json!({"retry": {"maxAge": "0m"}}))],
            "must be longer than 0s",
        ),
        (&pub_sub(json!({"project": "demo"})), "set exactly one topic"),
        (
            &pub_sub(json!({"project": "demo", "topic": "abc", "topicExpression": "'abc'"})),
            "set exactly one topic",
        ),
        (
            &pub_sub(json!({"project": "demo", "topic": "ab"})),
            "must be a topic's id",
        ),
        (
            &pub_sub(json!({"project": "demo", "topic": "1abc"})),
            "must be a topic's id",
        ),
        (
            &pub_sub(json!({"project": "demo", "topic": "google"})),
            "must be a topic's id",
        ),
        (
            &[
                ("/webhook", Value::Null),
                ("/googleAds", ads(json!({"api": "GoogleAds"}))),
            ],
            "needs developerToken",
        ),
    ];
    for (changes, message) in cases {
        let broken = broken(&with(destination(), changes));
        assert!(
            broken.len() == 1 && broken[0].contains(message),
            "{changes:?}: {broken:?}"
        );
    }
}
