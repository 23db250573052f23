//! The vendors: one file each, one line each in the table below.
//!
//! A vendor is two pure functions: [`Destination::encode`] turns events into requests, [`Destination::classify`] reads a
//! response. Sending, batching, retrying and dead letters are delivery's work and alike for all.

pub mod answer;
pub mod batches;
mod big_query;
pub mod commerce;
mod ga4;
mod google_ads;
pub mod identity;
pub mod json;
mod linkedin;
pub mod mapping;
mod meta;
mod pinterest;
pub mod pub_sub;
mod snapchat;
mod tiktok;
pub mod webhook;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{self, CONTENT_TYPE},
};
use tagfleet_crds::{
    HeaderValue as ManifestHeader, SecretSource,
    destination::{DestinationSpec, Vendor},
};
use url::Url;

use crate::{
    delivery::tokens::TokenSource,
    destinations::mapping::Mapping,
    event::Event,
    record::{Consent, Record},
    secret::Secret,
};

/// The User-Agent of requests that speak for the gateway. Delivery adds none, as GA4 takes that of a forwarded hit for the
/// visitor's.
pub const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tagfleet-gateway/", env!("CARGO_PKG_VERSION")));

/// What a vendor takes in one request at the most; the smaller of this and `delivery.batch` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub max_events: usize,
    /// Bytes of body, before compression.
    pub max_bytes: usize,
}

/// How delivery authenticates a request; the secret itself is added last and never logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing beyond what `encode` put there.
    #[default]
    None,
    /// A Google access token from the destination's own token source.
    GoogleToken,
}

/// The protocol a request must be sent with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or HTTP/2 where TLS agrees on it.
    #[default]
    Http,
    /// gRPC: HTTP/2 always, in cleartext too; the outcome is in the trailers.
    Grpc,
}

/// One outgoing request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL. May carry a secret: log [`Request::target`] instead.
    pub url: Url,
    /// Headers, Content-Type among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What delivery adds before sending.
    pub authentication: Authentication,
    /// The protocol.
    pub protocol: Protocol,
}

impl Request {
    /// A body of JSON for a vendor, from the gateway itself; what else the vendor wants to see is added by the caller.
    #[must_use]
    pub fn post_json(url: &Url, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        Self {
            method: Method::POST,
            url: url.clone(),
            headers,
            body: body.into(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }

    /// Scheme, host and port: what errors and logs may say of the URL. The path stays out, as a webhook's often is a
    /// secret; so do user name and query.
    #[must_use]
    pub fn target(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{}://{host}:{port}", self.url.scheme()),
            None => format!("{}://{host}", self.url.scheme()),
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, cut at 256 KiB.
    pub body: Bytes,
    /// Trailers (gRPC).
    pub trailers: HeaderMap,
}

/// A request and the events that it carries, as indexes into what `encode` was given.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The request.
    pub request: Request,
    /// The indexes of its events, in the order in which the request carries them.
    pub events: Vec<usize>,
    /// Requests of one key are sent one at a time and in order, also when one has to be retried (Pub/Sub ordering).
    pub ordering_key: Option<String>,
}

/// All that became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    /// The requests to send.
    pub requests: Vec<Encoded>,
    /// Events that this vendor can never take, by index, each with a reason a person understands: dead letters.
    pub refused: Vec<(usize, Cow<'static, str>)>,
    /// How often each expression of this destination failed, by its field path (`parameters.value`).
    pub expression_errors: BTreeMap<String, u64>,
}

/// What a response means for the events of its request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All were taken.
    Delivered,
    /// All were taken, and the vendor has something to say of them.
    DeliveredWith {
        /// The vendor's own message.
        warning: String,
    },
    /// None was taken; later they may be.
    Retry {
        /// The vendor's Retry-After, if it gave one.
        after: Option<Duration>,
        /// The vendor's own message.
        reason: String,
    },
    /// None was taken, and none ever will be.
    Refused {
        /// The vendor's own message.
        reason: String,
    },
    /// None was taken for the sake of at least one bad event, and the vendor does not say which: the batch is split until
    /// the bad ones stand alone. Only for vendors that take a request whole or not at all, or events would arrive twice.
    RefusedBatch {
        /// The vendor's own message.
        reason: String,
    },
    /// None was taken for the sake of these bad events, by their place in the request, each with the vendor's own message:
    /// they are refused, and the others sent again at once without them.
    RefusedEvents {
        /// The bad events.
        bad: BTreeMap<usize, String>,
    },
    /// The vendor refuses the credentials: pause, and try again when they change.
    CredentialsRejected {
        /// The vendor's own message.
        reason: String,
    },
    /// The receiver asks for no more events (410): pause, and try again when the configuration changes.
    Gone {
        /// The vendor's own message.
        reason: String,
    },
    /// One outcome for each event, in the request's order; none of them is itself about single events.
    PerEvent(Vec<Outcome>),
    /// The answer names some events, by their place in the request; none of the outcomes is itself about single events.
    Named {
        /// The outcomes of those that it names.
        named: BTreeMap<usize, Outcome>,
        /// The outcome of all others.
        others: Box<Outcome>,
    },
}

/// A vendor.
pub trait Destination: Send + Sync {
    /// The vendor's own limits.
    fn limits(&self) -> Limits;

