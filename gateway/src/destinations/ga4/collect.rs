//! GA4 without an API secret: every event as a rebuilt `/g/collect` hit (vendors/ga4-collect.md sections 7 and 8), with the
//! visitor's user agent and, as `_uip`, address, so that sessions and attribution stay whole.
//!
//! The reverse of `ingest::ga4`: what that made of a hit becomes the same parameters again. An event of another client
//! gets those that GA4 cannot do without.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue, Method,
    header::{CONTENT_TYPE, USER_AGENT},
};
use tagfleet_expressions::{Map, Value};
use url::{
    Url,
    form_urlencoded::{self, byte_serialize},
};

use super::consent;
use crate::{
    destinations::{
        Authentication, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Request, Response, answer,
        mapping::{Budget, Failures, Mapping, text},
    },
    event::{Event, field},
    ingest::ga4::{Kind, Parameter},
    record::{ConsentSignal, Record},
};

/// A longer query moves the event's own parameters into the body, as tags do.
const MAX_QUERY_BYTES: usize = 2_048;

/// Fields that another parameter carries, that the server derived, or that never leave the gateway as they are: user data
/// goes as `em`, hashed by the tag.
const NOT_SENT: [&str; 8] = [
    field::JS_CLIENT_ID,
    field::PAGE_PATH,
    field::TIMESTAMP_MS,
    field::CLICK_IDS,
    field::COOKIES,
    field::USER_DATA,
    field::USER_AGENT,
    "event_location",
];

/// What identifies a visitor: left out where analytics storage is denied.
const IDENTIFIERS: [&str; 13] = [
    "cid", "uid", "sid", "sct", "seg", "em", "ecid", "_uip", "_fid", "_fplc", "_ss", "_fv", "_nsi",
];

/// The keys of an item's fields.
const ITEM_KEYS: [(&str, &str); 22] = [
    ("item_id", "id"),
    ("item_name", "nm"),
    ("item_brand", "br"),
    ("item_category", "ca"),
    ("item_category2", "c2"),
    ("item_category3", "c3"),
    ("item_category4", "c4"),
    ("item_category5", "c5"),
    ("item_variant", "va"),
    ("coupon", "cp"),
    ("affiliation", "af"),
    ("creative_name", "cn"),
    ("creative_slot", "cs"),
    ("quantity", "qt"),
    ("price", "pr"),
    ("discount", "ds"),
    ("index", "lp"),
    ("item_list_id", "li"),
    ("item_list_name", "ln"),
    ("location_id", "lo"),
    ("promotion_id", "pi"),
    ("promotion_name", "pn"),
];

/// GA4 by forwarded hits.
pub(super) struct Collect {
    /// Ends in `/g/collect`.
    pub(super) url: Url,
    pub(super) measurement_id: String,
    pub(super) debug: bool,
    pub(super) mapping: Mapping,
}

/// The parameters of a hit: those of the page and visitor, and those of the event alone.
#[derive(Default)]
struct Hit<'v> {
    shared: Vec<(Cow<'v, str>, Cow<'v, str>)>,
    event: Vec<(Cow<'v, str>, Cow<'v, str>)>,
}

impl<'v> Hit<'v> {
    fn shared(&mut self, name: impl Into<Cow<'v, str>>, value: impl Into<Cow<'v, str>>) {
        self.shared.push((name.into(), value.into()));
    }

    fn event(&mut self, name: impl Into<Cow<'v, str>>, value: impl Into<Cow<'v, str>>) {
        self.event.push((name.into(), value.into()));
    }

    fn has(&self, name: &str) -> bool {
        self.shared.iter().chain(&self.event).any(|(known, _)| known == name)
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.shared.retain(|(name, _)| keep(name));
        self.event.retain(|(name, _)| keep(name));
    }
}

