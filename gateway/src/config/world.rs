//! What references lead to: Secrets and ConfigMaps.

use std::collections::{BTreeMap, BTreeSet};

use tagfleet_crds::{
    ConfigMapKeyRef, SecretKeyRef,
    validate::{NamespacedName, SecretKeys},
};

use super::{
    finding::ObjectRef,
    objects::{Body, CONFIG_MAP, Object, SECRET},
    secrets::{Data, Datum},
};
use crate::secret::Secret;

/// The Secrets and ConfigMaps.
#[derive(Clone, Debug, Default)]
pub struct World {
    objects: BTreeMap<ObjectRef, Object>,
    /// Secrets of the folder; of whatever namespace, and before those of manifests.
    folder: BTreeMap<String, Data>,
}

impl World {
    /// From the objects in force and the Secrets of the folder.
    #[must_use]
    pub fn new(objects: BTreeMap<ObjectRef, Object>, folder: BTreeMap<String, Data>) -> Self {
        Self { objects, folder }
    }

    /// The object of a ConfigMap, for the place of a mistake in it.
    #[must_use]
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&Object> {
        self.objects.get(&ObjectRef::new(CONFIG_MAP, namespace, name))
    }

    /// The value of a Secret's key, if it is there. A line break at its end is taken off: editors and `echo` put it
    /// there, and no credential ends in one.
    #[must_use]
    pub fn secret(&self, namespace: &str, reference: &SecretKeyRef) -> Option<Secret> {
        let SecretKeyRef { name, key } = reference;
        let in_folder = self.folder.get(name).and_then(|data| data.get(key));
        let in_manifest = || self.data(SECRET, namespace, name)?.get(key);
        match in_folder.or_else(in_manifest)? {
            Datum::Text(secret) => Some(Secret::new(secret.expose().trim_end_matches(['\r', '\n']))),
            Datum::Binary => None,
        }
    }

    /// The text of a ConfigMap's key, if it is there.
    #[must_use]
    pub fn text(&self, namespace: &str, reference: &ConfigMapKeyRef) -> Option<&str> {
        match self.data(CONFIG_MAP, namespace, &reference.name)?.get(&reference.key)? {
            Datum::Text(text) => Some(text.expose()),
            Datum::Binary => None,
        }
    }

    /// The keys of all Secrets, for validation. Keys that hold no text are as if they were not there: no credential is
    /// binary. Those of the folder are in each of these namespaces. All are shared: who gave them to this gateway, in a
    /// cluster the operator, has judged that.
    #[must_use]
    pub fn secret_keys(&self, namespaces: &BTreeSet<&str>) -> BTreeMap<NamespacedName, SecretKeys> {
        let mut all: BTreeMap<NamespacedName, SecretKeys> = BTreeMap::new();
        for (reference, data) in self.all_data(SECRET) {
            let secret = all
                .entry(NamespacedName::new(&reference.namespace, &reference.name))
                .or_default();
            secret.keys.extend(data.texts().map(|(key, _)| key.to_owned()));
            secret.is_shared = true;
        }
        for namespace in namespaces {
            for (name, data) in &self.folder {
                let secret = all.entry(NamespacedName::new(namespace, name)).or_default();
                secret.keys.extend(data.texts().map(|(key, _)| key.to_owned()));
                secret.is_shared = true;
            }
        }
        all
    }

    /// The texts of all ConfigMaps, for validation.
    #[must_use]
    pub fn config_maps(&self) -> BTreeMap<NamespacedName, BTreeMap<String, String>> {
        let texts = |data: &Data| {
            data.texts()
                .map(|(key, text)| (key.to_owned(), text.to_owned()))
                .collect()
        };
        self.all_data(CONFIG_MAP)
            .map(|(reference, data)| (NamespacedName::new(&reference.namespace, &reference.name), texts(data)))
            .collect()
    }

    fn all_data<'w>(&'w self, kind: &'w str) -> impl Iterator<Item = (&'w ObjectRef, &'w Data)> {
        self.objects
            .iter()
            .filter_map(move |(reference, object)| match &object.body {
                Body::Data(data) if &*reference.kind == kind => Some((reference, data)),
                _ => None,
            })
    }

    fn data(&self, kind: &str, namespace: &str, name: &str) -> Option<&Data> {
        match &self.objects.get(&ObjectRef::new(kind, namespace, name))?.body {
            Body::Data(data) => Some(data),
            Body::Own(_) => None,
        }
    }
}
