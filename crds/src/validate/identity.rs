//! The checks of `identity`.

use super::Report;
use crate::{
    FieldPath, TaggingContainerSpec,
    conditions::reasons,
    tagging_container::{CLICK_ID_COOKIES, CookieSettings, Identity, IdentityCookie, LINKER_COOKIE},
};

/// Browsers cut a longer life (RFC 6265bis section 5.5).
const MAX_AGE_DAYS: u32 = 400;

/// Checks `identity` of a container.
pub(super) fn check(spec: &TaggingContainerSpec, report: &mut Report) {
    let Some(identity) = &spec.identity else { return };
    let at = FieldPath::spec().field("identity");
    if let Some(cookie) = &identity.cookie {
        let at = at.field("cookie");
        own_name(identity, cookie, &at, report);
        max_age(cookie.max_age_days, &at, report);
    } else if identity.linker.is_some() {
        let message = "needs identity.cookie: there is no client_id to carry over without it";
        report.error(at.field("linker"), reasons::INVALID, message);
    }
    let list = at.field("cookies");
    report.repeated(&list, identity.cookies.iter().map(|cookie| cookie.name.as_str()));
    for (index, settings) in identity.cookies.iter().enumerate() {
        let at = list.index(index);
        if let Some(days) = settings.max_age_days {
            max_age(days, &at, report);
        }
        domain(spec, settings, &at, report);
        if !sets(identity, &settings.name) {
            let message = format!("no effect: this container does not set the cookie {}", settings.name);
            report.warning(at.field("name"), reasons::NO_EFFECT, message);
        }
    }
}

/// Two cookies of one name would overwrite each other with every hit.
fn own_name(identity: &Identity, cookie: &IdentityCookie, at: &FieldPath, report: &mut Report) {
    let name = cookie.name.as_str();
    let is_vendors = identity.click_ids && CLICK_ID_COOKIES.contains(&name);
    if is_vendors || (name == LINKER_COOKIE && identity.linker.is_some()) {
        let message = format!("the server sets another cookie of the name {name}");
        report.error(at.field("name"), reasons::DUPLICATE, message);
    }
}

fn max_age(days: u32, at: &FieldPath, report: &mut Report) {
    if !(1..=MAX_AGE_DAYS).contains(&days) {
        let message = format!("must be 1 to {MAX_AGE_DAYS}: browsers cut a longer life");
        report.error(at.field("maxAgeDays"), reasons::INVALID, message);
    }
}

/// A browser takes no cookie for a domain that the host is not of (RFC 6265 section 5.3).
fn domain(spec: &TaggingContainerSpec, settings: &CookieSettings, at: &FieldPath, report: &mut Report) {
    let Some(domain) = &settings.domain else { return };
    let is_of = |hostname: &String| {
        let hostname = hostname.strip_prefix("*.").unwrap_or(hostname);
        hostname
            .strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if !spec.hostnames.is_empty() && !spec.hostnames.iter().any(is_of) {
        let message = format!("none of the hostnames is {domain} or below it: no browser would take the cookie");
        report.error(at.field("domain"), reasons::INVALID, message);
    }
}

/// Whether the container sets a cookie of this name, or would without `set: false`.
fn sets(identity: &Identity, name: &str) -> bool {
    identity.cookie.as_ref().is_some_and(|cookie| cookie.name == name)
        || (identity.linker.is_some() && name == LINKER_COOKIE)
        || (identity.click_ids && CLICK_ID_COOKIES.contains(&name))
}
