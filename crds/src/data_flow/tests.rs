//! Given this container and this destination: what goes there, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    Destination, TaggingContainer,
    conditions::reasons,
    validate::{Objects, Setting, validate, validate_container},
};

/// `spec` of a container with fields laid over a small one.
fn container(fields: Json) -> TaggingContainer {
    let mut spec = json!({"clients": [{"name": "web", "ga4": {}}]});
    spec.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    TaggingContainer::new("shop", serde_json::from_value(spec).unwrap())
}

fn destination(fields: Json) -> Destination {
    let mut spec = json!({"containerRefs": [{"name": "shop"}]});
    spec.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    Destination::new("out", serde_json::from_value(spec).unwrap())
}

fn objects<'o>(container: &'o TaggingContainer, destination: &'o Destination) -> Objects<'o> {
    Objects {
        containers: vec![container],
        destinations: vec![destination],
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        setting: Setting::Check,
    }
}

/// The refusals for leaks.
fn refusals(container: Json, receiver: Json) -> Vec<String> {
    let (container, destination) = (self::container(container), destination(receiver));
    let findings = validate(&objects(&container, &destination)).into_iter();
    findings
        .filter(|finding| finding.reason == reasons::DATA_FLOW)
        .map(|finding| finding.to_string())
        .collect()
}

fn rows_of(container: Json, receiver: Json) -> Vec<Row> {
    let (container, destination) = (self::container(container), destination(receiver));
    let (scope, _) = validate_container(&container, &objects(&container, &destination));
    rows(Pair {
        container: &container.spec,
        scope: &scope,
        name: "out",
        destination: &destination.spec,
        vendor: destination.spec.vendor().unwrap(),
    })
}

fn treatment(rows: &[Row], parameter: &str) -> Option<(Treatment, String)> {
    let row = rows.iter().find(|row| row.parameter == parameter)?;
    Some((row.treatment, row.note.clone()))
}

fn webhook(fields: Json) -> Json {
    let mut receiver = json!({"webhook": {"url": "https://orders.shop.example/hook"}});
    receiver
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    receiver
}

const ONE_CLASS: &str = "card";

fn with_class(member: &str, fields: Json) -> Json {
    let mut container = json!({"privacy": {"classes": [
        {"name": ONE_CLASS, "parameters": [member]}, {"name": "personal", "parameters": ["nothing"]},
    ]}});
    container
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    container
}

#[test]
fn a_destination_that_says_nothing_may_receive_everything() {
    assert!(refusals(json!({}), webhook(json!({}))).is_empty());
    assert!(refusals(json!({}), webhook(json!({"receives": ["personal"]}))).is_empty());
}

#[test]
fn what_is_of_a_class_that_is_not_listed_is_refused_with_what_would_mend_it() {
    let container = with_class("card_number", json!({}));
    assert_eq!(
        refusals(container, webhook(json!({"receives": ["personal"]}))),
        [
            "Destination/out: spec.receives: would send parameters of the class card, which is not listed: add {name: \
             out-without-card, exclude: [card_number], destinations: [out]} to the transformations of the container \
             shop, or list card"
        ]
    );
}

#[test]
fn the_refusals_own_advice_mends_it() {
    let receiver = || webhook(json!({"receives": []}));
    let refused = refusals(json!({}), receiver());
    let (_, rest) = refused[0].split_once("exclude: [").unwrap();
    let (names, _) = rest.split_once(']').unwrap();
    let names: Vec<&str> = names.split(", ").collect();
    let transformations = json!([{"name": "out-without-personal", "exclude": names, "destinations": ["out"]}]);
    assert_eq!(
        refusals(json!({"transformations": transformations}), receiver()),
        Vec::<String>::new()
    );
}

