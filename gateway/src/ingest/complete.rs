//! What every client adds to an event from the request around it: the visitor's address and browser, tracking cookies,
//! the time, an id, and what the page's URL says.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, header};
use tagfleet_expressions::{Map, Value};

use super::{HitRequest, cookies, fields::Fields, page::Page, query, visitor::text_of};
use crate::{event::field, name_patterns::NamePatterns};

/// What a request says of its sender, read once however many events it brings.
#[derive(Debug)]
pub(super) struct Sender<'r> {
    pub(super) received_ms: i64,
    pub(super) cookies: Map<'r>,
    pub(super) read_cookies: &'r NamePatterns,
    address: IpAddr,
    user_agent: Option<Cow<'r, str>>,
    language: Option<Cow<'r, str>>,
}

/// Whose address and user agent the request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// The visitor's own.
    #[default]
    Visitor,
    /// A server's that reports what visitors did elsewhere: they say nothing of the visitor.
    Server,
}

impl<'r> Sender<'r> {
    pub(super) fn of(request: &HitRequest<'r>) -> Self {
        Self {
            received_ms: request.received_ms,
            cookies: cookies::tracking(request.headers, request.read_cookies),
            read_cookies: request.read_cookies,
            address: request.visitor,
            user_agent: text_header(request.headers, &header::USER_AGENT),
            language: text_header(request.headers, &header::ACCEPT_LANGUAGE)
                .as_ref()
                .and_then(first_language),
        }
    }

    /// Sets what the hit itself left open. Says whether the sender had given the event an id.
    pub(super) fn complete(&self, fields: &mut Fields<'r>, connection: Connection) -> bool {
        if connection == Connection::Visitor {
            fields.insert_if_absent(field::IP_OVERRIDE, || Some(text_of(self.address).into()));
            fields.insert_if_absent(field::USER_AGENT, || self.user_agent.clone().map(Value::String));
            fields.insert_if_absent(field::LANGUAGE, || self.language.clone().map(Value::String));
        }
        if fields.text(field::CLIENT_ID).is_none()
            && let Some(id) = self.client_id()
        {
            fields.insert(field::CLIENT_ID, id);
        }
        complete_page(fields);
        fields.insert_if_absent(field::COOKIES, || {
            (!self.cookies.is_empty()).then(|| Value::Map(self.cookies.clone()))
        });
        fields.insert_if_absent(field::TIMESTAMP_MS, || Some(Value::Int(self.received_ms)));
        let has_own_id = fields.text(field::EVENT_ID).is_some();
        if !has_own_id {
            fields.insert(field::EVENT_ID, new_event_id(self.received_ms));
        }
        has_own_id
    }

    /// The client id of the `_ga` cookie.
    fn client_id(&self) -> Option<Value<'r>> {
        match self.cookies.get("_ga")? {
            Value::String(Cow::Borrowed(cookie)) => cookies::ga_client_id(cookie).map(Value::from),
            cookie => cookies::ga_client_id(cookie.as_str()?).map(|id| Value::from(id.to_owned())),
        }
    }
}

/// Host, path and click ids from the page's URL.
fn complete_page(fields: &mut Fields<'_>) {
    let Some(page) = fields.text(field::PAGE_LOCATION).and_then(Page::parse) else {
        return;
    };
    let hostname = page.lowercase_hostname();
    let path = page.path.to_owned();
    let click_ids = page.click_ids();
    fields.insert_if_absent(field::PAGE_HOSTNAME, || (!hostname.is_empty()).then(|| hostname.into()));
    fields.insert_if_absent(field::PAGE_PATH, || Some(path.into()));
    if !click_ids.is_empty() {
        fields.insert_if_absent(field::CLICK_IDS, || Some(click_ids.into()));
    }
}

/// A UUIDv7 (RFC 9562): ids made later sort later, to the millisecond.
fn new_event_id(now_ms: i64) -> String {
    let random: [u8; 10] = rand::random();
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or_default(), &random)
        .into_uuid()
        .to_string()
}

/// A header's value as text; bytes that are not UTF-8 become U+FFFD. None if it is empty.
pub(super) fn text_header<'r>(headers: &'r HeaderMap, name: &header::HeaderName) -> Option<Cow<'r, str>> {
    let value = headers.get(name)?.as_bytes().trim_ascii();
    (!value.is_empty()).then(|| query::text(value))
}

/// The first language of Accept-Language, in lower case as GA4 writes it: `de-DE,de;q=0.9` is `de-de`.
fn first_language<'r>(accepted: &Cow<'r, str>) -> Option<Cow<'r, str>> {
    fn first(accepted: &str) -> &str {
        accepted.split([',', ';']).next().unwrap_or_default().trim()
    }
    let language = match accepted {
        Cow::Borrowed(accepted) => Cow::Borrowed(first(accepted)),
        Cow::Owned(accepted) => Cow::Owned(first(accepted).to_owned()),
    };
    match language.as_ref() {
        "" | "*" => None,
        text if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Some(Cow::Owned(text.to_ascii_lowercase())),
        _ => Some(language),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_accepted_language_counts() {
        for (header, expected) in [
            ("de-DE,de;q=0.9,en;q=0.8", Some("de-de")),
            ("en", Some("en")),
            (" fr ;q=1", Some("fr")),
            ("*", None),
            ("", None),
            (",de", None),
        ] {
            assert_eq!(first_language(&header.into()).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn event_ids_are_version_7_and_differ() {
        let (one, two) = (new_event_id(1_768_476_420_055), new_event_id(1_768_476_420_055));
        assert_ne!(one, two);
        let parsed = uuid::Uuid::parse_str(&one).unwrap();
        assert_eq!(parsed.get_version_num(), 7);
        assert_eq!(parsed.get_timestamp().unwrap().to_unix().0, 1_768_476_420);
    }

    #[test]
    fn a_clock_before_1970_still_gives_ids() {
        assert_ne!(new_event_id(-5), new_event_id(-5));
    }
}
