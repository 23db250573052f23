//! The vendors: one file each, one line each in the table below.
//!
//! A vendor is two pure functions: [`Destination::encode`] turns events into requests, [`Destination::classify`] reads a
//! response. Sending, batching, retrying and dead letters are delivery's work and alike for all.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::record::{Consent, Record};

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
    /// The body, cut at 64 KiB.
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
    /// One outcome for each event, in the request's order; none of them is `PerEvent`.
    PerEvent(Vec<Outcome>),
}

/// A vendor.
pub trait Destination: Send + Sync {
    /// The vendor's own limits.
    fn limits(&self) -> Limits;

    /// Whether an event with this consent may be sent at all, beside `consent.requires`.
    fn consents(&self, _consent: &Consent) -> bool {
        true
    }

    /// Turns a batch into requests. Pure but for the given time (unix milliseconds).
    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding;

    /// Reads a response. Pure.
    fn classify(&self, response: &Response) -> Outcome;
}
