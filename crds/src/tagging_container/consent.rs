//! Consent: the defaults of a container.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{common::Duration, schema::positive_duration};

/// What holds where a hit itself says nothing about consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    /// The state of each signal where nothing else says it. A signal that is not listed is `unset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ConsentSignals>,
    /// Other defaults for visitors from certain regions. The most specific region wins (`US-CA` over `US`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub regions: Vec<ConsentRegion>,
    /// Holds events of visitors who have not decided yet, until they grant or deny. Kept in memory only: what is held when
    /// a pod ends is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<ConsentHold>,
}

/// The four signals of Google's consent mode; each is granted, denied, or not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentSignals {
    /// Storage, such as cookies, for advertising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ad_storage: Option<ConsentState>,
    /// Storage, such as cookies, for analytics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analytics_storage: Option<ConsentState>,
    /// Sending user data to an advertising vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ad_user_data: Option<ConsentState>,
    /// Personalised advertising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ad_personalization: Option<ConsentState>,
}

/// The state of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// The visitor consents.
    Granted,
    /// The visitor does not consent.
    Denied,
}

/// A signal of Google's consent mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSignal {
    /// Storage for advertising.
    AdStorage,
    /// Storage for analytics.
    AnalyticsStorage,
    /// Sending user data to an advertising vendor.
    AdUserData,
    /// Personalised advertising.
    AdPersonalization,
}

impl ConsentSignal {
    /// The signal's name as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdStorage => "ad_storage",
            Self::AnalyticsStorage => "analytics_storage",
            Self::AdUserData => "ad_user_data",
            Self::AdPersonalization => "ad_personalization",
        }
    }
}

impl fmt::Display for ConsentSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The defaults for visitors from certain regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentRegion {
    /// Countries and regions as ISO 3166-1 and 3166-2 write them: `DE`, `US-CA`.
    #[schemars(schema_with = "regions")]
    pub region: Vec<String>,
    /// The state of each signal for these visitors. A signal that is not listed is as in `consent.default`.
    pub default: ConsentSignals,
}

/// How long and how many events wait for a visitor's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentHold {
    /// How long an event waits at most; then it goes on with the consent that it has. Default: 30m.
    #[serde(default = "ConsentHold::default_max_age")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("24h")]))]
    pub max_age: Duration,
    /// How many events a pod holds at most; past that the oldest go on with the consent that they have. Default: 10000.
    #[serde(default = "ConsentHold::default_max_events")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_events: u32,
}

impl ConsentHold {
    const fn default_max_age() -> Duration {
        Duration::from_secs(30 * 60)
    }

    const fn default_max_events() -> u32 {
        10_000
    }
}

impl Default for ConsentHold {
    fn default() -> Self {
        Self {
            max_age: Self::default_max_age(),
            max_events: Self::default_max_events(),
        }
    }
}

fn regions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 200, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 6, "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,3})?$"},
    })
}
