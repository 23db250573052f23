//! What is laid over the pods that the operator makes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{Affinity, Toleration},
        networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::ObjectRef;

/// CPU and memory of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What the pod is sure to get: `cpu`, `memory`, `ephemeral-storage`. Default: `{cpu: 100m, memory: 128Mi}`; the
    /// ephemeral storage follows from the buffer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the pod cannot exceed. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// What is laid over the pods that the operator makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodOverrides {
    /// Further labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Further annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Which nodes are preferred or required. Default: none; the pods are spread over nodes and zones in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub priority_class_name: Option<String>,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub image_pull_secrets: Vec<ObjectRef>,
    /// Further environment variables of the gateway, such as `HTTPS_PROXY`. Names that begin with `TAGFLEET_` are the
    /// operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub env: Vec<EnvVar>,
}

/// An environment variable. Its value is text: Secrets reach a gateway only by the fields that name them, so that an
/// unlabelled Secret stays out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// The variable's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// The variable's value.
    #[schemars(length(max = 8192))]
    pub value: String,
}

/// Who may reach the pods, and what they may reach. By default anyone reaches the public port; the operator, the own
/// pods and `monitoring` the admin port; the pods reach DNS, the API server, NATS, and TCP 443 outside private, link-local
/// and shared ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Whether the operator makes a NetworkPolicy. Default: true.
    #[serde(default = "NetworkPolicy::default_enabled")]
    pub enabled: bool,
    /// Who may reach the public port. Default: anyone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub ingress: Vec<NetworkPolicyPeer>,
    /// Who, such as Prometheus, may reach the admin port beside the operator and the own pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub monitoring: Vec<NetworkPolicyPeer>,
    /// What the pods may reach beside the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Vec<NetworkPolicyEgressRule>,
}

impl NetworkPolicy {
    const fn default_enabled() -> bool {
        true
    }
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            ingress: Vec::new(),
            monitoring: Vec::new(),
            egress: Vec::new(),
        }
    }
}

fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true, "maxLength": 32,
            "pattern": "^[+]?([0-9]+|[0-9]+[.][0-9]*|[.][0-9]+)(m|[kMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$",
        },
    })
}
