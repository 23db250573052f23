//! Ingress `<name>-gateway`: a rule for each hostname.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
    ServiceBackendPort,
};
use serde_json::json;
use tagfleet_crds::tagging_container::{Ingress, IngressIssuer, IssuerKind};

use super::{child, labels::Labels, metadata, names, non_empty, ports};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// None without `spec.ingress`.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let hostnames = &fleet.container.spec.hostnames;
    let Some(ingress) = fleet.container.spec.ingress.as_ref().filter(|_| !hostnames.is_empty()) else {
        return Vec::new();
    };
    let mut metadata = metadata::of(fleet, names::gateway(&fleet.name));
    metadata.annotations = non_empty(annotations(ingress));
    let spec = IngressSpec {
        ingress_class_name: ingress.class_name.clone(),
        tls: tls_secret(fleet, ingress).map(|secret_name| {
            vec![IngressTLS {
                hosts: Some(hostnames.clone()),
                secret_name: Some(secret_name),
            }]
        }),
        rules: Some(hostnames.iter().map(|host| rule(fleet, host)).collect()),
        ..IngressSpec::default()
    };
    vec![child(ChildKind::Ingress, metadata, json!({"spec": spec}))]
}

/// The container's own annotations, and the issuer's (<https://cert-manager.io/docs/usage/ingress/>).
fn annotations(ingress: &Ingress) -> Labels {
    let mut annotations = ingress.annotations.clone();
    if let Some(IngressIssuer { name, kind }) = &ingress.issuer {
        let annotation = match kind {
            IssuerKind::ClusterIssuer => "cert-manager.io/cluster-issuer",
            IssuerKind::Issuer => "cert-manager.io/issuer",
        };
        annotations.insert(annotation.to_owned(), name.clone());
    }
    annotations
}

/// The certificate's Secret: the one that is named, or with an issuer one of the operator's naming.
fn tls_secret(fleet: &Fleet, ingress: &Ingress) -> Option<String> {
    let named = ingress.tls.as_ref().map(|tls| tls.secret_name.clone());
    named.or_else(|| ingress.issuer.as_ref().map(|_| names::tls(&fleet.name)))
}

/// Every path of a hostname leads to the gateway, which knows the paths of its clients.
fn rule(fleet: &Fleet, host: &str) -> IngressRule {
    let service = IngressServiceBackend {
        name: names::gateway(&fleet.name),
        port: Some(ServiceBackendPort {
            name: Some(ports::HTTP_NAME.to_owned()),
            number: None,
        }),
    };
    let path = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(service),
            resource: None,
        },
    };
    IngressRule {
        host: Some(host.to_owned()),
        http: Some(HTTPIngressRuleValue { paths: vec![path] }),
    }
}
