//! Services `<name>-gateway`, the way in and to the admin listener, and headless `<name>-gateway-peers`, each pod by itself.

use k8s_openapi::{
    api::core::v1::{ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use super::{child, labels, metadata, names, ports};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// The one, then the other.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let services = [
        (names::gateway(&fleet.name), gateway(fleet)),
        (names::peers(&fleet.name), peers(fleet)),
    ];
    services
        .into_iter()
        .map(|(name, spec)| child(ChildKind::Service, metadata::of(fleet, name), json!({"spec": spec})))
        .collect()
}

fn gateway(fleet: &Fleet) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(labels::selecting(&fleet.name)),
        ports: Some(vec![
            port(ports::HTTP_NAME, ports::SERVICE_HTTP, ports::HTTP_NAME),
            port(ports::ADMIN_NAME, ports::ADMIN, ports::ADMIN_NAME),
        ]),
        ..ServiceSpec::default()
    }
}

/// Peers find each other before they are ready to serve, and while they end.
fn peers(fleet: &Fleet) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        selector: Some(labels::selecting(&fleet.name)),
        ports: Some(vec![port(ports::PEERS_NAME, ports::ADMIN, ports::ADMIN_NAME)]),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, number: u16, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::String(target.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some("http".to_owned()),
        ..ServicePort::default()
    }
}
