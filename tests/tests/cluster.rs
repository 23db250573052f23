//! The test cluster itself: what the other tests stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{net::TcpStream, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use tagfleet_tests::cluster::Cluster;

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
