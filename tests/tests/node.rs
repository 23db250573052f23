//! The whole of it on a node: images, the operator and gateways as pods of the restricted standard, nginx in front by the
//! operator's Ingress (it stands in for a controller), and what is promised of hits while a configuration changes and pods
//! come and go. scripts/test node runs it, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use serde_json::json;
use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, assert_nothing_refused, image_of, lives, webhook},
        node::{ADDRESS, Node, OTHER_GATEWAY_IMAGE},
    },
    figures::{note, seconds},
    sink::Sink,
    wait,
};

#[test]
fn a_hit_through_the_ingress_ends_at_a_sink() {
    let Some(node) = Node::get("a_hit_through_the_ingress_ends_at_a_sink") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "ingress", &sink);

    let status = fleet.hit_over_tls("purchase", "through-the-ingress");

    assert_eq!(status, "204");
    sink.wait_for_ids(1, PATIENCE);
    assert!(sink.ids().contains_key("through-the-ingress"), "{:?}", sink.ids());
    let figure = format!("{} from `kubectl apply` to `Ready`", seconds(fleet.ready_after));
    note("A fleet of two is made, and a hit over TLS ends at a sink", &figure);
}

/// Each change is in force in every pod within a second, and no hit is refused.
#[test]
fn a_destination_is_edited_added_broken_and_mended_under_load() {
    let Some(node) = Node::get("a_destination_is_edited_added_broken_and_mended_under_load") else {
        return;
    };
    let (sink, second) = (Sink::at(ADDRESS), Sink::at(ADDRESS));
    let fleet = Fleet::apply(node, "edit", &sink);
    let pods = fleet.pods(2);
    let load = fleet.load(200, 20);

    // Edited,
    let mut slowest = Duration::ZERO;
    let mut orders = webhook(&sink);
    for name in ["one", "two", "three"] {
        orders["webhook"]["parameters"] = json!({"edit": format!("'{name}'")});
        let generation = fleet.destination("orders", &orders);
        slowest = slowest.max(fleet.wait_until_in_force("orders", generation, &pods));
    }
    // added,
    let generation = fleet.destination("added", &webhook(&second));
    slowest = slowest.max(fleet.wait_until_in_force("added", generation, &pods));
    wait::until_true("the added one gets events", PATIENCE, || second.stats().events > 0);
    // broken: it goes on in its last good form, and says why,
    let mut broken = webhook(&second);
    broken["trigger"] = json!({"when": "event.value >"});
    fleet.destination("added", &broken);
    let says = ("False", "ExpressionInvalid");
    let message = fleet
        .space
        .wait_for_condition("destination/added", "Accepted", says, PATIENCE);
    assert!(message.contains("spec.trigger.when"), "{message}");
    let before = second.stats().events;
    wait::until_true("it goes on in its last good form", PATIENCE, || {
        second.stats().events > before
    });
    // and mended.
    let generation = fleet.destination("added", &webhook(&second));
    slowest = slowest.max(fleet.wait_until_in_force("added", generation, &pods));
    let says = ("True", "Accepted");
    fleet
        .space
        .wait_for_condition("destination/added", "Accepted", says, PATIENCE);

    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let sent = fleet.finish(load);
    assert_nothing_refused(&sent);
    let arrived = fleet.assert_nothing_lost(&sink);
    assert_eq!(lives(&fleet.pods(2)), lives(&pods), "no pod was restarted");
    note(
        "A Destination is edited, added, broken and mended under load",
        &format!(
            "in force in every pod after {} ms at most; {arrived} hits, none refused, none lost",
            slowest.as_millis()
        ),
    );
}

#[test]
fn pods_that_are_deleted_or_rolled_to_another_image_drop_no_hit_and_lose_no_event() {
    let Some(node) = Node::get("pods_that_are_deleted_or_rolled_to_another_image_drop_no_hit_and_lose_no_event") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "rolled", &sink);
    let pods = fleet.pods(2);
    let load = fleet.load(200, 45);

    fleet
        .space
        .kubectl(&format!("delete pod {} --wait=false", pods[0].name_any()))
        .ok();
    drop(fleet.pods(2));
    let start = Instant::now();
    fleet
        .space
        .patch("tc/shop", &json!({"spec": {"image": OTHER_GATEWAY_IMAGE}}));
    wait::until_true("every pod runs the other image", PATIENCE, || {
        fleet.pods(2).iter().all(|pod| image_of(pod) == OTHER_GATEWAY_IMAGE)
    });
    let took = start.elapsed();

    let sent = fleet.finish(load);
    assert_nothing_refused(&sent);
    let arrived = fleet.assert_nothing_lost(&sink);
    note(
        "A pod is deleted, then the fleet is rolled to another image, under load",
        &format!("rolled in {}; {arrived} hits, none refused, none lost", seconds(took)),
    );
}
