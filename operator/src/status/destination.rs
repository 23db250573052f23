//! The status of a Destination.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tagfleet_crds::{
    DestinationSpec,
    conditions::{destination as types, reasons},
    destination::{ContainerStatus, DestinationStatus},
    tagging_container::GatewayCount,
};

use super::{
    conditions::{Draft, find, settle, severity},
    pods,
    tagging_container::keep,
};
use crate::{
    gateways::{DeliveryState, DestinationReport, FleetReport, Refusal},
    observed::PodState,
    verdict::DestinationVerdict,
};

/// The most of `lastError`, in characters: the schema allows 1,024.
const LAST_ERROR: usize = 1_000;

/// What was observed of a Destination.
#[derive(Clone, Debug)]
pub struct DestinationInput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Its specification as it stands in the API server.
    pub spec: &'a DestinationSpec,
    /// How it is in each container that it refers to, by name; none where there is no such container.
    pub containers: BTreeMap<&'a str, Option<InContainer<'a>>>,
    /// The status that stands in the API server.
    pub previous: Option<&'a DestinationStatus>,
    /// The time.
    pub now: Timestamp,
}

/// What was observed of a Destination in one container.
#[derive(Clone, Copy, Debug)]
pub struct InContainer<'a> {
    /// What was decided about it.
    pub verdict: &'a DestinationVerdict,
    /// The container's pods.
    pub pods: &'a [PodState],
    /// What the container's gateways say; none as long as they were not asked since the operator's start.
    pub report: Option<&'a FleetReport>,
}

/// The status of a Destination. For the same input it is the same; with itself as `previous`, too.
///
/// At the top stands, of each condition, the worst of all containers: not so before unknown before so; what needs somebody
/// before what passes by itself before what somebody chose; among equals the first by name.
#[must_use]
pub fn destination(input: &DestinationInput<'_>) -> DestinationStatus {
    let found: BTreeMap<_, _> = input
        .containers
        .iter()
        .map(|(name, found)| (*name, found.map(InContainer::with_report)))
        .collect();
    let containers: Vec<_> = found
        .iter()
        .map(|(name, found)| in_container(input, name, found.as_ref()))
        .collect();
    let worst =
        [types::ACCEPTED, types::CREDENTIALS_RESOLVED, types::DELIVERING].map(|kind| worst(input, &containers, kind));
    let lags = found
        .values()
        .flatten()
        .filter_map(|found| Some(found.now(input.name)?.lag));
    let is_asked = found.values().flatten().any(|found| found.report.is_some());
    let previous_lag = || input.previous.and_then(|status| status.lag.clone());
    DestinationStatus {
        observed_generation: containers
            .iter()
            .flat_map(|container| &container.conditions)
            .filter_map(|condition| condition.observed_generation)
            .min()
            .or(Some(input.generation)),
        conditions: worst.into_iter().flatten().collect(),
        gateways: sum(containers.iter().filter_map(|container| container.gateways)),
        vendor: input.spec.vendor().map(|vendor| vendor.name().to_owned()),
        lag: if is_asked {
            lags.max().map(|lag| lag.to_string())
        } else {
            containers
                .iter()
                .any(|container| container.lag.is_some())
                .then(previous_lag)
                .flatten()
        },
        last_error: last_error(&containers),
        containers,
    }
}

fn in_container(input: &DestinationInput<'_>, name: &str, found: Option<&InContainer<'_>>) -> ContainerStatus {
    let previous = input
        .previous
        .and_then(|status| status.containers.iter().find(|it| it.name == name));
    let said = previous.map_or(&[][..], |container| &container.conditions);
    let Some(found) = found else {
        return ContainerStatus {
            name: name.to_owned(),
            conditions: settle(absent(name), said, input.generation, input.now),
            ..ContainerStatus::default()
        };
    };
    // Before the gateways were asked, what they last said stays.
    let carried = previous.filter(|_| found.report.is_none());
    let now = found.now(input.name);
    let drafts = vec![
        found.accepted(),
        found.credentials(input, now, said),
        found.delivering(input, now, carried),
    ];
    ContainerStatus {
        name: name.to_owned(),
        conditions: settle(drafts, said, found.verdict.generation, input.now),
        gateways: found
            .gateways(input.name)
            .or_else(|| carried.and_then(|container| container.gateways)),
        lag: now
            .map(|report| report.lag.to_string())
            .or_else(|| carried.and_then(|container| container.lag.clone())),
        last_error: now
            .and_then(|report| report.last_error.as_deref())
            .map(|error| error.chars().take(LAST_ERROR).collect())
            .or_else(|| carried.and_then(|container| container.last_error.clone())),
    }
}

