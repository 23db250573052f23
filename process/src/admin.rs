//! The admin listener's bounds and answers: probes, metrics, state. What is answered is the process's own.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::FutureExt as _;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

/// How long a request's head may take, and how long an idle connection stays.
const HEAD: Duration = Duration::from_secs(20);

/// An answer, its body whole.
pub type Answer = Response<Full<Bytes>>;

/// Why the admin listener could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for probes and metrics: {source}; give another address with --admin")]
pub struct AdminError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Lines of text.
#[must_use]
pub fn text(status: StatusCode, lines: impl Into<String>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", lines.into() + "\n")
}

/// A body of this type. Nothing between may keep it: it tells of now.
#[must_use]
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What Prometheus reads.
#[must_use]
pub fn metrics(scraped: prometheus::Result<String>) -> Answer {
    match scraped {
        Ok(metrics) => with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Takes connections, so many at a time, and answers their requests, until it is dropped.
pub async fn accept<F>(
    listener: TcpListener,
    connections: usize,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Answer> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(connections));
    // The semaphore is never closed, so this goes on until it is dropped.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "an admin connection broke");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin connections cannot be accepted, trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
