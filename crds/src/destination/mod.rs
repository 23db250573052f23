//! `Destination`: where events go, when, and how.

// The columns of a kind have attributes of the same names.
#![allow(clippy::duplicated_attributes)]

mod delivery;
mod status;
mod trigger;
mod vendors;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    delivery::{Batch, Delivery, EffectiveDelivery, Retry},
    status::{ContainerStatus, DestinationStatus},
    trigger::{DestinationConsent, OnDenied, Trigger},
    vendors::{
        BigQuery, Common, Form, Ga4, GoogleAds, GoogleAdsApi, LinkedinConversions, Listed, MetaActionSource,
        MetaConversions, OAuth, PinterestConversions, PubSub, Purpose, Sent, SnapchatActionSource, SnapchatConversions,
        TiktokEvents, VENDORS, Vendor, Webhook, WebhookFormat,
    },
};
use crate::{common::ObjectRef, schema::exactly_one_of, tagging_container::ConsentSignal};

/// Where events go: one vendor, and when and how it gets them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tagfleet.dev",
    version = "v1alpha1",
    kind = "Destination",
    plural = "destinations",
    shortname = "dest",
    category = "tagfleet",
    namespaced,
    status = "DestinationStatus",
    derive = "PartialEq",
    doc = "A receiver of events: one vendor, and when and how the events of the TaggingContainers that it refers to are sent to it.",
    printcolumn(
        name = "Container",
        type_ = "string",
        json_path = ".spec.containerRefs[0].name",
        description = "The first container whose events are sent."
    ),
    printcolumn(
        name = "Vendor",
        type_ = "string",
        json_path = ".status.vendor",
        description = "The vendor block that is set."
    ),
    printcolumn(
        name = "Delivering",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Delivering\")].status",
        description = "Whether events arrive."
    ),
    printcolumn(
        name = "Lag",
        type_ = "string",
        json_path = ".status.lag",
        description = "Age of the oldest event that is not delivered yet."
    ),
    printcolumn(
        name = "Last Error",
        type_ = "string",
        json_path = ".status.lastError",
        description = "What the vendor last refused, and why."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [exactly_one_of(&VENDORS, "vendor")]))]
pub struct DestinationSpec {
    /// The TaggingContainers, of the same namespace, whose events are sent.
    #[schemars(
        length(min = 1, max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub container_refs: Vec<ObjectRef>,
    /// When it fires. Default: for every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The consent that an event needs to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<DestinationConsent>,
    /// The share of visitors, in percent, whose events are sent; chosen by `client_id`, so that a visitor's events are sent
    /// all or not at all. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub sample_percent: Option<f64>,
    /// The classes of parameters (`privacy.classes` of the container, and `personal`) that may be sent, beside parameters
    /// without a class. A configuration that would send a parameter of another class is refused. When not set: everything
    /// may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::class_names")]
    pub receives: Option<Vec<String>>,
    /// Stops sending. Events go on to be stored for it, within the bounds of the buffer, and are sent when it ends.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub paused: bool,
    /// Batches, timeouts and retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Google Analytics 4: by the Measurement Protocol with `apiSecret`, else as forwarded hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ga4: Option<Ga4>,
    /// Meta's Conversions API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_conversions: Option<MetaConversions>,
    /// TikTok's Events API 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiktok_events: Option<TiktokEvents>,
    /// LinkedIn's Conversions API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkedin_conversions: Option<LinkedinConversions>,
    /// Pinterest's API for Conversions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinterest_conversions: Option<PinterestConversions>,
    /// Google Ads conversions: by the Data Manager API, or by the Google Ads API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub google_ads: Option<GoogleAds>,
    /// Google Cloud Pub/Sub: each event as a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pub_sub: Option<PubSub>,
    /// Google BigQuery: each event as a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub big_query: Option<BigQuery>,
    /// An HTTP endpoint of your own: events as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Snap's Conversions API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapchat_conversions: Option<SnapchatConversions>,
}

impl DestinationSpec {
    /// The vendor; none unless exactly one block is set.
    #[must_use]
    pub fn vendor(&self) -> Option<Vendor<'_>> {
        let mut set = vendors::set_in(self);
        set.next().filter(|_| set.next().is_none())
    }

    /// `delivery` with the defaults filled in, which depend on the vendor.
    #[must_use]
    pub fn effective_delivery(&self) -> EffectiveDelivery {
        self.delivery.clone().unwrap_or_default().effective(self.vendor())
    }

    /// The consent that an event needs: `consent.requires`, or the vendor's default.
    #[must_use]
    pub fn effective_consent(&self) -> Vec<ConsentSignal> {
        let stated = self.consent.as_ref().and_then(|consent| consent.requires.clone());
        stated.unwrap_or_else(|| match self.vendor() {
            Some(vendor) if vendor.is_advertising() => vec![ConsentSignal::AdStorage, ConsentSignal::AdUserData],
            _ => Vec::new(),
        })
    }

    /// Whether an event without that consent is sent without identifiers: `consent.onDenied` says so, and the vendor takes it.
    #[must_use]
    pub fn anonymizes(&self) -> bool {
        let stated = self.consent.as_ref().map(|consent| consent.on_denied);
        stated == Some(OnDenied::Anonymize) && self.vendor().is_some_and(Vendor::takes_anonymous_events)
    }

    /// The share of visitors in percent: the field, or 100.
    #[must_use]
    pub fn effective_sample_percent(&self) -> f64 {
        self.sample_percent.unwrap_or(100.0)
    }
}
