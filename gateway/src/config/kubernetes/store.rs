//! What the two watches have told so far. Pure: events in, the objects that count out.

use std::{collections::BTreeMap, sync::Arc};

use kube::{ResourceExt as _, api::DynamicObject, runtime::watcher::Event};
use serde_json::{Value as Json, json};

use super::ClusterObjects;
use crate::config::{
    finding::ObjectRef,
    objects::{API_VERSION, CONTAINER, DESTINATION, Object},
};

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The container, by its name.
    Container,
    /// The Destinations of its namespace.
    Destinations,
}

/// What the API server has, as far as it has told.
#[derive(Debug)]
pub struct Store {
    namespace: String,
    container: String,
    containers: Told,
    destinations: Told,
}

/// What one watch has told.
#[derive(Debug, Default)]
struct Told {
    /// What counts; none before the first list is complete.
    objects: Option<BTreeMap<ObjectRef, Object>>,
    /// The list that is under way.
    list: BTreeMap<ObjectRef, Object>,
}

impl Store {
    /// Of the container of this name. Nothing is known yet.
    #[must_use]
    pub fn new(namespace: &str, container: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            container: container.to_owned(),
            containers: Told::default(),
            destinations: Told::default(),
        }
    }

    /// Takes in an event. Returns whether anything changed that matters: a status does not, nor does a Destination of
    /// another container.
    pub fn take(&mut self, kind: Kind, event: Event<DynamicObject>) -> bool {
        match event {
            Event::Init => {
                self.told(kind).list.clear();
                false
            }
            Event::InitApply(object) => {
                if let Some(object) = self.ours(kind, &object) {
                    self.told(kind).list.insert(object.reference.clone(), object);
                }
                false
            }
            Event::InitDone => self.told(kind).listed(),
            Event::Apply(object) => {
                let reference = self.reference(kind, &object.name_any());
                match self.ours(kind, &object) {
                    Some(object) => self.told(kind).put(object),
                    None => self.told(kind).remove(&reference),
                }
            }
            Event::Delete(object) => {
                let reference = self.reference(kind, &object.name_any());
                self.told(kind).remove(&reference)
            }
        }
    }

    /// All that counts, once both kinds were listed.
    #[must_use]
    pub fn objects(&self) -> Option<Arc<ClusterObjects>> {
        let (containers, destinations) = (self.containers.objects.as_ref()?, self.destinations.objects.as_ref()?);
        let all = containers.iter().chain(destinations);
        Some(Arc::new(
            all.map(|(reference, object)| (reference.clone(), object.clone()))
                .collect(),
        ))
    }

    fn told(&mut self, kind: Kind) -> &mut Told {
        match kind {
            Kind::Container => &mut self.containers,
            Kind::Destinations => &mut self.destinations,
        }
    }

    fn reference(&self, kind: Kind, name: &str) -> ObjectRef {
        ObjectRef::new(kind.name(), &self.namespace, name)
    }

    /// The object as a manifest would have it, if it is the container or refers to it.
    fn ours(&self, kind: Kind, object: &DynamicObject) -> Option<Object> {
        let reference = self.reference(kind, &object.name_any());
        let spec = object.data.get("spec").unwrap_or(&Json::Null);
        let is_ours = match kind {
            Kind::Container => *reference.name == *self.container,
            Kind::Destinations => refers_to(spec, &self.container),
        };
        let manifest = || {
            json!({
                "apiVersion": API_VERSION,
                "kind": kind.name(),
                "metadata": {
                    "name": object.metadata.name,
                    "namespace": self.namespace,
                    "uid": object.metadata.uid,
                    "generation": object.metadata.generation,
                },
                "spec": spec,
            })
        };
        is_ours.then(|| Object::from_api(reference, &manifest()))
    }
}

impl Kind {
    /// As in `kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => CONTAINER,
            Self::Destinations => DESTINATION,
        }
    }
}

impl Told {
    fn listed(&mut self) -> bool {
        let list = std::mem::take(&mut self.list);
        let is_same = self.objects.as_ref().is_some_and(|known| {
            known.len() == list.len()
                && known
                    .values()
                    .zip(list.values())
                    .all(|(one, other)| is_same(one, other))
        });
        if !is_same {
            self.objects = Some(list);
        }
        !is_same
    }

    fn put(&mut self, object: Object) -> bool {
        let Some(known) = &mut self.objects else { return false };
        if known
            .get(&object.reference)
            .is_some_and(|known| is_same(known, &object))
        {
            return false;
        }
        known.insert(object.reference.clone(), object);
        true
    }

    fn remove(&mut self, reference: &ObjectRef) -> bool {
        let known = self.objects.as_mut().and_then(|known| known.remove(reference));
        known.is_some()
    }
}

/// Whether these are the same object with the same specification.
fn is_same(one: &Object, other: &Object) -> bool {
    one.reference == other.reference && one.uid() == other.uid() && one.generation() == other.generation()
}

