//! The two own kinds, whole: every reconciliation reads them from here. A change of specification wakes the containers
//! that it concerns; a change of status wakes nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kube::{
    Resource,
    core::DeserializeGuard,
    runtime::{
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use tagfleet_crds::{Destination, TaggingContainer, validate::NamespacedName};

use super::{hostnames::Hostnames, stream::Sink};
use crate::{child::name_of, wake::Wakes};

/// Containers and Destinations.
#[derive(Debug)]
pub struct Own {
    /// The containers.
    pub containers: Store<TaggingContainer>,
    /// The Destinations.
    pub destinations: Store<Destination>,
    /// Which containers claim which hostname.
    pub hostnames: Hostnames,
    /// The Destinations that refer to each container, whether or not it exists.
    by_container: RwLock<BTreeMap<NamespacedName, BTreeSet<String>>>,
    /// The ends that write, taken by the two watches.
    container_writer: Mutex<Option<Writer<TaggingContainer>>>,
    destination_writer: Mutex<Option<Writer<Destination>>>,
    wakes: Arc<Wakes>,
}

impl Own {
    pub(super) fn new(wakes: Arc<Wakes>) -> Self {
        let (containers, container_writer) = reflector::store();
        let (destinations, destination_writer) = reflector::store();
        Self {
            containers,
            destinations,
            hostnames: Hostnames::default(),
            by_container: RwLock::default(),
            container_writer: Mutex::new(Some(container_writer)),
            destination_writer: Mutex::new(Some(destination_writer)),
            wakes,
        }
    }

    /// A container.
    #[must_use]
    pub fn container(&self, name: &NamespacedName) -> Option<Arc<TaggingContainer>> {
        self.containers.get(&ObjectRef::new(&name.name).within(&name.namespace))
    }

    /// A Destination.
    #[must_use]
    pub fn destination(&self, name: &NamespacedName) -> Option<Arc<Destination>> {
        self.destinations
            .get(&ObjectRef::new(&name.name).within(&name.namespace))
    }

    /// The Destinations that refer to a container, in the order of their names.
    #[must_use]
    pub fn destinations_of(&self, container: &NamespacedName) -> Vec<Arc<Destination>> {
        let names = self.by_container.read().unwrap_or_else(PoisonError::into_inner);
        let names = names.get(container).into_iter().flatten();
        names
            .filter_map(|name| self.destination(&NamespacedName::new(&container.namespace, name)))
            .collect()
    }

    /// Notes which containers a Destination refers to, and wakes those that are and those that were among them.
    fn refer(&self, destination: &NamespacedName, before: &BTreeSet<String>, now: &BTreeSet<String>) {
        let mut index = self.by_container.write().unwrap_or_else(PoisonError::into_inner);
        let container = |name: &String| NamespacedName::new(&destination.namespace, name);
        for name in before.difference(now) {
            if let Some(names) = index.get_mut(&container(name)) {
                names.remove(&destination.name);
                if names.is_empty() {
                    index.remove(&container(name));
                }
            }
        }
        for name in now {
            index
                .entry(container(name))
                .or_default()
                .insert(destination.name.clone());
        }
        drop(index);
        for name in before.union(now) {
            self.wakes.containers.wake(&container(name));
        }
        self.wakes.destinations.wake(destination);
    }
}

/// What of an object decides whether a change of it matters: not its status.
fn identity(object: &impl Resource) -> (Option<&str>, Option<i64>, bool) {
    let meta = object.meta();
    (meta.uid.as_deref(), meta.generation, meta.deletion_timestamp.is_some())
}

/// Drops what nobody reads and what would fill memory.
fn prune(object: &mut impl Resource) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Keeps a store in step with its watch. An object that cannot be read stays as it was read last, so that it stops
/// neither itself nor others.
struct Mirror<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    writer: Option<Writer<K>>,
    /// The objects seen since a list began.
    listed: Option<BTreeSet<NamespacedName>>,
}

