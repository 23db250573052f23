//! What senders of whole events (JSON, Measurement Protocol, pixel) may say, and in which shape the event keeps it.

use std::{borrow::Cow, net::IpAddr};

use tagfleet_expressions::Value;

use super::{cookies, fields::Fields, query::parse_number, user_data};
use crate::{event::field, name_patterns::NamePatterns};

/// Whether the sender has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// With a secret.
    Authenticated,
    /// Anyone, a browser's user among them.
    Anyone,
}

/// What was not taken as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Fields kept as `x_<name>`.
    pub(super) renamed: u64,
    /// Claims that this sender may not make, and that were dropped.
    pub(super) untrusted: u64,
}

/// Keeps the event's own fields in the shape that all readers rely on. A field of another shape is kept as `x_<name>`.
/// - Ids are text; numbers are written out.
/// - `items` is an array; `user_data`, `user_properties`, `client_hints`, `click_ids` are objects.
/// - E-mail addresses and phone numbers are arrays.
/// - `cookies` holds tracking cookies only, and those of `read_cookies`; any other is dropped, as from the Cookie header.
/// - `ip_override` is an address. It and `user_agent` are dropped unless the sender is authenticated.
pub(super) fn normalize(fields: &mut Fields<'_>, sender: Sender, read_cookies: &NamePatterns) -> Counts {
    let mut counts = Counts::default();
    for name in [
        field::CLIENT_ID,
        field::USER_ID,
        field::EVENT_ID,
        field::GA_SESSION_ID,
        field::TRANSACTION_ID,
    ] {
        normalize_id(fields, name, &mut counts);
    }
    keep_if(fields, field::ITEMS, &mut counts, |value| {
        matches!(value, Value::List(_))
    });
    for name in [
        field::USER_DATA,
        field::USER_PROPERTIES,
        field::CLIENT_HINTS,
        field::CLICK_IDS,
    ] {
        keep_if(fields, name, &mut counts, |value| matches!(value, Value::Map(_)));
    }
    if let Some(Value::Map(mut user_data)) = fields.take(field::USER_DATA) {
        user_data::make_arrays(&mut user_data);
        fields.insert(field::USER_DATA, user_data);
    }
    if let Some(given) = fields.remove(field::COOKIES)
        && let Some(kept) = cookies::keep_tracking(given, read_cookies).filter(|kept| !kept.is_empty())
    {
        fields.insert(field::COOKIES, kept);
    }
    for name in [field::IP_OVERRIDE, field::USER_AGENT] {
        let believed = match fields.get(name) {
            None => continue,
            Some(Value::String(text)) if sender == Sender::Authenticated => {
                name != field::IP_OVERRIDE || text.parse::<IpAddr>().is_ok()
            }
            Some(_) => false,
        };
        if !believed && fields.remove(name) != Some(Value::Null) {
            counts.untrusted += 1;
        }
    }
    counts
}

/// An id as text; `null` is none.
fn normalize_id(fields: &mut Fields<'_>, name: &'static str, counts: &mut Counts) {
    let text = match fields.get(name) {
        None | Some(Value::String(_)) => return,
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Double(number)) => number.to_string(),
        Some(Value::Null) => {
            fields.remove(name);
            return;
        }
        Some(_) => {
            rename(fields, name, counts);
            return;
        }
    };
    fields.insert(name, text);
}

