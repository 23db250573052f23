//! What the operator found out about a container.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator found out about a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaggingContainerStatus {
    /// The metadata.generation that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Ready` (serving), `Progressing`, `Degraded`, `Durable` and `OutOfDate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCount>,
    /// The gateways that have the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateways: Option<GatewayCount>,
    /// Destinations that refer to this container and are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<u32>,
    /// Events accepted in a second by all pods, rounded to two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub events_per_second: Option<String>,
    /// Share of hits that were answered with an error of the gateway, rounded to two digits: `0.1%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub errors: Option<String>,
}

/// Pods of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    /// Pods that serve.
    pub ready: u32,
    /// Pods that are wanted.
    pub desired: u32,
    /// Both, as `kubectl get` shows them: `2/3`.
    #[schemars(length(max = 32))]
    pub summary: String,
}

impl PodCount {
    /// The count of `ready` of `desired` pods.
    #[must_use]
    pub fn new(ready: u32, desired: u32) -> Self {
        Self {
            ready,
            desired,
            summary: format!("{ready}/{desired}"),
        }
    }
}

/// Gateways that have taken up a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayCount {
    /// Gateways that have the newest configuration in force.
    pub updated: u32,
    /// All gateways.
    pub total: u32,
}