    /// Whether it has any use for events of this name; the others are filtered when they are accepted, and are no dead
    /// letters.
    fn wants(&self, _event_name: &str) -> bool {
        true
    }

    /// Whether there is anything in an event of such a name that the vendor can use; the others are filtered too.
    fn takes(&self, _event: &Event<'_>, _consent: &Consent) -> bool {
        true
    }

    /// Whether an event with this consent may be sent at all, beside `consent.requires`.
    fn consents(&self, _consent: &Consent) -> bool {
        true
    }

    /// Turns a batch into requests. Pure but for the given time (unix milliseconds).
    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding;

    /// The body of one of its requests in a form that a person reads, where that is neither JSON nor text. Pure.
    fn readable(&self, _request: &Request) -> Option<serde_json::Value> {
        None
    }

    /// Whether its requests carry the trace context of their events: only of a receiver of one's own. To an advertising
    /// vendor it would be one more identifier.
    fn passes_trace_context(&self) -> bool {
        false
    }

    /// Reads a response. Pure.
    fn classify(&self, response: &Response) -> Outcome;

    /// The request that makes what events go to, where `response` says that it is missing and the manifest allows to make
    /// it. Pure. Delivery sends it at once and has [`Destination::classify`] read its answer; the events end or wait as
    /// that of `response` says, which is [`Outcome::Retry`].
    fn prepare(&self, _response: &Response) -> Option<Request> {
        None
    }
}

/// A vendor as its manifest describes it, ready to send.
pub struct Built {
    /// The vendor.
    pub vendor: Arc<dyn Destination>,
    /// Where its access tokens come from, if it needs any.
    pub tokens: Option<Arc<dyn TokenSource>>,
}

impl Built {
    fn without_tokens(vendor: impl Destination + 'static) -> Self {
        Self {
            vendor: Arc::new(vendor),
            tokens: None,
        }
    }
}

/// What a vendor's block refers to, resolved by the configuration. Field paths are relative to the block. Whoever cannot
/// give what is asked for takes note of the mistake and returns `None`; the vendor asks on, so that all mistakes are found.
pub trait Resolve {
    /// The container's name.
    fn container(&self) -> &str;

    /// The value of a Secret's key.
    fn secret(&mut self, field: &str, source: &SecretSource) -> Option<Secret>;

    /// Whether this Secret has not arrived yet, and what stands in for it is never sent.
    fn awaits(&self, _source: &SecretSource) -> bool {
        false
    }

    /// The value that this key had before, while it rotates and both are valid.
    fn previous_secret(&mut self, _source: &SecretSource) -> Option<Secret> {
        None
    }

    /// An expression over event, consent and variables.
    fn expression(&mut self, field: &str, source: &str) -> Option<mapping::Field>;

