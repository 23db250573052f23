//! The checks of a destination.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding, Kind, NamespacedName, Objects, Report, Scope, Setting, data_flow,
    expressions::{self, Purpose},
    network, references,
};
use crate::{
    Destination, DestinationSpec, FieldPath,
    conditions::reasons,
    destination::{GoogleAdsApi, OnDenied, PubSub, VENDORS, Vendor},
    schema::is_topic,
};

/// An attribute's name has at most this many bytes, and its value 1,024.
const ATTRIBUTE_NAME_BYTES: usize = 256;

pub(super) fn validate(
    destination: &Destination,
    objects: &Objects<'_>,
    scopes: &BTreeMap<NamespacedName, Scope>,
) -> Vec<Finding> {
    let mut report = Report::new(Kind::Destination, destination);
    let spec = &destination.spec;
    let at = FieldPath::spec();
    report.repeated(
        &at.field("containerRefs"),
        spec.container_refs.iter().map(|reference| reference.name.as_str()),
    );
    containers(spec, objects, scopes, &mut report);
    data_flow::classes(spec, objects, &mut report);
    delivery(spec, &mut report);
    let Some(vendor) = spec.vendor() else {
        let message = format!("set exactly one vendor: {}", VENDORS.join(", "));
        report.error(at, reasons::INVALID, message);
        return report.into_findings();
    };
    let at = at.field(vendor.name());
    for (path, reference) in vendor.secrets() {
        let path = path.segments().iter().fold(at.clone(), |at, segment| at.join(segment));
        references::secret(reference, path, objects, &mut report);
    }
    if let Some(endpoint) = vendor.common().endpoint {
        network::origin(endpoint, at.field("endpoint"), &mut report);
    }
    consent(spec, vendor, &mut report);
    match vendor {
        Vendor::Webhook(webhook) => {
            network::url(&webhook.url, at.field("url"), &mut report);
            network::headers(&webhook.headers, &at.field("headers"), &mut report);
        }
        Vendor::PubSub(pub_sub) => topics(pub_sub, &at, &mut report),
        Vendor::GoogleAds(ads) if ads.api == GoogleAdsApi::GoogleAds && ads.developer_token.is_none() => {
            let message = "is needed for api GoogleAds; the default api, DataManager, does without";
            report.error(at.field("developerToken"), reasons::INVALID, message);
        }
        _ => {}
    }
    data_flow::leaks(destination, vendor, objects, scopes, &mut report);
    let wanted = expressions_of(spec, vendor);
    let known: Vec<&Scope> = spec
        .container_refs
        .iter()
        .filter_map(|reference| scopes.get(&NamespacedName::new(&report.object.namespace, &reference.name)))
        .collect();
    for (path, source, purpose) in wanted {
        if known.is_empty() {
            let scope = Scope::permissive(source);
            expressions::check(source, purpose, &scope.event_environment(), path, &mut report);
        } else {
            for scope in &known {
                expressions::check(source, purpose, &scope.event_environment(), path.clone(), &mut report);
            }
        }
    }
    report.into_findings()
}

/// The expressions of a destination, with what each must give.
pub(super) fn expressions_of<'s>(spec: &'s DestinationSpec, vendor: Vendor<'s>) -> Vec<(FieldPath, &'s str, Purpose)> {
    let mut found = Vec::new();
    let at = FieldPath::spec();
    if let Some(when) = spec.trigger.as_ref().and_then(|trigger| trigger.when.as_deref()) {
        found.push((at.fields(&["trigger", "when"]), when, Purpose::Condition));
    }
    let at = at.field(vendor.name());
    for (name, source) in vendor.common().parameters {
        found.push((at.fields(&["parameters", name]), source.as_str(), Purpose::Value));
    }
    if let Vendor::PubSub(pub_sub) = vendor {
        for (field, source) in [
            ("topicExpression", &pub_sub.topic_expression),
            ("orderingKey", &pub_sub.ordering_key),
        ] {
            found.extend(
                source
                    .iter()
                    .map(|source| (at.field(field), source.as_str(), Purpose::Text)),
            );
        }
        for (name, source) in &pub_sub.attributes {
            found.push((at.fields(&["attributes", name]), source.as_str(), Purpose::Value));
        }
    }
    found
}

