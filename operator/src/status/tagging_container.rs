//! The status of a container.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tagfleet_crds::{
    TaggingContainerSpec,
    conditions::{reasons, tagging_container as types},
    tagging_container::{BufferKind, GatewayCount, PodCount, TaggingContainerStatus},
    validate::NamespacedName,
};

use super::{
    Problem,
    conditions::{Draft, find, settle},
    pods,
};
use crate::{
    gateways::FleetReport,
    observed::{PodState, Workload},
    verdict::Verdicts,
};

/// What was observed of a container and its fleet.
#[derive(Clone, Copy, Debug)]
pub struct ContainerInput<'a> {
    /// The container's name.
    pub name: &'a str,
    /// What was decided about it and its Destinations.
    pub verdicts: &'a Verdicts,
    /// The specification in force; none where none ever was good.
    pub spec: Option<&'a TaggingContainerSpec>,
    /// The Deployment or StatefulSet, as the API server returned it.
    pub workload: Option<&'a Workload>,
    /// The pods.
    pub pods: &'a [PodState],
    /// What the gateways say; none as long as they were not asked since the operator's start.
    pub report: Option<&'a FleetReport>,
    /// The gateway's image.
    pub image: ImageInput<'a>,
    /// Whether the children could be applied.
    pub apply: Result<(), &'a Problem>,
    /// The fields that the CustomResourceDefinitions in the cluster lack.
    pub crds_older: &'a [String],
    /// The status that stands in the API server.
    pub previous: Option<&'a TaggingContainerStatus>,
    /// The time.
    pub now: Timestamp,
}

/// The gateway's image.
#[derive(Clone, Copy, Debug)]
pub struct ImageInput<'a> {
    /// The image that the pods are to run in the end.
    pub wanted: &'a str,
    /// The fleet whose rollout this one waits for.
    pub behind: Option<&'a NamespacedName>,
}

/// The status of a container. For the same input it is the same; with itself as `previous`, too.
#[must_use]
pub fn tagging_container(input: &ContainerInput<'_>) -> TaggingContainerStatus {
    let input = &ContainerInput {
        report: pods::report(input.report, input.pods),
        ..*input
    };
    let fleet = Fleet::new(input);
    let drafts = vec![
        accepted(input.verdicts),
        fleet.ready(),
        fleet.progressing(),
        fleet.degraded(),
        durable(input.spec),
        fleet.out_of_date(),
    ];
    let previous = input.previous.map_or(&[][..], |status| &status.conditions);
    let generation = input.verdicts.generation;
    let figures = |shown: fn(&FleetReport) -> &Option<String>,
                   before: fn(&TaggingContainerStatus) -> &Option<String>| {
        let carried = || input.previous.and_then(|status| before(status).clone());
        input.report.map_or_else(carried, |report| shown(report).clone())
    };
    TaggingContainerStatus {
        observed_generation: Some(generation),
        conditions: settle(drafts, previous, generation, input.now),
        pods: input
            .workload
            .map(|workload| PodCount::new(fleet.ready, workload.desired)),
        gateways: fleet.gateways,
        destinations: Some(u32::try_from(in_force(input.verdicts).count()).unwrap_or(u32::MAX)),
        events_per_second: figures(|report| &report.events_per_second, |status| &status.events_per_second),
        errors: figures(|report| &report.errors, |status| &status.errors),
    }
}

/// The objects in force and their generations, as gateways name them: what a fleet's gateways are to have.
#[must_use]
pub fn wanted(name: &str, verdicts: &Verdicts) -> BTreeMap<String, i64> {
    let container = verdicts.in_force.map(|generation| (container(name), generation));
    let destinations = in_force(verdicts).map(|(name, generation)| (format!("Destination/{name}"), generation));
    container.into_iter().chain(destinations).collect()
}

fn container(name: &str) -> String {
    format!("TaggingContainer/{name}")
}

fn in_force(verdicts: &Verdicts) -> impl Iterator<Item = (&String, i64)> {
    let destinations = verdicts.destinations.iter();
    destinations.filter_map(|(name, verdict)| Some((name, verdict.in_force?)))
}

fn accepted(verdicts: &Verdicts) -> Draft {
    let mut draft = Draft::of(types::ACCEPTED, &verdicts.accepted);
    keep(&mut draft, verdicts.accepted.holds, verdicts.in_force);
    draft
}

/// Says what a refused object goes on with.
pub(super) fn keep(draft: &mut Draft, accepted: bool, in_force: Option<i64>) {
    if let Some(generation) = in_force.filter(|_| !accepted) {
        draft.add(&format!("Generation {generation} stays in force."));
    }
}

