//! What several modules' tests need: a plan in few words.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use proptest::prelude::*;
use tagfleet_expressions::{Environment, Expression, Value};

use crate::{
    destinations::{
        Destination, Encoding, Limits, Outcome, Response,
        mapping::{self, Mapping},
    },
    event::Event,
    ingest::{Client, HitRequest, cors::Cors},
    log::{DestinationId, Usage},
    metrics::Sources,
    name_patterns::NamePatterns,
    pipeline::{policies::Policies, privacy::IpAddressPolicy, transform::View},
    plan::{DeliverySettings, Plan, PlannedDestination, Trigger},
    record::Record,
};

/// No cookies but the known tracking cookies, for a request.
pub(crate) static NO_COOKIES: NamePatterns = NamePatterns::none();

/// A GET of the GA4 client's path by somebody, without query and body.
pub(crate) fn request(headers: &HeaderMap) -> HitRequest<'_> {
    HitRequest {
        method: &Method::GET,
        path: "/g/collect",
        query: "",
        headers,
        body: b"",
        visitor: [203, 0, 113, 7].into(),
        by_trusted_proxy: false,
        read_cookies: &NO_COOKIES,
        received_ms: 0,
    }
}

/// What there is to tell of a plan whose log and dead letters are empty.
pub(crate) fn sources(plan: &Plan, now_ms: i64) -> Sources<'_> {
    Sources {
        plan,
        ledgers: BTreeMap::new(),
        usage: Usage::default(),
        dead_letters: BTreeMap::new(),
        deliveries: BTreeMap::new(),
        now_ms,
        now: Instant::now(),
    }
}

/// A plan of the container `shop` with these clients and destinations, everything else at its default.
pub(crate) fn plan(version: &str, clients: Vec<Client>, destinations: Vec<PlannedDestination>) -> Plan {
    Plan {
        version: version.into(),
        objects: Vec::new(),
        container: "shop".into(),
        clients: clients.into_iter().map(Arc::new).collect(),
        trusted_proxies: Vec::new(),
        cors: Cors::new(["metrics.shop.example"], []),
        request_bytes: 128 * 1024,
        policies: Arc::new(Policies {
            ip_address: IpAddressPolicy::Keep,
            ..Policies::default()
        }),
        duplicate_keys: None,
        variables: Vec::new(),
        lookup_tables: Arc::default(),
        traces: None,
        destinations: destinations.into_iter().map(Arc::new).collect(),
        absent_views: BTreeMap::new(),
    }
}

/// A destination that wants these event names (none: all).
pub(crate) fn destination(name: &str, id: DestinationId, events: &[&str]) -> PlannedDestination {
    PlannedDestination {
        name: name.into(),
        id,
        trigger: Trigger {
            events: events.iter().map(|event| Box::from(*event)).collect::<BTreeSet<_>>(),
            when: None,
        },
        requires: Vec::new(),
        anonymize: false,
        sample: None,
        view: View::default(),
        delivery: DeliverySettings {
            max_events: 10,
            max_delay: Duration::ZERO,
            timeout: Duration::from_secs(1),
            max_concurrency: 1,
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            max_age: Duration::from_secs(60),
        },
        vendor: Arc::new(Nobody),
        tokens: None,
        paused: false,
        awaits_credentials: false,
        fingerprint: name.into(),
    }
}

/// A record of an event with these fields, accepted at their `timestamp_ms`, without any word on consent.
///
/// # Panics
/// When it is no object.
pub(crate) fn record(event: serde_json::Value) -> Record<'static> {
    let Value::Map(fields) = Value::from(event) else {
        unreachable!("an event is an object")
    };
    let event = Event::from(fields);
    Record {
        accepted_ms: event.timestamp_ms().unwrap_or_default(),
        event,
        ..Record::default()
    }
}

/// The purchase that the vendors' sheets show in full, as it happened: with the click ids and cookies of all of them.
pub(crate) fn purchase() -> Record<'static> {
    record(serde_json::json!({
        "event_name": "purchase", "event_id": "evt-1001", "timestamp_ms": 1_767_225_600_000_i64,
        "client_id": "1506821430.1730448757", "user_id": "user-42",
        "page_location": "https://shop.example/thanks", "page_referrer": "https://shop.example/checkout",
        "language": "en-US", "ip_override": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "currency": "EUR", "value": 72.05, "transaction_id": "T-1001",
        "items": [{
            "item_id": "SKU-1", "item_name": "Shirt", "item_category": "Apparel", "item_brand": "Acme",
            "price": 33.03, "quantity": 2
        }],
        "user_data": {
            "email_address": [" Test@Example.com "], "phone_number": ["+1 (415) 555-2671"],
            "address": [{
                "first_name": "Jane", "last_name": "Doe", "city": "Palo Alto", "region": "CA",
                "postal_code": "94035-1234", "country": "US"
            }]
        },
        "click_ids": {
            "gclid": "fake-gclid", "ttclid": "E.C.P.fakeclickid", "epik": "dj0yFakeEpikValue",
            "li_fat_id": "11111111-2222-3333-4444-555555555555"
        },
        "cookies": {"_ga": "GA1.1.1506821430.1730448757", "_ttp": "2abcDEFghiJKLmnoPQRstuVWXyz"}
    }))
}

