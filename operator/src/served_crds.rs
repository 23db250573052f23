//! Which kinds the API server serves: Tagfleet's own, in a form new enough for this operator, and those of others that
//! a cluster may lack.
//!
//! An API server drops fields that its CRD does not know without a word. So the operator compares the schemas that are
//! served with those that it was built with. It reads them where every client may, in the published OpenAPI documents
//! (KEP-2896) and the discovery documents, and needs no right on CustomResourceDefinitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tagfleet_crds::{API_VERSION, GROUP, VERSION, schema};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{fleet::OptionalKinds, metrics::Metrics, readiness::Readiness};

/// Between two looks when all is there.
const USUAL_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks while a CRD is missing or older, or the API server does not answer: whoever installs is waiting.
const SHORT_PAUSE: Duration = Duration::from_secs(5);
/// The longest that one look may take.
const LOOK: Duration = Duration::from_secs(20);
/// Fields that are named at most, in log and conditions.
const NAMED_FIELDS: usize = 10;

/// How the served CRDs stand to those that this operator was built with. A newer one is as good as an equal one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Served {
    /// All fields are there.
    #[default]
    Current,
    /// Fields are missing, which the API server drops from every object: `TaggingContainer.spec.buffer.jetStream`. Where a
    /// whole object is missing only that is named.
    Older {
        /// The fields, at least one.
        fields: Vec<String>,
    },
    /// These kinds are not served at all.
    Missing {
        /// At least one of `Destination`, `TaggingContainer`.
        kinds: Vec<String>,
    },
}

/// What the cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The kinds of others.
    pub kinds: OptionalKinds,
    /// What the installed CRDs lack; see [`Served::Older`].
    pub older_fields: Vec<String>,
}

/// What one look finds.
#[derive(Clone, Debug)]
struct Found {
    served: Served,
    kinds: OptionalKinds,
}

impl Served {
    /// For a person: what is wrong and how to put it right; none if nothing is.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Current => None,
            Self::Missing { kinds } => Some(format!(
                "the CustomResourceDefinitions of {} are not installed: install charts/tagfleet-crds",
                kinds.join(" and ")
            )),
            Self::Older { fields } => {
                let named: Vec<&str> = fields.iter().take(NAMED_FIELDS).map(String::as_str).collect();
                let more = match fields.len().saturating_sub(NAMED_FIELDS) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                Some(format!(
                    "the installed CustomResourceDefinitions are older than the operator, so that the API server drops {}{more}: \
                     upgrade charts/tagfleet-crds",
                    named.join(", ")
                ))
            }
        }
    }
}

/// Compares `ours` with the OpenAPI v3 document of their group and version; without a document none is served.
#[must_use]
pub fn compare(ours: &[CustomResourceDefinition], document: Option<&Value>) -> Served {
    let schemas = document.and_then(|document| document.pointer("/components/schemas")?.as_object());
    let mut missing = Vec::new();
    let mut fields = Vec::new();
    for crd in ours {
        let kind = &crd.spec.names.kind;
        let served = schemas.and_then(|schemas| schemas.values().find(|schema| is_of_kind(schema, kind)));
        match served {
            None => missing.push(kind.clone()),
            Some(served) => {
                let built = crd.spec.versions.iter().find(|version| version.name == VERSION);
                let built = built.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
                // It is made of strings, numbers and maps: nothing in it cannot be written as JSON.
                let built = serde_json::to_value(built).unwrap_or_default();
                lacking(&built, served, kind, &mut fields);
            }
        }
    }
    match (missing.is_empty(), fields.is_empty()) {
        (false, _) => Served::Missing { kinds: missing },
        (true, false) => Served::Older { fields },
        (true, true) => Served::Current,
    }
}

fn is_of_kind(schema: &Value, kind: &str) -> bool {
    let gvks = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    gvks.into_iter().flatten().any(|gvk| {
        let is = |key: &str, value: &str| gvk.get(key).and_then(Value::as_str) == Some(value);
        is("group", GROUP) && is("version", VERSION) && is("kind", kind)
    })
}

/// Adds to `fields` the paths of what `built` has and `served` has not.
fn lacking(built: &Value, served: &Value, path: &str, fields: &mut Vec<String>) {
    // An object that keeps unknown fields loses none.
    if served.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    for (name, property) in built.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        match served.get("properties").and_then(|properties| properties.get(name)) {
            None => fields.push(path),
            Some(served) => lacking(property, served, &path, fields),
        }
    }
    for (below, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let (Some(built), Some(served)) = (built.get(below), served.get(below)) {
            lacking(built, served, &format!("{path}{mark}"), fields);
        }
    }
    for value in built.get("enum").and_then(Value::as_array).into_iter().flatten() {
        let allowed = served.get("enum").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.contains(value)) {
            fields.push(format!("{path}={}", value.as_str().unwrap_or_default()));
        }
    }
}