/// What the buffer survives. Only what outlives a pod counts as durable: a pod is lost to scale-in and eviction every day.
fn durable(spec: Option<&TaggingContainerSpec>) -> Draft {
    let kind = spec.and_then(|spec| spec.effective_buffer().kind());
    let draft = |holds: bool, reason, message: &str| {
        if holds {
            Draft::yes(types::DURABLE, reason, message)
        } else {
            Draft::no(types::DURABLE, reason, message)
        }
    };
    match kind {
        None => Draft::unknown(types::DURABLE, reasons::NOT_ACCEPTED, NO_FLEET),
        Some(BufferKind::Memory(_)) => draft(
            false,
            reasons::MEMORY,
            "The buffer is in memory: the end of a gateway's process loses the events that are not delivered yet. Set \
             buffer.disk or buffer.jetStream to keep them.",
        ),
        Some(BufferKind::Disk(disk)) if disk.volume.is_none() => draft(
            false,
            reasons::EMPTY_DIR,
            "The buffer is on an emptyDir: it survives a restart of the container. Scale-in or eviction during an outage \
             of a vendor loses the pod's backlog. Set buffer.disk.volume or buffer.jetStream to keep it.",
        ),
        Some(BufferKind::Disk(_)) => draft(
            true,
            reasons::VOLUME,
            "The buffer is on a persistent volume: it survives the loss of the pod.",
        ),
        Some(BufferKind::JetStream(stream)) if stream.replicas == Some(1) => draft(
            true,
            reasons::JET_STREAM,
            "The buffer is a JetStream with one replica: it survives the loss of every pod, but not of the NATS server's \
             volume.",
        ),
        Some(BufferKind::JetStream(_)) => draft(
            true,
            reasons::JET_STREAM,
            "The buffer is a replicated JetStream: it survives the loss of a node.",
        ),
    }
}

const NO_FLEET: &str = "No form of this container was ever accepted, so there is no fleet. Accepted says why.";

/// A fleet with what several conditions ask of it.
struct Fleet<'a> {
    input: &'a ContainerInput<'a>,
    /// The objects in force.
    wanted: BTreeMap<String, i64>,
    /// Pods that serve.
    ready: u32,
    /// Pods that must serve at the least.
    least: u32,
    /// Gateways that have all that is in force; of before where they were not asked yet.
    gateways: Option<GatewayCount>,
}

impl<'a> Fleet<'a> {
    fn new(input: &'a ContainerInput<'a>) -> Self {
        let wanted = wanted(input.name, input.verdicts);
        let gateways = match input.report {
            Some(report) => Some(pods::updated(input.pods, report, &wanted)),
            // A pod that has come since has not been asked yet.
            None => input
                .previous
                .and_then(|status| status.gateways)
                .map(|before| GatewayCount {
                    total: before.total.max(pods::ready(input.pods)),
                    ..before
                }),
        };
        let fewest = input.spec.map_or(1, |spec| spec.effective_replicas().min);
        let desired = input.workload.map_or(0, |workload| workload.desired);
        Self {
            input,
            wanted,
            ready: pods::ready(input.pods),
            least: fewest.min(desired).max(1),
            gateways,
        }
    }

    /// Enough pods are ready, and serve the generation in force (or refuse it and serve the last good one).
    fn ready(&self) -> Draft {
        const KIND: &str = types::READY;
        if self.input.spec.is_none() {
            return Draft::no(KIND, reasons::NOT_ACCEPTED, NO_FLEET);
        }
        let Some(workload) = self.input.workload else {
            let (reason, message) = self.why_no_workload();
            return Draft::no(KIND, reason, message);
        };
        if self.ready < self.least {
            return Draft::no(KIND, reasons::PODS_NOT_READY, self.missing_pods());
        }
        let behind = self.behind();
        if self.ready.saturating_sub(behind) < self.least {
            let message = format!(
                "{} generation {} of the container in force.",
                pods::of(
                    self.ready.saturating_sub(behind),
                    self.ready,
                    "gateway",
                    ("has", "have")
                ),
                self.input.verdicts.in_force.unwrap_or_default()
            );
            return Draft::no(KIND, reasons::CONFIGURING, message);
        }
        let message = pods::of(self.ready, workload.desired, "pod", ("is", "are"));
        Draft::yes(KIND, reasons::SERVING, format!("{message} ready."))
    }

