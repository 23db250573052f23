//! `pubSub`: each event as a message of Google Cloud Pub/Sub, over gRPC (vendors/pubsub.md).
//!
//! The two messages of `google.pubsub.v1.Publisher/Publish` are written out here with their field numbers; the client of
//! delivery does the rest. A message's data is the event's JSON. Its attributes are `event_name` and `event_id`, by which
//! subscriptions filter and consumers drop repeats, and those that are configured; no personal data is put there by itself.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{self, CONTENT_TYPE, TE},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use serde_json::json;
use tagfleet_crds::destination as crd;
use url::Url;

use super::{
    Authentication, Built, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Request, Resolve, Response,
    USER_AGENT, answer,
    mapping::{Budget, Failures, Field, Mapping, text},
    with_endpoint,
};
use crate::{
    delivery::{
        attempt::grpc_status,
        grpc::{framed, unframed},
        tokens::GoogleTokens,
    },
    event::field,
    record::Record,
};

/// The method's path.
const PATH: &str = "/google.pubsub.v1.Publisher/Publish";
/// Pub/Sub's own address.
const HOST: &str = "https://pubsub.googleapis.com";
/// Messages of one request.
const MAX_MESSAGES: usize = 1000;
/// Bytes of one request: Pub/Sub takes 10,000,000.
const MAX_BYTES: usize = 9_900_000;
/// Bytes of an attribute's name, of its value, and of an ordering key.
const MAX_ATTRIBUTE_NAME: usize = 256;
const MAX_ATTRIBUTE_VALUE: usize = 1024;
const MAX_ORDERING_KEY: usize = 1024;
/// Attributes of a message.
const MAX_ATTRIBUTES: usize = 100;
/// The OAuth scope that publishing needs.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// Routes the request to the topic's region.
const REQUEST_PARAMS: HeaderName = HeaderName::from_static("x-goog-request-params");

/// What a Pub/Sub destination is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The project's id.
    pub project: String,
    /// Where messages go.
    pub topic: Topic,
    /// Gives the ordering key.
    pub ordering_key: Option<Field>,
    /// Attributes by name.
    pub attributes: Vec<(String, Field)>,
    /// Where Pub/Sub is: its own address, a regional one, the emulator.
    pub url: Url,
    /// `eventNames` and `parameters`.
    pub mapping: Mapping,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Topic {
    /// Always to this topic's id.
    Fixed(String),
    /// To the topic's id that an expression gives.
    Computed(Field),
}

/// The vendor.
pub struct PubSub {
    options: Options,
    /// Credentials never travel in cleartext: not to an emulator, not to a test double.
    authentication: Authentication,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::PubSub, resolve: &mut dyn Resolve) -> Option<Built> {
    let emulator = resolve
        .environment("PUBSUB_EMULATOR_HOST")
        .map(|host| format!("http://{host}"));
    let endpoint = block.endpoint.as_deref().or(emulator.as_deref());
    let url = with_endpoint(&format!("{HOST}{PATH}"), "endpoint", endpoint, resolve);
    let topic = match (&block.topic, &block.topic_expression) {
        (Some(topic), _) => Some(Topic::Fixed(topic.clone())),
        (None, Some(source)) => resolve.expression("topicExpression", source).map(Topic::Computed),
        (None, None) => {
            resolve.mistake("", "set exactly one of topic and topicExpression".to_owned());
            None
        }
    };
    let ordering_key = block
        .ordering_key
        .as_ref()
        .map(|source| resolve.expression("orderingKey", source));
    let attributes: Vec<_> = block
        .attributes
        .iter()
        .map(|(name, source)| {
            if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME || name.starts_with("goog") {
                let message = "an attribute's name has 1 to 256 bytes and does not begin with goog";
                resolve.mistake(&format!("attributes.{name}"), message.to_owned());
            }
            let field = resolve.expression(&format!("attributes.{name}"), source)?;
            Some((name.clone(), field))
        })
        .collect();
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let credentials = block.credentials.as_ref().map(|source| {
        let key = resolve.secret("credentials", source)?;
        if resolve.awaits(source) {
            return Some(GoogleTokens::metadata_server(SCOPE));
        }
        GoogleTokens::service_account(&key, SCOPE)
            .map_err(|error| resolve.mistake("credentials", error.to_string()))
            .ok()
    });
    let url = url?;
    let tokens = match credentials {
        Some(credentials) => credentials?,
        None => GoogleTokens::metadata_server(SCOPE),
    };
    let vendor = PubSub::new(Options {
        project: block.project.clone(),
        topic: topic?,
        ordering_key: match ordering_key {
            Some(key) => Some(key?),
            None => None,
        },
        attributes: attributes.into_iter().collect::<Option<_>>()?,
        url,
        mapping: mapping?,
    });
    let tokens = (vendor.authentication == Authentication::GoogleToken).then(|| std::sync::Arc::new(tokens) as _);
    Some(Built {
        vendor: std::sync::Arc::new(vendor),
        tokens,
    })
}

