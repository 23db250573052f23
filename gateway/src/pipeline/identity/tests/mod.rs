//! Given this hit of a browser, these cookies are set, and this is the event's `client_id`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::string_slice
)]

mod client_id;
mod consent;
mod lines;
mod linker;
mod vendors;

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value as Json, json};
use tagfleet_crds::tagging_container::Identity;

use super::*;
use crate::{
    ingest::{Connection, HitRequest, cookies},
    pipeline::policies::Policies,
    plan::Plan,
    record::ConsentSignal::Granted,
    secret::{Secret, Secrets},
    testing,
};

/// 2026-01-15T11:27:00.055Z.
const NOW_MS: i64 = 1_768_476_420_055;
const NOW: u64 = 1_768_476_420;
/// The client id of gtag's `_ga`.
const CID: &str = "1506821430.1730448757";
/// An FPID of Google's own server, and the client id that stands for it (sheet, section 5).
const FPID: &str = "FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1sb5eqlggvytd8RU8g4%3D.1730448757";
const FPID_ID: &str = "Tptnv8AKG4hqlv/mNTLgwEYr1sb5eqlggvytd8RU8g4=.1730448757";

const ALL_GRANTED: Consent = Consent {
    ad_storage: Granted,
    analytics_storage: Granted,
    ad_user_data: Granted,
    ad_personalization: Granted,
};

/// The key of the linker.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A container with this `identity`.
struct Shop(Plan);

fn shop(identity: Json) -> Shop {
    shop_with_key(identity, None)
}

fn shop_with_key(identity: Json, linker_key: Option<&str>) -> Shop {
    let identity: Identity = serde_json::from_value(identity).unwrap();
    let key = linker_key.map(|key| Secrets::new(Secret::new(key)));
    let mut plan = testing::plan("v1", Vec::new(), Vec::new());
    plan.policies = Arc::new(Policies {
        identity: IdentityPolicy::new(&identity, key.as_ref()),
        ..Policies::default()
    });
    Shop(plan)
}

/// A hit on its way in.
#[derive(Clone)]
struct Hit {
    host: HeaderValue,
    cookies: Option<HeaderValue>,
    connection: Connection,
    consent: Consent,
}

impl Hit {
    fn with(cookies: &str) -> Self {
        Self {
            cookies: Some(cookies.parse().unwrap()),
            ..Self::default()
        }
    }

    fn at(host: &str) -> Self {
        Self {
            host: host.parse().unwrap(),
            ..Self::default()
        }
    }

    fn consent(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }
}

impl Default for Hit {
    fn default() -> Self {
        Self {
            host: HeaderValue::from_static("metrics.shop.example"),
            cookies: None,
            connection: Connection::Visitor,
            consent: ALL_GRANTED,
        }
    }
}

/// What became of a hit's events, and the cookies of its answer.
struct Answer {
    events: Vec<Event<'static>>,
    cookies: Vec<Cookie>,
}

/// A cookie as a browser reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    attributes: BTreeMap<String, String>,
}

impl Cookie {
    /// Reads a line as RFC 6265 section 5.2 says, and insists on what section 4.1.1 lets servers write.
    fn read(line: &str) -> Self {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        assert!(!name.is_empty() && name.bytes().all(token), "{line}");
        let octet = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
        assert!(!value.is_empty() && value.bytes().all(octet), "{line}");
        let mut attributes = BTreeMap::new();
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            assert!(value.bytes().all(octet), "{line}");
            assert_eq!(
                attributes.insert(attribute.to_owned(), value.to_owned()),
                None,
                "{line}"
            );
        }
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            attributes,
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

impl Shop {
    /// The answer to a hit with these events.
    fn answer(&self, hit: &Hit, events: &[Json]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, hit.host.clone());
        if let Some(cookies) = &hit.cookies {
            headers.insert(header::COOKIE, cookies.clone());
        }
        let request = HitRequest {
            received_ms: NOW_MS,
            read_cookies: &self.0.policies.identity.read_cookies,
            ..testing::request(&headers)
        };
        let cookies = cookies::tracking(&headers, request.read_cookies);
        let visit = Visit::of(&self.0, request, hit.connection, cookies);
        let mut decided = Vec::new();
        let events = events.iter().map(|event| {
            let mut event = testing::record(event.clone()).event;
            decided.append(&mut assign(&mut event, &visit, &hit.consent, &self.0.policies.identity));
            event
        });
        let events = events.collect();
        let lines = lines_of_answer(decided);
        Answer {
            events,
            cookies: lines.iter().map(|line| Cookie::read(line.to_str().unwrap())).collect(),
        }
    }
}

impl Answer {
    fn names(&self) -> Vec<&str> {
        self.cookies.iter().map(|cookie| cookie.name.as_str()).collect()
    }

    fn cookie(&self, name: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|cookie| cookie.name == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.cookie(name).map(|cookie| cookie.value.as_str())
    }

    fn client_id(&self) -> Option<&str> {
        self.events[0].text(field::CLIENT_ID)
    }

    fn js_client_id(&self) -> Option<&str> {
        self.events[0].text(field::JS_CLIENT_ID)
    }

    fn fpid(&self) -> Fpid {
        Fpid::parse(self.value("FPID").unwrap()).unwrap()
    }

    /// A cookie in the first event.
    fn in_event(&self, name: &str) -> Option<&str> {
        self.events[0].get(field::COOKIES)?.as_map()?.get(name)?.as_str()
    }
}

fn page_view(client_id: Option<&str>) -> Json {
    let mut event = json!({"event_name": "page_view"});
    if let Some(client_id) = client_id {
        event["client_id"] = client_id.into();
    }
    event
}

fn landing(click_ids: Json) -> Json {
    json!({"event_name": "page_view", "click_ids": click_ids})
}

/// Where a manifest says the linker's key is.
fn secret_ref() -> Json {
    json!({"secretKeyRef": {"name": "shop-secrets", "key": "linker"}})
}