impl Collect {
    fn hit<'v>(&'v self, event: &'v Event<'v>, record: &Record<'_>) -> Hit<'v> {
        let mut hit = Hit::default();
        hit.shared("v", "2");
        hit.shared("tid", self.measurement_id.as_str());
        for (name, value) in event.fields().iter() {
            if !NOT_SENT.contains(&name) && !is_of_the_client(event, name, value) && !is_of_the_pipeline(name, value) {
                add_field(&mut hit, name, value);
            }
        }
        if !hit.has("_p") {
            hit.shared("_p", record.accepted_ms.to_string());
        }
        if !hit.has("_s") {
            hit.shared("_s", "1");
        }
        if self.debug && !hit.has("_dbg") {
            hit.shared("_dbg", "1");
        }
        consent::tell(&mut hit.shared, &record.consent);
        if record.consent.analytics_storage == ConsentSignal::Denied {
            hit.retain(|name| !IDENTIFIERS.contains(&name));
        }
        hit
    }

    fn request(&self, hit: &Hit<'_>, user_agent: Option<&str>) -> Request {
        let whole = query(hit.shared.iter().chain(&hit.event));
        let (query, method, body) = if whole.len() <= MAX_QUERY_BYTES {
            (whole, Method::GET, String::new())
        } else {
            (query(hit.shared.iter()), Method::POST, query(hit.event.iter()))
        };
        let mut url = self.url.clone();
        url.set_query(Some(&query));
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        }
        // Without the visitor's, none: the gateway's own would be taken for the visitor's.
        if let Some(Ok(agent)) = user_agent.map(HeaderValue::from_str) {
            headers.insert(USER_AGENT, agent);
        }
        Request {
            method,
            url,
            headers,
            body: body.into(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }
}

/// Whether the client of this gateway filled in the field, so that the hit never had it as a parameter: the id made for an
/// event without one (a UUIDv7 of the event's own time), and the host of the page's URL.
fn is_of_the_client(event: &Event<'_>, name: &str, value: &Value<'_>) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    match name {
        field::EVENT_ID => made_at(text).is_some_and(|made_ms| Some(made_ms) == event.timestamp_ms()),
        field::PAGE_HOSTNAME => event
            .text(field::PAGE_LOCATION)
            .and_then(|location| Url::parse(location).ok())
            .is_some_and(|location| location.host_str() == Some(text)),
        _ => false,
    }
}

/// Whether the gateway found it out itself: GA judges bots, places and devices by its own lights. A parameter of the tag's
/// that has such a name is no object.
fn is_of_the_pipeline(name: &str, value: &Value<'_>) -> bool {
    [field::X_BOT, field::GEO, field::DEVICE].contains(&name) && value.as_map().is_some()
}

/// When a UUIDv7 was made, unix milliseconds (RFC 9562 section 5.7).
fn made_at(id: &str) -> Option<i64> {
    let id = uuid::Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
    let [a, b, c, d, e, f, ..] = id.into_bytes();
    Some(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn query<'q>(parameters: impl Iterator<Item = &'q (Cow<'q, str>, Cow<'q, str>)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// One field of the event as the parameters it was, or would be in a tag's hit.
fn add_field<'v>(hit: &mut Hit<'v>, name: &'v str, value: &'v Value<'v>) {
    match name {
        field::USER_PROPERTIES => add_members(value, |name, value| {
            let prefix = if is_number(value) { "upn." } else { "up." };
            hit.event(format!("{prefix}{name}"), any_text(value));
        }),
        field::ITEMS => {
            for (place, item) in value.as_list().unwrap_or_default().iter().take(200).enumerate() {
                if let Some(item) = item.as_map() {
                    hit.event(format!("pr{}", place + 1), item_text(item));
                }
            }
        }
        field::CLIENT_HINTS => add_members(value, |name, value| add_hint(hit, name, value)),
        field::IP_OVERRIDE => hit.shared("_uip", any_text(value)),
        "x-ga-system_properties" => add_members(value, |name, value| hit.event(format!("_{name}"), any_text(value))),
        "x-sst-system_properties" => add_members(value, |name, value| {
            if name != "request_start_time_ms" {
                hit.shared(format!("sst.{name}"), any_text(value));
            }
        }),
        "x-ga-protocol_version" | "x-ga-measurement_id" => {}
        _ => match Parameter::ALL
            .iter()
            .find(|parameter| parameter.kind() != Kind::Hint && parameter.field() == name)
        {
            Some(parameter) => add_parameter(hit, *parameter, value),
            None => match name.strip_prefix("x-ga-mp2-") {
                Some(plain) => hit.shared(plain, any_text(value)),
                None if is_number(value) => hit.event(format!("epn.{name}"), any_text(value)),
                None => hit.event(format!("ep.{name}"), any_text(value)),
            },
        },
    }
}

fn add_parameter<'v>(hit: &mut Hit<'v>, parameter: Parameter, value: &'v Value<'v>) {
    let text = match (parameter.kind(), value) {
        (Kind::Flag, Value::Bool(truth)) => Cow::Borrowed(if *truth { "1" } else { "0" }),
        _ => any_text(value),
    };
    match parameter {
        Parameter::EventName | Parameter::EngagementTime | Parameter::Currency => hit.event(parameter.wire(), text),
        _ => hit.shared(parameter.wire(), text),
    }
}

