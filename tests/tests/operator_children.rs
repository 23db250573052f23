//! What the operator makes for a container, and how it keeps it: made, changed, mended, taken away, and otherwise left alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{Cluster, Namespace},
    operator::{Operator, Setup},
    process,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// What somebody has broken is whole again within this time.
const SOON: Duration = Duration::from_secs(5);
/// How long nothing must happen.
const QUIET: Duration = Duration::from_secs(30);

/// The children of the contract's example.
const CHILDREN: [&str; 14] = [
    "configmap/shop-config",
    "deployment/shop-gateway",
    "horizontalpodautoscaler/shop-gateway",
    "ingress/shop-gateway",
    "networkpolicy/shop-gateway",
    "poddisruptionbudget/shop-gateway",
    "prometheusrule/shop-gateway",
    "role/shop-gateway",
    "rolebinding/shop-gateway",
    "secret/shop-credentials",
    "service/shop-gateway",
    "service/shop-gateway-peers",
    "serviceaccount/shop-gateway",
    "servicemonitor/shop-gateway",
];

/// The contract's example with the Secret and the table that it points to, and its children.
fn example(space: &Namespace<'_>) -> Operator {
    let operator = Setup::of_namespace(space).start();
    let data = process::repository().join("crds/tests/data/contract.yaml");
    space.apply(&fs::read_to_string(data).unwrap());
    space.apply(
        "
apiVersion: v1
kind: Secret
metadata: {name: shop-secrets, labels: {tagfleet.dev/credentials: 'true'}}
stringData: {mp-secret: one, ga4: two, meta: three, hmac: four, unused: five}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: stock}
data: {thresholds.csv: \"sku,threshold\\nBOWL-10,5\\n\"}
",
    );
    for child in CHILDREN {
        space.wait_until(child, "it is made", PATIENCE, |it| !it.is_null());
    }
    space.wait_for_condition("taggingcontainer/shop", "Accepted", ("True", "Accepted"), PATIENCE);
    operator
}

/// A small container.
fn shop(space: &Namespace<'_>, spec: &Value) {
    let mut spec = spec.clone();
    spec["clients"] = json!([{"name": "web", "ga4": {}}]);
    space.apply_json(
        &json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": "shop"}, "spec": spec}),
    );
}

/// What of a namespace carries the operator's label, as `kind/name`.
fn managed(space: &Namespace<'_>) -> BTreeSet<String> {
    let kinds: BTreeSet<&str> = CHILDREN.iter().map(|child| child.split('/').next().unwrap()).collect();
    let kinds = kinds
        .into_iter()
        .chain(["httproute", "statefulset"])
        .collect::<Vec<_>>()
        .join(",");
    let listed = space
        .kubectl(&format!(
            "get {kinds} -l app.kubernetes.io/managed-by=tagfleet-operator -o name"
        ))
        .ok();
    let name = |line: &str| {
        let (kind, name) = line.split_once('/').unwrap();
        format!("{}/{name}", kind.split('.').next().unwrap())
    };
    listed.lines().map(name).collect()
}

#[test]
fn the_contracts_example_gives_every_child_and_no_other() {
    let space = Cluster::get().namespace("every-child");
    let _operator = example(&space);

    assert_eq!(managed(&space), CHILDREN.map(str::to_owned).into());
    let owner = space.get("taggingcontainer/shop")["metadata"]["uid"].clone();
    for child in CHILDREN {
        let owners = space.get(child)["metadata"]["ownerReferences"].clone();
        assert_eq!(
            (&owners[0]["uid"], &owners[0]["controller"]),
            (&owner, &json!(true)),
            "{child}"
        );
    }
    // Only the keys that are referred to.
    let credentials = space.get("secret/shop-credentials")["data"].clone();
    let keys: Vec<&String> = credentials.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "shop-secrets..ga4",
            "shop-secrets..hmac",
            "shop-secrets..meta",
            "shop-secrets..mp-secret"
        ]
    );
}

#[test]
fn gateway_refs_give_an_http_route_in_place_of_the_ingress() {
    let space = Cluster::get().namespace("http-route");
    let _operator = Setup::of_namespace(&space).start();
    shop(
        &space,
        &json!({"hostnames": ["metrics.shop.example"], "ingress": {"className": "nginx"}}),
    );
    space.wait_until("ingress/shop-gateway", "it is made", PATIENCE, |it| !it.is_null());

    space.patch(
        "taggingcontainer/shop",
        &json!({"spec": {"ingress": null, "gatewayRefs": [{"name": "public"}]}}),
    );

    let route = space.wait_until("httproute/shop-gateway", "it is made", PATIENCE, |it| !it.is_null());
    assert_eq!(route["spec"]["hostnames"], json!(["metrics.shop.example"]));
    assert_eq!(route["spec"]["parentRefs"][0]["name"], "public");
    space.wait_until("ingress/shop-gateway", "it is gone", PATIENCE, Value::is_null);
}

