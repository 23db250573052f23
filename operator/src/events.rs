//! Kubernetes Events: what changed about an object, told once, at the change. Publishing never delays or fails a
//! reconcile, and an outage, or a thousand fleets at once, floods nobody: what is beyond the bounds is counted and dropped.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tagfleet_crds::{
    Destination, TaggingContainer,
    conditions::{destination, reasons, tagging_container},
    destination::DestinationStatus,
    tagging_container::TaggingContainerStatus,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::metrics::Metrics;

/// The most bytes of a note (`events.k8s.io/v1`: "The maximal length of the note is 1kB").
const NOTE: usize = 1_024;
/// Events that wait at most.
const QUEUE: usize = 256;
/// Events that may be published at once after a rest.
const BURST: u32 = 50;
/// How often one more may be.
const REFILL: Duration = Duration::from_millis(500);
/// How long publishing one may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether it needs somebody.
    pub type_: EventType,
    /// One word: the condition's reason.
    pub reason: String,
    /// What the operator was doing: one word.
    pub action: &'static str,
    /// What changed, for a person.
    pub note: String,
}

/// What changed from one list of conditions to the next. What is good from the beginning is not told, nor what comes and goes
/// with every edit (`Progressing`).
#[must_use]
pub fn transitions(previous: &[Condition], new: &[Condition]) -> Vec<Transition> {
    let before = |kind: &str| previous.iter().find(|condition| condition.type_ == kind);
    let changed = new
        .iter()
        .filter_map(|condition| transition(before(&condition.type_), condition));
    changed.collect()
}

fn transition(before: Option<&Condition>, now: &Condition) -> Option<Transition> {
    let rule = RULES.iter().find(|rule| rule.condition == now.type_)?;
    let is_good = now.status == rule.good;
    let is_told = if is_good {
        before.is_some_and(|before| is_over(rule, before))
    } else {
        now.status != "Unknown" && rule.trouble.tells(&now.reason) && !is_known(before, now)
    };
    let is_normal = is_good || CHOSEN.contains(&now.reason.as_str());
    is_told.then(|| Transition {
        type_: if is_normal {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: now.reason.clone(),
        action: rule.action,
        note: note(&now.type_, &now.message),
    })
}

/// Whether something ends that is worth telling.
fn is_over(rule: &Rule, before: &Condition) -> bool {
    before.status != rule.good && before.status != "Unknown" && !ON_THE_WAY.contains(&before.reason.as_str())
}

/// Whether the same trouble was there before. For a new generation the specification's mistakes are told again: somebody
/// tried to mend them.
fn is_known(before: Option<&Condition>, now: &Condition) -> bool {
    before.is_some_and(|before| {
        let is_edited =
            now.type_ == tagging_container::ACCEPTED && before.observed_generation != now.observed_generation;
        before.status == now.status && before.reason == now.reason && !is_edited
    })
}

/// When a condition is told.
struct Rule {
    condition: &'static str,
    /// The status that is as it should be.
    good: &'static str,
    trouble: Trouble,
    action: &'static str,
}

/// Which reasons of a condition that is not as it should be are told.
enum Trouble {
    All,
    /// None: other conditions tell them.
    None,
    /// All but these, which other conditions tell.
    AllBut(&'static [&'static str]),
}

impl Trouble {
    fn tells(&self, reason: &str) -> bool {
        !ON_THE_WAY.contains(&reason)
            && match self {
                Self::All => true,
                Self::None => false,
                Self::AllBut(others) => !others.contains(&reason),
            }
    }
}

const fn rule(condition: &'static str, good: &'static str, trouble: Trouble, action: &'static str) -> Rule {
    Rule {
        condition,
        good,
        trouble,
        action,
    }
}

