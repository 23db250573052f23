//! Monitoring, traces and preview.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Duration, HeaderValue},
    schema::positive_duration,
};

/// What Prometheus scrapes and alerts on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    /// Whether a ServiceMonitor is made, where that kind is installed. Default: true.
    #[serde(default = "Monitoring::on")]
    pub service_monitor: bool,
    /// Whether a PrometheusRule with alerts is made, where that kind is installed. Default: true.
    #[serde(default = "Monitoring::on")]
    pub rules: bool,
    /// Labels of both, by which a Prometheus selects them, such as `release: prometheus`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// What the alerts hold the fleet to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
}

impl Monitoring {
    const fn on() -> bool {
        true
    }
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            service_monitor: true,
            rules: true,
            labels: BTreeMap::new(),
            objectives: None,
        }
    }
}

/// What the alerts hold the fleet to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Objectives {
    /// How fast a hit is answered. It is measured by the buckets of `tagfleet_request_duration_seconds` (1, 2, 5, 10, 20, 50,
    /// 100, 200, 500 ms, 1 s, 2.5 s, 10 s): between two of them the higher one counts, past the last the last. Default: 100ms.
    #[serde(default = "Objectives::default_latency")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("1m")]))]
    pub latency: Duration,
    /// The share of hits, in percent, that are answered that fast. Default: 99.
    #[serde(default = "Objectives::default_latency_target")]
    #[schemars(range(min = 1.0, max = 99.999))]
    pub latency_target: f64,
    /// The share of hits, in percent, that may be answered with an error of the gateway. Default: 1.
    #[serde(default = "Objectives::default_error_rate")]
    #[schemars(range(min = 0.001, max = 99.0))]
    pub error_rate: f64,
    /// How old an event that is not delivered yet may become. Default: 5m.
    #[serde(default = "Objectives::default_delivery_lag")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("24h")]))]
    pub delivery_lag: Duration,
}

impl Objectives {
    const fn default_latency() -> Duration {
        Duration::from_millis(100)
    }

    const fn default_latency_target() -> f64 {
        99.0
    }

    const fn default_error_rate() -> f64 {
        1.0
    }

    const fn default_delivery_lag() -> Duration {
        Duration::from_secs(300)
    }
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            latency: Self::default_latency(),
            latency_target: Self::default_latency_target(),
            error_rate: Self::default_error_rate(),
            delivery_lag: Self::default_delivery_lag(),
        }
    }
}

/// Traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Telemetry {
    /// Sends traces to an OpenTelemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// The collector's address, such as `http://otel-collector.observability:4318`.
    #[schemars(schema_with = "crate::schema::url")]
    pub endpoint: String,
    /// How it is spoken to: `HTTP` (protobuf over HTTP) or `GRPC`. Default: HTTP.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Headers of each request: text, or `{secretKeyRef: {name, key}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::headers")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// The share of hits, in percent, that are traced, beside those whose `traceparent` asks for it. Default: 1.
    #[serde(default = "Otlp::default_sample_percent")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub sample_percent: f64,
}

impl Otlp {
    const fn default_sample_percent() -> f64 {
        1.0
    }
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// gRPC.
    #[serde(rename = "GRPC")]
    Grpc,
}

/// The preview of live hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preview {
    /// Whether the preview is also on the public listener, and not on the admin listener only. It needs a signed token in
    /// either case. Default: false.
    #[serde(default)]
    pub public: bool,
}
