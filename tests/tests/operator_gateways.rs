//! What operator and gateways make of each other: the operator's pods run real gateways, and it tells what they say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{Cluster, Namespace, find_condition},
    operator::{Operator, Setup},
    sink::{Behaviour, Sink},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// A change is in force within this time (docs: 1 s).
const IN_FORCE: Duration = Duration::from_secs(1);
const PODS: &str = "app.kubernetes.io/instance=shop";
const SHOP: &str = "taggingcontainer/shop";

/// An operator that allows receivers on loopback, and a container with so many pods.
fn shop(space: &Namespace<'_>, pods: u32) -> Operator {
    shop_with(space, pods, &json!({}))
}

/// The same with this buffer.
fn shop_with(space: &Namespace<'_>, pods: u32, buffer: &Value) -> Operator {
    let operator = Setup::of_namespace(space)
        .argument("--allowed-private-destinations")
        .argument("127.0.0.0/8")
        .start();
    space.apply_json(
        &json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": "shop"},
        "spec": {"clients": [{"name": "web", "ga4": {}}], "replicas": {"min": pods, "max": pods}, "buffer": buffer}}),
    );
    operator
}

fn destination(space: &Namespace<'_>, name: &str, vendor: &Value) {
    let mut spec = vendor.clone();
    spec["containerRefs"] = json!([{"name": "shop"}]);
    space.apply_json(&json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination",
        "metadata": {"name": name}, "spec": spec}));
}

fn webhook(sink: &Sink) -> Value {
    json!({"webhook": {"url": format!("{}/hook", sink.url())},
        "delivery": {"batch": {"maxDelay": "0s"}, "retry": {"initialBackoff": "1s", "maxBackoff": "2s"}}})
}

#[test]
fn the_status_fills_in_with_what_the_gateway_tells() {
    let Some(cluster) = Cluster::without_nodes("the_status_fills_in_with_what_the_gateway_tells") else {
        return;
    };
    let space = cluster.namespace("figures");
    let sink = Sink::start();
    let _operator = shop(&space, 1);
    destination(&space, "orders", &webhook(&sink));
    let gateway = &space.run_gateways(PODS, 1, PATIENCE)[0];

    // The container serves.
    space.wait_for_condition(SHOP, "Ready", ("True", "Serving"), PATIENCE);
    space.wait_for_condition(SHOP, "Degraded", ("False", "Healthy"), PATIENCE);
    space.wait_for_condition(SHOP, "Progressing", ("False", "RolledOut"), PATIENCE);
    let it_all = json!({"updated": 1, "total": 1});
    let shop = space.wait_until(SHOP, "its gateway has it all", PATIENCE, |it| {
        it["status"]["gateways"] == it_all
    });
    assert_eq!(
        (&shop["status"]["pods"]["summary"], &shop["status"]["destinations"]),
        (&json!("1/1"), &json!(1))
    );

    // Its figures come from what the gateway counted.
    let hits = Cell::new(0);
    let status = space.wait_until(SHOP, "events in a second", PATIENCE, |it| {
        hits.set(hits.get() + 1);
        assert_eq!(gateway.hit("page_view", &format!("id-{}", hits.get()), ""), 204);
        it["status"]["eventsPerSecond"]
            .as_str()
            .is_some_and(|figure| figure != "0")
    });
    assert_eq!(status["status"]["errors"], "0%");

    // The Destination delivers,
    space.wait_for_condition("destination/orders", "Delivering", ("True", "Delivering"), PATIENCE);
    // until its receiver fails,
    sink.behave(&Behaviour {
        status: Some(500),
        ..Behaviour::default()
    });
    let late: Vec<String> = (1..=10).map(|number| format!("late-{number}")).collect();
    for id in &late {
        assert_eq!(gateway.hit("purchase", id, ""), 204);
        thread::sleep(Duration::from_millis(50)); // a batch of its own
    }
    let failing = ("False", "VendorFailing");
    let message = space.wait_for_condition("destination/orders", "Delivering", failing, PATIENCE);
    assert!(message.contains("500"), "{message}");
    let status = space.wait_until("destination/orders", "a lag", PATIENCE, |it| {
        it["status"]["lag"].is_string()
    });
    assert!(
        status["status"]["lastError"].as_str().unwrap().contains("500"),
        "{status:#}"
    );
    // whose outage is nothing that the fleet has to answer for,
    space.wait_for_condition(SHOP, "Ready", ("True", "Serving"), PATIENCE);
    space.wait_for_event("orders", "VendorFailing", PATIENCE);
    // and comes back.
    sink.behave(&Behaviour::default());
    space.wait_for_condition("destination/orders", "Delivering", ("True", "Delivering"), PATIENCE);
    wait::until_true("what was late arrives", PATIENCE, || {
        let arrived = sink.ids();
        late.iter().all(|id| arrived.contains_key(id))
    });
}

