//! An event as Meta wants it (vendors/meta-capi.md, sections 2 to 6).

use std::{borrow::Cow, net::IpAddr};

use serde_json::{Value as JsonValue, json};
use tagfleet_crds::destination::MetaActionSource;
use tagfleet_expressions::Value;
use url::Url;

use crate::{
    destinations::{
        commerce,
        identity::{self, EmailRule, NameRule, PhoneRule, UserData},
        mapping::{self, Budget, Failures, Json, Mapping, put},
    },
    event::{Event, field},
    record::{ConsentSignal, Record},
};

/// How old an event may be; one that is older refuses its whole request (section 2).
const MAX_AGE_MS: i64 = 7 * 24 * 3600 * 1000;

/// GA4's names and Meta's (section 5). Others are sent as they are, as custom events.
const EVENT_NAMES: [(&str, &str); 21] = [
    ("page_view", "PageView"),
    ("gtm.dom", "PageView"),
    ("view_item", "ViewContent"),
    ("add_to_cart", "AddToCart"),
    ("add_to_wishlist", "AddToWishlist"),
    ("begin_checkout", "InitiateCheckout"),
    ("add_payment_info", "AddPaymentInfo"),
    ("purchase", "Purchase"),
    ("search", "Search"),
    ("view_search_results", "Search"),
    ("generate_lead", "Lead"),
    ("sign_up", "CompleteRegistration"),
    ("contact", "Contact"),
    ("donate", "Donate"),
    ("schedule", "Schedule"),
    ("subscribe", "Subscribe"),
    ("customize_product", "CustomizeProduct"),
    ("find_location", "FindLocation"),
    ("start_trial", "StartTrial"),
    ("submit_application", "SubmitApplication"),
    ("app_install", "AppInstall"),
];

/// Events that GA4's tag makes by itself and no advertiser optimises for (section 5); sent when `eventNames` names them.
const NOISE: [&str; 4] = ["session_start", "first_visit", "user_engagement", "scroll"];

/// Fields of an event itself (section 2). In `parameters`, a name that is none of these and has no dot is one of
/// `custom_data`.
const EVENT_FIELDS: [&str; 16] = [
    "event_name",
    "event_time",
    "event_id",
    "event_source_url",
    "referrer_url",
    "action_source",
    "opt_out",
    "user_data",
    "custom_data",
    "app_data",
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
    "original_event_data",
    "attribution_data",
    "messaging_channel",
];

/// Fields that are taken into `custom_data` under the same name (section 4).
const CUSTOM: [&str; 8] = [
    "content_type",
    "content_name",
    "content_category",
    "predicted_ltv",
    "status",
    "net_revenue",
    "delivery_category",
    "num_items",
];

/// What an event is made with.
pub(super) struct Options {
    pub(super) action_source: MetaActionSource,
    pub(super) mapping: Mapping,
}

impl Options {
    pub(super) fn wants(&self, event_name: &str) -> bool {
        self.mapping.event_names.contains_key(event_name) || !NOISE.contains(&event_name)
    }

    /// One of `data[]`, or why Meta would not take it.
    pub(super) fn event(
        &self,
        record: &Record<'_>,
        now_ms: i64,
        failures: &mut Failures,
    ) -> Result<Json, Cow<'static, str>> {
        let event = &record.event;
        let time_ms = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        let mut out = Json::new();
        out.insert("event_name".to_owned(), json!(self.name(event)));
        out.insert("event_time".to_owned(), json!(time_ms.div_euclid(1000)));
        out.insert("action_source".to_owned(), json!(self.action_source));
        for (theirs, ours) in [
            ("event_id", field::EVENT_ID),
            ("event_source_url", field::PAGE_LOCATION),
            ("referrer_url", field::PAGE_REFERRER),
        ] {
            if let Some(text) = event.text(ours).filter(|text| !text.is_empty()) {
                out.insert(theirs.to_owned(), json!(text));
            }
        }
        limited_use(event, &mut out);
        for name in ["opt_out", "app_data"] {
            if let Some(value @ (Value::Bool(_) | Value::Map(_))) = event.get(name) {
                out.insert(name.to_owned(), json!(value));
            }
        }
        out.insert("user_data".to_owned(), JsonValue::Object(user_data(record, time_ms)));
        let custom = custom_data(event);
        if !custom.is_empty() {
            out.insert("custom_data".to_owned(), JsonValue::Object(custom));
        }
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            set(&mut out, name, &value);
        }
        check(&out, now_ms)?;
        Ok(out)
    }

    fn name<'n>(&'n self, event: &'n Event<'_>) -> &'n str {
        let name = event.name();
        match self.mapping.event_names.get(name) {
            Some(theirs) => theirs,
            None => EVENT_NAMES
                .iter()
                .find(|(ours, _)| *ours == name)
                .map_or(name, |(_, theirs)| theirs),
        }
    }
}