fn absent(container: &str) -> Vec<Draft> {
    let message = format!("There is no TaggingContainer {container} in this namespace.");
    vec![
        Draft::no(types::ACCEPTED, reasons::CONTAINER_NOT_FOUND, message.as_str()),
        Draft::unknown(
            types::CREDENTIALS_RESOLVED,
            reasons::CONTAINER_NOT_FOUND,
            message.as_str(),
        ),
        Draft::no(types::DELIVERING, reasons::CONTAINER_NOT_FOUND, message),
    ]
}

impl<'a> InContainer<'a> {
    fn with_report(self) -> Self {
        Self {
            report: pods::report(self.report, self.pods),
            ..self
        }
    }

    /// How it fares in the gateways.
    fn now(&self, name: &str) -> Option<&'a DestinationReport> {
        self.report?.destinations.get(name)
    }

    fn wanted(&self, name: &str) -> BTreeMap<String, i64> {
        let generation = self.verdict.in_force;
        generation
            .map(|generation| (format!("Destination/{name}"), generation))
            .into_iter()
            .collect()
    }

    fn gateways(&self, name: &str) -> Option<GatewayCount> {
        self.verdict.in_force?;
        Some(pods::updated(self.pods, self.report?, &self.wanted(name)))
    }

    fn accepted(&self) -> Draft {
        let verdict = &self.verdict.accepted;
        let mut draft = Draft::of(types::ACCEPTED, verdict);
        keep(&mut draft, verdict.holds, self.verdict.in_force);
        draft
    }

    /// The operator's verdict; where it is good, whether the gateways have the values.
    fn credentials(&self, input: &DestinationInput<'_>, now: Option<&DestinationReport>, said: &[Condition]) -> Draft {
        const KIND: &str = types::CREDENTIALS_RESOLVED;
        let verdict = &self.verdict.credentials;
        let before = find(said, KIND);
        let is_on_the_way = match now {
            _ if !verdict.holds => false,
            Some(report) => report.state == DeliveryState::Propagating,
            // Before the gateways were asked, what they last said stays.
            None if self.report.is_none() => before.is_some_and(|before| before.reason == reasons::PROPAGATING),
            // They were, and know nothing of it yet: it is new, or was shared this moment.
            None => {
                let was_there = before.is_some_and(|before| before.status == "True");
                !was_there && needs_secrets(input.spec) && self.may_take_it_up(input.name)
            }
        };
        match is_on_the_way {
            true => Draft::no(KIND, reasons::PROPAGATING, PROPAGATING),
            false => Draft::of(KIND, verdict),
        }
    }

    /// Whether there are gateways, and none refuses it.
    fn may_take_it_up(&self, name: &str) -> bool {
        self.report
            .is_some_and(|report| !report.gateways.is_empty() && self.refused(report, &self.wanted(name)).is_none())
    }

    /// The first refusal of what is wanted, with the pod that refuses it.
    fn refused<'r>(
        &self,
        report: &'r FleetReport,
        wanted: &'r BTreeMap<String, i64>,
    ) -> Option<(&'r str, &'r Refusal)> {
        pods::refusals(report, wanted).find(|(_, it)| wanted.contains_key(&it.object))
    }

    fn delivering(
        &self,
        input: &DestinationInput<'_>,
        now: Option<&DestinationReport>,
        carried: Option<&ContainerStatus>,
    ) -> Draft {
        const KIND: &str = types::DELIVERING;
        if self.verdict.in_force.is_none() {
            let message = "No form of this Destination was ever accepted, so nothing is sent. Accepted says why.";
            return Draft::no(KIND, reasons::NOT_ACCEPTED, message);
        }
        let Some(report) = self.report else {
            let before = carried.and_then(|container| find(&container.conditions, KIND));
            return before.map_or_else(no_gateways, |before| Draft::again(KIND, before));
        };
        if report.gateways.is_empty() {
            return no_gateways();
        }
        let wanted = self.wanted(input.name);
        if let Some(refusal) = self.refused(report, &wanted) {
            let mut draft = Draft::no(KIND, reasons::GATEWAY_REFUSED, pods::refusal_text(report, refusal));
            draft.add(pods::instead(report, refusal));
            return draft;
        }
        match now {
            Some(now) => self.delivery(input.spec, now),
            None => Draft::unknown(KIND, reasons::CONFIGURING, "No gateway has it in force yet."),
        }
    }

    fn delivery(&self, spec: &DestinationSpec, now: &DestinationReport) -> Draft {
        const KIND: &str = types::DELIVERING;
        let error = now
            .last_error
            .as_deref()
            .unwrap_or("it gave no reason")
            .trim_end_matches('.');
        match now.state {
            DeliveryState::Delivering => Draft::yes(KIND, reasons::DELIVERING, "The vendor takes the events."),
            DeliveryState::Paused => Draft::no(
                KIND,
                reasons::PAUSED,
                "spec.paused is set. Events are stored, and sent when it ends.",
            ),
            DeliveryState::Unknown => Draft::unknown(
                KIND,
                reasons::NO_GATEWAYS,
                "The gateways name a state that this operator does not know: they are newer than it.",
            ),
            DeliveryState::Propagating if !self.verdict.credentials.holds => {
                let message = format!("It waits for its credentials. {}", self.verdict.credentials.message);
                Draft::no(KIND, self.verdict.credentials.reason, message)
            }
            DeliveryState::Propagating => Draft::no(KIND, reasons::PROPAGATING, PROPAGATING),
            DeliveryState::Retrying => Draft::no(
                KIND,
                reasons::VENDOR_FAILING,
                format!("The vendor fails; the gateways keep the events and try again by themselves: {error}."),
            ),
            DeliveryState::Stopped => Draft::no(
                KIND,
                reasons::STOPPED,
                format!(
                    "The receiver asks for no more events, so none are sent until the Destination is changed: {error}."
                ),
            ),
            DeliveryState::CredentialsRejected => Draft::no(
                KIND,
                reasons::CREDENTIALS_REJECTED,
                format!(
                    "The vendor refuses the credentials: {error}. Put valid ones into {}; they are in force within 2 \
                     minutes, without a restart, and the events wait.",
                    secrets(spec)
                ),
            ),
        }
    }
}

