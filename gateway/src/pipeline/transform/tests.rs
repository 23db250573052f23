//! Given this event and this transformation, that event.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value as Json, json};
use tagfleet_expressions::{Environment, STEPS_PER_HIT, Type};

use super::*;
use crate::{
    config::transformations,
    log::codec,
    pipeline::{Unwatched, policies::Policies},
    plan::Variable,
    record::Record,
    testing,
};

const NEEDED: &str = r#"{"event_name": "purchase", "event_id": "e-1", "timestamp_ms": 1700000000000}"#;

fn event(more: &Json) -> Json {
    let mut event: Json = serde_json::from_str(NEEDED).unwrap();
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn compiled(manifests: &Json) -> Vec<Transformation> {
    let manifests: Vec<_> = manifests
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, manifest)| {
            let mut manifest = manifest.clone();
            if manifest.get("name").is_none() {
                manifest["name"] = json!(format!("t{index}"));
            }
            serde_json::from_value(manifest).unwrap()
        })
        .collect();
    transformations::compile_all(&manifests, &environment())
}

fn environment() -> Environment {
    Environment::event()
        .with_request()
        .with_variable("mail", Type::Dyn)
        .with_variable("sku", Type::Dyn)
}

fn variable(name: &str, source: &str) -> Variable {
    Variable {
        name: name.into(),
        expression: Expression::compile(source, &environment()).unwrap(),
        stored: true,
        withheld: false,
    }
}

/// The event after the container's transformations, and what failed.
fn after(manifests: &Json, more: &Json) -> (Json, Vec<String>) {
    let mut plan = testing::plan("1", Vec::new(), Vec::new());
    plan.policies = Arc::new(Policies {
        transformations: compiled(manifests),
        ..Policies::default()
    });
    plan.variables = vec![variable("mail", "event.user_data.email_address[0]")];
    let mut event = testing::record(event(more)).event;
    let (mut steps, mut errors) = (Steps::new(STEPS_PER_HIT), Vec::new());
    apply(
        &plan,
        &mut event,
        Consent::default(),
        None,
        &mut steps,
        &mut errors,
        &mut Unwatched,
    );
    let errors = errors
        .iter()
        .map(|failed| format!("{}: {}", failed.object, failed.expression));
    (serde_json::to_value(&event).unwrap(), errors.collect())
}

#[track_caller]
fn gives(manifest: &Json, more: &Json, wanted: &Json) {
    assert_eq!(
        after(&json!([manifest]), more),
        (event(wanted), Vec::new()),
        "{manifest}"
    );
}

const JANE: &str = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";

#[test]
fn exclude_removes_what_it_names_and_all_below() {
    let sent = json!({
        "value": 3, "user_data": {"email_address": ["test@example.com"], "address": [{"city": "Ulm", "country": "DE"}]},
        "items": [{"item_id": "A", "price": 1}, {"item_id": "B"}]
    });
    gives(
        &json!({"exclude": ["user_data", "items.item_id"]}),
        &sent,
        &json!({"value": 3, "items": [{"price": 1}, {}]}),
    );
    gives(
        &json!({"exclude": ["user_data.email_address", "user_data.address.city", "absent.member", "value.member"]}),
        &sent,
        &json!({"value": 3, "user_data": {"address": [{"country": "DE"}]}, "items": sent["items"]}),
    );
    gives(
        &json!({"exclude": ["user_data.email_address", "user_data.address"]}),
        &json!({"user_data": {"email_address": ["test@example.com"]}, "empty": {}}),
        &json!({"empty": {}}),
    );
}

#[test]
fn a_name_with_dots_is_the_parameter_that_is_written_so() {
    gives(
        &json!({"exclude": ["user_data.email_address", "crm"]}),
        &json!({"user_data.email_address": "test@example.com", "crm.id.x": 7, "crmx": 1}),
        &json!({"crmx": 1}),
    );
}

#[test]
fn allow_keeps_what_it_names_and_what_every_event_needs() {
    gives(
        &json!({"allow": ["value", "user_data.address.country", "items.item_id", "page_title.x"]}),
        &json!({
            "value": 3, "user_data": {"email_address": ["test@example.com"], "address": [{"city": "Ulm", "country": "DE"}]},
            "items": [{"item_id": "A", "price": 1}], "page_title": "Jane's cart", "client_id": "1.2"
        }),
        &json!({"value": 3, "user_data": {"address": [{"country": "DE"}]}, "items": [{"item_id": "A"}]}),
    );
}