/// Waits until both CRDs are served. From then on looks every minute at what the cluster has, and publishes it when it
/// changes; a look that fails changes nothing. Tells readiness and metrics of missing CRDs, at any time.
///
/// The looks end with the runtime, or when nobody listens any more.
pub async fn installed(client: Client, readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> watch::Receiver<Cluster> {
    let mut probe = Probe {
        client,
        readiness,
        metrics,
        ours: [schema::tagging_container(), schema::destination()],
        document: None,
        last: None,
        is_failing: false,
    };
    let first = loop {
        match probe.next().await.and_then(Found::cluster) {
            Some(cluster) => break cluster,
            None => pause(SHORT_PAUSE).await,
        }
    };
    let publish = watch::Sender::new(first);
    let cluster = publish.subscribe();
    tokio::spawn(async move {
        let mut until_next = SHORT_PAUSE;
        while !publish.is_closed() {
            pause(until_next).await;
            let found = probe.next().await.and_then(Found::cluster);
            let is_well = found.as_ref().is_some_and(|found| found.older_fields.is_empty());
            until_next = if is_well { USUAL_PAUSE } else { SHORT_PAUSE };
            if let Some(found) = found {
                publish.send_if_modified(|last| {
                    let is_news = *last != found;
                    *last = found;
                    is_news
                });
            }
        }
    });
    cluster
}

/// Jittered, so that operators do not look all at once.
async fn pause(usual: Duration) {
    sleep(usual.mul_f64(rand::random_range(0.8..=1.2))).await;
}

impl Found {
    /// None while a CRD is missing.
    fn cluster(self) -> Option<Cluster> {
        let older_fields = match self.served {
            Served::Current => Vec::new(),
            Served::Older { fields } => fields,
            Served::Missing { .. } => return None,
        };
        let kinds = self.kinds;
        Some(Cluster { kinds, older_fields })
    }
}

/// Logs what is new.
fn tell(last: Option<&Found>, found: &Found) {
    let is_new_to = |last: &Found| last.served != found.served;
    match found.served.complaint() {
        Some(complaint) if last.is_none_or(is_new_to) => tracing::warn!("{complaint}"),
        None if last.is_some_and(is_new_to) => {
            tracing::info!("the installed CustomResourceDefinitions are those that this operator needs");
        }
        Some(_) | None => {}
    }
    if last.is_none_or(|last| last.kinds != found.kinds) {
        let OptionalKinds {
            http_route,
            service_monitor,
            prometheus_rule,
        } = found.kinds;
        tracing::info!(
            http_route,
            service_monitor,
            prometheus_rule,
            "kinds that the cluster has"
        );
    }
}

/// The OpenAPI index: where each document lies, with its hash in the address.
#[derive(Deserialize)]
struct Index {
    paths: BTreeMap<String, IndexEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    #[serde(rename = "serverRelativeURL")]
    server_relative_url: String,
}

/// What looks.
struct Probe {
    client: Client,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    ours: [CustomResourceDefinition; 2],
    /// The address, hash included, of the document that was read last, and what it said.
    document: Option<(String, Served)>,
    last: Option<Found>,
    is_failing: bool,
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("no answer within {} s", LOOK.as_secs())]
    Slow,
    #[error("{0}")]
    Refused(Box<kube::core::Status>),
    #[error("{0}")]
    Unreachable(kube::Error),
    #[error("{0}")]
    Address(#[from] http::Error),
}

impl From<kube::Error> for LookError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Unreachable(error),
        }
    }
}

impl Probe {
    /// Looks, and tells who has to know. None if the look failed.
    async fn next(&mut self) -> Option<Found> {
        match timeout(LOOK, self.look()).await.unwrap_or(Err(LookError::Slow)) {
            Ok(found) => {
                self.is_failing = false;
                self.report(&found.served);
                tell(self.last.as_ref(), &found);
                self.last = Some(found.clone());
                Some(found)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("the API server does not say which kinds it serves, trying on: {error}");
                }
                None
            }
        }
    }

    async fn look(&mut self) -> Result<Found, LookError> {
        let gateway_api = self.kinds("gateway.networking.k8s.io/v1").await?;
        let monitoring = self.kinds("monitoring.coreos.com/v1").await?;
        Ok(Found {
            served: self.served().await?,
            kinds: OptionalKinds {
                http_route: gateway_api.contains("HTTPRoute"),
                service_monitor: monitoring.contains("ServiceMonitor"),
                prometheus_rule: monitoring.contains("PrometheusRule"),
            },
        })
    }

    /// The kinds of a group and version; none where the group is not installed.
    async fn kinds(&self, api_version: &str) -> kube::Result<BTreeSet<String>> {
        match self.client.list_api_group_resources(api_version).await {
            Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.kind).collect()),
            // By its code: the API server says this one in plain text, without a reason.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads the document of our group if its hash is a new one.
    async fn served(&mut self) -> Result<Served, LookError> {
        let index: Index = self.client.request(get("/openapi/v3")?).await?;
        let Some(entry) = index.paths.get(&format!("apis/{API_VERSION}")) else {
            return Ok(compare(&self.ours, None));
        };
        let address = &entry.server_relative_url;
        if let Some((last, served)) = &self.document
            && last == address
        {
            return Ok(served.clone());
        }
        let document: Value = self.client.request(get(address)?).await?;
        let served = compare(&self.ours, Some(&document));
        self.document = Some((address.clone(), served.clone()));
        Ok(served)
    }

    fn report(&self, served: &Served) {
        let none = Vec::new();
        let kinds = match served {
            Served::Missing { kinds } => kinds,
            Served::Current | Served::Older { .. } => &none,
        };
        let is_missing = |crd: &&CustomResourceDefinition| kinds.contains(&crd.spec.names.kind);
        for crd in &self.ours {
            self.metrics.set_crd_missing(&crd.spec.names.kind, is_missing(&crd));
        }
        let missing = self.ours.iter().filter(is_missing);
        self.readiness
            .set_missing_crds(missing.filter_map(|crd| crd.metadata.name.clone()).collect());
    }
}