    /// Ready pods whose gateways are known to have an older generation of the container, and do not refuse the newer one.
    fn behind(&self) -> u32 {
        let object = container(self.input.name);
        let (Some(report), Some(generation)) = (self.input.report, self.wanted.get(&object)) else {
            return 0;
        };
        let lacks = |pod: &&PodState| {
            let gateway = report.gateways.get(&pod.name);
            pod.serves()
                && gateway.is_some_and(|gateway| {
                    let mut refusals = gateway.refusals.iter();
                    let refuses = refusals.any(|it| it.object == object && pods::concerns(it, &self.wanted));
                    !gateway.has(&object, *generation) && !refuses
                })
        };
        u32::try_from(self.input.pods.iter().filter(lacks).count()).unwrap_or(u32::MAX)
    }

    fn why_no_workload(&self) -> (&'static str, String) {
        match self.input.apply {
            Err(problem) => (problem.reason, problem.message.clone()),
            Ok(()) if self.is_paused() => (
                reasons::PAUSED,
                "There are no pods yet, and spec.paused keeps the operator from making them.".to_owned(),
            ),
            Ok(()) => (reasons::CREATING, "The pods are being made.".to_owned()),
        }
    }

    fn missing_pods(&self) -> String {
        let desired = self.input.workload.map_or(self.least, |workload| workload.desired);
        let ready = pods::of(self.ready, desired, "pod", ("is", "are"));
        let ready = format!("{ready} ready, and at least {} must be.", self.least);
        let refusal = || self.refusal().map(|(refusal, _)| refusal);
        match pods::trouble(self.input.pods).or_else(refusal) {
            Some(trouble) => format!("{ready} {trouble}."),
            None => ready,
        }
    }

    fn is_paused(&self) -> bool {
        self.input.spec.is_some_and(|spec| spec.paused)
    }

    /// A change is on its way, and nothing is known to hold it up.
    fn progressing(&self) -> Draft {
        const KIND: &str = types::PROGRESSING;
        if self.input.spec.is_none() {
            return Draft::no(KIND, reasons::NOT_ACCEPTED, NO_FLEET);
        }
        if self.is_paused() {
            let message = "spec.paused keeps the operator from changing what it made. The gateways take up changes of \
                           the two kinds all the same.";
            return Draft::no(KIND, reasons::PAUSED, message);
        }
        if let Err(problem) = self.input.apply {
            return Draft::no(KIND, problem.reason, problem.message.as_str());
        }
        let Some(workload) = self.input.workload else {
            return Draft::yes(KIND, reasons::CREATING, "The pods are being made.");
        };
        if let Some(stuck) = &workload.stuck {
            return Draft::no(KIND, reasons::ROLLOUT_STUCK, stuck.as_str());
        }
        if !workload.is_rolled_out() {
            let updated = pods::of(workload.updated, workload.desired, "pod", ("is", "are"));
            let older = workload.replicas.saturating_sub(workload.updated);
            let message = format!("{updated} of the newest form, {older} of an older one.");
            return Draft::yes(KIND, reasons::ROLLING_OUT, message);
        }
        if self.ready < self.least {
            // What a gateway refuses holds it up until somebody mends it.
            return match self.refusal() {
                Some((refusal, _)) => Draft::no(KIND, reasons::GATEWAY_REFUSED, refusal),
                None => Draft::yes(KIND, reasons::PODS_NOT_READY, self.missing_pods()),
            };
        }
        match (self.gateways, self.refusal()) {
            (Some(GatewayCount { updated, total }), Some((refusal, _))) if updated < total => {
                Draft::no(KIND, reasons::GATEWAY_REFUSED, refusal)
            }
            (Some(GatewayCount { updated, total }), None) if updated < total => {
                let message = pods::of(updated, total, "gateway", ("has", "have"));
                let message = format!("{message} the newest configuration in force.");
                Draft::yes(KIND, reasons::CONFIGURING, message)
            }
            _ => Draft::no(KIND, reasons::ROLLED_OUT, "Every change is in force."),
        }
    }

    /// The first refusal, one of the container itself before any other.
    fn refusal(&self) -> Option<(String, &'static str)> {
        let report = self.input.report?;
        let object = container(self.input.name);
        let all = || pods::refusals(report, &self.wanted);
        let first = all().find(|(_, it)| it.object == object).or_else(|| all().next())?;
        Some((pods::refusal_text(report, first), pods::instead(report, first)))
    }