#[test]
fn an_edit_is_in_force_in_every_gateway_at_once_and_the_status_says_so() {
    let Some(cluster) = Cluster::without_nodes("an_edit_is_in_force_in_every_gateway_at_once") else {
        return;
    };
    let space = cluster.namespace("in-force");
    let sink = Sink::start();
    let _operator = shop(&space, 2);
    destination(&space, "orders", &webhook(&sink));
    let gateways = space.run_gateways(PODS, 2, PATIENCE);
    let all = |object: &str, generation: i64| {
        let this = json!({"object": object, "generation": generation});
        let has = |status: Value| status["configuration"]["objects"].as_array().unwrap().contains(&this);
        gateways.iter().all(|gateway| has(gateway.status()))
    };
    wait::until_true("both have it in force", PATIENCE, || all("Destination/orders", 1));

    let mut slowest = Duration::ZERO;
    for generation in 2..6 {
        space.patch(
            "destination/orders",
            &json!({"spec": {"trigger": {"events": [format!("purchase-{generation}")]}}}),
        );
        let start = Instant::now();
        wait::until_true("both have it in force", PATIENCE, || {
            all("Destination/orders", generation)
        });
        slowest = slowest.max(start.elapsed());
    }
    println!("the slowest of 4 changes was in force in both gateways after {slowest:?}");
    assert!(slowest <= IN_FORCE, "{slowest:?}");

    let of_newest = |it: &Value| it["status"]["observedGeneration"] == it["metadata"]["generation"];
    space.wait_until("destination/orders", "both gateways have it", PATIENCE, |it| {
        of_newest(it) && it["status"]["gateways"] == json!({"updated": 2, "total": 2})
    });
    // The same for the container; no pod is replaced for it.
    let pods = |space: &Namespace<'_>| {
        space
            .pods(PODS)
            .into_iter()
            .map(|pod| pod.metadata.uid)
            .collect::<Vec<_>>()
    };
    let before = pods(&space);
    space.patch(
        SHOP,
        &json!({"spec": {"variables": [{"name": "one", "expression": "1"}]}}),
    );
    wait::until_true("both have it in force", PATIENCE, || all("TaggingContainer/shop", 2));
    space.wait_until(SHOP, "both gateways have it", PATIENCE, |it| {
        of_newest(it) && it["status"]["gateways"] == json!({"updated": 2, "total": 2})
    });
    assert_eq!(pods(&space), before);
}

#[test]
fn what_a_gateway_refuses_shows_and_the_others_go_on() {
    let Some(cluster) = Cluster::without_nodes("what_a_gateway_refuses_shows_and_the_others_go_on") else {
        return;
    };
    let space = cluster.namespace("refused");
    let sink = Sink::start();
    let _operator = shop(&space, 1);
    destination(&space, "orders", &webhook(&sink));
    let gateway = &space.run_gateways(PODS, 1, PATIENCE)[0];
    space.wait_for_condition("destination/orders", "Delivering", ("True", "Delivering"), PATIENCE);

    // To the operator it is an address like any other; the gateway, which would connect, refuses it.
    destination(
        &space,
        "inside",
        &json!({"webhook": {"url": "https://10.255.255.1/hook"}}),
    );

    let refused = ("False", "GatewayRefused");
    let message = space.wait_for_condition("destination/inside", "Delivering", refused, PATIENCE);
    assert!(message.contains("spec.webhook.url"), "{message}");
    let message = space.wait_for_condition(SHOP, "Degraded", ("True", "GatewayRefused"), PATIENCE);
    assert!(message.contains("inside"), "{message}");
    // The operator's own verdict is another matter.
    space.wait_for_condition("destination/inside", "Accepted", ("True", "Accepted"), PATIENCE);

    assert_eq!(gateway.hit("purchase", "goes-on", ""), 204);
    wait::until_true("the other destination delivers", PATIENCE, || {
        sink.ids().contains_key("goes-on")
    });
    space.wait_for_condition(SHOP, "Ready", ("True", "Serving"), PATIENCE);

    space.kubectl("delete dest inside").ok();
    space.wait_for_condition(SHOP, "Degraded", ("False", "Healthy"), PATIENCE);
}