#[test]
fn only_what_certainly_takes_it_out_counts() {
    let refused = |transformation: Json| {
        let container = with_class("user_data.email_address", json!({"transformations": [transformation]}));
        !refusals(container, webhook(json!({"receives": ["personal"]}))).is_empty()
    };
    for (transformation, leaks) in [
        (json!({"name": "t", "exclude": ["user_data.email_address"]}), false),
        (json!({"name": "t", "exclude": ["user_data"]}), false),
        (
            json!({"name": "t", "exclude": ["user_data"], "destinations": ["out"]}),
            false,
        ),
        (
            json!({"name": "t", "allow": ["value", "user_data.phone_number"]}),
            false,
        ),
        (json!({"name": "t", "exclude": ["user_data.phone_number"]}), true),
        (
            json!({"name": "t", "exclude": ["user_data"], "destinations": ["another"]}),
            true,
        ),
        (
            json!({"name": "t", "exclude": ["user_data"], "when": "event.value > 1.0"}),
            true,
        ),
        (json!({"name": "t", "allow": ["user_data"]}), true),
        (json!({"name": "t", "hash": ["user_data.email_address"]}), true),
        (json!({"name": "t", "redact": {"patterns": ["Email"]}}), true),
    ] {
        assert_eq!(refused(transformation.clone()), leaks, "{transformation}");
    }
}