    /// The fleet does less than it should: the first of what is wrong, the worst first.
    fn degraded(&self) -> Draft {
        const KIND: &str = types::DEGRADED;
        if self.input.spec.is_none() {
            return Draft::no(KIND, reasons::NOT_ACCEPTED, NO_FLEET);
        }
        if let Err(problem) = self.input.apply {
            return Draft::yes(KIND, problem.reason, problem.message.as_str());
        }
        if let Some(refused) = self.input.report.and_then(pods::refused_hits) {
            return Draft::yes(KIND, reasons::HITS_REFUSED, refused);
        }
        if let Some((refusal, instead)) = self.refusal() {
            let mut draft = Draft::yes(KIND, reasons::GATEWAY_REFUSED, refusal);
            draft.add(instead);
            return draft;
        }
        if let Some(stuck) = self.input.workload.and_then(|workload| workload.stuck.as_ref()) {
            let trouble = pods::trouble(self.input.pods).map_or_else(String::new, |it| format!(" {it}."));
            return Draft::yes(KIND, reasons::ROLLOUT_STUCK, format!("{stuck}{trouble}"));
        }
        if let Some(trouble) = pods::trouble(self.input.pods) {
            return Draft::yes(KIND, reasons::PODS_FAILING, format!("{trouble}."));
        }
        if self.has_lost_pods() {
            return Draft::yes(KIND, reasons::PODS_NOT_READY, self.missing_pods());
        }
        self.degraded_by_silence()
            .unwrap_or_else(|| Draft::no(KIND, reasons::HEALTHY, "Nothing is wrong."))
    }

    /// Fewer pods are ready than must be, of a fleet that has served before. A fleet that begins only makes progress.
    fn has_lost_pods(&self) -> bool {
        let before = |kind| find(self.input.previous.map_or(&[][..], |status| &status.conditions), kind);
        let served = before(types::READY).is_some_and(|ready| ready.reason == reasons::SERVING);
        let was_degraded =
            before(types::DEGRADED).is_some_and(|it| it.status == "True" && it.reason == reasons::PODS_NOT_READY);
        let is_rolled_out = self.input.workload.is_some_and(Workload::is_rolled_out);
        is_rolled_out && self.ready < self.least && (served || was_degraded)
    }

    /// Gateways that cannot be asked. Before they were asked, what was known stays.
    fn degraded_by_silence(&self) -> Option<Draft> {
        let Some(report) = self.input.report else {
            let before = find(&self.input.previous?.conditions, types::DEGRADED)?;
            let is_of_gateways = matches!(
                before.reason.as_str(),
                reasons::HITS_REFUSED | reasons::GATEWAY_REFUSED | reasons::GATEWAYS_UNREACHABLE
            );
            return is_of_gateways.then(|| Draft::again(types::DEGRADED, before));
        };
        let (pod, error) = report.unreachable.first_key_value()?;
        let message = format!(
            "The operator cannot read the status of {}: pod {pod}, port 9090: {error}. Check that network policies let the \
             operator reach it.",
            pods::of_ready(report.unreachable.len()),
        );
        Some(Draft::yes(types::DEGRADED, reasons::GATEWAYS_UNREACHABLE, message))
    }

    /// The pods do not run the wanted image yet, or the cluster does not know the newest fields.
    fn out_of_date(&self) -> Draft {
        const KIND: &str = types::OUT_OF_DATE;
        if !self.input.crds_older.is_empty() {
            let fields: Vec<_> = self.input.crds_older.iter().take(10).map(String::as_str).collect();
            let message = format!(
                "The CustomResourceDefinitions in the cluster are older than the operator and lack {}. The API server drops \
                 such fields. Install those of this release: tagfleet-operator crds | kubectl apply --server-side -f -",
                fields.join(", ")
            );
            return Draft::yes(KIND, reasons::CUSTOM_RESOURCE_DEFINITION_OLDER, message);
        }
        let Some(workload) = self.input.workload else {
            return Draft::no(
                KIND,
                reasons::UP_TO_DATE,
                "There are no pods that could be out of date.",
            );
        };
        let wanted = self.input.image.wanted;
        let live = || self.input.pods.iter().filter(|pod| pod.is_live());
        let older = live().filter(|pod| pod.image != wanted).count();
        if workload.image == wanted && (workload.is_rolled_out() || older == 0) {
            return Draft::no(KIND, reasons::UP_TO_DATE, format!("The pods run {wanted}."));
        }
        let behind = self.input.image.behind.filter(|_| workload.image != wanted);
        if let Some(NamespacedName { namespace, name }) = behind {
            let message = format!(
                "The pods run {}. {wanted} waits until the rollout of TaggingContainer {name} in namespace {namespace} is \
                 over: fleets get a new image one at a time.",
                workload.image
            );
            return Draft::yes(KIND, reasons::WAITING_FOR_ROLLOUT, message);
        }
        if self.is_paused() {
            let message = format!(
                "The pods run {}, and spec.paused keeps them from {wanted}.",
                workload.image
            );
            return Draft::yes(KIND, reasons::PAUSED, message);
        }
        let message = format!("{older} of {} pods do not run {wanted} yet.", live().count());
        Draft::yes(KIND, reasons::ROLLING_OUT, message)
    }
}
