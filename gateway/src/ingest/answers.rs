//! What visitors and probes are answered. Header values are static; an answer to a hit allocates its header map only.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;

use super::{Refusal, body::BodyError};
use crate::log::AppendError;

/// An answer, its body whole.
pub type Answered = Response<Full<Bytes>>;

/// A transparent GIF of one pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Keeps every hit coming: an answer from a cache would be a hit that nobody sees.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-cache, no-store, must-revalidate");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The seconds after which a refused sender may come again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

fn answer(status: StatusCode, body: Bytes) -> Answered {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(6);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    answer
}

/// 204: a hit was taken, or a preflight is answered.
#[must_use]
pub fn no_content() -> Answered {
    answer(StatusCode::NO_CONTENT, Bytes::new())
}

/// 200 with a transparent pixel: a hit was taken that an image element sent.
#[must_use]
pub fn pixel() -> Answered {
    let mut answer = answer(StatusCode::OK, Bytes::from_static(GIF));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    answer
}

/// Any status with one line of text.
#[must_use]
pub fn text(status: StatusCode, line: impl Into<Cow<'static, str>>) -> Answered {
    let mut line = line.into().into_owned();
    line.push('\n');
    let mut answer = answer(status, line.into());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An answer that a client made itself.
#[must_use]
pub fn own(own: super::Answer) -> Answered {
    let body = match own.body {
        Cow::Borrowed(body) => Bytes::from_static(body),
        Cow::Owned(body) => body.into(),
    };
    let mut answer = answer(own.status, body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(own.content_type));
    answer
}

/// 405 with the methods that are served.
#[must_use]
pub fn method_not_allowed(line: impl Into<Cow<'static, str>>, allow: HeaderValue) -> Answered {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, line);
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

/// 503 (or 429) with Retry-After.
#[must_use]
pub fn try_later(status: StatusCode, line: impl Into<Cow<'static, str>>) -> Answered {
    let mut answer = text(status, line);
    answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    answer
}

/// Asks an HTTP/1 sender to go after this answer (HTTP/2 has no such header).
pub fn close_after(answer: &mut Answered, version: http::Version) {
    if version < http::Version::HTTP_2 {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Whether an image element sent this, which shows an error unless it gets an image.
#[must_use]
pub fn wants_image(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_DEST) {
        Some(destination) => destination == "image",
        None => headers
            .get(ACCEPT)
            .is_some_and(|accept| accept.as_bytes().starts_with(b"image/")),
    }
}

pub(super) fn refused_body(error: BodyError, version: Version) -> Answered {
    let line = error.to_string();
    let (status, close) = match error {
        BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, false),
        BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, true),
        BodyError::Broken => (StatusCode::BAD_REQUEST, true),
        BodyError::Busy => return try_later(StatusCode::SERVICE_UNAVAILABLE, line),
    };
    let mut answer = text(status, line);
    if close {
        close_after(&mut answer, version);
    }
    answer
}

/// The answer to a request that its client refused.
#[must_use]
pub fn refused(refusal: &Refusal, method: &Method) -> Answered {
    let line = refusal.to_string();
    match refusal {
        Refusal::BadRequest(_) | Refusal::NoEvent { .. } => text(StatusCode::BAD_REQUEST, line),
        Refusal::Forbidden(_) => text(StatusCode::FORBIDDEN, line),
        Refusal::TooLarge(_) => text(StatusCode::PAYLOAD_TOO_LARGE, line),
        // A client takes one of the two or both, so what is left is known by what was tried.
        Refusal::MethodNotAllowed(_) if method == Method::POST => {
            method_not_allowed(line, HeaderValue::from_static("GET, HEAD, OPTIONS"))
        }
        Refusal::MethodNotAllowed(_) => method_not_allowed(line, HeaderValue::from_static("POST, OPTIONS")),
    }
}

/// 503: the sender learns the reason in a word, the numbers stay inside.
pub(super) fn not_taken(error: &AppendError) -> Answered {
    tracing::debug!(%error, "a hit was not taken");
    let line = match error {
        AppendError::Full { .. } => "the buffer is full",
        AppendError::Device(_) => "the buffer cannot be written",
        AppendError::Busy => "too many hits wait for the buffer",
        AppendError::Closed => "the gateway is stopping",
    };
    try_later(StatusCode::SERVICE_UNAVAILABLE, line)
}

/// 503: a repeat of an event that another request brought at the same time, and that could not be taken.
pub(super) fn first_copy_not_taken() -> Answered {
    let line = "an event in it came at the same time in another request, which could not be taken";
    try_later(StatusCode::SERVICE_UNAVAILABLE, line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn no_answer_may_be_cached() {
        for answer in [no_content(), pixel(), text(StatusCode::BAD_REQUEST, "no event name")] {
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache, no-store, must-revalidate");
        }
    }

    #[test]
    fn the_pixel_is_a_whole_gif() {
        assert!(
            GIF.starts_with(b"GIF89a") && GIF.ends_with(b";") && GIF.len() == 43,
            "{}",
            GIF.len()
        );
    }
}
