//! Identity, privacy and duplicates: who the visitor is, and what is removed before anything is stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConsentSignal;
use crate::{SecretSource, common::Duration, schema::positive_duration};

/// The vendors' cookies that `clickIds` sets.
pub const CLICK_ID_COOKIES: [&str; 15] = [
    "_fbc",
    "_fbp",
    "_gcl_aw",
    "_gcl_dc",
    "_gcl_gb",
    "_gcl_ag",
    "_ttp",
    "ttclid",
    "li_fat_id",
    "_epik",
    "_uetmsclkid",
    "_scid",
    "_scclid",
    "twclid",
    "_rdt_cid",
];

/// The cookie that `linker` sets.
pub const LINKER_COOKIE: &str = "FPLC";

/// The visitor's first-party cookies, set and read by the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The cookie that holds the `client_id`: `Secure; HttpOnly; SameSite=Lax; Path=/`, on the registrable domain of the
    /// host. Not set when this block is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<IdentityCookie>,
    /// Sets and prolongs the vendors' cookies (`_fbc`, `_fbp`, `_gcl_aw`, `_ttp` and others): click ids from the landing
    /// URL, browser ids where there is none. Only with the consent that `cookies` names, by default `ad_storage`.
    /// Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub click_ids: bool,
    /// Settings of single cookies among those that `cookie`, `linker` and `clickIds` set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 30),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub cookies: Vec<CookieSettings>,
    /// Carries the `client_id` over to the company's other sites (FPLC): gtag's linker copies the cookie into links, and
    /// the server takes the visitor of the first site for that of the second. Needs `cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linker: Option<Linker>,
    /// The name of a cookie by which a visitor opts out: a hit that carries it, with any value but `0` or `false`, counts as
    /// denied in all four signals, and no cookie is set for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9_.-]+$"))]
    pub opt_out_cookie: Option<String>,
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
    /// Keeps visitors known that gtag's own `_ga` cookie has: as long as a hit brings the id that the cookie was made from,
    /// that id goes on to be the `client_id`. When false every visitor is a new one on the day of the switch. Default:
    /// true.
    #[serde(default = "IdentityCookie::default_migrate")]
    pub migrate_from_js_client_id: bool,
}

/// How one cookie is set. What is not listed is as the cookie's own defaults say (docs/privacy.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieSettings {
    /// The cookie's name, such as `_fbp`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// Whether the server sets it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
    /// How long it lives after it was set last, in days. Browsers cut more than 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 400))]
    pub max_age_days: Option<u32>,
    /// Whether scripts cannot read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_only: Option<bool>,
    /// `Lax`, `Strict` or `None`. Default: Lax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// Its domain, one of the request's host or above it. Default: the registrable domain of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub domain: Option<String>,
    /// The signals that must be `granted` before it is set. Default: `[ad_storage]`; for the cookie that holds the
    /// `client_id` and its linker `[analytics_storage]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub consent: Option<Vec<ConsentSignal>>,
}

/// When a browser sends a cookie along to another site (RFC 6265bis).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SameSite {
    /// On the way from another site by a link, too.
    #[default]
    Lax,
    /// Only from the same site.
    Strict,
    /// Always.
    None,
}

/// The cookie `FPLC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Linker {
    /// The key that its content is sealed with: any text of 32 or more random characters, the same for all containers that
    /// link to each other.
    pub key: SecretSource,
}

impl IdentityCookie {
    const fn default_migrate() -> bool {
        true
    }

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
            migrate_from_js_client_id: Self::default_migrate(),
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
    /// Names classes of parameters, for `receives` of Destinations. The class `personal` (what identifies a visitor or their
    /// device) is there without being named here; one that is named here replaces it.
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
    /// How many events are remembered at most; whichever limit ends first. Each takes about 36 bytes of memory and up to 30
    /// bytes of disk. Per pod with `buffer.disk`, over restarts too; across the fleet with `buffer.jetStream`; with
    /// `buffer.memory` until the process ends. Default: 1000000.
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