/// `Accepted` is the name of a condition of both kinds.
const RULES: [Rule; 6] = [
    rule(tagging_container::ACCEPTED, "True", Trouble::All, "Validate"),
    rule(tagging_container::READY, "True", Trouble::None, "Serve"),
    rule(tagging_container::DEGRADED, "False", Trouble::All, "Watch"),
    rule(tagging_container::OUT_OF_DATE, "False", Trouble::All, "RollOut"),
    rule(
        destination::CREDENTIALS_RESOLVED,
        "True",
        Trouble::All,
        "ResolveCredentials",
    ),
    rule(
        destination::DELIVERING,
        "True",
        Trouble::AllBut(&[
            reasons::NOT_ACCEPTED,
            reasons::CONTAINER_NOT_FOUND,
            reasons::SECRET_NOT_FOUND,
            reasons::SECRET_KEY_NOT_FOUND,
            reasons::SECRET_NOT_SHARED,
        ]),
        "Deliver",
    ),
];

/// What passes by itself at every beginning and edit: neither its beginning nor its end is told.
const ON_THE_WAY: [&str; 2] = [reasons::CONFIGURING, reasons::PROPAGATING];

/// What somebody chose, or what goes as it should.
const CHOSEN: [&str; 3] = [reasons::PAUSED, reasons::WAITING_FOR_ROLLOUT, reasons::ROLLING_OUT];

fn note(condition: &str, message: &str) -> String {
    let text = format!("{condition}: {message}");
    if text.len() <= NOTE {
        return text;
    }
    let end = text.floor_char_boundary(NOTE - '…'.len_utf8());
    text.get(..end).map_or(text.clone(), |text| format!("{text}…"))
}

/// Publishes events from a task of its own.
#[derive(Clone)]
pub struct Publisher {
    queue: mpsc::Sender<(ObjectReference, Event)>,
    metrics: Arc<Metrics>,
}

impl Publisher {
    /// Starts the task. It ends with the last handle.
    #[must_use]
    pub fn start(client: Client, metrics: Arc<Metrics>) -> Self {
        let recorder = Recorder::new(client, Reporter::from("tagfleet-operator"));
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(publish(recorder, waiting, Arc::clone(&metrics)));
        Self { queue, metrics }
    }

    /// Tells what changed about a container.
    pub fn container(
        &self,
        object: &TaggingContainer,
        previous: Option<&TaggingContainerStatus>,
        new: &TaggingContainerStatus,
    ) {
        let previous = previous.map_or(&[][..], |status| &status.conditions);
        self.tell(&object.object_ref(&()), transitions(previous, &new.conditions));
    }

    /// Tells what changed about a Destination.
    pub fn destination(&self, object: &Destination, previous: Option<&DestinationStatus>, new: &DestinationStatus) {
        let previous = previous.map_or(&[][..], |status| &status.conditions);
        self.tell(&object.object_ref(&()), transitions(previous, &new.conditions));
    }

    fn tell(&self, object: &ObjectReference, transitions: Vec<Transition>) {
        for transition in transitions {
            let event = Event {
                type_: transition.type_,
                reason: transition.reason,
                note: Some(transition.note),
                action: transition.action.to_owned(),
                secondary: None,
            };
            if self.queue.try_send((object.clone(), event)).is_err() {
                drop_one(&self.metrics, object, "the queue is full");
            }
        }
    }
}

