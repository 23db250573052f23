//! What the server adds to an event from what it knows of the visitor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::Duration,
    schema::{exactly_one_of, positive_duration},
};

/// What is added to events of visitors' own requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrich {
    /// Adds `event.device` (`category`, `browser`, `browser_version`, `operating_system`, `operating_system_version`,
    /// `brand`, `model`) from the user agent and its client hints. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub device: bool,
    /// Adds `event.geo` (`continent`, `country`, `region`, `city`) from the visitor's address, before that is truncated,
    /// and lets `consent.regions` tell visitors apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<Geo>,
}

/// Where a visitor's country comes from. Exactly one of `file`, `url` and `headers` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [exactly_one_of(&["file", "url", "headers"], "source of geo")]))]
pub struct Geo {
    /// A database in MaxMind's format (`.mmdb`: GeoLite2, GeoIP2, DB-IP and others) at this path in the pod or on this
    /// machine. It is read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub file: Option<String>,
    /// The same from this address, such as one of your own storage. It is fetched at the start and every
    /// `refreshInterval`; between, and when it cannot be reached, the last one stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// Headers that a content delivery network in front sets. They are believed only from `trustedProxies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<GeoHeaders>,
    /// How often `url` is fetched. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("720h")]))]
    pub refresh_interval: Option<Duration>,
}

impl Geo {
    /// How often `url` is fetched: the field, or 24 hours.
    #[must_use]
    pub fn effective_refresh_interval(&self) -> Duration {
        self.refresh_interval.unwrap_or(Duration::from_secs(24 * 3600))
    }
}

/// The names of headers, such as `CF-IPCountry` or `CloudFront-Viewer-Country`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeoHeaders {
    /// Holds the country as ISO 3166-1 alpha-2.
    #[schemars(schema_with = "header_name")]
    pub country: String,
    /// Holds the region as the second part of ISO 3166-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_header_name")]
    pub region: Option<String>,
    /// Holds the city's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_header_name")]
    pub city: Option<String>,
}

fn header_name(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9-]+$"})
}

fn optional_header_name(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    header_name(generator)
}
