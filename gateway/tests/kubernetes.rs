//! What a gateway in a cluster makes of what is mounted and what the API server has: given these, that is in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::needless_pass_by_value, reason = "manifests are written where they are used")]

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tagfleet_gateway::{
    config::{
        destination::ROTATION,
        files::{Snapshot, Sources},
        finding::ObjectRef,
        kubernetes::ClusterObjects,
        live::{Awaited, Config},
        objects::Object,
        report::Reporter,
        rules::Rules,
    },
    delivery::addresses::AddressPolicy,
    log::DestinationId,
    metrics::Metrics,
    plan::Plan,
    status::{Board, Refusal},
};

fn container(generation: i64, spec: Value) -> Value {
    let mut all = json!({"hostnames": ["metrics.shop.example"], "clients": [{"name": "web", "ga4": {}}]});
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": "shop", "namespace": "web", "uid": "c", "generation": generation},
        "spec": all,
    })
}

fn destination(name: &str, generation: i64, spec: Value) -> Value {
    let mut all = json!({"containerRefs": [{"name": "shop"}], "webhook": {"url": "https://orders.shop.example/hook"}});
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination",
        "metadata": {"name": name, "namespace": "web", "uid": name, "generation": generation},
        "spec": all,
    })
}

fn signed() -> Value {
    json!({"webhook": {
        "url": "https://orders.shop.example/hook",
        "hmac": {"secretKeyRef": {"name": "keys", "key": "hmac"}},
    }})
}

/// A pod: what is mounted in it, and what it has been told by the API server.
struct Pod {
    mounts: tempfile::TempDir,
    api: Option<Arc<ClusterObjects>>,
    awaited: Awaited,
    config: Option<Config>,
    started: Instant,
}

impl Pod {
    /// Started with these manifests mounted.
    fn start(mounted: &[Value]) -> Self {
        Self::start_with(mounted, &[])
    }

    fn start_with(mounted: &[Value], allowed: &[&str]) -> Self {
        let mounts = tempfile::tempdir().unwrap();
        fs::create_dir(mounts.path().join("config")).unwrap();
        fs::create_dir(mounts.path().join("credentials")).unwrap();
        let allowed: Vec<_> = allowed.iter().map(|range| range.parse().unwrap()).collect();
        let rules = Rules::of_cluster(AddressPolicy::PublicOnly(allowed.into()));
        let mut pod = Self {
            mounts,
            api: None,
            awaited: Awaited::new(rules, "web", "shop"),
            config: None,
            started: Instant::now(),
        };
        for manifest in mounted {
            pod.mount(manifest);
        }
        pod.take();
        pod
    }

    fn mount(&self, manifest: &Value) {
        let name = format!("{}-{}.yaml", manifest["kind"], manifest["metadata"]["name"]).replace('"', "");
        fs::write(self.mounts.path().join("config").join(name), manifest.to_string()).unwrap();
    }

    fn mount_credential(&self, file: &str, text: &str) {
        fs::write(self.mounts.path().join("credentials").join(file), text).unwrap();
    }

    /// The API server has these objects now.
    fn told(&mut self, objects: &[Value]) {
        let objects = objects.iter().map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap();
            let reference = ObjectRef::new(object["kind"].as_str().unwrap(), "web", name);
            (reference.clone(), Object::from_api(reference, object))
        });
        self.api = Some(Arc::new(objects.collect()));
        self.take();
    }

    fn snapshot(&self) -> Snapshot {
        let sources = Sources {
            paths: vec![self.mounts.path().join("config")],
            secrets_dir: Some(self.mounts.path().join("credentials")),
        };
        Snapshot {
            cluster: self.api.clone(),
            ..sources.read()
        }
    }

    /// Takes in what is there now.
    fn take(&mut self) {
        self.take_after(Duration::ZERO);
    }

    fn take_after(&mut self, elapsed: Duration) {
        let (snapshot, now) = (self.snapshot(), self.started + elapsed);
        match &mut self.config {
            Some(config) => config.update(snapshot, now),
            None => self.config = self.awaited.update(snapshot, now),
        }
    }

    fn plan(&self) -> Plan {
        let mut last = 0;
        let register = &mut |_: &str| {
            last += 1;
            Ok(DestinationId(last))
        };
        self.config.as_ref().expect("it serves").plan(register).unwrap()
    }

    /// The objects in force with their generations, as `/status` tells them.
    fn in_force(&self) -> Vec<String> {
        let tell = |object: &str, generation: Option<i64>| format!("{object} {}", generation.unwrap());
        let plan = self.plan();
        let objects = plan.objects.iter();
        objects.map(|it| tell(&it.object, it.generation)).collect()
    }

    /// What `/status` tells of refusals.
    fn refusals(&self) -> Vec<Refusal> {
        let findings = match &self.config {
            Some(config) => config.findings(),
            None => self.awaited.findings(),
        };
        let board = Board::new();
        Reporter::default().report(findings, &Metrics::new("shop").unwrap(), &board);
        board.refusals()
    }

    fn waits(&self, destination: &str) -> bool {
        let plan = self.plan();
        let found = plan.destinations.iter().find(|planned| &*planned.name == destination);
        found.unwrap().awaits_credentials
    }
}

