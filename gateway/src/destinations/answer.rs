//! Reading answers: what most vendors' statuses mean, and their messages in a form that may be shown.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{Outcome, Response, mapping::cut};
use crate::delivery::retry::is_retriable;

/// How much of a vendor's message is kept.
const MESSAGE_CHARACTERS: usize = 300;

/// The outcome by HTTP status alone: 2xx delivered; 408, 425, 429 and 5xx tried again; all else refused for good, a
/// redirect too, as none is followed (vendors/README.md rule 6). `Retry-After` is delivery's work.
#[must_use]
pub fn by_status(response: &Response) -> Outcome {
    let status = response.status;
    if status.is_success() {
        Outcome::Delivered
    } else if is_retriable(status) {
        Outcome::Retry {
            after: None,
            reason: reason(response),
        }
    } else if status.is_redirection() {
        Outcome::Refused {
            reason: format!("{}: redirects are not followed; put the final address", status.as_u16()),
        }
    } else {
        Outcome::Refused {
            reason: reason(response),
        }
    }
}

/// As [`by_status`], but 401 and 403 say that the credentials are wrong: for vendors where they can mean nothing else.
#[must_use]
pub fn by_status_with_credentials(response: &Response) -> Outcome {
    match response.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::CredentialsRejected {
            reason: reason(response),
        },
        _ => by_status(response),
    }
}

/// An answer whose last member is a list of entries without objects in them. Of one that was cut, the entries before the
/// cut are there: what is said of the others is unknown. `None` when it is no such answer.
#[must_use]
pub fn list<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok().or_else(|| {
        let end = body.iter().rposition(|byte| *byte == b'}')?;
        let mut whole = body.get(..=end)?.to_vec();
        whole.extend_from_slice(b"]}");
        serde_json::from_slice(&whole).ok()
    })
}

/// Status and message of a response in one line.
#[must_use]
pub fn reason(response: &Response) -> String {
    let status = response.status.as_u16();
    let body = String::from_utf8_lossy(&response.body);
    let message = one_line(&body);
    if message.is_empty() {
        match response.status.canonical_reason() {
            Some(name) => format!("{status} {name}"),
            None => status.to_string(),
        }
    } else {
        format!("{status}: {message}")
    }
}

/// Foreign text in one line, without control characters, cut.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|character: char| character.is_control() || character.is_whitespace())
        .filter(|word| !word.is_empty())
        .take(MESSAGE_CHARACTERS)
        .collect();
    cut(&words.join(" "), MESSAGE_CHARACTERS).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn response(status: u16, body: &'static str) -> Response {
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            trailers: HeaderMap::new(),
        }
    }

    #[test]
    fn statuses_by_their_meaning() {
        for status in [200, 202, 204] {
            assert_eq!(by_status(&response(status, "")), Outcome::Delivered);
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(
                matches!(by_status(&response(status, "")), Outcome::Retry { after: None, .. }),
                "{status}"
            );
        }
        for status in [301, 307, 400, 401, 404, 410, 413, 422] {
            assert!(
                matches!(by_status(&response(status, "")), Outcome::Refused { .. }),
                "{status}"
            );
        }
        assert!(matches!(
            by_status_with_credentials(&response(403, "")),
            Outcome::CredentialsRejected { .. }
        ));
    }

    #[test]
    fn messages_are_one_line_and_short() {
        assert_eq!(reason(&response(400, "bad\n\tfield\u{1b}[31m")), "400: bad field [31m");
        assert_eq!(reason(&response(503, " ")), "503 Service Unavailable");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), MESSAGE_CHARACTERS);
    }
}
