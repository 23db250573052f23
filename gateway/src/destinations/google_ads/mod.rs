//! `googleAds`: conversions for Google Ads (vendors/google-ads.md), by the Data Manager API, or by the Google Ads API for
//! accounts that have a developer token.

mod clicks;
mod conversion;
mod data_manager;
mod errors;
mod google_ads_api;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tagfleet_crds::{SecretSource, destination as crd};
use url::Url;

use self::{
    conversion::{Conversions, field_of},
    data_manager::DataManager,
    google_ads_api::GoogleAdsApi,
};
use super::{Built, Destination, Resolve, secret_header, with_endpoint};
use crate::{
    delivery::tokens::{OAuthGrant, RefreshTokens},
    secret::Secret,
};

/// Where refresh tokens are exchanged (sheet, section 7). `endpoint` stands in place of its host too: a proxy or a test
/// double serves both, and no credential goes elsewhere by mistake.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::GoogleAds, resolve: &mut dyn Resolve) -> Option<Built> {
    let tokens = tokens(block, resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let fields = match block.api {
        crd::GoogleAdsApi::DataManager => data_manager::FIELDS,
        crd::GoogleAdsApi::GoogleAds => google_ads_api::FIELDS,
    };
    for name in block.parameters.keys().filter(|name| !fields.contains(&field_of(name))) {
        let message = format!("is no field of this api's; there are {}", fields.join(", "));
        resolve.mistake(&format!("parameters.{name}"), message);
    }
    let vendor: Option<Arc<dyn Destination>> = match block.api {
        crd::GoogleAdsApi::DataManager => {
            let version = block.api_version.as_deref().unwrap_or(data_manager::VERSION);
            let url = at(block, &data_manager::url(version), resolve);
            mapping.and_then(|mapping| {
                let conversions = Conversions::new(block, mapping, data_manager::IDENTIFYING);
                Some(Arc::new(DataManager::new(conversions, url?)) as _)
            })
        }
        crd::GoogleAdsApi::GoogleAds => {
            let version = block.api_version.as_deref().unwrap_or(google_ads_api::VERSION);
            let url = at(block, &google_ads_api::url(version, &block.customer_id), resolve);
            let developer_token = match &block.developer_token {
                Some(source) => secret_header("developerToken", "", source, resolve),
                None => {
                    let message = "is needed for api: GoogleAds; the default api, DataManager, needs none";
                    resolve.mistake("developerToken", message.to_owned());
                    None
                }
            };
            mapping.and_then(|mapping| {
                let conversions = Conversions::new(block, mapping, google_ads_api::IDENTIFYING);
                Some(Arc::new(GoogleAdsApi::new(conversions, url?, developer_token?)) as _)
            })
        }
    };
    Some(Built {
        vendor: vendor?,
        tokens: Some(Arc::new(tokens?)),
    })
}

fn at(block: &crd::GoogleAds, url: &str, resolve: &mut dyn Resolve) -> Option<Url> {
    with_endpoint(url, "endpoint", block.endpoint.as_deref(), resolve)
}

fn tokens(block: &crd::GoogleAds, resolve: &mut dyn Resolve) -> Option<RefreshTokens> {
    let url = at(block, TOKEN_URL, resolve);
    let oauth = &block.oauth;
    let client_id = credential("oauth.clientId", &oauth.client_id, resolve);
    let client_secret = credential("oauth.clientSecret", &oauth.client_secret, resolve);
    let refresh_token = credential("oauth.refreshToken", &oauth.refresh_token, resolve);
    let grant = OAuthGrant {
        client_id: client_id?,
        client_secret: client_secret?,
        refresh_token: refresh_token?,
    };
    Some(RefreshTokens::new(grant, url?))
}

/// A part of the grant. A line break at the end of a Secret's value is no part of it.
fn credential(field: &str, source: &SecretSource, resolve: &mut dyn Resolve) -> Option<Secret> {
    let value = resolve.secret(field, source)?;
    let text = value.expose().trim();
    if text.is_empty() && !resolve.awaits(source) {
        resolve.mistake(field, "its Secret's value is empty".to_owned());
        return None;
    }
    Some(Secret::new(text))
}