impl PubSub {
    /// A destination with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let authentication = match options.url.scheme() {
            "https" => Authentication::GoogleToken,
            _ => Authentication::None,
        };
        Self {
            options,
            authentication,
        }
    }

    /// The message of a record and where it goes.
    fn message(&self, record: &Record<'_>, failures: &mut Failures) -> Result<Addressed, Cow<'static, str>> {
        let mapping = &self.options.mapping;
        let mut budget = Budget::default();
        let topic = match &self.options.topic {
            Topic::Fixed(topic) => topic.clone(),
            Topic::Computed(expression) => {
                let value = mapping.evaluate(expression, record, &mut budget, failures);
                text(&value)
                    .filter(|topic| is_topic(topic))
                    .ok_or("topicExpression gives no topic's id for this event")?
                    .into_owned()
            }
        };
        let ordering_key = match &self.options.ordering_key {
            None => String::new(),
            Some(expression) => {
                let value = mapping.evaluate(expression, record, &mut budget, failures);
                let key = text(&value).unwrap_or_default();
                if key.len() > MAX_ORDERING_KEY {
                    return Err("the ordering key is longer than 1,024 bytes".into());
                }
                key.into_owned()
            }
        };
        let event = mapping.apply(record, &mut budget, failures);
        let mut attributes = BTreeMap::new();
        for name in [field::EVENT_NAME, field::EVENT_ID] {
            if let Some(value) = event.text(name) {
                attributes.insert(name.to_owned(), shortened(value));
            }
        }
        for (name, expression) in &self.options.attributes {
            let value = mapping.evaluate(expression, record, &mut budget, failures);
            match text(&value) {
                Some(value) => attributes.insert(name.clone(), shortened(&value)),
                None => attributes.remove(name),
            };
        }
        while attributes.len() > MAX_ATTRIBUTES {
            attributes.pop_last();
        }
        let data = serde_json::to_vec(&*event)
            .map_err(|error| format!("the event cannot be written as JSON: {error}"))?
            .into();
        Ok(Addressed {
            topic,
            message: PubsubMessage {
                data,
                attributes,
                ordering_key,
            },
        })
    }

    fn encoded(&self, group: Group) -> Encoded {
        let topic = format!("projects/{}/topics/{}", self.options.project, group.topic);
        let routing = format!("topic={}", utf8_percent_encode(&topic, NON_ALPHANUMERIC));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Ok(routing) = HeaderValue::from_str(&routing) {
            headers.insert(REQUEST_PARAMS, routing);
        }
        let ordering_key = group
            .messages
            .first()
            .filter(|message| !message.ordering_key.is_empty());
        let ordering_key = ordering_key.map(|message| format!("{}\n{}", group.topic, message.ordering_key));
        let request = PublishRequest {
            topic,
            messages: group.messages,
        };
        Encoded {
            request: Request {
                method: Method::POST,
                url: self.options.url.clone(),
                headers,
                body: framed(&request),
                authentication: self.authentication,
                protocol: Protocol::Grpc,
            },
            events: group.events,
            ordering_key,
        }
    }
}

