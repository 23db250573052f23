//! The collector: how it is asked to take spans, and what its answer means
//! (OTLP 1.x: <https://opentelemetry.io/docs/specs/otlp/>).

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{self, CONTENT_TYPE, TE},
};
use prost::Message;
use tagfleet_crds::tagging_container::OtlpProtocol;
use url::Url;

use super::otlp::{ExportRequest, ExportResponse};
use crate::{
    delivery::{
        attempt::grpc_status,
        client::TransportError,
        grpc::{framed, unframed},
        retry::retry_after,
    },
    destinations::{Authentication, Protocol, Request, Response, USER_AGENT},
};

/// Where spans go by OTLP over HTTP, behind the endpoint's own path.
const HTTP_PATH: &str = "/v1/traces";
/// The method's path by gRPC.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Where spans go, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    url: Url,
    protocol: Protocol,
    headers: HeaderMap,
}

/// What an answer means for the spans of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They were taken, but for so many.
    Taken {
        /// Spans that the collector refuses for good.
        rejected: u64,
    },
    /// They may be taken later.
    Later {
        /// Not before.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// They never will be.
    Refused {
        /// What happened.
        reason: String,
    },
}

impl Collector {
    /// The collector at this endpoint. Its headers are sent with each request.
    #[must_use]
    pub fn new(mut endpoint: Url, protocol: OtlpProtocol, headers: HeaderMap) -> Self {
        let path = match protocol {
            OtlpProtocol::Http => format!("{}{HTTP_PATH}", endpoint.path().trim_end_matches('/')),
            OtlpProtocol::Grpc => GRPC_PATH.to_owned(),
        };
        endpoint.set_path(&path);
        endpoint.set_query(None);
        Self {
            url: endpoint,
            protocol: match protocol {
                OtlpProtocol::Http => Protocol::Http,
                OtlpProtocol::Grpc => Protocol::Grpc,
            },
            headers,
        }
    }

    pub(super) fn request(&self, spans: &ExportRequest) -> Request {
        let mut headers = self.headers.clone();
        let (content_type, body) = match self.protocol {
            Protocol::Http => ("application/x-protobuf", spans.encode_to_vec().into()),
            Protocol::Grpc => ("application/grpc", framed(spans)),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::USER_AGENT, USER_AGENT);
        if self.protocol == Protocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        Request {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body,
            authentication: Authentication::None,
            protocol: self.protocol,
        }
    }

    pub(super) fn read(&self, answer: Result<Response, TransportError>, now_ms: i64) -> Verdict {
        let response = match answer {
            Ok(response) => response,
            Err(error @ (TransportError::AddressRefused(_) | TransportError::Cleartext(_))) => {
                let reason = error.to_string();
                return Verdict::Refused { reason };
            }
            Err(error) => {
                let (after, reason) = (None, error.to_string());
                return Verdict::Later { after, reason };
            }
        };
        let after = || retry_after(&response.headers, now_ms);
        match (response.status, self.protocol) {
            (StatusCode::OK, Protocol::Grpc) => by_grpc_status(&response),
            (status, Protocol::Http) if status.is_success() => Verdict::Taken {
                rejected: rejected(&response.body),
            },
            // "OTLP/HTTP Response", retryable response codes.
            (status, _) if matches!(status.as_u16(), 429 | 502 | 503 | 504) => Verdict::Later {
                after: after(),
                reason: format!("it answers {status}"),
            },
            (status, _) => Verdict::Refused {
                reason: format!(
                    "it answers {status}: is spec.telemetry.otlp its address, with its protocol and headers?"
                ),
            },
        }
    }
}

/// "OTLP/gRPC Response": CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS may be retried,
/// RESOURCE_EXHAUSTED where the collector says when, which stands in its details.
fn by_grpc_status(response: &Response) -> Verdict {
    match grpc_status(response) {
        Some((0, _)) => Verdict::Taken {
            rejected: unframed(&response.body).map_or(0, rejected),
        },
        Some((status, _)) => {
            let details = |headers: &HeaderMap| headers.contains_key("grpc-status-details-bin");
            let says_when = details(&response.trailers) || details(&response.headers);
            let reason = format!("it answers gRPC status {status}");
            match status {
                1 | 4 | 10 | 11 | 14 | 15 => Verdict::Later { after: None, reason },
                8 if says_when => Verdict::Later { after: None, reason },
                _ => Verdict::Refused { reason },
            }
        }
        None => Verdict::Refused {
            reason: "its answer has no grpc-status: does it speak gRPC there?".to_owned(),
        },
    }
}

