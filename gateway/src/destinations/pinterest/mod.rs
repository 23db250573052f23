//! `pinterestConversions`: Pinterest's API for Conversions, v5 (vendors/pinterest.md).
//!
//! Pinterest refuses every field that it does not know, and says of every event of a request what became of it.

mod answers;
mod fields;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Value;
use url::Url;

use super::{
    Built, Destination, Encoding, Limits, Outcome, Request, Resolve, Response, answer,
    batches::{self, Frame},
    commerce::{self, Item, json_number},
    identity::{self, Address, EmailRule, NameRule, PhoneRule, UserData},
    json::{filled, get, list, member, non_empty, object, plain, texts, whole, written},
    mapping::{Budget, Failures, Json as Object, Mapping, put, text},
    secret_header, with_endpoint,
};
use crate::{
    event::{Event, field},
    record::{ConsentSignal, Record},
};

/// Pinterest's own address (sheet, section 1).
const HOST: &str = "https://api.pinterest.com";
/// Who sends, in the form that Pinterest asks of partners (sheet, section 2).
const PARTNER_NAME: &str = "ss-tagfleet";

/// Up to 1,000 events (sheet, section 1). Pinterest names no size; few requests need as much.
const LIMITS: Limits = Limits {
    max_events: 1_000,
    max_bytes: 4_000_000,
};
/// What stands around the events.
const FRAME: Frame = Frame::new(r#"{"data":"#, "}");

/// The vendor.
struct PinterestConversions {
    url: Url,
    authorization: HeaderValue,
    mapping: Mapping,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::PinterestConversions, resolve: &mut dyn Resolve) -> Option<Built> {
    let url = format!("{HOST}/v5/ad_accounts/{}/events", block.ad_account_id);
    let url = with_endpoint(&url, "adAccountId", block.endpoint.as_deref(), resolve);
    let authorization = secret_header("accessToken", "Bearer ", &block.access_token, resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    for (ours, theirs) in &block.event_names {
        if let Some(mistake) = fields::mistake_in_event_name(theirs) {
            resolve.mistake(&format!("eventNames.{ours}"), mistake);
        }
    }
    for name in block.parameters.keys() {
        if let Some(mistake) = fields::mistake_in_field(name) {
            resolve.mistake(&format!("parameters.{name}"), mistake);
        }
    }
    let mut url = url?;
    if block.test {
        url.set_query(Some("test=true"));
    }
    Some(Built::without_tokens(PinterestConversions {
        url,
        authorization: authorization?,
        mapping: mapping?,
    }))
}

impl PinterestConversions {
    /// An event of `data[]`.
    fn event(&self, record: &Record<'_>, failures: &mut Failures, now_ms: i64) -> Result<String, Cow<'static, str>> {
        let mut event = self.standard(record, now_ms);
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            let Some(path) = fields::path(name) else { continue };
            let value = match path.split_once('.') {
                Some(("user_data", member)) => user_field(member, &value),
                Some(("custom_data", member)) => custom_field(member, &value),
                _ if name == "event_time" => whole(&value),
                _ if matches!(name, "opt_out" | "wifi") => value.as_bool().map(Json::Bool),
                _ => filled(&value),
            };
            if let Some(value) = value {
                put(&mut event, &path, value);
            }
        }
        let has = |name: &str| get(&event, &format!("user_data.{name}")).is_some();
        let is_known = has("em") || has("hashed_maids") || (has("client_ip_address") && has("client_user_agent"));
        if !is_known {
            return Err(
                "says nothing of the visitor that Pinterest takes: it wants an e-mail address, or ip_override and \
                        user_agent, or an advertising id (user_data.hashed_maids)"
                    .into(),
            );
        }
        Ok(Json::Object(event).to_string())
    }

    /// The standard mapping (sheet, section 4).
    fn standard(&self, record: &Record<'_>, now_ms: i64) -> Object {
        let event = &record.event;
        let time = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        let language = event.text(field::LANGUAGE).and_then(language);
        object([
            ("event_name", Some(json!(self.event_name(event)))),
            ("action_source", Some(json!("web"))),
            ("event_time", Some(json!(time.div_euclid(1_000)))),
            ("event_id", written(event, field::EVENT_ID)),
            ("event_source_url", written(event, field::PAGE_LOCATION)),
            ("partner_name", Some(json!(PARTNER_NAME))),
            ("language", language.map(Json::from)),
            ("user_data", non_empty(user_data(event))),
            ("custom_data", non_empty(custom_data(record))),
        ])
    }

    fn event_name<'v>(&'v self, event: &'v Event<'_>) -> &'v str {
        let ours = event.name();
        let own = self.mapping.event_names.get(ours);
        own.map_or_else(|| fields::event_name(ours), String::as_str)
    }

    fn request(&self, body: Bytes) -> Request {
        let mut request = Request::post_json(&self.url, body);
        request.headers.insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

/// A language of two letters (ISO 639-1), from a tag like `de-CH`.
fn language(tag: &str) -> Option<String> {
    let language = tag.split(['-', '_']).next()?;
    let is_code = language.len() == 2 && language.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| language.to_ascii_lowercase())
}

/// `user_data` (sheet, sections 2.1 and 4).
fn user_data(event: &Event<'_>) -> Object {
    let data = UserData::of(event);
    let address = data.addresses().next();
    let user_id = event.get(field::USER_ID).and_then(text);
    object([
        ("em", list(data.emails(EmailRule::Plain))),
        ("ph", list(data.phones(PhoneRule::Digits))),
        ("ge", list(data.text("gender").and_then(|raw| identity::gender(&raw)))),
        (
            "db",
            list(data.text("birth_date").and_then(|raw| identity::birth_date(&raw))),
        ),
        (
            "fn",
            list(address.and_then(|address| address.first_name(NameRule::Letters))),
        ),
        (
            "ln",
            list(address.and_then(|address| address.last_name(NameRule::Letters))),
        ),
        ("ct", list(address.and_then(|address| address.city()))),
        ("st", list(address.and_then(|address| address.region()))),
        ("zp", list(address.and_then(zip))),
        ("country", list(address.and_then(|address| address.country()))),
        ("external_id", list(user_id.and_then(|id| identity::exact(&id)))),
        ("client_ip_address", written(event, field::IP_OVERRIDE)),
        ("client_user_agent", written(event, field::USER_AGENT)),
        (
            "click_id",
            member(event, field::CLICK_IDS, "epik").or_else(|| member(event, field::COOKIES, "_epik")),
        ),
    ])
}

/// The hash of the postal code: Pinterest takes digits only (sheet, section 2.1), so that one with letters matches nobody.
fn zip(address: Address<'_>) -> Option<String> {
    let raw = address.plain("postal_code");
    raw.is_none_or(|raw| is_zip(&raw)).then(|| address.postal_code())?
}

fn is_zip(code: &str) -> bool {
    identity::is_hashed(code.trim()) || !code.chars().any(char::is_alphabetic)
}

/// A member of `user_data` that `parameters` sets, in the form that Pinterest wants it: what is hashed, is hashed here too.
fn user_field(name: &str, value: &Value<'_>) -> Option<Json> {
    let hash: &dyn Fn(&str) -> Option<String> = match name {
        "em" => &|raw| identity::email(raw, EmailRule::Plain),
        "ph" => &|raw| identity::phone(raw, PhoneRule::Digits),
        "ge" => &identity::gender,
        "db" => &identity::birth_date,
        "fn" | "ln" => &|raw| identity::name(raw, NameRule::Letters),
        "ct" => &identity::city,
        "st" => &|raw| identity::region(raw, None),
        "zp" => &|raw| is_zip(raw).then(|| identity::postal_code(raw, None))?,
        "country" => &identity::country,
        "external_id" | "hashed_maids" => &identity::exact,
        _ => return filled(value),
    };
    list(texts(value).iter().filter_map(|raw| hash(raw)))
}

/// `custom_data` (sheet, sections 2.2 and 4).
fn custom_data(record: &Record<'_>) -> Object {
    let event = &record.event;
    let items = commerce::items(event);
    // Who allows their data to be used but wants no personal advertising: limited data processing.
    let limited = record.consent.ad_personalization == ConsentSignal::Denied;
    object([
        ("currency", commerce::currency(event).map(Json::from)),
        ("value", commerce::value(event).map(decimal)),
        ("order_id", written(event, field::TRANSACTION_ID)),
        ("search_string", written(event, "search_term")),
        ("content_ids", list(items.iter().filter_map(Item::id))),
        (
            "num_items",
            (!items.is_empty()).then(|| count(commerce::quantity(&items))),
        ),
        ("contents", list(items.iter().filter_map(content))),
        ("content_name", written(event, "content_name")),
        ("content_category", written(event, "content_category")),
        ("content_brand", written(event, "content_brand")),
        (
            "predicted_ltv",
            event.get("predicted_ltv").and_then(commerce::number).map(decimal),
        ),
        ("opt_out_type", limited.then(|| json!("LDP"))),
    ])
}

/// A member of `custom_data` that `parameters` sets, in the kind that Pinterest wants it.
fn custom_field(name: &str, value: &Value<'_>) -> Option<Json> {
    match name {
        "value" | "predicted_ltv" => commerce::number(value).map(decimal),
        "num_items" => whole(value),
        "content_ids" => list(texts(value)),
        "contents" => plain(value),
        _ => filled(value),
    }
}

fn content(item: &Item<'_>) -> Option<Json> {
    let written = |name: &str| item.text(name).map(|text| json!(text));
    non_empty(object([
        ("id", item.id().map(|id| json!(id))),
        ("item_name", written("item_name")),
        ("item_category", written("item_category")),
        ("item_brand", written("item_brand")),
        ("item_price", item.price().map(decimal)),
        ("quantity", Some(count(item.quantity()))),
    ]))
}

/// An amount as Pinterest takes it: text (sheet, section 2.2).
fn decimal(amount: f64) -> Json {
    Json::String(json_number(amount).to_string())
}

/// A number of articles: whole (sheet, section 2.2).
fn count(number: f64) -> Json {
    json_number(number.round())
}

impl Destination for PinterestConversions {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let event = |record: &Record<'_>, failures: &mut Failures| self.event(record, failures, now_ms);
        batches::encode(records, LIMITS, &FRAME, event, |body| self.request(body))
    }

    /// Sheet, section 6.
    fn classify(&self, response: &Response) -> Outcome {
        match response.status {
            StatusCode::OK => answers::each(response),
            StatusCode::UNPROCESSABLE_ENTITY => answers::each_of_refused(response),
            StatusCode::UNAUTHORIZED => Outcome::CredentialsRejected {
                reason: format!(
                    "{}; make a new conversion access token in Pinterest Ads Manager and put it into the Secret",
                    answer::reason(response)
                ),
            },
            StatusCode::FORBIDDEN => Outcome::CredentialsRejected {
                reason: format!(
                    "{}; the token may not send to this ad account: compare adAccountId with the account that made the \
                     conversion access token",
                    answer::reason(response)
                ),
            },
            _ => answer::by_status(response),
        }
    }
}

#[cfg(test)]
mod tests;
