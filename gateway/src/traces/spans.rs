//! The two spans of a gateway: a hit, and a request that delivers events. Names and attributes are OpenTelemetry's semantic
//! conventions for HTTP and RPC, and `tagfleet.*`.
//!
//! Nothing of a hit's content is told: no query, no address, no user agent, no header but the trace context. Nor is what a
//! vendor answered in words, as vendors repeat what they got; nor a target's path and query, which may be a secret
//! (`url.full` is left out for that).

use std::{
    cell::Cell,
    collections::HashSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::{Method, StatusCode as HttpStatus};
use url::Url;

use super::{
    context::{Parent, SpanContext, Traced},
    otlp::{KeyValue, Link, Span, SpanKind, Status, StatusCode, flags},
};
use crate::{
    delivery::attempt::Attempt,
    destinations::{Outcome, Request},
    ingest::Client,
    metrics::CallCode,
};

/// The most links of a span: what OpenTelemetry's own libraries keep.
const MAX_LINKS: usize = 128;

/// A hit that is traced, until it is answered.
#[derive(Debug)]
pub struct HitSpan {
    traced: Traced,
    parent: Option<SpanContext>,
    begun: SystemTime,
    events: Cell<u64>,
}

impl HitSpan {
    pub(super) fn begin(parent: Option<Parent>, state: Box<str>) -> Self {
        let parent = parent.map(|parent| parent.context);
        Self {
            traced: Traced {
                context: parent.map_or_else(SpanContext::root, SpanContext::child),
                state,
            },
            parent,
            begun: SystemTime::now(),
            events: Cell::new(0),
        }
    }

    /// What its events are marked with.
    #[must_use]
    pub fn mark(&self) -> Box<Traced> {
        Box::new(self.traced.clone())
    }

    /// Takes note of how many events it brought.
    pub fn brought(&self, events: usize) {
        self.events.set(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// The span of a hit to `path` that was answered. Of the path it tells what the client's configuration says.
    pub(super) fn end(self, client: &Client, method: &Method, path: &str, status: HttpStatus, took: Duration) -> Span {
        let route = client.route(path);
        let mut attributes = vec![
            KeyValue::text("http.request.method", method.as_str()),
            KeyValue::text("http.route", route),
            KeyValue::text("url.path", route),
            KeyValue::int("http.response.status_code", status.as_u16()),
            KeyValue::text("tagfleet.client", client.name.as_str()),
            KeyValue::int("tagfleet.events", self.events.get()),
        ];
        // Of a server's span only its own faults are errors.
        let failed = status.is_server_error();
        if failed {
            attributes.push(KeyValue::text("error.type", status.as_str()));
        }
        let span = of(self.traced.context, self.parent, self.begun, took);
        Span {
            name: format!("{method} {route}"),
            kind: SpanKind::Server.into(),
            trace_state: self.traced.state.into(),
            attributes,
            status: failed.then(error),
            ..span
        }
    }
}

/// A request with traced events, until it is answered.
#[derive(Debug)]
pub struct DeliverySpan {
    context: SpanContext,
    /// The hit, where all traced events are of one.
    only: Option<Traced>,
    links: Vec<Link>,
    dropped_links: u32,
    name: String,
    attributes: Vec<KeyValue>,
    begun: (SystemTime, Instant),
}

/// What carries the events of a request.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'c> {
    /// The destination's name.
    pub destination: &'c str,
    /// Events, traced or not.
    pub events: usize,
    /// Which request it is that carries them, from 1.
    pub attempt: u32,
}

impl DeliverySpan {
    /// None when no event is traced.
    ///
    /// A batch has many hits behind it and a span has one parent, so that each hit is a link. Where only one hit is traced,
    /// it is the parent too, and its trace shows the whole way.
    pub(super) fn begin(traced: &[Traced], carrier: Carrier<'_>, request: &Request) -> Option<Self> {
        let mut seen = HashSet::new();
        let mut hits = traced.iter().filter(|hit| seen.insert(hit.context));
        let first = hits.next()?;
        let mut links = vec![link(first)];
        links.extend(hits.by_ref().take(MAX_LINKS - 1).map(link));
        let dropped_links = hits.count();
        let only = (links.len() == 1).then(|| first.clone());
        let mut attributes = vec![
            KeyValue::text("http.request.method", request.method.as_str()),
            KeyValue::text("tagfleet.destination", carrier.destination),
            KeyValue::int("tagfleet.events", carrier.events),
            KeyValue::int("tagfleet.attempts", carrier.attempt),
        ];
        attributes.extend(server(&request.url));
        Some(Self {
            context: only.as_ref().map_or_else(SpanContext::root, |hit| hit.context.child()),
            only,
            links,
            dropped_links: u32::try_from(dropped_links).unwrap_or(u32::MAX),
            name: format!("deliver {}", carrier.destination),
            attributes,
            begun: (SystemTime::now(), Instant::now()),
        })
    }

    /// Writes it into a request, for its receiver to go on with.
    pub fn write(&self, request: &mut Request) {
        let state = self.only.as_ref().map_or("", |hit| &hit.state);
        self.context.write(state, &mut request.headers);
    }

    pub(super) fn end(self, attempt: &Attempt) -> Span {
        let mut attributes = self.attributes;
        attributes.extend(match attempt.code {
            CallCode::Http(status) => Some(KeyValue::int("http.response.status_code", status.as_u16())),
            CallCode::Grpc(status) => Some(KeyValue::int("rpc.grpc.status_code", status)),
            CallCode::Timeout | CallCode::Connection => None,
        });
        let failed = !is_taken(&attempt.outcome);
        if failed {
            attributes.push(KeyValue::text("error.type", attempt.code.to_string()));
        }
        let (begun, clock) = self.begun;
        let parent = self.only.as_ref().map(|hit| hit.context);
        Span {
            name: self.name,
            kind: SpanKind::Client.into(),
            trace_state: self.only.map(|hit| hit.state.into()).unwrap_or_default(),
            attributes,
            links: self.links,
            dropped_links_count: self.dropped_links,
            status: failed.then(error),
            ..of(self.context, parent, begun, clock.elapsed())
        }
    }
}

/// Whether the vendor took at least what nothing is wrong with.
const fn is_taken(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Delivered | Outcome::DeliveredWith { .. } | Outcome::PerEvent(_) | Outcome::Named { .. } => true,
        Outcome::Retry { .. }
        | Outcome::Refused { .. }
        | Outcome::RefusedBatch { .. }
        | Outcome::RefusedEvents { .. }
        | Outcome::CredentialsRejected { .. }
        | Outcome::Gone { .. } => false,
    }
}

/// Where a request goes: host and port.
fn server(url: &Url) -> impl Iterator<Item = KeyValue> {
    let host = url.host_str().map(|host| KeyValue::text("server.address", host));
    let port = url
        .port_or_known_default()
        .map(|port| KeyValue::int("server.port", port));
    host.into_iter().chain(port)
}

fn link(hit: &Traced) -> Link {
    Link {
        trace_id: trace_id(hit.context),
        span_id: span_id(hit.context),
        trace_state: hit.state.to_string(),
        flags: flags(false),
    }
}

/// What every span has.
fn of(context: SpanContext, parent: Option<SpanContext>, begun: SystemTime, took: Duration) -> Span {
    Span {
        trace_id: trace_id(context),
        span_id: span_id(context),
        parent_span_id: parent.map(span_id).unwrap_or_default(),
        start_time_unix_nano: unix_nanos(begun),
        end_time_unix_nano: unix_nanos(begun + took),
        flags: flags(parent.is_some()),
        ..Span::default()
    }
}

fn error() -> Status {
    Status {
        code: StatusCode::Error.into(),
    }
}

fn trace_id(context: SpanContext) -> Vec<u8> {
    context.trace().to_be_bytes().to_vec()
}

fn span_id(context: SpanContext) -> Vec<u8> {
    context.span().to_be_bytes().to_vec()
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