fn add_hint<'v>(hit: &mut Hit<'v>, name: &'v str, value: &'v Value<'v>) {
    let Some(parameter) = Parameter::ALL
        .iter()
        .find(|parameter| parameter.kind() == Kind::Hint && parameter.field() == name)
    else {
        // `brands` is part of `full_version_list`.
        return;
    };
    let text = match value {
        Value::List(entries) => Cow::Owned(version_list(entries)),
        Value::Bool(truth) => Cow::Borrowed(if *truth { "1" } else { "0" }),
        other => any_text(other),
    };
    hit.shared(parameter.wire(), text);
}

/// `Brand;version|Brand;version`, each encoded once here and once more with the query.
fn version_list(entries: &[Value<'_>]) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let entries = entries.iter().filter_map(Value::as_map).map(|entry| {
        let part = |name: &str| entry.get(name).and_then(Value::as_str).map(encode).unwrap_or_default();
        format!("{};{}", part("brand"), part("version"))
    });
    entries.collect::<Vec<_>>().join("|")
}

fn add_members<'v>(value: &'v Value<'v>, mut add: impl FnMut(&'v str, &'v Value<'v>)) {
    for (name, value) in value.as_map().into_iter().flat_map(Map::iter) {
        add(name, value);
    }
}

/// `idSKU-1~nmBlue~~Shirt~pr19.99~k0color~v0blue`: a `~` of the text is doubled.
fn item_text(item: &Map<'_>) -> String {
    let mut fields = Vec::with_capacity(item.len());
    let mut customs = 0;
    for (name, value) in item.iter() {
        let value = any_text(value).replace('~', "~~");
        match ITEM_KEYS.iter().find(|(field, _)| *field == name) {
            Some((_, key)) => fields.push(format!("{key}{value}")),
            None => {
                fields.push(format!("k{customs}{}~v{customs}{value}", name.replace('~', "~~")));
                customs += 1;
            }
        }
    }
    fields.join("~")
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// A scalar as text; lists and maps as JSON, so that nothing is lost.
fn any_text<'v>(value: &'v Value<'v>) -> Cow<'v, str> {
    text(value).unwrap_or_else(|| match value {
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(serde_json::to_string(other).unwrap_or_default()),
    })
}

impl Destination for Collect {
    fn limits(&self) -> Limits {
        // Each event is a request of its own; a batch is what delivery holds in its hands at a time.
        Limits {
            max_events: 100,
            max_bytes: 1_000_000,
        }
    }

    fn encode(&self, records: &[Record<'_>], _now_ms: i64) -> Encoding {
        let mut failures = Failures::default();
        let requests = records.iter().enumerate().map(|(index, record)| {
            let event = self.mapping.apply(record, &mut Budget::default(), &mut failures);
            let request = self.request(&self.hit(&event, record), event.text(field::USER_AGENT));
            Encoded {
                request,
                events: vec![index],
                ordering_key: None,
            }
        });
        let requests = requests.collect();
        Encoding {
            requests,
            refused: Vec::new(),
            expression_errors: failures.into_counts(),
        }
    }

    fn classify(&self, response: &Response) -> Outcome {
        answer::by_status(response)
    }
}