impl<K> Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    fn tell(&mut self, event: &Event<K>) {
        if let Some(writer) = &mut self.writer {
            writer.apply_watcher_event(event);
        }
    }

    fn get(&self, name: &NamespacedName) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(&name.name).within(&name.namespace))
    }

    fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
        self.tell(&Event::Init);
    }

    /// Takes the object in; gives it as it was and as it is, or nothing when it cannot be read.
    fn applied(&mut self, guarded: DeserializeGuard<K>) -> Option<(Option<Arc<K>>, K)> {
        let name = name_of(&guarded);
        let before = self.get(&name);
        let object = match (guarded.0, &before) {
            (Ok(mut object), _) => {
                prune(&mut object);
                object
            }
            (Err(error), before) => {
                tracing::error!(
                    kind = %K::kind(&()), namespace = name.namespace, name = name.name, error = error.error,
                    "the object cannot be read: is it written for a newer version? It stays as it was read last"
                );
                K::clone(before.as_ref()?)
            }
        };
        if let Some(listed) = &mut self.listed {
            listed.insert(name);
            self.tell(&Event::InitApply(object.clone()));
        } else {
            self.tell(&Event::Apply(object.clone()));
        }
        Some((before, object))
    }

    fn deleted(&mut self, guarded: &DeserializeGuard<K>) -> Option<Arc<K>> {
        let before = self.get(&name_of(guarded))?;
        self.tell(&Event::Delete(K::clone(&before)));
        Some(before)
    }

    /// Ends a list; gives what was there before and is no more.
    fn list_ends(&mut self) -> Vec<Arc<K>> {
        let listed = self.listed.take().unwrap_or_default();
        let gone = self.store.state_filter(|object| !listed.contains(&name_of(object)));
        self.tell(&Event::InitDone);
        gone
    }
}

/// Takes in the watch of containers.
pub(super) struct Containers {
    own: Arc<Own>,
    mirror: Mirror<TaggingContainer>,
}

impl Containers {
    pub(super) fn new(own: Arc<Own>) -> Self {
        let writer = own
            .container_writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mirror = Mirror {
            store: own.containers.clone(),
            writer,
            listed: None,
        };
        Self { own, mirror }
    }

    fn gone(&self, container: &TaggingContainer) {
        let name = name_of(container);
        self.wake_rivals(self.own.hostnames.remove(&name));
        self.own.wakes.containers.wake(&name);
        self.wake_destinations(&name);
    }

    fn wake_rivals(&self, rivals: BTreeSet<NamespacedName>) {
        for rival in rivals {
            self.own.wakes.containers.wake(&rival);
        }
    }

    fn wake_destinations(&self, container: &NamespacedName) {
        for destination in self.own.destinations_of(container) {
            self.own.wakes.destinations.wake(&name_of(&*destination));
        }
    }
}

impl Sink for Containers {
    type Object = DeserializeGuard<TaggingContainer>;

    fn list_begins(&mut self) {
        self.mirror.list_begins();
    }

    fn objects(&self) -> usize {
        self.mirror.store.len()
    }

    fn applied(&mut self, object: Self::Object) {
        let Some((before, container)) = self.mirror.applied(object) else {
            return;
        };
        if before.as_deref().map(identity) == Some(identity(&container)) {
            return;
        }
        let name = name_of(&container);
        self.wake_rivals(self.own.hostnames.set(&name, &container));
        self.own.wakes.containers.wake(&name);
        if before.is_none() {
            self.wake_destinations(&name);
        }
    }

    fn deleted(&mut self, object: &Self::Object) {
        if let Some(container) = self.mirror.deleted(object) {
            self.gone(&container);
        }
    }

    fn listed(&mut self) {
        for container in self.mirror.list_ends() {
            self.gone(&container);
        }
    }
}

/// Takes in the watch of Destinations.
pub(super) struct Destinations {
    own: Arc<Own>,
    mirror: Mirror<Destination>,
}

impl Destinations {
    pub(super) fn new(own: Arc<Own>) -> Self {
        let writer = own
            .destination_writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mirror = Mirror {
            store: own.destinations.clone(),
            writer,
            listed: None,
        };
        Self { own, mirror }
    }
}

fn containers_of(destination: &Destination) -> BTreeSet<String> {
    let references = destination.spec.container_refs.iter();
    references.map(|reference| reference.name.clone()).collect()
}

impl Sink for Destinations {
    type Object = DeserializeGuard<Destination>;

    fn list_begins(&mut self) {
        self.mirror.list_begins();
    }

    fn objects(&self) -> usize {
        self.mirror.store.len()
    }

    fn applied(&mut self, object: Self::Object) {
        let Some((before, destination)) = self.mirror.applied(object) else {
            return;
        };
        if before.as_deref().map(identity) == Some(identity(&destination)) {
            return;
        }
        let were = before.as_deref().map(containers_of).unwrap_or_default();
        self.own
            .refer(&name_of(&destination), &were, &containers_of(&destination));
    }

    fn deleted(&mut self, object: &Self::Object) {
        if let Some(destination) = self.mirror.deleted(object) {
            let were = containers_of(&destination);
            self.own.refer(&name_of(&*destination), &were, &BTreeSet::new());
        }
    }

    fn listed(&mut self) {
        for destination in self.mirror.list_ends() {
            let were = containers_of(&destination);
            self.own.refer(&name_of(&*destination), &were, &BTreeSet::new());
        }
    }
}
