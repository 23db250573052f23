//! The Data Manager API (vendors/google-ads.md section 3): a request is taken whole or not at all. What Google makes of its
//! events it says only later, in the account's diagnostics.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value as Json, json};
use url::Url;

use super::{
    conversion::{Conversion, Conversions, MAX_BYTES, Parameters, TOO_RECENT, hash_all},
    errors::Status,
};
use crate::{
    destinations::{
        Authentication, Destination, Encoded, Encoding, Limits, Outcome, Request, Response, answer,
        batches::{Batch, Room},
        identity::{Address, NameRule, UserData},
        json as object,
        mapping::Json as Object,
    },
    event::{Event, field},
    record::{Consent, Record},
};

/// The version in use unless the manifest names another.
pub(super) const VERSION: &str = "v1";
/// The fields by which Google finds the click or the visitor.
pub(super) const IDENTIFYING: &[&str] = &["adIdentifiers", "userData"];
/// The fields of an event that a conversion may have: those of Google Analytics' properties and of data partners are none.
pub(super) const FIELDS: &[&str] = &[
    "transactionId",
    "eventTimestamp",
    "lastUpdatedTimestamp",
    "userData",
    "consent",
    "adIdentifiers",
    "currency",
    "conversionValue",
    "conversionCount",
    "eventSource",
    "eventDeviceInfo",
    "cartData",
    "customVariables",
    "experimentalFields",
    "userProperties",
];

/// What a request and its parts take (sheet, section 3).
const MAX_EVENTS: usize = 2000;
const MAX_USER_IDENTIFIERS: usize = 10;
const MAX_ITEMS: usize = 200;
const MAX_SESSION_ATTRIBUTES: usize = 4000;
/// The scope that a refresh token needs.
const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";

/// Where events go.
pub(super) fn url(version: &str) -> String {
    format!("https://datamanager.googleapis.com/{version}/events:ingest")
}

/// The vendor by this interface.
pub(super) struct DataManager {
    conversions: Conversions,
    url: Url,
}

impl DataManager {
    pub(super) fn new(conversions: Conversions, url: Url) -> Self {
        Self { conversions, url }
    }

    /// The body but for the events, whose place is marked by the end of the first text.
    fn around(&self, action: &str) -> (String, &'static str) {
        let account = |id: &str| json!({"accountType": "GOOGLE_ADS", "accountId": id});
        let destination = object::object([
            ("reference", Some(json!(action))),
            ("operatingAccount", Some(account(&self.conversions.customer))),
            ("loginAccount", self.conversions.login_customer.as_deref().map(account)),
            ("productDestinationId", Some(json!(action))),
        ]);
        let destinations = json!([destination]);
        let validate = if self.conversions.validate_only {
            r#","validateOnly":true"#
        } else {
            ""
        };
        let begin = format!(r#"{{"destinations":{destinations},"encoding":"HEX"{validate},"events":"#);
        (begin, "}")
    }

    fn request(&self, action: &str, batch: Batch) -> Encoded {
        let (begin, end) = self.around(action);
        Encoded {
            request: Request {
                authentication: Authentication::GoogleToken,
                ..Request::post_json(&self.url, format!("{begin}{}{end}", batch.array()))
            },
            events: batch.events,
            ordering_key: None,
        }
    }
}

impl Destination for DataManager {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_EVENTS,
            max_bytes: MAX_BYTES,
        }
    }

    fn wants(&self, event_name: &str) -> bool {
        self.conversions.has_action(event_name)
    }

    fn takes(&self, event: &Event<'_>, consent: &Consent) -> bool {
        self.conversions.are_told_by(event, consent)
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let room = Room {
            events: MAX_EVENTS,
            bytes: MAX_BYTES,
            // Enough for any account's and action's ids.
            overhead: 1024,
        };
        let request = |action: &str, batch| self.request(action, batch);
        self.conversions.encode(records, now_ms, room, describe, request)
    }

    fn classify(&self, response: &Response) -> Outcome {
        let status = Status::of(response);
        match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::CredentialsRejected {
                reason: self.advice(response, &status),
            },
            StatusCode::BAD_REQUEST => bad_request(&status).unwrap_or_else(|| answer::by_status(response)),
            _ => answer::by_status(response),
        }
    }
}

