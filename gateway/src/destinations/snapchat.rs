//! `snapchatConversions`: Snap's Conversions API v3 (vendors/others.md section 1).

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Value;
use url::Url;

use super::{
    Built, Destination, Encoding, Limits, Outcome, Request, Resolve, Response, answer,
    batches::{self, Frame},
    commerce::{self, Item, json_number},
    identity::{self, EmailRule, NameRule, PhoneRule, UserData},
    json::{filled, get, list, member, non_empty, object, plain, texts, written},
    mapping::{Budget, Failures, Json as Object, Mapping, put, text},
    with_endpoint,
};
use crate::{
    event::{Event, field},
    record::Record,
};

/// Snap's own address.
const HOST: &str = "https://tr.snapchat.com";
/// The name of the tool that sends.
const INTEGRATION: &str = "tagfleet";

/// Up to 2,000 events. Snap names no size; few requests need as much.
const LIMITS: Limits = Limits {
    max_events: 2_000,
    max_bytes: 4_000_000,
};
/// What stands around the events.
const FRAME: Frame = Frame::new(r#"{"data":"#, "}");

/// Snap takes events up to 37 days back.
const MAX_AGE_MS: i64 = 37 * 24 * 3_600_000;

/// GA4's event names and Snap's.
const EVENT_NAMES: [(&str, &str); 14] = [
    ("page_view", "PAGE_VIEW"),
    ("view_item", "VIEW_CONTENT"),
    ("view_item_list", "LIST_VIEW"),
    ("add_to_cart", "ADD_CART"),
    ("add_to_wishlist", "ADD_TO_WISHLIST"),
    ("begin_checkout", "START_CHECKOUT"),
    ("add_payment_info", "ADD_BILLING"),
    ("purchase", "PURCHASE"),
    ("sign_up", "SIGN_UP"),
    ("generate_lead", "SIGN_UP"),
    ("search", "SEARCH"),
    ("subscribe", "SUBSCRIBE"),
    ("start_trial", "START_TRIAL"),
    ("tutorial_complete", "COMPLETE_TUTORIAL"),
];

/// Plain fields of an event.
const EVENT_FIELDS: [&str; 7] = [
    "event_name",
    "event_time",
    "action_source",
    "event_source_url",
    "event_id",
    "integration",
    "data_processing_options",
];

/// The vendor.
struct SnapchatConversions {
    /// Carries the token in its query.
    url: Url,
    action_source: crd::SnapchatActionSource,
    mapping: Mapping,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::SnapchatConversions, resolve: &mut dyn Resolve) -> Option<Built> {
    let path = if block.test { "events/validate" } else { "events" };
    let url = format!("{HOST}/v3/{}/{path}", block.pixel_id);
    let url = with_endpoint(&url, "pixelId", block.endpoint.as_deref(), resolve);
    let token = resolve.secret("accessToken", &block.access_token);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    for name in block.parameters.keys().filter(|name| path_of(name).is_none()) {
        let message = format!(
            "is no field of Snap's: write {}, or a member of user_data, custom_data or app_data",
            EVENT_FIELDS.join(", "),
        );
        resolve.mistake(&format!("parameters.{name}"), message);
    }
    let mut url = url?;
    url.query_pairs_mut()
        .append_pair("access_token", token?.expose().trim());
    Some(Built::without_tokens(SnapchatConversions {
        url,
        action_source: block.action_source.unwrap_or_default(),
        mapping: mapping?,
    }))
}

/// Where a field of `parameters` stands in an event. `None` for what is no field of Snap's.
fn path_of(name: &str) -> Option<&str> {
    match name.split_once('.') {
        Some(("user_data" | "custom_data" | "app_data", member)) => (!member.is_empty()).then_some(name),
        Some(_) => None,
        None => EVENT_FIELDS.contains(&name).then_some(name),
    }
}

impl SnapchatConversions {
    /// Snap's name for an event: that of `eventNames`, the standard one, or its own if it is one of Snap's already.
    fn event_name<'v>(&'v self, ours: &str) -> Option<&'v str> {
        if let Some(theirs) = self.mapping.event_names.get(ours) {
            return Some(theirs);
        }
        let standard = EVENT_NAMES.iter().find(|(ga4, snap)| *ga4 == ours || *snap == ours);
        standard.map(|(_, snap)| *snap)
    }

    /// An event of `data[]`.
    fn event(&self, record: &Record<'_>, failures: &mut Failures, now_ms: i64) -> Result<String, Cow<'static, str>> {
        let mut event = self.standard(record, now_ms)?;
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            let value = match name.split_once('.') {
                Some(("user_data", member)) => user_field(member, &value),
                _ => plain(&value),
            };
            if let Some(value) = value {
                put(&mut event, name, value);
            }
        }
        let has = |name: &str| get(&event, &format!("user_data.{name}")).is_some();
        let is_matched =
            has("em") || has("ph") || has("madid") || (has("client_ip_address") && has("client_user_agent"));
        if !is_matched {
            return Err(
                "says nothing of the visitor that Snap takes: it wants an e-mail address, a phone number, ip_override \
                 and user_agent, or an advertising id (user_data.madid)"
                    .into(),
            );
        }
        Ok(Json::Object(event).to_string())
    }

    /// The standard mapping.
    fn standard(&self, record: &Record<'_>, now_ms: i64) -> Result<Object, Cow<'static, str>> {
        let event = &record.event;
        let name = self
            .event_name(event.name())
            .ok_or_else(|| format!("Snap has no event for {}: give it one in eventNames", event.name()))?;
        let time = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        if now_ms.saturating_sub(time) > MAX_AGE_MS {
            return Err("is older than the 37 days that Snap takes".into());
        }
        Ok(object([
            ("event_name", Some(json!(name))),
            ("event_time", Some(json!(time.div_euclid(1_000)))),
            ("event_id", written(event, field::EVENT_ID)),
            ("action_source", Some(json!(self.action_source))),
            ("event_source_url", written(event, field::PAGE_LOCATION)),
            ("integration", Some(json!(INTEGRATION))),
            ("user_data", non_empty(user_data(event))),
            ("custom_data", non_empty(custom_data(event))),
        ]))
    }
}

