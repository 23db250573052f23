//! Applies the children of a fleet: the only place that writes them, and deletes those that are no longer wanted.
//!
//! A child is written when it is not there, when it is not as wished, or when the wish has changed; never otherwise.
//! Writing is server-side apply: fields of others stay theirs, and ours come back when somebody changes them.

pub mod fingerprint;
pub mod status;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fingerprint::Fingerprint;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::Status,
};
use serde_json::{Value, json};
use tagfleet_crds::validate::NamespacedName;

use crate::{
    child::{Child, ChildKind, FIELD_MANAGER},
    metrics::Metrics,
    watch::children::{ChildName, Children, Live},
};

/// The field manager of a new workload's first number of pods. It is not ours: an autoscaler takes it over, and what the
/// operator does not own it cannot fight for.
const SEED_MANAGER: &str = "tagfleet-operator-replicas";
/// How often, and how many times, it is looked whether a deleted StatefulSet is gone.
const GONE_EVERY: Duration = Duration::from_millis(100);
const GONE_LOOKS: usize = 100;
/// How long a new Role may take to show in the API server's cache: at first, doubled with each try, and at last.
const ROLE_SHOWS: Duration = Duration::from_millis(20);
const ROLE_SHOWS_AT_LAST: Duration = Duration::from_secs(1);
/// Children of a fleet that are written at a time.
const AT_A_TIME: usize = 4;

/// What is to be applied, and to whom it belongs.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The fleet.
    pub fleet: NamespacedName,
    /// The container's uid: who controls the children.
    pub owner: String,
    /// The children in the order of applying.
    pub children: Vec<Child>,
    /// The pods that a new workload starts with.
    pub first_replicas: u32,
    /// Whether children that are not wished are deleted.
    pub prune: bool,
}

/// Why children could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else's object has a child's name.
    #[error(
        "{kind} {name} is there already and belongs to somebody else; delete or rename it, or give the container \
         another name"
    )]
    NameTaken {
        /// The child's kind.
        kind: String,
        /// The child's name.
        name: String,
    },
    /// The namespace is being deleted, and takes nothing new.
    #[error("namespace {namespace} is being deleted")]
    NamespaceTerminating {
        /// The namespace.
        namespace: String,
    },
    /// The API server refuses a child.
    #[error("{kind} {name} is refused by the API server: {message}")]
    Refused {
        /// The child's kind.
        kind: String,
        /// The child's name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// The API server could not be asked.
    #[error("{kind} {name} cannot be written: {source}")]
    Api {
        /// The child's kind.
        kind: String,
        /// The child's name.
        name: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    fn new(kind: ChildKind, name: &str, source: kube::Error) -> Self {
        let (kind, name) = (kind.gvk().kind, name.to_owned());
        if let Some(namespace) = terminating_namespace(&source) {
            return Self::NamespaceTerminating { namespace };
        }
        match source {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Self::Refused {
                kind,
                name,
                message: status.message.clone(),
            },
            source => Self::Api {
                kind,
                name,
                source: Box::new(source),
            },
        }
    }

    /// Whether a field was to be changed that cannot be changed.
    fn is_unchangeable(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("updates to statefulset spec for fields other than"))
    }
}

/// Applies children.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    children: Arc<Children>,
    metrics: Arc<Metrics>,
}

