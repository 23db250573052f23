//! Whether the operator is ready: it has seen its CRDs, and every watch has listed once, so that it decides from whole
//! lists. Leading is no part of it: a candidate that waits for the lease is as it should be, and a rolling update of the
//! operator could not end otherwise.
//!
//! That the process is alive is another question, answered by the admin listener's thread alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// How much of an error is kept.
const ERROR_CHARS: usize = 300;

/// A watch that is registered: its owner reports here how it goes.
#[derive(Clone, Debug)]
pub struct Watch {
    name: String,
    readiness: Arc<Readiness>,
}

/// How a watch goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchState {
    /// Whether it has listed all its objects once.
    pub has_listed: bool,
    /// How many objects its store holds.
    pub objects: usize,
    /// What went wrong last, unless all has been well since.
    pub error: Option<String>,
}

impl Watch {
    /// A list is whole, and what it says is in the store.
    pub fn listed(&self) {
        self.well(|state| state.has_listed = true);
    }

    /// The watch goes on, after a failure or not.
    pub fn alive(&self) {
        self.well(|_| {});
    }

    /// A list or watch failed and will be tried again. It is logged when it begins to fail and when it fails in another
    /// way, not at each attempt.
    pub fn failed(&self, error: &str) {
        // One line of `/readyz`, whatever a server or a proxy in between has to say.
        let error: String = error
            .chars()
            .map(|it| if it.is_control() { ' ' } else { it })
            .take(ERROR_CHARS)
            .collect();
        let mut is_news = false;
        self.change(|state| {
            is_news = state.error.as_ref() != Some(&error);
            if is_news {
                state.error = Some(error.clone());
            }
        });
        if is_news {
            tracing::warn!("the watch of {} fails, trying on: {error}", self.name);
        }
    }

    /// How many objects the store holds now.
    pub fn set_objects(&self, count: usize) {
        self.change(|state| state.objects = count);
    }

    fn well(&self, change: impl FnOnce(&mut WatchState)) {
        let mut had_failed = false;
        self.change(|state| {
            had_failed = state.error.take().is_some();
            change(state);
        });
        if had_failed {
            tracing::info!("the watch of {} goes on", self.name);
        }
    }

    /// Nothing happens to a watch that has been forgotten.
    fn change(&self, change: impl FnOnce(&mut WatchState)) {
        let mut inner = self.readiness.inner();
        if let Some(state) = inner.watches.get_mut(&self.name) {
            change(state);
            self.readiness.publish(&inner);
        }
    }
}

/// All that the operator waits for before it is ready.
#[derive(Debug)]
pub struct Readiness {
    inner: Mutex<Inner>,
    /// Whether every registered watch has listed once.
    all_listed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    watches: BTreeMap<String, WatchState>,
    missing_crds: Option<Vec<String>>,
    is_stopping: bool,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            all_listed: watch::Sender::new(true),
        }
    }
}

impl Readiness {
    /// Not ready: whether the CRDs are installed is not known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the watch called `name`; not ready until it has listed. `name` becomes the metrics' label `kind`, so it is
    /// a kind and never an object's name. A second call gives the same watch.
    #[must_use]
    pub fn watch(self: &Arc<Self>, name: &str) -> Watch {
        let mut inner = self.inner();
        inner.watches.entry(name.to_owned()).or_default();
        self.publish(&inner);
        drop(inner);
        Watch {
            name: name.to_owned(),
            readiness: Arc::clone(self),
        }
    }

    /// Forgets a watch that has been ended, as that of a kind that was uninstalled.
    pub fn forget(&self, name: &str) {
        let mut inner = self.inner();
        inner.watches.remove(name);
        self.publish(&inner);
    }

    /// Waits until every registered watch has listed once. At once where none is registered.
    pub async fn all_listed(&self) {
        // Cannot fail: the sender is our own.
        drop(self.all_listed.subscribe().wait_for(|all| *all).await);
    }

