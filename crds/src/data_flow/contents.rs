//! What is left of an event when one destination gets it: after `privacy.ipAddress` and the transformations that change it
//! whatever the event.

use super::{
    part::{Part, covers},
    reads::Reads,
};
use crate::{
    TaggingContainerSpec,
    tagging_container::{IpAddress, Transformation, TransformationKind},
};

/// What every event keeps, whatever `allow` says.
const ALWAYS_KEPT: [&str; 3] = ["event_name", "event_id", "timestamp_ms"];
/// Where a visitor's address may stand.
const ADDRESSES: [&str; 2] = ["ip_override", "x_ip_override"];

/// What is left.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// What is as the sender sent it.
    pub(super) parts: Vec<Part>,
    /// What transformations set.
    pub(super) derived: Vec<Derived>,
}

/// A parameter that an `augment` sets.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    /// The parameter.
    pub(super) path: String,
    /// What of the event its expression reads.
    pub(super) carries: Vec<Part>,
    /// The transformation.
    pub(super) by: String,
    /// Its expression.
    pub(super) expression: String,
}

impl Contents {
    /// An event before any transformation.
    pub(super) fn untouched(spec: &TaggingContainerSpec) -> Self {
        let mut contents = Self {
            parts: vec![Part::of("")],
            derived: Vec::new(),
        };
        if spec.effective_privacy().ip_address == IpAddress::Remove {
            ADDRESSES.iter().for_each(|address| contents.remove(address));
        }
        contents
    }

    /// An event as the destination of this name gets it. A condition may be false, so what is only removed `when`
    /// something holds counts as not removed.
    pub(super) fn of(spec: &TaggingContainerSpec, destination: &str, reads: &Reads<'_>) -> Self {
        let mut contents = Self::untouched(spec);
        for transformation in changes_for(spec, destination) {
            contents.apply(transformation, reads);
        }
        contents
    }

    fn apply(&mut self, transformation: &Transformation, reads: &Reads<'_>) {
        let always = transformation.when.is_none();
        match transformation.kind() {
            Some(TransformationKind::Exclude(gone)) if always => gone.iter().for_each(|path| self.remove(path)),
            Some(TransformationKind::Allow(kept)) if always => self.keep(kept),
            Some(TransformationKind::Augment(set)) => {
                // Each expression reads the event as it was before the transformation.
                let before = self.clone();
                for (path, expression) in set {
                    // What was there stays when the expression gives null.
                    self.derived.push(Derived {
                        path: path.clone(),
                        carries: reads.of_source(expression, &before),
                        by: transformation.name.clone(),
                        expression: expression.clone(),
                    });
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, path: &str) {
        self.parts = std::mem::take(&mut self.parts)
            .into_iter()
            .filter_map(|part| part.minus(path))
            .collect();
        self.derived.retain(|derived| !covers(path, &derived.path));
    }

    fn keep(&mut self, allowed: &[String]) {
        let kept = || allowed.iter().map(String::as_str).chain(ALWAYS_KEPT);
        self.parts = kept()
            .flat_map(|path| self.parts.iter().filter_map(move |part| part.meet(path)))
            .collect();
        self.derived
            .retain(|derived| kept().any(|path| overlaps(path, &derived.path)));
    }

    /// What of the sender's data is in a part of this event: as it was sent, or carried by what was set.
    pub(super) fn in_part(&self, wanted: &Part) -> Vec<Part> {
        let sent = self.parts.iter().filter_map(|part| part.intersect(wanted));
        let set = self
            .derived_in(wanted)
            .flat_map(|derived| derived.carries.iter().cloned());
        sent.chain(set).collect()
    }

    /// What was set and is in a part of this event.
    pub(super) fn derived_in(&self, wanted: &Part) -> impl Iterator<Item = &Derived> {
        let is_in = |derived: &&Derived| wanted.meet(&derived.path).is_some();
        self.derived.iter().filter(is_in)
    }
}

/// The transformations that change what this destination gets, in the order in which they are made: those for all before
/// the event is stored, its own when the event is sent.
pub(super) fn changes_for<'s>(
    spec: &'s TaggingContainerSpec,
    destination: &str,
) -> impl Iterator<Item = &'s Transformation> {
    let destination = destination.to_owned();
    let all = spec.transformations.iter();
    let for_all = all
        .clone()
        .filter(|transformation| transformation.destinations.is_none());
    let own = all.filter(move |transformation| {
        let names = transformation.destinations.as_ref();
        names.is_some_and(|names| names.contains(&destination))
    });
    for_all.chain(own)
}

/// Whether two parameters have anything in common.
pub(super) fn overlaps(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}