impl Destination for PubSub {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_MESSAGES,
            max_bytes: MAX_BYTES,
        }
    }

    fn encode(&self, records: &[Record<'_>], _now_ms: i64) -> Encoding {
        let mut encoding = Encoding::default();
        let mut failures = Failures::default();
        let mut groups: Vec<Group> = Vec::new();
        // The group that takes further messages of a topic and key: messages of one request share both.
        let mut open: HashMap<(String, String), usize> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            let addressed = match self.message(record, &mut failures) {
                Ok(addressed) => addressed,
                Err(reason) => {
                    encoding.refused.push((index, reason));
                    continue;
                }
            };
            // Field tag and length of a message in its request: at most six bytes.
            let bytes = addressed.message.encoded_len() + 6;
            if bytes > MAX_BYTES {
                encoding.refused.push((index, "the event is larger than 10 MB".into()));
                continue;
            }
            let address = (addressed.topic, addressed.message.ordering_key.clone());
            let place = open.get(&address).copied();
            let place = place.and_then(|place| groups.get_mut(place)).filter(|group| {
                group.bytes + bytes <= MAX_BYTES - MAX_ORDERING_KEY && group.messages.len() < MAX_MESSAGES
            });
            match place {
                Some(group) => group.push(index, addressed.message, bytes),
                None => {
                    let mut group = Group::of(address.0.clone());
                    group.push(index, addressed.message, bytes);
                    open.insert(address, groups.len());
                    groups.push(group);
                }
            }
        }
        encoding.requests = groups.into_iter().map(|group| self.encoded(group)).collect();
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn readable(&self, request: &Request) -> Option<serde_json::Value> {
        let message = PublishRequest::decode(unframed(&request.body)?).ok()?;
        let messages = message.messages.iter().map(|message| {
            let text = || serde_json::Value::from(String::from_utf8_lossy(&message.data));
            json!({
                "data": serde_json::from_slice(&message.data).unwrap_or_else(|_| text()),
                "attributes": message.attributes,
                "orderingKey": message.ordering_key,
            })
        });
        Some(json!({"topic": message.topic, "messages": messages.collect::<Vec<_>>()}))
    }

    fn classify(&self, response: &Response) -> Outcome {
        if response.status != StatusCode::OK {
            return answer::by_status_with_credentials(response);
        }
        let Some((status, message)) = grpc_status(response) else {
            return Outcome::Retry {
                after: None,
                reason: "the answer has no grpc-status: is this a gRPC endpoint?".to_owned(),
            };
        };
        let name = status_name(status);
        let reason = answer::one_line(&format!("{name}: {message}"));
        match status {
            0 => Outcome::Delivered,
            // CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE (sheet, section 6).
            1 | 2 | 4 | 8 | 10 | 13 | 14 => Outcome::Retry { after: None, reason },
            // PERMISSION_DENIED is put right by the same hands as UNAUTHENTICATED: a role for the account. Nothing is wrong
            // with the events, so they wait.
            7 | 16 => Outcome::CredentialsRejected { reason },
            _ => Outcome::Refused { reason },
        }
    }
}

struct Addressed {
    topic: String,
    message: PubsubMessage,
}

struct Group {
    topic: String,
    messages: Vec<PubsubMessage>,
    events: Vec<usize>,
    bytes: usize,
}

impl Group {
    fn of(topic: String) -> Self {
        Self {
            topic,
            messages: Vec::new(),
            events: Vec::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, index: usize, message: PubsubMessage, bytes: usize) {
        self.messages.push(message);
        self.events.push(index);
        self.bytes += bytes;
    }
}

/// `google.pubsub.v1.PublishRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct PublishRequest {
    /// `projects/<project>/topics/<topic>`.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// The messages.
    #[prost(message, repeated, tag = "2")]
    pub messages: Vec<PubsubMessage>,
}

/// `google.pubsub.v1.PubsubMessage`, without the fields that the server sets.
#[derive(Clone, PartialEq, Message)]
pub struct PubsubMessage {
    /// The payload.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Attributes.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attributes: BTreeMap<String, String>,
    /// The ordering key; empty: none.
    #[prost(string, tag = "5")]
    pub ordering_key: String,
}

/// Whether a text is a topic's id (sheet, section 1).
fn is_topic(text: &str) -> bool {
    (3..=255).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.starts_with("goog")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+%".contains(&byte))
}

/// An attribute's value, cut to what Pub/Sub takes.
fn shortened(value: &str) -> String {
    let end = value.floor_char_boundary(MAX_ATTRIBUTE_VALUE);
    value.get(..end).unwrap_or_default().to_owned()
}

