//! Clients: what claims a request and turns it into events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{common::SecretSource, schema::exactly_one_of};

/// One client. Exactly one of its kinds is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    exactly_one_of(&["ga4", "measurementProtocol", "json", "pixel", "scripts"], "kind of client"),
]))]
pub struct Client {
    /// The client's name; the label `client` of the metrics.
    #[schemars(schema_with = "crate::schema::name")]
    pub name: String,
    /// Takes the hits of gtag.js and Google Tag Manager at `/g/collect`, GET and POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ga4: Option<Ga4Client>,
    /// Takes Measurement Protocol requests at `/mp/collect`, and validates them at `/debug/mp/collect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement_protocol: Option<MeasurementProtocolClient>,
    /// Takes JSON by POST: one event, an array of events, or one event a line (NDJSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonClient>,
    /// Takes an event from the query of an image request, and answers with a transparent 1x1 GIF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel: Option<PixelClient>,
    /// Serves Google's scripts (`/gtm.js`, `/gtag/js`) from the container's own hostname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<ScriptsClient>,
}

/// The kind of a client, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind<'a> {
    /// `ga4`.
    Ga4(&'a Ga4Client),
    /// `measurementProtocol`.
    MeasurementProtocol(&'a MeasurementProtocolClient),
    /// `json`.
    Json(&'a JsonClient),
    /// `pixel`.
    Pixel(&'a PixelClient),
    /// `scripts`.
    Scripts(&'a ScriptsClient),
}

impl Client {
    /// The client's kind; none unless exactly one is set.
    #[must_use]
    pub fn kind(&self) -> Option<ClientKind<'_>> {
        let kinds = [
            self.ga4.as_ref().map(ClientKind::Ga4),
            self.measurement_protocol.as_ref().map(ClientKind::MeasurementProtocol),
            self.json.as_ref().map(ClientKind::Json),
            self.pixel.as_ref().map(ClientKind::Pixel),
            self.scripts.as_ref().map(ClientKind::Scripts),
        ];
        let mut set = kinds.into_iter().flatten();
        set.next().filter(|_| set.next().is_none())
    }
}

/// GA4 hits, as gtag.js sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ga4Client {
    /// The measurement ids (`tid`) that are taken; a hit with another is answered 403. An empty list takes every id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "measurement_ids")]
    pub measurement_ids: Vec<String>,
}

/// Measurement Protocol requests, as servers send them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasurementProtocolClient {
    /// The secret that a sender gives as `api_secret`; another is answered 403. Without it every sender is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret: Option<SecretSource>,
    /// The measurement ids that are taken; a request with another is answered 403. An empty list takes every id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "measurement_ids")]
    pub measurement_ids: Vec<String>,
}

/// Events as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonClient {
    /// The path that is claimed, such as `/v1/events`.
    #[schemars(schema_with = "crate::schema::path")]
    pub path: String,
    /// How a sender proves who it is. Without it everybody may send, but cannot set `ip_override`, `user_agent`, or a time
    /// that is more than an hour past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<JsonAuth>,
}

/// How a sender of JSON proves who it is. Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [exactly_one_of(&["apiKey", "hmac"], "way to authenticate")]))]
pub struct JsonAuth {
    /// The key that a sender gives as `X-API-Key: <key>` or `Authorization: Bearer <key>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretSource>,
    /// The secret with which a sender signs the body: `X-Tagfleet-Signature: t=<unix seconds>,sha256=<hex HMAC-SHA256 of
    /// "<t>.<body>">`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<SecretSource>,
}

/// An event from an image request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PixelClient {
    /// The path that is claimed. Default: `/pixel.gif`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::path")]
    pub path: Option<String>,
}

impl PixelClient {
    /// The path that is claimed: the field, or `/pixel.gif`.
    #[must_use]
    pub fn effective_path(&self) -> &str {
        self.path.as_deref().unwrap_or("/pixel.gif")
    }
}

/// Google's scripts, served first-party.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptsClient {
    /// The ids of the containers and tags that are served, such as `GTM-ABC123` or `G-TEST1`. At least one: the server is
    /// not a proxy for everybody's scripts.
    #[schemars(schema_with = "script_ids")]
    pub ids: Vec<String>,
}

fn measurement_ids(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 200, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 32, "pattern": "^[A-Z]{1,4}-[A-Z0-9]+$"},
    })
}

fn script_ids(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 50, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 32, "pattern": "^[A-Z]{1,4}-[A-Z0-9]+$"},
    })
}
