//! User-agent client hints: `uaa`, `uab`, `uafvl`, … (vendors/ga4-collect.md, Client hints).

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use crate::ingest::query::decode;

/// `mobile` and `wow64`: `1` or `0`; any other text stays text.
pub(super) fn flag(text: Cow<'_, str>) -> Value<'_> {
    match text.as_ref() {
        "1" | "true" => Value::Bool(true),
        "0" | "false" => Value::Bool(false),
        _ => Value::String(text),
    }
}

/// `uafvl`, already decoded once with the query: `Brand;version|Brand;version`, each encoded a second time. Gives
/// `brands` (major versions) and `full_version_list`.
pub(super) fn versions(text: &str) -> (Value<'static>, Value<'static>) {
    // gtag.js escapes brand and version; the npm library ga4mp escapes the whole list, separators and all.
    let text = if text.contains(';') {
        Cow::Borrowed(text)
    } else {
        decode(text)
    };
    let entries = text.split('|').filter(|entry| !entry.is_empty());
    let (brands, full) = entries
        .map(|entry| {
            let (brand, version) = entry.rsplit_once(';').unwrap_or((entry, ""));
            let (brand, version) = (decode(brand), decode(version));
            let major = version.split_once('.').map_or(version.as_ref(), |(major, _)| major);
            (entry_of(&brand, major), entry_of(&brand, &version))
        })
        .unzip();
    (Value::List(brands), Value::List(full))
}

fn entry_of(brand: &str, version: &str) -> Value<'static> {
    Value::Map(Map::from_unique(vec![
        (Cow::Borrowed("brand"), Value::from(brand.to_owned())),
        (Cow::Borrowed("version"), Value::from(version.to_owned())),
    ]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn full(text: &str) -> serde_json::Value {
        serde_json::to_value(versions(text).1).unwrap()
    }

    #[test]
    fn brands_are_decoded_a_second_time() {
        let (brands, full) = versions("Chromium;142.0.1.2|Google%20Chrome;142.0.1.2");
        assert_eq!(
            serde_json::to_value(full).unwrap(),
            json!([{"brand": "Chromium", "version": "142.0.1.2"}, {"brand": "Google Chrome", "version": "142.0.1.2"}])
        );
        assert_eq!(
            serde_json::to_value(brands).unwrap(),
            json!([{"brand": "Chromium", "version": "142"}, {"brand": "Google Chrome", "version": "142"}])
        );
    }

    #[test]
    fn a_list_that_was_escaped_as_a_whole_is_read_too() {
        assert_eq!(
            full("Not%3AA-Brand%3B8.0.0.0%7CGoogle%20Chrome%3B156.0.1.2"),
            json!([{"brand": "Not:A-Brand", "version": "8.0.0.0"}, {"brand": "Google Chrome", "version": "156.0.1.2"}])
        );
    }

    #[test]
    fn greased_brands_keep_their_signs() {
        assert_eq!(
            full("Not%3BA%3DBrand;99.0"),
            json!([{"brand": "Not;A=Brand", "version": "99.0"}])
        );
        assert_eq!(full("Chromium"), json!([{"brand": "Chromium", "version": ""}]));
        assert_eq!(full("|"), json!([]));
    }

    #[test]
    fn flags_are_booleans() {
        assert_eq!(flag("1".into()), Value::Bool(true));
        assert_eq!(flag("0".into()), Value::Bool(false));
        assert_eq!(flag("".into()), Value::from(""));
    }
}
