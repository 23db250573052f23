//! `request` as variables read it: the hit's request without any credential.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use crate::{
    event::{Event, field},
    ingest::{HitRequest, query},
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
    query::pairs(query)
        .take(MAX_QUERY_PARAMETERS)
        .map(|(name, value)| (name, Value::from(value)))
        .collect()
}

fn header_map(headers: &http::HeaderMap) -> Map<'_> {
    headers
        .iter()
        .filter(|(name, _)| !WITHHELD_HEADERS.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((Cow::Borrowed(name.as_str()), Value::from(value.to_str().ok()?))))
        .collect()
}
