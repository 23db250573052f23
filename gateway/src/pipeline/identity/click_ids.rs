//! The vendors' cookies: click ids of the landing URL, browser ids where there are none, and a longer life for those that
//! are there.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use super::{
    browser::Browser,
    cookies_table::{Moment, Row, Source, TABLE},
    set_cookie::{CookieRule, Defaults, SECONDS_PER_DAY, SetCookie, is_cookie_value},
};
use crate::{
    event::{Event, field},
    record::Consent,
};
use tagfleet_crds::tagging_container::{ConsentSignal as Signal, CookieSettings};

/// Longer texts are no click ids.
const MAX_ID_BYTES: usize = 512;

/// On this event cookies that are there are set again, so that they live on.
const PROLONGS: &str = "page_view";

/// One of the vendors' cookies with its settings.
#[derive(Clone, Debug)]
pub(super) struct VendorCookie {
    row: Row,
    rule: CookieRule,
}

/// Those of the vendors' cookies that this container sets.
pub(super) fn vendor_cookies(settings: &[CookieSettings]) -> Vec<VendorCookie> {
    let cookies = TABLE.into_iter().map(|row| {
        let defaults = Defaults {
            name: row.name,
            max_age_seconds: row.days * SECONDS_PER_DAY,
            http_only: row.http_only,
            consent: Signal::AdStorage,
        };
        VendorCookie {
            row,
            rule: CookieRule::new(defaults, settings),
        }
    });
    cookies.filter(|cookie| cookie.rule.is_set()).collect()
}

/// What becomes of one cookie.
enum Decision {
    /// It gets this value.
    New(String),
    /// It keeps its value, and its life begins anew.
    Prolong(String),
}

/// Decides on every cookie that the visitor's consent allows. What is set is in `event.cookies` at once. New values come
/// first: if an answer has no room for all, a longer life can wait.
pub(super) fn assign(
    event: &mut Event<'_>,
    browser: &Browser<'_>,
    consent: &Consent,
    now_ms: i64,
    cookies: &[VendorCookie],
    set: &mut Vec<SetCookie>,
) {
    let mut prolonged = Vec::new();
    for cookie in cookies {
        if !cookie.rule.is_allowed(consent) {
            continue;
        }
        let (value, list) = match cookie.decide(event, browser, now_ms) {
            Some(Decision::New(value)) => (value, &mut *set),
            Some(Decision::Prolong(value)) => (value, &mut prolonged),
            None => continue,
        };
        if let Some(line) = cookie.rule.set(&value, browser) {
            list.push(line);
            remember(event, cookie.row.name.into(), value);
        }
    }
    set.append(&mut prolonged);
}

impl VendorCookie {
    fn decide(&self, event: &Event<'_>, browser: &Browser<'_>, now_ms: i64) -> Option<Decision> {
        let name = self.row.name;
        // What the event itself says of its browser counts before what came with the request, which may be a server's.
        let known = member(event, field::COOKIES, name).or_else(|| browser.cookie(name));
        let moment = || Moment {
            now_ms,
            labels: self.rule.labels(browser),
        };
        let new = match self.row.source {
            Source::Click(parameter, form) => member(event, field::CLICK_IDS, parameter)
                .filter(|id| id.len() <= MAX_ID_BYTES && is_cookie_value(id))
                .filter(|id| known.is_none_or(|known| !form.holds(known, id)))
                .and_then(|id| form.write(id, moment())),
            Source::Browser(form) => known.is_none().then(|| form.write(browser.random(name), moment())),
        };
        match (new, known) {
            (Some(value), _) => Some(Decision::New(value)),
            (None, Some(known)) if event.name() == PROLONGS => Some(Decision::Prolong(known.to_owned())),
            _ => None,
        }
    }
}

/// A member of one of the event's objects, if it is text and not empty.
fn member<'e>(event: &'e Event<'_>, object: &str, name: &str) -> Option<&'e str> {
    let value = event.get(object)?.as_map()?.get(name)?.as_str();
    value.filter(|value| !value.is_empty())
}

/// Puts a cookie into `event.cookies`.
pub(super) fn remember<'a>(event: &mut Event<'a>, name: Cow<'a, str>, value: String) {
    match event.fields_mut().get_mut(field::COOKIES) {
        Some(Value::Map(cookies)) => {
            cookies.insert(name, value);
        }
        _ => event.set(field::COOKIES, Map::from_unique(vec![(name, value.into())])),
    }
}