    /// Which CRDs are not installed, by their full names (`destinations.tagfleet.dev`); none once all are.
    pub fn set_missing_crds(&self, names: Vec<String>) {
        self.inner().missing_crds = Some(names);
    }

    /// The operator is stopping and not ready from now on.
    pub fn set_stopping(&self) {
        self.inner().is_stopping = true;
    }

    /// The watches by name, for metrics and `/debug/state`.
    #[must_use]
    pub fn watches(&self) -> BTreeMap<String, WatchState> {
        self.inner().watches.clone()
    }

    /// What is missing, a line each; ready when nothing is.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let inner = self.inner();
        if inner.is_stopping {
            return vec!["stopping".to_owned()];
        }
        let Some(missing_crds) = &inner.missing_crds else {
            return vec!["waiting for the API server to say which CustomResourceDefinitions are installed".to_owned()];
        };
        let crds = missing_crds
            .iter()
            .map(|name| format!("the CustomResourceDefinition {name} is not installed: install charts/tagfleet-crds"));
        let watches = inner.watches.iter().filter(|(_, state)| !state.has_listed);
        let watches = watches.map(|(name, state)| match &state.error {
            None => format!("waiting for the first list of {name}"),
            Some(error) => format!("waiting for the first list of {name}: {error}"),
        });
        crds.chain(watches).collect()
    }

    fn publish(&self, inner: &Inner) {
        let all = inner.watches.values().all(|state| state.has_listed);
        self.all_listed
            .send_if_modified(|last| std::mem::replace(last, all) != all);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn ready_is_when_crds_are_installed_and_every_watch_has_listed() {
        let readiness = Arc::new(Readiness::new());
        assert_eq!(
            readiness.missing(),
            ["waiting for the API server to say which CustomResourceDefinitions are installed"]
        );

        readiness.set_missing_crds(vec!["taggingcontainers.tagfleet.dev".to_owned()]);
        assert_eq!(
            readiness.missing(),
            [
                "the CustomResourceDefinition taggingcontainers.tagfleet.dev is not installed: install charts/tagfleet-crds"
            ]
        );

        let (services, deployments) = (readiness.watch("Service"), readiness.watch("Deployment"));
        readiness.set_missing_crds(vec![]);
        services.listed();
        assert_eq!(readiness.missing(), ["waiting for the first list of Deployment"]);
        assert_eq!(readiness.all_listed().now_or_never(), None);

        deployments.listed();
        assert!(readiness.missing().is_empty());
        assert_eq!(readiness.all_listed().now_or_never(), Some(()));

        readiness.set_stopping();
        assert_eq!(readiness.missing(), ["stopping"]);
    }

    #[test]
    fn a_failure_is_shown_while_the_first_list_is_missing_and_makes_no_ready_operator_unready() {
        let readiness = Arc::new(Readiness::new());
        readiness.set_missing_crds(vec![]);
        let services = readiness.watch("Service");
        services.failed("services is forbidden");
        assert_eq!(
            readiness.missing(),
            ["waiting for the first list of Service: services is forbidden"]
        );

        services.listed();
        assert_eq!(
            readiness.watches().get("Service").map(|state| state.error.clone()),
            Some(None)
        );
        services.failed("the API server is gone");
        assert!(readiness.missing().is_empty());
        services.alive();
        assert_eq!(
            readiness.watches().get("Service").map(|state| state.error.clone()),
            Some(None)
        );
    }

    #[test]
    fn a_watch_is_registered_once_and_forgotten_when_its_kind_is_gone() {
        let readiness = Arc::new(Readiness::new());
        readiness.set_missing_crds(vec![]);
        let routes = readiness.watch("HTTPRoute");
        routes.set_objects(3);
        readiness.watch("HTTPRoute").alive();
        assert_eq!(readiness.watches().get("HTTPRoute").map(|state| state.objects), Some(3));
        readiness.forget("HTTPRoute");
        routes.listed();
        assert!(readiness.watches().is_empty() && readiness.missing().is_empty());
    }
}
