//! Cross-origin answers: which origins may read them, with credentials.
//!
//! A page of the container's own sites (same registrable domain as one of its hostnames) always may, because its hits
//! carry the cookies of that domain anyway; others are named in `cors.allowedOrigins`. A hit from any other origin is
//! taken as well, the page just cannot read the answer. On loopback without a matching hostname, as in a first try on
//! one machine, name the page's origin (`http://localhost:8000`) in `cors.allowedOrigins`.

use http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
    },
};

/// `cors` of the container with the registrable domains of its hostnames.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Registrable domains (`shop.example`), lower case.
    domains: Vec<Box<str>>,
    /// Hosts that have none (`localhost`, addresses), lower case.
    hosts: Vec<Box<str>>,
    /// Whole origins (`https://app.partner.example`), lower case, without a slash at the end.
    origins: Vec<Box<str>>,
}

impl Cors {
    /// From `hostnames` (as they are or with a leading `*.`) and `cors.allowedOrigins` of the container.
    #[must_use]
    pub fn new<'a>(
        hostnames: impl IntoIterator<Item = &'a str>,
        allowed_origins: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut cors = Self::default();
        for hostname in hostnames {
            let hostname = hostname.to_ascii_lowercase();
            let hostname = hostname.strip_prefix("*.").unwrap_or(&hostname);
            let hostname = hostname.strip_suffix('.').unwrap_or(hostname);
            let (list, entry) = match registrable_domain(hostname) {
                Some(domain) => (&mut cors.domains, domain),
                None => (&mut cors.hosts, hostname),
            };
            if !list.iter().any(|known| **known == *entry) {
                list.push(entry.into());
            }
        }
        for origin in allowed_origins {
            let origin = origin.to_ascii_lowercase();
            cors.origins.push(origin.strip_suffix('/').unwrap_or(&origin).into());
        }
        cors
    }

    /// Whether a page of this origin (the header `Origin`) may read answers, with credentials.
    #[must_use]
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.origins.iter().any(|allowed| **allowed == *origin) || host(origin).is_some_and(|host| self.is_own(host))
    }

    fn is_own(&self, host: &str) -> bool {
        // The suffix check is cheap and rejects strangers; the list of public suffixes then has the last word, as one
        // of them may stand below a registrable domain (`s3.amazonaws.com` below `amazonaws.com`).
        self.domains
            .iter()
            .any(|domain| is_or_below(host, domain) && registrable_domain(host) == Some(domain))
            || self.hosts.iter().any(|own| **own == *host)
    }

    /// Adds to an answer what lets the page read it.
    pub fn answer(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        let Some(origin) = request.get(ORIGIN) else { return };
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        if self.allows(origin) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Adds to the answer of a preflight what lets the page send its request. Headers are granted as asked for: the
    /// origin is one of ours, and no header but those of `json.auth` means anything here.
    pub fn preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        self.answer(request, answer);
        if !answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        let headers = request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        answer.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            headers.unwrap_or(HeaderValue::from_static("content-type")),
        );
        answer.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, OPTIONS"),
        );
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}

/// The domain under a public suffix to which a host belongs; `None` for addresses and for public suffixes themselves.
pub(crate) fn registrable_domain(host: &str) -> Option<&str> {
    if host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[') {
        return None;
    }
    psl::domain_str(host)
}

/// Whether a host is this domain or below it.
pub(crate) fn is_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The host of a serialized origin (`https://shop.example:8443`), as browsers write it: lower case, nothing behind it.
fn host(origin: &str) -> Option<&str> {
    let authority = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'[' | b']' | b':');
    (!host.is_empty() && host.bytes().all(valid)).then_some(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn shop() -> Cors {
        Cors::new(
            [
                "metrics.shop.example",
                "t.shop.co.uk",
                "shop.github.io",
                "localhost",
                "127.0.0.1",
            ],
            ["https://app.partner.test:8443/", "http://localhost:8000"],
        )
    }

    #[test]
    fn origins_of_the_own_sites_are_allowed() {
        for origin in [
            "https://shop.example",
            "https://www.shop.example",
            "http://a.b.shop.example:8080",
            "https://www.shop.co.uk",
            "https://shop.github.io",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "https://app.partner.test:8443",
        ] {
            assert!(shop().allows(&origin.parse().unwrap()), "{origin}");
        }
    }

    #[test]
    fn origins_of_others_are_not() {
        for origin in [
            "null",
            "",
            "https://",
            "https://shop.example.evil.test",
            "https://notshop.example",
            "https://example",
            "https://other.co.uk",
            "https://co.uk",
            "https://other.github.io",
            "https://github.io",
            "https://app.partner.test",
            "https://user@shop.example",
            "https://evil.test/.shop.example",
            "https://evil.test?.shop.example",
            "ftp://shop.example",
            "127.0.0.1",
            "http://1.127.0.0.1",
        ] {
            assert!(!shop().allows(&origin.parse().unwrap()), "{origin}");
        }
    }

    #[test]
    fn a_public_suffix_below_an_own_domain_is_not_own() {
        let cors = Cors::new(["www.amazonaws.com"], []);
        assert!(cors.allows(&HeaderValue::from_static("https://console.amazonaws.com")));
        assert!(!cors.allows(&HeaderValue::from_static("https://anyone.s3.amazonaws.com")));
    }

    #[test]
    fn an_allowed_origin_is_echoed_with_credentials() {
        let request = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://shop.example"))]);
        let mut answer = HeaderMap::new();
        shop().answer(&request, &mut answer);
        assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://shop.example");
        assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(), "true");
        assert_eq!(answer.get(VARY).unwrap(), "Origin");
    }

    #[test]
    fn another_origin_gets_only_vary() {
        let request = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://evil.test"))]);
        let mut answer = HeaderMap::new();
        shop().preflight(&request, &mut answer);
        assert_eq!(
            answer,
            HeaderMap::from_iter([(VARY, HeaderValue::from_static("Origin"))])
        );
    }
}
