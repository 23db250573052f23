//! `simulate`: what would become of a hit, by the same code that serves, and without sending anything.

pub mod changes;
mod configuration;
mod hide;
pub mod report;
pub mod requests;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use http::Method;
use serde::Serialize;
use serde_json::{Value as Json, json};
use tagfleet_expressions::{STEPS_PER_HIT, Steps};

use self::{changes::Change, hide::Hidden, requests::GivenRequest};
use crate::{
    config::finding::Finding,
    delivery::view::prepare_record,
    destinations::{Encoding, Request},
    event::Event,
    ingest::{ClaimedEvent, HitRequest, answers, visitor::visitor},
    pipeline::{self, Dropped, Fate, Judged, Watch, consent::Source, triggers::Decision, validation, visit::Visit},
    plan::{Plan, PlannedDestination},
    record::{ConsentSignal, SIGNALS},
};

/// A configuration to try hits on.
pub struct Simulator {
    plan: Plan,
    hidden: Hidden,
}

/// When and from where a hit is taken to come.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// When it arrives, unix milliseconds.
    pub now_ms: i64,
    /// The address of the connection: the visitor's, unless X-Forwarded-For says another.
    pub peer: IpAddr,
}

/// What would become of a hit.
#[derive(Clone, Debug, Serialize)]
pub struct SimulatedHit {
    /// `POST /g/collect`.
    pub request: String,
    /// The client that claims it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Lines of a batch that are dropped as invalid.
    pub invalid: u64,
    /// Its events.
    pub events: Vec<SimulatedEvent>,
}

/// What would become of an event.
#[derive(Clone, Debug, Serialize)]
pub struct SimulatedEvent {
    /// Its name.
    pub event_name: String,
    /// Why it goes no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<&'static str>,
    /// The state of each signal.
    pub consent: BTreeMap<&'static str, &'static str>,
    /// Who decided on it: what the hit said, or which default.
    pub consent_sources: BTreeMap<&'static str, &'static str>,
    /// What each step changed.
    pub steps: Vec<Step>,
    /// The event as the log would keep it.
    pub event: Json,
    /// Expressions that failed, with the reason.
    pub expression_errors: Vec<String>,
    /// Every destination.
    pub destinations: Vec<SimulatedDestination>,
}

/// A step that changed something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The step, as the field that configures it is called.
    pub step: String,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// What a destination would get.
#[derive(Clone, Debug, Serialize)]
pub struct SimulatedDestination {
    /// Its name.
    pub name: String,
    /// Whether the event is meant for it.
    pub fires: bool,
    /// Why, or why not.
    pub reason: String,
    /// What its own transformations change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The requests, secrets hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<ShownRequest>,
    /// Why the vendor can never take it: it would be a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// An outgoing request, secrets hidden.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownRequest {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers, in lower case; those that are secret are hidden whole.
    pub headers: BTreeMap<String, String>,
    /// The body: JSON where it is, else text.
    pub body: Json,
}

impl SimulatedDestination {
    fn unsent(destination: &PlannedDestination, reason: &str) -> Self {
        Self {
            name: destination.name.to_string(),
            fires: false,
            reason: reason.to_owned(),
            changes: Vec::new(),
            requests: Vec::new(),
            refused: None,
        }
    }
}

impl Simulator {
    /// Reads manifests. A Secret that is not among them is stood in for: nothing is sent, so that none is needed.
    ///
    /// # Errors
    /// All findings, of which at least one is an error.
    pub fn load(
        paths: Vec<PathBuf>,
        secrets_dir: Option<PathBuf>,
        container: Option<&str>,
    ) -> Result<Self, Vec<Finding>> {
        let (plan, hidden) = configuration::load(paths, secrets_dir, container)?;
        Ok(Self { plan, hidden })
    }

    /// What would become of this request.
    #[must_use]
    pub fn hit(&self, given: &GivenRequest, with: Circumstances) -> SimulatedHit {
        let mut hit = SimulatedHit {
            request: format!("{} {}", given.method, given.path),
            client: None,
            status: 404,
            refusal: None,
            invalid: 0,
            events: Vec::new(),
        };
        let Some(client) = self.plan.clients.iter().find(|client| client.owns(&given.path)) else {
            hit.refusal = Some("no client claims this path".to_owned());
            return hit;
        };
        hit.client = Some(client.name.clone());
        let request = HitRequest {
            method: if given.method == Method::HEAD {
                &Method::GET
            } else {
                &given.method
            },
            path: &given.path,
            query: &given.query,
            headers: &given.headers,
            body: &given.body,
            // Whoever writes the file says who the visitor is: as a proxy that is trusted would.
            visitor: visitor(with.peer, &given.headers, &[with.peer.into()]),
            by_trusted_proxy: true,
            received_ms: with.now_ms,
            read_cookies: &self.plan.policies.identity.read_cookies,
        };
        let claim = match client.claim(&request) {
            Ok(claim) => claim,
            Err(refusal) => {
                hit.status = answers::refused(&refusal, &given.method).status().as_u16();
                hit.refusal = Some(refusal.to_string());
                return hit;
            }
        };
        let as_image = client.answers_with_image() || answers::wants_image(&given.headers);
        hit.status = match &claim.answer {
            Some(own) => own.status.as_u16(),
            None if as_image => 200,
            None => 204,
        };
        hit.invalid = claim.invalid;
        let visit = Visit::of(&self.plan, request, claim.connection, claim.cookies);
        let mut steps = Steps::new(STEPS_PER_HIT);
        hit.events = claim
            .events
            .into_iter()
            .map(|event| self.event(event, &visit, &mut steps, with.now_ms))
            .collect();
        hit
    }