fn rejected(body: &[u8]) -> u64 {
    let answer = ExportResponse::decode(body).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::{
        testing,
        traces::otlp::{PartialSuccess, Resource, ResourceSpans},
    };

    fn collector(endpoint: &str, protocol: OtlpProtocol) -> Collector {
        let mut headers = HeaderMap::new();
        headers.insert("api-key", HeaderValue::from_static("hunter2"));
        Collector::new(endpoint.parse().unwrap(), protocol, headers)
    }

    fn later(reason: &str) -> Verdict {
        Verdict::Later {
            after: None,
            reason: reason.to_owned(),
        }
    }

    fn partial(rejected_spans: i64) -> Vec<u8> {
        let partial_success = Some(PartialSuccess {
            rejected_spans,
            error_message: "too old".to_owned(),
        });
        ExportResponse { partial_success }.encode_to_vec()
    }

    fn grpc(status: &'static str, body: &[u8]) -> Response {
        let mut answer = testing::answer(200, "");
        answer.trailers.insert("grpc-status", HeaderValue::from_static(status));
        answer.body = bytes::Bytes::copy_from_slice(body);
        answer
    }

    #[test]
    fn the_path_of_http_stands_behind_the_endpoints_own() {
        for (endpoint, url) in [
            ("http://otel.example:4318", "http://otel.example:4318/v1/traces"),
            ("http://otel.example:4318/", "http://otel.example:4318/v1/traces"),
            ("https://saas.example/otlp/", "https://saas.example/otlp/v1/traces"),
        ] {
            let request = collector(endpoint, OtlpProtocol::Http).request(&ExportRequest::default());
            assert_eq!(request.url.as_str(), url);
            assert_eq!(request.headers["content-type"], "application/x-protobuf");
            assert_eq!(request.headers["api-key"], "hunter2");
        }
    }

    #[test]
    fn grpc_has_its_own_path_and_a_frame_around_the_message() {
        let message = ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource::default()),
                ..ResourceSpans::default()
            }],
        };
        let request = collector("http://otel.example:4317", OtlpProtocol::Grpc).request(&message);
        assert_eq!(request.url.path(), GRPC_PATH);
        assert_eq!(request.protocol, Protocol::Grpc);
        assert_eq!(request.body, [0, 0, 0, 0, 4, 10, 2, 10, 0].as_slice());
    }

    #[test]
    fn what_an_answer_over_http_means() {
        let collector = collector("http://otel.example:4318", OtlpProtocol::Http);
        let read = |status, body: &str| collector.read(Ok(testing::answer(status, body)), 0);
        assert_eq!(read(200, ""), Verdict::Taken { rejected: 0 });
        assert_eq!(read(202, "no protobuf"), Verdict::Taken { rejected: 0 });
        let mut answer = testing::answer(200, "");
        answer.body = partial(7).into();
        assert_eq!(collector.read(Ok(answer), 0), Verdict::Taken { rejected: 7 });
        for status in [429, 502, 503, 504] {
            assert!(
                matches!(read(status, ""), Verdict::Later { after: None, .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 404, 413, 500] {
            assert!(matches!(read(status, ""), Verdict::Refused { .. }), "{status}");
        }
        let mut answer = testing::answer(503, "");
        answer.headers.insert("retry-after", HeaderValue::from_static("7"));
        let verdict = collector.read(Ok(answer), 0);
        assert!(matches!(verdict, Verdict::Later { after: Some(wait), .. } if wait.as_secs() == 7));
    }

    #[test]
    fn what_an_answer_over_grpc_means() {
        let collector = collector("http://otel.example:4317", OtlpProtocol::Grpc);
        let read = |response| collector.read(Ok(response), 0);
        assert_eq!(read(grpc("0", &[])), Verdict::Taken { rejected: 0 });
        let framed = [&[0, 0, 0, 0, 9], partial(3).as_slice()].concat();
        assert_eq!(read(grpc("0", &framed)), Verdict::Taken { rejected: 3 });
        assert_eq!(read(grpc("14", &[])), later("it answers gRPC status 14"));
        assert!(matches!(read(grpc("8", &[])), Verdict::Refused { .. }));
        let mut says_when = grpc("8", &[]);
        let details = HeaderValue::from_static("CAg");
        says_when.trailers.insert("grpc-status-details-bin", details);
        assert_eq!(read(says_when), later("it answers gRPC status 8"));
        assert!(matches!(read(grpc("16", &[])), Verdict::Refused { .. }));
        assert!(matches!(read(testing::answer(200, "<html>")), Verdict::Refused { .. }));
        assert!(matches!(read(testing::answer(503, "")), Verdict::Later { .. }));
    }

    #[test]
    fn what_no_answer_means() {
        let collector = collector("http://otel.example:4318", OtlpProtocol::Http);
        let refused = TransportError::AddressRefused("http://169.254.169.254".to_owned());
        assert!(matches!(collector.read(Err(refused), 0), Verdict::Refused { .. }));
        let broken = TransportError::Connect {
            target: "http://otel.example:4318".to_owned(),
            reason: "refused".to_owned(),
        };
        assert!(matches!(collector.read(Err(broken), 0), Verdict::Later { .. }));
    }
}
