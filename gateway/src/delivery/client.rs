//! The one HTTP client: no redirects, no proxy from the environment, no header of its own, HTTP/2 where TLS agrees on it (always for gRPC),
//! bodies read up to a limit, and errors without URLs (a query may carry a secret, a webhook's path too).

use std::{error::Error as _, future::Future, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;

use super::{
    addresses::{AddressPolicy, GuardedResolver},
    tokens::TokenError,
};
use crate::{
    destinations::{Protocol, Request, Response},
    metrics::CallCode,
};

/// How much of a response's body is read.
pub const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// How long a connection may take to be made; the destination's `timeout` bounds the whole request besides.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: below the 60 s after which common load balancers drop it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Sends requests. The seam between delivery and the network.
pub trait Transport: Send + Sync {
    /// Sends one request and reads its response; whoever calls bounds the time.
    fn send(&self, request: Request) -> Sending<'_>;
}

/// A request on its way.
pub type Sending<'t> = Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send + 't>>;

/// Why there is no response. Never carries more of the URL than scheme, host and port.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransportError {
    /// The address is one that destinations may not reach.
    #[error(
        "{0} is a private, loopback, link-local or shared address, which destinations may not reach; \
         --allowed-private-destinations allows ranges"
    )]
    AddressRefused(String),
    /// The scheme is one that destinations may not use.
    #[error(
        "{0} is cleartext: in a cluster destinations are https, or addresses in the ranges of \
         --allowed-private-destinations"
    )]
    Cleartext(String),
    /// No connection.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// Scheme, host and port.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// The connection broke.
    #[error("{target} broke off: {reason}")]
    Broken {
        /// Scheme, host and port.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// No answer within the destination's `delivery.timeout`.
    #[error("{target} did not answer within {after:?} (delivery.timeout)")]
    Timeout {
        /// Scheme, host and port.
        target: String,
        /// `delivery.timeout`.
        after: Duration,
    },
    /// There is no access token.
    #[error("no access token: {0}")]
    Token(TokenError),
}

impl TransportError {
    /// The label `code` of the metrics.
    #[must_use]
    pub const fn code(&self) -> CallCode {
        match self {
            Self::Timeout { .. } => CallCode::Timeout,
            Self::AddressRefused(_)
            | Self::Cleartext(_)
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Token(_) => CallCode::Connection,
        }
    }
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start: {0}; are the system's root certificates (ca-certificates) installed?")]
pub struct ClientError(#[from] reqwest::Error);

/// Makes `ring` the crypto provider of the process, for TLS and for signing tokens; whoever comes second changes nothing.
pub(crate) fn install_crypto_provider() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("the crypto provider is installed already");
    }
}

/// The client on the network.
#[derive(Clone, Debug)]
pub struct HttpClient {
    http: reqwest::Client,
    grpc: reqwest::Client,
    addresses: AddressPolicy,
    max_response_bytes: usize,
}

impl HttpClient {
    /// A client that connects only to what `addresses` allows.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(addresses: AddressPolicy) -> Result<Self, ClientError> {
        install_crypto_provider();
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .tcp_nodelay(true)
                .dns_resolver(GuardedResolver(addresses.clone()))
        };
        Ok(Self {
            http: builder().build()?,
            grpc: builder()
                .http2_prior_knowledge()
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10))
                .build()?,
            addresses,
            max_response_bytes: MAX_RESPONSE_BYTES,
        })
    }

    /// Reads responses up to so many bytes, where they are more than a vendor's few words.
    #[must_use]
    pub fn reading_up_to(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let target = request.target();
        if !self.addresses.allows_host_of(&request.url) {
            return Err(TransportError::AddressRefused(target));
        }
        if !self.addresses.allows_scheme_of(&request.url) {
            return Err(TransportError::Cleartext(target));
        }
        let client = match request.protocol {
            Protocol::Http => &self.http,
            Protocol::Grpc => &self.grpc,
        };
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        *outgoing.body_mut() = (!request.body.is_empty()).then(|| request.body.into());
        let response = client
            .execute(outgoing)
            .await
            .map_err(|error| describe(&target, &error))?;
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let (body, trailers) = read(body, self.max_response_bytes)
            .await
            .map_err(|error| describe(&target, &error))?;
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body,
            trailers,
        })
    }
}

impl Transport for HttpClient {
    fn send(&self, request: Request) -> Sending<'_> {
        Box::pin(self.exchange(request))
    }
}

async fn read(mut body: reqwest::Body, max_bytes: usize) -> Result<(Bytes, HeaderMap), reqwest::Error> {
    let mut read = BytesMut::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = max_bytes - read.len();
                read.extend_from_slice(data.get(..room).unwrap_or(&data));
                if read.len() == max_bytes {
                    break;
                }
            }
            Err(frame) => {
                if let Ok(found) = frame.into_trailers() {
                    trailers = found;
                }
            }
        }
    }
    Ok((read.freeze(), trailers))
}

