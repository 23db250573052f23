//! What the operator found out about a destination.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tagging_container::GatewayCount;

/// What the operator found out about a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// The metadata.generation that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `CredentialsResolved` and `Delivering`: of each the worst of all containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How it is in each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub containers: Vec<ContainerStatus>,
    /// The gateways, of all containers, that have the newest form of this destination in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateways: Option<GatewayCount>,
    /// The vendor block that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub vendor: Option<String>,
    /// Age of the oldest event that is not delivered yet, rounded: `3s`, `12m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lag: Option<String>,
    /// What the vendor last refused, and why, in its own words, without secrets and user data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_error: Option<String>,
}

/// How a destination is in one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// `Accepted`, `CredentialsResolved` and `Delivering` in this container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The gateways of this container that have the newest form of this destination in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateways: Option<GatewayCount>,
    /// Age of the oldest event of this container that is not delivered yet, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lag: Option<String>,
    /// What the vendor last refused of this container's events, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_error: Option<String>,
}