    /// `eventNames` and `parameters`, with the lookup tables in force.
    fn mapping(
        &mut self,
        event_names: &BTreeMap<String, String>,
        parameters: &BTreeMap<String, String>,
    ) -> Option<Mapping>;

    /// An environment variable of the process.
    fn environment(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// Takes note of a mistake in a field.
    fn mistake(&mut self, field: &str, message: String);
}

/// Builds the vendor that a manifest describes: the table of vendors. `None` when there are mistakes; `resolve` knows
/// them.
pub fn build(spec: &DestinationSpec, resolve: &mut dyn Resolve) -> Option<Built> {
    let vendor = spec.vendor()?;
    match vendor {
        Vendor::Ga4(block) => ga4::build(block, resolve),
        Vendor::MetaConversions(block) => meta::build(block, resolve),
        Vendor::TiktokEvents(block) => tiktok::build(block, resolve),
        Vendor::LinkedinConversions(block) => linkedin::build(block, resolve),
        Vendor::PinterestConversions(block) => pinterest::build(block, resolve),
        Vendor::GoogleAds(block) => google_ads::build(block, resolve),
        Vendor::PubSub(block) => pub_sub::build(block, resolve),
        Vendor::BigQuery(block) => big_query::build(block, resolve),
        Vendor::Webhook(block) => webhook::build(block, resolve),
        Vendor::SnapchatConversions(block) => snapchat::build(block, resolve),
    }
}

/// A vendor's URL, with scheme, host and port of `endpoint` in place of its own.
fn with_endpoint(url: &str, field: &str, endpoint: Option<&str>, resolve: &mut dyn Resolve) -> Option<Url> {
    let url = match Url::parse(url) {
        Ok(url) => Some(url),
        Err(error) => {
            resolve.mistake(field, format!("is no URL: {error}"));
            None
        }
    };
    let Some(endpoint) = endpoint else {
        return url;
    };
    match Url::parse(endpoint) {
        Ok(mut moved) if moved.has_host() && matches!(moved.scheme(), "http" | "https") => {
            let url = url?;
            moved.set_path(url.path());
            moved.set_query(url.query());
            Some(moved)
        }
        Ok(_) => {
            resolve.mistake(
                "endpoint",
                "must be scheme and host, such as https://proxy.example".to_owned(),
            );
            None
        }
        Err(error) => {
            resolve.mistake("endpoint", format!("is no URL: {error}"));
            None
        }
    }
}

/// A header that carries a credential, behind `prefix`. A line break at the end of a Secret's value is no part of it.
fn secret_header(field: &str, prefix: &str, source: &SecretSource, resolve: &mut dyn Resolve) -> Option<HeaderValue> {
    let secret = resolve.secret(field, source)?;
    let Ok(mut value) = HeaderValue::from_str(&format!("{prefix}{}", secret.expose().trim())) else {
        let message = "its value has characters that no header may hold: is it the whole token, and nothing else?";
        resolve.mistake(field, message.to_owned());
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// A manifest's headers, each text or from a Secret.
fn headers(given: &BTreeMap<String, ManifestHeader>, resolve: &mut dyn Resolve) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut whole = true;
    for (name, value) in given {
        let field = format!("headers.{name}");
        let (text, sensitive) = match value {
            ManifestHeader::Text(text) => (Some(Secret::new(text.as_str())), false),
            ManifestHeader::Secret(source) => (resolve.secret(&field, source), true),
        };
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|name| !webhook::is_own_header(name));
        let value = text.map(|text| HeaderValue::from_str(text.expose().trim_end_matches(['\r', '\n'])));
        match (parsed, value) {
            (Some(name), Some(Ok(mut value))) => {
                value.set_sensitive(sensitive);
                headers.insert(name, value);
            }
            (None, _) => {
                resolve.mistake(&field, "is no header that may be set".to_owned());
                whole = false;
            }
            (_, Some(Err(_))) => {
                resolve.mistake(&field, "its value has characters that no header may hold".to_owned());
                whole = false;
            }
            (_, None) => whole = false,
        }
    }
    whole.then_some(headers)
}