/// Limited data use (section 2): what the page said of it, and Meta shall find out the place where it did not.
fn limited_use(event: &Event<'_>, out: &mut Json) {
    const OPTIONS: &str = "data_processing_options";
    let options: Vec<Cow<'_, str>> = match event.get(OPTIONS) {
        Some(Value::List(options)) => options.iter().filter_map(mapping::text).collect(),
        Some(single) => mapping::text(single)
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect(),
        None => return,
    };
    out.insert(OPTIONS.to_owned(), json!(options));
    if !options.is_empty() {
        for place in ["data_processing_options_country", "data_processing_options_state"] {
            let number = event.get(place).and_then(commerce::number).unwrap_or_default();
            out.insert(place.to_owned(), commerce::json_number(number));
        }
    }
}

/// Section 3. Without consent to it, identifiers are left out; `consent.requires` decides whether the event is sent at all.
fn user_data(record: &Record<'_>, time_ms: i64) -> Json {
    let (event, consent) = (&record.event, &record.consent);
    let mut out = Json::new();
    if consent.ad_user_data != ConsentSignal::Denied {
        visitor(event, &mut out);
    }
    if let Some(address) = event.text(field::IP_OVERRIDE).filter(|address| is_public(address)) {
        out.insert("client_ip_address".to_owned(), json!(address));
    }
    if let Some(agent) = event.text(field::USER_AGENT).filter(|agent| !agent.is_empty()) {
        out.insert("client_user_agent".to_owned(), json!(agent));
    }
    if consent.ad_storage != ConsentSignal::Denied {
        for (name, value) in [("fbc", fbc(event, time_ms)), ("fbp", browser_id(event, "fbp", "_fbp"))] {
            if let Some(value) = value {
                out.insert(name.to_owned(), json!(value));
            }
        }
    }
    out
}

fn visitor(event: &Event<'_>, out: &mut Json) {
    let data = UserData::of(event);
    let addresses: Vec<_> = data.addresses().collect();
    let of_addresses = |read: &dyn Fn(&identity::Address<'_>) -> Option<String>| {
        let mut hashes: Vec<String> = addresses.iter().filter_map(read).collect();
        hashes.dedup();
        hashes
    };
    let text = |name: &str, hash: fn(&str) -> Option<String>| -> Vec<String> {
        data.text(name).and_then(|text| hash(&text)).into_iter().collect()
    };
    let external_id = event.text(field::USER_ID).and_then(identity::external_id);
    for (name, hashes) in [
        ("em", data.emails(EmailRule::Plain)),
        ("ph", data.phones(PhoneRule::Digits)),
        ("fn", of_addresses(&|address| address.first_name(NameRule::Letters))),
        ("ln", of_addresses(&|address| address.last_name(NameRule::Letters))),
        ("ct", of_addresses(&|address| address.city())),
        ("st", of_addresses(&|address| address.region())),
        ("zp", of_addresses(&|address| address.postal_code())),
        ("country", of_addresses(&|address| address.country())),
        ("ge", text("gender", identity::gender)),
        ("db", text("birth_date", identity::birth_date)),
        ("external_id", external_id.into_iter().collect()),
    ] {
        if !hashes.is_empty() {
            out.insert(name.to_owned(), json!(hashes));
        }
    }
}

