//! `consent.onDenied: Anonymize`: an event without anything that identifies its visitor.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use crate::{
    event::{Event, field},
    ingest::query,
    record::Record,
};

/// Fields that name a visitor, a browser, a session or a click, or from which a browser can be told again. A custom
/// parameter that ingest kept as `x_<name>` goes with them.
const IDENTIFIERS: [&str; 16] = [
    field::CLIENT_ID,
    field::USER_ID,
    field::USER_DATA,
    field::USER_PROPERTIES,
    field::IP_OVERRIDE,
    field::USER_AGENT,
    field::CLIENT_HINTS,
    field::COOKIES,
    field::CLICK_IDS,
    field::GA_SESSION_ID,
    field::GA_SESSION_NUMBER,
    field::SCREEN_RESOLUTION,
    "viewport_size",
    "device",
    "app_instance_id",
    // A TC string has the tenth of a second in it at which the visitor chose.
    "gdpr_consent",
];

/// What GA4's own parameters say of the visitor (vendors/ga4-collect.md sections 2 and 4).
const GA4_IDENTIFIERS: [&str; 8] = [
    "x-ga-js_client_id",
    "x-ga-em",
    "x-ga-ecid",
    "x-ga-page_id",
    "x-ga-ur",
    "x-ga-mp2-seg",
    "x-ga-user_property_details",
    "x-sst-system_properties",
];

/// What stays of `x-ga-system_properties`: that the event is a conversion, and that a page sent it.
const SYSTEM_PROPERTIES: [&str; 2] = ["c", "ee"];

/// Places: what stays of them.
const PLACES: [&str; 2] = ["geo", "user_location"];
const PLACE_MEMBERS: [&str; 4] = ["continent", "country", "continent_id", "country_id"];

/// Parameters of URLs, and custom parameters, that carry the id of a click or a browser (vendors/README.md, google-ads.md,
/// others.md), in lower case. `_gl` is gtag's linker, which carries the cookies of another domain.
const CLICK_IDS: [&str; 22] = [
    "gclid",
    "dclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "ttclid",
    "msclkid",
    "epik",
    "li_fat_id",
    "sccid",
    "twclid",
    "rdt_cid",
    "yclid",
    "irclickid",
    "mc_eid",
    "_kx",
    "_gl",
    "_ga",
    "_fbp",
    "_fbc",
    "fbp",
    "fbc",
];

/// Strips a record of all that identifies its visitor. What happened stays: the event's name, id and time, the page, the
/// items, the order's id, custom parameters, country and language. Of the container's variables none stays, since they may
/// have been computed from anything. Doing it twice is doing it once.
pub fn anonymize(record: &mut Record<'_>) {
    record.vars = Map::new();
    let fields = std::mem::take(record.event.fields_mut());
    let kept = fields
        .into_iter()
        .filter(|(name, _)| !identifies(name))
        .map(|(name, value)| {
            let value = cleaned(&name, value);
            (name, value)
        });
    record.event = Event::from(Map::from_unique(kept.collect()));
}

fn identifies(name: &str) -> bool {
    let plain = name
        .strip_prefix("x-ga-mp2-")
        .or_else(|| name.strip_prefix("x_"))
        .unwrap_or(name);
    IDENTIFIERS.contains(&plain) || GA4_IDENTIFIERS.contains(&name) || is_click_id(plain)
}

fn is_click_id(name: &str) -> bool {
    CLICK_IDS.iter().any(|id| name.eq_ignore_ascii_case(id))
}

fn cleaned<'a>(name: &str, value: Value<'a>) -> Value<'a> {
    match value {
        Value::Map(members) if name == "x-ga-system_properties" => only(members, &SYSTEM_PROPERTIES),
        Value::Map(members) if PLACES.contains(&name) => only(members, &PLACE_MEMBERS),
        Value::String(text) => match without_click_ids(&text) {
            Some(clean) => Value::String(Cow::Owned(clean)),
            None => Value::String(text),
        },
        other => other,
    }
}

fn only<'a>(members: Map<'a>, kept: &[&str]) -> Value<'a> {
    let members = members.into_iter().filter(|(name, _)| kept.contains(&name.as_ref()));
    Value::Map(Map::from_unique(members.collect()))
}

/// A URL without the parameters that carry ids, in query and fragment; none if there are none, or if it is no URL. What
/// stays is written as it was.
fn without_click_ids(text: &str) -> Option<String> {
    if !text.contains("://") || !parameters(text).any(|parameter| parameter.carries_id()) {
        return None;
    }
    let mut clean = text.split(['?', '#']).next().unwrap_or_default().to_owned();
    // The parameter behind one that goes takes its place.
    let mut open = None;
    for parameter in parameters(text) {
        let separator = match (open.take(), parameter.separator) {
            (Some(before), '&' | ';') => before,
            (_, own) => own,
        };
        if parameter.carries_id() {
            open = Some(separator);
        } else {
            clean.push(separator);
            clean.push_str(parameter.text);
        }
    }
    Some(clean)
}

/// A piece of a URL behind its path.
struct Parameter<'u> {
    /// The character before it.
    separator: char,
    /// `name=value`, or anything else.
    text: &'u str,
}