async fn publish(recorder: Recorder, mut waiting: mpsc::Receiver<(ObjectReference, Event)>, metrics: Arc<Metrics>) {
    let mut bucket = Bucket::new(BURST, REFILL, Instant::now());
    while let Some((object, event)) = waiting.recv().await {
        if !bucket.take(Instant::now()) {
            drop_one(&metrics, &object, "too many events");
            continue;
        }
        metrics.wrote("create", "Event");
        match timeout(TIMEOUT, recorder.publish(&event, &object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => drop_one(&metrics, &object, &error.to_string()),
            Err(_) => drop_one(&metrics, &object, "the API server does not answer"),
        }
    }
}

fn drop_one(metrics: &Metrics, object: &ObjectReference, why: &str) {
    metrics.event_dropped();
    let name = object.name.as_deref().unwrap_or_default();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    tracing::debug!(namespace, name, why, "dropped an event");
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    most: u32,
    refill: Duration,
    tokens: u32,
    filled_at: Instant,
}

impl Bucket {
    const fn new(most: u32, refill: Duration, now: Instant) -> Self {
        Self {
            most,
            refill,
            tokens: most,
            filled_at: now,
        }
    }

    /// Takes a token, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled_at).as_nanos() / self.refill.as_nanos().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= self.most.saturating_sub(self.tokens) {
            self.tokens = self.most;
            self.filled_at = now;
        } else {
            self.tokens += earned;
            self.filled_at += self.refill * earned;
        }
        let is_there = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        is_there
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: "words".into(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    /// Type and reason of the one event of this change; none if there is none.
    fn told(before: Option<(&str, &str)>, kind: &str, now: (&str, &str)) -> Option<(&'static str, String)> {
        let previous: Vec<_> = before
            .map(|(status, reason)| condition(kind, status, reason))
            .into_iter()
            .collect();
        let mut found = transitions(&previous, &[condition(kind, now.0, now.1)]);
        assert!(found.len() <= 1);
        found.pop().map(|it| {
            let type_ = match it.type_ {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            };
            (type_, it.reason)
        })
    }

    #[test]
    fn what_is_told() {
        for (case, before, kind, now, expected) in [
            ("good from the beginning", None, "Accepted", ("True", "Accepted"), None),
            (
                "bad from the beginning",
                None,
                "Accepted",
                ("False", "Invalid"),
                Some("Warning"),
            ),
            (
                "still bad",
                Some(("False", "Invalid")),
                "Accepted",
                ("False", "Invalid"),
                None,
            ),
            (
                "bad otherwise",
                Some(("False", "Invalid")),
                "Accepted",
                ("False", "Duplicate"),
                Some("Warning"),
            ),
            (
                "mended",
                Some(("False", "Invalid")),
                "Accepted",
                ("True", "Accepted"),
                Some("Normal"),
            ),
            (
                "ready at last",
                Some(("False", "Creating")),
                "Ready",
                ("True", "Serving"),
                Some("Normal"),
            ),
            (
                "an edit on its way",
                Some(("True", "Serving")),
                "Ready",
                ("False", "Configuring"),
                None,
            ),
            (
                "degraded",
                Some(("False", "Healthy")),
                "Degraded",
                ("True", "PodsFailing"),
                Some("Warning"),
            ),
            (
                "well again",
                Some(("True", "PodsFailing")),
                "Degraded",
                ("False", "Healthy"),
                Some("Normal"),
            ),
            (
                "a rollout begins",
                Some(("False", "UpToDate")),
                "OutOfDate",
                ("True", "RollingOut"),
                Some("Normal"),
            ),
            (
                "progress",
                Some(("False", "RolledOut")),
                "Progressing",
                ("True", "RollingOut"),
                None,
            ),
            (
                "paused",
                Some(("True", "Delivering")),
                "Delivering",
                ("False", "Paused"),
                Some("Normal"),
            ),
            (
                "failing",
                Some(("True", "Delivering")),
                "Delivering",
                ("False", "VendorFailing"),
                Some("Warning"),
            ),
            (
                "unknown",
                Some(("True", "Delivering")),
                "Delivering",
                ("Unknown", "NoGateways"),
                None,
            ),
            (
                "on its way",
                None,
                "CredentialsResolved",
                ("False", "Propagating"),
                None,
            ),
        ] {
            let found = told(before, kind, now);
            assert_eq!(found, expected.map(|type_| (type_, now.1.to_owned())), "{case}");
        }
    }

    #[test]
    fn an_edit_that_does_not_mend_it_is_told_again() {
        let before = condition("Accepted", "False", "Invalid");
        let now = Condition {
            observed_generation: Some(2),
            ..before.clone()
        };
        assert_eq!(transitions(&[before], &[now]).len(), 1);
    }

    #[test]
    fn a_note_is_as_long_as_the_api_allows() {
        let text = note("Accepted", &"é".repeat(2_000));
        assert!(text.len() <= NOTE && text.ends_with('…'));
        assert_eq!(note("Accepted", "short"), "Accepted: short");
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_for_each_refill() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, Duration::from_secs(1), start);
        let mut taken = |milliseconds| bucket.take(start + Duration::from_millis(milliseconds));
        assert!(taken(0) && taken(0) && !taken(0) && !taken(900));
        assert!(taken(1_000) && !taken(1_900) && taken(2_000));
        assert!(taken(60_000) && taken(60_000) && !taken(60_000));
    }
}
