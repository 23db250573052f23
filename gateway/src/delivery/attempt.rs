//! One request to a vendor: authenticate, send, classify.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use tokio::time::{Instant, timeout};

use super::{
    client::{Transport, TransportError},
    retry::retry_after,
    tokens::TokenError,
};
use crate::{
    destinations::{Authentication, Outcome, Protocol, Request, Response},
    metrics::CallCode,
    plan::PlannedDestination,
    secret::Secret,
};

/// How a request ended.
#[derive(Debug)]
pub struct Attempt {
    /// What it means for its events.
    pub outcome: Outcome,
    /// The answer's code, or what there was in place of an answer.
    pub code: CallCode,
    /// Whether the vendor answered at all.
    pub answered: bool,
    /// How long it took.
    pub took: Duration,
}

/// Sends `request` to `destination`. Credentials that are rejected are fetched anew once: they may have been revoked
/// before their time.
///
/// `now_ms` is the wall clock: a `Retry-After` may be a date.
pub async fn attempt(
    transport: &dyn Transport,
    destination: &PlannedDestination,
    request: Request,
    now_ms: fn() -> i64,
) -> Attempt {
    let begun = Instant::now();
    let limit = destination.delivery.timeout;
    let protocol = request.protocol;
    let mut sent = send(transport, destination, request.clone(), limit).await;
    if let (Ok(response), Some(token), Some(tokens)) = (&sent.result, &sent.token, &destination.tokens)
        && matches!(
            destination.vendor.classify(response),
            Outcome::CredentialsRejected { .. }
        )
    {
        tokens.invalidate(token);
        sent = send(transport, destination, request, limit).await;
    }
    let took = begun.elapsed();
    match sent.result {
        Ok(response) => {
            let outcome = with_retry_after(destination.vendor.classify(&response), &response, now_ms());
            let outcome = match destination.vendor.prepare(&response) {
                Some(request) => prepared(transport, destination, request, outcome).await,
                None => outcome,
            };
            Attempt {
                outcome,
                code: code(protocol, &response),
                answered: true,
                took,
            }
        }
        Err(error) => Attempt {
            outcome: unsent(&error),
            code: error.code(),
            answered: false,
            took,
        },
    }
}

/// Has made what the events go to. Once it is there, they are tried again as `outcome` says. While it cannot be made they
/// wait, too, as nothing is wrong with them, with the reason that has to be mended first.
async fn prepared(
    transport: &dyn Transport,
    destination: &PlannedDestination,
    request: Request,
    outcome: Outcome,
) -> Outcome {
    let Outcome::Retry { after, reason: missing } = outcome else {
        return outcome;
    };
    let sent = send(transport, destination, request, destination.delivery.timeout).await;
    let made = match sent.result {
        Ok(response) => destination.vendor.classify(&response),
        Err(error) => unsent(&error),
    };
    let reason = match made {
        Outcome::CredentialsRejected { .. } => return made,
        Outcome::Retry { reason, .. } | Outcome::Refused { reason } | Outcome::RefusedBatch { reason } => {
            format!("{missing}; making it: {reason}")
        }
        _ => missing,
    };
    Outcome::Retry { after, reason }
}

/// The vendor's `Retry-After`, unless its own answer said more.
fn with_retry_after(outcome: Outcome, response: &Response, now_ms: i64) -> Outcome {
    match outcome {
        Outcome::Retry { after: None, reason } => Outcome::Retry {
            after: retry_after(&response.headers, now_ms),
            reason,
        },
        other => other,
    }
}

/// What it means for the events that there is no response: nothing is wrong with them.
fn unsent(error: &TransportError) -> Outcome {
    let (after, reason) = (None, error.to_string());
    match error {
        TransportError::Token(TokenError::Rejected(_)) => Outcome::CredentialsRejected { reason },
        TransportError::Token(TokenError::Unavailable { after, .. }) => Outcome::Retry { after: *after, reason },
        _ => Outcome::Retry { after, reason },
    }
}

/// A request that was sent, and the token that it carried.
struct Sent {
    result: Result<Response, TransportError>,
    token: Option<Secret>,
}

/// The limit is that of the request alone: a source of tokens has its own, and says so when it is the one that is slow.
async fn send(
    transport: &dyn Transport,
    destination: &PlannedDestination,
    mut request: Request,
    limit: Duration,
) -> Sent {
    let target = request.target();
    let token = match authenticate(transport, destination, &mut request).await {
        Ok(token) => token,
        Err(error) => {
            let result = Err(TransportError::Token(error));
            return Sent { result, token: None };
        }
    };
    let result = timeout(limit, transport.send(request)).await;
    let result = result.unwrap_or(Err(TransportError::Timeout { target, after: limit }));
    Sent { result, token }
}

