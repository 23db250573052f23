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
    let known = Known::of(event, browser);
    let decide = |cookie: &VendorCookie| {
        let is_allowed = cookie.rule.is_allowed(consent);
        let decision = is_allowed.then(|| cookie.decide(&known, now_ms)).flatten()?;
        let line = cookie.rule.set(decision.value(), browser)?;
        Some((cookie.row.name, decision, line))
    };
    let decided: Vec<_> = cookies.iter().filter_map(decide).collect();
    let mut prolonged = Vec::new();
    for (name, decision, line) in decided {
        let (value, list) = match decision {
            Decision::New(value) => (value, &mut *set),
            Decision::Prolong(value) => (value, &mut prolonged),
        };
        list.push(line);
        remember(event, name.into(), value);
    }
    set.append(&mut prolonged);
}

/// What is known of an event's cookies and click ids before any is set.
struct Known<'k> {
    click_ids: Option<&'k Map<'k>>,
    cookies: Option<&'k Map<'k>>,
    browser: &'k Browser<'k>,
    /// One bit for each cookie's name, by [`bit`]: most of the table's cookies are not there.
    bits: u64,
    /// Whether cookies that are there are set again.
    prolongs: bool,
}

impl<'k> Known<'k> {
    fn of(event: &'k Event<'_>, browser: &'k Browser<'_>) -> Self {
        let object = |name| event.get(name).and_then(Value::as_map);
        let cookies = object(field::COOKIES);
        let names = cookies.into_iter().chain([browser.cookies()]).flat_map(Map::iter);
        Self {
            click_ids: object(field::CLICK_IDS),
            cookies,
            browser,
            bits: names.fold(0, |bits, (name, _)| bits | bit(name)),
            prolongs: event.name() == PROLONGS,
        }
    }

    fn click_id(&self, name: &str) -> Option<&'k str> {
        member(self.click_ids, name)
    }

    /// What the event itself says of its browser counts before what came with the request, which may be a server's.
    fn cookie(&self, name: &str) -> Option<&'k str> {
        if self.bits & bit(name) == 0 {
            return None;
        }
        member(self.cookies, name).or_else(|| self.browser.cookie(name))
    }
}

/// The bit of a name, by its length and last byte.
fn bit(name: &str) -> u64 {
    let last = name.bytes().next_back().unwrap_or_default();
    1 << ((name.len() * 5 + usize::from(last)) % 64)
}

/// A member of an object, if it is text and not empty.
fn member<'k>(object: Option<&'k Map<'k>>, name: &str) -> Option<&'k str> {
    object?.get(name)?.as_str().filter(|value| !value.is_empty())
}

impl Decision {
    fn value(&self) -> &str {
        match self {
            Self::New(value) | Self::Prolong(value) => value,
        }
    }
}

impl VendorCookie {
    fn decide(&self, known: &Known<'_>, now_ms: i64) -> Option<Decision> {
        let browser = known.browser;
        let cookie = known.cookie(self.row.name);
        let moment = || Moment {
            now_ms,
            labels: self.rule.labels(browser),
        };
        let new = match self.row.source {
            Source::Click(parameter, form) => known
                .click_id(parameter)
                .filter(|id| id.len() <= MAX_ID_BYTES && is_cookie_value(id))
                .filter(|id| cookie.is_none_or(|cookie| !form.holds(cookie, id)))
                .and_then(|id| form.write(id, moment())),
            Source::Browser(form) => cookie.is_none().then(|| form.write(browser.random(), moment())),
        };
        match (new, cookie) {
            (Some(value), _) => Some(Decision::New(value)),
            (None, Some(cookie)) if known.prolongs => Some(Decision::Prolong(cookie.to_owned())),
            _ => None,
        }
    }
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
