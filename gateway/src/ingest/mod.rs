//! Ingest: from a request to events. One file for each kind of client.

pub mod answers;
mod body;
mod connection;
pub mod cors;
pub mod intake;
pub mod limits;
pub mod server;
pub mod visitor;

use std::{borrow::Cow, net::IpAddr};

use crate::{event::Event, record::Consent};

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
    /// When it arrived, unix milliseconds.
    pub received_ms: i64,
}

/// What a client made of a request.
#[derive(Debug, Default)]
pub struct Claim<'r> {
    /// The events with what the hit said of consent.
    pub events: Vec<ClaimedEvent<'r>>,
    /// Events (lines of a batch) that were dropped as invalid.
    pub invalid: u64,
    /// An answer other than the client's usual one (the Measurement Protocol's validation result).
    pub answer: Option<Answer>,
}

/// An event and the consent that its own hit carried.
#[derive(Debug)]
pub struct ClaimedEvent<'r> {
    /// The event.
    pub event: Event<'r>,
    /// What the hit itself said: the event's own `consent` before gcd before gcs; unset where it said nothing.
    pub consent: Consent,
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
    /// 405: the path is claimed, the method is not.
    #[error("{0}")]
    MethodNotAllowed(Cow<'static, str>),
}

/// A configured client.
pub struct Client {
    /// Its name (label `client`).
    pub name: String,
    /// Its kind and what it accepts.
    pub kind: ClientKind,
}

/// The kinds of client.
pub enum ClientKind {}

impl Client {
    /// Whether requests to this path are its to claim.
    #[must_use]
    pub fn owns(&self, _path: &str) -> bool {
        match self.kind {}
    }

    /// Makes events of a request whose path it owns.
    ///
    /// # Errors
    /// When there is nothing usable in it, or it is not for this container.
    pub fn claim<'r>(&self, _request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        match self.kind {}
    }

    /// Whether its hits are always sent by image elements.
    #[must_use]
    pub fn answers_with_image(&self) -> bool {
        match self.kind {}
    }
}
