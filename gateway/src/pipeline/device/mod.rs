//! The visitor's device: what the event itself states, what client hints say, and else what the user agent shows. Browsers
//! have frozen parts of their user agents (<https://www.chromium.org/updates/ua-reduction/>), so hints win over those.

mod agent;

use std::{borrow::Cow, sync::Arc};

use tagfleet_expressions::{Map, Value};

use self::agent::{Agent, Form};
use crate::event::{Event, field};

/// A device as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device<'e> {
    /// `desktop`, `mobile`, `tablet`, `bot` or `other`.
    pub category: Option<Cow<'e, str>>,
    /// `Chrome`, `Safari`, ...
    pub browser: Option<Cow<'e, str>>,
    /// All of it that is told, `142.0.1.3`.
    pub browser_version: Option<Cow<'e, str>>,
    /// `Windows`, `macOS`, `iOS`, ...
    pub operating_system: Option<Cow<'e, str>>,
    /// `18.1`.
    pub operating_system_version: Option<Cow<'e, str>>,
    /// `Apple`, `Samsung`, ...
    pub brand: Option<Cow<'e, str>>,
    /// `iPhone`, `SM-S908B`, ...
    pub model: Option<Cow<'e, str>>,
}

/// Loads what user agents are parsed with. It takes a third of a second and 25 MB, so whoever knows that it will be needed
/// does it before the first hit; else the first event that needs it does.
pub fn prepare() {
    agent::prepare();
}

/// The device of an event, member by member: stated in its `device` before hinted in its `client_hints` before shown by its
/// `user_agent`.
#[must_use]
pub fn of<'e>(event: &'e Event<'_>) -> Device<'e> {
    let agent = agent_of(event);
    let owned = |part: Option<Cow<'_, str>>| part.map(|part| Cow::Owned(part.into_owned()));
    let known = known(event, &agent);
    Device {
        category: owned(known.category),
        browser: owned(known.browser),
        browser_version: owned(known.browser_version),
        operating_system: owned(known.operating_system),
        operating_system_version: owned(known.operating_system_version),
        brand: owned(known.brand),
        model: owned(known.model),
    }
}

/// Sets `event.device`: what it states already stays, and the rest is added. A custom parameter of that name that is no
/// device at all is kept as `x_device`.
pub fn enrich(event: &mut Event<'_>) {
    let agent = agent_of(event);
    if event.get(field::CLIENT_HINTS).is_none() && event.get(field::DEVICE).is_none() {
        if !agent.device.is_empty() {
            event.set(field::DEVICE, agent.device.clone());
        }
        return;
    }
    let known = known(event, &agent).members();
    let known = known.map(|(name, value)| (Cow::Borrowed(name), Value::from(value.into_owned())));
    let known: Vec<_> = known.collect();
    let device = match event.remove(field::DEVICE) {
        Some(Value::Map(mut stated)) => {
            for (name, value) in known {
                stated.insert(name, value);
            }
            stated
        }
        Some(other) => {
            event.set("x_device", other);
            Map::from_unique(known)
        }
        None => Map::from_unique(known),
    };
    if !device.is_empty() {
        event.set(field::DEVICE, device);
    }
}

/// What the event's user agent shows.
fn agent_of(event: &Event<'_>) -> Arc<Agent> {
    Agent::of(event.text(field::USER_AGENT).unwrap_or_default().trim())
}

/// The device of an event with this user agent.
fn known<'e>(event: &'e Event<'_>, agent: &'e Agent) -> Device<'e> {
    let hints = event.get(field::CLIENT_HINTS).and_then(Value::as_map);
    let derived = derived(hints, agent);
    match event.get(field::DEVICE).and_then(Value::as_map) {
        Some(stated) => derived.unless_stated(stated),
        None => derived,
    }
}

/// What client hints say, and else a user agent shows.
fn derived<'e>(hints: Option<&'e Map<'_>>, agent: &'e Agent) -> Device<'e> {
    let shown = |part: &'e Option<Box<str>>| part.as_deref().map(Cow::Borrowed);
    let hinted = hints.and_then(hinted_browser);
    let (browser, browser_version) = match hinted {
        Some((browser, version)) => (Some(browser.into()), filled(version).map(Cow::Borrowed)),
        None => (shown(&agent.browser), shown(&agent.browser_version)),
    };
    let platform = hints.and_then(|hints| member(hints, "platform"));
    let operating_system = platform.clone().or_else(|| shown(&agent.operating_system));
    let is_shown = operating_system.as_deref() == agent.operating_system.as_deref();
    let version_shown = shown(&agent.operating_system_version).filter(|_| is_shown);
    let version_hinted = hints.and_then(|hints| member(hints, "platform_version"));
    Device {
        category: category(hints, agent).map(Cow::Borrowed),
        browser,
        browser_version,
        operating_system_version: version_hinted
            .and_then(|version| match platform.as_deref() {
                Some("Windows") => windows_version(&version).map(Cow::Borrowed),
                _ => Some(version),
            })
            .or(version_shown),
        operating_system,
        brand: shown(&agent.brand),
        model: hints
            .and_then(|hints| member(hints, "model"))
            .or_else(|| shown(&agent.model)),
    }
}

