//! `tiktokEvents`: TikTok's Events API 2.0 (vendors/tiktok.md).
//!
//! All events of a request share its source and its test code; events that differ in these go into requests of their own.
//! TikTok answers HTTP 200 to failures too: what became of a request is in the `code` of the body.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Value;
use url::Url;

use super::{
    Built, Destination, Encoded, Encoding, Limits, Outcome, Request, Resolve, Response, answer,
    batches::{self, Room},
    commerce::{self, Item, json_number},
    identity::{self, EmailRule, NameRule, PhoneRule, UserData},
    json::{filled, get, list, member, non_empty, object, plain, texts, whole, written},
    mapping::{Budget, Failures, Json as Object, Mapping, put, text},
    secret_header, with_endpoint,
};
use crate::{
    event::{Event, field},
    record::{ConsentSignal, Record},
};

/// TikTok's own address (sheet, section 1).
const HOST: &str = "https://business-api.tiktok.com";
/// The method's path; its last slash matters (sheet, section 1).
const PATH: &str = "/open_api/v1.3/event/track/";
/// The header of the access token (sheet, section 1).
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("access-token");
/// Who sends, as TikTok shows it.
const PARTNER_NAME: &str = "tagfleet";

/// Up to 1,000 events (sheet, section 1). TikTok names no size; 1 MB is what others hold to.
const LIMITS: Limits = Limits {
    max_events: 1_000,
    max_bytes: 1_000_000,
};

/// GA4's event names and TikTok's (sheet, section 4). Others are custom events and keep their names.
const EVENT_NAMES: [(&str, &str); 14] = [
    ("page_view", "Pageview"),
    ("view_item", "ViewContent"),
    ("add_to_cart", "AddToCart"),
    ("add_to_wishlist", "AddToWishlist"),
    ("begin_checkout", "InitiateCheckout"),
    ("add_payment_info", "AddPaymentInfo"),
    ("contact", "Contact"),
    ("purchase", "Purchase"),
    ("generate_lead", "Lead"),
    ("sign_up", "CompleteRegistration"),
    ("search", "Search"),
    ("click", "ClickButton"),
    ("file_download", "Download"),
    ("subscribe", "Subscribe"),
];

/// Fields of a request (sheet, section 1).
const REQUEST_FIELDS: [&str; 4] = ["event_source", "event_source_id", "test_event_code", "partner_name"];
/// Plain fields of an event (sheet, section 2).
const EVENT_FIELDS: [&str; 4] = ["event", "event_time", "event_id", "limited_data_use"];
/// Objects of an event (sheet, section 2).
const EVENT_OBJECTS: [&str; 7] = ["user", "page", "properties", "app", "ad", "lead", "device"];
/// Parameters of an event that have the same name and meaning at TikTok (sheet, section 2.1).
const SAME_PROPERTIES: [&str; 4] = ["content_type", "shop_id", "delivery_category", "predicted_ltv"];

/// The vendor.
struct TiktokEvents {
    url: Url,
    access_token: HeaderValue,
    pixel_code: String,
    test_event_code: Option<String>,
    mapping: Mapping,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::TiktokEvents, resolve: &mut dyn Resolve) -> Option<Built> {
    let url = with_endpoint(&format!("{HOST}{PATH}"), "endpoint", block.endpoint.as_deref(), resolve);
    let access_token = secret_header("accessToken", "", &block.access_token, resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    for name in block.parameters.keys().filter(|name| path(name).is_none()) {
        let message = format!(
            "is no field of TikTok's: write a field of an event ({}), of a request ({}), a member of an object ({}.…) or a \
             property's bare name",
            EVENT_FIELDS.join(", "),
            REQUEST_FIELDS.join(", "),
            EVENT_OBJECTS.join(".…, "),
        );
        resolve.mistake(&format!("parameters.{name}"), message);
    }
    Some(Built::without_tokens(TiktokEvents {
        url: url?,
        access_token: access_token?,
        pixel_code: block.pixel_code.clone(),
        test_event_code: block.test_event_code.clone(),
        mapping: mapping?,
    }))
}

/// Where a field of `parameters` stands in a request or an event: a bare name that is none of theirs is a property's.
/// `None` for what cannot be a field.
fn path(name: &str) -> Option<Cow<'_, str>> {
    match name.split_once('.') {
        Some((object, member)) => (EVENT_OBJECTS.contains(&object) && !member.is_empty()).then_some(name.into()),
        None if REQUEST_FIELDS.contains(&name) || EVENT_FIELDS.contains(&name) => Some(name.into()),
        None if EVENT_OBJECTS.contains(&name) || name.is_empty() => None,
        None => Some(format!("properties.{name}").into()),
    }
}

