//! The kinds of objects that the operator makes, and one such object.

use kube::{
    Resource,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use tagfleet_crds::validate::NamespacedName;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "tagfleet-operator";
/// The label by which children are watched, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tagfleet-operator");
/// The label with the container's name on every child and pod.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The label, and its value, that with [`INSTANCE`] selects a fleet's pods.
pub const NAME: (&str, &str) = ("app.kubernetes.io/name", "tagfleet-gateway");

/// A kind of child. The order is that of applying: what pods need comes before the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// The gateways' identity.
    ServiceAccount,
    /// What it may read.
    Role,
    /// The tie between the two.
    RoleBinding,
    /// `<name>-credentials`.
    Secret,
    /// `<name>-config`.
    ConfigMap,
    /// `<name>-gateway` and `<name>-gateway-peers`.
    Service,
    /// Who reaches the pods, and what they reach.
    NetworkPolicy,
    /// The pods of a fleet without volumes.
    Deployment,
    /// The pods of a fleet with volumes.
    StatefulSet,
    /// How many pods an eviction may take at a time.
    PodDisruptionBudget,
    /// What scales the pods.
    HorizontalPodAutoscaler,
    /// The way in.
    Ingress,
    /// The way in by Gateway API.
    HttpRoute,
    /// What Prometheus scrapes.
    ServiceMonitor,
    /// What Prometheus alerts on.
    PrometheusRule,
}

impl ChildKind {
    /// All kinds, in the order of applying.
    pub const ALL: [Self; 15] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::Deployment,
        Self::StatefulSet,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
        Self::ServiceMonitor,
        Self::PrometheusRule,
    ];

    /// Whether a cluster may lack this kind.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::HttpRoute | Self::ServiceMonitor | Self::PrometheusRule)
    }

    /// Its group, version and kind.
    #[must_use]
    pub fn gvk(self) -> GroupVersionKind {
        let (group, version, kind) = match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "Role"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
            Self::Secret => ("", "v1", "Secret"),
            Self::ConfigMap => ("", "v1", "ConfigMap"),
            Self::Service => ("", "v1", "Service"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy"),
            Self::Deployment => ("apps", "v1", "Deployment"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget"),
            Self::HorizontalPodAutoscaler => ("autoscaling", "v2", "HorizontalPodAutoscaler"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
            Self::ServiceMonitor => ("monitoring.coreos.com", "v1", "ServiceMonitor"),
            Self::PrometheusRule => ("monitoring.coreos.com", "v1", "PrometheusRule"),
        };
        GroupVersionKind::gvk(group, version, kind)
    }

    /// The resource with its plural, for a client.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        let plural = match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::Role => "roles",
            Self::RoleBinding => "rolebindings",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::Service => "services",
            Self::NetworkPolicy => "networkpolicies",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::Ingress => "ingresses",
            Self::HttpRoute => "httproutes",
            Self::ServiceMonitor => "servicemonitors",
            Self::PrometheusRule => "prometheusrules",
        };
        ApiResource::from_gvk_with_plural(&self.gvk(), plural)
    }
}

/// Namespace and name of a namespaced object.
pub(crate) fn name_of(object: &impl Resource) -> NamespacedName {
    let meta = object.meta();
    NamespacedName {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// A child as it is to be: complete, with apiVersion, kind, metadata (name, namespace, labels, owner reference) and
/// only the fields that the operator means to own.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// The object as it is applied.
    pub object: Value,
}
