//! What happens to a request: its client is found by path, makes events of it, the pipeline judges them, the log takes
//! them, and the answer waits until they are safe.
//!
//! Each worker thread owns an [`IntakeWorker`]: its writing end of the log, its view of the plan (one atomic load per
//! request), and the metric handles of that plan.

use std::{
    cell::RefCell,
    future::poll_fn,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode, Version,
    header::{ALLOW, EXPECT, HOST, SET_COOKIE},
    request::Parts,
};
use hyper::body::Incoming;
use prometheus::IntCounter;
use tagfleet_expressions::{STEPS_PER_HIT, Steps};

use super::{
    Answer, Client, HitRequest, Refusal,
    answers::{self, Answered},
    body::{self, BodyError, BodyMemory},
    limits::Limits,
    repeats::Repeats,
    server::Worker,
    visitor::{by_trusted_proxy, visitor},
};
use crate::{
    clock,
    deduplication::Deduplication,
    hold::Hold,
    log::{Accepted, AppendError, Appender, Commit, SharedLog},
    metrics::{ClientMetrics, Metrics},
    pipeline::{self, Dropped, Fate, Judged, identity::lines_of_answer, visit::Visit},
    plan::Plan,
    status::Board,
    traces::{Tracer, spans::HitSpan},
};

/// What all workers of a gateway share.
pub struct Intake {
    plan: Arc<ArcSwap<Plan>>,
    log: SharedLog,
    deduplication: Arc<Deduplication>,
    tracer: Tracer,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    hold: Arc<Hold>,
    body_memory: BodyMemory,
    body_time: Duration,
    uri_bytes: usize,
}

impl Intake {
    /// Intake into this log, judged by whatever plan is in force when a request arrives.
    #[must_use]
    pub fn new(
        plan: Arc<ArcSwap<Plan>>,
        log: SharedLog,
        deduplication: Arc<Deduplication>,
        tracer: Tracer,
        metrics: Arc<Metrics>,
        board: Arc<Board>,
        limits: &Limits,
    ) -> Self {
        Self {
            plan,
            log,
            deduplication,
            hold: Arc::new(Hold::new(metrics.held_events())),
            tracer,
            metrics,
            board,
            body_memory: BodyMemory::new(limits.body_memory),
            body_time: limits.body_time,
            uri_bytes: limits.uri_bytes,
        }
    }

    /// The events that wait for a decision on consent.
    #[must_use]
    pub fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }

    /// The part of one worker thread, made on it.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> IntakeWorker {
        IntakeWorker {
            plan: RefCell::new(Cache::new(Arc::clone(&self.plan))),
            current: RefCell::new(Rc::new(Current::new(self.plan.load_full(), &self.metrics))),
            appender: RefCell::new(self.log.appender()),
            intake: Arc::clone(self),
        }
    }
}

/// One worker's intake.
pub struct IntakeWorker {
    intake: Arc<Intake>,
    plan: RefCell<Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>>,
    current: RefCell<Rc<Current>>,
    appender: RefCell<Box<dyn Appender>>,
}

/// The plan in force with the handles that its clients' hits touch.
struct Current {
    plan: Arc<Plan>,
    clients: Vec<ClientMetrics>,
    unclaimed: ClientMetrics,
}

impl Current {
    fn new(plan: Arc<Plan>, metrics: &Metrics) -> Self {
        let clients = plan.clients.iter().map(|client| metrics.client(Some(&client.name)));
        Self {
            clients: clients.collect(),
            unclaimed: metrics.client(None),
            plan,
        }
    }

    /// The first client that owns the path, by order.
    fn client(&self, path: &str) -> Option<(&Client, &ClientMetrics)> {
        let mut clients = self.plan.clients.iter().zip(&self.clients);
        clients
            .find(|(client, _)| client.owns(path))
            .map(|(client, metrics)| (&**client, metrics))
    }
}

impl Worker for IntakeWorker {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answered {
        let arrived = Instant::now();
        let current = self.current();
        let (mut parts, body) = request.into_parts();
        name_host(&mut parts);
        let client = current.client(parts.uri.path());
        let (answer, metrics) = match (self.objection(&parts), client) {
            (Some(answer), None) => (answer, &current.unclaimed),
            (Some(answer), Some((_, metrics))) => (answer, metrics),
            (None, None) => (unclaimed(&parts), &current.unclaimed),
            (None, Some((client, metrics))) => {
                let tracer = &self.intake.tracer;
                let span = current
                    .plan
                    .traces
                    .as_deref()
                    .and_then(|traces| tracer.hit(traces, &parts));
                let hit = ClaimedHit {
                    worker: self,
                    plan: &current.plan,
                    client,
                    metrics,
                    parts: &parts,
                    span: span.as_ref(),
                };
                let answer = hit.answer(body, peer).await;
                if let Some(span) = span {
                    tracer.hit_answered(span, client, &parts, answer.status(), arrived.elapsed());
                }
                (answer, metrics)
            }
        };
        metrics.answered(answer.status(), arrived.elapsed());
        answer
    }