fn user_data(event: &Event<'_>) -> Object {
    let data = UserData::of(event);
    let address = data.addresses().next();
    let user_id = event.get(field::USER_ID).and_then(text);
    let (clicks, cookies) = (field::CLICK_IDS, field::COOKIES);
    object([
        ("em", list(data.emails(EmailRule::Plain))),
        ("ph", list(data.phones(PhoneRule::Digits))),
        (
            "fn",
            list(address.and_then(|address| address.first_name(NameRule::Letters))),
        ),
        (
            "ln",
            list(address.and_then(|address| address.last_name(NameRule::Letters))),
        ),
        ("ge", list(data.text("gender").and_then(|raw| identity::gender(&raw)))),
        ("ct", list(address.and_then(|address| address.city()))),
        ("st", list(address.and_then(|address| address.region()))),
        ("zp", list(address.and_then(|address| address.postal_code()))),
        ("country", list(address.and_then(|address| address.country()))),
        ("external_id", list(user_id.and_then(|id| identity::external_id(&id)))),
        (
            "sc_click_id",
            member(event, clicks, "sccid").or_else(|| member(event, cookies, "_scclid")),
        ),
        ("sc_cookie1", member(event, cookies, "_scid")),
        ("client_ip_address", written(event, field::IP_OVERRIDE)),
        ("client_user_agent", written(event, field::USER_AGENT)),
    ])
}

