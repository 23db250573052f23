//! One `Set-Cookie` line (RFC 6265 section 4.1): a cookie's settings, compiled, and what they make of a value.

use std::sync::Arc;

use http::HeaderValue;
use tagfleet_crds::tagging_container::{ConsentSignal as Signal, CookieSettings, SameSite};

use super::browser::Browser;
use crate::record::{Consent, ConsentSignal};

pub(super) const SECONDS_PER_DAY: u32 = 86_400;

/// A longer value is not set: no vendor's is, and a browser takes 4,096 bytes with the attributes.
const MAX_VALUE_BYTES: usize = 600;

/// All `Set-Cookie` lines of one answer together. Proxies put a bound on an answer's headers; nginx's default is 4 KiB.
const MAX_ANSWER_BYTES: usize = 3_072;

/// How a cookie is set where `identity.cookies` does not say otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults<'n> {
    pub(super) name: &'n str,
    pub(super) max_age_seconds: u32,
    pub(super) http_only: bool,
    pub(super) consent: Signal,
}

/// How a cookie is set.
#[derive(Clone, Debug)]
pub(super) struct CookieRule {
    name: Arc<str>,
    /// Whether it is set at all.
    is_set: bool,
    max_age_seconds: u32,
    /// All attributes but `Domain`, each with `; ` before it.
    attributes: String,
    domain: Option<Box<str>>,
    consent: Vec<Signal>,
}

impl CookieRule {
    /// The defaults with what the container says of this cookie. Always `Secure`: a browser takes `SameSite=None` only so
    /// (RFC 6265bis section 5.7), and takes loopback for secure without TLS.
    pub(super) fn new(defaults: Defaults<'_>, all: &[CookieSettings]) -> Self {
        let settings = all.iter().find(|settings| settings.name == defaults.name);
        let max_age_seconds = settings
            .and_then(|settings| settings.max_age_days)
            .map_or(defaults.max_age_seconds, |days| days.saturating_mul(SECONDS_PER_DAY));
        let http_only = settings
            .and_then(|settings| settings.http_only)
            .unwrap_or(defaults.http_only);
        let same_site = match settings.and_then(|settings| settings.same_site).unwrap_or_default() {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let http_only = if http_only { "; HttpOnly" } else { "" };
        Self {
            name: defaults.name.into(),
            is_set: settings.and_then(|settings| settings.set).unwrap_or(true),
            max_age_seconds,
            attributes: format!("; Max-Age={max_age_seconds}; Path=/; Secure{http_only}; SameSite={same_site}"),
            domain: settings.and_then(|settings| settings.domain.as_deref()).map(Box::from),
            consent: settings
                .and_then(|settings| settings.consent.clone())
                .unwrap_or_else(|| vec![defaults.consent]),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the server sets this cookie.
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    /// How long it lives.
    pub(super) const fn max_age_seconds(&self) -> u32 {
        self.max_age_seconds
    }

    /// Whether the visitor agreed to all that it needs; what nobody said is no agreement.
    pub(super) fn is_allowed(&self, consent: &Consent) -> bool {
        self.consent
            .iter()
            .all(|signal| consent.state(*signal) == ConsentSignal::Granted)
    }

    /// The domain that it is set on: the one configured if the request's host is of it, which browsers insist on, else the
    /// registrable domain of the host; none if it has none.
    pub(super) fn domain<'d>(&'d self, browser: &'d Browser<'_>) -> Option<&'d str> {
        let configured = self.domain.as_deref().filter(|domain| browser.is_of(domain));
        configured.or_else(|| browser.registrable_domain())
    }

    /// The labels of the domain that it is set on, which some values name.
    pub(super) fn labels(&self, browser: &Browser<'_>) -> usize {
        self.domain(browser)
            .map_or_else(|| browser.labels(), |domain| domain.split('.').count())
    }

    /// The line that sets this value; none if it is no value of a cookie.
    pub(super) fn set(&self, value: &str, browser: &Browser<'_>) -> Option<SetCookie> {
        if !is_cookie_value(value) {
            return None;
        }
        let (attribute, domain) = self.domain(browser).map_or(("", ""), |domain| ("; Domain=", domain));
        let line = [&*self.name, "=", value, &self.attributes, attribute, domain].concat();
        Some(SetCookie {
            name: Arc::clone(&self.name),
            line: HeaderValue::try_from(line).ok()?,
        })
    }
}

/// A cookie that an answer sets.
#[derive(Clone, Debug)]
pub struct SetCookie {
    name: Arc<str>,
    line: HeaderValue,
}

impl SetCookie {
    /// The cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The `Set-Cookie` lines of one answer: of each cookie what the first event decided, and no more in all than proxies
/// let pass. What is left out is set by a later hit.
#[must_use]
pub fn lines_of_answer(decided: impl IntoIterator<Item = SetCookie>) -> Vec<HeaderValue> {
    let mut cookies: Vec<SetCookie> = Vec::new();
    let mut bytes = 0;
    for cookie in decided {
        let is_new = cookies.iter().all(|known| known.name != cookie.name);
        if is_new && bytes + cookie.line.len() <= MAX_ANSWER_BYTES {
            bytes += cookie.line.len();
            cookies.push(cookie);
        }
    }
    cookies.into_iter().map(|cookie| cookie.line).collect()
}

/// Whether a text may be a cookie's value as it is: `cookie-octet`s (RFC 6265 section 4.1.1), some, and not too many.
pub(super) fn is_cookie_value(text: &str) -> bool {
    let octet = |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.bytes().all(octet)
}
