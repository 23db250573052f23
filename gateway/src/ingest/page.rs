//! What a page's URL says: its host, its path and the click ids with which an advertisement sent the visitor there.

use std::borrow::Cow;

use tagfleet_expressions::Map;

use super::query;

/// The parts of an absolute URL that the event keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page<'u> {
    /// The host without user, port and brackets' contents changed; as written.
    pub(super) hostname: &'u str,
    /// The path, `/` when there is none; as written.
    pub(super) path: &'u str,
    /// The query without `?`.
    pub(super) query: &'u str,
}

impl<'u> Page<'u> {
    /// Cuts an absolute URL; none if it is not one. Nothing is checked or normalised: the URL came from a browser that
    /// shows this page, and what it says is kept as it says it.
    pub(super) fn parse(url: &'u str) -> Option<Self> {
        let (_scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
        let hostname = match host.split_once(']') {
            Some((address, _port)) => address.strip_prefix('[').unwrap_or(address),
            None => host.split_once(':').map_or(host, |(name, _port)| name),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some(Self {
            hostname,
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }

    /// The host in lower case, as names are compared.
    pub(super) fn lowercase_hostname(&self) -> String {
        self.hostname.to_ascii_lowercase()
    }

    /// The click ids in the query; the last of a repeated one. Empty values are none.
    pub(super) fn click_ids(&self) -> Map<'static> {
        let mut ids = Map::new();
        if self.query.is_empty() {
            return ids;
        }
        for (parameter, value) in query::pairs(self.query) {
            if let Some(name) = click_id(&parameter)
                && !value.is_empty()
            {
                ids.insert(name, Cow::<'static, str>::Owned(value.into_owned()));
            }
        }
        ids
    }
}

/// The event's name for a URL parameter that carries a click id (vendors/README.md, google-ads.md, others.md).
fn click_id(parameter: &str) -> Option<&'static str> {
    Some(match parameter.as_bytes() {
        b"gclid" => "gclid",
        b"gbraid" => "gbraid",
        b"wbraid" => "wbraid",
        b"dclid" => "dclid",
        b"fbclid" => "fbclid",
        b"ttclid" => "ttclid",
        b"li_fat_id" => "li_fat_id",
        b"epik" => "epik",
        b"ScCid" | b"sccid" => "sccid",
        b"msclkid" => "msclkid",
        b"rdt_cid" => "rdt_cid",
        b"twclid" => "twclid",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tagfleet_expressions::Value;

    use super::*;

    #[test]
    fn a_url_is_cut_into_host_path_and_query() {
        for (url, hostname, path, query) in [
            (
                "https://shop.example/checkout?gclid=x#top",
                "shop.example",
                "/checkout",
                "gclid=x",
            ),
            ("https://shop.example", "shop.example", "/", ""),
            ("https://shop.example?a=1", "shop.example", "/", "a=1"),
            ("http://u:p@shop.example:8443/a/b", "shop.example", "/a/b", ""),
            ("http://[2001:db8::1]:8080/x", "2001:db8::1", "/x", ""),
            ("https://shop.example/#/route?x=1", "shop.example", "/", ""),
            ("app://main/screen", "main", "/screen", ""),
        ] {
            assert_eq!(Page::parse(url), Some(Page { hostname, path, query }), "{url}");
        }
    }

    #[test]
    fn what_is_no_absolute_url_has_no_parts() {
        for text in ["", "/checkout", "shop.example/checkout", "about:blank"] {
            assert_eq!(Page::parse(text), None, "{text}");
        }
    }

    #[test]
    fn click_ids_are_found_by_name() {
        let page =
            Page::parse("https://shop.example/?gclid=TEST%2D1&utm_source=x&ScCid=s&fbclid=&gclid=TEST-2").unwrap();
        let ids = page.click_ids();
        assert_eq!(ids.get("gclid"), Some(&Value::from("TEST-2")));
        assert_eq!(ids.get("sccid"), Some(&Value::from("s")));
        assert_eq!(ids.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,60}") {
            if let Some(page) = Page::parse(&text) {
                page.click_ids();
            }
        }
    }
}
