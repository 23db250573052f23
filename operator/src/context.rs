//! What all reconciliations share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;
use tagfleet_crds::{Destination, TaggingContainer, validate::NamespacedName};
use tokio::sync::watch;

use crate::{
    apply::{Applier, status::StatusWriter},
    backoff::Backoffs,
    dereference::Data,
    events::Publisher,
    fleet::{Fleet, Settings},
    gateways::{Poller, fleet::Target},
    last_good::InForce,
    metrics::Metrics,
    rollout::Slot,
    served_crds::Cluster,
    verdict::Verdicts,
    wake::Wakes,
    watch::Watches,
};

/// What all reconciliations share.
pub struct Context {
    /// For reading; writing is `applier`'s and the status writers'.
    pub client: Client,
    /// What is known of the cluster.
    pub watches: Arc<Watches>,
    /// Has others looked at.
    pub wakes: Arc<Wakes>,
    /// Writes children.
    pub applier: Applier,
    /// Writes the status of containers.
    pub container_status: StatusWriter<TaggingContainer>,
    /// Writes the status of Destinations.
    pub destination_status: StatusWriter<Destination>,
    /// Publishes Events.
    pub events: Publisher,
    /// What the gateways tell.
    pub poller: Arc<Poller>,
    /// Who may roll out a new image.
    pub slot: Slot,
    /// The operator's settings; what the cluster has comes from the two below.
    pub settings: Settings,
    /// What the API server serves.
    pub cluster: watch::Receiver<Cluster>,
    /// Where the API server is reached.
    pub api_server: watch::Receiver<BTreeSet<SocketAddr>>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// What is remembered of each container.
    pub memories: Arc<Memories>,
    /// Pauses after failures of containers.
    pub container_backoffs: Backoffs,
    /// Pauses after failures of Destinations.
    pub destination_backoffs: Backoffs,
}

/// What is remembered of a container from one reconciliation to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// The forms in force, where `<name>-config` does not have them, or something is broken that stays at them. Kept for no
    /// longer: they are most of what a container weighs.
    pub in_force: Option<InForce>,
    /// Whether `<name>-config` was asked for the forms in force since they were kept there last.
    pub asked_for_last_good: bool,
    /// The data of Secrets and ConfigMaps.
    pub data: Data,
    /// What the gateways were to have in force, and on which pods.
    pub polled: Option<Target>,
}

impl Memory {
    /// Remembers what is in force of a fleet, unless it was just stored in `<name>-config`, from where it comes back when
    /// something breaks.
    pub fn remember(&mut self, fleet: Fleet, is_stored: bool) {
        self.in_force = (!is_stored).then_some(InForce {
            container: fleet.container,
            tables: fleet.tables,
            destinations: fleet.destinations,
        });
        if is_stored {
            self.asked_for_last_good = false;
        }
    }
}

/// The memories of all containers, and the verdicts that Destinations read.
#[derive(Debug, Default)]
pub struct Memories {
    memories: Mutex<BTreeMap<NamespacedName, Arc<tokio::sync::Mutex<Memory>>>>,
    verdicts: Mutex<BTreeMap<NamespacedName, Arc<Verdicts>>>,
}

impl Memories {
    /// A container's memory.
    #[must_use]
    pub fn of(&self, container: &NamespacedName) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(container.clone()).or_default())
    }

    /// The newest verdicts on a container and its Destinations.
    #[must_use]
    pub fn verdicts(&self, container: &NamespacedName) -> Option<Arc<Verdicts>> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.get(container).cloned()
    }

    /// Notes verdicts; gives those of before.
    pub fn set_verdicts(&self, container: &NamespacedName, verdicts: Arc<Verdicts>) -> Option<Arc<Verdicts>> {
        let mut all = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(container.clone(), verdicts)
    }

    /// The containers of which a fleet stands.
    #[must_use]
    pub fn standing(&self) -> Vec<NamespacedName> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = verdicts.iter().filter(|(_, verdicts)| verdicts.in_force.is_some());
        standing.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a container that is gone; gives the verdicts of before.
    #[must_use]
    pub fn forget(&self, container: &NamespacedName) -> Option<Arc<Verdicts>> {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(container);
        self.verdicts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(container)
    }
}
