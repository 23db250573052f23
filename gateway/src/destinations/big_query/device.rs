//! The column `device`: what client hints say, what a server said (Measurement Protocol, `device`), and else what the user
//! agent shows.

use tagfleet_expressions::{Map, Value};

use super::row::{as_text, members};
use crate::event::{Event, field};

/// Browsers by their token in a user agent; the first that is there counts, as most name others beside themselves.
const BROWSERS: [(&str, &str); 9] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Operating systems by their word in a user agent; the first that is there counts.
const SYSTEMS: [(&str, &str); 8] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("CrOS", "Chrome OS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
];

/// The record of an event's device.
pub(super) fn of<'v>(event: &'v Event<'_>) -> Map<'v> {
    let agent = event.text(field::USER_AGENT).unwrap_or_default();
    let hints = event.get(field::CLIENT_HINTS).and_then(Value::as_map);
    let stated = event.get("device").and_then(Value::as_map);
    let member = |map: Option<&'v Map<'_>>, name: &str| {
        let value = map?.get(name).and_then(as_text)?;
        (value.as_str() != Some("")).then_some(value)
    };
    let (hinted, seen) = (hints.and_then(hinted_browser), seen_browser(agent));
    let (browser, version) = hinted.or(seen).unzip();
    let web_info = members([
        ("browser", member(stated, "browser").or(browser.map(Value::from))),
        (
            "browser_version",
            member(stated, "browser_version").or(version.map(Value::from)),
        ),
        ("hostname", event.get(field::PAGE_HOSTNAME).and_then(as_text)),
    ]);
    let category = member(stated, "category").or_else(|| category(hints, agent).map(Value::from));
    let system = member(stated, "operating_system").or_else(|| member(hints, "platform"));
    let mut device = members([
        ("category", category),
        ("mobile_brand_name", member(stated, "brand")),
        (
            "mobile_model_name",
            member(stated, "model").or_else(|| member(hints, "model")),
        ),
        (
            "operating_system",
            system.or_else(|| seen_system(agent).map(Value::from)),
        ),
        (
            "operating_system_version",
            member(stated, "operating_system_version").or_else(|| member(hints, "platform_version")),
        ),
        ("language", event.get(field::LANGUAGE).and_then(as_text)),
    ]);
    if !web_info.is_empty() {
        device.insert("web_info", web_info);
    }
    device
}

/// `desktop`, `mobile` or `tablet`. Tablets say in a hint that they are not mobile, so the user agent is asked first.
fn category(hints: Option<&Map<'_>>, agent: &str) -> Option<&'static str> {
    let is_tablet =
        agent.contains("iPad") || agent.contains("Tablet") || (agent.contains("Android") && !agent.contains("Mobile"));
    let is_mobile = hints
        .and_then(|hints| hints.get("mobile")?.as_bool())
        .unwrap_or_else(|| agent.contains("Mobi"));
    match (is_tablet, is_mobile) {
        (true, _) => Some("tablet"),
        (_, true) => Some("mobile"),
        _ if agent.is_empty() && hints.is_none() => None,
        _ => Some("desktop"),
    }
}

/// The browser's own brand among those of the hints: not the engine's, and not the one that is made up to keep sites from
/// relying on the list.
fn hinted_browser<'v>(hints: &'v Map<'_>) -> Option<(&'v str, &'v str)> {
    let brands = hints.get("full_version_list").and_then(Value::as_list)?;
    let brands = brands.iter().filter_map(|entry| {
        let entry = entry.as_map()?;
        let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
        Some((entry.get("brand")?.as_str()?, version))
    });
    let real: Vec<(&str, &str)> = brands.filter(|(brand, _)| !brand.contains("Not")).collect();
    let own = real
        .iter()
        .find(|(brand, _)| *brand != "Chromium")
        .or_else(|| real.first());
    own.map(|(brand, version)| match *brand {
        "Google Chrome" => ("Chrome", *version),
        "Microsoft Edge" => ("Edge", *version),
        other => (other, *version),
    })
}

fn seen_browser(agent: &str) -> Option<(&'static str, &str)> {
    BROWSERS.iter().find_map(|(token, name)| {
        let (_, version) = agent.split_once(token)?;
        let end = version.find([' ', ';', ')']).unwrap_or(version.len());
        Some((*name, version.get(..end)?))
    })
}

fn seen_system(agent: &str) -> Option<&'static str> {
    SYSTEMS
        .iter()
        .find(|(word, _)| agent.contains(word))
        .map(|(_, name)| *name)
}
