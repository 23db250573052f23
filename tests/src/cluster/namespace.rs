//! A namespace of one test, and what a test does in it.

use std::{
    fmt::Debug,
    fs, iter,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use k8s_openapi::{NamespaceResourceScope, api::authentication::v1::TokenRequest, api::core::v1::ServiceAccount};
use kube::{
    Api, Resource,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Cluster};
use crate::wait;

/// A namespace. Dropping it deletes it with all that is in it, without waiting, if it was made here.
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    name: String,
    is_own: bool,
    scratch: TempDir,
}

impl<'a> Namespace<'a> {
    pub(super) fn create(cluster: &'a Cluster, prefix: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}", std::process::id());
        cluster.kubectl(["create", "namespace", &name]).ok();
        let mut it = Self::existing(cluster, &name);
        it.is_own = true;
        it
    }

    pub(super) fn existing(cluster: &'a Cluster, name: &str) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            is_own: false,
            scratch: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster that it is in.
    #[must_use]
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Runs kubectl in it: `namespace.kubectl("get tc shop -o name")`. Words are parted by white space.
    pub fn kubectl(&self, arguments: &str) -> Answer {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl in it with this on standard input.
    pub fn kubectl_with(&self, arguments: &str, input: &str) -> Answer {
        let words = iter::once("--namespace")
            .chain([self.name.as_str()])
            .chain(arguments.split_whitespace());
        self.cluster.kubectl_with(words, input)
    }

    /// `kubectl apply`, which must succeed.
    pub fn apply(&self, yaml: &str) {
        self.kubectl_with("apply -f -", yaml).ok();
    }

    /// `kubectl apply` of an object given as JSON.
    pub fn apply_json(&self, object: &Value) {
        self.apply(&object.to_string());
    }

    /// `kubectl patch`: a merge patch of an object as `kind/name`, by somebody who is not the operator.
    pub fn patch(&self, object: &str, patch: &Value) {
        self.patch_as(object, "merge", patch);
    }

    /// As [`Self::patch`], with the kind of patch: `merge`, `json` or `strategic`.
    pub fn patch_as(&self, object: &str, kind: &str, patch: &Value) {
        let file = self.scratch.path().join("patch.json");
        fs::write(&file, patch.to_string()).expect("a file");
        self.kubectl(&format!("patch {object} --type {kind} --patch-file {}", file.display()))
            .ok();
    }

    /// What the API server says against an object; it must refuse it.
    #[must_use]
    pub fn refusal(&self, yaml: &str) -> String {
        self.kubectl_with("apply -f -", yaml).refusal()
    }

    /// A client for one kind in it.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    /// An object, if it is there.
    #[must_use]
    pub fn find<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let found = self.cluster.block_on(self.api::<K>().get_opt(name));
        found.unwrap_or_else(|error| panic!("{}: {error}", K::kind(&K::DynamicType::default())))
    }

    /// An object that must be there.
    #[must_use]
    pub fn read<K>(&self, name: &str) -> K
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        self.find(name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// All objects with these labels (`app=shop,tier=web`; empty for all).
    #[must_use]
    pub fn list<K>(&self, labels: &str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let listed = self
            .cluster
            .block_on(self.api::<K>().list(&ListParams::default().labels(labels)));
        listed.expect("a list").items
    }

    /// Waits until an object is there and as it should be, and returns it; says what it was in the end if it never is.
    pub fn wait_for<K>(&self, name: &str, what: &str, patience: Duration, as_it_should_be: impl Fn(&K) -> bool) -> K
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + serde::Serialize,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let mut last: Option<K> = None;
        let found = wait::within(patience, || {
            last = self.find(name);
            last.clone().filter(&as_it_should_be)
        });
        found.unwrap_or_else(|| {
            let last = serde_json::to_string_pretty(&last).unwrap_or_default();
            panic!("waited {patience:?} in vain: {kind} {name}: {what}. It is {last}")
        })
    }

    /// A kubeconfig with which a program is that ServiceAccount, by a token of the API server for an hour.
    #[must_use]
    pub fn kubeconfig_of(&self, service_account: &str) -> PathBuf {
        let token = self.cluster.block_on(async {
            let request = TokenRequest {
                spec: k8s_openapi::api::authentication::v1::TokenRequestSpec {
                    expiration_seconds: Some(3600),
                    ..Default::default()
                },
                ..Default::default()
            };
            let accounts = self.api::<ServiceAccount>();
            accounts
                .create_token_request(service_account, &PostParams::default(), &request)
                .await
        });
        let token = token.unwrap_or_else(|error| panic!("a token for {service_account}: {error}"));
        let token = token.status.expect("a token").token;
        let admin = self
            .cluster
            .kubectl(["config", "view", "--minify", "--raw", "-o", "json"])
            .ok();
        let mut config: Value = serde_json::from_str(&admin).expect("JSON");
        config["users"][0]["user"] = json!({"token": token});
        config["contexts"][0]["context"]["namespace"] = json!(self.name);
        let path = self.scratch.path().join(format!("{service_account}.kubeconfig"));
        fs::write(&path, config.to_string()).expect("a file");
        path
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        // An API server that the test stopped deletes nothing, and ends with the test anyway.
        drop(self.cluster.kubectl([
            "delete",
            "namespace",
            &self.name,
            "--wait=false",
            "--request-timeout=5s",
        ]));
    }
}
