//! Ingest: from a request to events. One file for each kind of client.

pub mod answers;
mod body;
mod complete;
mod connection;
pub(crate) mod consent_signals;
pub mod cookies;
pub mod cors;
mod fields;
pub mod ga4;
pub mod intake;
pub mod json;
mod json_value;
pub mod limits;
pub mod measurement_protocol;
pub(crate) mod mp_names;
mod mp_validation;
mod normalize;
mod page;
pub mod pixel;
pub mod query;
mod repeats;
pub mod server;
pub mod user_data;
pub mod visitor;

use std::{borrow::Cow, net::IpAddr};

pub use self::{
    complete::Connection,
    ga4::Ga4,
    json::{Json, JsonAuth},
    measurement_protocol::MeasurementProtocol,
    pixel::Pixel,
};

use tagfleet_expressions::Map;

use crate::{event::Event, name_patterns::NamePatterns, pipeline::consent::Said};

/// What a client may read of a request. Header values are those of the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct HitRequest<'r> {
    /// `GET`, `POST`, ... HEAD is given as GET.
    pub method: &'r http::Method,
    /// The path, still encoded.
    pub path: &'r str,
    /// The query behind `?`, still encoded.
    pub query: &'r str,
    /// All headers.
    pub headers: &'r http::HeaderMap,
    /// The body.
    pub body: &'r [u8],
    /// The visitor: the right-most untrusted address.
    pub visitor: IpAddr,
    /// Whether a proxy that the container trusts handed it on, so that its headers are believed.
    pub by_trusted_proxy: bool,
    /// When it arrived, unix milliseconds.
    pub received_ms: i64,
    /// The cookies that enter events beside the known tracking cookies.
    pub read_cookies: &'r NamePatterns,
}

/// What a client made of a request.
#[derive(Debug, Default)]
pub struct Claim<'r> {
    /// The events with what the hit said of consent.
    pub events: Vec<ClaimedEvent<'r>>,
    /// Whose request it is.
    pub connection: Connection,
    /// The tracking cookies that came with the request, and those of `readCookies`.
    pub cookies: Map<'r>,
    /// Events (lines of a batch) that were dropped as invalid.
    pub invalid: u64,
    /// Custom parameters that were kept as `x_<name>` because the client itself sets the field of their name.
    pub renamed: u64,
    /// Claims that were not believed: an address, a user agent or a time that this sender may not set.
    pub untrusted: u64,
    /// An answer other than the client's usual one (the Measurement Protocol's validation result).
    pub answer: Option<Answer>,
}

impl Claim<'_> {
    /// The same claim with every text owned.
    #[must_use]
    pub fn into_owned(self) -> Claim<'static> {
        let owned = |claimed: ClaimedEvent<'_>| ClaimedEvent {
            event: claimed.event.into_owned(),
            said: claimed.said,
            has_own_id: claimed.has_own_id,
        };
        Claim {
            events: self.events.into_iter().map(owned).collect(),
            connection: self.connection,
            cookies: self.cookies.into_owned(),
            invalid: self.invalid,
            renamed: self.renamed,
            untrusted: self.untrusted,
            answer: self.answer,
        }
    }
}

/// An event and the consent that its own hit carried.
#[derive(Debug)]
pub struct ClaimedEvent<'r> {
    /// The event.
    pub event: Event<'r>,
    /// What the hit itself said of consent: the event's own `consent` before gcd before gcs; unset where it said nothing.
    pub said: Said,
    /// Whether `event_id` is the sender's own. One that the gateway gave says nothing of a repeat.
    pub has_own_id: bool,
}

/// An answer with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: http::StatusCode,
    /// Content-Type.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

/// Why a request that a client claimed was refused: one line for the sender, and a status.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// 400: nothing usable in it.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// 403: not for this container, or not authenticated.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// 400: none of the events in it is usable; what is wrong with the first, and how many there were.
    #[error("{reason}")]
    NoEvent {
        /// What is wrong with the first.
        reason: Cow<'static, str>,
        /// How many there were.
        invalid: u64,
    },
    /// 413: more than this protocol takes in one request.
    #[error("{0}")]
    TooLarge(Cow<'static, str>),
    /// 405: the path is claimed, the method is not.
    #[error("{0}")]
    MethodNotAllowed(Cow<'static, str>),
}

/// A configured client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name (label `client`).
    pub name: String,
    /// Its kind and what it accepts.
    pub kind: ClientKind,
}

/// The kinds of client.
#[derive(Clone, Debug)]
pub enum ClientKind {
    /// `/g/collect`.
    Ga4(Ga4),
    /// `/mp/collect` and `/debug/mp/collect`.
    MeasurementProtocol(MeasurementProtocol),
    /// Events as JSON on a path of one's own.
    Json(Json),
    /// Events as the query of an image on a path of one's own.
    Pixel(Pixel),
}

impl Client {
    /// Whether requests to this path are its to claim, whatever else is in them.
    #[must_use]
    pub fn owns(&self, path: &str) -> bool {
        match &self.kind {
            ClientKind::Ga4(_) => Ga4::owns(path),
            ClientKind::MeasurementProtocol(_) => MeasurementProtocol::owns(path),
            ClientKind::Json(json) => json.path == path,
            ClientKind::Pixel(pixel) => pixel.path == path,
        }
    }

    /// The path of its own by which it owns a request to `path`, as protocol or configuration have it: what may be told
    /// where nothing of a hit may.
    #[must_use]
    pub fn route(&self, path: &str) -> &str {
        let known = |paths: [&'static str; 2]| paths.into_iter().find(|own| *own == path).unwrap_or_default();
        match &self.kind {
            ClientKind::Ga4(_) => known(Ga4::PATHS),
            ClientKind::MeasurementProtocol(_) => known(MeasurementProtocol::PATHS),
            ClientKind::Json(json) => &json.path,
            ClientKind::Pixel(pixel) => &pixel.path,
        }
    }

    /// Turns a claimed request into events. Pure but for the ids given to events that have none.
    ///
    /// # Errors
    /// What the sender is told: see [`Refusal`].
    pub fn claim<'r>(&self, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        match &self.kind {
            ClientKind::Ga4(ga4) => ga4.claim(request),
            ClientKind::MeasurementProtocol(protocol) => protocol.claim(request),
            ClientKind::Json(json) => json.claim(request),
            ClientKind::Pixel(pixel) => pixel.claim(request),
        }
    }
    /// Whether its hits are always sent by image elements.
    #[must_use]
    pub const fn answers_with_image(&self) -> bool {
        matches!(self.kind, ClientKind::Pixel(_))
    }
}
