//! The operator of one namespace, with the chart's rights for one namespace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use tagfleet_crds::TaggingContainer;
use tagfleet_tests::{cluster::Cluster, operator::Setup};

const PATIENCE: Duration = Duration::from_secs(30);

const SHOP: &str = "
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec:
  hostnames: [NAMESPACE.shop.example]
  ingress: {className: nginx}
  clients: [{name: web, ga4: {}}]
";

#[test]
fn it_makes_everything_in_its_namespace_and_nothing_elsewhere() {
    let cluster = Cluster::get();
    let (own, foreign) = (cluster.namespace("own"), cluster.namespace("foreign"));
    let operator = Setup::of_namespace(&own).start();
    for space in [&foreign, &own] {
        space.apply(&SHOP.replace("NAMESPACE", space.name()));
    }

    own.wait_for("shop", "is accepted", PATIENCE, |shop: &TaggingContainer| {
        let conditions = shop.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|it| it.type_ == "Accepted" && it.status == "True")
    });
    own.wait_for(
        "shop-gateway",
        "is made last",
        PATIENCE,
        |_: &HorizontalPodAutoscaler| true,
    );
    assert!(own.find::<ServiceAccount>("shop-gateway").is_some());
    assert!(own.find::<Role>("shop-gateway").is_some());
    assert!(own.find::<RoleBinding>("shop-gateway").is_some());
    assert!(own.find::<Secret>("shop-credentials").is_some());
    assert!(own.find::<ConfigMap>("shop-config").is_some());
    assert!(own.find::<Service>("shop-gateway").is_some());
    assert!(own.find::<Service>("shop-gateway-peers").is_some());
    assert!(own.find::<NetworkPolicy>("shop-gateway").is_some());
    assert!(own.find::<Deployment>("shop-gateway").is_some());
    own.wait_for("shop-gateway", "is made", PATIENCE, |_: &PodDisruptionBudget| true);
    own.wait_for("shop-gateway", "is made", PATIENCE, |_: &Ingress| true);

    let ours = "app.kubernetes.io/managed-by=tagfleet-operator";
    assert!(foreign.list::<Deployment>(ours).is_empty() && foreign.list::<StatefulSet>(ours).is_empty());
    assert!(foreign.list::<Secret>(ours).is_empty() && foreign.list::<Role>(ours).is_empty());
    let status = foreign.read::<TaggingContainer>("shop").status;
    assert!(
        status.is_none_or(|status| status.conditions.is_empty()),
        "nobody has looked at it"
    );

    let log = operator.log();
    assert!(!log.contains("forbidden"), "{log}");
}

#[test]
fn what_another_field_manager_has_taken_is_taken_back_and_what_it_added_stays() {
    let space = Cluster::get().namespace("conflict");
    let _operator = Setup::of_namespace(&space).start();
    space.apply(&SHOP.replace("NAMESPACE", space.name()));
    let made = space.wait_for("shop-gateway", "is made", PATIENCE, |_: &Service| true);
    let ours = made.spec.unwrap().ports.unwrap()[0].target_port.clone();
    assert!(ours.is_some());

    // As a tool does that applies a manifest of its own with --force-conflicts.
    let theirs = "
apiVersion: v1
kind: Service
metadata: {name: shop-gateway, annotations: {example.com/team: web}}
spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 1}]}
";
    let applied = space.kubectl_with(
        "apply --server-side --force-conflicts --field-manager=other -f -",
        theirs,
    );
    applied.ok();
    let mended = space.wait_for("shop-gateway", "is as it was", PATIENCE, |service: &Service| {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
        ports.is_some_and(|ports| ports[0].target_port == ours)
    });
    let annotations = mended.metadata.annotations.unwrap();
    assert_eq!(annotations.get("example.com/team").map(String::as_str), Some("web"));
}
