//! Objects in bulk: what is measured, and the client that writes it.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tagfleet_tests::cluster::Cluster;

use crate::DESTINATIONS;

/// Containers in one namespace.
const IN_A_NAMESPACE: usize = 20;
/// Objects that the bare client writes at a time: as many as the operator has under way at most, 10 containers with 4 children
/// each.
pub(crate) const AT_A_TIME: usize = 40;
/// Who writes what is not the operator's.
const MANAGER: &str = "bench";

/// An object to be written by server-side apply.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) resource: ApiResource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) body: Value,
    /// Whether its status is what is written.
    pub(crate) is_status: bool,
}

impl Object {
    /// An object of this kind; `body` has everything but apiVersion, kind and metadata's name and namespace.
    pub(crate) fn new(resource: &ApiResource, namespace: Option<&str>, name: &str, mut body: Value) -> Self {
        body["apiVersion"] = resource.api_version.clone().into();
        body["kind"] = resource.kind.clone().into();
        body["metadata"]["name"] = name.into();
        if let Some(namespace) = namespace {
            body["metadata"]["namespace"] = namespace.into();
        }
        Self {
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            body,
            is_status: false,
        }
    }

    async fn write(&self, client: &Client) {
        let api: Api<DynamicObject> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        };
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&self.body);
        let written = match self.is_status {
            true => api.patch_status(&self.name, &parameters, &patch).await,
            false => api.patch(&self.name, &parameters, &patch).await,
        };
        written.unwrap_or_else(|error| panic!("{} {}: {error}", self.resource.kind, self.name));
    }
}

/// Writes them, [`AT_A_TIME`], and tells how long it took.
pub(crate) fn write(cluster: &Cluster, objects: &[Object]) -> Duration {
    let client = cluster.client();
    let started = Instant::now();
    cluster.block_on(async {
        let writes: Vec<_> = objects.iter().map(|object| object.write(&client)).collect();
        stream::iter(writes)
            .buffer_unordered(AT_A_TIME)
            .collect::<Vec<()>>()
            .await;
    });
    started.elapsed()
}

/// All objects of a kind with these labels, in all namespaces.
pub(crate) fn list(cluster: &Cluster, resource: &ApiResource, labels: &str) -> Vec<DynamicObject> {
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), resource);
    let listed = cluster.block_on(api.list(&ListParams::default().labels(labels)));
    listed
        .unwrap_or_else(|error| panic!("{}: {error}", resource.kind))
        .items
}

pub(crate) fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}

pub(crate) fn containers() -> ApiResource {
    let gvk = GroupVersionKind::gvk("tagfleet.dev", "v1alpha1", "TaggingContainer");
    ApiResource::from_gvk_with_plural(&gvk, "taggingcontainers")
}

pub(crate) fn destinations() -> ApiResource {
    let gvk = GroupVersionKind::gvk("tagfleet.dev", "v1alpha1", "Destination");
    ApiResource::from_gvk_with_plural(&gvk, "destinations")
}

/// The namespace of a container by its number.
pub(crate) fn namespace(prefix: &str, number: usize) -> String {
    format!("{prefix}-{}", number / IN_A_NAMESPACE)
}

/// The namespaces of that many containers, each with a Secret that all its Destinations name.
pub(crate) fn tenants(prefix: &str, count: usize) -> [Vec<Object>; 2] {
    let names: Vec<String> = (0..count)
        .step_by(IN_A_NAMESPACE)
        .map(|number| namespace(prefix, number))
        .collect();
    let spaces = names
        .iter()
        .map(|name| Object::new(&core("Namespace", "namespaces"), None, name, json!({})));
    let secrets = names.iter().map(|name| {
        let shared = json!({"metadata": {"labels": {"tagfleet.dev/credentials": "true"}}, "stringData": {"hmac": "0123456789abcdef"}});
        Object::new(&core("Secret", "secrets"), Some(name), "shared", shared)
    });
    [spaces.collect(), secrets.collect()]
}

/// That many containers with their Destinations.
pub(crate) fn inputs(prefix: &str, count: usize) -> Vec<Object> {
    let of = |number: usize| {
        let (space, name) = (namespace(prefix, number), format!("c{number}"));
        let spec = json!({
            "hostnames": [format!("{name}.bench.example")], "ingress": {"className": "nginx"},
            "clients": [{"name": "web", "ga4": {}}],
        });
        let container = Object::new(&containers(), Some(&space), &name, json!({"spec": spec}));
        let destinations = (0..DESTINATIONS).map(move |destination| {
            let spec = json!({
                "containerRefs": [{"name": name}],
                "webhook": {"url": "https://hooks.bench.example/", "hmac": {"secretKeyRef": {"name": "shared", "key": "hmac"}}},
            });
            Object::new(&crate::objects::destinations(), Some(&space), &format!("{name}-d{destination}"), json!({"spec": spec}))
        });
        std::iter::once(container).chain(destinations)
    };
    (0..count).flat_map(of).collect()
}

/// Objects of a kind that concern nobody, of 1 KiB each.
pub(crate) fn foreign(kind: &str, plural: &str, count: usize) -> Vec<Object> {
    let resource = core(kind, plural);
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let object = |number| {
        Object::new(
            &resource,
            Some("foreign"),
            &format!("f{number}"),
            json!({field: {"text": "x".repeat(1024)}}),
        )
    };
    (0..count).map(object).collect()
}
