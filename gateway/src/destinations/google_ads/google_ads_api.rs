//! The Google Ads API's `uploadClickConversions` (vendors/google-ads.md section 4): a developer token beside the access
//! token, and an answer for each conversion.

use std::{borrow::Cow, collections::BTreeMap};

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::{
    clicks::Kind,
    conversion::{Conversion, Conversions, MAX_BYTES, Parameters, TOO_RECENT, hash_all},
    errors::{GoogleAdsError, Status},
};
use crate::{
    destinations::{
        Authentication, Destination, Encoded, Encoding, Limits, Outcome, Request, Response, answer,
        batches::{Batch, Room},
        json as object,
        mapping::Json as Object,
    },
    event::Event,
    record::{Consent, Record},
};

/// The version in use unless the manifest names another. Google ends each after about a year.
pub(super) const VERSION: &str = "v26";
/// The fields by which Google finds the click or the visitor.
pub(super) const IDENTIFYING: &[&str] = &["gclid", "gbraid", "wbraid", "userIdentifiers"];
/// The fields of a conversion.
pub(super) const FIELDS: &[&str] = &[
    "conversionAction",
    "conversionDateTime",
    "gclid",
    "gbraid",
    "wbraid",
    "userIdentifiers",
    "conversionValue",
    "currencyCode",
    "orderId",
    "conversionEnvironment",
    "consent",
    "cartData",
    "customVariables",
    "customerType",
    "externalAttributionData",
    "userIpAddress",
    "sessionAttributesEncoded",
    "sessionAttributesKeyValuePairs",
];

/// Conversions of a request. The API takes 2,000; of so many the answer, which names each of them again, would be longer
/// than what delivery reads of one.
const MAX_CONVERSIONS: usize = 400;
/// User identifiers of a conversion (sheet, section 4).
const MAX_USER_IDENTIFIERS: usize = 5;
/// The scope that a refresh token needs.
const SCOPE: &str = "https://www.googleapis.com/auth/adwords";

const DEVELOPER_TOKEN: HeaderName = HeaderName::from_static("developer-token");
const LOGIN_CUSTOMER_ID: HeaderName = HeaderName::from_static("login-customer-id");

/// Where conversions go.
pub(super) fn url(version: &str, customer: &str) -> String {
    let customer = customer.replace('-', "");
    format!("https://googleads.googleapis.com/{version}/customers/{customer}:uploadClickConversions")
}

/// The vendor by this interface.
pub(super) struct GoogleAdsApi {
    conversions: Conversions,
    url: Url,
    developer_token: HeaderValue,
}

impl GoogleAdsApi {
    pub(super) fn new(conversions: Conversions, url: Url, developer_token: HeaderValue) -> Self {
        Self {
            conversions,
            url,
            developer_token,
        }
    }