impl TiktokEvents {
    /// An event of `data[]`, and what it shares with the others of its request.
    fn event(
        &self,
        record: &Record<'_>,
        failures: &mut Failures,
        now_ms: i64,
    ) -> Result<(String, String), Cow<'static, str>> {
        let mut request = self.request_fields();
        let mut event = self.standard(record, now_ms);
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            let Some(path) = path(name) else { continue };
            let value = match (name, path.strip_prefix("user.")) {
                (_, Some(member)) => user_field(member, &value),
                ("event_time", _) => whole(&value),
                ("event" | "event_id", _) => filled(&value),
                _ if REQUEST_FIELDS.contains(&name) => filled(&value),
                _ => plain(&value),
            };
            let object = if REQUEST_FIELDS.contains(&name) {
                &mut request
            } else {
                &mut event
            };
            if let Some(value) = value {
                put(object, &path, value);
            }
        }
        let is_web = request.get("event_source").is_some_and(|source| source == "web");
        if is_web && get(&event, "page.url").is_none() {
            return Err(
                "has no page_location, which TikTok requires of web events; have the client send it, or set \
                        page.url or event_source in parameters"
                    .into(),
            );
        }
        Ok((Json::Object(request).to_string(), Json::Object(event).to_string()))
    }

    fn request_fields(&self) -> Object {
        object([
            ("event_source", Some(json!("web"))),
            ("event_source_id", Some(json!(self.pixel_code))),
            ("partner_name", Some(json!(PARTNER_NAME))),
            ("test_event_code", self.test_event_code.as_ref().map(|code| json!(code))),
        ])
    }

    /// The standard mapping (sheet, section 5).
    fn standard(&self, record: &Record<'_>, now_ms: i64) -> Object {
        let event = &record.event;
        let time = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        // Who wants no personal advertising, and allows their data to be used all the same: limited use.
        let limited = record.consent.ad_personalization == ConsentSignal::Denied;
        let page = object([
            ("url", written(event, field::PAGE_LOCATION)),
            ("referrer", written(event, field::PAGE_REFERRER)),
        ]);
        object([
            ("event", Some(json!(self.event_name(event)))),
            ("event_time", Some(json!(time.div_euclid(1_000)))),
            ("event_id", written(event, field::EVENT_ID)),
            ("limited_data_use", limited.then_some(Json::Bool(true))),
            ("user", non_empty(user(event))),
            ("page", non_empty(page)),
            ("properties", non_empty(properties(event))),
        ])
    }

    fn event_name<'v>(&'v self, event: &'v Event<'_>) -> &'v str {
        let ours = event.name();
        match self.mapping.event_names.get(ours) {
            Some(theirs) => theirs,
            None => EVENT_NAMES
                .iter()
                .find(|(ga4, _)| *ga4 == ours)
                .map_or(ours, |(_, tiktok)| *tiktok),
        }
    }

    fn request(&self, body: Bytes) -> Request {
        let mut request = Request::post_json(&self.url, body);
        request.headers.insert(ACCESS_TOKEN, self.access_token.clone());
        request
    }
}

