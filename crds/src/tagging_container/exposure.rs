//! How a container is reached and how many pods serve it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::rule;

/// An Ingress with a rule for each hostname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ingress {
    /// The IngressClass, such as `nginx`. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub class_name: Option<String>,
    /// TLS for the hostnames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// The cert-manager issuer that fills the TLS Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IngressIssuer>,
    /// Further annotations of the Ingress.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub annotations: BTreeMap<String, String>,
}

/// The certificate of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressTls {
    /// The Secret of type `kubernetes.io/tls` that holds the certificate. cert-manager makes it when `issuer` is set.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub secret_name: String,
}

/// A cert-manager issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressIssuer {
    /// The issuer's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// Whether it is a `ClusterIssuer` or an `Issuer` of the namespace. Default: ClusterIssuer.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// The kind of a cert-manager issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// For all namespaces.
    #[default]
    ClusterIssuer,
    /// For its own namespace.
    Issuer,
}

/// A Gateway (Gateway API) that the HTTPRoute is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayRef {
    /// The Gateway's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// The Gateway's namespace. Default: the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::name")]
    pub namespace: Option<String>,
    /// The listener of the Gateway. Default: every listener that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub section_name: Option<String>,
    /// The port of the Gateway. Default: every port that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}

/// How many pods serve, and what scales them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.min <= self.max", "min must not be greater than max"),
]))]
pub struct Replicas {
    /// The fewest pods. Default: 2.
    #[serde(default = "Replicas::default_min")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// The most pods. Default: 10.
    #[serde(default = "Replicas::default_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// The CPU use, in percent of the request, that the HorizontalPodAutoscaler aims at. Default: 60.
    #[serde(default = "Replicas::default_target", rename = "targetCPUUtilization")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_utilization: u32,
    /// What scales: `HPA` (a HorizontalPodAutoscaler that the operator makes) or `External` (none is made; KEDA or
    /// another scales the Deployment). Default: HPA.
    #[serde(default)]
    pub autoscaler: Autoscaler,
}

impl Replicas {
    const fn default_min() -> u32 {
        2
    }

    const fn default_max() -> u32 {
        10
    }

    const fn default_target() -> u32 {
        60
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self {
            min: Self::default_min(),
            max: Self::default_max(),
            target_cpu_utilization: Self::default_target(),
            autoscaler: Autoscaler::default(),
        }
    }
}

/// What scales the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Autoscaler {
    /// A HorizontalPodAutoscaler that the operator makes.
    #[default]
    #[serde(rename = "HPA")]
    Hpa,
    /// Something else.
    External,
}

/// Which other sites' pages may send hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// Origins that may send hits with credentials, such as `https://www.partner.example`, beside every origin on the
    /// registrable domains of the hostnames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::origins")]
    pub allowed_origins: Vec<String>,
}
