//! Doubles of the vendors in one process. Which vendor a request is for follows from its path. Each vendor's rules are in
//! its own module, with the section of its sheet (vendors/*.md) beside them.
//!
//! Paths of the program itself: `GET /_vendors` (names), and for each vendor `/_vendors/<name>/stats`, `/events`,
//! `/requests`, and `PUT /_vendors/<name>/mood`.
// A JSON value without such a member gives null when it is asked for it: that is how rules are written here.
#![allow(clippy::indexing_slicing)]

mod big_query;
mod double;
mod google_ads;
mod linkedin;
mod meta;
mod pinterest;
mod snapchat;
mod tiktok;

use std::{
    collections::VecDeque,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::Parser;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, StatusCode, body::Incoming};
use serde_json::Value;
use tagfleet_tests::{
    receiver::{self, Answer, Hangup, answer, json, now_ms, received},
    sink::{Close, Received, Stats},
    vendors::Mood,
};

use crate::double::{Call, Double};

/// The vendors: a line each.
fn doubles() -> Vec<Box<dyn Double>> {
    vec![
        Box::new(meta::Meta),
        Box::new(tiktok::Tiktok),
        Box::new(pinterest::Pinterest),
        Box::new(linkedin::Linkedin),
        Box::new(snapchat::Snapchat),
        Box::<google_ads::GoogleAds>::default(),
        Box::<big_query::BigQuery>::default(),
    ]
}

/// So many events and requests of a vendor are remembered.
const KEPT: usize = 20_000;

#[derive(Parser)]
#[command(about = "Answers in place of the vendors")]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// A vendor and what it remembers.
struct Vendor {
    double: Box<dyn Double>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    stats: Stats,
    events: VecDeque<Value>,
    requests: VecDeque<Received>,
}

impl Vendor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Answer, Hangup> {
        let mood = self.mood_now();
        let (head, body) = request.into_parts();
        let body = mood.behaviour.body(body).await;
        let Ok(body) = body else {
            self.state().stats.refused += 1;
            return Err(Hangup);
        };
        self.state().remember(received(&head, &body));
        if let Some(status) = mood.behaviour.status.and_then(|code| StatusCode::from_u16(code).ok()) {
            self.state().stats.refused += 1;
            let text = "the test wants this request to fail";
            return Ok(answer(status, mood.behaviour.retry_after, text));
        }
        let call = Call {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body: &body,
            now_ms: now_ms(),
        };
        let verdict = match mood.trouble {
            Some(trouble) => self.double.in_trouble(trouble, &call),
            None => self.double.answer(&call),
        };
        let (mut reply, taken) = verdict.into_parts();
        if let Some(seconds) = mood.behaviour.retry_after.filter(|_| mood.trouble.is_some()) {
            reply.headers_mut().insert(hyper::header::RETRY_AFTER, seconds.into());
        }
        self.state().take(taken, reply.status());
        if mood.behaviour.close == Some(Close::BeforeAnswer) {
            return Err(Hangup);
        }
        Ok(reply)
    }

    /// The mood for this request; counts it.
    fn mood_now(&self) -> Mood {
        let mut state = self.state();
        state.stats.requests += 1;
        if state.mood.behaviour.times == Some(0) {
            state.mood = Mood::default();
        }
        Mood {
            behaviour: state.mood.behaviour.for_next_request(),
            trouble: state.mood.trouble,
        }
    }

    async fn told(&self, request: Request<Incoming>, what: &str) -> Answer {
        match (request.method(), what) {
            (&Method::GET, "stats") => json(&self.state().stats),
            (&Method::GET, "events") => json(&self.state().events),
            (&Method::GET, "requests") => json(&self.state().requests),
            (&Method::PUT, "mood") => {
                let body = request.into_body().collect().await;
                let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                match serde_json::from_slice(&body) {
                    Ok(mood) => {
                        self.state().mood = mood;
                        answer(StatusCode::NO_CONTENT, None, "")
                    }
                    Err(error) => answer(StatusCode::BAD_REQUEST, None, &error.to_string()),
                }
            }
            _ => answer(StatusCode::NOT_FOUND, None, "no such path"),
        }
    }
}

impl State {
    fn remember(&mut self, request: Received) {
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    fn take(&mut self, events: Vec<Value>, status: StatusCode) {
        if !status.is_success() {
            self.stats.refused += 1;
        }
        for event in events {
            self.stats.events += 1;
            self.stats.last_event_ms = now_ms();
            if self.events.len() == KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }
}

async fn handle(vendors: &[Vendor], request: Request<Incoming>) -> Result<Answer, Hangup> {
    let path = request.uri().path().to_owned();
    if let Some(own) = path.strip_prefix("/_vendors") {
        let mut parts = own.split('/').skip(1);
        let Some(name) = parts.next() else {
            let names: Vec<&str> = vendors.iter().map(|vendor| vendor.double.name()).collect();
            return Ok(json(&names));
        };
        let what = parts.next().unwrap_or_default();
        return Ok(match vendors.iter().find(|vendor| vendor.double.name() == name) {
            Some(vendor) => vendor.told(request, what).await,
            None => answer(StatusCode::NOT_FOUND, None, "no such vendor"),
        });
    }
    match vendors.iter().find(|vendor| vendor.double.owns(&path)) {
        Some(vendor) => vendor.handle(request).await,
        None => Ok(answer(StatusCode::NOT_FOUND, None, "no vendor has this path")),
    }
}

async fn serve(args: Args) -> Result<std::convert::Infallible, Box<dyn Error>> {
    let vendors = doubles().into_iter().map(|double| Vendor {
        double,
        state: Mutex::default(),
    });
    let vendors: Arc<[Vendor]> = vendors.collect();
    let serving = receiver::serve(args.listen, move |request| {
        let vendors = Arc::clone(&vendors);
        async move { handle(&vendors, request).await }
    });
    Ok(serving.await?)
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vendors: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(Args::parse())) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("vendors: {error}");
            ExitCode::FAILURE
        }
    }
}