/// Whether a Destination refers to the container. One whose references cannot be read (a later version of the kind) may.
fn refers_to(spec: &Json, container: &str) -> bool {
    let name = |reference: &Json| reference.get("name").and_then(Json::as_str).map(str::to_owned);
    match spec.get("containerRefs").and_then(Json::as_array) {
        Some(references) => references
            .iter()
            .any(|reference| name(reference).is_none_or(|name| name == container)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn object(json: Json) -> DynamicObject {
        serde_json::from_value(json).unwrap()
    }

    fn container(generation: i64) -> DynamicObject {
        object(json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
            "metadata": {"name": "shop", "namespace": "web", "uid": "a", "generation": generation},
            "spec": {"hostnames": ["metrics.shop.example"]},
        }))
    }

    fn destination(name: &str, container: &str, generation: i64) -> DynamicObject {
        object(json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination",
            "metadata": {"name": name, "namespace": "web", "uid": name, "generation": generation},
            "spec": {"containerRefs": [{"name": container}]},
            "status": {"containers": [{"name": container, "delivered": generation * 1_000}]},
        }))
    }

    fn listed(destinations: &[DynamicObject]) -> Store {
        let mut store = Store::new("web", "shop");
        list(&mut store, Kind::Container, &[container(1)]);
        list(&mut store, Kind::Destinations, destinations);
        store
    }

    fn list(store: &mut Store, kind: Kind, objects: &[DynamicObject]) -> bool {
        assert!(!store.take(kind, Event::Init));
        for object in objects {
            assert!(!store.take(kind, Event::InitApply(object.clone())));
        }
        store.take(kind, Event::InitDone)
    }

    fn told(store: &Store) -> Vec<(String, i64)> {
        let objects = store.objects().unwrap();
        let told = objects.iter();
        told.map(|(reference, object)| (reference.to_string(), object.generation().unwrap()))
            .collect()
    }

    #[test]
    fn nothing_counts_before_both_lists_are_complete() {
        let mut store = Store::new("web", "shop");
        assert!(list(&mut store, Kind::Container, &[container(1)]));
        store.take(Kind::Destinations, Event::Init);
        store.take(Kind::Destinations, Event::InitApply(destination("orders", "shop", 1)));
        assert!(store.objects().is_none());
        assert!(store.take(Kind::Destinations, Event::InitDone));
        assert_eq!(
            told(&store),
            [("Destination/orders".into(), 1), ("TaggingContainer/shop".into(), 1)]
        );
    }

    #[test]
    fn only_destinations_of_the_container_matter() {
        let mut store = listed(&[destination("orders", "shop", 1), destination("other", "blog", 1)]);
        assert_eq!(told(&store).len(), 2);
        assert!(!store.take(Kind::Destinations, Event::Apply(destination("other", "blog", 2))));
        assert!(
            store.take(Kind::Destinations, Event::Apply(destination("other", "shop", 3))),
            "it refers to it now"
        );
        assert!(
            store.take(Kind::Destinations, Event::Apply(destination("orders", "blog", 2))),
            "it no longer does"
        );
        assert_eq!(
            told(&store),
            [("Destination/other".into(), 3), ("TaggingContainer/shop".into(), 1)]
        );
    }

    #[test]
    fn a_status_that_is_written_changes_nothing() {
        let mut store = listed(&[destination("orders", "shop", 1)]);
        let mut counted = destination("orders", "shop", 1);
        counted.data["status"]["containers"][0]["delivered"] = 7.into();
        assert!(!store.take(Kind::Destinations, Event::Apply(counted)));
        assert!(!list(
            &mut store,
            Kind::Destinations,
            &[destination("orders", "shop", 1)]
        ));
        assert!(store.objects().unwrap().values().all(|object| {
            let tree = object.tree().unwrap();
            tree.get("status").is_none()
        }));
    }

    #[test]
    fn a_destination_made_anew_is_another() {
        let mut store = listed(&[destination("orders", "shop", 1)]);
        assert!(store.take(Kind::Destinations, Event::Delete(destination("orders", "shop", 1))));
        assert_eq!(told(&store), [("TaggingContainer/shop".into(), 1)]);
        let mut again = destination("orders", "shop", 1);
        again.metadata.uid = Some("again".into());
        assert!(store.take(Kind::Destinations, Event::Apply(again)));
    }

    #[test]
    fn a_new_list_replaces_the_old_one() {
        let mut store = listed(&[destination("orders", "shop", 1), destination("stock", "shop", 1)]);
        assert!(list(&mut store, Kind::Destinations, &[destination("stock", "shop", 2)]));
        assert_eq!(
            told(&store),
            [("Destination/stock".into(), 2), ("TaggingContainer/shop".into(), 1)]
        );
    }

    #[test]
    fn what_a_later_version_wrote_is_kept_as_it_is() {
        let mut later = destination("orders", "shop", 1);
        later.data["spec"] = json!({"containerSelector": {}, "hologram": [1]});
        let store = listed(&[later]);
        let objects = store.objects().unwrap();
        let orders = &objects[&ObjectRef::new("Destination", "web", "orders")];
        assert_eq!(
            orders.tree().unwrap().get("spec").unwrap().to_json(),
            json!({"containerSelector": {}, "hologram": [1]})
        );
    }
}
