//! `validate`: transformations that are allowed and hardly meant. Each case is a shop of two destinations with these
//! transformations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tagfleet_crds::{
    Destination, TaggingContainer,
    validate::{Objects, Setting, validate},
};

/// What is told of the shop, without the warnings that its Secrets are elsewhere.
fn told(variables: &Value, transformations: &Value) -> Vec<String> {
    let mut transformations = transformations.clone();
    for (index, transformation) in transformations.as_array_mut().unwrap().iter_mut().enumerate() {
        transformation["name"] = json!(format!("t{index}"));
    }
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let shop = json!({
        "hostnames": ["metrics.shop.example"], "clients": [{"name": "web", "ga4": {}}],
        "variables": variables, "transformations": transformations
    });
    let meta = json!({
        "containerRefs": [{"name": "shop"}], "trigger": {"when": "event.value > 10.0"},
        "metaConversions": {"pixelId": "1", "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}}}
    });
    let queue = json!({
        "containerRefs": [{"name": "shop"}],
        "pubSub": {"project": "demo-project", "topic": "hits", "orderingKey": "event.user_data.email_address[0]",
                   "attributes": {"sku": "vars.sku"}}
    });
    let container: TaggingContainer = serde_json::from_value(object("TaggingContainer", "shop", shop)).unwrap();
    let meta: Destination = serde_json::from_value(object("Destination", "meta", meta)).unwrap();
    let queue: Destination = serde_json::from_value(object("Destination", "queue", queue)).unwrap();
    let findings = validate(&Objects {
        containers: vec![&container],
        destinations: vec![&meta, &queue],
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        setting: Setting::Check,
    });
    let lines = findings.iter().map(ToString::to_string);
    lines
        .filter(|line| !line.contains("accessToken"))
        .map(|line| line.replace("warning: TaggingContainer/shop: spec.", ""))
        .collect()
}

fn with_sku(transformations: &Value) -> Vec<String> {
    told(&json!([{"name": "sku", "expression": "event.sku"}]), transformations)
}

#[track_caller]
fn tells(transformations: &Value, starts: &[&str]) {
    let told = with_sku(transformations);
    let as_wanted = told.len() == starts.len() && told.iter().zip(starts).all(|(line, start)| line.starts_with(start));
    assert!(as_wanted, "wanted: {starts:#?}\ngot: {told:#?}");
}

#[test]
fn a_parameter_that_is_removed_and_read() {
    tells(
        &json!([{"exclude": ["page_title", "value"]}]),
        &[
            "transformations[0].exclude[1]: removes value, which spec.trigger.when of Destination/meta reads: it is never there",
        ],
    );
    tells(
        &json!([{"exclude": ["user_data.email_address"], "destinations": ["queue"]}]),
        &[
            "transformations[0].exclude[0]: removes user_data.email_address, which spec.pubSub.orderingKey of Destination/queue",
        ],
    );
    tells(
        &json!([{"exclude": ["sku"]}]),
        &["transformations[0].exclude[0]: removes sku, which the variable sku reads"],
    );
    tells(
        &json!([{"allow": ["user_data", "sku"]}]),
        &["transformations[0].allow: removes value, which spec.trigger.when of Destination/meta reads"],
    );
}

#[test]
fn what_is_not_certain_or_not_read_is_not_told() {
    tells(&json!([{"exclude": ["value"], "when": "event.sku == 'A'"}]), &[]);
    tells(&json!([{"exclude": ["value"]}, {"augment": {"value": "1"}}]), &[]);
    tells(&json!([{"exclude": ["user_data.phone_number", "page_title"]}]), &[]);
    // A trigger decides before the view is made.
    tells(&json!([{"exclude": ["value"], "destinations": ["meta"]}]), &[]);
    tells(&json!([{"allow": ["user_data.email_address", "value", "sku"]}]), &[]);
}

#[test]
fn a_variable_that_only_transformations_read_may_be_read_before_it_is_gone() {
    let variables =
        json!([{"name": "sku", "expression": "event.sku"}, {"name": "eu", "expression": "event.country == 'DE'"}]);
    let transformations = json!([{"hash": ["user_id"], "when": "vars.eu"}, {"exclude": ["country"]}]);
    assert_eq!(told(&variables, &transformations), Vec::<String>::new());
}

#[test]
fn a_transformation_that_never_does_anything() {
    tells(
        &json!([{"hash": ["user_id"], "when": "1 > 2"}]),
        &["transformations[0].when: is never true"],
    );
    tells(
        &json!([{"exclude": ["page_title"]}, {"hash": ["page_title.x"]}]),
        &["transformations[1].hash[0]: has no effect: the transformation t0 removes page_title.x before"],
    );
    // Those for all come first, wherever they stand.
    tells(
        &json!([
            {"redact": {"patterns": ["Email"], "parameters": ["page_title", "value"]}, "destinations": ["queue"]},
            {"allow": ["value", "sku", "user_data"]}
        ]),
        &["transformations[0].redact.parameters[0]: has no effect: the transformation t1 removes page_title before"],
    );
    tells(
        &json!([{"exclude": ["page_title"], "destinations": ["queue"]}, {"exclude": ["page_title"], "destinations": ["meta"]}]),
        &[],
    );
    tells(
        &json!([{"exclude": ["page_title"]}, {"augment": {"page_title": "'x'"}}, {"hash": ["page_title"]}]),
        &[],
    );
}

#[test]
fn a_hash_that_the_vendor_cannot_match() {
    tells(
        &json!([{"hash": ["user_data.phone_number"]}]),
        &[
            "transformations[0].hash[0]: is hashed before metaConversions (Destination/meta) writes it as that vendor wants it: \
           numbers are hashed without their +",
        ],
    );
    tells(
        &json!([{"hash": ["user_data.phone_number"], "destinations": ["queue"]}, {"hash": ["user_data.email_address"]}]),
        &[],
    );
}

#[test]
fn the_client_id_stands_in_the_cookies_too() {
    tells(
        &json!([{"hash": ["client_id"]}]),
        &["transformations[0].hash[0]: the cookies _ga and FPID hold the client id, too"],
    );
    tells(&json!([{"hash": ["client_id"]}, {"exclude": ["cookies"]}]), &[]);
}

#[test]
fn a_copy_of_what_is_taken_away() {
    // For one destination, and for all; of the parameter, of what it is in, and of a part of it.
    tells(
        &json!([{"augment": {"ref": "event.user_id"}}, {"exclude": ["user_id"], "destinations": ["queue"]}]),
        &[
            "transformations[1].exclude[0]: is left in ref, a copy that the transformation t0 makes before: name ref beside it",
        ],
    );
    tells(
        &json!([{"augment": {"person": "event.user_data"}}, {"hash": ["user_data.email_address"]}]),
        &[
            "transformations[1].hash[0]: is left in person.email_address, a copy that the transformation t0 makes before",
        ],
    );
    tells(
        &json!([{"augment": {"street": " event.user_data.address.street"}}, {"hash": ["user_data.address"], "destinations": ["queue"]}]),
        &["transformations[1].hash[0]: is left in street, a copy that the transformation t0 makes before"],
    );
    // The copy is taken away too, before or behind; it is of nothing; it is made behind, or for somebody else; it is no copy.
    tells(
        &json!([
            {"augment": {"ref": "event.user_id"}}, {"exclude": ["ref"]}, {"exclude": ["user_id"], "destinations": ["queue"]},
            {"augment": {"person": "event.user_data"}}, {"hash": ["user_data.email_address", "person"]}
        ]),
        &[],
    );
    tells(
        &json!([
            {"exclude": ["page_title"]}, {"augment": {"title": "event.page_title"}},
            {"hash": ["user_id"]}, {"augment": {"ref": "event.user_id"}},
            {"augment": {"other": "event.country"}, "destinations": ["meta"]}, {"exclude": ["country"], "destinations": ["queue"]},
            {"augment": {"domain": "event.page_location.split('/')[2]"}}, {"exclude": ["page_location"], "destinations": ["meta"]}
        ]),
        &[],
    );
}

#[test]
fn a_variable_that_would_show_what_is_hidden() {
    tells(
        &json!([{"hash": ["sku"], "destinations": ["queue"]}]),
        &[
            "transformations[0]: hides from Destination/queue what vars.sku is computed from: the variable is null for its \
           spec.pubSub.attributes.sku",
        ],
    );
    let by_request = json!([{"name": "sku", "expression": "request.query['ep.sku']"}]);
    let told = told(&by_request, &json!([{"exclude": ["page_title"]}]));
    assert!(
        told.len() == 1
            && told[0].starts_with("variables[0].expression: reads of the request what the transformation t0"),
        "{told:#?}"
    );
}

#[test]
fn what_every_event_needs_can_be_neither_removed_nor_hashed() {
    let told = with_sku(&json!([{"exclude": ["event_id"]}, {"allow": ["event_name", "value", "sku", "user_data"]}]));
    assert!(
        told.len() == 1 && told[0].contains("spec.transformations[0].exclude[0]: every event needs its event_id"),
        "{told:#?}"
    );
}
