//! The vendor blocks of a destination. One file for each family of vendors, and below a table with a line for each vendor.

mod advertising;
mod analytics;
mod google_cloud;
mod recipient;
mod sent;
mod webhook;

use std::collections::BTreeMap;

pub use self::{
    advertising::{
        GoogleAds, GoogleAdsApi, LinkedinConversions, MetaActionSource, MetaConversions, OAuth, PinterestConversions,
        SnapchatActionSource, SnapchatConversions, TiktokEvents,
    },
    analytics::Ga4,
    google_cloud::{BigQuery, PubSub},
    sent::{Form, Listed, Sent},
    webhook::{Webhook, WebhookFormat},
};
use super::DestinationSpec;
use crate::{
    FieldPath,
    common::{SecretKeyRef, SecretSource},
};

/// What a vendor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Advertising, which needs consent by default.
    Advertising,
    /// Measuring how a site is used.
    Analytics,
    /// Systems of one's own.
    OwnSystems,
}

/// What a vendor's block tells of itself.
trait Block {
    /// Its fields that may refer to Secrets: the path of each below the block, and the reference.
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)>;

    /// Whether it takes events without anything that identifies a visitor.
    fn takes_anonymous_events(&self) -> bool {
        false
    }
}

/// Declares the vendors: the name of each block, its type, its field in [`DestinationSpec`], and what it is for.
macro_rules! vendors {
    ($($name:literal => $Block:ident, $field:ident, $purpose:ident;)*) => {
        /// The names of the vendor blocks: those of the contract in its order, then those that came later.
        pub const VENDORS: [&str; [$($name),*].len()] = [$($name),*];

        /// The vendor block that is set, borrowed from the destination.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Vendor<'a> {
            $(#[doc = concat!("`", $name, "`.")] $Block(&'a $Block),)*
        }

        impl<'a> Vendor<'a> {
            /// The name of the block.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Block(_) => $name,)*
                }
            }

            /// What it gets events for.
            #[must_use]
            pub const fn purpose(self) -> Purpose {
                match self {
                    $(Self::$Block(_) => Purpose::$purpose,)*
                }
            }

            /// The fields that every vendor block has.
            #[must_use]
            pub fn common(self) -> Common<'a> {
                match self {
                    $(Self::$Block(block) => Common {
                        endpoint: block.endpoint.as_deref(),
                        event_names: &block.event_names,
                        parameters: &block.parameters,
                    },)*
                }
            }

            /// Whether it takes events without anything that identifies a visitor (`consent.onDenied: Anonymize`).
            #[must_use]
            pub fn takes_anonymous_events(self) -> bool {
                match self {
                    $(Self::$Block(block) => block.takes_anonymous_events(),)*
                }
            }

            fn sources(self) -> Vec<(FieldPath, Option<&'a SecretSource>)> {
                match self {
                    $(Self::$Block(block) => block.secrets(),)*
                }
            }
        }

        /// The blocks that are set.
        pub(super) fn set_in(spec: &DestinationSpec) -> impl Iterator<Item = Vendor<'_>> {
            [$(spec.$field.as_ref().map(Vendor::$Block)),*].into_iter().flatten()
        }
    };
}

vendors! {
    "ga4" => Ga4, ga4, Analytics;
    "metaConversions" => MetaConversions, meta_conversions, Advertising;
    "tiktokEvents" => TiktokEvents, tiktok_events, Advertising;
    "linkedinConversions" => LinkedinConversions, linkedin_conversions, Advertising;
    "pinterestConversions" => PinterestConversions, pinterest_conversions, Advertising;
    "googleAds" => GoogleAds, google_ads, Advertising;
    "pubSub" => PubSub, pub_sub, OwnSystems;
    "bigQuery" => BigQuery, big_query, OwnSystems;
    "webhook" => Webhook, webhook, OwnSystems;
    "snapchatConversions" => SnapchatConversions, snapchat_conversions, Advertising;
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

impl<'a> Vendor<'a> {
    /// Whether it is an advertising vendor, which needs consent to advertising by default.
    #[must_use]
    pub const fn is_advertising(self) -> bool {
        matches!(self.purpose(), Purpose::Advertising)
    }

    /// Every Secret key that the block refers to, with the path of the reference below the block.
    #[must_use]
    pub fn secrets(self) -> Vec<(FieldPath, &'a SecretKeyRef)> {
        let sources = self.sources().into_iter();
        sources
            .filter_map(|(path, source)| Some((path.field("secretKeyRef"), &source?.secret_key_ref)))
            .collect()
    }
}

/// The path of a block's field.
fn field(name: &str) -> FieldPath {
    FieldPath::root().field(name)
}