#[test]
fn a_buffer_that_takes_no_hits_is_told_with_what_to_do() {
    let Some(cluster) = Cluster::without_nodes("a_buffer_that_takes_no_hits_is_told_with_what_to_do") else {
        return;
    };
    let space = cluster.namespace("full");
    let sink = Sink::start();
    let buffer = json!({"memory": {"maxBytes": "16Ki"}, "whenFull": "Refuse"});
    let _operator = shop_with(&space, 1, &buffer);
    destination(&space, "orders", &webhook(&sink));
    space.patch("destination/orders", &json!({"spec": {"paused": true}}));
    let gateway = &space.run_gateways(PODS, 1, PATIENCE)[0];
    space.wait_for_condition(SHOP, "Degraded", ("False", "Healthy"), PATIENCE);

    let taken = (0..1_000).take_while(|number| gateway.hit("purchase", &format!("id-{number}"), "") == 204);
    let taken = taken.count();
    assert!((1..1_000).contains(&taken), "{taken} hits were taken");
    let message = space.wait_for_condition(SHOP, "Degraded", ("True", "HitsRefused"), PATIENCE);
    assert!(
        message.contains("1 of 1 gateway answers hits with 503")
            && message.contains("the buffer is full (16384 bytes)"),
        "{message}"
    );
    space.wait_for_event("shop", "HitsRefused", PATIENCE);

    // What was taken is delivered when that is mended, and all is well a minute after the last hit that was refused.
    space.patch("destination/orders", &json!({"spec": {"paused": false}}));
    sink.wait_for_ids(taken, PATIENCE);
    assert_eq!(gateway.hit("purchase", "goes-on", ""), 204);
    space.wait_for_condition(SHOP, "Degraded", ("False", "Healthy"), 2 * PATIENCE);
}

#[test]
fn a_pod_that_does_not_start_is_told_with_what_to_do() {
    let Some(cluster) = Cluster::without_nodes("a_pod_that_does_not_start_is_told_with_what_to_do") else {
        return;
    };
    let space = cluster.namespace("image");
    let _operator = shop(&space, 1);
    wait::until_true("a pod", PATIENCE, || space.pods(PODS).len() == 1);
    let pod = space.pods(PODS)[0].metadata.name.clone().unwrap();
    space.waiting_pod(&pod, "ImagePullBackOff", "Back-off pulling image");

    // It was unschedulable before, for there is no node.
    for condition in ["Ready", "Degraded"] {
        space.wait_until(SHOP, &format!("{condition} says what to do"), PATIENCE, |it| {
            let message = find_condition(it, condition)["message"].as_str().unwrap_or_default();
            message.contains("cannot be pulled") && message.contains(&format!("kubectl describe pod {pod}"))
        });
    }
    space.wait_for_condition(SHOP, "Ready", ("False", "PodsNotReady"), PATIENCE);
    space.wait_for_condition(SHOP, "Degraded", ("True", "PodsFailing"), PATIENCE);
    assert_eq!(space.get(SHOP)["status"]["pods"]["summary"], "0/1");
    space.wait_for_event("shop", "PodsFailing", PATIENCE);

    // The image is there after all.
    space.kubectl(&format!("delete pod {pod}")).ok();
    wait::until_true("another pod", PATIENCE, || {
        space
            .pods(PODS)
            .iter()
            .any(|it| it.metadata.name.as_ref() != Some(&pod))
    });
    let _gateways = space.run_gateways(PODS, 1, PATIENCE);
    space.wait_for_condition(SHOP, "Ready", ("True", "Serving"), PATIENCE);
    space.wait_for_condition(SHOP, "Degraded", ("False", "Healthy"), PATIENCE);
}