#[test]
fn a_change_of_the_container_changes_its_children() {
    let space = Cluster::get().namespace("change");
    let _operator = Setup::of_namespace(&space).start();
    shop(
        &space,
        &json!({"hostnames": ["a.example"], "ingress": {}, "replicas": {"min": 2, "max": 4}}),
    );
    space.wait_until("ingress/shop-gateway", "it is made", PATIENCE, |it| !it.is_null());

    space.patch(
        "taggingcontainer/shop",
        &json!({"spec": {
            "hostnames": ["a.example", "b.example"], "replicas": {"max": 9},
            "resources": {"requests": {"cpu": "250m"}},
        }}),
    );

    space.wait_until("ingress/shop-gateway", "a rule for each hostname", PATIENCE, |it| {
        it["spec"]["rules"][1]["host"] == "b.example"
    });
    space.wait_until(
        "horizontalpodautoscaler/shop-gateway",
        "nine pods at most",
        PATIENCE,
        |it| it["spec"]["maxReplicas"] == 9,
    );
    space.wait_until("deployment/shop-gateway", "a quarter of a core", PATIENCE, |it| {
        it["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "250m"
    });
}

#[test]
fn what_was_made_goes_with_the_container() {
    let space = Cluster::get().namespace("garbage");
    let _operator = example(&space);
    space.kubectl("delete tc shop").ok();
    for child in CHILDREN {
        space.wait_until(child, "it is gone", PATIENCE, Value::is_null);
    }
}

#[test]
fn each_child_that_is_deleted_comes_back() {
    let space = Cluster::get().namespace("deleted");
    let _operator = example(&space);
    let mut slowest = (Duration::ZERO, "");
    for child in CHILDREN {
        let before = space.get(child)["metadata"]["uid"].clone();
        space.kubectl(&format!("delete {child} --wait=false")).ok();
        let start = Instant::now();
        space.wait_until(child, "it is there again", SOON, |it| {
            !it.is_null() && it["metadata"]["uid"] != before
        });
        slowest = slowest.max((start.elapsed(), child));
    }
    println!("the slowest to come back: {slowest:?}");
}

#[test]
fn each_child_that_is_changed_is_mended() {
    let space = Cluster::get().namespace("changed");
    let _operator = example(&space);
    let changes: BTreeMap<&str, (&str, Value)> = BTreeMap::from([
        (
            "configmap/shop-config",
            ("/data/tagging-container.yaml", json!("changed")),
        ),
        (
            "deployment/shop-gateway",
            ("/spec/template/spec/serviceAccountName", json!("default")),
        ),
        ("horizontalpodautoscaler/shop-gateway", ("/spec/maxReplicas", json!(99))),
        ("ingress/shop-gateway", ("/spec/rules/0/host", json!("other.example"))),
        ("networkpolicy/shop-gateway", ("/spec/ingress", json!([]))),
        ("poddisruptionbudget/shop-gateway", ("/spec/maxUnavailable", json!(0))),
        ("prometheusrule/shop-gateway", ("/spec/groups", json!([]))),
        ("role/shop-gateway", ("/rules", json!([]))),
        ("rolebinding/shop-gateway", ("/subjects", json!([]))),
        (
            "secret/shop-credentials",
            ("/data/shop-secrets..ga4", json!("Y2hhbmdlZA==")),
        ),
        ("service/shop-gateway", ("/spec/ports/0/targetPort", json!(1234))),
        (
            "service/shop-gateway-peers",
            ("/spec/publishNotReadyAddresses", json!(null)),
        ),
        (
            "serviceaccount/shop-gateway",
            ("/metadata/labels/app.kubernetes.io~1part-of", json!("other")),
        ),
        ("servicemonitor/shop-gateway", ("/spec/endpoints/0/port", json!("http"))),
    ]);
    for child in CHILDREN {
        let before = space.get(child);
        let (pointer, changed) = &changes[child];
        let ours = before.pointer(pointer);
        assert_ne!(ours, Some(changed), "{child} {pointer}: no change");

        // A field that the operator owns,
        space.patch_as(
            child,
            "json",
            &json!([{"op": "add", "path": pointer, "value": changed}]),
        );
        space.wait_until(child, &format!("{pointer} is ours again"), SOON, |it| {
            it.pointer(pointer) == ours
        });

        // the label by which it is watched,
        let label = "/metadata/labels/app.kubernetes.io~1managed-by";
        space.patch_as(child, "json", &json!([{"op": "remove", "path": label}]));
        space.wait_until(child, "its label is back", SOON, |it| it.pointer(label).is_some());

        // and whose it is.
        space.patch_as(
            child,
            "json",
            &json!([{"op": "remove", "path": "/metadata/ownerReferences"}]),
        );
        space.wait_until(child, "its owner is back", SOON, |it| {
            it["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
        });
    }
    assert_eq!(managed(&space), CHILDREN.map(str::to_owned).into());
}

/// A port is known by its number, so that ours is gone and another has its name.
#[test]
fn a_service_whose_port_has_another_number_is_mended() {
    let space = Cluster::get().namespace("renumbered");
    let _operator = example(&space);
    let before = space.get("service/shop-gateway");
    space.patch_as(
        "service/shop-gateway",
        "json",
        &json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]),
    );
    space.wait_until("service/shop-gateway", "its ports are ours again", SOON, |it| {
        it["spec"]["ports"] == before["spec"]["ports"]
    });
}

