//! When a destination fires, and with which consent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tagging_container::ConsentSignal;

/// When a destination fires: the event's name is listed, and the expression is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// The names of the events. When not set: every event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::event_names")]
    pub events: Vec<String>,
    /// An expression over `event`, `consent` and `vars`, such as `event.value > 10.0`. An error counts as false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expression")]
    pub when: Option<String>,
}

/// The consent that an event needs to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationConsent {
    /// The signals that must be `granted`; `unset` does not satisfy. Default: `[ad_storage, ad_user_data]` for advertising
    /// vendors, `[]` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub requires: Option<Vec<ConsentSignal>>,
    /// What becomes of an event without that consent: `Drop` it, or `Anonymize` it (sent without identifiers, where the
    /// vendor allows that). Default: Drop.
    #[serde(default)]
    pub on_denied: OnDenied,
}

/// What becomes of an event without the consent that a destination requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnDenied {
    /// Not sent.
    #[default]
    Drop,
    /// Sent without identifiers, where the vendor allows that.
    Anonymize,
}