#[test]
fn a_vendor_that_does_not_send_it_needs_no_exclusion() {
    let meta = json!({
        "receives": ["personal"], "metaConversions": {"pixelId": "1", "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}}}
    });
    assert!(refusals(with_class("user_properties", json!({})), meta.clone()).is_empty());
    assert_eq!(refusals(with_class("items.item_id", json!({})), meta.clone()).len(), 1);
    assert!(refusals(with_class("items.colour", json!({})), meta).is_empty());
}

#[test]
fn expressions_send_what_they_read() {
    let container = |fields| with_class("loyalty_number", fields);
    let receiver = |expression: &str| {
        json!({"receives": ["personal"], "metaConversions": {
            "pixelId": "1", "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}}, "parameters": {"level": expression}
        }})
    };
    let variables = json!({"variables": [
        {"name": "member", "expression": "event.loyalty_number"}, {"name": "level", "expression": "vars.member + '!'"},
    ]});
    let expected = [
        "Destination/out: spec.metaConversions.parameters.level: would send loyalty_number (class card), which \
                     spec.receives does not list: change the expression, or list card there",
    ];
    assert_eq!(
        refusals(container(json!({})), receiver("event.loyalty_number")),
        expected
    );
    assert_eq!(refusals(container(variables), receiver("vars.level")), expected);
    assert_eq!(refusals(container(json!({})), receiver("size(event)")), expected);
    assert!(refusals(container(json!({})), receiver("event.value")).is_empty());
    let excluded = json!({"transformations": [{"name": "t", "exclude": ["loyalty_number"]}]});
    assert!(refusals(container(excluded), receiver("event.loyalty_number")).is_empty());
}

#[test]
fn a_copy_under_another_name_is_no_way_out() {
    let copy = json!({"name": "copy", "augment": {"member": "event.card_number"}});
    let gone = json!({"name": "gone", "exclude": ["card_number"]});
    let receiver = || webhook(json!({"receives": ["personal"]}));
    let leak = refusals(
        with_class("card_number", json!({"transformations": [copy.clone(), gone.clone()]})),
        receiver(),
    );
    assert_eq!(
        leak,
        [
            "Destination/out: spec.receives: would send card_number (class card, which is not listed) as member, which the \
          transformation copy of the container shop sets: exclude member for this destination behind it, or list card"
        ]
    );
    let before = with_class("card_number", json!({"transformations": [gone, copy.clone()]}));
    assert!(refusals(before, receiver()).is_empty());
    // What is done for all is done first, wherever it stands in the list.
    let own = json!({"name": "own", "exclude": ["card_number"], "destinations": ["out"]});
    let late = with_class("card_number", json!({"transformations": [own, copy]}));
    assert_eq!(refusals(late, receiver()).len(), 1);
}

#[test]
fn what_is_overwritten_may_still_be_there() {
    let over = json!({"transformations": [{"name": "over", "augment": {"card_number": "event.value"}}]});
    assert_eq!(
        refusals(
            with_class("card_number", over),
            webhook(json!({"receives": ["personal"]}))
        )
        .len(),
        1
    );
}

#[test]
fn an_address_that_is_removed_for_all_goes_nowhere() {
    let mut container = with_class("ip_override", json!({}));
    container["privacy"]["ipAddress"] = json!("Remove");
    assert!(refusals(container.clone(), webhook(json!({"receives": ["personal"]}))).is_empty());
    let rows = rows_of(container, webhook(json!({})));
    assert_eq!(
        treatment(&rows, "ip_override"),
        Some((Treatment::Removed, "by privacy.ipAddress".to_owned()))
    );
}

#[test]
fn a_record_says_what_becomes_of_each_parameter() {
    let transformations = json!({"transformations": [
        {"name": "slim", "exclude": ["client_hints"]},
        {"name": "mail", "hash": ["user_data.email_address"], "when": "has(event.user_data)"},
        {"name": "id", "hash": ["client_id"], "destinations": ["out"]},
        {"name": "level", "augment": {"level": "event.value > 100.0"}},
        {"name": "not-here", "exclude": ["value"], "destinations": ["another"]},
    ]});
    let rows = rows_of(transformations, webhook(json!({})));
    let text = |parameter| treatment(&rows, parameter).unwrap();
    assert_eq!(text("value"), (Treatment::AsItIs, String::new()));
    assert_eq!(text("client_hints"), (Treatment::Removed, "by slim".to_owned()));
    assert_eq!(
        text("user_data.email_address"),
        (
            Treatment::AsItIs,
            "hashed by mail, only when has(event.user_data)".to_owned()
        )
    );
    assert_eq!(text("client_id"), (Treatment::Hashed, "hashed by id".to_owned()));
    assert_eq!(text("ip_override"), (Treatment::Truncated, String::new()));
    assert_eq!(
        text("level"),
        (Treatment::Computed, "set by level: event.value > 100.0".to_owned())
    );
    assert_eq!(text(""), (Treatment::AsItIs, String::new()), "custom parameters");
}

#[test]
fn an_allow_list_leaves_what_it_names_and_no_custom_parameters() {
    let transformations =
        json!({"transformations": [{"name": "few", "allow": ["value", "user_data.address.country"]}]});
    let rows = rows_of(transformations, webhook(json!({})));
    assert_eq!(treatment(&rows, "value").unwrap().0, Treatment::AsItIs);
    assert_eq!(treatment(&rows, "event_id").unwrap().0, Treatment::AsItIs);
    assert_eq!(
        treatment(&rows, "user_data.address.country").unwrap().0,
        Treatment::AsItIs
    );
    assert_eq!(
        treatment(&rows, "client_id"),
        Some((Treatment::Removed, "by few".to_owned()))
    );
    assert_eq!(treatment(&rows, ""), None);
    assert_eq!(treatment(&rows, "user_data"), None, "its member has a row");
}

#[test]
fn what_a_vendor_hashes_and_computes_is_in_its_record() {
    let receiver = json!({"pubSub": {"project": "demo", "topic": "orders", "attributes": {"who": "event.user_id"}}});
    let rows = rows_of(json!({}), receiver);
    let who = rows.iter().find(|row| row.parameter == "attributes.who").unwrap();
    assert_eq!((who.treatment, &*who.note), (Treatment::Computed, "event.user_id"));
    assert_eq!(who.classes, ["personal"]);
    let meta = json!({"metaConversions": {"pixelId": "1", "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}}}});
    let rows = rows_of(json!({}), meta);
    assert_eq!(
        treatment(&rows, "user_data.email_address").unwrap().0,
        Treatment::Hashed
    );
    assert_eq!(treatment(&rows, "client_id"), None, "Meta does not get it");
    assert_eq!(treatment(&rows, ""), None);
}

/// A chain of variables that each read the one before twice must not take exponential time.
#[test]
fn variables_that_read_each_other_many_times_are_followed_once() {
    let mut variables = vec![json!({"name": "v0", "expression": "event.user_id"})];
    for number in 1..60 {
        let before = format!("vars.v{}", number - 1);
        variables.push(json!({"name": format!("v{number}"), "expression": format!("{before} + {before}")}));
    }
    let receiver = json!({"receives": [], "metaConversions": {
        "pixelId": "1", "accessToken": {"secretKeyRef": {"name": "s", "key": "k"}}, "parameters": {"level": "vars.v59"}
    }});
    let container = json!({"variables": variables, "privacy": {"classes": [
        {"name": "personal", "parameters": ["user_id"]},
    ]}});
    // Meta itself sends it hashed, which is personal still.
    assert_eq!(refusals(container, receiver).len(), 2);
}