impl Parameter<'_> {
    /// Whether it is such a parameter, or its value is a URL, encoded in this one, with such a parameter.
    fn carries_id(&self) -> bool {
        let Some((name, value)) = self.text.split_once('=') else {
            return false;
        };
        if is_click_id(query::decode(name).trim()) {
            return true;
        }
        let value = query::decode(value);
        parameters(&value).any(|inner| {
            let name = inner.text.split_once('=').map(|(name, _)| query::decode(name));
            name.is_some_and(|name| is_click_id(name.trim()))
        })
    }
}

/// The pieces of a URL behind its path, between `?`, `#`, `&` and `;`.
fn parameters(url: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut rest = url.find(['?', '#']).and_then(|start| url.get(start..));
    std::iter::from_fn(move || {
        let mut characters = rest?.chars();
        let separator = characters.next()?;
        let behind = characters.as_str();
        let end = behind.find(['?', '#', '&', ';']).unwrap_or(behind.len());
        let (text, next) = behind.split_at_checked(end)?;
        rest = Some(next);
        Some(Parameter { separator, text })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn anonymous(event: serde_json::Value) -> serde_json::Value {
        let mut record = testing::record(event);
        anonymize(&mut record);
        serde_json::to_value(&record.event).unwrap()
    }

    #[test]
    fn what_happened_stays_and_who_did_it_goes() {
        let mut record = testing::purchase();
        record.vars.insert("mail", "jane@example.com");
        anonymize(&mut record);
        assert!(record.vars.is_empty());
        assert_eq!(
            serde_json::to_value(&record.event).unwrap(),
            json!({
                "event_name": "purchase", "event_id": "evt-1001", "timestamp_ms": 1_767_225_600_000_i64,
                "page_location": "https://shop.example/thanks", "page_referrer": "https://shop.example/checkout",
                "language": "en-US", "currency": "EUR", "value": 72.05, "transaction_id": "T-1001",
                "items": [{
                    "item_id": "SKU-1", "item_name": "Shirt", "item_category": "Apparel", "item_brand": "Acme",
                    "price": 33.03, "quantity": 2
                }]
            })
        );
    }

    #[test]
    fn of_a_forwarded_hit_the_parameters_that_identify_go_too() {
        let event = json!({
            "event_name": "purchase", "x_client_id": "1.2", "x_user_data": "jane", "x-ga-em": "tv.1~em.x", "x-ga-ecid": "8",
            "x-ga-mp2-gclid": "g", "x-ga-mp2-gdpr_consent": "CQ", "ttclid": "t", "FBC": "f", "x-ga-gcs": "G100", "sku": "B",
            "x-ga-system_properties": {"c": "1", "fid": "9", "fplc": "8"}, "x-sst-system_properties": {"rnd": "7.8"},
        });
        assert_eq!(
            anonymous(event),
            json!({"event_name": "purchase", "x-ga-gcs": "G100", "sku": "B", "x-ga-system_properties": {"c": "1"}})
        );
    }

    #[test]
    fn of_a_place_the_country_stays() {
        let event = json!({
            "geo": {"continent": "EU", "country": "DE", "region": "BE", "city": "Berlin"},
            "user_location": {"country_id": "DE", "region_id": "DE-BE", "city": "Berlin"},
        });
        assert_eq!(
            anonymous(event),
            json!({"geo": {"continent": "EU", "country": "DE"}, "user_location": {"country_id": "DE"}})
        );
    }

    #[test]
    fn urls_lose_click_ids_and_nothing_else() {
        for (url, clean) in [
            ("https://a.example/?gclid=1", "https://a.example/"),
            (
                "https://a.example/p?gclid=1&utm_source=x%20y&b",
                "https://a.example/p?utm_source=x%20y&b",
            ),
            (
                "https://a.example/p?a=1&ScCid=2&fbclid=3#top",
                "https://a.example/p?a=1#top",
            ),
            ("https://a.example/p?%67clid=1#gclid=2&x=1", "https://a.example/p#x=1"),
            (
                "https://a.example/#/route?gbraid=1&y=2",
                "https://a.example/#/route?y=2",
            ),
            ("https://a.example/p?_gl=1*abc;z=1", "https://a.example/p?z=1"),
            (
                "https://r.example/?to=https%3A%2F%2Fa.example%2F%3Fwbraid%3D1&q=2",
                "https://r.example/?q=2",
            ),
            ("https://a.example/?gclid", "https://a.example/?gclid"),
            (
                "https://a.example/gclid=1/?x=gclid",
                "https://a.example/gclid=1/?x=gclid",
            ),
            ("/p?gclid=1", "/p?gclid=1"),
        ] {
            let event = anonymous(json!({ "page_location": url, "link_url": url }));
            assert_eq!(event, json!({ "page_location": clean, "link_url": clean }), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_url_is_survived_and_cleaned_once(rest in "[?#&;=a-z%0-9_é ]{0,40}", id in prop::sample::select(&CLICK_IDS[..])) {
            let url = format!("https://a.example/{rest}&{id}=SECRET");
            let clean = without_click_ids(&url);
            if rest.contains(['?', '#']) {
                let clean = clean.unwrap();
                prop_assert!(!clean.contains("SECRET"), "{clean}");
                prop_assert_eq!(without_click_ids(&clean), None);
            }
        }

        #[test]
        fn any_event_is_survived(record in testing::hostile_record()) {
            let mut once = record;
            anonymize(&mut once);
            let mut twice = once.clone();
            anonymize(&mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
