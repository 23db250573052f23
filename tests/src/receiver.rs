//! What the programs that stand in for receivers have alike: they take requests whole, misbehave on request, and remember
//! what they took.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::sink::{Behaviour, Close, Received};

/// What is sent back.
pub type Answer = Response<Full<Bytes>>;

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub struct Hangup;

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed on request")
    }
}

impl Error for Hangup {}

impl Behaviour {
    /// The behaviour for the next request; counts it.
    #[must_use]
    pub fn for_next_request(&mut self) -> Self {
        match self.times {
            Some(0) => *self = Self::default(),
            Some(left) => self.times = Some(left - 1),
            None => {}
        }
        self.clone()
    }

    /// The body of a request, whole, after the delay that is asked for.
    ///
    /// # Errors
    /// When the connection is to be closed in its middle, or the other side closed it.
    pub async fn body(&self, mut body: Incoming) -> Result<Bytes, Hangup> {
        if self.close == Some(Close::MidBody) {
            drop(body.frame().await);
            return Err(Hangup);
        }
        let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
        if self.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        }
        Ok(body)
    }
}

/// A request as tests read it.
#[must_use]
pub fn received(head: &Parts, body: &Bytes) -> Received {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter();
    Received {
        time_ms: now_ms(),
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect::<HashMap<_, _>>(),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

/// An answer in plain text.
#[must_use]
pub fn answer(status: StatusCode, retry_after: Option<u32>, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// An answer in JSON.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => answer(StatusCode::OK, None, &text),
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, None, &error.to_string()),
    }
}

/// Now, unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Serves for as long as the process lives; writes where it listens to standard output.
///
/// # Errors
/// When it cannot listen.
pub async fn serve<H, F>(listen: SocketAddr, handle: H) -> io::Result<Infallible>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Hangup>> + Send + 'static,
{
    let listener = TcpListener::bind(listen).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let handle = Arc::new(handle);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handle = Arc::clone(&handle);
        tokio::spawn(async move {
            let service = service_fn(|request| handle(request));
            // The other side may go away at any time, and hanging up on it is one of the behaviours: nothing to report.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}
