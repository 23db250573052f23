//! Secrets and ConfigMaps of users: their metadata, and only of those that something refers to. What nobody refers to
//! passes through the watch and leaves nothing in memory, however many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use kube::{Resource, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use tagfleet_crds::{CREDENTIALS_LABEL, validate::NamespacedName};

use super::{Listed, stream::Sink};
use crate::{child::name_of, wake::Wakes};

/// What is known of an object that something refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing yet: it must be asked for.
    Nothing,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Meta),
}

/// The metadata that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion: another means other data.
    pub resource_version: String,
    /// Whether it carries the label that shares a Secret.
    pub is_shared: bool,
}

impl Meta {
    /// The metadata of an object.
    #[must_use]
    pub fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        let labels = meta.labels.as_ref();
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            is_shared: labels
                .and_then(|labels| labels.get(CREDENTIALS_LABEL))
                .is_some_and(|is| is == "true"),
        }
    }
}

/// The objects of one kind that something refers to.
#[derive(Debug)]
pub struct Referenced {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<NamespacedName, Entry>,
    /// What each container refers to.
    by_container: BTreeMap<NamespacedName, BTreeSet<String>>,
}

#[derive(Debug)]
struct Entry {
    containers: BTreeSet<NamespacedName>,
    known: Known,
}

impl Referenced {
    pub(super) fn new(wakes: Arc<Wakes>) -> Self {
        Self {
            state: Mutex::default(),
            wakes,
        }
    }

    /// States all that a container refers to. From then on a change of any of it wakes the container: so this comes
    /// before the objects are asked for.
    pub fn set_references(&self, container: &NamespacedName, names: BTreeSet<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.by_container.get(container).cloned().unwrap_or_default();
        if before == names {
            return;
        }
        let object = |name: &String| NamespacedName::new(&container.namespace, name);
        for name in before.difference(&names) {
            if let Some(entry) = state.objects.get_mut(&object(name)) {
                entry.containers.remove(container);
                if entry.containers.is_empty() {
                    state.objects.remove(&object(name));
                }
            }
        }
        for name in names.difference(&before) {
            let entry = state.objects.entry(object(name)).or_insert_with(|| Entry {
                containers: BTreeSet::new(),
                known: Known::Nothing,
            });
            entry.containers.insert(container.clone());
        }
        if names.is_empty() {
            state.by_container.remove(container);
        } else {
            state.by_container.insert(container.clone(), names);
        }
    }

    /// What is known of an object.
    #[must_use]
    pub fn get(&self, name: &NamespacedName) -> Known {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .objects
            .get(name)
            .map_or(Known::Nothing, |entry| entry.known.clone())
    }

    /// Notes the answer to a question, unless the watch has told something meanwhile.
    pub fn learn(&self, name: &NamespacedName, known: Known) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = state.objects.get_mut(name)
            && entry.known == Known::Nothing
        {
            entry.known = known;
        }
    }

    /// Notes what the watch tells. Whether anything refers to the object.
    fn set(&self, name: &NamespacedName, known: Known) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = state.objects.get_mut(name) else {
            return false;
        };
        if entry.known != known {
            entry.known = known;
            for container in &entry.containers {
                self.wakes.containers.wake(container);
            }
        }
        true
    }

    fn count(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).objects.len()
    }

    fn names(&self) -> Vec<NamespacedName> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.objects.keys().cloned().collect()
    }
}

/// Takes in the watch of a kind's metadata.
pub(super) struct Seen<K> {
    referenced: Arc<Referenced>,
    listed: Listed<NamespacedName>,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K> Seen<K> {
    pub(super) const fn new(referenced: Arc<Referenced>) -> Self {
        Self {
            referenced,
            listed: None,
            kind: std::marker::PhantomData,
        }
    }
}

impl<K> Sink for Seen<K>
where
    K: Resource<DynamicType = ()> + 'static,
    PartialObjectMeta<K>: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send,
{
    type Object = PartialObjectMeta<K>;

    fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    fn applied(&mut self, object: Self::Object) {
        let name = name_of(&object);
        let known = match object.meta().deletion_timestamp {
            None => Known::Present(Meta::of(&object)),
            Some(_) => Known::Absent,
        };
        if self.referenced.set(&name, known)
            && let Some(listed) = &mut self.listed
        {
            listed.insert(name);
        }
    }

    fn objects(&self) -> usize {
        self.referenced.count()
    }

    fn deleted(&mut self, object: &Self::Object) {
        self.referenced.set(&name_of(object), Known::Absent);
    }

    fn listed(&mut self) {
        let Some(listed) = self.listed.take() else { return };
        for name in self.referenced.names() {
            // What was first referred to while the list was under way is asked for by itself.
            if !listed.contains(&name) && matches!(self.referenced.get(&name), Known::Present(_)) {
                self.referenced.set(&name, Known::Nothing);
            }
        }
    }
}
