//! What the operator has made, as the API server holds it: reduced to a fingerprint, so that a thousand fleets fit in
//! little memory, and yet whatever is changed or deleted by hand shows.
//!
//! A child whose content is not known to be as wished keeps its body here until `apply` has compared the two; after that
//! only the fingerprint is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::core::DynamicObject;
use serde_json::Value;
use tagfleet_crds::validate::NamespacedName;

use super::{Listed, stream::Sink};
use crate::{
    apply::fingerprint::{self, Fingerprint},
    child::{ChildKind, INSTANCE, name_of},
    observed::Workload,
    wake::Wakes,
};

/// A child's kind and name.
pub type ChildName = (ChildKind, String);

/// A child as the API server holds it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// The uid of the object that controls it.
    pub owner: Option<String>,
    /// The fingerprint of what it holds, its status and bookkeeping left out.
    pub content: Fingerprint,
    /// What it holds, as JSON, until it was compared with what is wished.
    pub body: Option<Arc<[u8]>>,
    /// The wish that this content is known to fulfil.
    pub fulfils: Option<Fingerprint>,
    /// Its state, if it is a Deployment or StatefulSet.
    pub workload: Option<Workload>,
}

impl Live {
    /// Reduces an object. None without a uid, which the API server always gives.
    #[must_use]
    pub fn new(kind: ChildKind, object: &DynamicObject) -> Option<Self> {
        let controller = object.metadata.owner_references.iter().flatten();
        let owner = controller
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
            .next();
        let mut value = serde_json::to_value(object).ok()?;
        // Items of a list of a built-in kind do not say what they are: the list does.
        let gvk = kind.gvk();
        let fields = value.as_object_mut()?;
        fields.insert("apiVersion".to_owned(), gvk.api_version().into());
        fields.insert("kind".to_owned(), gvk.kind.into());
        let workload = match kind {
            ChildKind::Deployment => serde_json::from_value(value.clone())
                .ok()
                .map(|it: Deployment| Workload::from(&it)),
            ChildKind::StatefulSet => serde_json::from_value(value.clone())
                .ok()
                .map(|it: StatefulSet| Workload::from(&it)),
            _ => None,
        };
        fingerprint::strip(&mut value);
        let body = serde_json::to_vec(&value).ok()?;
        Some(Self {
            uid: object.metadata.uid.clone()?,
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            owner,
            content: Fingerprint::of(&body),
            body: Some(body.into()),
            fulfils: None,
            workload,
        })
    }

    /// What it holds, if it was not compared yet.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// Whether it is older than another form of the same object. Kubernetes makes resourceVersions comparable as
    /// numbers (KEP-5504).
    fn is_older_than(&self, other: &Self) -> bool {
        let number = |version: &str| version.parse::<u128>().ok();
        self.uid == other.uid
            && number(&self.resource_version)
                .zip(number(&other.resource_version))
                .is_some_and(|(own, other)| own < other)
    }
}

