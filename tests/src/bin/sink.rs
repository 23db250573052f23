//! A receiver for webhooks and other deliveries: verifies signatures, remembers event ids and requests, and misbehaves
//! on request. Fast enough that a benchmark measures the gateway and not the sink: bodies are searched, not parsed.
//!
//! Whatever path a delivery names is taken. Its own paths:
//! `GET /_sink/stats`, `GET /_sink/requests` (the last ones it took), `PUT /_sink/behaviour`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    fs::File,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use clap::Parser;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, StatusCode, body::Incoming};
use sha2::Sha256;
use tagfleet_tests::{
    receiver::{self, Answer, Hangup, answer, json, now_ms, received},
    scan::EventIds,
    sink::{Behaviour, Close, Received, Stats},
};

/// How far the clocks of sender and receiver may be apart before a signature counts as replayed.
const MAX_SKEW_SECONDS: u64 = 300;

#[derive(Parser)]
#[command(about = "Takes deliveries and remembers them")]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The status of a good answer.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Appends every event id here, before the answer.
    #[arg(long)]
    ids: Option<PathBuf>,
    /// A file with the secret of the webhook's signature; without it signatures are not looked at.
    #[arg(long)]
    hmac_file: Option<PathBuf>,
    /// So many of the last requests are kept whole.
    #[arg(long, default_value_t = 1000)]
    keep: usize,
}

struct Sink {
    status: StatusCode,
    secret: Option<Vec<u8>>,
    keep: usize,
    scanner: EventIds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    stats: Stats,
    kept: VecDeque<Received>,
    ids: Option<File>,
}

impl Sink {
    fn new(args: &Args) -> Result<Self, Box<dyn Error>> {
        let ids = args
            .ids
            .as_ref()
            .map(|path| File::options().create(true).append(true).open(path))
            .transpose()?;
        Ok(Self {
            status: StatusCode::from_u16(args.status)?,
            secret: args.hmac_file.as_ref().map(std::fs::read).transpose()?,
            keep: args.keep,
            scanner: EventIds::default(),
            state: Mutex::new(State {
                ids,
                ..State::default()
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Answer, Hangup> {
        if request.uri().path().starts_with("/_sink/") {
            return Ok(self.control(request).await);
        }
        let behaviour = self.behaviour_now();
        let (head, body) = request.into_parts();
        let Ok(body) = behaviour.body(body).await else {
            self.state().stats.refused += 1;
            return Err(Hangup);
        };
        let status = behaviour
            .status
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(self.status);
        if !status.is_success() {
            self.state().stats.refused += 1;
            return Ok(answer(
                status,
                behaviour.retry_after,
                "the test wants this request to fail",
            ));
        }
        if !self.signed(&head.headers, &body) {
            let mut state = self.state();
            state.stats.bad_signatures += 1;
            state.stats.refused += 1;
            return Ok(answer(StatusCode::UNAUTHORIZED, None, "the signature is wrong"));
        }
        if self.take(&head, &body).is_err() {
            return Ok(answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                None,
                "the ids cannot be written",
            ));
        }
        if behaviour.close == Some(Close::BeforeAnswer) {
            return Err(Hangup);
        }
        Ok(answer(status, None, ""))
    }

    /// The behaviour for this request; counts it.
    fn behaviour_now(&self) -> Behaviour {
        let mut state = self.state();
        state.stats.requests += 1;
        state.behaviour.for_next_request()
    }

    /// `X-Tagfleet-Signature: t=<unix seconds>,sha256=<hex of HMAC-SHA256 over "<t>.<body>">`, one `sha256=` or two.
    fn signed(&self, headers: &hyper::HeaderMap, body: &[u8]) -> bool {
        let Some(secret) = &self.secret else { return true };
        let Some(header) = headers
            .get("x-tagfleet-signature")
            .and_then(|value| value.to_str().ok())
        else {
            return false;
        };
        let parts: Vec<(&str, &str)> = header
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
            .collect();
        let Some((_, time)) = parts.iter().find(|(name, _)| *name == "t") else {
            return false;
        };
        let skew = time
            .parse::<u64>()
            .map_or(u64::MAX, |time| time.abs_diff(now_ms() / 1000));
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            return false;
        };
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        let expected = hex::encode(mac.finalize().into_bytes());
        skew <= MAX_SKEW_SECONDS
            && parts
                .iter()
                .any(|(name, value)| *name == "sha256" && *value == expected)
    }

    /// Remembers a delivery.
    fn take(&self, head: &hyper::http::request::Parts, body: &Bytes) -> std::io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        let mut lines = Vec::new();
        let events = self.scanner.scan(body, |id| {
            if state.ids.is_some() {
                lines.extend_from_slice(id);
                lines.push(b'\n');
            }
        });
        if let Some(file) = &mut state.ids {
            file.write_all(&lines)?;
        }
        state.stats.events += events as u64;
        state.stats.last_event_ms = now_ms();
        if self.keep > 0 {
            if state.kept.len() == self.keep {
                state.kept.pop_front();
            }
            state.kept.push_back(received(head, body));
        }
        Ok(())
    }

    async fn control(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/_sink/stats") => json(&self.state().stats),
            (&Method::GET, "/_sink/requests") => json(&self.state().kept),
            (&Method::PUT, "/_sink/behaviour") => {
                let Ok(body) = request.into_body().collect().await else {
                    return answer(StatusCode::BAD_REQUEST, None, "no body");
                };
                match serde_json::from_slice(&body.to_bytes()) {
                    Ok(behaviour) => {
                        self.state().behaviour = behaviour;
                        answer(StatusCode::NO_CONTENT, None, "")
                    }
                    Err(error) => answer(StatusCode::BAD_REQUEST, None, &error.to_string()),
                }
            }
            _ => answer(StatusCode::NOT_FOUND, None, "no such path"),
        }
    }
}

async fn serve(args: Args) -> Result<Infallible, Box<dyn Error>> {
    let sink = Arc::new(Sink::new(&args)?);
    let serving = receiver::serve(args.listen, move |request| {
        let sink = Arc::clone(&sink);
        async move { sink.handle(request).await }
    });
    Ok(serving.await?)
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sink: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(Args::parse())) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("sink: {error}");
            ExitCode::FAILURE
        }
    }
}
