//! Identity: the visitor's `client_id` and the cookies that the server sets, with the consent that each needs.

mod browser;
mod click_ids;
mod cookies_table;
mod fpid;
mod linker;
mod policy;
mod set_cookie;

pub use self::{
    browser::Browser,
    linker::LinkerKeys,
    policy::IdentityPolicy,
    set_cookie::{SetCookie, lines_of_answer},
};

use self::{click_ids::remember, fpid::Fpid, policy::VisitorId};
use super::visit::Visit;
use crate::{
    event::{Event, field},
    record::Consent,
};

/// Where a GA4 hit's system parameters are; `_fplc` is one of them.
const SYSTEM_PROPERTIES: &str = "x-ga-system_properties";

/// Resolves the visitor's `client_id`, and says which cookies the answer sets once the event is stored. An event of a
/// server stays as it is, and sets nothing.
#[must_use]
pub fn assign(event: &mut Event<'_>, visit: &Visit<'_>, consent: &Consent, policy: &IdentityPolicy) -> Vec<SetCookie> {
    let mut set = Vec::new();
    let Some(browser) = &visit.browser else {
        return set;
    };
    let now_ms = visit.request.received_ms;
    if let Some(visitor_id) = policy.visitor_id.as_ref().filter(|id| id.rule.is_allowed(consent)) {
        let now = u64::try_from(now_ms.div_euclid(1_000)).unwrap_or_default();
        visitor_id.assign(event, browser, consent, now, &mut set);
    }
    click_ids::assign(event, browser, consent, now_ms, &policy.vendor_cookies, &mut set);
    set
}

impl VisitorId {
    /// Sheet, section 5. As long as the browser's own client id is the one that FPID was made from, that stays the
    /// `client_id`; otherwise FPID is.
    fn assign(
        &self,
        event: &mut Event<'_>,
        browser: &Browser<'_>,
        consent: &Consent,
        now: u64,
        set: &mut Vec<SetCookie>,
    ) {
        let own = event.text(field::CLIENT_ID).filter(|own| !own.is_empty());
        let known = browser.cookie(self.rule.name()).and_then(Fpid::parse);
        let found = known.or_else(|| self.linked(event, now).filter(|_| self.rule.is_set()));
        let made = || {
            let random = browser.random().visitor_id;
            let made = own.map_or(Fpid::new(random, now), |own| Fpid::made_from(own, random, now));
            self.rule.is_set().then_some(made)
        };
        let Some(fpid) = found.or_else(made) else {
            return;
        };
        // A new one was made from it just now.
        let own_stays = self.migrates && own.is_some_and(|own| found.is_none() || fpid.is_made_from(own));
        if !own_stays {
            let client_id = fpid.client_id();
            if let Some(own) = own.filter(|own| *own != client_id).map(str::to_owned) {
                event.set(field::JS_CLIENT_ID, own);
            }
            event.set(field::CLIENT_ID, client_id);
        }
        self.keep(event, &fpid, browser, consent, now, set);
    }

    /// The visitor of the site from which a link led here.
    fn linked(&self, event: &Event<'_>, now: u64) -> Option<Fpid> {
        let linker = self.linker.as_ref()?;
        let token = event.get(SYSTEM_PROPERTIES)?.as_map()?.get("fplc")?.as_str()?;
        linker.keys.open(token, now)
    }

    /// Sets FPID, so that it lives on, and FPLC beside it.
    fn keep(
        &self,
        event: &mut Event<'_>,
        fpid: &Fpid,
        browser: &Browser<'_>,
        consent: &Consent,
        now: u64,
        set: &mut Vec<SetCookie>,
    ) {
        if self.rule.is_set() {
            let value = fpid.cookie(self.rule.labels(browser));
            if let Some(cookie) = self.rule.set(&value, browser) {
                set.push(cookie);
                remember(event, self.rule.name().to_owned().into(), value);
            }
        }
        if let Some(linker) = &self.linker
            && linker.rule.is_set()
            && linker.rule.is_allowed(consent)
        {
            let end = now.saturating_add(linker.rule.max_age_seconds().into());
            let token = linker.keys.seal(fpid, end);
            set.extend(token.and_then(|token| linker.rule.set(&token, browser)));
        }
    }
}

#[cfg(test)]
mod tests;
