//! The data-flow policy: no parameter goes to a destination whose `receives` does not list its class.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;

use super::{NamespacedName, Objects, Report, Scope};
use crate::{
    Destination, DestinationSpec, FieldPath, TaggingContainer,
    conditions::reasons,
    data_flow::{self, Leak, Pair, Through},
    destination::Vendor,
};

/// Classes of parameters that a container of this destination does not define.
pub(super) fn classes(spec: &DestinationSpec, objects: &Objects<'_>, report: &mut Report) {
    let namespace = report.object.namespace.clone();
    for container in containers_of(spec, objects, &namespace) {
        let classes = data_flow::classes(&container.spec.effective_privacy());
        let defined: BTreeSet<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        for (index, class) in spec.receives.iter().flatten().enumerate() {
            if !defined.contains(class.as_str()) {
                let name = container.name_any();
                let message = format!("the container {name} defines no class {class} in privacy.classes");
                report.error(
                    FieldPath::spec().field("receives").index(index),
                    reasons::CLASS_NOT_FOUND,
                    message,
                );
            }
        }
    }
}

/// Parameters that would go there though their class is not listed.
pub(super) fn leaks(
    destination: &Destination,
    vendor: Vendor<'_>,
    objects: &Objects<'_>,
    scopes: &BTreeMap<NamespacedName, Scope>,
    report: &mut Report,
) {
    let namespace = report.object.namespace.clone();
    let name = destination.name_any();
    for container in containers_of(&destination.spec, objects, &namespace) {
        let container_name = container.name_any();
        let Some(scope) = scopes.get(&NamespacedName::new(&namespace, &container_name)) else {
            continue;
        };
        let found = data_flow::leaks(Pair {
            container: &container.spec,
            scope,
            name: &name,
            destination: &destination.spec,
            vendor,
        });
        for leak in found {
            let path = match &leak.through {
                Some(Through::Expression(path)) => path.clone(),
                _ => FieldPath::spec().field("receives"),
            };
            report.error(path, reasons::DATA_FLOW, message(&leak, &name, &container_name));
        }
    }
}

fn containers_of<'o>(
    spec: &'o DestinationSpec,
    objects: &'o Objects<'_>,
    namespace: &'o str,
) -> impl Iterator<Item = &'o TaggingContainer> {
    let refers = move |container: &&TaggingContainer| {
        let name = container.name_any();
        super::namespace(*container) == namespace && spec.container_refs.iter().any(|reference| reference.name == name)
    };
    objects.containers.iter().copied().filter(refers)
}

/// What would leak, and what can be done about it.
fn message(leak: &Leak, destination: &str, container: &str) -> String {
    let class = &leak.class;
    let names = leak
        .parameters
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match &leak.through {
        Some(Through::Expression(_)) => format!(
            "would send {names} (class {class}), which spec.receives does not list: change the expression, or list {class} \
             there"
        ),
        Some(Through::Augment {
            transformation,
            parameter,
        }) => format!(
            "would send {names} (class {class}, which is not listed) as {parameter}, which the transformation \
             {transformation} of the container {container} sets: exclude {parameter} for this destination behind it, or \
             list {class}"
        ),
        None => format!(
            "would send parameters of the class {class}, which is not listed: add {{name: {destination}-without-{class}, \
             exclude: [{names}], destinations: [{destination}]}} to the transformations of the container {container}, or \
             list {class}"
        ),
    }
}
