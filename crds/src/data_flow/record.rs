//! The record of what one destination receives, a row for each parameter.

use super::{
    Pair, classes, classes_of,
    contents::{Contents, changes_for, overlaps},
    covers, form_of,
    part::Part,
    reads::Reads,
    sending_expressions,
};
use crate::{
    Segment, TaggingContainerSpec,
    destination::Form,
    tagging_container::{IpAddress, Transformation, TransformationKind},
};

/// The event's own parameters (Google Tag Manager's common event data), in the order in which people look for them.
const COMMON: [&str; 26] = [
    "event_name",
    "event_id",
    "timestamp_ms",
    "client_id",
    "user_id",
    "user_data",
    "ip_override",
    "user_agent",
    "client_hints",
    "cookies",
    "click_ids",
    "ga_session_id",
    "ga_session_number",
    "page_location",
    "page_referrer",
    "page_title",
    "page_hostname",
    "page_path",
    "language",
    "screen_resolution",
    "currency",
    "value",
    "transaction_id",
    "items",
    "user_properties",
    "search_term",
];
/// What `enrich.geo` adds.
const GEO: [&str; 4] = ["geo.continent", "geo.country", "geo.region", "geo.city"];

/// What becomes of a parameter on its way to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// Sent as it is.
    AsItIs,
    /// Only a part of it is sent.
    InPart,
    /// Sent truncated: the visitor's address.
    Truncated,
    /// Sent as its hash: still personal data, as whoever has the value can recognise it (GDPR article 4(5)).
    Hashed,
    /// Computed by an expression.
    Computed,
    /// Taken out before.
    Removed,
}

/// One parameter of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The parameter, or the vendor's field that an expression fills; empty for all parameters without a row.
    pub parameter: String,
    /// Its classes.
    pub classes: Vec<String>,
    /// What becomes of it.
    pub treatment: Treatment,
    /// What there is to add: which part, by which transformation, under which condition. May be empty.
    pub note: String,
}

/// What a destination receives, the event's own parameters first. Parameters that it would not get anyway have no row.
#[must_use]
pub fn rows(pair: Pair<'_>) -> Vec<Row> {
    let spec = pair.container;
    let reads = Reads::new(spec, pair.scope);
    let contents = Contents::of(spec, pair.name, &reads);
    let classes = classes(&spec.effective_privacy());
    let mut rows = Vec::new();
    for parameter in parameters(pair) {
        let row = set_by_augment(&contents, &parameter).or_else(|| plain(pair, &contents, &parameter));
        let (treatment, note) = match (form_of(pair.vendor.sent(), &parameter), row) {
            (Some(_), Some(row)) => row,
            _ => continue,
        };
        rows.push(Row {
            classes: classes_of(&parameter, &classes),
            parameter,
            treatment,
            note,
        });
    }
    if pair.vendor.sent().others.is_some() && contents.parts.iter().any(|part| part.path.is_empty()) {
        rows.push(Row {
            parameter: String::new(),
            classes: Vec::new(),
            treatment: Treatment::AsItIs,
            note: String::new(),
        });
    }
    for (path, source) in sending_expressions(pair.vendor) {
        let carried = reads.of_source(source, &contents);
        let met = |member: &String| carried.iter().any(|part| part.meet(member).is_some());
        let of_carried = classes.iter().filter(|class| class.parameters.iter().any(met));
        let of_carried = of_carried.map(|class| class.name.clone()).collect();
        // Below the vendor's block: `parameters.value`.
        let names = path.segments().iter().skip(2).map(|segment| match segment {
            Segment::Field(name) => name.clone(),
            Segment::Index(index) => index.to_string(),
        });
        let field: Vec<String> = names.collect();
        rows.push(Row {
            parameter: field.join("."),
            classes: of_carried,
            treatment: Treatment::Computed,
            note: source.to_owned(),
        });
    }
    rows
}

