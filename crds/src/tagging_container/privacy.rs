//! Identity, privacy and duplicates: who the visitor is, and what is removed before anything is stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{common::Duration, schema::positive_duration};

/// The visitor's first-party cookies, set and read by the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The cookie that holds the `client_id`: `Secure; HttpOnly; SameSite=Lax; Path=/`, on the registrable domain of the
    /// host. Not set when this block is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<IdentityCookie>,
    /// Sets the vendors' click-id cookies (`_fbc`, `_fbp`, `_gcl_aw`, `_ttp` and others) from the landing URL when consent
    /// allows. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub click_ids: bool,
    /// Names of further cookies that enter the event as `event.cookies`. A `*` at the end stands for any rest. Tracking
    /// cookies (`_ga*`, FPID, FPLC, `_fbp`, `_fbc`, `_gcl_*`, `_ttp` and others) always do; no other cookie ever does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cookie_names")]
    pub read_cookies: Vec<String>,
}

/// The cookie that holds the `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityCookie {
    /// The cookie's name. Default: FPID.
    #[serde(default = "IdentityCookie::default_name")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// How long it lives after the last hit, in days. Browsers cut more than 400. Default: 400.
    #[serde(default = "IdentityCookie::default_max_age_days")]
    #[schemars(range(min = 1, max = 400))]
    pub max_age_days: u32,
}

impl IdentityCookie {
    fn default_name() -> String {
        "FPID".to_owned()
    }

    const fn default_max_age_days() -> u32 {
        400
    }
}

impl Default for IdentityCookie {
    fn default() -> Self {
        Self {
            name: Self::default_name(),
            max_age_days: Self::default_max_age_days(),
        }
    }
}

/// What is removed or marked before anything is stored or sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Privacy {
    /// The visitor's address: `Keep` it, `Truncate` it (IPv4 to /24, IPv6 to /48), or `Remove` it. Default: Truncate.
    #[serde(default)]
    pub ip_address: IpAddress,
    /// Hits of bots: `Keep` them, `Mark` them (`event.x_bot`), or `Drop` them. Default: Mark.
    #[serde(default)]
    pub bots: Bots,
    /// Names classes of parameters, for `receives` of Destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub classes: Vec<ParameterClass>,
}

/// What becomes of the visitor's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum IpAddress {
    /// Kept as it is.
    Keep,
    /// IPv4 to /24, IPv6 to /48.
    #[default]
    Truncate,
    /// Removed.
    Remove,
}

/// What becomes of a bot's hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Bots {
    /// Kept, without looking.
    Keep,
    /// Kept and marked.
    #[default]
    Mark,
    /// Dropped and counted.
    Drop,
}

/// A class of parameters, such as `personal` or `sensitive`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterClass {
    /// The class's name.
    #[schemars(schema_with = "crate::schema::name")]
    pub name: String,
    /// The parameters in it, with dots for nested ones: `user_data`, `user_data.email_address`.
    #[schemars(schema_with = "crate::schema::parameter_names")]
    pub parameters: Vec<String>,
}

/// Dropping of events that were seen before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deduplication {
    /// How long an event is remembered. Default: 48h.
    #[serde(default = "Deduplication::default_window")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("720h")]))]
    pub window: Duration,
    /// How many events are remembered at most; whichever limit ends first. Per pod with `buffer.disk`, across the fleet
    /// with `buffer.jetStream`. Default: 1000000.
    #[serde(default = "Deduplication::default_max_entries")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_entries: u32,
}

impl Deduplication {
    const fn default_window() -> Duration {
        Duration::from_secs(48 * 3600)
    }

    const fn default_max_entries() -> u32 {
        1_000_000
    }
}

impl Default for Deduplication {
    fn default() -> Self {
        Self {
            window: Self::default_window(),
            max_entries: Self::default_max_entries(),
        }
    }
}

fn cookie_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 50, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!#$%&'+.^_`|~0-9A-Za-z-]+[*]?$"},
    })
}
