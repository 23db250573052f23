//! Addresses and headers.

use std::collections::BTreeMap;

use url::Url;

use super::Report;
use crate::{FieldPath, HeaderValue, conditions::reasons};

/// Headers that the request itself needs (RFC 9110, 7.6.1), in lower case.
const RESERVED: [&str; 7] = [
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-tagfleet-signature",
];

/// Reports a text that is no http or https URL with a host, or that holds credentials.
pub(super) fn url(text: &str, path: FieldPath, report: &mut Report) -> Option<Url> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            report.error(path, reasons::INVALID, format!("is no URL: {error}"));
            return None;
        }
    };
    let wrong = match url.scheme() {
        "http" | "https" if url.host_str().is_none_or(str::is_empty) => Some("must name a host"),
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Some("must not hold user or password: everybody who may read the object would see them; use a Secret")
        }
        "http" | "https" if url.fragment().is_some() => Some("must not have a fragment (#...), which is never sent"),
        "http" | "https" => None,
        _ => Some("must begin with http:// or https://"),
    };
    if let Some(message) = wrong {
        report.error(path, reasons::INVALID, message);
        return None;
    }
    Some(url)
}

/// Reports a text that is not scheme and host alone.
pub(super) fn origin(text: &str, path: FieldPath, report: &mut Report) {
    if let Some(url) = url(text, path.clone(), report)
        && (url.path() != "/" || url.query().is_some())
    {
        report.error(
            path,
            reasons::INVALID,
            "must be scheme and host only: the path is not the writer's to choose",
        );
    }
}

/// Reports names and values that no HTTP request can carry, and headers that are not the writer's to set.
pub(super) fn headers(headers: &BTreeMap<String, HeaderValue>, path: &FieldPath, report: &mut Report) {
    for (name, value) in headers {
        let path = path.field(name);
        let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
        if name.is_empty() || !name.bytes().all(is_token) || is_reserved {
            report.error(path.clone(), reasons::INVALID, "is no header that may be set");
        }
        if let HeaderValue::Text(text) = value
            && !text
                .trim_end_matches(['\r', '\n'])
                .bytes()
                .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        {
            report.error(
                path,
                reasons::INVALID,
                "its value has characters that no header may hold",
            );
        }
    }
}

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
