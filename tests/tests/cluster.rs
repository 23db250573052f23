//! The test cluster itself: what the other tests stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{fs, net::TcpStream, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use serde_json::json;
use tagfleet_crds::TaggingContainer;
use tagfleet_tests::{cluster::Cluster, process};

const PATIENCE: Duration = Duration::from_secs(20);

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: test.local/web}]}
";

#[test]
fn a_deployment_becomes_available_without_a_node() {
    let Some(cluster) = Cluster::without_nodes("a_deployment_becomes_available_without_a_node") else {
        return;
    };
    let space = cluster.namespace("pods");
    space.apply(DEPLOYMENT);

    let running = space.run_pods("app=web", 2, PATIENCE);
    space.wait_for("web", "two pods are available", PATIENCE, |it: &Deployment| {
        it.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    });

    // What a test says of one pod is what the Deployment says.
    space.unready_pod(&running[0].pod, running[0].ip);
    space.wait_for("web", "one pod is available", PATIENCE, |it: &Deployment| {
        it.status.as_ref().and_then(|status| status.available_replicas) == Some(1)
    });
}

#[test]
fn a_gateway_runs_as_its_pod_says() {
    let Some(cluster) = Cluster::without_nodes("a_gateway_runs_as_its_pod_says") else {
        return;
    };
    let space = cluster.namespace("gateways");
    // Given a container, and the children that the operator builds of it (its own golden file),
    space.apply(
        "
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec: {clients: [{name: web, ga4: {}}]}
",
    );
    let shop: TaggingContainer = space.read("shop");
    let golden = process::repository().join("operator/tests/golden/minimal/out.yaml");
    let children = fs::read_to_string(golden)
        .unwrap()
        .replace("4a8bd4a3-8c1d-4b1f-9a55-0d1c5f0f6a01", &shop.metadata.uid.unwrap())
        .replace("namespace: default", &format!("namespace: {}", space.name()))
        .replace(
            r#""namespace": "default""#,
            &format!(r#""namespace": "{}""#, space.name()),
        );
    space.apply(&children);
    let replicas = r#"{"spec":{"replicas":2}}"#;
    space
        .kubectl(&format!("patch deployment shop-gateway -p {replicas}"))
        .ok();

    // when its pods run,
    let gateways = space.run_gateways("app.kubernetes.io/instance=shop", 2, PATIENCE);

    // then each takes hits at its own address, as the newest generation says, and the Deployment is available.
    for gateway in &gateways {
        assert_eq!(gateway.hit("page_view", "id-1", ""), 204, "{}", gateway.log());
        let objects = &gateway.status()["configuration"]["objects"];
        assert_eq!(objects[0], json!({"object": "TaggingContainer/shop", "generation": 1}));
    }
    space.wait_for("shop-gateway", "two pods are available", PATIENCE, |it: &Deployment| {
        it.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    });
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    let space = Cluster::get().namespace("rbac");
    space.kubectl("create serviceaccount reader").ok();
    space
        .kubectl("create role reader --verb=get,list --resource=configmaps")
        .ok();
    let subject = format!("{}:reader", space.name());
    space
        .kubectl(&format!(
            "create rolebinding reader --role=reader --serviceaccount={subject}"
        ))
        .ok();
    let kubeconfig = space.kubeconfig_of("reader");
    let as_reader = |words: &str| space.kubectl(&format!("--kubeconfig {} {words}", kubeconfig.display()));

    assert!(as_reader("get configmaps").success);
    let refusal = as_reader("get secrets").refusal();
    assert!(refusal.contains("forbidden"), "{refusal}");
}

#[test]
fn an_api_server_goes_away_and_comes_back_with_what_it_had() {
    let Some(cluster) = Cluster::own("an_api_server_goes_away_and_comes_back_with_what_it_had") else {
        return;
    };
    let space = cluster.namespace("outage");
    space.kubectl("create configmap kept --from-literal=a=b").ok();
    let server = cluster.server().trim_start_matches("https://").to_owned();

    cluster.stop_api_server();
    assert!(TcpStream::connect(&server).is_err(), "nobody listens");

    cluster.start_api_server();
    assert!(space.find::<ConfigMap>("kept").is_some());
}