/// `user` (sheet, section 3).
fn user(event: &Event<'_>) -> Object {
    let data = UserData::of(event);
    let address = data.addresses().next();
    let hash = |hash: Option<String>| hash.map(Json::from);
    let place = |name: &str| plain_place(&address?.plain(name)?);
    object([
        ("email", list(data.emails(EmailRule::Plain))),
        ("phone", list(data.phones(PhoneRule::E164))),
        (
            "external_id",
            list(
                event
                    .get(field::USER_ID)
                    .and_then(text)
                    .and_then(|id| identity::exact(&id)),
            ),
        ),
        (
            "first_name",
            hash(address.and_then(|address| address.first_name(NameRule::Trimmed))),
        ),
        (
            "last_name",
            hash(address.and_then(|address| address.last_name(NameRule::Trimmed))),
        ),
        ("zip_code", hash(address.and_then(|address| address.postal_code()))),
        ("city", place("city")),
        ("state", place("region")),
        (
            "country",
            address.and_then(|address| address.country_code()).map(Json::from),
        ),
        // The event's own, else that of the page's URL, else the cookie's.
        (
            "ttclid",
            written(event, "ttclid")
                .or_else(|| member(event, field::CLICK_IDS, "ttclid"))
                .or_else(|| member(event, field::COOKIES, "ttclid")),
        ),
        (
            "ttp",
            written(event, "ttp").or_else(|| member(event, field::COOKIES, "_ttp")),
        ),
        ("ip", written(event, field::IP_OVERRIDE)),
        ("user_agent", written(event, field::USER_AGENT)),
        ("locale", written(event, field::LANGUAGE)),
    ])
}

/// A member of `user` that `parameters` sets, in the form that TikTok wants it: what is hashed, is hashed here too.
fn user_field(name: &str, value: &Value<'_>) -> Option<Json> {
    let raw = texts(value);
    let hashes = |hash: &dyn Fn(&str) -> Option<String>| list(raw.iter().filter_map(|raw| hash(raw)));
    let first = |hash: &dyn Fn(&str) -> Option<String>| raw.first().and_then(|raw| hash(raw)).map(Json::from);
    match name {
        "email" => hashes(&|raw| identity::email(raw, EmailRule::Plain)),
        "phone" => hashes(&|raw| identity::phone(raw, PhoneRule::E164)),
        "external_id" => hashes(&identity::exact),
        "first_name" | "last_name" => first(&|raw| identity::name(raw, NameRule::Trimmed)),
        "zip_code" => first(&|raw| identity::postal_code(raw, None)),
        "city" | "state" => plain_place(raw.first()?),
        "country" => first(&|raw| identity::country_code(Some(raw))),
        _ => filled(value),
    }
}

/// A place in plain text: lower case, letters and digits only (sheet, section 3).
fn plain_place(raw: &str) -> Option<Json> {
    let place: String = raw
        .to_lowercase()
        .chars()
        .filter(|character| character.is_alphanumeric())
        .collect();
    (!place.is_empty()).then(|| json!(place))
}

/// `properties` (sheet, sections 2.1 and 5).
fn properties(event: &Event<'_>) -> Object {
    let currency = commerce::currency(event);
    // TikTok refuses a value without a currency (sheet, section 2.1).
    let value = currency.as_ref().and_then(|_| commerce::value(event));
    let contents = list(commerce::items(event).iter().filter_map(content));
    let mut properties = object([
        ("currency", currency.map(Json::from)),
        ("value", value.map(json_number)),
        ("order_id", written(event, field::TRANSACTION_ID)),
        ("query", written(event, "search_term")),
        ("content_type", contents.as_ref().map(|_| json!("product"))),
        ("contents", contents),
    ]);
    for name in SAME_PROPERTIES {
        if let Some(value) = event.get(name).filter(|value| text(value).is_some()).and_then(plain) {
            properties.insert(name.to_owned(), value);
        }
    }
    properties
}

fn content(item: &Item<'_>) -> Option<Json> {
    let written = |name: &str| item.text(name).map(|text| json!(text));
    non_empty(object([
        ("content_id", item.id().map(|id| json!(id))),
        ("content_name", written("item_name")),
        ("content_category", written("item_category")),
        ("brand", written("item_brand")),
        ("price", item.price().map(json_number)),
        ("quantity", Some(json_number(item.quantity()))),
    ]))
}

