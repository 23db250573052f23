//! A fleet: a container whose specification is in force, with all that its children are made from. What a [`Fleet`] holds
//! has passed every check.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use k8s_openapi::ByteString;
use tagfleet_crds::{DestinationSpec, TaggingContainerSpec};

use crate::child::ChildKind;

/// The form of an object that is in force: the newest accepted one, which may be older than what stands in the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Form<S> {
    /// The specification.
    pub spec: S,
    /// The object's `metadata.uid`.
    pub uid: String,
    /// The `metadata.generation` that the specification is of.
    pub generation: i64,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigMapKey {
    /// The ConfigMap.
    pub config_map: String,
    /// The key.
    pub key: String,
}

/// Kinds that a cluster may or may not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionalKinds {
    /// `HTTPRoute` of Gateway API.
    pub http_route: bool,
    /// `ServiceMonitor` of the Prometheus Operator.
    pub service_monitor: bool,
    /// `PrometheusRule` of the Prometheus Operator.
    pub prometheus_rule: bool,
}

impl OptionalKinds {
    /// Whether the cluster has this kind; true for every kind that each cluster has.
    #[must_use]
    pub const fn has(self, kind: ChildKind) -> bool {
        match kind {
            ChildKind::HttpRoute => self.http_route,
            ChildKind::ServiceMonitor => self.service_monitor,
            ChildKind::PrometheusRule => self.prometheus_rule,
            _ => true,
        }
    }
}

/// What of the operator's own settings shows in children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The namespace that the operator runs in, for the NetworkPolicy; none outside a cluster.
    pub operator_namespace: Option<String>,
    /// The gateway's image where a container names none.
    pub gateway_image: String,
    /// Private ranges that gateways may send to (`--allowed-private-destinations`).
    pub allowed_private_destinations: Vec<ipnet::IpNet>,
    /// Where the API server is reached, for the NetworkPolicy: its Service and what stands behind it. Empty where that is
    /// not known.
    pub api_server: BTreeSet<SocketAddr>,
    /// The kinds that the cluster has.
    pub kinds: OptionalKinds,
}

/// All that the children of a container are made from.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The namespace.
    pub namespace: String,
    /// The container's name.
    pub name: String,
    /// The container in force.
    pub container: Form<TaggingContainerSpec>,
    /// The Destinations in force, by name.
    pub destinations: BTreeMap<String, Form<DestinationSpec>>,
    /// The texts of the lookup tables in force.
    pub tables: BTreeMap<ConfigMapKey, String>,
    /// The values of the Secret keys that are referred to, by `<secret>..<key>`.
    pub credentials: BTreeMap<String, ByteString>,
    /// The gateway's image that the pods are to run now: during a rollout of another fleet still the old one.
    pub image: String,
    /// The operator's settings.
    pub settings: Settings,
}
