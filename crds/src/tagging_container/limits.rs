//! What a request may weigh and how many may come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Size;

/// What a request may weigh and how many may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The largest request body, in bytes; a larger one is answered 413. Default: 128Ki.
    #[serde(default = "Limits::default_request_bytes")]
    pub request_bytes: Size,
    /// Requests of one visitor's address; more are answered 429. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_address: Option<RateLimit>,
    /// Requests of all visitors to one pod; more are answered 429, those of the lowest `priority` first. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<RateLimit>,
}

impl Limits {
    const fn default_request_bytes() -> Size {
        Size::from_bytes(128 * 1024)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: Self::default_request_bytes(),
            per_address: None,
            total: None,
        }
    }
}

/// A token bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Requests a second that go on for ever.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: u32,
    /// Requests that may come at once. Default: twice `requestsPerSecond`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<u32>,
}

impl RateLimit {
    /// Requests that may come at once: the field, or twice the rate.
    #[must_use]
    pub fn effective_burst(&self) -> u32 {
        self.burst.unwrap_or_else(|| self.requests_per_second.saturating_mul(2))
    }
}