/// The hash of a key of `user_data` that must be one; `None` for keys that are sent as they are.
fn hashed_key(key: &str) -> Option<fn(&str) -> Option<String>> {
    let hash: fn(&str) -> Option<String> = match key {
        "em" => |raw| identity::email(raw, EmailRule::Plain),
        "ph" => |raw| identity::phone(raw, PhoneRule::Digits),
        "fn" | "ln" => |raw| identity::name(raw, NameRule::Letters),
        "ge" => identity::gender,
        "db" => identity::birth_date,
        "ct" => identity::city,
        "st" => |raw| identity::region(raw, None),
        "zp" => |raw| identity::postal_code(raw, None),
        "country" => identity::country,
        "external_id" => identity::external_id,
        _ => return None,
    };
    Some(hash)
}

/// Sets what `parameters` gives; what Meta takes hashed is hashed here, so that no expression sends it raw.
fn set(out: &mut Json, name: &str, value: &Value<'_>) {
    let path = match name.split('.').next() {
        Some(first) if EVENT_FIELDS.contains(&first) => Cow::Borrowed(name),
        _ => Cow::Owned(format!("custom_data.{name}")),
    };
    if &*path == "user_data" {
        // As a whole it would go round the hashing below.
        for (key, value) in value.as_map().into_iter().flat_map(|map| map.iter()) {
            set(out, &format!("user_data.{key}"), value);
        }
        return;
    }
    let hash = path.strip_prefix("user_data.").and_then(hashed_key);
    let value = match hash {
        None => json!(value),
        Some(hash) => {
            let values = value.as_list().unwrap_or(std::slice::from_ref(value));
            let texts = values.iter().filter_map(mapping::text);
            let hashes: Vec<String> = texts.filter_map(|text| hash(&text)).collect();
            if hashes.is_empty() {
                return;
            }
            json!(hashes)
        }
    };
    put(out, &path, value);
}

/// A browser's id as Meta's pixel made it: the event's own field, or the cookie. Accepted with four or five parts, and
/// never rewritten (section 3.1).
fn browser_id(event: &Event<'_>, name: &str, cookie: &str) -> Option<String> {
    let cookies = || event.get(field::COOKIES)?.as_map()?.get(cookie)?.as_str();
    let given = event.text(name).filter(|value| is_browser_id(value));
    given
        .or_else(cookies)
        .filter(|value| is_browser_id(value))
        .map(str::to_owned)
}

fn is_browser_id(value: &str) -> bool {
    value.starts_with("fb.") && value.splitn(4, '.').filter(|part| !part.is_empty()).count() == 4
}