    fn idle(&self) {
        // Lets go of a plan that is no longer in force even if no request ever comes.
        drop(self.current());
    }
}

impl IntakeWorker {
    fn current(&self) -> Rc<Current> {
        let mut cache = self.plan.borrow_mut();
        let plan = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(plan, &current.plan) {
            *current = Rc::new(Current::new(Arc::clone(plan), &self.intake.metrics));
        }
        Rc::clone(&current)
    }

    /// What speaks against a request, whoever's path it is.
    fn objection(&self, parts: &Parts) -> Option<Answered> {
        // RFC 9112 section 3.2; HTTP/2 has `:authority` instead.
        let mut hosts = parts.headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (None, _) if parts.version == Version::HTTP_11 => {
                return Some(answers::text(StatusCode::BAD_REQUEST, "no Host header"));
            }
            (_, Some(_)) => return Some(answers::text(StatusCode::BAD_REQUEST, "more than one Host header")),
            _ => {}
        }
        let uri_bytes = parts.uri.path_and_query().map_or(0, |uri| uri.as_str().len());
        (uri_bytes > self.intake.uri_bytes).then(|| {
            let line = format!("the URL is longer than {} bytes", self.intake.uri_bytes);
            answers::text(StatusCode::URI_TOO_LONG, line)
        })
    }
}

/// HTTP/2 names the host in `:authority` (RFC 9113 section 8.3.1). What reads the host finds it in one place, as a gateway
/// to HTTP/1.1 would have put it there.
fn name_host(parts: &mut Parts) {
    if parts.version == Version::HTTP_2
        && !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
}