/// The children of all fleets.
#[derive(Debug)]
pub struct Children {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct State {
    fleets: BTreeMap<NamespacedName, BTreeMap<ChildName, Live>>,
    /// The fleet that a child is of, by namespace and child: its labels may be changed by hand.
    fleet_of: BTreeMap<(String, ChildName), NamespacedName>,
    /// How many there are of each kind.
    counts: BTreeMap<ChildKind, usize>,
}

impl Children {
    pub(super) fn new(wakes: Arc<Wakes>) -> Self {
        Self {
            state: Mutex::default(),
            wakes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The children that there are of a fleet.
    #[must_use]
    pub fn of(&self, fleet: &NamespacedName) -> BTreeMap<ChildName, Live> {
        self.state().fleets.get(fleet).cloned().unwrap_or_default()
    }

    /// The state of a fleet's workloads; two while one replaces the other.
    #[must_use]
    pub fn workloads(&self, fleet: &NamespacedName) -> BTreeMap<ChildKind, Workload> {
        let state = self.state();
        let children = state.fleets.get(fleet).into_iter().flatten();
        children
            .filter_map(|((kind, _), live)| Some((*kind, live.workload.clone()?)))
            .collect()
    }

    /// The workloads of all fleets.
    #[must_use]
    pub fn all_workloads(&self) -> Vec<(NamespacedName, Workload)> {
        let state = self.state();
        let all = state
            .fleets
            .iter()
            .flat_map(|(fleet, children)| children.values().map(move |live| (fleet, live)));
        all.filter_map(|(fleet, live)| Some((fleet.clone(), live.workload.clone()?)))
            .collect()
    }

    /// Notes that a child, in the form in which the API server answered, is as wished.
    pub fn fulfilled(&self, fleet: &NamespacedName, name: &ChildName, mut live: Live, wish: Fingerprint) {
        live.fulfils = Some(wish);
        live.body = None;
        let mut state = self.state();
        if state.live(fleet, name).is_some_and(|known| live.is_older_than(known)) {
            return;
        }
        state.insert(fleet, name, live);
    }

    /// Notes that a child was deleted by the operator.
    pub fn deleted(&self, fleet: &NamespacedName, name: &ChildName) {
        self.state().remove(&fleet.namespace, name);
    }

    /// Forgets all children of a kind that the cluster no longer has.
    pub fn forget(&self, kind: ChildKind) {
        let mut state = self.state();
        let all = state
            .fleet_of
            .keys()
            .filter(|(_, child)| child.0 == kind)
            .cloned()
            .collect::<Vec<_>>();
        for (namespace, child) in all {
            state.remove(&namespace, &child);
        }
    }

    /// Takes in what the watch tells of a child, and wakes its fleet if that is news.
    fn seen(&self, fleet: &NamespacedName, name: &ChildName, mut live: Live) {
        let mut state = self.state();
        let moved_from = state
            .fleet_of
            .get(&(fleet.namespace.clone(), name.clone()))
            .filter(|was| *was != fleet)
            .cloned();
        if let Some(was) = moved_from {
            state.remove(&fleet.namespace, name);
            self.wakes.containers.wake(&was);
        }
        if let Some(known) = state.live(fleet, name) {
            if live.is_older_than(known) {
                return;
            }
            if known.uid == live.uid && known.content == live.content && known.owner == live.owner {
                live.fulfils = known.fulfils;
                if live.fulfils.is_some() {
                    live.body = None;
                    if live.workload == known.workload {
                        state.insert(fleet, name, live);
                        return;
                    }
                }
            }
        }
        state.insert(fleet, name, live);
        drop(state);
        self.wakes.containers.wake(fleet);
    }

    fn gone(&self, namespace: &str, name: &ChildName) {
        if let Some(fleet) = self.state().remove(namespace, name) {
            self.wakes.containers.wake(&fleet);
        }
    }

    fn retain(&self, kind: ChildKind, listed: &BTreeSet<NamespacedName>) {
        let state = self.state();
        let all = state.fleet_of.keys().filter(|(_, child)| child.0 == kind);
        let gone = all
            .filter(|(namespace, child)| !listed.contains(&NamespacedName::new(namespace, &child.1)))
            .cloned()
            .collect::<Vec<_>>();
        drop(state);
        for (namespace, child) in gone {
            self.gone(&namespace, &child);
        }
    }
}

impl State {
    fn live(&self, fleet: &NamespacedName, name: &ChildName) -> Option<&Live> {
        self.fleets.get(fleet)?.get(name)
    }

    fn insert(&mut self, fleet: &NamespacedName, name: &ChildName, live: Live) {
        let child = (fleet.namespace.clone(), name.clone());
        if self.fleet_of.insert(child, fleet.clone()).is_none() {
            *self.counts.entry(name.0).or_default() += 1;
        }
        self.fleets.entry(fleet.clone()).or_default().insert(name.clone(), live);
    }

    fn remove(&mut self, namespace: &str, name: &ChildName) -> Option<NamespacedName> {
        let fleet = self.fleet_of.remove(&(namespace.to_owned(), name.clone()))?;
        if let Some(count) = self.counts.get_mut(&name.0) {
            *count = count.saturating_sub(1);
        }
        if let Some(children) = self.fleets.get_mut(&fleet) {
            children.remove(name);
            if children.is_empty() {
                self.fleets.remove(&fleet);
            }
        }
        Some(fleet)
    }
}

/// Takes in the watch of one kind of children.
pub(super) struct Seen {
    kind: ChildKind,
    children: Arc<Children>,
    listed: Listed<NamespacedName>,
}

impl Seen {
    pub(super) const fn new(kind: ChildKind, children: Arc<Children>) -> Self {
        Self {
            kind,
            children,
            listed: None,
        }
    }

    /// The fleet by the controlling owner, else by the label.
    fn fleet_of(object: &DynamicObject) -> Option<NamespacedName> {
        let owners = object.metadata.owner_references.iter().flatten();
        let owner = owners
            .filter(|owner| owner.kind == "TaggingContainer" && owner.controller == Some(true))
            .map(|owner| owner.name.as_str())
            .next();
        let label = || object.metadata.labels.as_ref()?.get(INSTANCE).map(String::as_str);
        Some(NamespacedName::new(
            object.metadata.namespace.as_deref()?,
            owner.or_else(label)?,
        ))
    }
}

impl Sink for Seen {
    type Object = DynamicObject;

    fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    fn applied(&mut self, object: DynamicObject) {
        let name = name_of(&object);
        if let Some(listed) = &mut self.listed {
            listed.insert(name.clone());
        }
        if let Some(fleet) = Self::fleet_of(&object)
            && let Some(live) = Live::new(self.kind, &object)
        {
            self.children.seen(&fleet, &(self.kind, name.name), live);
        }
    }

    fn objects(&self) -> usize {
        self.children
            .state()
            .counts
            .get(&self.kind)
            .copied()
            .unwrap_or_default()
    }

    fn deleted(&mut self, object: &DynamicObject) {
        let name = name_of(object);
        self.children.gone(&name.namespace, &(self.kind, name.name));
    }

    fn listed(&mut self) {
        if let Some(listed) = self.listed.take() {
            self.children.retain(self.kind, &listed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_of_a_list_is_the_object_that_a_watch_tells() {
        let listed = json!({"metadata": {"name": "shop-gateway", "uid": "1"}, "spec": {"ports": [{"port": 80}]}});
        let mut watched = listed.clone();
        watched.as_object_mut().unwrap().extend([
            ("apiVersion".to_owned(), json!("v1")),
            ("kind".to_owned(), json!("Service")),
        ]);
        let live = |object| Live::new(ChildKind::Service, &serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!(live(listed).value(), live(watched).value());
    }
}
