//! The checks of a container's transformations.

mod hazards;
mod reads;
mod rule;

use kube::ResourceExt as _;

use super::{
    Objects, Report, Scope, Setting,
    expressions::{self, Purpose},
};
use crate::{
    FieldPath, TaggingContainer,
    conditions::reasons,
    tagging_container::{Transformation, TransformationKind},
};

/// The fields that every event needs.
const NEEDED: [&str; 3] = ["event_name", "event_id", "timestamp_ms"];

pub(super) fn validate(container: &TaggingContainer, scope: &Scope, objects: &Objects<'_>, report: &mut Report) {
    let at = FieldPath::spec().field("transformations");
    for (index, transformation) in container.spec.transformations.iter().enumerate() {
        check_transformation(container, transformation, &at.index(index), scope, objects, report);
    }
    hazards::check(container, scope, objects, report);
}

fn check_transformation(
    container: &TaggingContainer,
    transformation: &Transformation,
    at: &FieldPath,
    scope: &Scope,
    objects: &Objects<'_>,
    report: &mut Report,
) {
    let environment = match &transformation.destinations {
        Some(_) => scope.event_environment(),
        None => scope.request_environment(),
    };
    if let Some(when) = &transformation.when {
        expressions::check(when, Purpose::Condition, &environment, at.field("when"), report);
    }
    let (field, parameters) = match transformation.kind() {
        None => {
            let message = "set exactly one kind of transformation: allow, exclude, augment, hash, redact";
            report.error(at.clone(), reasons::INVALID, message);
            return;
        }
        Some(TransformationKind::Augment(augment)) => {
            for (parameter, expression) in augment {
                let path = at.fields(&["augment", parameter]);
                parameter_path(parameter, &path, report);
                expressions::check(expression, Purpose::Value, &environment, path, report);
            }
            ("augment", [].as_slice())
        }
        Some(TransformationKind::Allow(parameters)) => ("allow", parameters),
        Some(TransformationKind::Exclude(parameters)) => ("exclude", parameters),
        Some(TransformationKind::Hash(parameters)) => ("hash", parameters),
        Some(TransformationKind::Redact(redact)) => {
            ("redact.parameters", redact.parameters.as_deref().unwrap_or_default())
        }
    };
    for (index, parameter) in parameters.iter().enumerate() {
        let path = at.fields(&field.split('.').collect::<Vec<_>>()).index(index);
        parameter_path(parameter, &path, report);
        if field != "allow" && NEEDED.contains(&parameter.as_str()) {
            let message = format!("every event needs its {parameter}: it can be set by `augment`, and nothing else");
            report.error(path, reasons::INVALID, message);
        }
    }
    named_destinations(container, transformation, at, objects, report);
}

/// A parameter is a name, or names with dots between them.
fn parameter_path(parameter: &str, at: &FieldPath, report: &mut Report) {
    if parameter.split('.').any(|name| name.trim().is_empty()) {
        let message = format!("`{parameter}` is no parameter: write names with dots between them, without `event.`");
        report.error(at.clone(), reasons::INVALID, message);
    } else if let Some(rest) = parameter.strip_prefix("event.") {
        report.error(
            at.clone(),
            reasons::INVALID,
            format!("name the parameter without `event.`: {rest}"),
        );
    }
}

/// Destinations that a transformation names in vain: what it was to hide from them is not hidden.
fn named_destinations(
    container: &TaggingContainer,
    transformation: &Transformation,
    at: &FieldPath,
    objects: &Objects<'_>,
    report: &mut Report,
) {
    for (index, name) in transformation.destinations.iter().flatten().enumerate() {
        let mut same_namespace = objects
            .destinations
            .iter()
            .filter(|destination| super::namespace(**destination) == report.object.namespace);
        let named = same_namespace.find(|destination| destination.name_any() == *name);
        let container_name = container.name_any();
        let message = match named {
            Some(destination) if destination.spec.container_refs.iter().any(|r| r.name == container_name) => continue,
            Some(_) => format!("the Destination {name} does not refer to this container"),
            None if objects.setting == Setting::Cluster => format!("there is no Destination {name}"),
            None => format!("the Destination {name} is nowhere in the given files"),
        };
        report.warning(
            at.field("destinations").index(index),
            reasons::DESTINATION_NOT_FOUND,
            message,
        );
    }
}
