//! `identity` of a container, compiled.

use tagfleet_crds::tagging_container::{ConsentSignal as Signal, Identity, LINKER_COOKIE};

use super::{
    click_ids::{VendorCookie, vendor_cookies},
    linker::LinkerKeys,
    set_cookie::{CookieRule, Defaults, SECONDS_PER_DAY},
};
use crate::{name_patterns::NamePatterns, secret::Secrets};

/// FPLC lives so long (vendors/ga4-collect.md section 5).
const LINKER_SECONDS: u32 = 20 * 3_600;

/// `identity`.
#[derive(Clone, Debug, Default)]
pub struct IdentityPolicy {
    /// The cookies that enter the event beside the known tracking cookies.
    pub read_cookies: NamePatterns,
    pub(super) visitor_id: Option<VisitorId>,
    pub(super) vendor_cookies: Vec<VendorCookie>,
}

/// `identity.cookie` with `identity.linker`.
#[derive(Clone, Debug)]
pub(super) struct VisitorId {
    pub(super) rule: CookieRule,
    pub(super) migrates: bool,
    pub(super) linker: Option<Linker>,
}

/// `identity.linker`.
#[derive(Clone, Debug)]
pub(super) struct Linker {
    pub(super) rule: CookieRule,
    pub(super) keys: LinkerKeys,
}

impl IdentityPolicy {
    /// From the container's spec; `linker_key` is the Secret of `identity.linker`.
    #[must_use]
    pub fn new(identity: &Identity, linker_key: Option<&Secrets>) -> Self {
        let settings = &identity.cookies;
        let rule = |name: &str, max_age_seconds: u32, http_only: bool| {
            let defaults = Defaults {
                name,
                max_age_seconds,
                http_only,
                consent: Signal::AnalyticsStorage,
            };
            CookieRule::new(defaults, settings)
        };
        let visitor_id = identity.cookie.as_ref().map(|cookie| VisitorId {
            rule: rule(&cookie.name, cookie.max_age_days.saturating_mul(SECONDS_PER_DAY), true),
            migrates: cookie.migrate_from_js_client_id,
            linker: linker_key.map(|key| Linker {
                // gtag's linker reads it.
                rule: rule(LINKER_COOKIE, LINKER_SECONDS, false),
                keys: LinkerKeys::new(key),
            }),
        });
        let vendor_cookies = if identity.click_ids {
            vendor_cookies(settings)
        } else {
            Vec::new()
        };
        let own = identity.cookie.iter().map(|cookie| cookie.name.as_str());
        Self {
            read_cookies: NamePatterns::new(identity.read_cookies.iter().map(String::as_str).chain(own)),
            visitor_id,
            vendor_cookies,
        }
    }

    /// Whether any cookie is read or set for a visitor.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.visitor_id.is_some() || !self.vendor_cookies.is_empty()
    }
}