#[test]
fn hash_gives_what_vendors_that_hash_would_make_of_it() {
    gives(
        &json!({"hash": ["user_data", "user_id", "stock"]}),
        &json!({
            "user_id": "User-42", "stock": 3, "kept": "x",
            "user_data": {"email_address": [" Test@Example.com ", JANE.to_uppercase(), "", null], "phone_number": ["+1 (415) 555-2671"],
                          "address": [{"first_name": " Jane", "new": true}]}
        }),
        &json!({
            "user_id": crate::hashing::sha256_hex(b"User-42"), "stock": crate::hashing::sha256_hex(b"3"), "kept": "x",
            "user_data": {"email_address": [JANE, JANE, null, null], "phone_number": [crate::hashing::sha256_hex(b"+14155552671")],
                          "address": [{"first_name": crate::hashing::sha256_hex(b"jane"), "new": true}]}
        }),
    );
}

#[test]
fn what_is_no_number_or_address_is_hashed_all_the_same() {
    gives(
        &json!({"hash": ["user_data"]}),
        &json!({"user_data": {"email_address": ["Jane Doe"], "phone_number": ["0171 1234567"]}}),
        &json!({"user_data": {"email_address": [crate::hashing::sha256_hex(b"jane doe")],
                              "phone_number": [crate::hashing::sha256_hex(b"0171 1234567")]}}),
    );
}

#[test]
fn augment_sets_parameters_at_any_depth() {
    gives(
        &json!({"augment": {
            "profit": "event.value * 0.5", "user_data.email_address": "'a@b.de'", "items.currency": "event.currency", "note.a.b": "1",
            "currency.code": "'x'", "nothing": "null", "event_id": "''", "timestamp_ms": "'soon'"
        }}),
        &json!({"value": 3.0, "currency": "EUR", "items": [{"item_id": "A"}, {"item_id": "B"}]}),
        &json!({
            "value": 3.0, "currency": {"code": "x"}, "profit": 1.5, "user_data": {"email_address": ["a@b.de"]}, "note": {"a": {"b": 1}},
            "items": [{"item_id": "A", "currency": "EUR"}, {"item_id": "B", "currency": "EUR"}]
        }),
    );
}

#[test]
fn what_fails_sets_nothing_and_is_counted() {
    let manifests = json!([{"name": "profit", "augment": {"profit": "event.value * 0.5", "tax": "1"}}]);
    let wanted = (
        event(&json!({"tax": 1})),
        vec!["shop: transformations.profit".to_owned()],
    );
    assert_eq!(after(&manifests, &json!({})), wanted);
}

#[test]
fn each_sees_what_those_before_it_left_and_so_do_variables() {
    let manifests = json!([
        {"augment": {"first": "vars.mail"}},
        {"hash": ["user_data.email_address"]},
        {"augment": {"second": "vars.mail"}}
    ]);
    let (after, _) = after(
        &manifests,
        &json!({"user_data": {"email_address": ["test@example.com"]}}),
    );
    assert_eq!(
        (&after["first"], &after["second"]),
        (&json!("test@example.com"), &json!(JANE))
    );
}

#[test]
fn a_condition_decides() {
    for (when, there) in [("event.value > 2", false), ("event.value > 3", true)] {
        let manifests = json!([{"exclude": ["secret"], "when": when}]);
        assert_eq!(
            after(&manifests, &json!({"value": 3, "secret": 1}))
                .0
                .get("secret")
                .is_some(),
            there,
            "{when}"
        );
    }
}

#[test]
fn a_condition_that_fails_or_says_neither_protects_and_augments_nothing() {
    for when in ["event.absent > 2", "event.value", "event.nothing"] {
        let manifests = json!([
            {"exclude": ["a"], "when": when}, {"hash": ["b"], "when": when}, {"augment": {"d": "1"}, "when": when},
            {"redact": {"patterns": ["Email"]}, "when": when}, {"allow": ["b", "c"], "when": when}
        ]);
        let sent = json!({"value": 3, "nothing": null, "a": "x", "b": "x", "c": "to a@b.de", "e": 1});
        let wanted = event(&json!({"b": crate::hashing::sha256_hex(b"x"), "c": "to [redacted]"}));
        assert_eq!(after(&manifests, &sent).0, wanted, "{when}");
    }
}