/// A path that no client owns: the probes of load balancers, or nothing of ours.
fn unclaimed(parts: &Parts) -> Answered {
    match parts.uri.path() {
        "/healthz" | "/healthy" if matches!(parts.method, Method::GET | Method::HEAD) => {
            answers::text(StatusCode::OK, "ok")
        }
        "/healthz" | "/healthy" => {
            answers::method_not_allowed("GET or HEAD only", HeaderValue::from_static("GET, HEAD"))
        }
        _ => answers::text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// A request whose path a client owns.
struct ClaimedHit<'w> {
    worker: &'w IntakeWorker,
    plan: &'w Plan,
    client: &'w Client,
    metrics: &'w ClientMetrics,
    parts: &'w Parts,
    span: Option<&'w HitSpan>,
}

impl ClaimedHit<'_> {
    async fn answer(&self, body: Incoming, peer: IpAddr) -> Answered {
        let cors = &self.plan.cors;
        let headers = &self.parts.headers;
        let mut answer = match self.parts.method {
            Method::GET | Method::HEAD => self.hit(&Bytes::new(), peer).await,
            Method::POST => match self.body(body).await {
                Ok(body) => self.hit(&body, peer).await,
                Err(error) => answers::refused_body(error, self.parts.version),
            },
            Method::OPTIONS => {
                let mut answer = answers::no_content();
                answer.headers_mut().insert(ALLOW, METHODS);
                cors.preflight(headers, answer.headers_mut());
                return answer;
            }
            _ => answers::method_not_allowed("GET, HEAD, POST or OPTIONS only", METHODS),
        };
        cors.answer(headers, answer.headers_mut());
        answer
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, BodyError> {
        let intake = &self.worker.intake;
        let expects = self.parts.headers.contains_key(EXPECT);
        body::read(
            body,
            expects,
            self.plan.request_bytes,
            intake.body_time,
            &intake.body_memory,
        )
        .await
    }

    async fn hit(&self, body: &[u8], peer: IpAddr) -> Answered {
        let taken = match self.take(body, peer) {
            Ok(taken) => taken,
            Err(NotTaken::Refused(refusal)) => return self.refused(&refusal),
            Err(NotTaken::NotStored(error)) => return self.not_taken(&error),
        };
        if let Some(commit) = taken.commit
            && let Err(error) = commit.done().await
        {
            return self.not_taken(&error);
        }
        if !taken.repeats.are_kept().await {
            return answers::first_copy_not_taken();
        }
        let mut answer = match taken.answer {
            Some(own) => answers::own(own),
            None if self.client.answers_with_image() || answers::wants_image(&self.parts.headers) => answers::pixel(),
            None => answers::no_content(),
        };
        for cookie in taken.cookies {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
        answer
    }

    /// From the request to the log, without waiting: nothing that borrows from the request lives on.
    fn take(&self, body: &[u8], peer: IpAddr) -> Result<Taken<'_>, NotTaken> {
        let Parts {
            method, uri, headers, ..
        } = self.parts;
        let request = HitRequest {
            method: if method == Method::HEAD { &Method::GET } else { method },
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
            body,
            visitor: visitor(peer, headers, &self.plan.trusted_proxies),
            by_trusted_proxy: by_trusted_proxy(peer, &self.plan.trusted_proxies),
            received_ms: clock::now_ms(),
            read_cookies: &self.plan.policies.identity.read_cookies,
        };
        let claim = self.client.claim(&request)?;
        self.metrics.invalid.inc_by(claim.invalid);

        let mut steps = Steps::new(STEPS_PER_HIT);
        let visit = Visit::of(self.plan, request, claim.connection, claim.cookies);
        let mut judged: Vec<Judged<'_>> = Vec::with_capacity(claim.events.len());
        for event in claim.events {
            match pipeline::judge(self.plan, event, &visit, &mut steps) {
                Fate::Judged(event) => judged.push(*event),
                Fate::Dropped(Dropped::Bot) => self.metrics.bot.inc(),
                Fate::Dropped(Dropped::Invalid(rules)) => {
                    self.metrics.invalid.inc();
                    self.count_broken(&rules);
                }
            }
        }
        let Intake {
            hold,
            metrics,
            deduplication,
            ..
        } = &*self.worker.intake;
        for judged in &judged {
            self.count_broken(&judged.broken_rules);
            for failed in &judged.expression_errors {
                metrics.expression_errors(&failed.object, &failed.expression, 1);
            }
        }
        if let Some(span) = self.span {
            span.brought(judged.len());
            for judged in &mut judged {
                judged.record.trace = Some(span.mark());
            }
        }
        let received_ms = visit.request.received_ms;
        let mut repeats = Repeats::take_from(&mut judged, deduplication, self.metrics, received_ms);
        for judged in &mut judged {
            hold.make_room(self.plan, judged);
        }
        let commit = self.append(&judged)?.map(|commit| Awaited {
            commit: Some(repeats.confirmed_by(commit)),
            events: judged.len() as u64,
            accepted: &self.metrics.accepted,
        });
        let now = Instant::now();
        for judged in &judged {
            metrics.consent_decided(&judged.consent);
            hold.note(self.plan, judged, now);
        }
        Ok(Taken {
            commit,
            repeats,
            answer: claim.answer,
            cookies: lines_of_answer(judged.into_iter().flat_map(|judged| judged.cookies)),
        })
    }

    fn append(&self, judged: &[Judged<'_>]) -> Result<Option<Commit>, AppendError> {
        fn accepted<'e, 'a>(judged: &'e Judged<'a>) -> Accepted<'e, 'a> {
            Accepted {
                record: &judged.record,
                verdicts: &judged.verdicts,
            }
        }
        let mut appender = self.worker.appender.borrow_mut();
        match judged {
            [] => Ok(None),
            // Nearly every hit: no list needed.
            [only] => appender.append(&[accepted(only)]).map(Some),
            several => {
                let several: Vec<_> = several.iter().map(accepted).collect();
                appender.append(&several).map(Some)
            }
        }
    }

    fn count_broken(&self, rules: &[usize]) {
        for rule in rules {
            self.worker.intake.metrics.invalid_event(*rule);
        }
    }

    fn not_taken(&self, error: &AppendError) -> Answered {
        self.worker.intake.board.hit_not_taken(clock::now_ms(), error);
        answers::not_taken(error)
    }

    fn refused(&self, refusal: &Refusal) -> Answered {
        self.metrics.invalid.inc_by(match refusal {
            Refusal::BadRequest(_) => 1,
            Refusal::NoEvent { invalid, .. } => *invalid,
            Refusal::Forbidden(_) | Refusal::TooLarge(_) | Refusal::MethodNotAllowed(_) => 0,
        });
        answers::refused(refusal, &self.parts.method)
    }
}

/// Why the log has nothing of a hit.
enum NotTaken {
    /// By its client.
    Refused(Refusal),
    /// By the log.
    NotStored(AppendError),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<AppendError> for NotTaken {
    fn from(error: AppendError) -> Self {
        Self::NotStored(error)
    }
}

/// What became of a hit that the log has in its hands.
struct Taken<'w> {
    commit: Option<Awaited<'w>>,
    repeats: Repeats,
    answer: Option<Answer>,
    cookies: Vec<HeaderValue>,
}

/// A commit that is waited for, and the events that count as accepted once it is done.
struct Awaited<'w> {
    commit: Option<Commit>,
    events: u64,
    accepted: &'w IntCounter,
}

impl Awaited<'_> {
    async fn done(mut self) -> Result<(), AppendError> {
        let result = poll_fn(|cx| match self.commit.as_mut() {
            Some(commit) => commit.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        })
        .await;
        self.commit = None;
        if result.is_ok() {
            self.accepted.inc_by(self.events);
        }
        result
    }
}

impl Drop for Awaited<'_> {
    /// The sender went away meanwhile. Its events are in the log all the same, and count if they stay there.
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (accepted, events) = (self.accepted.clone(), self.events);
            runtime.spawn(async move {
                if commit.await.is_ok() {
                    accepted.inc_by(events);
                }
            });
        }
    }
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");

#[cfg(test)]
mod tests;
