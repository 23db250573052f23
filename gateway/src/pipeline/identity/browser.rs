//! What a visitor's browser brings along to have cookies set, found once for a hit, however many events it brings.

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
};

use http::header;
use tagfleet_expressions::{Map, Value};

use super::fpid::ID_BYTES;
use crate::{
    ingest::{HitRequest, cors},
    pipeline::remembered::{Remembered, remembered},
};

/// A host's name is no longer (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A visitor's browser.
#[derive(Clone, Debug)]
pub struct Browser<'r> {
    /// The tracking cookies that it sent.
    cookies: Map<'r>,
    /// The host that it asked, lower case and without port; empty if a cookie can have no domain of it.
    host: Cow<'r, str>,
    /// Where the registrable domain begins in `host`.
    domain_at: Option<usize>,
    /// What the ids that are made for this hit are made of, so that its events agree on them; none while it needed none.
    random: OnceCell<Random>,
}

/// Random bytes for an id of each kind. None tells anything of another.
#[derive(Clone, Debug)]
pub(super) struct Random {
    /// For FPID.
    pub(super) visitor_id: [u8; ID_BYTES],
    /// For Meta's `_fbp`.
    pub(super) meta: [u8; ID_BYTES],
    /// For TikTok's `_ttp`.
    pub(super) tiktok: [u8; ID_BYTES],
    /// For Snap's `_scid`.
    pub(super) snap: [u8; ID_BYTES],
}

impl<'r> Browser<'r> {
    /// The browser of this request, which sent these tracking cookies.
    #[must_use]
    pub fn of(request: &HitRequest<'r>, cookies: Map<'r>) -> Self {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.map(host_name).unwrap_or_default();
        let domain_at = domain_at(&host);
        Self {
            cookies,
            host,
            domain_at,
            random: OnceCell::new(),
        }
    }

    /// The tracking cookies that it sent.
    pub(super) const fn cookies(&self) -> &Map<'r> {
        &self.cookies
    }

    /// The value of a cookie that it sent; none if it is empty.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let value = self.cookies.get(name).and_then(Value::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The domain under a public suffix to which the host belongs; none for addresses, `localhost` and public suffixes.
    pub(super) fn registrable_domain(&self) -> Option<&str> {
        self.host.get(self.domain_at?..)
    }

    /// Whether the host is this domain or below it.
    pub(super) fn is_of(&self, domain: &str) -> bool {
        cors::is_or_below(&self.host, domain)
    }

    /// The labels of the host; 1 for an address.
    pub(super) fn labels(&self) -> usize {
        if self.host.parse::<std::net::Ipv4Addr>().is_ok() {
            return 1;
        }
        self.host.split('.').count()
    }

    /// What the ids that are made for this hit are made of: the same for all of its events.
    pub(super) fn random(&self) -> &Random {
        self.random.get_or_init(|| {
            let mut bytes = [[0; ID_BYTES]; 4];
            rand::fill(bytes.as_flattened_mut());
            let [visitor_id, meta, tiktok, snap] = bytes;
            Random {
                visitor_id,
                meta,
                tiktok,
                snap,
            }
        })
    }
}

thread_local! {
    static DOMAINS: RefCell<Remembered<Option<usize>>> = RefCell::default();
}

/// Where the registrable domain begins in a host's name, found once for each name that a thread meets.
fn domain_at(host: &str) -> Option<usize> {
    let find = || cors::registrable_domain(host).map(|domain| host.len() - domain.len());
    remembered(&DOMAINS, host.as_bytes(), find)
}

/// The name in a Host header, lower case; empty if a cookie's `Domain` cannot be made of it.
fn host_name(header: &str) -> Cow<'_, str> {
    let name = match header.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => header,
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let whole_labels = name.split('.').all(|label| !label.is_empty());
    if name.len() > MAX_HOST_BYTES || !whole_labels || !name.bytes().all(of_name) {
        return Cow::Borrowed("");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn random_bytes_are_the_hits_own_and_differ_by_what_they_are_for() {
        let browser = || Browser {
            cookies: Map::new(),
            host: Cow::Borrowed("metrics.shop.example"),
            domain_at: None,
            random: OnceCell::new(),
        };
        let (one, other) = (browser(), browser());
        let mut all = Vec::new();
        for browser in [&one, &other] {
            let random = browser.random();
            assert_eq!(random.visitor_id, browser.random().visitor_id);
            all.extend([random.visitor_id, random.meta, random.tiktok, random.snap]);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn the_host_is_the_headers_name() {
        for (header, name) in [
            ("metrics.shop.example", "metrics.shop.example"),
            ("Metrics.Shop.example:8443", "metrics.shop.example"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("localhost", "localhost"),
            ("[2001:db8::1]:8080", ""),
            ("shop.example.", ""),
            ("shop..example", ""),
            ("shop.example; Path=/x", ""),
            ("shop.example,evil.test", ""),
            ("shop\u{e9}.example", ""),
            ("shop.example:80x", ""),
            (":80", ""),
            ("", ""),
        ] {
            assert_eq!(host_name(header), name, "{header}");
        }
    }
}