fn needs_secrets(spec: &DestinationSpec) -> bool {
    spec.vendor().is_some_and(|vendor| !vendor.secrets().is_empty())
}

const PROPAGATING: &str = "The credentials are there, but have not arrived in every gateway yet: the kubelet brings them within \
                           2 minutes. The events wait.";

fn no_gateways() -> Draft {
    Draft::unknown(
        types::DELIVERING,
        reasons::NO_GATEWAYS,
        "No gateway of the container tells how it stands.",
    )
}

/// The Secrets that a vendor block refers to: `Secret shop-secrets (key meta)`.
fn secrets(spec: &DestinationSpec) -> String {
    let vendor = spec.vendor();
    let secrets = vendor
        .map(tagfleet_crds::destination::Vendor::secrets)
        .unwrap_or_default();
    if secrets.is_empty() {
        return "the Secret that it refers to".to_owned();
    }
    let named: Vec<_> = secrets
        .iter()
        .map(|(_, reference)| format!("Secret {} (key {})", reference.name, reference.key))
        .collect();
    named.join(", ")
}

/// The worst condition of a type, of all containers. Its time is kept as long as its status is.
fn worst(input: &DestinationInput<'_>, containers: &[ContainerStatus], kind: &'static str) -> Option<Condition> {
    let all = containers
        .iter()
        .filter_map(|container| Some((container.name.as_str(), find(&container.conditions, kind)?)));
    // The first of equals wins: `max_by_key` gives the last.
    let (container, condition) = all.rev().max_by_key(|(_, condition)| severity(condition))?;
    let mut draft = Draft::again(kind, condition);
    if containers.len() > 1 && condition.status != "True" {
        draft.message = format!("In container {container}: {}", draft.message);
    }
    let said = input.previous.map_or(&[][..], |status| &status.conditions);
    let generation = condition.observed_generation.unwrap_or(input.generation);
    settle(vec![draft], said, generation, input.now).pop()
}

fn sum(counts: impl Iterator<Item = GatewayCount>) -> Option<GatewayCount> {
    counts.reduce(|a, b| GatewayCount {
        updated: a.updated.saturating_add(b.updated),
        total: a.total.saturating_add(b.total),
    })
}

/// The last error of the container in which it fares worst.
fn last_error(containers: &[ContainerStatus]) -> Option<String> {
    let fares = |container: &&ContainerStatus| find(&container.conditions, types::DELIVERING).map(severity);
    let failed = containers
        .iter()
        .rev()
        .filter(|container| container.last_error.is_some());
    failed.max_by_key(fares)?.last_error.clone()
}
