//! Who a vendor is, in words for people who have never seen a manifest.

use super::Vendor;
use crate::destination::GoogleAdsApi;

impl Vendor<'_> {
    /// What people call it, with the interface that is used.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ga4(ga4) if ga4.api_secret.is_some() => "Google Analytics 4 (Measurement Protocol)",
            Self::Ga4(_) => "Google Analytics 4 (forwarded hits)",
            Self::MetaConversions(_) => "Meta (Conversions API)",
            Self::TiktokEvents(_) => "TikTok (Events API)",
            Self::LinkedinConversions(_) => "LinkedIn (Conversions API)",
            Self::PinterestConversions(_) => "Pinterest (API for Conversions)",
            Self::GoogleAds(ads) => match ads.api {
                GoogleAdsApi::DataManager => "Google Ads (Data Manager API)",
                GoogleAdsApi::GoogleAds => "Google Ads (Google Ads API)",
            },
            Self::PubSub(_) => "Google Cloud Pub/Sub",
            Self::BigQuery(_) => "Google Cloud BigQuery",
            Self::Webhook(_) => "an HTTP endpoint of your own choice (webhook)",
            Self::SnapchatConversions(_) => "Snap (Conversions API)",
        }
    }

    /// The URL's scheme and host that events go to unless `endpoint` names another; of a webhook its URL.
    fn usual_endpoint(&self) -> &str {
        match self {
            Self::Ga4(_) => "https://www.google-analytics.com",
            Self::MetaConversions(_) => "https://graph.facebook.com",
            Self::TiktokEvents(_) => "https://business-api.tiktok.com",
            Self::LinkedinConversions(_) => "https://api.linkedin.com",
            Self::PinterestConversions(_) => "https://api.pinterest.com",
            Self::GoogleAds(ads) => match ads.api {
                GoogleAdsApi::DataManager => "https://datamanager.googleapis.com",
                GoogleAdsApi::GoogleAds => "https://googleads.googleapis.com",
            },
            Self::PubSub(_) => "https://pubsub.googleapis.com",
            Self::BigQuery(_) => "https://bigquery.googleapis.com",
            Self::Webhook(webhook) => &webhook.url,
            Self::SnapchatConversions(_) => "https://tr.snapchat.com",
        }
    }

    /// The host that events go to, with its port where that is not the usual one. The path stays out: a webhook's is often
    /// a secret.
    #[must_use]
    pub fn host(&self) -> String {
        let text = self.common().endpoint.unwrap_or_else(|| self.usual_endpoint());
        let Ok(url) = url::Url::parse(text) else {
            return "an address that is no URL".to_owned();
        };
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}
