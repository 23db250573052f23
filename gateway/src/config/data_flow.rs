//! Who gets what: the manifests as the record of processing reads them, and whether what is in force keeps to `receives`.

use std::{collections::BTreeMap, path::PathBuf};

use tagfleet_crds::{
    Destination, DestinationSpec, TaggingContainer, TaggingContainerSpec,
    data_flow::{self, Pair},
    validate::{self, Objects, Scope, Setting},
};

use super::{
    accept,
    container::ContainerForm,
    destination::DestinationForm,
    files::Sources,
    objects::{CONTAINER, DESTINATION, Object},
    reading::Read,
    world::World,
};

/// A container and the destinations that refer to it, as they are written.
#[derive(Clone, Debug)]
pub struct Described {
    /// The container's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The container.
    pub spec: TaggingContainerSpec,
    /// What its expressions may read.
    pub scope: Scope,
    /// The destinations by name.
    pub destinations: BTreeMap<String, DestinationSpec>,
}

/// Reads the containers of these files and folders with their destinations, by namespace and name. What cannot be read is
/// not in it; [`super::check`] says why.
#[must_use]
pub fn describe(paths: Vec<PathBuf>) -> Vec<Described> {
    let sources = Sources {
        paths,
        secrets_dir: None,
    };
    let read = Read::new(&sources.read(), &BTreeMap::new());
    let world = World::new(read.present.clone(), BTreeMap::new());
    let of_kind = |kind: &'static str| {
        let objects = read.present.values();
        objects.filter(move |object| &*object.reference.kind == kind)
    };
    let mut described = Vec::new();
    for object in of_kind(CONTAINER) {
        let Some(spec) = accept::described::<TaggingContainerSpec>(object).spec else {
            continue;
        };
        let (namespace, name) = (&*object.reference.namespace, &*object.reference.name);
        let destinations = of_kind(DESTINATION)
            .filter(|destination| &*destination.reference.namespace == namespace)
            .filter_map(|destination| referring(destination, name))
            .collect();
        described.push(Described {
            scope: scope(namespace, name, &spec, &world),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            spec,
            destinations,
        });
    }
    described
}

/// A destination that refers to this container.
fn referring(object: &Object, container: &str) -> Option<(String, DestinationSpec)> {
    let spec = accept::described::<DestinationSpec>(object).spec?;
    let refers = spec.container_refs.iter().any(|reference| reference.name == container);
    refers.then(|| (object.reference.name.to_string(), spec))
}

fn scope(namespace: &str, name: &str, spec: &TaggingContainerSpec, world: &World) -> Scope {
    let mut container = TaggingContainer::new(name, spec.clone());
    container.metadata.namespace = Some(namespace.to_owned());
    let objects = Objects {
        containers: vec![&container],
        destinations: Vec::<&Destination>::new(),
        secrets: BTreeMap::new(),
        config_maps: world.config_maps(),
        setting: Setting::Check,
    };
    validate::validate_container(&container, &objects).0
}

/// Whether a destination would be sent what it must not receive, with the container as it is in force.
#[must_use]
pub fn leaks(container: &ContainerForm, form: &DestinationForm) -> bool {
    let Some(vendor) = form.spec.vendor() else {
        return false;
    };
    let leaks = data_flow::leaks(Pair {
        container: &container.spec,
        scope: &container.readable.scope,
        name: &form.name,
        destination: &form.spec,
        vendor,
    });
    !leaks.is_empty()
}