fn keep_if(fields: &mut Fields<'_>, name: &'static str, counts: &mut Counts, fits: impl Fn(&Value<'_>) -> bool) {
    match fields.get(name) {
        Some(Value::Null) => {
            fields.remove(name);
        }
        Some(value) if !fits(value) => rename(fields, name, counts),
        _ => {}
    }
}

fn rename(fields: &mut Fields<'_>, name: &'static str, counts: &mut Counts) {
    if let Some(value) = fields.remove(name) {
        fields.insert(format!("x_{name}"), value);
        counts.renamed += 1;
    }
}

/// A number, or text that spells one, rounded down.
pub(super) fn whole_number(value: &Value<'_>) -> Option<i64> {
    let spelled;
    let number = match value {
        Value::String(text) => {
            spelled = parse_number(text)?;
            &spelled
        }
        number => number,
    };
    match number {
        // The cast saturates, and a time beyond all times is handled as such.
        Value::Double(number) if number.is_finite() => Some(number.floor() as i64),
        number => number.as_i64(),
    }
}

/// Takes `timestamp_ms` from an event that brings its own time. A time in the future is now. Without proof of who sent
/// it, a time more than an hour ago is not believed (contract), nor is one that is no number: the event then has the
/// time of its arrival, and what it said is kept as `x_timestamp_ms`.
pub(super) fn normalize_time(fields: &mut Fields<'_>, sender: Sender, received_ms: i64, counts: &mut Counts) {
    const HOUR_MS: i64 = 3_600_000;
    let Some(given) = fields.get(field::TIMESTAMP_MS) else {
        return;
    };
    let oldest = match sender {
        Sender::Authenticated => 0,
        Sender::Anyone => received_ms.saturating_sub(HOUR_MS),
    };
    match whole_number(given) {
        Some(time) if time >= oldest => fields.insert(field::TIMESTAMP_MS, time.min(received_ms)),
        _ => {
            if let Some(given) = fields.remove(field::TIMESTAMP_MS).filter(|given| *given != Value::Null) {
                fields.insert(Cow::Borrowed("x_timestamp_ms"), given);
                counts.untrusted += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    fn fields_of(event: &str) -> Fields<'_> {
        let Value::Map(map) = super::super::json_value::read(event).unwrap() else {
            panic!("an object")
        };
        let mut fields = Fields::default();
        for (name, value) in map {
            fields.insert(name, value);
        }
        fields
    }

    fn normalized(event: &str, sender: Sender) -> (serde_json::Value, Counts) {
        let mut fields = fields_of(event);
        let counts = normalize(&mut fields, sender, &NamePatterns::none());
        (serde_json::to_value(fields.into_map()).unwrap(), counts)
    }

    #[test]
    fn ids_are_text() {
        let (event, counts) = normalized(
            r#"{"event_id":7,"client_id":1.5,"user_id":null,"transaction_id":{"a":1},"ga_session_id":"s"}"#,
            Sender::Anyone,
        );
        let expected = json!({"event_id": "7", "client_id": "1.5", "ga_session_id": "s", "x_transaction_id": {"a": 1}});
        assert_eq!(event, expected);
        assert_eq!(counts.renamed, 1);
    }

    #[test]
    fn objects_and_arrays_have_their_shape_or_another_name() {
        let (event, counts) = normalized(
            r#"{"items":"[]","user_data":"x","user_properties":{},"click_ids":null}"#,
            Sender::Anyone,
        );
        assert_eq!(
            event,
            json!({"x_items": "[]", "x_user_data": "x", "user_properties": {}})
        );
        assert_eq!(counts.renamed, 2);
    }

    #[test]
    fn emails_and_phones_are_arrays() {
        let user_data = r#"{"user_data":{"email_address":"a@b.c","phone_number":["+1","+2"],"address":{"city":"x"}}}"#;
        let (event, _) = normalized(user_data, Sender::Anyone);
        let expected = json!({"email_address": ["a@b.c"], "phone_number": ["+1", "+2"], "address": {"city": "x"}});
        assert_eq!(event["user_data"], expected);
    }

    #[test]
    fn only_tracking_cookies_stay() {
        let (event, _) = normalized(
            r#"{"cookies":{"_fbp":"fb.1","session":"topsecret","_ga":7}}"#,
            Sender::Authenticated,
        );
        assert_eq!(event, json!({"cookies": {"_fbp": "fb.1"}}));
        let (event, _) = normalized(r#"{"cookies":"session=topsecret"}"#, Sender::Authenticated);
        assert_eq!(event, json!({}));
    }

    #[test]
    fn only_an_authenticated_sender_says_who_the_visitor_is() {
        let claim = r#"{"ip_override":"203.0.113.7","user_agent":"x"}"#;
        assert_eq!(
            normalized(claim, Sender::Anyone),
            (
                json!({}),
                Counts {
                    renamed: 0,
                    untrusted: 2
                }
            )
        );
        let (event, counts) = normalized(claim, Sender::Authenticated);
        assert_eq!(event, json!({"ip_override": "203.0.113.7", "user_agent": "x"}));
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn null_says_nothing_of_the_visitor() {
        for sender in [Sender::Anyone, Sender::Authenticated] {
            let (event, counts) = normalized(r#"{"ip_override":null,"user_agent":null}"#, sender);
            assert_eq!((event, counts), (json!({}), Counts::default()));
        }
    }

    #[test]
    fn an_address_is_an_address() {
        for wrong in [r#""unknown""#, r#""203.0.113.7:80""#, "7", "[]"] {
            let (event, counts) = normalized(&format!(r#"{{"ip_override":{wrong}}}"#), Sender::Authenticated);
            assert_eq!((event, counts.untrusted), (json!({}), 1), "{wrong}");
        }
    }

    #[test]
    fn the_time_is_the_senders_within_what_it_may_say() {
        const NOW: i64 = 1_768_476_420_055;
        const HOUR: i64 = 3_600_000;
        for (given, sender, expected) in [
            (NOW - HOUR, Sender::Anyone, Some(NOW - HOUR)),
            (NOW - HOUR - 1, Sender::Anyone, None),
            (NOW - 1_000 * HOUR, Sender::Authenticated, Some(NOW - 1_000 * HOUR)),
            (-1, Sender::Authenticated, None),
            (NOW + 5, Sender::Anyone, Some(NOW)),
        ] {
            for spelled in [given.to_string(), format!("\"{given}\""), format!("{given}.0")] {
                let event = format!(r#"{{"timestamp_ms":{spelled}}}"#);
                let mut fields = fields_of(&event);
                normalize_time(&mut fields, sender, NOW, &mut Counts::default());
                assert_eq!(
                    fields.get("timestamp_ms"),
                    expected.map(Value::Int).as_ref(),
                    "{spelled}"
                );
                assert_eq!(fields.contains("x_timestamp_ms"), expected.is_none());
            }
        }
    }
}
