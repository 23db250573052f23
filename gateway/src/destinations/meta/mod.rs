//! `metaConversions`: Meta's Conversions API (vendors/meta-capi.md).
//!
//! Meta takes a request whole or not at all: one invalid event refuses all of them. So what is known to be refused is
//! refused here with the reason, and a batch that is refused all the same is split by delivery.

mod answer;
mod event;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::json;
use sha2::Sha256;
use tagfleet_crds::destination as crd;
use url::Url;

use super::{
    Built, Destination, Encoding, Limits, Outcome, Request, Resolve, Response,
    batches::{self, Frame},
    mapping::{Failures, Json},
    with_endpoint,
};
use crate::{record::Record, secret::Secret};

/// The version of the Graph API that this release was tested with (section 1).
const VERSION: &str = "v25.0";
/// Up to 1,000 events (section 1). Meta names no size; a few megabytes keep a request within its timeout.
const LIMITS: Limits = Limits {
    max_events: 1_000,
    max_bytes: 4_000_000,
};
/// Who sends, at most 23 characters (section 1, `partner_agent`).
const PARTNER_AGENT: &str = concat!("tagfleet-", env!("CARGO_PKG_VERSION"));

/// The vendor.
pub(super) struct Meta {
    /// Ends in `/<version>/<pixel>/events`.
    url: Url,
    /// The access token; kept to blank it out of Meta's own messages.
    token: Secret,
    /// `Bearer <token>`: so the token is in no URL and no log of a proxy.
    authorization: HeaderValue,
    test_event_code: Option<String>,
    options: event::Options,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::MetaConversions, resolve: &mut dyn Resolve) -> Option<Built> {
    let version = block.api_version.as_deref().unwrap_or(VERSION);
    let url = format!("https://graph.facebook.com/{version}/{}/events", block.pixel_id);
    let url = with_endpoint(&url, "endpoint", block.endpoint.as_deref(), resolve);
    let token = resolve.secret("accessToken", &block.access_token);
    let proof = block
        .app_secret
        .as_ref()
        .map(|source| resolve.secret("appSecret", source));
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let (mut url, token) = (url?, token?);
    let token = Secret::new(token.expose().trim());
    let Ok(mut authorization) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
        let message = "the token has characters that no header may hold: is it the token alone?";
        resolve.mistake("accessToken", message.to_owned());
        return None;
    };
    authorization.set_sensitive(true);
    if let Some(app_secret) = proof {
        let proof = appsecret_proof(&app_secret?, &token)?;
        url.query_pairs_mut().append_pair("appsecret_proof", &proof);
    }
    Some(Built::without_tokens(Meta {
        url,
        token,
        authorization,
        test_event_code: block.test_event_code.clone(),
        options: event::Options {
            action_source: block.action_source.unwrap_or_default(),
            mapping: mapping?,
        },
    }))
}

/// HMAC-SHA256 of the token with the app's secret: for apps that require it (section 1).
fn appsecret_proof(app_secret: &Secret, token: &Secret) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.expose().trim().as_bytes()).ok()?;
    mac.update(token.expose().as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

impl Meta {
    /// What a request has beside its events.
    fn frame(&self) -> Frame {
        let mut members = Json::new();
        if let Some(code) = &self.test_event_code {
            members.insert("test_event_code".to_owned(), json!(code));
        }
        members.insert("partner_agent".to_owned(), json!(PARTNER_AGENT));
        let members = serde_json::Value::Object(members).to_string();
        Frame {
            before: r#"{"data":"#.into(),
            after: format!(",{}", members.trim_start_matches('{')).into(),
        }
    }

    fn request(&self, body: Bytes) -> Request {
        let mut request = Request::post_json(&self.url, body);
        request.headers.insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

impl Destination for Meta {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn wants(&self, event_name: &str) -> bool {
        self.options.wants(event_name)
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let event = |record: &Record<'_>, failures: &mut Failures| {
            let event = self.options.event(record, now_ms, failures)?;
            Ok(serde_json::Value::Object(event).to_string())
        };
        batches::encode(records, LIMITS, &self.frame(), event, |body| self.request(body))
    }

    fn classify(&self, response: &Response) -> Outcome {
        answer::classify(response, &self.token)
    }
}

#[cfg(test)]
mod tests;
