//! The Helm charts on a real API server. What they render, scripts/charts checks without one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tagfleet_crds::{Destination, TaggingContainer, generated, schema};
use tagfleet_tests::{
    cluster::Cluster,
    helm::{self, Helm},
    install_page::{self, Blocks},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(60);
const KINDS: [&str; 2] = ["taggingcontainers.tagfleet.dev", "destinations.tagfleet.dev"];

const SHOP: &str = "
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec:
  hostnames: [metrics.shop.example]
  clients: [{name: web, ga4: {}}]
---
apiVersion: tagfleet.dev/v1alpha1
kind: Destination
metadata: {name: orders}
spec:
  containerRefs: [{name: shop}]
  webhook: {url: https://orders.shop.example/hook}
";

/// In a namespace that holds pods to the restricted Pod Security Standard, and warns of whatever makes such pods.
#[test]
fn every_object_of_every_profile_is_accepted_without_a_warning() {
    let space = Cluster::get().namespace("rendered");
    let name = space.name();
    let standard = "pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted";
    space.kubectl(&format!("label namespace {name} {standard}")).ok();
    let watch = format!("watchNamespace={name}");

    for (profile, values) in [
        ("cluster", &[][..]),
        ("namespaced", &["--set", &watch]),
        ("everything", &["--set", &watch]),
    ] {
        let file = helm::chart("tagfleet").join("tests").join(profile).join("values.yaml");
        let rendered = helm::template(name, &[&["--values", file.to_str().unwrap()], values].concat());
        let answer = Cluster::get().kubectl_with(["apply", "--dry-run=server", "-f", "-"], &rendered);
        assert_eq!(answer.stderr, "", "{profile}");
        let objects = rendered.matches("\nkind: ").count();
        assert_eq!(answer.ok().lines().count(), objects, "{profile}");
    }
}

#[test]
fn crds_are_upgraded_under_stored_objects_and_outlive_the_release() {
    let Some(cluster) = Cluster::own("crds_are_upgraded_under_stored_objects_and_outlive_the_release") else {
        return;
    };
    let helm = without_kinds(&cluster);
    let space = cluster.namespace("shop");
    let with_ingress = SHOP.replacen("spec:\n", "spec:\n  ingress: {className: nginx}\n", 1);

    // Given a release whose TaggingContainer knew no Ingress, and objects of users,
    let scratch = tempfile::tempdir().unwrap();
    let older = older_chart(scratch.path());
    helm.run(["install", "tagfleet-crds", older.to_str().unwrap()]).ok();
    install_operator(&helm, "tagfleet");
    wait::until_true("the kinds are served", PATIENCE, || {
        space.kubectl_with("apply -f -", SHOP).success
    });
    assert!(space.refusal(&with_ingress).contains("unknown field \"spec.ingress\""));
    let stored = space.read::<TaggingContainer>("shop");

    // an upgrade brings the field, and leaves what is stored as it was.
    let newest = helm::chart("tagfleet-crds");
    helm.run(["upgrade", "tagfleet-crds", newest.to_str().unwrap()]).ok();
    let after = space.read::<TaggingContainer>("shop");
    assert_eq!(
        (after.metadata.uid, after.metadata.generation),
        (stored.metadata.uid.clone(), stored.metadata.generation)
    );
    wait::until_true("the new field is known", PATIENCE, || {
        space.kubectl_with("apply -f -", &with_ingress).success
    });

    // Uninstalled, in the worse order, the operator is gone, and kinds and objects are there.
    helm.run(["uninstall", "tagfleet-crds"]).ok();
    helm.run(["uninstall", "tagfleet", "--namespace", "tagfleet"]).ok();
    let ours = "app.kubernetes.io/instance=tagfleet";
    let kinds = "deployments,services,serviceaccounts,networkpolicies,poddisruptionbudgets,roles,rolebindings";
    wait::until_true("nothing of the operator is left", PATIENCE, || {
        let left = cluster.kubectl(["get", kinds, "--all-namespaces", "--selector", ours, "-o", "name"]);
        left.ok().is_empty()
    });
    let left = cluster.kubectl([
        "get",
        "clusterroles,clusterrolebindings",
        "--selector",
        ours,
        "-o",
        "name",
    ]);
    assert_eq!(left.ok(), "");
    let kept = space.read::<TaggingContainer>("shop").metadata;
    assert_eq!((kept.uid, kept.deletion_timestamp), (stored.metadata.uid, None));
    assert!(space.find::<Destination>("orders").is_some());

    // And it can be installed again over them.
    helm.run(["install", "tagfleet-crds", newest.to_str().unwrap()]).ok();
}

#[test]
fn a_second_release_that_would_look_after_the_same_is_refused() {
    let Some(cluster) = Cluster::own("a_second_release_that_would_look_after_the_same_is_refused") else {
        return;
    };
    let helm = Helm::of(&cluster);
    install_operator(&helm, "tagfleet");
    let chart = helm::chart("tagfleet");
    let install = ["install", "tagfleet", chart.to_str().unwrap(), "--create-namespace"];

    let second = helm.run(install.iter().chain(&["--namespace", "second"])).refusal();
    assert!(second.contains("ClusterRole \"tagfleet-operator\""), "{second}");

    cluster.kubectl(["create", "namespace", "shop"]).ok();
    let of_shop = ["--set", "watchNamespace=shop", "--namespace"];
    helm.run(install.iter().chain(&of_shop).chain(&["shop"])).ok();
    let third = helm.run(install.iter().chain(&of_shop).chain(&["third"])).refusal();
    assert!(third.contains("Role \"tagfleet-operator\""), "{third}");
}

/// The pod's script runs where there is a node; here the test says how the pod ended.
#[test]
fn helm_test_makes_a_fleet_and_takes_it_away() {
    let test = "helm_test_makes_a_fleet_and_takes_it_away";
    let Some(cluster) = Cluster::without_nodes(test) else {
        return;
    };
    let space = cluster.namespace("helm-test");
    let name = space.name();
    let helm = Helm::of(cluster);
    let chart = helm::chart("tagfleet");
    let watch = format!("watchNamespace={name}");
    helm.run([
        "install",
        "tagfleet",
        chart.to_str().unwrap(),
        "--namespace",
        name,
        "--set",
        &watch,
    ])
    .ok();
    let pod = "tagfleet-operator-test";

    for (phase, is_well) in [("Failed", false), ("Succeeded", true)] {
        let answer = thread::scope(|scope| {
            let running = scope.spawn(|| helm.run(["test", "tagfleet", "--namespace", name, "--timeout", "60s"]));
            space.wait_for(pod, "is made and new", PATIENCE, |pod: &Pod| {
                pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Pending")
            });
            assert!(space.find::<TaggingContainer>("tagfleet-test").is_some());
            let status = json!({"status": {"phase": phase}}).to_string();
            let patch = [
                "patch",
                "pod",
                pod,
                "--namespace",
                name,
                "--subresource=status",
                "-p",
                &status,
            ];
            cluster.kubectl(patch).ok();
            running.join().unwrap()
        });
        assert_eq!(answer.success, is_well, "{phase}: {}{}", answer.stdout, answer.stderr);
        assert_eq!(space.find::<TaggingContainer>("tagfleet-test"), None, "{phase}");
        assert_eq!(
            space.find::<Pod>(pod).is_some(),
            !is_well,
            "a log is of use after a failure"
        );
    }
    helm.run(["uninstall", "tagfleet", "--namespace", name]).ok();
}

#[test]
fn the_commands_of_the_installation_page_work() {
    let Some(cluster) = Cluster::own("the_commands_of_the_installation_page_work") else {
        return;
    };
    let helm = without_kinds(&cluster);
    install_page::run_blocks(&cluster, Blocks::WithoutPods);
    // The page ends with an uninstallation that keeps what users made.
    assert_eq!(helm.run(["list", "--all-namespaces", "--short"]).ok(), "");
    let kept = cluster
        .kubectl(["get", "taggingcontainers", "--all-namespaces", "-o", "name"])
        .ok();
    assert!(kept.contains("taggingcontainer.tagfleet.dev/shop"), "{kept}");
}

/// Helm in a cluster that has neither of our kinds yet.
fn without_kinds(cluster: &Cluster) -> Helm {
    cluster.kubectl(["delete", "crd"].iter().chain(&KINDS)).ok();
    Helm::of(cluster)
}

/// Without waiting for pods, of which there are none.
fn install_operator(helm: &Helm, namespace: &str) {
    let chart = helm::chart("tagfleet");
    let install = [
        "install",
        "tagfleet",
        chart.to_str().unwrap(),
        "--create-namespace",
        "--namespace",
    ];
    helm.run(install.iter().chain(&[namespace])).ok();
}

/// The chart of the kinds as a release had it that knew no Ingress.
fn older_chart(folder: &Path) -> PathBuf {
    let newest = helm::chart("tagfleet-crds");
    let older = folder.join("tagfleet-crds");
    let copied = Command::new("cp").arg("-R").arg(&newest).arg(&older).status().unwrap();
    assert!(copied.success());

    let about = fs::read_to_string(older.join("Chart.yaml")).unwrap();
    fs::write(
        older.join("Chart.yaml"),
        about.replace("version: 0.1.0", "version: 0.0.9"),
    )
    .unwrap();
    let mut crd: Value = serde_json::to_value(schema::tagging_container()).unwrap();
    let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"].as_object_mut().unwrap().remove("ingress").unwrap();
    spec.as_object_mut().unwrap().remove("x-kubernetes-validations");
    let crd = serde_json::from_value(crd).unwrap();
    fs::write(
        older.join("files/taggingcontainers.yaml"),
        generated::yaml(&crd).unwrap(),
    )
    .unwrap();
    older
}