#[test]
fn what_others_add_stays() {
    let space = Cluster::get().namespace("others");
    let _operator = Setup::of_namespace(&space).start();
    shop(
        &space,
        &json!({"replicas": {"min": 2, "max": 5, "autoscaler": "External"}}),
    );
    space.wait_until("deployment/shop-gateway", "it is made", PATIENCE, |it| {
        it["spec"]["replicas"] == 2
    });
    assert!(space.get("horizontalpodautoscaler/shop-gateway").is_null());

    // Given an annotation, a number of pods, and a sidecar, none of them the operator's,
    space
        .kubectl("annotate deployment shop-gateway example.com/owner=shop")
        .ok();
    space.kubectl("scale deployment shop-gateway --replicas=4").ok();
    space.patch_as(
        "deployment/shop-gateway",
        "strategic",
        &json!({"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "test.local/sidecar"}]}}}}),
    );

    // when the operator has reason to write the Deployment,
    space.patch(
        "taggingcontainer/shop",
        &json!({"spec": {"resources": {"requests": {"cpu": "250m"}}}}),
    );
    let deployment = space.wait_until("deployment/shop-gateway", "it is written", PATIENCE, |it| {
        let containers = it["spec"]["template"]["spec"]["containers"].as_array();
        containers
            .into_iter()
            .flatten()
            .any(|it| it["resources"]["requests"]["cpu"] == "250m")
    });

    // then they are still there.
    assert_eq!(deployment["metadata"]["annotations"]["example.com/owner"], "shop");
    assert_eq!(deployment["spec"]["replicas"], 4);
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert!(containers.iter().any(|it| it["name"] == "sidecar"), "{containers:#?}");
}

#[test]
fn at_rest_nothing_is_written() {
    let space = Cluster::get().namespace("rest");
    let operator = example(&space);
    let objects = || -> BTreeMap<String, Value> {
        let destinations = ["analytics", "low-stock", "meta", "orders", "promotions"];
        let own = destinations.map(|name| format!("destination/{name}")).into_iter();
        let all = own
            .chain(["taggingcontainer/shop".to_owned()])
            .chain(CHILDREN.map(str::to_owned));
        // What the controllers of Kubernetes write is theirs, as the status of the HorizontalPodAutoscaler.
        all.map(|object| {
            let mut fields = space.get(&object)["metadata"]["managedFields"].take();
            let fields = fields.as_array_mut().unwrap();
            fields.retain(|it| it["manager"].as_str().unwrap().starts_with("tagfleet-operator"));
            (object, json!(fields))
        })
        .collect()
    };
    // A new Deployment changes for a while, and the operator tells of that.
    let mut before = objects();
    for _ in 0..10 {
        thread::sleep(Duration::from_secs(3));
        let now = objects();
        if now == before {
            break;
        }
        before = now;
    }
    let written = operator.metrics().count("tagfleet_operator_api_requests_total", &[]);
    assert!(written >= 14.0, "{written}");

    thread::sleep(QUIET);

    assert_eq!(objects(), before);
    assert_eq!(
        operator.metrics().count("tagfleet_operator_api_requests_total", &[]),
        written
    );
}

#[test]
fn a_service_of_somebody_else_is_not_taken_over() {
    let space = Cluster::get().namespace("name-taken");
    let _operator = Setup::of_namespace(&space).start();
    space.apply(
        "
apiVersion: v1
kind: Service
metadata: {name: shop-gateway}
spec: {selector: {app: other}, ports: [{port: 443}]}
",
    );
    shop(&space, &json!({}));

    let message = space.wait_for_condition("taggingcontainer/shop", "Degraded", ("True", "NameTaken"), PATIENCE);
    assert!(
        message.contains("Service shop-gateway is there already and belongs to somebody else"),
        "{message}"
    );
    let service = space.get("service/shop-gateway");
    assert_eq!(
        (&service["spec"]["selector"], &service["spec"]["ports"][0]["port"]),
        (&json!({"app": "other"}), &json!(443))
    );
    assert_eq!(service["metadata"]["ownerReferences"], Value::Null);

    // Once the name is free, the fleet stands.
    space.kubectl("delete service shop-gateway").ok();
    space.wait_until("deployment/shop-gateway", "it is made", Duration::from_secs(60), |it| {
        !it.is_null()
    });
}

#[test]
fn a_paused_container_is_left_as_it_is() {
    let space = Cluster::get().namespace("paused");
    let _operator = Setup::of_namespace(&space).start();
    shop(&space, &json!({"hostnames": ["a.example"], "ingress": {}}));
    space.wait_until("ingress/shop-gateway", "it is made", PATIENCE, |it| !it.is_null());

    space.patch(
        "taggingcontainer/shop",
        &json!({"spec": {"paused": true, "hostnames": ["b.example"]}}),
    );
    space.wait_for_condition("taggingcontainer/shop", "Progressing", ("False", "Paused"), PATIENCE);
    space.kubectl("delete ingress shop-gateway").ok();
    thread::sleep(SOON);
    assert!(space.get("ingress/shop-gateway").is_null());

    space.patch("taggingcontainer/shop", &json!({"spec": {"paused": false}}));
    space.wait_until("ingress/shop-gateway", "it is as the container says", PATIENCE, |it| {
        it["spec"]["rules"][0]["host"] == "b.example"
    });
}

#[test]
fn the_older_of_two_containers_owns_a_hostname() {
    let space = Cluster::get().namespace("hostname");
    let _operator = Setup::of_namespace(&space).start();
    let container = |name: &str, hostname: &str| {
        json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": name},
            "spec": {"hostnames": [hostname], "ingress": {}, "clients": [{"name": "web", "ga4": {}}]}})
    };
    space.apply_json(&container("older", "metrics.shop.example"));
    space.wait_for_condition("taggingcontainer/older", "Accepted", ("True", "Accepted"), PATIENCE);
    thread::sleep(Duration::from_secs(1)); // the age of an object is in whole seconds
    space.apply_json(&container("newer", "metrics.shop.example"));

    let refused = ("False", "HostnameConflict");
    let message = space.wait_for_condition("taggingcontainer/newer", "Accepted", refused, PATIENCE);
    assert!(
        message.contains("belongs to the older TaggingContainer older"),
        "{message}"
    );
    assert!(space.get("ingress/newer-gateway").is_null());
    space.wait_for_condition("taggingcontainer/older", "Accepted", ("True", "Accepted"), PATIENCE);

    space.kubectl("delete tc older").ok();
    space.wait_for_condition("taggingcontainer/newer", "Accepted", ("True", "Accepted"), PATIENCE);
    space.wait_until("ingress/newer-gateway", "it is made", PATIENCE, |it| !it.is_null());
}

