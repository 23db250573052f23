//! ConfigMap `<name>-config`: the configuration in force, from which a pod starts with or without the API server.
//!
//! Each key is a manifest as the gateway's file mode reads it: the container, the Destinations that refer to it, and the
//! ConfigMaps of its lookup tables, with only the referenced keys. The manifests are JSON, which is YAML in which no text
//! can be taken for a number or a flag.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use tagfleet_crds::API_VERSION;

use super::{child, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::{Fleet, Form},
};

/// The most bytes that the values of a ConfigMap may have together
/// (<https://kubernetes.io/docs/concepts/configuration/configmap/>).
pub const LIMIT_BYTES: usize = 1 << 20;

/// The most bytes, by [`table_bytes`], that the lookup tables of a container may have together, so that its manifest and
/// those of its Destinations have room beside them.
pub const MAX_TABLE_BYTES: usize = 700_000;

/// The bytes that the text of a lookup table takes in the ConfigMap: quotes and line breaks take two.
#[must_use]
pub fn table_bytes(text: &str) -> usize {
    json!(text).to_string().len()
}

/// The bytes that the configuration of a fleet takes of [`LIMIT_BYTES`].
#[must_use]
pub fn size(fleet: &Fleet) -> usize {
    manifests(fleet).values().map(String::len).sum()
}

/// One key for each manifest.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let metadata = metadata::of(fleet, names::config(&fleet.name));
    vec![child(ChildKind::ConfigMap, metadata, json!({"data": manifests(fleet)}))]
}

/// The manifests by the name of their file.
fn manifests(fleet: &Fleet) -> BTreeMap<String, String> {
    let container = own("TaggingContainer", &fleet.name, &fleet.namespace, &fleet.container);
    let destinations = fleet.destinations.iter().map(|(name, form)| {
        let manifest = own("Destination", name, &fleet.namespace, form);
        (names::manifest("destination-", name), manifest)
    });
    let tables = tables(fleet).into_iter().map(|(name, data)| {
        let metadata = json!({"name": name, "namespace": fleet.namespace});
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        (names::manifest("config-map-", name), manifest)
    });
    std::iter::once(("tagging-container.yaml".to_owned(), container))
        .chain(destinations)
        .chain(tables)
        .map(|(file, manifest)| (file, format!("{manifest:#}\n")))
        .collect()
}

/// The manifest of one of the two kinds, as it is in force.
fn own<S: Serialize>(kind: &str, name: &str, namespace: &str, form: &Form<S>) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": form.uid, "generation": form.generation},
        "spec": form.spec,
    })
}

/// The texts of lookup tables by ConfigMap and key.
fn tables(fleet: &Fleet) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut maps: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (at, text) in &fleet.tables {
        maps.entry(&at.config_map).or_default().insert(&at.key, text);
    }
    maps
}
