//! The fleets' pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tagfleet_crds::validate::NamespacedName;

use super::{Listed, stream::Sink};
use crate::{
    child::{INSTANCE, name_of},
    observed::PodState,
    wake::Wakes,
};

/// The pods of each fleet, by the fleet and the pod's name.
#[derive(Debug)]
pub struct Pods {
    fleets: RwLock<BTreeMap<NamespacedName, BTreeMap<String, PodState>>>,
    /// How many there are.
    count: AtomicUsize,
    wakes: Arc<Wakes>,
}

impl Pods {
    pub(super) fn new(wakes: Arc<Wakes>) -> Self {
        Self {
            fleets: RwLock::default(),
            count: AtomicUsize::new(0),
            wakes,
        }
    }

    /// The pods of a fleet in the order of their names.
    #[must_use]
    pub fn of(&self, fleet: &NamespacedName) -> Vec<PodState> {
        let fleets = self.fleets.read().unwrap_or_else(PoisonError::into_inner);
        fleets
            .get(fleet)
            .map(|pods| pods.values().cloned().collect())
            .unwrap_or_default()
    }

    fn set(&self, fleet: &NamespacedName, pod: PodState) {
        let mut fleets = self.fleets.write().unwrap_or_else(PoisonError::into_inner);
        let pods = fleets.entry(fleet.clone()).or_default();
        if pods.get(&pod.name) == Some(&pod) {
            return;
        }
        if pods.insert(pod.name.clone(), pod).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        drop(fleets);
        self.wakes.containers.wake(fleet);
    }

    fn remove(&self, fleet: &NamespacedName, pod: &str) {
        let mut fleets = self.fleets.write().unwrap_or_else(PoisonError::into_inner);
        let Some(pods) = fleets.get_mut(fleet) else { return };
        if pods.remove(pod).is_none() {
            return;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        if pods.is_empty() {
            fleets.remove(fleet);
        }
        drop(fleets);
        self.wakes.containers.wake(fleet);
    }

    fn retain(&self, listed: &BTreeSet<(NamespacedName, String)>) {
        let fleets = self.fleets.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (fleet, pods) in fleets {
            for pod in pods.into_keys() {
                let key = (fleet.clone(), pod);
                if !listed.contains(&key) {
                    self.remove(&key.0, &key.1);
                }
            }
        }
    }
}

/// Takes in the watch of pods.
pub(super) struct Seen {
    pods: Arc<Pods>,
    listed: Listed<(NamespacedName, String)>,
}

impl Seen {
    pub(super) const fn new(pods: Arc<Pods>) -> Self {
        Self { pods, listed: None }
    }
}

/// The fleet that a pod is of, by its label.
fn fleet_of(pod: &Pod) -> Option<NamespacedName> {
    let instance = pod.labels().get(INSTANCE)?;
    Some(NamespacedName::new(&name_of(pod).namespace, instance))
}

impl Sink for Seen {
    type Object = Pod;

    fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    fn applied(&mut self, pod: Pod) {
        if let Some(fleet) = fleet_of(&pod) {
            if let Some(listed) = &mut self.listed {
                listed.insert((fleet.clone(), pod.name_any()));
            }
            self.pods.set(&fleet, PodState::from(&pod));
        }
    }

    fn objects(&self) -> usize {
        self.pods.count.load(Ordering::Relaxed)
    }

    fn deleted(&mut self, pod: &Pod) {
        if let Some(fleet) = fleet_of(pod) {
            self.pods.remove(&fleet, &pod.name_any());
        }
    }

    fn listed(&mut self) {
        if let Some(listed) = self.listed.take() {
            self.pods.retain(&listed);
        }
    }
}