/// The parameters that may get a row: the event's own, those with a place of their own at the vendor, and those that
/// the configuration names.
fn parameters(pair: Pair<'_>) -> Vec<String> {
    let spec = pair.container;
    let mut found: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).collect();
    let enrich = spec.enrich.clone().unwrap_or_default();
    if enrich.geo.is_some() {
        found.extend(GEO.map(str::to_owned));
    }
    if enrich.device {
        found.push("device".to_owned());
    }
    found.extend(pair.vendor.sent().listed().map(|(path, _)| path.to_owned()));
    let privacy = spec.privacy.iter().flat_map(|privacy| &privacy.classes);
    found.extend(privacy.flat_map(|class| class.parameters.iter().cloned()));
    found.extend(changes_for(spec, pair.name).flat_map(named));
    let listed = |name: &String| pair.vendor.sent().listed().any(|(path, _)| path == name);
    let common = |name: &String| {
        COMMON
            .iter()
            .position(|known| covers(known, name))
            .unwrap_or(COMMON.len())
    };
    // A parameter whose members have places of their own has no row itself.
    let split = |name: &String| {
        let below = |(path, _): (&str, Form)| path != name && covers(name, path);
        !listed(name) && pair.vendor.sent().others.is_none() && pair.vendor.sent().listed().any(below)
    };
    found.retain(|name| !split(name));
    found.sort_by(|one, other| (common(one), one).cmp(&(common(other), other)));
    found.dedup();
    found
}

/// The parameters that a transformation names.
fn named(transformation: &Transformation) -> Vec<String> {
    match transformation.kind() {
        Some(
            TransformationKind::Allow(names) | TransformationKind::Exclude(names) | TransformationKind::Hash(names),
        ) => names.to_vec(),
        Some(TransformationKind::Augment(set)) => set.keys().cloned().collect(),
        Some(TransformationKind::Redact(redact)) => redact.parameters.clone().unwrap_or_default(),
        None => Vec::new(),
    }
}

fn set_by_augment(contents: &Contents, parameter: &str) -> Option<(Treatment, String)> {
    let mut set = contents.derived.iter().rev();
    let derived = set.find(|derived| derived.path == parameter)?;
    let note = format!("set by {}: {}", derived.by, derived.expression);
    Some((Treatment::Computed, note))
}

/// What becomes of a parameter of the sender's. None when only members of it are left, which have rows of their own.
fn plain(pair: Pair<'_>, contents: &Contents, parameter: &str) -> Option<(Treatment, String)> {
    let left: Vec<Part> = contents.parts.iter().filter_map(|part| part.meet(parameter)).collect();
    if left.is_empty() {
        return Some((Treatment::Removed, remover(pair, parameter)));
    }
    left.iter().find(|part| part.path == parameter)?;
    let form = form_of(pair.vendor.sent(), parameter)?;
    let mut notes = Vec::new();
    let mut hashed = form == Form::Hashed;
    if let Form::InPart(which) = form {
        notes.push(which.to_owned());
    }
    for change in changes_for(pair.container, pair.name) {
        let touches = named(change).iter().any(|name| covers(name, parameter));
        let done = match change.kind() {
            Some(TransformationKind::Hash(_)) if touches => "hashed",
            Some(TransformationKind::Redact(_)) if touches => "searched for personal data",
            Some(TransformationKind::Exclude(_)) if touches => "removed",
            Some(TransformationKind::Allow(names)) if !names.iter().any(|name| overlaps(name, parameter)) => "removed",
            _ => continue,
        };
        hashed |= done == "hashed" && change.when.is_none();
        notes.push(match &change.when {
            Some(when) => format!("{done} by {}, only when {when}", change.name),
            None => format!("{done} by {}", change.name),
        });
    }
    let truncated = parameter == "ip_override" && ip_address(pair.container) == IpAddress::Truncate;
    let treatment = match form {
        _ if hashed => Treatment::Hashed,
        Form::InPart(_) => Treatment::InPart,
        _ if truncated => Treatment::Truncated,
        _ => Treatment::AsItIs,
    };
    Some((treatment, notes.join("; ")))
}

/// What takes a parameter out.
fn remover(pair: Pair<'_>, parameter: &str) -> String {
    if parameter == "ip_override" && ip_address(pair.container) == IpAddress::Remove {
        return "by privacy.ipAddress".to_owned();
    }
    let removes = |change: &&Transformation| {
        change.when.is_none()
            && match change.kind() {
                Some(TransformationKind::Exclude(names)) => names.iter().any(|name| covers(name, parameter)),
                Some(TransformationKind::Allow(names)) => !names.iter().any(|name| overlaps(name, parameter)),
                _ => false,
            }
    };
    let remover = changes_for(pair.container, pair.name).find(removes);
    remover.map(|change| format!("by {}", change.name)).unwrap_or_default()
}

fn ip_address(spec: &TaggingContainerSpec) -> IpAddress {
    spec.effective_privacy().ip_address
}

/// The transformations that change what a destination gets, in order.
pub fn transformations_for<'s>(
    spec: &'s TaggingContainerSpec,
    destination: &str,
) -> impl Iterator<Item = &'s Transformation> {
    changes_for(spec, destination)
}