impl<'e> Device<'e> {
    /// The members that are known, by their names in `event.device`.
    fn members(self) -> impl Iterator<Item = (&'static str, Cow<'e, str>)> + use<'e> {
        let members = [
            ("category", self.category),
            ("browser", self.browser),
            ("browser_version", self.browser_version),
            ("operating_system", self.operating_system),
            ("operating_system_version", self.operating_system_version),
            ("brand", self.brand),
            ("model", self.model),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// With what is stated in the place of what was derived. A browser or system that is stated brings its own version.
    fn unless_stated(self, stated: &'e Map<'_>) -> Self {
        let stated = |name| member(stated, name);
        let version_of =
            |thing: &Option<Cow<'e, str>>, version: Option<Cow<'e, str>>, derived: Option<Cow<'e, str>>| {
                version.or_else(|| derived.filter(|_| thing.is_none()))
            };
        let (browser, operating_system) = (stated("browser"), stated("operating_system"));
        Self {
            category: stated("category").or(self.category),
            browser_version: version_of(&browser, stated("browser_version"), self.browser_version),
            browser: browser.or(self.browser),
            operating_system_version: version_of(
                &operating_system,
                stated("operating_system_version"),
                self.operating_system_version,
            ),
            operating_system: operating_system.or(self.operating_system),
            brand: stated("brand").or(self.brand),
            model: stated("model").or(self.model),
        }
    }
}

/// A text that is not empty, or a number as text.
fn member<'v>(map: &'v Map<'_>, name: &str) -> Option<Cow<'v, str>> {
    match map.get(name)? {
        Value::String(text) => filled(text).map(Cow::Borrowed),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        Value::Uint(number) => Some(Cow::Owned(number.to_string())),
        Value::Double(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Tablets say in a hint that they are not mobile, so what the user agent shows of one is asked first.
fn category(hints: Option<&Map<'_>>, agent: &Agent) -> Option<&'static str> {
    let is_mobile = hints.and_then(|hints| hints.get("mobile")?.as_bool());
    match (agent.form, is_mobile) {
        (Some(Form::Bot), _) => Some("bot"),
        (Some(Form::Television), _) => Some("other"),
        (Some(Form::Tablet), _) => Some("tablet"),
        (_, Some(true)) | (Some(Form::Mobile), None) => Some("mobile"),
        (_, Some(false)) | (Some(Form::Desktop), None) => Some("desktop"),
        (Some(Form::Unknown), None) => Some("other"),
        (None, None) => None,
    }
}

/// The browser's own brand among those of the hints: not the engine's, and not the one that is made up to keep sites from
/// relying on the list (<https://wicg.github.io/ua-client-hints/#grease>).
fn hinted_browser<'v>(hints: &'v Map<'_>) -> Option<(&'v str, &'v str)> {
    let brands = hints.get("full_version_list").or_else(|| hints.get("brands"))?;
    let brands = brands.as_list()?.iter().filter_map(|entry| {
        let entry = entry.as_map()?;
        let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
        Some((entry.get("brand")?.as_str()?, version))
    });
    let mut engine = None;
    for (brand, version) in brands.filter(|(brand, _)| !brand.contains("Not")) {
        match brand {
            "Chromium" => engine = Some((brand, version)),
            "Google Chrome" => return Some(("Chrome", version)),
            "Microsoft Edge" => return Some(("Edge", version)),
            other => return Some((other, version)),
        }
    }
    engine
}

/// The hint counts Windows by the version of an interface
/// (<https://learn.microsoft.com/microsoft-edge/web-platform/how-to-detect-win11>): 13 and later is Windows 11, 1 to 10 is
/// Windows 10, 0 an older one.
fn windows_version(hint: &str) -> Option<&'static str> {
    let major: u32 = hint.split('.').next()?.parse().ok()?;
    match major {
        0 => None,
        1..13 => Some("10"),
        _ => Some("11"),
    }
}

#[cfg(test)]
mod tests;