impl Applier {
    /// Writes with this client and notes in `children` what came of it.
    #[must_use]
    pub const fn new(client: Client, children: Arc<Children>, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            children,
            metrics,
        }
    }

    /// Applies a fleet's children. Kinds that pods need come before the pods; those of one rank are written at once. A
    /// RoleBinding comes after its Role: the API server looks whether we hold what it grants.
    ///
    /// # Errors
    /// The first child that cannot be written; others of its rank may have been.
    pub async fn apply(&self, wish: &Wish) -> Result<(), ApplyError> {
        let live = self.children.of(&wish.fleet);
        let (before, workload_and_after): (Vec<&Child>, Vec<&Child>) = wish
            .children
            .iter()
            .partition(|child| child.kind < ChildKind::Deployment && child.kind != ChildKind::RoleBinding);
        for rank in [before, workload_and_after] {
            // Collected first: a closure over borrowed children would tie the whole loop to one lifetime.
            let writes = rank
                .into_iter()
                .map(|child| self.apply_child(wish, child, live.get(&(child.kind, child.name.clone()))))
                .collect::<Vec<_>>();
            stream::iter(writes)
                .buffer_unordered(AT_A_TIME)
                .try_collect::<()>()
                .await?;
        }
        if wish.prune {
            self.prune(wish, &live).await?;
        }
        Ok(())
    }

    async fn apply_child(&self, wish: &Wish, child: &Child, live: Option<&Live>) -> Result<(), ApplyError> {
        let mut object = child.object.clone();
        let fingerprint = Fingerprint::of_value(&object);
        fingerprint::annotate(&mut object, fingerprint);
        let name = (child.kind, child.name.clone());
        if let Some(live) = live {
            if live.fulfils == Some(fingerprint) {
                return Ok(());
            }
            if live
                .value()
                .is_some_and(|there| fingerprint::is_fulfilled(&object, &there))
            {
                self.children.fulfilled(&wish.fleet, &name, live.clone(), fingerprint);
                return Ok(());
            }
            if live.owner.as_ref().is_some_and(|owner| *owner != wish.owner) {
                return Err(taken(child));
            }
        }
        let written = match live {
            Some(live) => match self.patch(wish, child, &object, FIELD_MANAGER, true).await {
                Err(error) if child.kind == ChildKind::StatefulSet && error.is_unchangeable() => {
                    self.remake(wish, child, live, &object).await?
                }
                Err(ApplyError::Refused { .. }) if child.kind == ChildKind::Service => {
                    self.replace_ports(wish, child, &object).await?;
                    self.patch(wish, child, &object, FIELD_MANAGER, true).await?
                }
                written => written?,
            },
            None => self.create(wish, child, &object).await?,
        };
        let written = match is_new_workload(child.kind, &written) && wish.first_replicas > 1 {
            true => self.seed(wish, child).await?,
            false => written,
        };
        if let Some(live) = Live::new(child.kind, &written) {
            self.children.fulfilled(&wish.fleet, &name, live, fingerprint);
        }
        Ok(())
    }

    /// Makes a child that is not known to be there. Without force: what somebody else has made is not taken over, unless
    /// it is ours by its owner and has only lost its label.
    async fn create(&self, wish: &Wish, child: &Child, object: &Value) -> Result<DynamicObject, ApplyError> {
        let conflict = match self.patch(wish, child, object, FIELD_MANAGER, false).await {
            Err(ApplyError::Api { source, .. }) if is_conflict(&source) => source,
            other => return other,
        };
        let there = self.api(wish, child.kind).get(&child.name).await;
        let there = there.map_err(|error| ApplyError::new(child.kind, &child.name, error))?;
        let is_ours = there.owner_references().iter().any(|owner| owner.uid == wish.owner);
        if !is_ours {
            tracing::debug!(error = %conflict, "another's object has the name of a child");
            return Err(taken(child));
        }
        self.patch(wish, child, object, FIELD_MANAGER, true).await
    }

    /// Makes a StatefulSet anew around its pods and claims: its claim templates cannot be changed. The new one takes the
    /// pods over; claims that are there stay as they are, and new pods get new ones.
    async fn remake(
        &self,
        wish: &Wish,
        child: &Child,
        live: &Live,
        object: &Value,
    ) -> Result<DynamicObject, ApplyError> {
        let failed = |error| ApplyError::new(child.kind, &child.name, error);
        let api = self.api(wish, child.kind);
        let parameters = DeleteParams::orphan().preconditions(Preconditions {
            uid: Some(live.uid.clone()),
            resource_version: None,
        });
        self.metrics.wrote("delete", &child.kind.gvk().kind);
        api.delete(&child.name, &parameters).await.map_err(failed)?;
        for _ in 0..GONE_LOOKS {
            if api.get_metadata_opt(&child.name).await.map_err(failed)?.is_none() {
                break;
            }
            tokio::time::sleep(GONE_EVERY).await;
        }
        self.create(wish, child, object).await
    }

    /// Puts a Service's ports in the place of those that it has. Server-side apply knows a port by its number: one of ours
    /// that somebody gave another number is none of ours any more, and keeps the name that ours needs.
    async fn replace_ports(&self, wish: &Wish, child: &Child, object: &Value) -> Result<(), ApplyError> {
        let ports = json!({"spec": {"ports": object.pointer("/spec/ports")}});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let (api, ports) = (self.api(wish, child.kind), Patch::Merge(ports));
        self.metrics.wrote("patch", &child.kind.gvk().kind);
        let written = api.patch(&child.name, &parameters, &ports).await;
        written
            .map(drop)
            .map_err(|error| ApplyError::new(child.kind, &child.name, error))
    }

    /// Sets a new workload's number of pods once.
    async fn seed(&self, wish: &Wish, child: &Child) -> Result<DynamicObject, ApplyError> {
        let gvk = child.kind.gvk();
        let object = json!({
            "apiVersion": gvk.api_version(), "kind": gvk.kind,
            "metadata": {"name": child.name, "namespace": wish.fleet.namespace},
            "spec": {"replicas": wish.first_replicas},
        });
        self.patch(wish, child, &object, SEED_MANAGER, true).await
    }

    async fn patch(
        &self,
        wish: &Wish,
        child: &Child,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<DynamicObject, ApplyError> {
        let mut parameters = PatchParams::apply(manager);
        parameters.force = force;
        let api = self.api(wish, child.kind);
        let mut pause = ROLE_SHOWS;
        loop {
            self.metrics.wrote("patch", &child.kind.gvk().kind);
            match api.patch(&child.name, &parameters, &Patch::Apply(object)).await {
                Err(kube::Error::Api(status)) if is_unseen_role(child.kind, &status) && pause <= ROLE_SHOWS_AT_LAST => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                written => return written.map_err(|error| ApplyError::new(child.kind, &child.name, error)),
            }
        }
    }

    /// Deletes the children that are no longer wished.
    async fn prune(&self, wish: &Wish, live: &BTreeMap<ChildName, Live>) -> Result<(), ApplyError> {
        let is_wished = |name: &ChildName| {
            wish.children
                .iter()
                .any(|child| (child.kind, &child.name) == (name.0, &name.1))
        };
        for (name, live) in live {
            let is_ours = live.owner.as_ref() == Some(&wish.owner);
            if is_wished(name) || !is_ours || self.still_serves(wish, name.0) {
                continue;
            }
            let parameters = DeleteParams::background().preconditions(Preconditions {
                uid: Some(live.uid.clone()),
                resource_version: None,
            });
            self.metrics.wrote("delete", &name.0.gvk().kind);
            match self.api(wish, name.0).delete(&name.1, &parameters).await {
                Ok(_) => self.children.deleted(&wish.fleet, name),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(ApplyError::new(name.0, &name.1, error)),
            }
        }
        Ok(())
    }

    /// Whether this workload is to be replaced by one of the other kind that does not serve yet: then it stays.
    fn still_serves(&self, wish: &Wish, kind: ChildKind) -> bool {
        let other = match kind {
            ChildKind::Deployment => ChildKind::StatefulSet,
            ChildKind::StatefulSet => ChildKind::Deployment,
            _ => return false,
        };
        let is_wished = wish.children.iter().any(|child| child.kind == other);
        let serves = self
            .children
            .workloads(&wish.fleet)
            .get(&other)
            .is_some_and(|workload| workload.is_rolled_out() && workload.available >= workload.desired);
        is_wished && !serves
    }

    fn api(&self, wish: &Wish, kind: ChildKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &wish.fleet.namespace, &kind.api_resource())
    }
}

fn taken(child: &Child) -> ApplyError {
    ApplyError::NameTaken {
        kind: child.kind.gvk().kind,
        name: child.name.clone(),
    }
}

/// The namespace that is being deleted, if that is why the API server refuses. (`NamespaceTerminatingCause` of
/// k8s.io/api/core/v1.)
fn terminating_namespace(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    let cause = causes.find(|cause| cause.reason == "NamespaceTerminating")?;
    let (_, tail) = cause.message.split_once("namespace ")?;
    tail.split_whitespace().next().map(str::to_owned)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether an API server refuses a RoleBinding because its Role does not show yet in the cache by which it judges what we
/// may grant. It answers that the RoleBinding is not found.
fn is_unseen_role(kind: ChildKind, status: &Status) -> bool {
    kind == ChildKind::RoleBinding && status.code == 404
}

/// Whether the API server has just made this workload: it has given it its first generation and no status yet.
fn is_new_workload(kind: ChildKind, written: &DynamicObject) -> bool {
    let is_workload = matches!(kind, ChildKind::Deployment | ChildKind::StatefulSet);
    let observed = written.data.pointer("/status/observedGeneration");
    is_workload && written.metadata.generation == Some(1) && observed.is_none()
}
