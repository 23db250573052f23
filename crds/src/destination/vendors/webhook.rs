//! An HTTP endpoint of one's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Block, field};
use crate::{
    FieldPath,
    common::{HeaderValue, SecretSource},
};

/// An HTTP endpoint of one's own. It gets `{"events": [event, ...]}` by POST; each event carries an `event_id`, so that a
/// receiver can drop a repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// The endpoint, such as `https://orders.shop.example/hook`.
    #[schemars(schema_with = "crate::schema::url")]
    pub url: String,
    /// The secret with which each request is signed: `X-Tagfleet-Signature: t=<unix seconds>,sha256=<hex HMAC-SHA256 of
    /// "<t>.<body>">`. Default: requests are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<SecretSource>,
    /// Further headers of each request: text, or `{secretKeyRef: {name, key}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::headers")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// `Events` (`{"events": [...]}`) or `CloudEvents` (a batch in the CloudEvents JSON format). Default: Events.
    #[serde(default)]
    pub format: WebhookFormat,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for Webhook {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (field("headers").field(name), value.secret()));
        std::iter::once((field("hmac"), self.hmac.as_ref()))
            .chain(headers)
            .collect()
    }

    fn takes_anonymous_events(&self) -> bool {
        true
    }
}

/// The shape of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WebhookFormat {
    /// `{"events": [...]}`.
    #[default]
    Events,
    /// The CloudEvents JSON batch format.
    CloudEvents,
}