impl DataManager {
    /// What whoever owns account and credentials has to do.
    fn advice(&self, response: &Response, status: &Status) -> String {
        let advice = if status.names("ACCESS_TOKEN_SCOPE_INSUFFICIENT") {
            format!("make a refresh token with the scope {SCOPE} and put it into the Secret")
        } else if status.names("SERVICE_DISABLED") {
            "enable the Data Manager API in the Google Cloud project of the OAuth client".to_owned()
        } else if response.status == StatusCode::UNAUTHORIZED {
            format!(
                "the access token is not taken; make a refresh token with the scope {SCOPE} and put it into the Secret"
            )
        } else {
            format!(
                "give whoever made the refresh token access to the Google Ads account {}, or to its manager account and set \
                 loginCustomerId",
                self.conversions.customer
            )
        };
        format!("{}; {advice}", told(response, status))
    }
}

/// Google's own words.
fn told(response: &Response, status: &Status) -> String {
    match status.message.as_str() {
        "" => answer::reason(response),
        _ => status.told(),
    }
}

/// What a 400 means. `None` when it is not Google's JSON.
fn bad_request(status: &Status) -> Option<Outcome> {
    // Too young an action is no fault of its events, and mends itself; the events of other actions go on meanwhile.
    if status.names("CONVERSION_ACTION_TOO_RECENTLY_CREATED") {
        let later = Outcome::Retry {
            after: Some(TOO_RECENT),
            reason: status.told(),
        };
        return Some(Outcome::Named {
            named: BTreeMap::new(),
            others: Box::new(later),
        });
    }
    let violations = status.details.iter().flat_map(|detail| &detail.field_violations);
    let mut bad = BTreeMap::new();
    let mut of_request = None;
    for violation in violations {
        let told = answer::one_line(&format!("{}: {}", violation.field, violation.description));
        match event_index(&violation.field) {
            Some(index) => {
                bad.entry(index).or_insert(told);
            }
            None => of_request = of_request.or(Some(told)),
        }
    }
    let reason = status.told();
    Some(match of_request {
        _ if !bad.is_empty() => Outcome::RefusedEvents { bad },
        // All its events share the account and the conversion action.
        Some(told) => Outcome::Refused {
            reason: answer::one_line(&format!("{reason} ({told})")),
        },
        None if status.message.is_empty() => return None,
        None => Outcome::RefusedBatch { reason },
    })
}

/// The event that a violation's path is about: `events[3].user_data` is about the fourth.
fn event_index(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once("events[")?;
    rest.split_once(']')?.0.parse().ok()
}

