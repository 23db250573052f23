//! `request` as variables read it: the hit's request without any credential.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use tagfleet_expressions::{Map, Value};

use crate::{
    event::{Event, field},
    ingest::HitRequest,
    pipeline::privacy::IpAddressPolicy,
};

/// Headers that never reach an expression, whatever it asks for.
const WITHHELD_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// A request has this many query parameters at the most in an expression's eyes.
const MAX_QUERY_PARAMETERS: usize = 1_000;

/// `host, path, query, headers, cookies, ip`: the query decoded, header names in lower case, the tracking cookies that
/// the event has, the address as the privacy policy leaves it.
#[must_use]
pub fn request_map<'r>(request: &HitRequest<'r>, event: &Event<'r>, policy: IpAddressPolicy) -> Map<'r> {
    let host = request
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let ip = policy
        .apply(request.visitor)
        .map_or(Value::Null, |ip| Value::from(ip.to_string()));
    let cookies = event
        .get(field::COOKIES)
        .cloned()
        .unwrap_or_else(|| Value::Map(Map::new()));
    let mut map = Map::with_capacity(6);
    map.insert("host", host);
    map.insert("path", request.path);
    map.insert("query", query_map(request.query));
    map.insert("headers", header_map(request.headers));
    map.insert("cookies", cookies);
    map.insert("ip", ip);
    map
}

fn query_map(query: &str) -> Map<'_> {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .take(MAX_QUERY_PARAMETERS)
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name), Value::from(decode(value)))
        })
        .collect()
}

fn header_map(headers: &http::HeaderMap) -> Map<'_> {
    headers
        .iter()
        .filter(|(name, _)| !WITHHELD_HEADERS.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((Cow::Borrowed(name.as_str()), Value::from(value.to_str().ok()?))))
        .collect()
}

/// Form decoding (WHATWG URL, application/x-www-form-urlencoded); what is no UTF-8 becomes U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}