/// A member of `user_data` that `parameters` sets: what is hashed, is hashed here too.
fn user_field(name: &str, value: &Value<'_>) -> Option<Json> {
    let hash: &dyn Fn(&str) -> Option<String> = match name {
        "em" => &|raw| identity::email(raw, EmailRule::Plain),
        "ph" => &|raw| identity::phone(raw, PhoneRule::Digits),
        "fn" | "ln" => &|raw| identity::name(raw, NameRule::Letters),
        "ge" => &identity::gender,
        "ct" => &identity::city,
        "st" => &|raw| identity::region(raw, None),
        "zp" => &|raw| identity::postal_code(raw, None),
        "country" => &identity::country,
        "external_id" => &identity::external_id,
        _ => return filled(value),
    };
    list(texts(value).iter().filter_map(|raw| hash(raw)))
}

fn custom_data(event: &Event<'_>) -> Object {
    let items = commerce::items(event);
    let mut brands: Vec<String> = Vec::new();
    for brand in items.iter().filter_map(|item| item.text("item_brand")) {
        if !brands.iter().any(|known| *known == brand) {
            brands.push(brand.into_owned());
        }
    }
    let articles = (!items.is_empty()).then(|| json_number(commerce::quantity(&items)));
    object([
        ("currency", commerce::currency(event).map(Json::from)),
        ("value", commerce::value(event).map(json_number)),
        ("order_id", written(event, field::TRANSACTION_ID)),
        ("content_ids", list(items.iter().filter_map(Item::id))),
        ("contents", list(items.iter().filter_map(content))),
        ("content_name", written(event, "content_name")),
        ("content_category", written(event, "content_category")),
        ("content_type", written(event, "content_type")),
        ("num_items", articles),
        ("brands", list(brands)),
        ("search_string", written(event, "search_term")),
        // GA4's parameter of sign_up.
        (
            "sign_up_method",
            written(event, "method").filter(|_| event.name() == "sign_up"),
        ),
        (
            "predicted_ltv",
            event.get("predicted_ltv").and_then(commerce::number).map(json_number),
        ),
    ])
}

fn content(item: &Item<'_>) -> Option<Json> {
    let written = |name: &str| item.text(name).map(|text| json!(text));
    let id = item.id()?;
    Some(Json::Object(object([
        ("id", Some(json!(id))),
        ("quantity", Some(json_number(item.quantity()))),
        ("item_price", item.price().map(json_number)),
        ("brand", written("item_brand")),
        ("delivery_category", written("delivery_category")),
    ])))
}

impl Destination for SnapchatConversions {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn wants(&self, event_name: &str) -> bool {
        self.event_name(event_name).is_some()
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let event = |record: &Record<'_>, failures: &mut Failures| self.event(record, failures, now_ms);
        batches::encode(records, LIMITS, &FRAME, event, |body| {
            Request::post_json(&self.url, body)
        })
    }

    fn classify(&self, response: &Response) -> Outcome {
        let reason = reason(response);
        match response.status {
            // Whether the others of the request were taken is not said, and they are known again by their event_id.
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Outcome::RefusedBatch { reason },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::CredentialsRejected {
                reason: format!(
                    "{reason}; make a new token for the Conversions API in Snap's Business Manager and put it into the Secret"
                ),
            },
            status if status.is_success() && verdict(response).is_some_and(|verdict| verdict.status == "INVALID") => {
                Outcome::RefusedBatch { reason }
            }
            _ => answer::by_status(response),
        }
    }
}

/// What Snap says of a request.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    error_records: Vec<Json>,
}

fn verdict(response: &Response) -> Option<Verdict> {
    serde_json::from_slice(&response.body).ok()
}