#[test]
fn a_pod_starts_from_what_is_mounted_and_goes_on_with_what_the_api_server_has() {
    let mut pod = Pod::start(&[
        container(1, json!({})),
        destination("orders", 1, json!({})),
        destination("gone", 1, json!({})),
    ]);
    assert_eq!(
        pod.in_force(),
        ["TaggingContainer/shop 1", "Destination/gone 1", "Destination/orders 1"]
    );
    pod.told(&[
        container(2, json!({"hostnames": ["new.shop.example"]})),
        destination("orders", 4, json!({})),
        destination("stock", 1, json!({})),
    ]);
    assert_eq!(
        pod.in_force(),
        ["TaggingContainer/shop 2", "Destination/orders 4", "Destination/stock 1"]
    );
    assert_eq!(pod.refusals(), []);
}

#[test]
fn what_is_broken_at_the_api_server_stays_as_it_is_mounted() {
    let mut pod = Pod::start(&[container(1, json!({})), destination("orders", 1, json!({}))]);
    let broken = destination("orders", 2, json!({"trigger": {"when": "event.value >"}}));
    pod.told(&[container(1, json!({})), broken, destination("stock", 1, json!({}))]);
    assert_eq!(
        pod.in_force(),
        ["TaggingContainer/shop 1", "Destination/orders 1", "Destination/stock 1"]
    );
    let refusals = pod.refusals();
    assert_eq!(refusals.len(), 1);
    assert_eq!(
        (&*refusals[0].object, refusals[0].generation, &*refusals[0].field),
        ("Destination/orders", Some(2), "spec.trigger.when")
    );
    assert_eq!(refusals[0].location, None, "there is no file to look into");
    assert_eq!(refusals[0].reason, None);
}

#[test]
fn an_object_of_a_later_version_stays_as_it_was_and_others_go_on() {
    let mut pod = Pod::start(&[container(1, json!({})), destination("orders", 1, json!({}))]);
    pod.told(&[
        container(1, json!({})),
        destination("orders", 2, json!({"hologram": {"depth": 3}})),
        destination("stock", 1, json!({})),
    ]);
    assert_eq!(
        pod.in_force(),
        ["TaggingContainer/shop 1", "Destination/orders 1", "Destination/stock 1"]
    );
    assert_eq!(pod.refusals()[0].field, "spec.hologram");
}