/// `fbc`: the event's own field, or the cookie, unless the URL has another click id: then a new one, made of that
/// (section 3.1). The click id keeps its letter case.
fn fbc(event: &Event<'_>, time_ms: i64) -> Option<String> {
    if let Some(given) = event.text("fbc").filter(|value| is_browser_id(value)) {
        return Some(given.to_owned());
    }
    let cookie = browser_id(event, "fbc", "_fbc");
    let Some(click_id) = click_id(event) else {
        return cookie;
    };
    let is_of_cookie = |cookie: &str| {
        let own = cookie.splitn(4, '.').nth(3).unwrap_or_default();
        // A fifth part is Meta's own mark and not of the click id.
        own.strip_prefix(&*click_id)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match cookie {
        Some(cookie) if is_of_cookie(&cookie) => Some(cookie),
        _ => Some(format!("fb.1.{time_ms}.{click_id}")),
    }
}

/// The click id of the page, or of the page before it (in-app browsers).
fn click_id<'e>(event: &'e Event<'_>) -> Option<Cow<'e, str>> {
    const FBCLID: &str = "fbclid";
    let own = || {
        event
            .get(field::CLICK_IDS)?
            .as_map()?
            .get(FBCLID)?
            .as_str()
            .map(Cow::Borrowed)
    };
    let referrer = || {
        let url = Url::parse(event.text(field::PAGE_REFERRER)?).ok()?;
        let found = url.query_pairs().find(|(name, _)| name == FBCLID)?.1;
        Some(Cow::Owned(found.into_owned()))
    };
    own().or_else(referrer).filter(|id| !id.is_empty())
}

/// Whether an address says anything of where a visitor is.
fn is_public(address: &str) -> bool {
    match address.parse() {
        Ok(IpAddr::V4(address)) => {
            !(address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified())
        }
        Ok(IpAddr::V6(address)) => {
            !(address.is_unique_local()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
        Err(_) => false,
    }
}

/// Section 4.
fn custom_data(event: &Event<'_>) -> Json {
    let mut out = Json::new();
    if let Some(currency) = commerce::currency(event) {
        out.insert("currency".to_owned(), json!(currency));
    }
    if let Some(value) = commerce::value(event).filter(|value| *value >= 0.0) {
        out.insert("value".to_owned(), commerce::json_number(value));
    }
    for (theirs, ours) in [("order_id", field::TRANSACTION_ID), ("search_string", "search_term")] {
        if let Some(text) = event.get(ours).and_then(mapping::text).filter(|text| !text.is_empty()) {
            out.insert(theirs.to_owned(), json!(text));
        }
    }
    items(event, &mut out);
    for name in CUSTOM {
        if let Some(value @ (Value::String(_) | Value::Int(_) | Value::Double(_))) = event.get(name) {
            out.insert(name.to_owned(), json!(value));
        }
    }
    out
}

fn items(event: &Event<'_>, out: &mut Json) {
    let items = commerce::items(event);
    let (mut ids, mut contents) = (Vec::new(), Vec::new());
    for item in &items {
        let Some(id) = item.id() else { continue };
        let mut content = Json::new();
        content.insert("id".to_owned(), json!(id));
        content.insert("quantity".to_owned(), commerce::json_number(item.quantity()));
        if let Some(price) = item.price() {
            content.insert("item_price".to_owned(), commerce::json_number(price));
        }
        contents.push(JsonValue::Object(content));
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if contents.is_empty() {
        return;
    }
    out.insert("content_type".to_owned(), json!("product"));
    out.insert("content_ids".to_owned(), json!(ids));
    out.insert("contents".to_owned(), json!(contents));
    out.insert(
        "num_items".to_owned(),
        commerce::json_number(commerce::quantity(&items)),
    );
    if let [single] = items.as_slice() {
        for (theirs, text) in [
            ("content_name", single.text("item_name")),
            ("content_category", single.categories().into_iter().next()),
        ] {
            if let Some(text) = text {
                out.insert(theirs.to_owned(), json!(text));
            }
        }
    }
}

/// What Meta would refuse, and with it the whole request.
fn check(event: &Json, now_ms: i64) -> Result<(), Cow<'static, str>> {
    let text = |name: &str| event.get(name).and_then(JsonValue::as_str).unwrap_or_default();
    let member = |object: &str, name: &str| event.get(object).and_then(|object| object.get(name));
    if text("event_name").is_empty() {
        return Err("has no event_name".into());
    }
    let Some(seconds) = event.get("event_time").and_then(JsonValue::as_i64) else {
        return Err("parameters.event_time gives no whole number of seconds".into());
    };
    // A physical store may report later; how much later is Meta's to say.
    if text("action_source") != "physical_store" && now_ms - seconds.saturating_mul(1000) > MAX_AGE_MS {
        return Err("is older than the 7 days that Meta takes".into());
    }
    if text("action_source") == "website" {
        if text("event_source_url").is_empty() {
            return Err(
                "has no page_location, which Meta requires of a website's event; set another actionSource, or \
                        parameters.event_source_url"
                    .into(),
            );
        }
        if member("user_data", "client_user_agent").is_none() {
            return Err(
                "has no user_agent, which Meta requires of a website's event; set another actionSource, or \
                        parameters: {user_data.client_user_agent: ...}"
                    .into(),
            );
        }
    }
    if event
        .get("user_data")
        .and_then(JsonValue::as_object)
        .is_none_or(Json::is_empty)
    {
        return Err("says nothing of the visitor by which Meta could match it (user_data, address, user agent)".into());
    }
    if text("event_name") == "Purchase"
        && (member("custom_data", "currency").is_none() || member("custom_data", "value").is_none())
    {
        return Err("is a Purchase without currency and value, which Meta requires".into());
    }
    Ok(())
}