impl Destination for TiktokEvents {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let (mut encoding, mut failures) = (Encoding::default(), Failures::default());
        // By what the events of a request share.
        let mut groups: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            match self.event(record, &mut failures, now_ms) {
                Ok((shared, event)) => groups.entry(shared).or_default().push((index, event)),
                Err(reason) => encoding.refused.push((index, reason)),
            }
        }
        for (shared, events) in groups {
            let head = format!("{},\"data\":", shared.strip_suffix('}').unwrap_or(&shared));
            let room = Room {
                events: LIMITS.max_events,
                bytes: LIMITS.max_bytes,
                overhead: head.len() + 1,
            };
            let (batches, too_large) = batches::fill(events, room);
            let refused = too_large
                .into_iter()
                .map(|index| (index, "is larger than the 1 MB of a request".into()));
            encoding.refused.extend(refused);
            encoding.requests.extend(batches.into_iter().map(|batch| Encoded {
                request: self.request(format!("{head}{}}}", batch.array()).into()),
                events: batch.events,
                ordering_key: None,
            }));
        }
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn classify(&self, response: &Response) -> Outcome {
        let body = serde_json::from_slice::<Answer>(&response.body);
        let Ok(Answer {
            code,
            message,
            request_id,
        }) = body
        else {
            return match answer::by_status_with_credentials(response) {
                Outcome::Delivered => Outcome::Retry {
                    after: None,
                    reason: format!(
                        "the answer has no code; is this TikTok's address? {}",
                        answer::reason(response)
                    ),
                },
                other => other,
            };
        };
        let reason = answer::one_line(&match request_id {
            Some(id) => format!("{code}: {message} (request_id {id})"),
            None => format!("{code}: {message}"),
        });
        // Sheet, section 7.
        match code {
            0 if response.status.is_success() => Outcome::Delivered,
            0 => answer::by_status(response),
            // Some were taken, and TikTok does not say in a form to rely on which: to send all again would help nobody.
            20001 => Outcome::DeliveredWith { warning: reason },
            40001 | 40105 => Outcome::CredentialsRejected {
                reason: format!(
                    "{reason}; make a new access token in TikTok Events Manager, for this pixel, and put it into the Secret"
                ),
            },
            // The whole request is refused for one event's sake.
            40002 => Outcome::RefusedBatch { reason },
            40100 | 40016 | 40132 | 40133 | 50000..=59999 => Outcome::Retry { after: None, reason },
            _ if crate::delivery::retry::is_retriable(response.status) => Outcome::Retry { after: None, reason },
            _ => Outcome::Refused { reason },
        }
    }
}

