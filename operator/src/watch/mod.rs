//! The watches: what the operator knows of the cluster without asking. Each is started once and shared by all
//! reconciliations.
//!
//! - [`own`]: both own kinds, whole, and which Destination refers to which container;
//! - [`children`]: what the operator has made, as fingerprints, to see what was changed or deleted by hand;
//! - [`pods`]: the fleets' pods;
//! - [`referenced`]: Secrets and ConfigMaps of users, by their metadata and only as far as something refers to them.
//!
//! A watch wakes only the containers that its change concerns.

pub mod children;
pub mod hostnames;
pub mod own;
pub mod pods;
pub mod referenced;
mod stream;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher,
};
use tagfleet_crds::{Destination, TaggingContainer};
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    child::{ChildKind, MANAGED_BY},
    fleet::OptionalKinds,
    readiness::Readiness,
    wake::Wakes,
};

/// Objects of one list page: the peak of memory at a relist is a page and not the cluster.
const PAGE: u32 = 250;

/// Which namespaces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Cluster,
    /// One.
    Namespace(String),
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Everything that is watched.
#[derive(Debug)]
pub struct Watches {
    /// Containers and Destinations.
    pub own: Arc<own::Own>,
    /// What the operator has made.
    pub children: Arc<children::Children>,
    /// The fleets' pods.
    pub pods: Arc<pods::Pods>,
    /// Secrets of users.
    pub secrets: Arc<referenced::Referenced>,
    /// ConfigMaps of users.
    pub config_maps: Arc<referenced::Referenced>,
}

impl Watches {
    /// Nothing known yet.
    #[must_use]
    pub fn new(wakes: &Arc<Wakes>) -> Self {
        let wakes = || Arc::clone(wakes);
        Self {
            own: Arc::new(own::Own::new(wakes())),
            children: Arc::new(children::Children::new(wakes())),
            pods: Arc::new(pods::Pods::new(wakes())),
            secrets: Arc::new(referenced::Referenced::new(wakes())),
            config_maps: Arc::new(referenced::Referenced::new(wakes())),
        }
    }
}

/// The watches at work. Dropping it ends them.
pub struct Running {
    tasks: JoinSet<()>,
    client: Client,
    scope: Scope,
    watches: Arc<Watches>,
    readiness: Arc<Readiness>,
    /// The watches of kinds that a cluster may lack, which come and go with them.
    optional: std::collections::BTreeMap<ChildKind, AbortHandle>,
}

impl Running {
    /// Starts all watches but those of optional kinds.
    #[must_use]
    pub fn start(client: &Client, scope: &Scope, watches: &Arc<Watches>, readiness: &Arc<Readiness>) -> Self {
        let mut running = Self {
            tasks: JoinSet::new(),
            client: client.clone(),
            scope: scope.clone(),
            watches: Arc::clone(watches),
            readiness: Arc::clone(readiness),
            optional: std::collections::BTreeMap::new(),
        };
        let everything = watcher::Config::default().page_size(PAGE);
        let managed = everything.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));

        let containers = scope.api::<DeserializeGuard<TaggingContainer>>(client);
        let sink = own::Containers::new(Arc::clone(&watches.own));
        running.spawn("TaggingContainer", containers, everything.clone(), sink);
        let destinations = scope.api::<DeserializeGuard<Destination>>(client);
        let sink = own::Destinations::new(Arc::clone(&watches.own));
        running.spawn("Destination", destinations, everything.clone(), sink);
        let sink = pods::Seen::new(Arc::clone(&watches.pods));
        running.spawn("Pod", scope.api::<Pod>(client), managed, sink);
        let secrets = scope.api::<PartialObjectMeta<Secret>>(client);
        let sink = referenced::Seen::new(Arc::clone(&watches.secrets));
        running.spawn("Secret (metadata)", secrets, everything.clone(), sink);
        let config_maps = scope.api::<PartialObjectMeta<ConfigMap>>(client);
        let sink = referenced::Seen::new(Arc::clone(&watches.config_maps));
        running.spawn("ConfigMap (metadata)", config_maps, everything, sink);
        for kind in ChildKind::ALL.into_iter().filter(|kind| !kind.is_optional()) {
            running.spawn_children(kind);
        }
        running
    }

    /// Starts the watches of kinds that the cluster has got, and ends those of kinds that it has lost.
    pub fn set_optional(&mut self, kinds: OptionalKinds) {
        for kind in ChildKind::ALL.into_iter().filter(|kind| kind.is_optional()) {
            match (kinds.has(kind), self.optional.contains_key(&kind)) {
                (true, false) => {
                    let task = self.spawn_children(kind);
                    self.optional.insert(kind, task);
                }
                (false, true) => {
                    if let Some(task) = self.optional.remove(&kind) {
                        task.abort();
                    }
                    self.readiness.forget(&watch_name(kind));
                    self.watches.children.forget(kind);
                }
                _ => {}
            }
        }
    }

    fn spawn_children(&mut self, kind: ChildKind) -> AbortHandle {
        let resource = kind.api_resource();
        let api = match &self.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespace(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let managed = watcher::Config::default()
            .page_size(PAGE)
            .labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        let sink = children::Seen::new(kind, Arc::clone(&self.watches.children));
        self.spawn(&watch_name(kind), api, managed, sink)
    }

    fn spawn<S>(&mut self, name: &str, api: Api<S::Object>, config: watcher::Config, sink: S) -> AbortHandle
    where
        S: stream::Sink,
        <S::Object as Resource>::DynamicType: Clone + std::fmt::Debug + Send + Sync,
    {
        let watch = self.readiness.watch(name);
        self.tasks.spawn(stream::drive(api, config, watch, sink))
    }
}

/// A child kind's name in `/readyz`: Secrets and ConfigMaps are watched twice.
fn watch_name(kind: ChildKind) -> String {
    format!("{} (children)", kind.gvk().kind)
}

/// The names that were listed since a list began: what is not among them at its end is gone.
type Listed<N> = Option<BTreeSet<N>>;