#[test]
fn what_the_api_server_has_not_is_gone_though_it_is_mounted_and_broken_there() {
    let mut pod = Pod::start(&[container(1, json!({})), destination("orders", 1, json!({}))]);
    fs::write(pod.mounts.path().join("config/Destination-orders.yaml"), "kind: [").unwrap();
    pod.take();
    assert_eq!(pod.in_force().len(), 2, "as long as only the mount is known");
    pod.told(&[container(1, json!({}))]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1"]);
}

#[test]
fn without_anything_to_serve_it_waits() {
    let mut pod = Pod::start(&[]);
    assert!(pod.config.is_none());
    pod.told(&[container(1, json!({"clients": [{"name": "web"}]}))]);
    assert!(pod.config.is_none(), "a container that is broken cannot be served");
    assert_eq!(pod.refusals()[0].object, "TaggingContainer/shop");
    pod.told(&[container(2, json!({}))]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 2"]);
}

#[test]
fn a_container_that_is_deleted_goes_on_as_it_was() {
    let mut pod = Pod::start(&[container(1, json!({})), destination("orders", 1, json!({}))]);
    pod.told(&[destination("orders", 2, json!({}))]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1", "Destination/orders 1"]);
    assert_eq!(pod.refusals()[0].message, "is no longer there; it goes on as it was");
}

fn with_table() -> Value {
    json!({"lookupTables": [{"name": "stock", "key": "sku", "configMapRef": {"name": "stock", "key": "t.csv"}}]})
}

#[test]
fn a_table_that_is_not_mounted_yet_is_waited_for() {
    let mut pod = Pod::start(&[container(1, json!({}))]);
    pod.told(&[container(2, with_table())]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1"]);
    let refusals = pod.refusals();
    assert_eq!(
        (refusals[0].generation, refusals[0].reason),
        (Some(2), Some("Propagating"))
    );
    assert!(
        refusals[0].message.contains("not mounted in this pod yet"),
        "{}",
        refusals[0].message
    );

    pod.mount(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stock", "namespace": "web"},
        "data": {"t.csv": "sku,threshold\nA,5\n"},
    }));
    pod.take();
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 2"]);
    assert_eq!(pod.refusals(), []);
}

#[test]
fn a_destination_whose_credential_is_not_mounted_yet_is_in_force_and_waits() {
    let mut pod = Pod::start(&[container(1, json!({}))]);
    pod.told(&[container(1, json!({})), destination("orders", 1, signed())]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1", "Destination/orders 1"]);
    assert!(pod.waits("orders"));
    assert_eq!(pod.refusals(), [], "nothing is wrong with it");
    let waiting = pod.plan().destinations[0].fingerprint.clone();

    pod.mount_credential("keys..hmac", "s3cret");
    pod.take();
    assert!(!pod.waits("orders"));
    assert_ne!(
        pod.plan().destinations[0].fingerprint,
        waiting,
        "delivery takes up the new form"
    );

    // Whose Secret is taken away must not go on with it.
    fs::remove_file(pod.mounts.path().join("credentials/keys..hmac")).unwrap();
    pod.take_after(ROTATION);
    assert!(pod.waits("orders"));
}

#[test]
fn the_variables_of_a_destination_that_waits_are_stored_for_it() {
    let mut waiting = signed();
    waiting["webhook"]["parameters"] = json!({"is_low": "vars.low"});
    let variables = json!({"variables": [{"name": "low", "expression": "event.stock < 3"}]});
    let pod = Pod::start(&[container(1, variables), destination("orders", 1, waiting)]);
    assert!(pod.waits("orders"));
    assert!(pod.plan().variables[0].stored);
}

#[test]
fn pub_sub_waits_for_a_key_too_and_does_not_send_as_somebody_else() {
    let topic = json!({
        "project": "demo", "topic": "orders",
        "credentials": {"secretKeyRef": {"name": "keys", "key": "google"}},
    });
    let mut orders = destination("orders", 1, json!({"pubSub": topic}));
    orders["spec"].as_object_mut().unwrap().remove("webhook");
    let pod = Pod::start(&[container(1, json!({})), orders]);
    assert_eq!(pod.refusals(), []);
    assert!(pod.waits("orders"));
}

#[test]
fn a_client_whose_secret_is_not_mounted_yet_keeps_the_container_as_it_was() {
    let secret = json!({"secretKeyRef": {"name": "keys", "key": "mp"}});
    let clients = json!({"clients": [{"name": "server", "measurementProtocol": {"apiSecret": secret}}]});
    let mut pod = Pod::start(&[container(1, json!({}))]);
    pod.told(&[container(2, clients)]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1"]);
    assert_eq!(pod.refusals()[0].reason, Some("Propagating"));
    pod.mount_credential("keys..mp", "s3cret");
    pod.take();
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 2"]);
}

#[test]
fn a_destination_may_have_other_containers_that_this_pod_knows_nothing_of() {
    let both = json!({"containerRefs": [{"name": "shop"}, {"name": "blog"}]});
    let pod = Pod::start(&[container(1, json!({})), destination("orders", 1, both)]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1", "Destination/orders 1"]);
    assert_eq!(pod.refusals(), []);
}

#[test]
fn targets_are_https_and_public_unless_the_operator_allows_a_range() {
    let target = |url: &str| {
        let orders = destination("orders", 1, json!({"webhook": {"url": url}}));
        let pod = Pod::start_with(&[container(1, json!({})), orders], &["127.0.0.0/8"]);
        let refusals = pod.refusals();
        refusals
            .first()
            .map(|refusal| format!("{}: {}", refusal.field, refusal.message))
    };
    assert_eq!(target("https://orders.shop.example/hook"), None);
    assert_eq!(target("http://127.0.0.9:8080/hook"), None);
    let cleartext = target("http://orders.shop.example/hook").unwrap();
    assert!(
        cleartext.starts_with("spec.webhook.url: must begin with https://"),
        "{cleartext}"
    );
    let private = target("https://10.0.0.7/hook").unwrap();
    assert!(private.starts_with("spec.webhook.url: is a private"), "{private}");
}

#[test]
fn proxies_with_private_addresses_are_believed_unless_the_container_names_others() {
    let believes = |pod: &Pod, address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        pod.plan().trusted_proxies.iter().any(|range| range.contains(&address))
    };
    let usual = Pod::start(&[container(1, json!({}))]);
    assert!(believes(&usual, "10.244.0.7"));
    assert!(!believes(&usual, "203.0.113.7"));
    let named = Pod::start(&[container(1, json!({"trustedProxies": ["203.0.113.0/24"]}))]);
    assert!(!believes(&named, "10.244.0.7"));
    assert!(believes(&named, "203.0.113.7"));
}

#[test]
fn what_the_api_server_filled_in_is_not_refused_and_what_is_not_in_force_is() {
    let defaults = json!({"privacy": {"ipAddress": "Truncate", "bots": "Mark"}});
    let mut pod = Pod::start(&[container(1, defaults)]);
    assert_eq!(pod.refusals(), []);
    pod.told(&[container(
        2,
        json!({"privacy": {"ipAddress": "Truncate", "bots": "Mark"}, "preview": {"public": true}}),
    )]);
    assert_eq!(pod.in_force(), ["TaggingContainer/shop 1"]);
    assert_eq!(pod.refusals()[0].field, "spec.preview");
}