/// Containers that are not there. One that is absent while another of the namespace is given is a slip of the pen; with
/// none given they may be elsewhere.
fn containers(
    spec: &DestinationSpec,
    objects: &Objects<'_>,
    scopes: &BTreeMap<NamespacedName, Scope>,
    report: &mut Report,
) {
    let namespace = report.object.namespace.clone();
    let given: BTreeSet<&str> = scopes
        .keys()
        .filter(|key| key.namespace == namespace)
        .map(|key| key.name.as_str())
        .collect();
    for (index, reference) in spec.container_refs.iter().enumerate() {
        if given.contains(reference.name.as_str()) {
            continue;
        }
        let name = &reference.name;
        let path = FieldPath::spec().field("containerRefs").index(index).field("name");
        let others: Vec<&str> = given.iter().copied().take(5).collect();
        let (severity, message) = match (objects.setting, others.is_empty()) {
            (Setting::Cluster, _) => (
                super::Severity::Error,
                format!("there is no TaggingContainer {name} in namespace {namespace}"),
            ),
            (_, true) => (
                objects.setting.absent(),
                format!("the TaggingContainer {name} is nowhere in the given files"),
            ),
            (_, false) => (
                super::Severity::Error,
                format!("there is no TaggingContainer {name}; given: {}", others.join(", ")),
            ),
        };
        report.add(severity, path, reasons::CONTAINER_NOT_FOUND, message);
    }
}

/// Whether what lacks consent can be sent without identifiers, and whether anything ever lacks it.
fn consent(spec: &DestinationSpec, vendor: Vendor<'_>, report: &mut Report) {
    let on_denied = spec.consent.as_ref().map(|consent| consent.on_denied);
    if on_denied != Some(OnDenied::Anonymize) {
        return;
    }
    let at = FieldPath::spec().fields(&["consent", "onDenied"]);
    match vendor {
        _ if !vendor.takes_anonymous_events() => {
            let message = match vendor {
                Vendor::Ga4(_) => {
                    "GA4 takes no event without a client_id by the Measurement Protocol: write Drop, or leave out \
                     apiSecret and have hits forwarded"
                        .to_owned()
                }
                _ => format!(
                    "{} can do nothing with an event without identifiers: write Drop",
                    vendor.name()
                ),
            };
            report.error(at, reasons::INVALID, message);
        }
        _ if spec.effective_consent().is_empty() => report.warning(
            at,
            reasons::NO_EFFECT,
            "consent.requires is empty, so that no event lacks consent: list the signals that must be granted",
        ),
        _ => {}
    }
}

/// Waits and bounds that contradict each other.
fn delivery(spec: &DestinationSpec, report: &mut Report) {
    let Some(delivery) = &spec.delivery else { return };
    let at = FieldPath::spec().field("delivery");
    let retry = delivery.retry.clone().unwrap_or_default();
    let positive = [
        (at.field("timeout"), delivery.timeout),
        (at.fields(&["retry", "initialBackoff"]), retry.initial_backoff),
        (at.fields(&["retry", "maxBackoff"]), retry.max_backoff),
        (at.fields(&["retry", "maxAge"]), retry.max_age),
    ];
    for (path, duration) in positive {
        if duration.is_some_and(|duration| !duration.is_positive()) {
            report.error(path, reasons::INVALID, "must be longer than 0s");
        }
    }
    if let (Some(first), Some(longest)) = (retry.initial_backoff, retry.max_backoff)
        && first > longest
    {
        let message = format!("initialBackoff ({first}) must not be longer than maxBackoff ({longest})");
        report.error(at.fields(&["retry", "initialBackoff"]), reasons::INVALID, message);
    }
    let effective = spec.effective_delivery();
    if effective.max_delay >= effective.max_age {
        let message =
            "events would be too old to be sent before their batch is: raise retry.maxAge or lower batch.maxDelay";
        report.error(at.fields(&["batch", "maxDelay"]), reasons::INVALID, message);
    }
}

/// The rules of Pub/Sub for topics and attributes.
fn topics(pub_sub: &PubSub, at: &FieldPath, report: &mut Report) {
    match (&pub_sub.topic, &pub_sub.topic_expression) {
        (Some(topic), None) if !is_topic(topic) => {
            let message = "must be a topic's id: 3 to 255 letters, digits and . _ ~ + % -, beginning with a letter and \
                           not with goog";
            report.error(at.field("topic"), reasons::INVALID, message);
        }
        (Some(_), None) | (None, Some(_)) => {}
        _ => report.error(
            at.clone(),
            reasons::INVALID,
            "set exactly one topic: topic, topicExpression",
        ),
    }
    // The limits of attributes are known to us by hearsay only (vendors/pubsub.md, mark M): no refusal.
    for name in pub_sub.attributes.keys() {
        let path = at.fields(&["attributes", name]);
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES {
            let message = format!("Pub/Sub takes names of attributes of 1 to {ATTRIBUTE_NAME_BYTES} bytes");
            report.warning(path, reasons::INVALID, message);
        } else if name.starts_with("goog") {
            report.warning(
                path,
                reasons::INVALID,
                "Pub/Sub keeps names of attributes that begin with goog for itself",
            );
        }
    }
}
