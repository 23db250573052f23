//! The operator's work, once the CRDs are installed: watches first, in every replica, so that a standby knows the cluster
//! when it takes over; the controllers only in the leader.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use kube::Client;
use serde_json::json;
use tagfleet_crds::validate::NamespacedName;
use tokio::sync::{mpsc, watch};

use crate::{
    admin::Admin,
    api_server,
    apply::{Applier, status::StatusWriter},
    backoff::Backoffs,
    child::name_of,
    context::{Context, Memories},
    controller,
    events::Publisher,
    fleet::Settings,
    fleets::Fleets,
    gateways::Poller,
    leader::Leader,
    metrics::Metrics,
    readiness::Readiness,
    rollout::Slot,
    served_crds::Cluster,
    wake::Wakes,
    watch::{Running, Scope, Watches},
};

/// Fleets whose report has changed, waiting to be passed on.
const REPORTS: usize = 64;

/// What the work needs.
pub struct Work {
    /// The client of watches and controllers.
    pub client: Client,
    /// Which namespaces are looked after.
    pub scope: Scope,
    /// The operator's settings.
    pub settings: Settings,
    /// What the API server serves.
    pub cluster: watch::Receiver<Cluster>,
    /// Told of every watch.
    pub readiness: Arc<Readiness>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Shows the state.
    pub admin: Arc<Admin>,
}

impl Work {
    /// Works until it is dropped.
    pub async fn run(self, leader: Option<&Leader>) {
        let wakes = Arc::new(Wakes::default());
        let watches = Arc::new(Watches::new(&wakes));
        let mut running = Running::start(&self.client, &self.scope, &watches, &self.readiness);
        let mut cluster = self.cluster.clone();
        running.set_optional(cluster.borrow_and_update().kinds);
        let mut api_server = api_server::addresses(self.client.clone()).await;
        let lead = self.lead(&watches, &wakes, api_server.clone(), leader);
        // What every fleet's children depend on.
        let surroundings = async {
            loop {
                tokio::select! {
                    Ok(()) = cluster.changed() => running.set_optional(cluster.borrow_and_update().kinds),
                    Ok(()) = api_server.changed() => drop(api_server.borrow_and_update()),
                    else => std::future::pending().await,
                }
                wake_all(&watches, &wakes);
            }
        };
        tokio::select! {
            () = surroundings => {}
            () = lead => {}
        }
    }

    /// Runs the controllers once this replica leads and has whole lists.
    async fn lead(
        &self,
        watches: &Arc<Watches>,
        wakes: &Arc<Wakes>,
        api_server: watch::Receiver<BTreeSet<SocketAddr>>,
        leader: Option<&Leader>,
    ) {
        if let Some(leader) = leader {
            tracing::info!("waiting for the lease");
            leader.acquired().await;
        }
        // A child that is not listed yet would be made again, and one not known would not be pruned.
        self.readiness.all_listed().await;
        tracing::info!(
            containers = watches.own.containers.len(),
            destinations = watches.own.destinations.len(),
            "leading"
        );
        let memories = Arc::new(Memories::default());
        let (changed, reports) = mpsc::channel(REPORTS);
        let fleets = Arc::new(Fleets::new(Arc::clone(watches), Arc::clone(&memories)));
        let slot = Slot::new();
        for (fleet, workload) in watches.children.all_workloads() {
            slot.observe(&fleet, &workload);
        }
        self.show(watches, &memories);
        let context = Context {
            client: self.client.clone(),
            watches: Arc::clone(watches),
            wakes: Arc::clone(wakes),
            applier: Applier::new(
                self.client.clone(),
                Arc::clone(&watches.children),
                Arc::clone(&self.metrics),
            ),
            container_status: StatusWriter::new(self.client.clone(), Arc::clone(&self.metrics)),
            destination_status: StatusWriter::new(self.client.clone(), Arc::clone(&self.metrics)),
            events: Publisher::start(self.client.clone(), Arc::clone(&self.metrics)),
            poller: Arc::new(Poller::start(fleets, changed, Arc::clone(&self.metrics))),
            slot,
            settings: self.settings.clone(),
            cluster: self.cluster.clone(),
            api_server,
            metrics: Arc::clone(&self.metrics),
            memories: Arc::clone(&memories),
            container_backoffs: Backoffs::default(),
            destination_backoffs: Backoffs::default(),
        };
        tokio::join!(pass_on(reports, &memories, wakes), controller::run(Arc::new(context)));
    }

    /// Shows the fleets on `/debug/state`.
    fn show(&self, watches: &Arc<Watches>, memories: &Arc<Memories>) {
        let (watches, memories) = (Arc::clone(watches), Arc::clone(memories));
        self.admin.show("fleets", move || {
            let fleets = memories.standing().into_iter().map(|fleet| {
                let pods = watches.pods.of(&fleet).len();
                let workloads = watches.children.workloads(&fleet).into_values();
                let ready: u32 = workloads.map(|workload| workload.ready).sum();
                json!({"namespace": fleet.namespace, "name": fleet.name, "pods": pods, "ready": ready})
            });
            fleets.collect()
        });
    }
}

/// Has every container looked at again.
fn wake_all(watches: &Watches, wakes: &Wakes) {
    for container in watches.own.containers.state() {
        wakes.containers.wake(&name_of(&*container));
    }
}

/// Has a container and its Destinations looked at when the report of its gateways has changed.
async fn pass_on(mut reports: mpsc::Receiver<NamespacedName>, memories: &Memories, wakes: &Wakes) {
    while let Some(fleet) = reports.recv().await {
        wakes.containers.wake(&fleet);
        let verdicts = memories.verdicts(&fleet);
        for destination in verdicts.iter().flat_map(|verdicts| verdicts.destinations.keys()) {
            wakes
                .destinations
                .wake(&NamespacedName::new(&fleet.namespace, destination));
        }
    }
}