fn get(path: &str) -> http::Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    fn ours() -> [CustomResourceDefinition; 2] {
        [schema::tagging_container(), schema::destination()]
    }

    /// The document that an API server publishes of these CRDs.
    fn document(crds: &[CustomResourceDefinition]) -> Value {
        let schemas = crds.iter().map(|crd| {
            let kind = &crd.spec.names.kind;
            let validation = crd.spec.versions[0].schema.as_ref().unwrap();
            let mut schema = serde_json::to_value(&validation.open_api_v3_schema).unwrap();
            schema["x-kubernetes-group-version-kind"] = json!([{"group": GROUP, "version": VERSION, "kind": kind}]);
            (format!("dev.tagfleet.v1alpha1.{kind}"), schema)
        });
        json!({"components": {"schemas": schemas.collect::<serde_json::Map<_, _>>()}})
    }

    fn container(document: &mut Value) -> &mut Value {
        &mut document["components"]["schemas"]["dev.tagfleet.v1alpha1.TaggingContainer"]["properties"]
    }

    fn older(fields: &[&str]) -> Served {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Served::Older { fields }
    }

    #[test]
    fn equal_and_newer_crds_are_current() {
        let mut document = document(&ours());
        assert_eq!(compare(&ours(), Some(&document)), Served::Current);
        container(&mut document)["spec"]["properties"]["ofTheFuture"] = json!({"type": "string"});
        assert_eq!(compare(&ours(), Some(&document)), Served::Current);
    }

    #[test]
    fn a_kind_that_is_not_served_is_missing() {
        let missing = |kinds: &[&str]| Served::Missing {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        assert_eq!(compare(&ours(), None), missing(&["TaggingContainer", "Destination"]));
        let only_destinations = document(&ours()[1..]);
        assert_eq!(
            compare(&ours(), Some(&only_destinations)),
            missing(&["TaggingContainer"])
        );
        assert_eq!(
            compare(&ours(), Some(&json!({"components": "odd"}))),
            missing(&["TaggingContainer", "Destination"])
        );
    }

    #[test]
    fn fields_that_the_api_server_would_drop_are_named_by_path() {
        let mut document = document(&ours());
        let spec = &mut container(&mut document)["spec"]["properties"];
        spec.as_object_mut().unwrap().remove("deduplication");
        spec["buffer"]["properties"]["disk"]["properties"]
            .as_object_mut()
            .unwrap()
            .remove("volume");
        spec["clients"]["items"]["properties"]
            .as_object_mut()
            .unwrap()
            .remove("json");
        spec["privacy"]["properties"]["bots"]["enum"] = json!(["Keep", "Mark"]);
        assert_eq!(
            compare(&ours(), Some(&document)),
            older(&[
                "TaggingContainer.spec.buffer.disk.volume",
                "TaggingContainer.spec.clients[].json",
                "TaggingContainer.spec.deduplication",
                "TaggingContainer.spec.privacy.bots=Drop",
            ])
        );
    }

    #[test]
    fn an_object_that_keeps_unknown_fields_lacks_none() {
        let mut document = document(&ours());
        container(&mut document)["spec"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(compare(&ours(), Some(&document)), Served::Current);
    }

    #[test]
    fn complaints_say_what_to_do_and_stay_short() {
        assert_eq!(Served::Current.complaint(), None);
        let missing = Served::Missing {
            kinds: vec!["Destination".to_owned()],
        };
        assert!(missing.complaint().unwrap().ends_with("install charts/tagfleet-crds"));
        let fields = (0..12).map(|number| format!("Destination.spec.f{number}")).collect();
        let complaint = Served::Older { fields }.complaint().unwrap();
        assert!(
            complaint.contains("drops Destination.spec.f0, ")
                && complaint.ends_with("f9 and 2 more: upgrade charts/tagfleet-crds"),
            "{complaint}"
        );
    }
}