fn status_name(status: u32) -> Cow<'static, str> {
    /// google.rpc.Code, by number.
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    match usize::try_from(status).ok().and_then(|status| NAMES.get(status)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("grpc-status {status}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use serde_json::{Value as Json, json};
    use tagfleet_expressions::{Environment, Expression, Map};

    use super::*;
    use crate::event::Event;

    fn field(path: &str, source: &str) -> Field {
        Field {
            path: path.to_owned(),
            expression: Expression::compile(source, &Environment::event()).unwrap(),
        }
    }

    fn options() -> Options {
        Options {
            project: "demo".to_owned(),
            topic: Topic::Fixed("promotions".to_owned()),
            ordering_key: None,
            attributes: Vec::new(),
            url: format!("{HOST}{PATH}").parse().unwrap(),
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

    fn purchase(id: &str, client_id: &str) -> Record<'static> {
        record(json!({"event_name": "purchase", "event_id": id, "client_id": client_id, "currency": "EUR"}))
    }

    fn decoded(request: &Request) -> PublishRequest {
        assert_eq!(request.body[0], 0, "not compressed");
        let length = u32::from_be_bytes(request.body[1..5].try_into().unwrap());
        assert_eq!(length as usize, request.body.len() - 5);
        PublishRequest::decode(&request.body[5..]).unwrap()
    }

    #[test]
    fn an_event_becomes_a_message() {
        let destination = PubSub::new(Options {
            attributes: vec![("currency".to_owned(), field("attributes.currency", "event.currency"))],
            ..options()
        });
        let encoding = destination.encode(&[purchase("evt-1", "1.2")], 0);
        let request = &encoding.requests[0].request;
        assert_eq!(
            request.url.as_str(),
            "https://pubsub.googleapis.com/google.pubsub.v1.Publisher/Publish"
        );
        assert_eq!(request.headers[CONTENT_TYPE], "application/grpc");
        assert_eq!(request.headers[TE], "trailers");
        assert_eq!(
            request.headers[REQUEST_PARAMS],
            "topic=projects%2Fdemo%2Ftopics%2Fpromotions"
        );
        assert_eq!(
            (request.protocol, request.authentication),
            (Protocol::Grpc, Authentication::GoogleToken)
        );
        let published = decoded(request);
        assert_eq!(published.topic, "projects/demo/topics/promotions");
        let message = &published.messages[0];
        let data: Json = serde_json::from_slice(&message.data).unwrap();
        assert_eq!(
            data,
            json!({"event_name": "purchase", "event_id": "evt-1", "client_id": "1.2", "currency": "EUR"})
        );
        let attributes: Vec<(&str, &str)> = message
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            attributes,
            [("currency", "EUR"), ("event_id", "evt-1"), ("event_name", "purchase")]
        );
    }

    /// The bytes of a message with one attribute and an ordering key, written out by hand from the field numbers of the
    /// sheet: data=1, attributes=2 (an entry of key=1 and value=2), ordering_key=5.
    #[test]
    fn the_wire_form_has_the_field_numbers_of_the_service() {
        let request = PublishRequest {
            topic: "t".to_owned(),
            messages: vec![PubsubMessage {
                data: Bytes::from_static(b"{}"),
                attributes: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
                ordering_key: "o".to_owned(),
            }],
        };
        let message = b"\x0a\x02{}\x12\x06\x0a\x01k\x12\x01v\x2a\x01o";
        let mut expected = b"\x0a\x01t\x12\x0f".to_vec();
        expected.extend_from_slice(message);
        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn one_destination_serves_several_topics() {
        let destination = PubSub::new(Options {
            topic: Topic::Computed(field("topicExpression", "'events-' + event.event_name")),
            ..options()
        });
        let records = [
            record(json!({"event_name": "purchase"})),
            record(json!({"event_name": "refund"})),
            record(json!({"event_name": "no topic!"})),
            record(json!({"event_name": "purchase"})),
        ];
        let encoding = destination.encode(&records, 0);
        let sent: Vec<_> = encoding
            .requests
            .iter()
            .map(|encoded| (decoded(&encoded.request).topic, encoded.events.clone()))
            .collect();
        assert_eq!(
            sent,
            [
                ("projects/demo/topics/events-purchase".to_owned(), vec![0, 3]),
                ("projects/demo/topics/events-refund".to_owned(), vec![1])
            ]
        );
        assert_eq!(
            encoding.refused,
            [(2, "topicExpression gives no topic's id for this event".into())]
        );
    }

    #[test]
    fn a_request_holds_messages_of_one_ordering_key() {
        let destination = PubSub::new(Options {
            ordering_key: Some(field("orderingKey", "event.client_id")),
            ..options()
        });
        let records = [
            purchase("1", "anna"),
            purchase("2", "ben"),
            purchase("3", "anna"),
            record(json!({"event_name": "anonymous"})),
        ];
        let encoding = destination.encode(&records, 0);
        let sent: Vec<_> = encoding
            .requests
            .iter()
            .map(|encoded| (encoded.ordering_key.as_deref(), encoded.events.clone()))
            .collect();
        assert_eq!(
            sent,
            [
                (Some("promotions\nanna"), vec![0, 2]),
                (Some("promotions\nben"), vec![1]),
                (None, vec![3])
            ]
        );
        assert_eq!(decoded(&encoding.requests[0].request).messages[1].ordering_key, "anna");
        assert_eq!(
            encoding.expression_errors,
            BTreeMap::from([("orderingKey".to_owned(), 1)])
        );
    }

    #[test]
    fn requests_stay_within_the_limits() {
        let destination = PubSub::new(options());
        let many: Vec<_> = (0..1001).map(|number| purchase(&number.to_string(), "c")).collect();
        let sizes: Vec<usize> = destination
            .encode(&many, 0)
            .requests
            .iter()
            .map(|encoded| encoded.events.len())
            .collect();
        assert_eq!(sizes, [1000, 1]);

        let large = |bytes: usize| record(json!({"blob": "x".repeat(bytes)}));
        let encoding = destination.encode(&[large(6_000_000), large(6_000_000), large(9_999_999)], 0);
        assert_eq!(encoding.requests.len(), 2);
        assert!(
            encoding
                .requests
                .iter()
                .all(|encoded| encoded.request.body.len() < 10_000_000)
        );
        assert_eq!(encoding.refused, [(2, "the event is larger than 10 MB".into())]);
    }

    #[test]
    fn attributes_are_text_and_cut() {
        let destination = PubSub::new(Options {
            attributes: vec![
                ("long".to_owned(), field("attributes.long", "event.long")),
                ("none".to_owned(), field("attributes.none", "event.none")),
                ("count".to_owned(), field("attributes.count", "event.count")),
                ("event_id".to_owned(), field("attributes.event_id", "'mine'")),
            ],
            ..options()
        });
        let encoding = destination.encode(&[record(json!({"long": "ä".repeat(600), "count": 3}))], 0);
        let attributes = &decoded(&encoding.requests[0].request).messages[0].attributes;
        assert_eq!(attributes["long"], "ä".repeat(512));
        assert_eq!(attributes["count"], "3");
        assert_eq!(attributes["event_id"], "mine");
        assert!(!attributes.contains_key("none"));
        assert_eq!(encoding.expression_errors["attributes.none"], 1);
    }

    #[test]
    fn a_token_never_goes_to_an_emulator_in_cleartext() {
        let destination = PubSub::new(Options {
            url: format!("http://localhost:8085{PATH}").parse().unwrap(),
            ..options()
        });
        let encoding = destination.encode(&[purchase("1", "c")], 0);
        assert_eq!(encoding.requests[0].request.authentication, Authentication::None);
    }

    fn answered(status: u16, trailers: &[(&'static str, &'static str)]) -> Outcome {
        let trailers = trailers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        PubSub::new(options()).classify(&Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            trailers: trailers.collect(),
        })
    }

    #[test]
    fn answers_by_grpc_status() {
        assert_eq!(answered(200, &[("grpc-status", "0")]), Outcome::Delivered);
        for retried in ["1", "2", "4", "8", "10", "13", "14"] {
            assert!(
                matches!(answered(200, &[("grpc-status", retried)]), Outcome::Retry { .. }),
                "{retried}"
            );
        }
        for refused in ["3", "5", "9", "11", "12", "15"] {
            assert!(
                matches!(answered(200, &[("grpc-status", refused)]), Outcome::Refused { .. }),
                "{refused}"
            );
        }
        for credentials in ["7", "16"] {
            assert!(
                matches!(
                    answered(200, &[("grpc-status", credentials)]),
                    Outcome::CredentialsRejected { .. }
                ),
                "{credentials}"
            );
        }
        assert_eq!(
            answered(
                200,
                &[("grpc-status", "5"), ("grpc-message", "Topic not found%3A promotions")]
            ),
            Outcome::Refused {
                reason: "NOT_FOUND: Topic not found: promotions".to_owned()
            }
        );
    }

    #[test]
    fn answers_without_a_grpc_status() {
        assert!(
            matches!(answered(200, &[]), Outcome::Retry { .. }),
            "a broken answer proves nothing"
        );
        assert!(matches!(answered(503, &[]), Outcome::Retry { .. }));
        assert!(matches!(answered(401, &[]), Outcome::CredentialsRejected { .. }));
        assert!(matches!(answered(404, &[]), Outcome::Refused { .. }));
    }
}