/// Snap's own message, with what it says of the first bad event.
fn reason(response: &Response) -> String {
    match verdict(response).filter(|verdict| !verdict.reason.is_empty()) {
        Some(verdict) => {
            let first = verdict.error_records.first().map(Json::to_string).unwrap_or_default();
            answer::one_line(&format!("{}: {} {first}", response.status.as_u16(), verdict.reason))
        }
        None => answer::reason(response),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Visitor, answer, hostile_record, mapping, purchase, record};

    const NOW_MS: i64 = 1_767_225_600_000;

    fn snapchat(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> SnapchatConversions {
        SnapchatConversions {
            url: format!("{HOST}/v3/fake-pixel/events?access_token=hunter2")
                .parse()
                .unwrap(),
            action_source: crd::SnapchatActionSource::Web,
            mapping: mapping(event_names, parameters),
        }
    }

    fn page_view() -> Record<'static> {
        record(json!({
            "event_name": "page_view", "timestamp_ms": NOW_MS, "page_location": "https://shop.example/",
            "ip_override": "203.0.113.7", "user_agent": "Mozilla/5.0",
        }))
    }

    fn event(vendor: &SnapchatConversions, record: Record<'_>) -> Json {
        let encoding = vendor.encode(&[record], NOW_MS);
        assert_eq!(encoding.refused, []);
        let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
        body["data"][0].clone()
    }

    /// The minimal example of the sheet.
    #[test]
    fn a_page_view_says_what_snap_needs() {
        let expected = json!({
            "event_name": "PAGE_VIEW", "event_time": 1_767_225_600, "action_source": "WEB",
            "event_source_url": "https://shop.example/", "integration": "tagfleet",
            "user_data": {"client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0"},
        });
        assert_eq!(event(&snapchat(&[], &[]), page_view()), expected);
    }

    /// The full example of the sheet, with all that else is known of the visitor.
    #[test]
    fn a_purchase_in_full() {
        let mut bought = purchase();
        bought.event.set(
            field::CLICK_IDS,
            Value::from(json!({"sccid": "fake-sccid", "gclid": "not for Snap"})),
        );
        bought.event.set(
            field::COOKIES,
            Value::from(json!({"_scid": "11111111-2222-3333-4444-555555555555", "_scclid": "older"})),
        );
        let sent = event(&snapchat(&[], &[]), bought);
        let expected = json!({
            "event_name": "PURCHASE", "event_time": 1_767_225_600, "event_id": "evt-1001", "action_source": "WEB",
            "event_source_url": "https://shop.example/thanks", "integration": "tagfleet",
            "user_data": {
                "em": ["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"],
                "ph": ["758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0"],
                "fn": ["81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2"],
                "ln": ["799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f"],
                "ct": ["b05208f9e641374c90926715e1fdfafac457af13593c2abb5f4a1f904081af95"],
                "st": ["6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"],
                "zp": ["1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"],
                "country": ["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"],
                "external_id": ["6d894aa3ee802549d7f340e7c1cf0d1c1cb14cd84f768d92ffaa6785337c4997"],
                "sc_click_id": "fake-sccid", "sc_cookie1": "11111111-2222-3333-4444-555555555555",
                "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            },
            "custom_data": {
                "currency": "EUR", "value": 72.05, "order_id": "T-1001", "content_ids": ["SKU-1"], "num_items": 2,
                "brands": ["Acme"],
                "contents": [{"id": "SKU-1", "quantity": 2, "item_price": 33.03, "brand": "Acme"}],
            },
        });
        assert_eq!(sent, expected);
    }

    /// A vector of others.md section 17.
    #[test]
    fn a_phone_number_is_digits_without_plus_and_leading_zero() {
        let vendor = snapchat(&[], &[("user_data.ph", "'+44 844 412 4653'")]);
        let hash = "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383";
        assert_eq!(event(&vendor, purchase())["user_data"]["ph"], json!([hash]));
    }

    #[test]
    fn events_without_a_name_at_snap_are_not_meant_for_it() {
        let vendor = snapchat(&[("newsletter", "CUSTOM_EVENT_1")], &[]);
        for name in ["newsletter", "generate_lead", "START_TRIAL"] {
            assert!(vendor.wants(name), "{name}");
        }
        assert!(!vendor.wants("scroll"));
        // It may have been accepted while `eventNames` said otherwise.
        let mut scroll = page_view();
        scroll.event.set(field::EVENT_NAME, "scroll");
        assert_eq!(
            vendor.encode(&[scroll], NOW_MS).refused,
            [(0, "Snap has no event for scroll: give it one in eventNames".into())]
        );
    }

    #[test]
    fn what_snap_would_refuse_is_not_sent() {
        let mut unknown = page_view();
        unknown.event.remove(field::USER_AGENT);
        let mut old = page_view();
        old.event.set(field::TIMESTAMP_MS, NOW_MS - MAX_AGE_MS - 1);
        let encoding = snapchat(&[], &[]).encode(&[unknown, old], NOW_MS);
        assert!(encoding.requests.is_empty());
        assert!(
            encoding.refused[0].1.contains("advertising id"),
            "{:?}",
            encoding.refused
        );
        assert!(encoding.refused[1].1.contains("37 days"), "{:?}", encoding.refused);
    }

    #[test]
    fn parameters_reach_into_the_event() {
        let vendor = snapchat(
            &[],
            &[
                ("custom_data.value", "event.value * 2.0"),
                ("user_data.madid", "'fake-madid'"),
                ("user_data.em", "'Jane.Doe@gmail.com'"),
                ("action_source", "'OFFLINE'"),
            ],
        );
        let sent = event(&vendor, purchase());
        assert_eq!(sent["custom_data"]["value"], 144.1);
        assert_eq!(sent["user_data"]["madid"], "fake-madid");
        assert_eq!(sent["action_source"], "OFFLINE");
        let hash = "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982";
        assert_eq!(sent["user_data"]["em"], json!([hash]));
        for name in ["value", "user_data.", "page.url", ""] {
            assert_eq!(path_of(name), None, "{name}");
        }
    }

    #[test]
    fn two_thousand_events_share_a_request() {
        let records: Vec<_> = std::iter::repeat_with(page_view).take(2_001).collect();
        let encoding = snapchat(&[], &[]).encode(&records, NOW_MS);
        let sent: Vec<_> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
        assert_eq!(sent, [2_000, 1]);
    }

    #[test]
    fn answers_by_their_meaning() {
        let classify = |status: u16, body: &str| snapchat(&[], &[]).classify(&answer(status, body));
        let good = r#"{"status":"VALID","reason":"Events have been processed successfully."}"#;
        assert_eq!(classify(200, good), Outcome::Delivered);
        let bad = r#"{"status":"INVALID","reason":"bad events","error_records":[{"reason":"no match keys"}]}"#;
        let refused = |status: u16| Outcome::RefusedBatch {
            reason: format!(r#"{status}: bad events {{"reason":"no match keys"}}"#),
        };
        assert_eq!((classify(400, bad), classify(200, bad)), (refused(400), refused(200)));
        assert!(matches!(classify(401, "{}"), Outcome::CredentialsRejected { .. }));
        assert!(matches!(classify(404, "{}"), Outcome::Refused { .. }));
        for status in [408, 429, 500, 503] {
            assert!(matches!(classify(status, "{}"), Outcome::Retry { .. }), "{status}");
        }
    }

    proptest! {
        /// Whoever the visitor is: neither their addresses nor their name leave as they were typed.
        #[test]
        fn nothing_of_a_visitor_is_sent_unhashed(visitor in Visitor::any()) {
            for encoded in &snapchat(&[], &[]).encode(&[visitor.purchase()], NOW_MS).requests {
                visitor.assert_absent_from(&encoded.request.body);
            }
        }

        #[test]
        fn whatever_comes_every_event_is_sent_or_refused(records in prop::collection::vec(hostile_record(), 1..5)) {
            let encoding = snapchat(&[], &[]).encode(&records, NOW_MS);
            let sent: usize = encoding.requests.iter().map(|encoded| encoded.events.len()).sum();
            prop_assert_eq!(sent + encoding.refused.len(), records.len());
        }

        #[test]
        fn any_answer_is_survived(status in 200_u16..600, body in "\\PC{0,80}") {
            snapchat(&[], &[]).classify(&answer(status, &body));
        }
    }
}
