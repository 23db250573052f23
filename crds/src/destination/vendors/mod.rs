//! The vendor blocks of a destination. One file for each family of vendors.

mod advertising;
mod analytics;
mod google_cloud;
mod webhook;

use std::collections::BTreeMap;

pub use self::{
    advertising::{
        GoogleAds, GoogleAdsApi, LinkedinConversions, MetaActionSource, MetaConversions, OAuth, PinterestConversions,
        TiktokEvents,
    },
    analytics::Ga4,
    google_cloud::{BigQuery, PubSub},
    webhook::{Webhook, WebhookFormat},
};
use crate::{
    FieldPath,
    common::{SecretKeyRef, SecretSource},
};

/// The names of the vendor blocks, in the order of the contract.
pub const VENDORS: [&str; 9] = [
    "ga4",
    "metaConversions",
    "tiktokEvents",
    "linkedinConversions",
    "pinterestConversions",
    "googleAds",
    "pubSub",
    "bigQuery",
    "webhook",
];

/// The vendor block that is set, borrowed from the destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vendor<'a> {
    /// `ga4`.
    Ga4(&'a Ga4),
    /// `metaConversions`.
    MetaConversions(&'a MetaConversions),
    /// `tiktokEvents`.
    TiktokEvents(&'a TiktokEvents),
    /// `linkedinConversions`.
    LinkedinConversions(&'a LinkedinConversions),
    /// `pinterestConversions`.
    PinterestConversions(&'a PinterestConversions),
    /// `googleAds`.
    GoogleAds(&'a GoogleAds),
    /// `pubSub`.
    PubSub(&'a PubSub),
    /// `bigQuery`.
    BigQuery(&'a BigQuery),
    /// `webhook`.
    Webhook(&'a Webhook),
}

/// The fields that every vendor block has, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Common<'a> {
    /// Scheme and host in place of the vendor's own.
    pub endpoint: Option<&'a str>,
    /// Our event names mapped to the vendor's.
    pub event_names: &'a BTreeMap<String, String>,
    /// The vendor's fields mapped to expressions.
    pub parameters: &'a BTreeMap<String, String>,
}

macro_rules! common {
    ($block:expr) => {
        Common {
            endpoint: $block.endpoint.as_deref(),
            event_names: &$block.event_names,
            parameters: &$block.parameters,
        }
    };
}

impl<'a> Vendor<'a> {
    /// The name of the block.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ga4(_) => "ga4",
            Self::MetaConversions(_) => "metaConversions",
            Self::TiktokEvents(_) => "tiktokEvents",
            Self::LinkedinConversions(_) => "linkedinConversions",
            Self::PinterestConversions(_) => "pinterestConversions",
            Self::GoogleAds(_) => "googleAds",
            Self::PubSub(_) => "pubSub",
            Self::BigQuery(_) => "bigQuery",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Whether it is an advertising vendor, which needs consent to advertising by default.
    #[must_use]
    pub const fn is_advertising(self) -> bool {
        matches!(
            self,
            Self::MetaConversions(_)
                | Self::TiktokEvents(_)
                | Self::LinkedinConversions(_)
                | Self::PinterestConversions(_)
                | Self::GoogleAds(_)
        )
    }

    /// The fields that every vendor block has.
    #[must_use]
    pub fn common(self) -> Common<'a> {
        match self {
            Self::Ga4(block) => common!(block),
            Self::MetaConversions(block) => common!(block),
            Self::TiktokEvents(block) => common!(block),
            Self::LinkedinConversions(block) => common!(block),
            Self::PinterestConversions(block) => common!(block),
            Self::GoogleAds(block) => common!(block),
            Self::PubSub(block) => common!(block),
            Self::BigQuery(block) => common!(block),
            Self::Webhook(block) => common!(block),
        }
    }

    /// Every Secret key that the block refers to, with the path of the reference below the block.
    #[must_use]
    pub fn secrets(self) -> Vec<(FieldPath, &'a SecretKeyRef)> {
        let named: Vec<(&str, Option<&'a SecretSource>)> = match self {
            Self::Ga4(block) => vec![("apiSecret", block.api_secret.as_ref())],
            Self::MetaConversions(block) => vec![
                ("accessToken", Some(&block.access_token)),
                ("appSecret", block.app_secret.as_ref()),
            ],
            Self::TiktokEvents(block) => vec![("accessToken", Some(&block.access_token))],
            Self::LinkedinConversions(block) => vec![("accessToken", Some(&block.access_token))],
            Self::PinterestConversions(block) => vec![("accessToken", Some(&block.access_token))],
            Self::GoogleAds(block) => vec![
                ("oauth.clientId", Some(&block.oauth.client_id)),
                ("oauth.clientSecret", Some(&block.oauth.client_secret)),
                ("oauth.refreshToken", Some(&block.oauth.refresh_token)),
                ("developerToken", block.developer_token.as_ref()),
            ],
            Self::PubSub(block) => vec![("credentials", block.credentials.as_ref())],
            Self::BigQuery(block) => vec![("credentials", block.credentials.as_ref())],
            Self::Webhook(block) => vec![("hmac", block.hmac.as_ref())],
        };
        let mut found: Vec<(FieldPath, Option<&'a SecretSource>)> = named
            .into_iter()
            .map(|(field, source)| {
                (
                    field.split('.').fold(FieldPath::root(), |path, name| path.field(name)),
                    source,
                )
            })
            .collect();
        if let Self::Webhook(block) = self {
            for (name, value) in &block.headers {
                found.push((FieldPath::root().fields(&["headers", name]), value.secret()));
            }
        }
        found
            .into_iter()
            .filter_map(|(path, source)| Some((path.field("secretKeyRef"), &source?.secret_key_ref)))
            .collect()
    }
}