/// The innermost cause, in which no layer repeats the URL.
fn describe(target: &str, error: &reqwest::Error) -> TransportError {
    let mut reason = None;
    let mut source = error.source();
    while let Some(inner) = source {
        reason = Some(inner.to_string());
        source = inner.source();
    }
    let reason = reason.unwrap_or_else(|| "the request failed".to_owned());
    let target = target.to_owned();
    if error.is_connect() {
        TransportError::Connect { target, reason }
    } else {
        TransportError::Broken { target, reason }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::{convert::Infallible, net::SocketAddr};

    use http::{Method, StatusCode};
    use http_body_util::Full;
    use hyper::{body::Frame, service::service_fn};
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto,
    };
    use tokio::net::TcpListener;

    use super::*;
    use crate::destinations::Authentication;

    type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

    /// A server that answers every request as `answer` says.
    async fn server(
        answer: impl Fn(http::Request<hyper::body::Incoming>) -> http::Response<Body> + Clone + Send + Sync + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let response = answer(request);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        address
    }

    fn full(status: u16, body: impl Into<Bytes>) -> http::Response<Body> {
        http::Response::builder()
            .status(status)
            .body(Full::new(body.into()).boxed_unsync())
            .unwrap()
    }

    fn request(url: &str, protocol: Protocol) -> Request {
        Request {
            method: Method::POST,
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"hello"),
            authentication: Authentication::None,
            protocol,
        }
    }

    fn client() -> HttpClient {
        HttpClient::new(AddressPolicy::AllowAll).unwrap()
    }

    #[tokio::test]
    async fn a_response_is_read_up_to_256_kib() {
        let address = server(|_| full(200, vec![b'x'; 600_000])).await;
        let response = client()
            .send(request(&format!("http://{address}/"), Protocol::Http))
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.body.len(), MAX_RESPONSE_BYTES);
    }

    #[tokio::test]
    async fn no_user_agent_is_added() {
        let address = server(|request| {
            full(
                if request.headers().contains_key("user-agent") {
                    500
                } else {
                    200
                },
                "",
            )
        })
        .await;
        let response = client()
            .send(request(&format!("http://{address}/"), Protocol::Http))
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let address = server(|request| match request.uri().path() {
            "/" => http::Response::builder()
                .status(307)
                .header("location", "/elsewhere")
                .body(Full::default().boxed_unsync())
                .unwrap(),
            _ => panic!("followed"),
        })
        .await;
        let response = client()
            .send(request(&format!("http://{address}/"), Protocol::Http))
            .await
            .unwrap();
        assert_eq!(response.status, 307);
    }

    #[tokio::test]
    async fn grpc_speaks_http2_in_cleartext_and_reads_trailers() {
        let address = server(|request| {
            assert_eq!(request.version(), http::Version::HTTP_2);
            let frames = [
                Ok(Frame::data(Bytes::from_static(b"ok"))),
                Ok(Frame::trailers(HeaderMap::from_iter([(
                    "grpc-status".parse().unwrap(),
                    "0".parse().unwrap(),
                )]))),
            ];
            http::Response::new(Frames(Vec::from(frames).into_iter()).boxed_unsync())
        })
        .await;
        let response = client()
            .send(request(&format!("http://{address}/"), Protocol::Grpc))
            .await
            .unwrap();
        assert_eq!(response.body, "ok");
        assert_eq!(response.trailers.get("grpc-status").unwrap(), "0");
    }

    struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(self.0.next())
        }
    }

    #[tokio::test]
    async fn errors_name_the_host_and_never_the_rest_of_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://user:hunter2@{address}/hunter2?api_secret=hunter2");
        let error = client().send(request(&url, Protocol::Http)).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains(&address.to_string()));

        let error = client()
            .send(request(
                "http://nowhere.invalid/hunter2?api_secret=hunter2",
                Protocol::Http,
            ))
            .await
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[tokio::test]
    async fn private_targets_are_refused_by_policy() {
        let address = server(|_| full(200, "")).await;
        let client = HttpClient::new(AddressPolicy::PublicOnly([].into())).unwrap();
        let literal = client
            .send(request(&format!("http://{address}/"), Protocol::Http))
            .await
            .unwrap_err();
        assert!(matches!(literal, TransportError::AddressRefused(_)), "{literal:?}");
        let port = address.port();
        let named = client
            .send(request(&format!("https://localhost:{port}/"), Protocol::Http))
            .await
            .unwrap_err();
        assert!(named.to_string().contains("private"), "{named}");
        let allowed = HttpClient::new(AddressPolicy::PublicOnly(["127.0.0.0/8".parse().unwrap()].into())).unwrap();
        let answered = allowed
            .send(request(&format!("http://{address}/"), Protocol::Http))
            .await
            .unwrap();
        assert_eq!(answered.status, 200);
        let cleartext = allowed
            .send(request(&format!("http://localhost:{port}/"), Protocol::Http))
            .await
            .unwrap_err();
        assert!(matches!(cleartext, TransportError::Cleartext(_)), "{cleartext:?}");
    }
}