    fn request(&self, batch: Batch) -> Encoded {
        let validate = if self.conversions.validate_only {
            r#","validateOnly":true"#
        } else {
            ""
        };
        let body = format!(r#"{{"partialFailure":true{validate},"conversions":{}}}"#, batch.array());
        let mut request = Request::post_json(&self.url, body);
        request.authentication = Authentication::GoogleToken;
        request.headers.insert(DEVELOPER_TOKEN, self.developer_token.clone());
        let login = self.conversions.login_customer.as_deref();
        if let Some(Ok(login)) = login.map(HeaderValue::from_str) {
            request.headers.insert(LOGIN_CUSTOMER_ID, login);
        }
        Encoded {
            request,
            events: batch.events,
            ordering_key: None,
        }
    }

    /// What whoever owns account and credentials has to do.
    fn advice(&self, response: &Response, status: &Status) -> String {
        let customer = &self.conversions.customer;
        let advice = if status.names("DEVELOPER_TOKEN_NOT_APPROVED") {
            "the developer token is for test accounts only: apply for access to others, or take api: DataManager, which \
             needs none"
                .to_owned()
        } else if status.reasons().any(|reason| reason.starts_with("DEVELOPER_TOKEN")) {
            "put the developer token of the manager account's API Center into the Secret".to_owned()
        } else if status.names("ACCESS_TOKEN_SCOPE_INSUFFICIENT") || response.status == StatusCode::UNAUTHORIZED {
            format!("make a refresh token with the scope {SCOPE} and put it into the Secret")
        } else {
            format!(
                "give whoever made the refresh token access to the Google Ads account {customer}, or to its manager account \
                 and set loginCustomerId"
            )
        };
        let told = match status.message.as_str() {
            "" => answer::reason(response),
            _ => status.told(),
        };
        format!("{told}; {advice}")
    }

    /// One of `conversions[]`.
    fn describe(&self, conversion: &Conversion<'_>, parameters: Parameters) -> Result<Object, Cow<'static, str>> {
        let action = format!(
            "customers/{}/conversionActions/{}",
            self.conversions.customer, conversion.action
        );
        let cart_data = conversion.items("productId", usize::MAX).map(|items| {
            json!(object::object([
                ("items", Some(items)),
                ("localTransactionCost", conversion.discount()),
            ]))
        });
        let mut described = object::object([
            ("conversionAction", Some(json!(action))),
            ("conversionDateTime", Some(json!(date_time(conversion)))),
            ("conversionValue", conversion.value()),
            ("currencyCode", conversion.currency()),
            ("orderId", conversion.transaction_id.as_ref().map(|id| json!(id))),
            ("conversionEnvironment", Some(json!("WEB"))),
            ("consent", conversion.consent("GRANTED", "DENIED")),
            ("userIdentifiers", user_identifiers(conversion)),
            ("cartData", cart_data),
            ("customerType", conversion.customer_type()),
        ]);
        if let Some(click) = &conversion.click {
            described.insert(click.kind.name().to_owned(), json!(click.id));
        }
        parameters.put_over(&mut described);
        if let Some(identifiers) = described.get_mut("userIdentifiers") {
            let left = identifiers.as_array_mut().is_some_and(|identifiers| {
                hash_all(identifiers);
                !identifiers.is_empty()
            });
            if !left {
                described.remove("userIdentifiers");
            }
        }
        if IDENTIFYING.iter().any(|name| described.contains_key(*name)) {
            Ok(described)
        } else {
            Err("has no click id, and no e-mail address or phone number of which Google could make anything".into())
        }
    }
}

/// The time as this interface wants it, a blank in place of the T.
fn date_time(conversion: &Conversion<'_>) -> String {
    conversion.time.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// `userIdentifiers`: e-mail addresses and phone numbers, nothing else is taken here. Beside an id that stands for a group
/// of clicks older versions of the API take none (sheet, section 4).
fn user_identifiers(conversion: &Conversion<'_>) -> Option<Json> {
    let click = conversion.click.as_ref();
    if click.is_some_and(|click| click.kind != Kind::Gclid) {
        return None;
    }
    let (emails, phones) = conversion.contacts();
    let emails = emails.into_iter().map(|hash| ("hashedEmail", hash));
    let phones = phones.into_iter().map(|hash| ("hashedPhoneNumber", hash));
    let all = emails.chain(phones).take(MAX_USER_IDENTIFIERS);
    object::list(all.map(|(name, hash)| json!({name: hash, "userIdentifierSource": "FIRST_PARTY"})))
}

impl Destination for GoogleAdsApi {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_CONVERSIONS,
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
            events: MAX_CONVERSIONS,
            bytes: MAX_BYTES,
            overhead: 64,
        };
        let describe = |conversion: &Conversion<'_>, parameters| self.describe(conversion, parameters);
        let request = |_: &str, batch| self.request(batch);
        self.conversions.encode(records, now_ms, room, describe, request)
    }

    fn classify(&self, response: &Response) -> Outcome {
        if response.status == StatusCode::OK {
            return taken(response);
        }
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

/// A 200: all were taken but those that `partialFailureError` names.
fn taken(response: &Response) -> Outcome {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Body {
        results: Vec<Json>,
        partial_failure_error: Option<Status>,
    }
    let Ok(body) = serde_json::from_slice::<Body>(&response.body) else {
        return Outcome::Retry {
            after: None,
            reason: "the answer is not JSON, or longer than it may be: is this the Google Ads API?".to_owned(),
        };
    };
    let Some(failure) = body.partial_failure_error else {
        return Outcome::Delivered;
    };
    let errors: Vec<&GoogleAdsError> = failure.details.iter().flat_map(|detail| &detail.errors).collect();
    let last = errors.iter().filter_map(|error| error.conversion()).max();
    let conversions = body
        .results
        .len()
        .max(last.map_or(0, |last| last.saturating_add(1)))
        .min(MAX_CONVERSIONS);
    let of_all = errors.iter().find(|error| error.conversion().is_none());
    let outcomes = (0..conversions).map(|place| {
        let of_this = errors.iter().filter(|error| error.conversion() == Some(place));
        let outcome = of_this.map(|error| outcome(error)).max_by_key(gravity);
        let is_empty = |result: &Json| result.as_object().is_none_or(serde_json::Map::is_empty);
        match (outcome, of_all) {
            (Some(outcome), _) => outcome,
            (None, Some(error)) if body.results.get(place).is_none_or(is_empty) => outcome_of_all(error),
            (None, _) => Outcome::Delivered,
        }
    });
    Outcome::PerEvent(outcomes.collect())
}

fn outcome_of_all(error: &GoogleAdsError) -> Outcome {
    match outcome(error) {
        // Without a place nobody knows whether it is meant.
        Outcome::Delivered => Outcome::Retry {
            after: None,
            reason: error.told(),
        },
        other => other,
    }
}

/// Of several errors of one conversion the gravest counts.
fn gravity(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Refused { .. } => 2,
        Outcome::Retry { .. } => 1,
        _ => 0,
    }
}

/// What became of a conversion with this error (sheet, section 4).
fn outcome(error: &GoogleAdsError) -> Outcome {
    let reason = error.told();
    match error.code() {
        // A repeat of what was counted: every conversion here carries an order id.
        "ORDER_ID_ALREADY_IN_USE" => Outcome::Delivered,
        // Of e-mail address or phone number alone: the visitor clicked no advertisement, which is no fault.
        "CLICK_NOT_FOUND" => Outcome::Delivered,
        "TOO_RECENT_EVENT" | "TOO_RECENT_CONVERSION_ACTION" | "TOO_RECENT_CALL" => Outcome::Retry {
            after: Some(TOO_RECENT),
            reason,
        },
        "CONCURRENT_MODIFICATION"
        | "RESOURCE_EXHAUSTED"
        | "RESOURCE_TEMPORARILY_EXHAUSTED"
        | "INTERNAL_ERROR"
        | "TRANSIENT_ERROR"
        | "DEADLINE_EXCEEDED" => Outcome::Retry { after: None, reason },
        // CLICK_CONVERSION_ALREADY_EXISTS, DUPLICATE_ORDER_ID and their like too: most are repeats, but one may hide a
        // second conversion, so that somebody has to see them.
        _ => Outcome::Refused { reason },
    }
}

/// What a 400 means: with partial failure, what is wrong is outside of the conversions. `None` when it is not Google's JSON.
fn bad_request(status: &Status) -> Option<Outcome> {
    let errors: Vec<&GoogleAdsError> = status.details.iter().flat_map(|detail| &detail.errors).collect();
    let reason = status.told();
    if errors
        .iter()
        .any(|error| matches!(outcome(error), Outcome::Retry { .. }))
    {
        return Some(Outcome::Retry { after: None, reason });
    }
    let bad = errors
        .iter()
        .filter_map(|error| Some((error.conversion()?, error.told())));
    let bad: BTreeMap<usize, String> = bad.collect();
    let of_request =
        |error: &GoogleAdsError| matches!(error.kind(), "requestError" | "headerError" | "authorizationError");
    Some(if !bad.is_empty() {
        Outcome::RefusedEvents { bad }
    } else if errors.iter().any(|error| of_request(error)) {
        Outcome::Refused { reason }
    } else if status.message.is_empty() {
        return None;
    } else {
        Outcome::RefusedBatch { reason }
    })
}
