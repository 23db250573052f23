//! Transformations in the order in which they are made, and what each does to a parameter.

use super::NEEDED;
use crate::{
    FieldPath,
    tagging_container::{Transformation, TransformationKind},
};

/// A transformation with its place.
#[derive(Clone, Copy)]
pub(super) struct Rule<'t> {
    index: usize,
    pub(super) manifest: &'t Transformation,
    pub(super) kind: TransformationKind<'t>,
}

/// All that say what they do, in the order in which they are made: those for all destinations first.
pub(super) fn in_order(manifests: &[Transformation]) -> Vec<Rule<'_>> {
    let rules = manifests.iter().enumerate();
    let rules = rules.filter_map(|(index, manifest)| {
        let kind = manifest.kind()?;
        Some(Rule { index, manifest, kind })
    });
    let mut rules: Vec<Rule<'_>> = rules.collect();
    rules.sort_by_key(|rule| (!rule.is_for_all(), rule.index));
    rules
}

/// Whether a parameter is another, or below it.
pub(super) fn is_within(parameter: &str, other: &str) -> bool {
    let rest = parameter.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The field of the event that a parameter is, or is below.
pub(super) fn field_of(parameter: &str) -> &str {
    parameter.split('.').next().unwrap_or(parameter)
}

impl<'t> Rule<'t> {
    /// Where it stands.
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::spec().field("transformations").index(self.index)
    }

    pub(super) fn is_for_all(&self) -> bool {
        self.manifest.destinations.is_none()
    }

    pub(super) fn is_for(&self, destination: &str) -> bool {
        let named = self.manifest.destinations.as_ref();
        named.is_none_or(|names| names.iter().any(|name| name == destination))
    }

    /// Whether it is made wherever another is.
    pub(super) fn includes(&self, other: &Rule<'_>) -> bool {
        self.is_for_all() || {
            let mut theirs = other.manifest.destinations.iter().flatten();
            !other.is_for_all() && theirs.all(|name| self.is_for(name))
        }
    }

    /// The parameters that it names, and where each stands; of `allow`, what is kept.
    pub(super) fn parameters(&self) -> Vec<(FieldPath, &'t str)> {
        let (field, names): (&[&str], &[String]) = match self.kind {
            TransformationKind::Allow(names) => (&["allow"], names),
            TransformationKind::Exclude(names) => (&["exclude"], names),
            TransformationKind::Hash(names) => (&["hash"], names),
            TransformationKind::Redact(redact) => (
                &["redact", "parameters"],
                redact.parameters.as_deref().unwrap_or_default(),
            ),
            TransformationKind::Augment(_) => (&[], &[]),
        };
        let at = self.path().fields(field);
        let names = names.iter().enumerate();
        names.map(|(index, name)| (at.index(index), name.as_str())).collect()
    }

    /// Whether it removes a parameter, whatever the event.
    pub(super) fn removes(&self, parameter: &str) -> bool {
        if self.manifest.when.is_some() {
            return false;
        }
        match self.kind {
            TransformationKind::Exclude(names) => names.iter().any(|name| is_within(parameter, name)),
            TransformationKind::Allow(names) => {
                let keeps = |name: &String| is_within(parameter, name) || is_within(name, parameter);
                !names.iter().any(keeps) && !NEEDED.contains(&parameter)
            }
            _ => false,
        }
    }

    /// Whether it may set a parameter.
    pub(super) fn sets(&self, parameter: &str) -> bool {
        let TransformationKind::Augment(augment) = self.kind else {
            return false;
        };
        augment
            .keys()
            .any(|name| is_within(name, parameter) || is_within(parameter, name))
    }

    /// Whether it hides a field of the event, in whole or in part, from whom it is made for.
    pub(super) fn protects(&self, field: &str) -> bool {
        match self.kind {
            TransformationKind::Augment(_) => false,
            TransformationKind::Exclude(names) | TransformationKind::Hash(names) => {
                names.iter().any(|name| field_of(name) == field)
            }
            TransformationKind::Allow(names) => !names.iter().any(|name| name == field) && !NEEDED.contains(&field),
            // Everywhere is hardly meant to be about any one field.
            TransformationKind::Redact(redact) => {
                redact.parameters.iter().flatten().any(|name| field_of(name) == field)
            }
        }
    }

    /// Whether it is made for anybody for whom another is made.
    pub(super) fn meets(&self, other: &Rule<'_>) -> bool {
        self.is_for_all() || other.is_for_all() || {
            let mut theirs = other.manifest.destinations.iter().flatten();
            theirs.any(|name| self.is_for(name))
        }
    }

    /// Whether it removes or hashes a parameter as a whole, whatever the event.
    pub(super) fn takes(&self, parameter: &str) -> bool {
        match self.kind {
            TransformationKind::Hash(names) if self.manifest.when.is_none() => {
                names.iter().any(|name| is_within(parameter, name))
            }
            _ => self.removes(parameter),
        }
    }

    /// Whether it protects anything.
    pub(super) fn is_protection(&self) -> bool {
        !matches!(self.kind, TransformationKind::Augment(_))
    }
}

/// Which of the earlier rules removed a parameter before this one is made, so that it is certainly not there.
pub(super) fn removed_before<'t>(rules: &[Rule<'t>], at: usize, parameter: &str) -> Option<Rule<'t>> {
    let this = rules.get(at)?;
    let earlier = rules.get(..at)?.iter().rev();
    let mut unset = earlier.take_while(|rule| !rule.sets(parameter));
    unset
        .find(|rule| rule.includes(this) && rule.removes(parameter))
        .copied()
}
