//! A fleet's pods and gateways, as conditions speak of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    gateways::{FleetReport, Refusal},
    observed::PodState,
};
use tagfleet_crds::tagging_container::GatewayCount;

/// Further fields that a refusal names.
const OTHERS: usize = 5;

/// `1 of 2 pods is`, `2 of 3 pods are`.
pub(super) fn of(part: u32, whole: u32, noun: &str, verbs: (&str, &str)) -> String {
    let verb = if part == 1 || whole == 1 { verbs.0 } else { verbs.1 };
    let plural = if whole == 1 { "" } else { "s" };
    format!("{part} of {whole} {noun}{plural} {verb}")
}

/// The report; an empty one where nobody could have been asked yet, so that it is told alike before and after the first
/// round of asking. None as long as gateways are there that were not asked since the operator's start.
pub(super) fn report<'r>(report: Option<&'r FleetReport>, pods: &[PodState]) -> Option<&'r FleetReport> {
    static NOBODY: FleetReport = FleetReport {
        gateways: BTreeMap::new(),
        unreachable: BTreeMap::new(),
        destinations: BTreeMap::new(),
        events_per_second: None,
        errors: None,
    };
    let can_answer = |pod: &PodState| pod.is_live() && pod.ip.is_some();
    report.or_else(|| (!pods.iter().any(can_answer)).then_some(&NOBODY))
}

/// How many pods serve.
pub(super) fn ready(pods: &[PodState]) -> u32 {
    count(pods.iter().filter(|pod| pod.serves()).count())
}

/// The gateways: pods that serve, or that answer already.
pub(super) fn gateways<'a>(pods: &'a [PodState], report: &'a FleetReport) -> impl Iterator<Item = &'a PodState> {
    pods.iter()
        .filter(|pod| pod.is_live() && (pod.ready || report.gateways.contains_key(&pod.name)))
}

/// How many gateways have all these objects in force.
pub(super) fn updated(pods: &[PodState], report: &FleetReport, wanted: &BTreeMap<String, i64>) -> GatewayCount {
    let has_all = |pod: &&PodState| {
        let gateway = report.gateways.get(&pod.name);
        gateway.is_some_and(|gateway| gateway.has_all(wanted))
    };
    GatewayCount {
        updated: count(gateways(pods, report).filter(has_all).count()),
        total: count(gateways(pods, report).count()),
    }
}

/// The refusals, by pod, of what is in force for the operator. What the operator itself refuses is told by `Accepted`, and
/// what concerns older forms is over.
pub(super) fn refusals<'r>(
    report: &'r FleetReport,
    wanted: &'r BTreeMap<String, i64>,
) -> impl Iterator<Item = (&'r str, &'r Refusal)> {
    let all = report.gateways.iter();
    let refusals = all.flat_map(|(pod, gateway)| gateway.refusals.iter().map(move |it| (pod.as_str(), it)));
    refusals.filter(|(_, refusal)| concerns(refusal, wanted))
}

/// Whether a refusal is of a form that the operator holds to be in force.
pub(super) fn concerns(refusal: &Refusal, wanted: &BTreeMap<String, i64>) -> bool {
    let is_of_our_kinds = refusal.object.starts_with("Destination/") || refusal.object.starts_with("TaggingContainer/");
    match (wanted.get(&refusal.object), refusal.generation) {
        (Some(wanted), Some(generation)) => *wanted == generation,
        (Some(_), None) => true,
        (None, _) => !is_of_our_kinds,
    }
}

/// A refusal in words, with the other fields of the object that the same gateway refuses.
pub(super) fn refusal_text(report: &FleetReport, (pod, refusal): (&str, &Refusal)) -> String {
    let Refusal {
        object, field, message, ..
    } = refusal;
    if field.is_empty() {
        return format!("Pod {pod} refuses {object}: {message}");
    }
    let all = report
        .gateways
        .get(pod)
        .into_iter()
        .flat_map(|gateway| &gateway.refusals);
    let others = all.filter(|it| it.object == *object && it.field != *field);
    let others = others.map(|it| it.field.as_str()).collect::<BTreeSet<_>>();
    let mut text = format!("Pod {pod} refuses {object}: {field}: {message}");
    if !others.is_empty() {
        let others = others.into_iter().take(OTHERS).collect::<Vec<_>>().join(", ");
        text.push_str(&format!(" (it also refuses {others})"));
    }
    text
}

/// What a gateway goes on with that refuses an object.
pub(super) fn instead(report: &FleetReport, (pod, refusal): (&str, &Refusal)) -> &'static str {
    let gateway = report.gateways.get(pod);
    if gateway.is_some_and(|gateway| gateway.generations.contains_key(&refusal.object)) {
        "Its last good form stays in force there."
    } else if refusal.object.starts_with("TaggingContainer/") {
        "No form of it was ever good there, so that this pod does not serve."
    } else {
        "No form of it was ever good there, so that it is left out."
    }
}

/// The gateways that answer hits with 503, and why the first of them does.
pub(super) fn refused_hits(report: &FleetReport) -> Option<String> {
    let all = report.gateways.iter();
    let mut refusing = all.filter_map(|(pod, gateway)| Some((pod, gateway.refuses_hits.as_deref()?)));
    let total = count(report.gateways.len());
    let (pod, why) = refusing.next()?;
    let refusing = of(1 + count(refusing.count()), total, "gateway", ("answers", "answer"));
    Some(format!("{refusing} hits with 503. Pod {pod}: {why}."))
}

/// The newest pod that does not run, and why.
pub(super) fn trouble(pods: &[PodState]) -> Option<String> {
    let failing = pods
        .iter()
        .filter(|pod| pod.is_live() && !pod.ready && pod.trouble.is_some());
    let newest = failing.max_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))?;
    let trouble = newest.trouble.as_deref().unwrap_or_default();
    Some(format!("Pod {}: {}", newest.name, in_steady_words(newest, trouble)))
}

/// The kubelet's words on a pod that it tries again and again change with each try, and so does its reason. Then ours
/// stand in their place, so that the status rests.
fn in_steady_words(pod: &PodState, trouble: &str) -> String {
    let reason = trouble.split_once(':').map_or(trouble, |(reason, _)| reason);
    match reason {
        "ErrImagePull" | "ImagePullBackOff" => format!(
            "ImagePullBackOff: the image {} cannot be pulled. Check its name, the registry and imagePullSecrets; \
             kubectl describe pod {} shows the registry's answer",
            pod.image, pod.name
        ),
        "CrashLoopBackOff" => format!(
            "CrashLoopBackOff: the gateway ends again and again. kubectl logs --previous {} shows why",
            pod.name
        ),
        _ => trouble.to_owned(),
    }
}

/// `1 ready gateway`, `3 ready gateways`.
pub(super) fn of_ready(number: usize) -> String {
    format!("{number} ready gateway{}", if number == 1 { "" } else { "s" })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
