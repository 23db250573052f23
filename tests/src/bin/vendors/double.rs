//! What a vendor's double is, and what they have alike.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use tagfleet_tests::{
    receiver::{Answer, answer},
    vendors::{CREDENTIALS, Trouble},
};

/// A request to a vendor.
pub(crate) struct Call<'c> {
    pub(crate) method: &'c Method,
    pub(crate) path: &'c str,
    pub(crate) query: &'c str,
    pub(crate) headers: &'c HeaderMap,
    pub(crate) body: &'c Bytes,
    pub(crate) now_ms: u64,
}

impl Call<'_> {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    /// A parameter of the query, as it stands there.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token behind `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// Whether it carries the good credentials as a bearer token.
    pub(crate) fn is_authorized(&self) -> bool {
        self.bearer() == Some(CREDENTIALS)
    }
}

/// What a vendor makes of a request.
pub(crate) struct Verdict {
    status: StatusCode,
    body: Value,
    taken: Vec<Value>,
}

impl Verdict {
    /// The answer, with the events that were taken.
    pub(crate) fn into_parts(self) -> (Answer, Vec<Value>) {
        let mut reply = answer(self.status, None, &self.body.to_string());
        reply
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (reply, self.taken)
    }

    /// An answer of this status with this JSON; no event is taken.
    pub(crate) fn refused(status: u16, body: Value) -> Self {
        Self::partly(status, body, Vec::new())
    }

    /// 200 with this JSON; these events are taken.
    pub(crate) fn took(events: Vec<Value>, body: Value) -> Self {
        Self::partly(200, body, events)
    }

    /// An answer of this status with this JSON; these events are taken.
    pub(crate) fn partly(status: u16, body: Value, taken: Vec<Value>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body,
            taken,
        }
    }
}

/// A vendor.
pub(crate) trait Double: Send + Sync {
    /// The name of its block in a Destination.
    fn name(&self) -> &'static str;

    /// Whether a path is this vendor's.
    fn owns(&self, path: &str) -> bool;

    /// What it makes of a request when all is well with it: it looks at credentials, form and every event.
    fn answer(&self, call: &Call<'_>) -> Verdict;

    /// What it says in trouble, in its own words and codes.
    fn in_trouble(&self, trouble: Trouble, call: &Call<'_>) -> Verdict;
}

/// Whether a value is a hash as vendors want it, or an array of such hashes (none of them the hash of nothing).
pub(crate) fn is_hashed(value: &Value) -> bool {
    const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match value {
        Value::String(text) => {
            text.len() == 64
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && text != HASH_OF_NOTHING
        }
        Value::Array(all) => !all.is_empty() && all.iter().all(is_hashed),
        _ => false,
    }
}
