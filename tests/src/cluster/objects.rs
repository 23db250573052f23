//! Objects of any kind as JSON, by kubectl's words for them.

use std::time::Duration;

use serde_json::Value;

use super::Namespace;
use crate::wait;

/// kubectl's word for a kind, its group and version, and its plural.
const KINDS: [(&str, &str, &str); 21] = [
    ("configmap", "v1", "configmaps"),
    ("deployment", "apps/v1", "deployments"),
    ("destination", "tagfleet.dev/v1alpha1", "destinations"),
    ("endpointslice", "discovery.k8s.io/v1", "endpointslices"),
    ("event", "events.k8s.io/v1", "events"),
    ("horizontalpodautoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
    ("httproute", "gateway.networking.k8s.io/v1", "httproutes"),
    ("ingress", "networking.k8s.io/v1", "ingresses"),
    ("lease", "coordination.k8s.io/v1", "leases"),
    ("networkpolicy", "networking.k8s.io/v1", "networkpolicies"),
    ("pod", "v1", "pods"),
    ("poddisruptionbudget", "policy/v1", "poddisruptionbudgets"),
    ("prometheusrule", "monitoring.coreos.com/v1", "prometheusrules"),
    ("role", "rbac.authorization.k8s.io/v1", "roles"),
    ("rolebinding", "rbac.authorization.k8s.io/v1", "rolebindings"),
    ("secret", "v1", "secrets"),
    ("service", "v1", "services"),
    ("serviceaccount", "v1", "serviceaccounts"),
    ("servicemonitor", "monitoring.coreos.com/v1", "servicemonitors"),
    ("statefulset", "apps/v1", "statefulsets"),
    ("taggingcontainer", "tagfleet.dev/v1alpha1", "taggingcontainers"),
];

impl Namespace<'_> {
    /// An object as `kind/name`, such as `deployment/shop-gateway`; null when it is not there. A kind alone gives its list.
    ///
    /// # Panics
    /// When the API server does not answer, or the kind is none of those known here.
    #[must_use]
    pub fn get(&self, object: &str) -> Value {
        let (kind, name) = object.split_once('/').unwrap_or((object, ""));
        let known = KINDS.iter().find(|(word, _, _)| *word == kind);
        let (_, version, plural) = known.unwrap_or_else(|| panic!("no kind is called {kind}"));
        let root = if version.contains('/') { "apis" } else { "api" };
        let path = format!("/{root}/{version}/namespaces/{}/{plural}/{name}", self.name());
        let request = http::Request::get(path.trim_end_matches('/')).body(Vec::new());
        let request = request.expect("a request");
        match self.cluster().block_on(self.cluster().client().request(request)) {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.code == 404 => Value::Null,
            Err(error) => panic!("{object}: {error}"),
        }
    }

    /// Waits until an object is as it should be (null while it is not there), and returns it; says how it was in the end if
    /// it never is.
    pub fn wait_until(
        &self,
        object: &str,
        what: &str,
        patience: Duration,
        as_it_should_be: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let found = wait::within(patience, || {
            last = self.get(object);
            as_it_should_be(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            // Who wrote which field says less than all the rest.
            if let Some(metadata) = last["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            panic!("waited {patience:?} in vain: {object}: {what}. It is {last:#}")
        })
    }

    /// Waits for a condition of a container or Destination: its status, and its reason. Returns its message.
    pub fn wait_for_condition(&self, object: &str, condition: &str, says: (&str, &str), patience: Duration) -> String {
        let what = format!("{condition} is {} for {}", says.0, says.1);
        let found = self.wait_until(object, &what, patience, |it| {
            let found = find_condition(it, condition);
            let is_of_newest = found["observedGeneration"] == it["metadata"]["generation"];
            is_of_newest && found["status"] == says.0 && found["reason"] == says.1
        });
        let message = find_condition(&found, condition)["message"].as_str();
        message.unwrap_or_default().to_owned()
    }

    /// The Events about an object of that name.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Event> {
        let events = self.get("event");
        let about = |event: &&Value| event["regarding"]["name"] == name;
        let events = events["items"].as_array().into_iter().flatten().filter(about);
        events.map(Event::read).collect()
    }

    /// Waits for an Event of this reason about an object, and returns it.
    pub fn wait_for_event(&self, name: &str, reason: &str, patience: Duration) -> Event {
        let found = wait::within(patience, || {
            self.events(name).into_iter().find(|it| it.reason == reason)
        });
        found.unwrap_or_else(|| panic!("no Event {reason} about {name}: {:#?}", self.events(name)))
    }
}

/// What was told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Normal` or `Warning`.
    pub kind: String,
    /// Why, in one word.
    pub reason: String,
    /// What happened.
    pub note: String,
    /// How often it was told.
    pub times: u64,
}

impl Event {
    fn read(event: &Value) -> Self {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        Self {
            kind: text("type"),
            reason: text("reason"),
            note: text("note"),
            times: event["series"]["count"].as_u64().unwrap_or(1),
        }
    }
}

/// A condition of an object; null when it has none of that type.
#[must_use]
pub fn find_condition<'o>(object: &'o Value, condition: &str) -> &'o Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == condition);
    found.unwrap_or(&Value::Null)
}