/// One of `events[]`.
fn describe(conversion: &Conversion<'_>, parameters: Parameters) -> Result<Object, Cow<'static, str>> {
    let device = device(conversion);
    let landed = conversion.click.as_ref().is_some_and(|click| click.landed);
    let mut ad_identifiers = object::object([
        ("sessionAttributes", session_attributes(conversion).map(Json::String)),
        ("landingPageDeviceInfo", device.clone().filter(|_| landed)),
    ]);
    if let Some(click) = &conversion.click {
        ad_identifiers.insert(click.kind.name().to_owned(), json!(click.id));
    }
    let user_identifiers = object::list(user_identifiers(conversion));
    let user_data = object::object([("userIdentifiers", user_identifiers)]);
    let cart_data = conversion.items("merchantProductId", MAX_ITEMS).map(|items| {
        json!(object::object([
            ("items", Some(items)),
            ("transactionDiscount", conversion.discount()),
        ]))
    });
    let customer_type = object::object([("customerType", conversion.customer_type())]);
    let mut event = object::object([
        ("eventTimestamp", Some(json!(conversion.time.to_string()))),
        ("eventSource", Some(json!("WEB"))),
        ("transactionId", conversion.transaction_id.as_ref().map(|id| json!(id))),
        ("currency", conversion.currency()),
        ("conversionValue", conversion.value()),
        ("adIdentifiers", object::non_empty(ad_identifiers)),
        ("eventDeviceInfo", device),
        ("userData", object::non_empty(user_data)),
        ("consent", conversion.consent("CONSENT_GRANTED", "CONSENT_DENIED")),
        ("cartData", cart_data),
        ("userProperties", object::non_empty(customer_type)),
    ]);
    parameters.put_over(&mut event);
    mend_user_data(&mut event);
    if is_identified(&event) {
        Ok(event)
    } else {
        Err("has no click id, and no user data of which Google could make anything".into())
    }
}

/// User data is hashed, whoever put it there, and none at all where nothing of it is an identifier.
fn mend_user_data(event: &mut Object) {
    let identifiers = event
        .get_mut("userData")
        .and_then(|data| data.get_mut("userIdentifiers"));
    let is_empty = match identifiers.and_then(Json::as_array_mut) {
        Some(identifiers) => {
            hash_all(identifiers);
            identifiers.is_empty()
        }
        None => true,
    };
    if is_empty {
        event.remove("userData");
    }
}

/// Whether there is something by which Google finds the click or the visitor; it refuses what has nothing
/// (`NO_IDENTIFIERS_PROVIDED`).
fn is_identified(event: &Object) -> bool {
    let by_click = event.get("adIdentifiers").and_then(Json::as_object);
    event.contains_key("userData") || by_click.is_some_and(|ids| ids.keys().any(|name| name != "landingPageDeviceInfo"))
}

fn device(conversion: &Conversion<'_>) -> Option<Json> {
    if !conversion.tells_of_user() {
        return None;
    }
    object::non_empty(object::object([
        ("userAgent", object::written(conversion.event, field::USER_AGENT)),
        ("ipAddress", conversion.ip_address()),
    ]))
}

fn user_identifiers(conversion: &Conversion<'_>) -> Vec<Json> {
    let (emails, phones) = conversion.contacts();
    let emails = emails.into_iter().map(|hash| json!({"emailAddress": hash}));
    let phones = phones.into_iter().map(|hash| json!({"phoneNumber": hash}));
    let data = UserData::of(conversion.event);
    let addresses = data.addresses().filter_map(|address| identifying_address(&address));
    let addresses = addresses.filter(|_| conversion.tells_of_user());
    let all = emails
        .chain(phones)
        .chain(addresses.map(|address| json!({"address": address})));
    all.take(MAX_USER_IDENTIFIERS).collect()
}

/// An address with all that Google's `AddressInfo` requires; one that lacks a part would be refused, and the whole request
/// with it.
fn identifying_address(address: &Address<'_>) -> Option<Object> {
    let postal_code = address.plain("postal_code")?;
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-');
    if postal_code.len() > 16 || !postal_code.bytes().all(is_code) {
        return None;
    }
    Some(object::object([
        ("givenName", Some(json!(address.first_name(NameRule::Trimmed)?))),
        ("familyName", Some(json!(address.last_name(NameRule::Trimmed)?))),
        ("regionCode", Some(json!(address.country_code()?.to_ascii_uppercase()))),
        ("postalCode", Some(json!(postal_code))),
    ]))
}

/// `sessionAttributes`: what the landing page's URL says of the advertisement, where this event's page is it.
fn session_attributes(conversion: &Conversion<'_>) -> Option<String> {
    if !conversion.tells_of_user() {
        return None;
    }
    let event = conversion.event;
    let landing = Url::parse(event.text(field::PAGE_LOCATION)?).ok()?;
    let mut attributes = Object::new();
    for (name, value) in landing.query_pairs().filter(|(name, _)| name.starts_with("gad_")) {
        attributes.insert(name.into_owned(), json!(value));
    }
    if attributes.is_empty() {
        return None;
    }
    let session = event
        .text(field::GA_SESSION_ID)
        .and_then(|seconds| seconds.parse::<u32>().ok());
    let referrer = event.text(field::PAGE_REFERRER).and_then(|text| Url::parse(text).ok());
    let beside = object::object([
        (
            "session_start_time_usec",
            session.map(|seconds| json!(format!("{seconds}000000"))),
        ),
        ("landing_page_url", tellable(landing).map(Json::String)),
        (
            "landing_page_referrer",
            referrer.map(|url| json!(url.origin().ascii_serialization())),
        ),
        ("landing_page_user_agent", object::written(event, field::USER_AGENT)),
    ]);
    attributes.extend(beside);
    let token = URL_SAFE_NO_PAD.encode(Json::Object(attributes).to_string());
    (token.len() <= MAX_SESSION_ATTRIBUTES).then_some(token)
}

/// A landing page's URL with nothing in its query but what advertisements put there: other parameters may hold what a
/// visitor typed. `None` when an e-mail address is left all the same.
fn tellable(mut url: Url) -> Option<String> {
    let of_ads = |name: &str| name.starts_with("gad_") || matches!(name, "gclid" | "gbraid" | "wbraid");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let kept = pairs.into_iter().filter(|(name, _)| of_ads(name));
    url.query_pairs_mut().clear().extend_pairs(kept);
    url.set_fragment(None);
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let text = String::from(url);
    (!text.contains('@') && !text.contains("%40")).then_some(text)
}