async fn authenticate(
    transport: &dyn Transport,
    destination: &PlannedDestination,
    request: &mut Request,
) -> Result<Option<Secret>, TokenError> {
    let (Authentication::GoogleToken, Some(tokens)) = (request.authentication, &destination.tokens) else {
        return Ok(None);
    };
    let token = tokens.token(transport).await?;
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut value = value.map_err(|_| TokenError::Unavailable {
        reason: "what came as a token is no header value".to_owned(),
        after: None,
    })?;
    value.set_sensitive(true);
    request.headers.insert(AUTHORIZATION, value);
    Ok(Some(token))
}

fn code(protocol: Protocol, response: &Response) -> CallCode {
    match protocol {
        Protocol::Grpc if response.status == StatusCode::OK => grpc_status(response)
            .map_or(CallCode::Http(response.status), |(status, _)| {
                CallCode::Grpc(u8::try_from(status).unwrap_or(u8::MAX).min(17))
            }),
        Protocol::Http | Protocol::Grpc => CallCode::Http(response.status),
    }
}

/// The status and message of a gRPC response: in the trailers, or in the headers of one without a body.
#[must_use]
pub fn grpc_status(response: &Response) -> Option<(u32, String)> {
    let text = |headers: &HeaderMap, name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    [&response.trailers, &response.headers].into_iter().find_map(|headers| {
        let status = text(headers, "grpc-status")?.trim().parse().ok()?;
        let message = text(headers, "grpc-message").unwrap_or_default();
        let message = percent_encoding::percent_decode_str(&message).decode_utf8_lossy();
        Some((status, message.into_owned()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::Method;

    use super::*;
    use crate::{
        delivery::client::Sending,
        destinations::{Destination, Encoding, Limits, answer},
        record::Record,
        testing,
    };

    /// A vendor with a shelf that may be missing.
    struct Shelf;

    fn request(path: &str) -> Request {
        Request {
            method: Method::POST,
            url: format!("http://vendor.example{path}").parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }

    impl Destination for Shelf {
        fn limits(&self) -> Limits {
            Limits {
                max_events: 1,
                max_bytes: 1,
            }
        }

        fn encode(&self, _: &[Record<'_>], _: i64) -> Encoding {
            Encoding::default()
        }

        fn classify(&self, response: &Response) -> Outcome {
            match response.status {
                StatusCode::NOT_FOUND => Outcome::Retry {
                    after: None,
                    reason: "no such shelf".to_owned(),
                },
                _ => answer::by_status_with_credentials(response),
            }
        }

        fn prepare(&self, response: &Response) -> Option<Request> {
            (response.status == StatusCode::NOT_FOUND).then(|| request("/shelves"))
        }
    }

    /// Answers by path: `/events` with 404, `/shelves` with the given status.
    struct Network {
        shelves: u16,
        seen: Mutex<Vec<String>>,
    }

    impl Transport for Network {
        fn send(&self, request: Request) -> Sending<'_> {
            let path = request.url.path().to_owned();
            let status = if path == "/events" { 404 } else { self.shelves };
            self.seen.lock().unwrap().push(path);
            Box::pin(async move {
                Ok(Response {
                    status: StatusCode::from_u16(status).unwrap(),
                    headers: HeaderMap::new(),
                    body: Bytes::from_static(b"the vendor's words"),
                    trailers: HeaderMap::new(),
                })
            })
        }
    }

    async fn attempted(shelves: u16) -> (Outcome, Vec<String>) {
        let network = Network {
            shelves,
            seen: Mutex::default(),
        };
        let mut destination = testing::destination("shelf", crate::log::DestinationId(1), &[]);
        destination.vendor = Arc::new(Shelf);
        let ended = attempt(&network, &destination, request("/events"), || 0).await;
        assert_eq!(ended.code, CallCode::Http(StatusCode::NOT_FOUND));
        (ended.outcome, network.seen.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_missing_is_made_and_the_events_wait_for_it() {
        let (outcome, seen) = attempted(200).await;
        assert_eq!(seen, ["/events", "/shelves"]);
        let waits = Outcome::Retry {
            after: None,
            reason: "no such shelf".to_owned(),
        };
        assert_eq!(outcome, waits);
    }

    #[tokio::test]
    async fn what_cannot_be_made_holds_the_events_up_and_loses_none() {
        let (outcome, _) = attempted(400).await;
        let waits = Outcome::Retry {
            after: None,
            reason: "no such shelf; making it: 400: the vendor's words".to_owned(),
        };
        assert_eq!(outcome, waits);
        let (outcome, _) = attempted(403).await;
        assert!(matches!(outcome, Outcome::CredentialsRejected { .. }), "{outcome:?}");
    }
}