/// What TikTok answers.
#[derive(Deserialize)]
struct Answer {
    code: i64,
    #[serde(default)]
    message: String,
    request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Visitor, answer, hostile_record, mapping, purchase, record};

    const NOW_MS: i64 = 1_767_225_600_000;

    fn tiktok(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> TiktokEvents {
        TiktokEvents {
            url: format!("{HOST}{PATH}").parse().unwrap(),
            access_token: HeaderValue::from_static("fake-token"),
            pixel_code: "CFAKEPIXEL0000000000".to_owned(),
            test_event_code: None,
            mapping: mapping(event_names, parameters),
        }
    }

    fn page_view() -> Record<'static> {
        record(json!({
            "event_name": "page_view", "event_id": "evt-1", "timestamp_ms": NOW_MS, "page_location": "https://shop.example/",
            "ip_override": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"
        }))
    }

    fn bodies(encoding: &Encoding) -> Vec<Json> {
        let requests = encoding.requests.iter();
        requests
            .map(|encoded| serde_json::from_slice(&encoded.request.body).unwrap())
            .collect()
    }

    fn event(vendor: &TiktokEvents, record: Record<'_>) -> Json {
        let encoding = vendor.encode(&[record], NOW_MS);
        assert_eq!(encoding.refused, []);
        bodies(&encoding)[0]["data"][0].clone()
    }

    /// The full example of the sheet, section 6.
    #[test]
    fn a_purchase_in_full() {
        let mut vendor = tiktok(&[], &[]);
        vendor.test_event_code = Some("TEST12345".to_owned());
        let encoding = vendor.encode(&[purchase()], NOW_MS);
        let request = &encoding.requests[0].request;
        assert_eq!(
            request.url.as_str(),
            "https://business-api.tiktok.com/open_api/v1.3/event/track/"
        );
        assert_eq!(request.headers["access-token"], "fake-token");
        assert_eq!(
            bodies(&encoding),
            [json!({
                "event_source": "web", "event_source_id": "CFAKEPIXEL0000000000", "partner_name": "tagfleet",
                "test_event_code": "TEST12345",
                "data": [{
                    "event": "Purchase", "event_time": 1_767_225_600, "event_id": "evt-1001",
                    "user": {
                        "email": ["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"],
                        "phone": ["cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928"],
                        "external_id": ["6d894aa3ee802549d7f340e7c1cf0d1c1cb14cd84f768d92ffaa6785337c4997"],
                        "first_name": "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2",
                        "last_name": "799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f",
                        "zip_code": "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e",
                        "city": "paloalto", "state": "ca", "country": "us",
                        "ttclid": "E.C.P.fakeclickid", "ttp": "2abcDEFghiJKLmnoPQRstuVWXyz",
                        "ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "locale": "en-US"
                    },
                    "page": {"url": "https://shop.example/thanks", "referrer": "https://shop.example/checkout"},
                    "properties": {
                        "currency": "EUR", "value": 72.05, "order_id": "T-1001", "content_type": "product",
                        "contents": [{
                            "content_id": "SKU-1", "content_name": "Shirt", "content_category": "Apparel", "brand": "Acme",
                            "price": 33.03, "quantity": 2
                        }]
                    }
                }]
            })]
        );
    }

    #[test]
    fn names_are_tiktoks_unless_event_names_says_otherwise() {
        let named = |vendor: &TiktokEvents, name: &str| {
            let mut record = page_view();
            record.event.set(field::EVENT_NAME, name.to_owned());
            event(vendor, record)["event"].clone()
        };
        let (standard, older) = (tiktok(&[], &[]), tiktok(&[("purchase", "CompletePayment")], &[]));
        assert_eq!(named(&standard, "generate_lead"), "Lead");
        assert_eq!(named(&standard, "low_stock"), "low_stock");
        assert_eq!(named(&older, "purchase"), "CompletePayment");
    }

    #[test]
    fn the_click_id_of_the_event_counts_before_that_of_the_page_and_the_cookie() {
        let mut visit = page_view();
        let of = |record: &Record<'static>| event(&tiktok(&[], &[]), record.clone())["user"]["ttclid"].clone();
        let object = |id: &str| Value::from(json!({"ttclid": id}));
        visit.event.set(field::COOKIES, object("cookie"));
        assert_eq!(of(&visit), "cookie");
        visit.event.set(field::CLICK_IDS, object("page"));
        assert_eq!(of(&visit), "page");
        visit.event.set("ttclid", "event");
        assert_eq!(of(&visit), "event");
    }

    #[test]
    fn parameters_reach_every_field_and_are_hashed_where_tiktok_wants_it() {
        let vendor = tiktok(
            &[],
            &[
                ("value", "event.value * 2.0"),
                ("properties.description", "'margin'"),
                ("limited_data_use", "true"),
                ("user.email", "'Jane.Doe@gmail.com'"),
                ("user.att_status", "'AUTHORIZED'"),
                ("event_source", "'offline'"),
                ("event_source_id", "'77'"),
            ],
        );
        let encoding = vendor.encode(&[purchase()], NOW_MS);
        let body = &bodies(&encoding)[0];
        assert_eq!(
            (&body["event_source"], &body["event_source_id"]),
            (&json!("offline"), &json!("77"))
        );
        let event = &body["data"][0];
        assert_eq!(event["properties"]["value"], 144.1);
        assert_eq!(event["properties"]["description"], "margin");
        assert_eq!(event["limited_data_use"], true);
        let hash = "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982";
        assert_eq!(event["user"]["email"], json!([hash]));
        assert_eq!(event["user"]["att_status"], "AUTHORIZED");
    }

    #[test]
    fn only_fields_of_tiktok_may_be_set() {
        for name in [
            "value",
            "properties.value",
            "user.ttclid",
            "app.app_id",
            "lead.lead_id",
            "event_source",
            "event_time",
        ] {
            assert!(path(name).is_some(), "{name}");
        }
        for name in ["", "user", "properties", "usr.email", "user."] {
            assert_eq!(path(name), None, "{name}");
        }
    }

    #[test]
    fn events_of_different_sources_go_into_different_requests() {
        let vendor = tiktok(
            &[],
            &[("event_source", "event.event_name == 'page_view' ? 'web' : 'offline'")],
        );
        let encoding = vendor.encode(&[page_view(), purchase(), page_view()], NOW_MS);
        let mut sent: Vec<_> = encoding.requests.iter().map(|encoded| encoded.events.clone()).collect();
        sent.sort();
        assert_eq!(sent, [vec![0, 2], vec![1]]);
    }

    #[test]
    fn a_thousand_events_share_a_request() {
        let records: Vec<_> = std::iter::repeat_with(page_view).take(1_001).collect();
        let encoding = tiktok(&[], &[]).encode(&records, NOW_MS);
        let sent: Vec<_> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
        assert_eq!(sent, [1_000, 1]);
    }

    #[test]
    fn a_web_event_needs_its_page() {
        let mut record = page_view();
        record.event.remove(field::PAGE_LOCATION);
        let refused = tiktok(&[], &[]).encode(std::slice::from_ref(&record), NOW_MS).refused;
        assert!(refused[0].1.contains("page_location"), "{refused:?}");
        let offline = tiktok(&[], &[("event_source", "'crm'")]).encode(&[record], NOW_MS);
        assert_eq!((offline.requests.len(), offline.refused.len()), (1, 0));
    }

    #[test]
    fn a_value_goes_with_its_currency_only() {
        let mut record = purchase();
        record.event.remove(field::CURRENCY);
        let event = event(&tiktok(&[], &[]), record);
        assert_eq!(event["properties"].get("value"), None);
    }

    #[test]
    fn who_wants_no_personal_advertising_is_marked() {
        let mut record = page_view();
        record.consent.ad_personalization = ConsentSignal::Denied;
        assert_eq!(event(&tiktok(&[], &[]), record)["limited_data_use"], true);
    }

    /// Sheet, section 7.
    #[test]
    fn the_code_in_the_body_counts_and_not_the_status() {
        let classify = |status: u16, code: i64| {
            let body = json!({"code": code, "message": "the vendor's words", "request_id": "2026"}).to_string();
            tiktok(&[], &[]).classify(&answer(status, &body))
        };
        assert_eq!(classify(200, 0), Outcome::Delivered);
        assert!(matches!(classify(200, 20001), Outcome::DeliveredWith { .. }));
        assert!(matches!(classify(200, 40001), Outcome::CredentialsRejected { .. }));
        let reason = "40002: the vendor's words (request_id 2026)".to_owned();
        assert_eq!(classify(200, 40002), Outcome::RefusedBatch { reason });
        for code in [40100, 50000] {
            assert!(matches!(classify(200, code), Outcome::Retry { .. }), "{code}");
        }
        assert!(matches!(classify(200, 49999), Outcome::Refused { .. }));
        assert!(matches!(classify(503, 0), Outcome::Retry { .. }));
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        let classify = |status: u16| tiktok(&[], &[]).classify(&answer(status, "<html>"));
        for status in [200, 429, 502] {
            assert!(matches!(classify(status), Outcome::Retry { .. }), "{status}");
        }
        assert!(matches!(classify(404), Outcome::Refused { .. }));
    }

    proptest! {
        /// Whoever the visitor is: neither their addresses nor their name leave as they were typed.
        #[test]
        fn nothing_of_a_visitor_is_sent_unhashed(visitor in Visitor::any()) {
            for encoded in &tiktok(&[], &[]).encode(&[visitor.purchase()], NOW_MS).requests {
                visitor.assert_absent_from(&encoded.request.body);
            }
        }

        #[test]
        fn whatever_comes_every_event_is_sent_or_refused(records in prop::collection::vec(hostile_record(), 1..5)) {
            let encoding = tiktok(&[], &[]).encode(&records, NOW_MS);
            let sent: usize = encoding.requests.iter().map(|encoded| encoded.events.len()).sum();
            prop_assert_eq!(sent + encoding.refused.len(), records.len());
        }

        #[test]
        fn any_answer_is_survived(status in 200_u16..600, body in "\\PC{0,80}") {
            tiktok(&[], &[]).classify(&answer(status, &body));
        }
    }
}