fn view(manifests: &Json) -> View {
    let variables = [
        variable("mail", "event.user_data.email_address[0]"),
        variable("sku", "event.sku"),
    ];
    View::new(compiled(manifests), &variables, Arc::default(), b"")
}

fn record(more: &Json) -> Record<'static> {
    let mut record = testing::record(event(more));
    record.vars.insert("mail", "test@example.com");
    record.vars.insert("sku", "BOWL");
    record
}

fn sent() -> Json {
    json!({"sku": "BOWL", "user_data": {"email_address": ["test@example.com"]}})
}

#[test]
fn a_view_hides_the_variables_that_would_show_what_it_hides() {
    for protects in [
        json!({"exclude": ["user_data.email_address"]}),
        json!({"hash": ["user_data"]}),
        json!({"allow": ["sku", "user_data.phone_number"]}),
        json!({"redact": {"patterns": ["Email"], "parameters": ["user_data"]}}),
    ] {
        let mut record = record(&sent());
        view(&json!([protects])).apply(&mut record, &mut BTreeMap::new());
        assert_eq!(record.vars.get("mail"), Some(&Value::Null), "{protects}");
        assert_eq!(record.vars.get("sku"), Some(&Value::from("BOWL")), "{protects}");
    }
}

#[test]
fn a_condition_of_a_view_may_read_what_is_hidden_and_what_is_set_may_not() {
    let view = view(&json!([
        {"exclude": ["user_data"]},
        {"augment": {"leak": "vars.mail", "sku2": "vars.sku"}, "when": "vars.mail.contains('@')"}
    ]));
    let mut record = record(&sent());
    view.apply(&mut record, &mut BTreeMap::new());
    assert_eq!(
        serde_json::to_value(&record.event).unwrap(),
        event(&json!({"sku": "BOWL", "sku2": "BOWL"}))
    );
}

#[test]
fn what_a_dead_letter_has_been_through_is_not_done_again() {
    let view = view(&json!([
        {"augment": {"count": "has(event.count) ? event.count + 1 : 1"}},
        {"exclude": ["sku"]},
        {"augment": {"sku": "'none'"}}
    ]));
    let mut payload = Vec::new();
    codec::encode(&record(&sent()), &mut payload);
    let letter = view.of_payload(&payload).unwrap();
    let again = view.of_payload(&letter).unwrap();
    assert_eq!(again, letter);
    let mut record = codec::decode(&letter).unwrap();
    assert_eq!(record.applied.len(), 3);
    view.apply(&mut record, &mut BTreeMap::new());
    assert_eq!(
        (record.event.get("count"), record.event.text("sku")),
        (Some(&Value::Int(1)), Some("none"))
    );
}

#[test]
fn a_transformation_that_was_changed_since_is_made_on_a_replayed_letter() {
    let mut payload = Vec::new();
    codec::encode(&record(&sent()), &mut payload);
    let letter = view(&json!([{"name": "hide", "exclude": ["sku"]}]))
        .of_payload(&payload)
        .unwrap();
    let stricter = view(&json!([{"name": "hide", "exclude": ["sku", "user_data"]}]));
    let mut record = codec::decode(&letter).unwrap();
    stricter.apply(&mut record, &mut BTreeMap::new());
    assert_eq!(serde_json::to_value(&record.event).unwrap(), event(&json!({})));
}

#[test]
fn a_view_that_does_something_else_has_another_fingerprint() {
    let fingerprints = [
        view(&json!([])),
        view(&json!([{"exclude": ["a"]}])),
        view(&json!([{"exclude": ["b"]}])),
        view(&json!([{"exclude": ["a"], "when": "event.value > 1"}])),
        View::new(compiled(&json!([{"exclude": ["a"]}])), &[], Arc::default(), b"table"),
    ]
    .map(|view| view.fingerprint().to_owned());
    let distinct: std::collections::BTreeSet<_> = fingerprints.iter().collect();
    assert_eq!(distinct.len(), fingerprints.len());
    assert_eq!(fingerprints[1], view(&json!([{"exclude": ["a"]}])).fingerprint());
}
