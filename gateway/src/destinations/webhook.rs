//! `webhook`: events as JSON to an endpoint of one's own (contract, vendors/others.md section 13).
//!
//! The signature carries the time of sending; delivery encodes anew for every attempt, so it is never stale.

use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{self, CONTENT_TYPE, HOST},
};
use serde::Serialize;
use sha2::Sha256;
use tagfleet_crds::destination as crd;
use url::Url;

use super::{
    Authentication, Built, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Request, Resolve, Response,
    USER_AGENT, answer,
    mapping::{Budget, Failures, Mapping},
    with_endpoint,
};
use crate::{
    event::{Event, field},
    record::Record,
    secret::Secret,
};

/// The header that carries the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("x-tagfleet-signature");
/// What one request holds at the most.
const MAX_BYTES: usize = 10_000_000;

/// What a webhook is made of, its secrets resolved.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to.
    pub url: Url,
    /// The secrets to sign with: the one in force and, while it rotates, the one before.
    pub hmac: Vec<Secret>,
    /// Further headers.
    pub headers: HeaderMap,
    /// The shape of the body.
    pub format: Format,
    /// `eventNames` and `parameters`.
    pub mapping: Mapping,
}

/// The shape of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"events": [event, ...]}`.
    Events,
    /// The CloudEvents 1.0 JSON batch format; `source` names where the events come from.
    CloudEvents {
        /// The attribute `source` of every event.
        source: String,
    },
}

