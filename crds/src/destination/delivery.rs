//! Batches, timeouts and retries of a destination.

use std::time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Vendor;
use crate::{
    common::Duration,
    schema::{positive_duration, rule},
};

/// Batches, timeouts and retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delivery {
    /// How events are gathered into one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// How long one request may take. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("5m")]))]
    pub timeout: Option<Duration>,
    /// Requests that are under way at once. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_concurrency: Option<u32>,
    /// What happens to a request that failed for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// How events are gathered into one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The most events of a request; the vendor's own limit holds beside. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_events: Option<u32>,
    /// How long the first event of a batch waits for others. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [rule("duration(self) <= duration('5m')", "must be at most 5m")]))]
    pub max_delay: Option<Duration>,
}

/// What happens to a request that failed for now: it is sent again after a wait that doubles each time, with jitter, and
/// never before the vendor's `Retry-After`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "!has(self.initialBackoff) || !has(self.maxBackoff) || duration(self.initialBackoff) <= duration(self.maxBackoff)",
    "initialBackoff must not be longer than maxBackoff",
)]))]
pub struct Retry {
    /// The wait after the first failure. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("1h")]))]
    pub initial_backoff: Option<Duration>,
    /// The longest wait. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("24h")]))]
    pub max_backoff: Option<Duration>,
    /// How old an event may become; an older one becomes a dead letter. Default: 24h; 15m for `ga4` without `apiSecret`,
    /// as GA4 stamps a forwarded hit with the time of its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("8760h")]))]
    pub max_age: Option<Duration>,
}

/// `delivery` with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveDelivery {
    /// The most events of a request.
    pub max_events: u32,
    /// How long the first event of a batch waits for others.
    pub max_delay: time::Duration,
    /// How long one request may take.
    pub timeout: time::Duration,
    /// Requests that are under way at once.
    pub max_concurrency: u32,
    /// The wait after the first failure.
    pub initial_backoff: time::Duration,
    /// The longest wait; never shorter than the first.
    pub max_backoff: time::Duration,
    /// How old an event may become.
    pub max_age: time::Duration,
}

impl Delivery {
    /// These settings with the defaults filled in for that vendor.
    #[must_use]
    pub fn effective(&self, vendor: Option<Vendor<'_>>) -> EffectiveDelivery {
        let batch = self.batch.clone().unwrap_or_default();
        let retry = self.retry.clone().unwrap_or_default();
        let max_age = match vendor {
            Some(Vendor::Ga4(ga4)) if ga4.api_secret.is_none() => Duration::from_secs(15 * 60),
            _ => Duration::from_secs(24 * 3600),
        };
        let initial_backoff = retry.initial_backoff.unwrap_or(Duration::from_secs(1)).get();
        EffectiveDelivery {
            max_events: batch.max_events.unwrap_or(100).max(1),
            max_delay: batch.max_delay.unwrap_or(Duration::from_secs(1)).get(),
            timeout: self.timeout.unwrap_or(Duration::from_secs(10)).get(),
            max_concurrency: self.max_concurrency.unwrap_or(4).max(1),
            initial_backoff,
            max_backoff: retry
                .max_backoff
                .unwrap_or(Duration::from_secs(300))
                .get()
                .max(initial_backoff),
            max_age: retry.max_age.unwrap_or(max_age).get(),
        }
    }
}