/// `eventNames` and `parameters`, as a manifest writes them.
///
/// # Panics
/// When an expression does not compile.
pub(crate) fn mapping(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> Mapping {
    let owned = |(ours, theirs): &(&str, &str)| ((*ours).to_owned(), (*theirs).to_owned());
    let parameters = parameters.iter().map(|(name, source)| {
        let field = mapping::Field {
            path: format!("parameters.{name}"),
            expression: Expression::compile(source, &Environment::event()).unwrap(),
        };
        ((*name).to_owned(), field)
    });
    Mapping {
        event_names: event_names.iter().map(owned).collect(),
        parameters: parameters.collect(),
        tables: Arc::default(),
    }
}

/// An answer of a vendor.
///
/// # Panics
/// When the status is none.
pub(crate) fn answer(status: u16, body: &str) -> Response {
    Response {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        trailers: http::HeaderMap::new(),
    }
}

/// A visitor of whom nothing may leave unhashed.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    email: String,
    phone: String,
    first_name: String,
    last_name: String,
}

impl Visitor {
    /// Any visitor. The names have letters that neither hexadecimal digits nor vendors' field names make up.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let email = "[ ]?[A-Za-z0-9]{2}[A-Za-z0-9._+]{0,10}[a-z]@[A-Za-z]{2,8}\\.(com|de)[ ]?";
        let phone = "(\\+|00)[1-9][0-9]{9,13}";
        (email, phone, "[Q-Z][q-z]{6,10}", "[Q-Z][q-z]{6,10}").prop_map(|(email, phone, first_name, last_name)| Self {
            email,
            phone,
            first_name,
            last_name,
        })
    }

    /// The event of [`purchase`] by this visitor.
    pub(crate) fn purchase(&self) -> Record<'static> {
        let mut record = purchase();
        let data = serde_json::json!({
            "email_address": [self.email], "phone_number": [self.phone],
            "address": [{"first_name": self.first_name, "last_name": self.last_name, "country": "DE"}]
        });
        record.event.set("user_data", Value::from(data));
        record
    }

    /// Checks that a body has neither address nor number of theirs in it.
    pub(crate) fn assert_no_address_in(&self, body: &[u8]) {
        let body = String::from_utf8_lossy(body).to_lowercase();
        let number: String = self.phone.chars().filter(char::is_ascii_digit).collect();
        for raw in [self.email.trim(), number.trim_start_matches('0')] {
            assert!(!body.contains(&raw.to_lowercase()), "{raw} is in {body}");
        }
    }

    /// As [`Self::assert_no_address_in`], and no name either.
    pub(crate) fn assert_absent_from(&self, body: &[u8]) {
        self.assert_no_address_in(body);
        let body = String::from_utf8_lossy(body).to_lowercase();
        for name in [&self.first_name, &self.last_name] {
            assert!(!body.contains(&name.to_lowercase()), "{name} is in {body}");
        }
    }
}

/// Records as no honest sender makes them: fields that vendors read, of any kind and content.
pub(crate) fn hostile_record() -> impl Strategy<Value = Record<'static>> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|number| serde_json::json!(number)),
        "\\PC{0,20}".prop_map(Into::into),
        Just(serde_json::json!("jane@example.com")),
    ];
    let member =
        "(item_id|price|quantity|email_address|phone_number|address|first_name|country|postal_code|ttclid|epik|_ttp)";
    let value = scalar.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::hash_map(member, inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    let name = "(event_name|event_id|timestamp_ms|user_id|page_location|language|ip_override|currency|value|transaction_id|items|\
                user_data|click_ids|cookies|search_term|job_title)";
    prop::collection::hash_map(name, value, 0..10)
        .prop_map(|fields| record(serde_json::Value::Object(fields.into_iter().collect())))
}

/// A vendor that is never sent to.
struct Nobody;

impl Destination for Nobody {
    fn limits(&self) -> Limits {
        Limits {
            max_events: 10,
            max_bytes: 1024,
        }
    }

    fn encode(&self, _: &[Record<'_>], _: i64) -> Encoding {
        Encoding::default()
    }

    fn classify(&self, _: &Response) -> Outcome {
        Outcome::Delivered
    }
}

/// Any bytes that a header's value may hold (RFC 9110 section 5.5), up to so many.
pub(crate) fn header_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t')], 0..most)
}
