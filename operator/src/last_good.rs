//! What of a container and its Destinations is in force: the newest forms that were accepted. It is written to
//! `<name>-config`, from which gateways start, and read back from there after a restart of the operator.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt as _};
use tagfleet_crds::{Destination, DestinationSpec, TaggingContainer, TaggingContainerSpec, validate::NamespacedName};

use crate::{
    build::names,
    fleet::{ConfigMapKey, Form},
};

/// The forms in force.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// The container.
    pub container: Form<TaggingContainerSpec>,
    /// The texts of its lookup tables.
    pub tables: BTreeMap<ConfigMapKey, String>,
    /// The Destinations, by name.
    pub destinations: BTreeMap<String, Form<DestinationSpec>>,
}

/// Reads what is in force from the ConfigMap that the operator wrote. None when there is none, when it is of another
/// container of that name, or when somebody has made it unreadable.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn read(client: &Client, name: &NamespacedName, uid: &str) -> Result<Option<InForce>, kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), &name.namespace);
    let found = api.get_opt(&names::config(&name.name)).await?;
    let is_ours = |map: &ConfigMap| map.owner_references().iter().any(|owner| owner.uid == uid);
    Ok(found
        .filter(is_ours)
        .and_then(|map| parse(&map.data.unwrap_or_default())))
}

fn parse(data: &BTreeMap<String, String>) -> Option<InForce> {
    let container: TaggingContainer = serde_saphyr::from_str(data.get("tagging-container.yaml")?).ok()?;
    let mut in_force = InForce {
        container: form(&container, container.spec.clone()),
        tables: BTreeMap::new(),
        destinations: BTreeMap::new(),
    };
    for (key, text) in data {
        if key.starts_with("destination-") {
            let destination: Destination = serde_saphyr::from_str(text).ok()?;
            let form = form(&destination, destination.spec.clone());
            in_force.destinations.insert(destination.name_any(), form);
        } else if key.starts_with("config-map-") {
            let map: ConfigMap = serde_saphyr::from_str(text).ok()?;
            let config_map = map.name_any();
            for (key, text) in map.data.unwrap_or_default() {
                let config_map = config_map.clone();
                in_force.tables.insert(ConfigMapKey { config_map, key }, text);
            }
        }
    }
    Some(in_force)
}

/// An object's specification as a form.
pub fn form<S>(object: &impl kube::Resource, spec: S) -> Form<S> {
    Form {
        spec,
        uid: object.meta().uid.clone().unwrap_or_default(),
        generation: object.meta().generation.unwrap_or_default(),
    }
}
