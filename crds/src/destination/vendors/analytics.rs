//! Google Analytics 4.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Block, field};
use crate::{FieldPath, common::SecretSource};

/// Google Analytics 4.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ga4 {
    /// The measurement id of the data stream: `G-...`.
    #[schemars(length(max = 32), regex(pattern = "^G-[A-Z0-9]+$"))]
    pub measurement_id: String,
    /// The API secret of the data stream. With it events are sent by the Measurement Protocol. Without it every event is
    /// sent as a rebuilt `/g/collect` hit with the visitor's address and user agent, so that sessions and attribution stay
    /// whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret: Option<SecretSource>,
    /// Shows the events in GA4's DebugView. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub debug: bool,
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

impl Block for Ga4 {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("apiSecret"), self.api_secret.as_ref())]
    }

    /// A forwarded hit needs no `client_id`; the Measurement Protocol does (vendors/ga4-mp.md).
    fn takes_anonymous_events(&self) -> bool {
        self.api_secret.is_none()
    }
}
