//! `scripts/cluster gateways`: a gateway for each pod of every fleet in the cluster of `make cluster-up`, which has no
//! node. It stands in for the kubelet until it is interrupted: starts the real program for a new pod, tells the API server
//! whether it is ready, brings its ConfigMaps and Secrets up to date, and ends it with its pod.
#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, thread, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use tagfleet_tests::cluster::{Cluster, GatewayPod, Namespace};

/// The pods that the operator's fleets are made of.
const PODS: &str = "app.kubernetes.io/name=tagfleet-gateway,app.kubernetes.io/managed-by=tagfleet-operator";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Looks until mounts are written again: the kubelet takes up to two minutes.
const SYNC: u64 = 20;
/// How long a gateway may take to stop.
const STOP: Duration = Duration::from_secs(25);

struct Started<'c> {
    space: Namespace<'c>,
    gateway: GatewayPod,
}

fn main() {
    let cluster = Cluster::get();
    let mut started: BTreeMap<String, Started<'_>> = BTreeMap::new();
    println!("A gateway runs for each pod of a fleet, until Ctrl+C.");
    for look in 1_u64.. {
        let pods = pods(cluster);
        started.retain(|uid, it| {
            let is_there = pods.contains_key(uid);
            if !is_there {
                it.gateway.terminate(STOP);
                println!("{}/{} ended", it.space.name(), it.gateway.name());
            }
            is_there
        });
        for (uid, pod) in pods {
            if !started.contains_key(&uid) && has_address(&pod) {
                // Of gateways that ran before this program: they are gone, as with a node that is lost.
                let space = cluster.existing_namespace(&pod.namespace().unwrap_or_default());
                space.kubectl(&format!("delete pod {} --wait=false", pod.name_any()));
                continue;
            }
            let it = started.entry(uid).or_insert_with(|| start(cluster, &pod));
            if look.is_multiple_of(SYNC) {
                it.gateway.sync_volumes(&it.space);
            }
            it.tell(&pod);
        }
        thread::sleep(LOOK);
    }
}

/// The pods that are not on their way out, by uid.
fn pods(cluster: &Cluster) -> BTreeMap<String, Pod> {
    let listed = cluster.block_on(async {
        let pods = Api::<Pod>::all(cluster.client());
        pods.list(&ListParams::default().labels(PODS)).await
    });
    let pods = listed.map(|list| list.items).unwrap_or_default();
    let stays = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    stays.filter_map(|pod| Some((pod.uid()?, pod))).collect()
}

fn start<'c>(cluster: &'c Cluster, pod: &Pod) -> Started<'c> {
    let space = cluster.existing_namespace(&pod.namespace().unwrap_or_default());
    let gateway = GatewayPod::spawn(&space, pod);
    println!(
        "{}/{} at http://{}, admin http://{}",
        space.name(),
        gateway.name(),
        gateway.address(),
        gateway.admin()
    );
    Started { space, gateway }
}

impl Started<'_> {
    /// Tells the API server that it runs, and whether it is ready, unless it knows. The scheduler says again and again that
    /// there is no node.
    fn tell(&self, pod: &Pod) {
        let is_ready = self.gateway.is_ready();
        let is_there = self.space.find::<Pod>(self.gateway.name()).is_some();
        if is_there && (!holds(pod, "PodScheduled") || holds(pod, "Ready") != is_ready) {
            self.gateway.tell(&self.space, is_ready);
        }
    }
}

fn holds(pod: &Pod, condition: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|it| it.type_ == condition && it.status == "True")
}

fn has_address(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some())
}