#[test]
fn a_volume_makes_a_stateful_set_which_replaces_the_deployment_once_it_serves() {
    let Some(cluster) = Cluster::without_nodes("a_volume_makes_a_stateful_set") else {
        return;
    };
    let space = cluster.namespace("volume");
    let _operator = Setup::of_namespace(&space).start();
    shop(&space, &json!({"replicas": {"min": 2, "max": 2}}));
    space.run_pods("app.kubernetes.io/instance=shop", 2, PATIENCE);
    space.wait_until("deployment/shop-gateway", "it serves", PATIENCE, |it| {
        it["status"]["availableReplicas"] == 2
    });

    space.patch(
        "taggingcontainer/shop",
        &json!({"spec": {"buffer": {"disk": {"maxBytes": "1Gi", "volume": {"size": "2Gi"}}}}}),
    );

    space.wait_until("statefulset/shop-gateway", "it is made", PATIENCE, |it| !it.is_null());
    thread::sleep(SOON);
    let deployment = space.get("deployment/shop-gateway");
    assert_eq!(
        deployment["status"]["availableReplicas"], 2,
        "the old pods serve until the new ones do"
    );

    // Two of the Deployment, two of the StatefulSet.
    space.run_pods("app.kubernetes.io/instance=shop", 4, PATIENCE);
    space.wait_until("deployment/shop-gateway", "it is gone", PATIENCE, Value::is_null);
    assert_eq!(space.get("statefulset/shop-gateway")["status"]["availableReplicas"], 2);
}