    fn event(&self, claimed: ClaimedEvent<'_>, visit: &Visit<'_>, steps: &mut Steps, now_ms: i64) -> SimulatedEvent {
        let mut watch = Recorder::new(&claimed.event);
        let event_name = claimed.event.name().to_owned();
        let fate = pipeline::judge_watched(&self.plan, claimed, visit, steps, &mut watch);
        let mut simulated = SimulatedEvent {
            event_name,
            dropped: None,
            consent: BTreeMap::new(),
            consent_sources: BTreeMap::new(),
            steps: watch.steps,
            event: watch.last,
            expression_errors: Vec::new(),
            destinations: Vec::new(),
        };
        match fate {
            Fate::Dropped(reason) => {
                let reason = match reason {
                    Dropped::Bot => "a bot's, and privacy.bots is Drop",
                    Dropped::Invalid(_) => "it breaks the tracking plan, and validation says Drop",
                };
                simulated.dropped = Some(reason);
                let unsent = |destination: &Arc<PlannedDestination>| SimulatedDestination::unsent(destination, reason);
                simulated.destinations = self.plan.destinations.iter().map(unsent).collect();
            }
            Fate::Judged(judged) => self.judged(&judged, &watch.decisions, now_ms, &mut simulated),
        }
        simulated
    }

    fn judged(&self, judged: &Judged<'_>, decisions: &[Decision], now_ms: i64, simulated: &mut SimulatedEvent) {
        let names = SIGNALS.map(|signal| signal.as_str());
        let states = judged.consent.consent.states().map(ConsentSignal::as_str);
        let sources = judged.consent.sources.map(Source::as_str);
        simulated.consent = names.into_iter().zip(states).collect();
        simulated.consent_sources = names.into_iter().zip(sources).collect();
        let errors = judged.expression_errors.iter();
        simulated.expression_errors = errors
            .map(|failed| format!("{}, {}: {}", failed.object, failed.expression, failed.reason))
            .collect();
        for (destination, decision) in self.plan.destinations.iter().zip(decisions) {
            let shown = self.destination(destination, decision, judged, now_ms);
            simulated.destinations.push(shown);
        }
    }

    fn destination(
        &self,
        destination: &PlannedDestination,
        decision: &Decision,
        judged: &Judged<'_>,
        now_ms: i64,
    ) -> SimulatedDestination {
        let mut shown = SimulatedDestination::unsent(destination, &decision.to_string());
        if !decision.is_meant() {
            return shown;
        }
        shown.fires = true;
        if destination.paused {
            shown
                .reason
                .push_str("; the destination is paused, so that it would wait");
        }
        if let Some(breach) = &judged.record.rejected {
            shown.refused = Some(validation::rejection(breach));
            return shown;
        }
        let mut record = judged.record.clone();
        let before = as_json(&record.event);
        prepare_record(destination, &mut record);
        destination.view.apply(&mut record, &mut BTreeMap::new());
        shown.changes = changes::between(&before, &as_json(&record.event));
        let Encoding {
            requests, mut refused, ..
        } = destination.vendor.encode(&[record], now_ms);
        shown.refused = refused.pop().map(|(_, reason)| reason.into_owned());
        shown.requests = requests
            .iter()
            .map(|encoded| self.request(destination, &encoded.request))
            .collect();
        shown
    }

    fn request(&self, destination: &PlannedDestination, request: &Request) -> ShownRequest {
        let headers = request.headers.iter().map(|(name, value)| {
            let shown = if value.is_sensitive() {
                "[hidden]".to_owned()
            } else {
                self.hidden.hide(&String::from_utf8_lossy(value.as_bytes()))
            };
            (name.to_string(), shown)
        });
        let text = self.hidden.hide(&String::from_utf8_lossy(&request.body));
        let body = destination
            .vendor
            .readable(request)
            .map(|body| self.hidden.hide(&body.to_string()))
            .and_then(|hidden| serde_json::from_str(&hidden).ok())
            .or_else(|| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| json!(text));
        ShownRequest {
            method: request.method.to_string(),
            url: self.hidden.hide(request.url.as_str()),
            headers: headers.collect(),
            body,
        }
    }
}

/// Takes down what each step of the pipeline changes.
struct Recorder {
    last: Json,
    steps: Vec<Step>,
    decisions: Vec<Decision>,
}

impl Recorder {
    fn new(event: &Event<'_>) -> Self {
        Self {
            last: as_json(event),
            steps: Vec::new(),
            decisions: Vec::new(),
        }
    }
}

impl Watch for Recorder {
    fn step(&mut self, step: &str, event: &Event<'_>) {
        let now = as_json(event);
        let changes = changes::between(&self.last, &now);
        if !changes.is_empty() {
            self.steps.push(Step {
                step: step.to_owned(),
                changes,
            });
        }
        self.last = now;
    }

    fn decided(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }
}

fn as_json(event: &Event<'_>) -> Json {
    serde_json::to_value(event).unwrap_or_default()
}
