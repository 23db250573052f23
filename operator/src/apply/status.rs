//! Writes the status of the two own kinds, when it has changed and never otherwise.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tagfleet_crds::validate::NamespacedName;

use crate::{child::FIELD_MANAGER, metrics::Metrics};

/// Writes the statuses of one kind.
pub struct StatusWriter<K: HasStatus> {
    client: Client,
    metrics: Arc<Metrics>,
    /// What was written and has not come back through the watch yet.
    written: Mutex<BTreeMap<NamespacedName, Written<K::Status>>>,
}

#[derive(Debug)]
struct Written<S> {
    uid: Option<String>,
    resource_version: Option<u128>,
    status: S,
}

impl<K> StatusWriter<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus + Clone + Debug + DeserializeOwned,
    K::Status: Clone + PartialEq + Serialize + Debug,
{
    /// Nothing written yet.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            metrics,
            written: Mutex::default(),
        }
    }

    /// The newest status of an object that is known: that of the watch, or what was written since.
    #[must_use]
    pub fn newest(&self, name: &NamespacedName, object: &K) -> Option<K::Status> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = object.meta();
        let seen = version(meta.resource_version.as_deref());
        let ours = written.get(name);
        if let Some(ours) = ours
            && ours.uid == meta.uid
            && ours.resource_version > seen
        {
            return Some(ours.status.clone());
        }
        written.remove(name);
        object.status().cloned()
    }

    /// Writes the status of an object, unless it is the newest one that is known ([`StatusWriter::newest`]). Whether there
    /// was anything to write.
    ///
    /// # Errors
    /// When the API server does not take it. That the object is gone is no error.
    pub async fn write(
        &self,
        name: &NamespacedName,
        object: &K,
        newest: Option<&K::Status>,
        status: K::Status,
    ) -> Result<bool, kube::Error> {
        if newest == Some(&status) {
            return Ok(false);
        }
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name.name, "namespace": name.namespace, "uid": object.meta().uid},
            "status": status,
        });
        self.metrics.wrote("patch", &K::kind(&()));
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let answer = match api.patch_status(&name.name, &parameters, &Patch::Apply(patch)).await {
            Ok(answer) => answer,
            // Deleted, or deleted and made anew: the uid fits no more.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(false),
            Err(error) => return Err(error),
        };
        let written = Written {
            uid: answer.meta().uid.clone(),
            resource_version: version(answer.meta().resource_version.as_deref()),
            status,
        };
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone(), written);
        Ok(true)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, name: &NamespacedName) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// A resourceVersion as the number that it is (KEP-5504).
fn version(text: Option<&str>) -> Option<u128> {
    text?.parse().ok()
}