/// The vendor.
pub struct Webhook {
    options: Options,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::Webhook, resolve: &mut dyn Resolve) -> Option<Built> {
    let url = with_endpoint(&block.url, "url", block.endpoint.as_deref(), resolve);
    let hmac = block.hmac.as_ref().map(|source| {
        let current = resolve.secret("hmac", source);
        let previous = resolve.previous_secret(source);
        current.map(|current| std::iter::once(current).chain(previous).collect())
    });
    let headers = super::headers(&block.headers, resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let format = match block.format {
        crd::WebhookFormat::Events => Format::Events,
        crd::WebhookFormat::CloudEvents => Format::CloudEvents {
            source: format!("/tagfleet/{}", resolve.container()),
        },
    };
    Some(Built::without_tokens(Webhook::new(Options {
        url: url?,
        hmac: hmac.unwrap_or_else(|| Some(Vec::new()))?,
        headers: headers?,
        format,
        mapping: mapping?,
    })))
}

impl Webhook {
    /// A webhook with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn request(&self, body: Vec<u8>, now_ms: i64) -> Request {
        let mut headers = HeaderMap::new();
        let content_type = match self.options.format {
            Format::Events => "application/json",
            Format::CloudEvents { .. } => "application/cloudevents-batch+json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::USER_AGENT, USER_AGENT);
        for (name, value) in &self.options.headers {
            headers.insert(name, value.clone());
        }
        if let Some(signature) = signature(&self.options.hmac, now_ms.div_euclid(1000), &body) {
            headers.insert(SIGNATURE, signature);
        }
        Request {
            method: Method::POST,
            url: self.options.url.clone(),
            headers,
            body: body.into(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }

    /// What stands before and behind the events.
    fn frame(&self) -> (&'static [u8], &'static [u8]) {
        match self.options.format {
            Format::Events => (b"{\"events\":[", b"]}"),
            Format::CloudEvents { .. } => (b"[", b"]"),
        }
    }

    fn write(&self, event: &Event<'_>, out: &mut Vec<u8>) -> serde_json::Result<()> {
        match &self.options.format {
            Format::Events => serde_json::to_writer(out, event),
            Format::CloudEvents { source } => serde_json::to_writer(
                out,
                &CloudEvent {
                    specversion: "1.0",
                    id: event.text(field::EVENT_ID).unwrap_or_default(),
                    source,
                    r#type: event.name(),
                    time: event.timestamp_ms().and_then(rfc3339),
                    datacontenttype: "application/json",
                    data: event,
                },
            ),
        }
    }
}

impl Destination for Webhook {
    fn limits(&self) -> Limits {
        Limits {
            max_events: usize::MAX,
            max_bytes: MAX_BYTES,
        }
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let (begin, end) = self.frame();
        let mut encoding = Encoding::default();
        let mut failures = Failures::default();
        let mut body = Vec::with_capacity(records.len() * 1024 + 64);
        let mut events = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let event = self
                .options
                .mapping
                .apply(record, &mut Budget::default(), &mut failures);
            let before = body.len();
            let lead: &[u8] = if events.is_empty() { begin } else { b"," };
            body.extend_from_slice(lead);
            if let Err(error) = self.write(&event, &mut body) {
                body.truncate(before);
                let reason = format!("the event cannot be written as JSON: {error}");
                encoding.refused.push((index, reason.into()));
                continue;
            }
            if body.len() + end.len() <= MAX_BYTES {
                events.push(index);
                continue;
            }
            // It does not fit any more: it begins another request, if it fits one at all.
            let alone: Vec<u8> = body.drain(before..).skip(lead.len()).collect();
            if begin.len() + alone.len() + end.len() > MAX_BYTES {
                encoding
                    .refused
                    .push((index, "the event alone is larger than 10 MB".into()));
                continue;
            }
            body.extend_from_slice(end);
            encoding.requests.push(Encoded {
                request: self.request(std::mem::take(&mut body), now_ms),
                events: std::mem::take(&mut events),
                ordering_key: None,
            });
            body.extend_from_slice(begin);
            body.extend_from_slice(&alone);
            events.push(index);
        }
        if !events.is_empty() {
            body.extend_from_slice(end);
            encoding.requests.push(Encoded {
                request: self.request(body, now_ms),
                events,
                ordering_key: None,
            });
        }
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn passes_trace_context(&self) -> bool {
        true
    }

    fn classify(&self, response: &Response) -> Outcome {
        if response.status == http::StatusCode::GONE {
            return Outcome::Gone {
                reason: "410 Gone: the receiver wants no more events; change or delete the Destination".to_owned(),
            };
        }
        answer::by_status(response)
    }
}

/// `t=<unix seconds>,sha256=<hex>`, a `sha256` for each secret; `None` without a secret.
fn signature(secrets: &[Secret], seconds: i64, body: &[u8]) -> Option<HeaderValue> {
    if secrets.is_empty() {
        return None;
    }
    let mut text = format!("t={seconds}");
    for secret in secrets {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        text.push_str(",sha256=");
        text.push_str(&hex::encode(mac.finalize().into_bytes()));
    }
    HeaderValue::from_str(&text).ok()
}

/// An event in the JSON form of CloudEvents 1.0.
#[derive(Serialize)]
struct CloudEvent<'e> {
    specversion: &'static str,
    id: &'e str,
    source: &'e str,
    r#type: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    data: &'e Event<'e>,
}

fn rfc3339(timestamp_ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(timestamp_ms)
        .ok()
        .map(|time| time.to_string())
}

/// Whether a header may be set by a manifest: not those that the request itself needs.
pub(super) fn is_own_header(name: &HeaderName) -> bool {
    *name == SIGNATURE
        || *name == HOST
        || matches!(
            name.as_str(),
            "content-length" | "transfer-encoding" | "connection" | "te" | "upgrade"
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use serde_json::{Value as Json, json};
    use tagfleet_expressions::Map;

    use super::*;

    fn options() -> Options {
        Options {
            url: "https://orders.shop.example/hook".parse().unwrap(),
            hmac: Vec::new(),
            headers: HeaderMap::new(),
            format: Format::Events,
            mapping: Mapping::default(),
        }
    }

    fn record(fields: Json) -> Record<'static> {
        let Json::Object(fields) = fields else {
            panic!("an event is an object");
        };
        let fields: Map<'static> = fields
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Record {
            accepted_ms: 0,
            event: Event::from(fields),
            ..Record::default()
        }
    }

    fn purchase(id: &str) -> Record<'static> {
        record(json!({"event_name": "purchase", "event_id": id}))
    }

    fn body(request: &Request) -> Json {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn events_are_sent_in_order_in_one_body() {
        let webhook = Webhook::new(options());
        let encoding = webhook.encode(&[purchase("evt-1"), purchase("evt-2")], 0);
        assert_eq!(encoding.requests.len(), 1);
        let Encoded { request, events, .. } = &encoding.requests[0];
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.url.as_str(), "https://orders.shop.example/hook");
        assert_eq!(request.headers[CONTENT_TYPE], "application/json");
        assert!(!request.headers.contains_key(SIGNATURE), "unsigned without a secret");
        assert_eq!(events, &[0, 1]);
        let ids = json!({"events": [
            {"event_name": "purchase", "event_id": "evt-1"},
            {"event_name": "purchase", "event_id": "evt-2"},
        ]});
        assert_eq!(body(request), ids);
    }

    /// The vector of vendors/others.md section 13.
    #[test]
    fn the_signature_covers_time_and_body() {
        let body = br#"{"event_name":"purchase","event_id":"evt-1"}"#;
        let secret = Secret::new("whsec_test_0123456789");
        let known = "d21cb299c4e33eac1ab56215575802d317c30c7fa5b493da0c37981603d5624a";
        let signed = signature(std::slice::from_ref(&secret), 1_700_000_000, body).unwrap();
        assert_eq!(signed, format!("t=1700000000,sha256={known}"));

        let rotating = signature(&[Secret::new("new"), secret], 1_700_000_000, body).unwrap();
        let rotating = rotating.to_str().unwrap();
        assert!(rotating.starts_with("t=1700000000,sha256="));
        assert!(rotating.ends_with(&format!(",sha256={known}")), "{rotating}");
        assert_eq!(rotating.matches("sha256=").count(), 2);
    }

    #[test]
    fn each_encoding_is_signed_with_its_own_time() {
        let webhook = Webhook::new(Options {
            hmac: vec![Secret::new("s")],
            ..options()
        });
        let times: Vec<String> = [1_700_000_000_999, 1_700_000_060_000]
            .iter()
            .map(|now_ms| {
                let encoding = webhook.encode(&[purchase("evt-1")], *now_ms);
                let header = encoding.requests[0].request.headers[SIGNATURE].to_str().unwrap();
                header.split(',').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(times, ["t=1700000000", "t=1700000060"]);
    }

    #[test]
    fn custom_headers_are_sent() {
        let mut headers = HeaderMap::new();
        headers.insert("x-team", "orders".parse().unwrap());
        let webhook = Webhook::new(Options { headers, ..options() });
        let encoding = webhook.encode(&[purchase("evt-1")], 0);
        let sent = &encoding.requests[0].request.headers;
        assert_eq!(sent["x-team"], "orders");
        assert_eq!(sent[header::USER_AGENT], USER_AGENT);
    }

    #[test]
    fn a_cloud_event_wraps_the_event() {
        let webhook = Webhook::new(Options {
            format: Format::CloudEvents {
                source: "/tagfleet/shop".to_owned(),
            },
            ..options()
        });
        let event = json!({"event_name": "purchase", "event_id": "evt-1", "timestamp_ms": 1_767_225_600_500_i64});
        let encoding = webhook.encode(&[record(event.clone())], 0);
        let request = &encoding.requests[0].request;
        assert_eq!(request.headers[CONTENT_TYPE], "application/cloudevents-batch+json");
        let expected = json!([{
            "specversion": "1.0", "id": "evt-1", "source": "/tagfleet/shop", "type": "purchase",
            "time": "2026-01-01T00:00:00.5Z", "datacontenttype": "application/json", "data": event
        }]);
        assert_eq!(body(request), expected);
    }

    #[test]
    fn requests_stay_below_10_mb() {
        let webhook = Webhook::new(options());
        let large = |bytes: usize| record(json!({"event_id": "x".repeat(bytes)}));
        let encoding = webhook.encode(
            &[
                large(4_000_000),
                large(5_900_000),
                large(9_999_990),
                large(4_000_000),
                large(10),
            ],
            0,
        );
        let sent: Vec<&[usize]> = encoding
            .requests
            .iter()
            .map(|encoded| encoded.events.as_slice())
            .collect();
        assert_eq!(sent, [&[0, 1][..], &[3, 4][..]]);
        assert_eq!(encoding.refused, [(2, "the event alone is larger than 10 MB".into())]);
        for encoded in &encoding.requests {
            assert!(encoded.request.body.len() <= MAX_BYTES);
            assert_eq!(
                body(&encoded.request)["events"].as_array().unwrap().len(),
                encoded.events.len()
            );
        }
    }

    #[test]
    fn answers_follow_the_retry_table() {
        let webhook = Webhook::new(options());
        let classify = |status: u16| {
            webhook.classify(&Response {
                status: http::StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: "no".into(),
                trailers: HeaderMap::new(),
            })
        };
        assert_eq!(classify(200), Outcome::Delivered);
        assert!(matches!(classify(503), Outcome::Retry { .. }));
        assert!(matches!(classify(401), Outcome::Refused { .. }));
        assert!(matches!(classify(410), Outcome::Gone { .. }));
    }
}
