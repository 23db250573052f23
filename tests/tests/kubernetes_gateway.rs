//! The gateway in Kubernetes mode, on a real API server: what is applied is in force within a second, and the API server
//! is needed neither to start nor to go on. What the operator would mount in its pod, the tests write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{Cluster, Namespace},
    gateway::{Gateway, Setup},
    http, ports,
    sink::Sink,
    wait,
};
use tempfile::TempDir;

/// How soon a change must be in force.
const IN_FORCE: Duration = Duration::from_secs(1);
/// How long a gateway may take to come back to an API server that was away: its longest wait between two tries, and some.
const COME_BACK: Duration = Duration::from_secs(75);

/// What a gateway may do in its namespace: see its two kinds.
const ROLE: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop-gateway}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shop-gateway}
rules:
- {apiGroups: [tagfleet.dev], resources: [taggingcontainers, destinations], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shop-gateway}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop-gateway}
subjects: [{kind: ServiceAccount, name: shop-gateway}]
";

fn container() -> Value {
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"},
        "spec": {
            "hostnames": ["metrics.shop.example"],
            "clients": [{"name": "web", "ga4": {}}],
            "privacy": {"ipAddress": "Truncate"},
        },
    })
}

fn destination(name: &str, container: &str, url: &str) -> Value {
    json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": name},
        "spec": {
            "containerRefs": [{"name": container}],
            "delivery": {"batch": {"maxDelay": "10ms"}},
            "webhook": {"url": url},
        },
    })
}

/// The folders that kubelet mounts in a pod.
struct Mounts(TempDir);

impl Mounts {
    fn empty() -> Self {
        let mounts = Self(tempfile::tempdir().unwrap());
        fs::create_dir(mounts.config()).unwrap();
        fs::create_dir(mounts.credentials()).unwrap();
        mounts
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("config")
    }

    fn credentials(&self) -> PathBuf {
        self.0.path().join("credentials")
    }

    /// Mounts objects as they are at the API server, as the operator does with those it has accepted.
    fn mount(&self, space: &Namespace<'_>, objects: &[&str]) {
        for object in objects {
            let mut manifest: Value =
                serde_json::from_str(&space.kubectl(&format!("get {object} -o json")).ok()).unwrap();
            manifest.as_object_mut().unwrap().remove("status");
            let file = format!("{}.yaml", object.replace('/', "-"));
            fs::write(self.config().join(file), manifest.to_string()).unwrap();
        }
    }

    fn gateway(&self, kubeconfig: &Path) -> Setup {
        Setup::new(&self.config())
            .env("KUBECONFIG", kubeconfig.to_str().unwrap())
            .with(&["--kubernetes", "--container", "shop"])
            .with(&["--allowed-private-destinations", "127.0.0.0/8"])
            .with(&["--secrets-dir", self.credentials().to_str().unwrap()])
    }
}

/// The objects in force, as `Destination/orders 3`.
fn in_force(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status();
    let objects = status["configuration"]["objects"].as_array().unwrap();
    let tell = |it: &Value| format!("{} {}", it["object"].as_str().unwrap(), it["generation"]);
    objects.iter().map(tell).collect()
}

fn wait_for(gateway: &Gateway, patience: Duration, wanted: &[&str]) {
    if wait::within(patience, || (in_force(gateway) == wanted).then_some(())).is_none() {
        panic!("{wanted:?} is not in force: {:#}\n{}", gateway.status(), gateway.log());
    }
}

fn patch(space: &Namespace<'_>, object: &str, patch: &str) {
    space
        .kubectl(&format!("patch {object} --type merge --patch {patch}"))
        .ok();
}

#[test]
fn a_gateway_follows_its_objects_within_a_second() {
    let space = Cluster::get().namespace("follow");
    space.apply(ROLE);
    space.apply_json(&container());
    space.apply_json(&destination("orders", "shop", "https://orders.shop.example/hook"));
    let mounts = Mounts::empty();
    mounts.mount(&space, &["tc/shop", "dest/orders"]);
    let gateway = mounts.gateway(&space.kubeconfig_of("shop-gateway")).start();
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 1", "Destination/orders 1"]);

    patch(&space, "dest/orders", r#"{"spec":{"trigger":{"events":["purchase"]}}}"#);
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 1", "Destination/orders 2"]);

    // A mistake that no schema sees: the last good form stays, and status names the object and the field.
    patch(&space, "dest/orders", r#"{"spec":{"trigger":{"when":"event.value>"}}}"#);
    let refusal = wait::until("the refusal", IN_FORCE, || {
        gateway.status()["refusals"].as_array()?.first().cloned()
    });
    assert_eq!(refusal["object"], "Destination/orders");
    assert_eq!(refusal["generation"], 3);
    assert_eq!(refusal["field"], "spec.trigger.when");
    assert_eq!(refusal.get("location"), None);
    assert_eq!(in_force(&gateway), ["TaggingContainer/shop 1", "Destination/orders 2"]);

    patch(
        &space,
        "dest/orders",
        r#"{"spec":{"trigger":{"when":"event.value>1.0"}}}"#,
    );
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 1", "Destination/orders 4"]);
    assert_eq!(gateway.status()["refusals"], json!([]));

    space.apply_json(&destination("stock", "shop", "https://stock.shop.example/hook"));
    patch(&space, "tc/shop", r#"{"spec":{"hostnames":["new.shop.example"]}}"#);
    wait_for(
        &gateway,
        IN_FORCE,
        &["TaggingContainer/shop 2", "Destination/orders 4", "Destination/stock 1"],
    );
    space.kubectl("delete dest/orders").ok();
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 2", "Destination/stock 1"]);
}

#[test]
fn what_does_not_change_the_configuration_is_not_taken_up() {
    let space = Cluster::get().namespace("still");
    space.apply(ROLE);
    space.apply_json(&container());
    space.apply_json(&destination("orders", "shop", "https://orders.shop.example/hook"));
    let mounts = Mounts::empty();
    mounts.mount(&space, &["tc/shop", "dest/orders"]);
    let gateway = mounts
        .gateway(&space.kubeconfig_of("shop-gateway"))
        .env("TAGFLEET_LOG", "info")
        .start();
    // The first lists are in once a change is.
    patch(&space, "dest/orders", r#"{"spec":{"paused":true}}"#);
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 1", "Destination/orders 2"]);
    let (version, lines) = (gateway.configuration(), gateway.log().lines().count());

    let status = r#"{"status":{"conditions":[]}}"#;
    space
        .kubectl(&format!(
            "patch dest/orders --subresource status --type merge --patch {status}"
        ))
        .ok();
    patch(&space, "tc/shop", r#"{"metadata":{"annotations":{"note":"seen"}}}"#);
    space.apply_json(&destination("elsewhere", "blog", "https://a.example/hook"));
    // What follows them on the same watches is there, and so were they.
    space.apply_json(&destination("last", "shop", "https://last.shop.example/hook"));
    wait_for(
        &gateway,
        IN_FORCE,
        &["TaggingContainer/shop 1", "Destination/last 1", "Destination/orders 2"],
    );
    let log = gateway.log();
    let since: Vec<&str> = log.lines().skip(lines).collect();
    assert_eq!(since.len(), 1, "one change, one line: {since:#?}");
    assert_ne!(gateway.configuration(), version);
}

#[test]
fn the_api_server_is_needed_neither_to_start_nor_to_go_on() {
    let Some(cluster) = Cluster::own("the_api_server_is_needed_neither_to_start_nor_to_go_on") else {
        return;
    };
    let space = cluster.namespace("outage");
    space.apply(ROLE);
    space.apply_json(&container());
    let sink = Sink::start();
    space.apply_json(&destination("orders", "shop", &sink.url()));
    let mounts = Mounts::empty();
    mounts.mount(&space, &["tc/shop", "dest/orders"]);
    let kubeconfig = space.kubeconfig_of("shop-gateway");

    cluster.stop_api_server();
    let gateway = mounts.gateway(&kubeconfig).start();
    assert_eq!(gateway.hit("purchase", "started-without", ""), 204);
    sink.wait_for_ids(1, Duration::from_secs(10));

    cluster.start_api_server();
    patch(&space, "dest/orders", r#"{"spec":{"trigger":{"events":["purchase"]}}}"#);
    wait_for(
        &gateway,
        COME_BACK,
        &["TaggingContainer/shop 1", "Destination/orders 2"],
    );

    cluster.stop_api_server();
    assert_eq!(gateway.hit("purchase", "goes-on-without", ""), 204);
    sink.wait_for_ids(2, Duration::from_secs(10));
    assert_eq!(in_force(&gateway), ["TaggingContainer/shop 1", "Destination/orders 2"]);
}

#[test]
fn a_gateway_with_nothing_to_serve_waits_and_ends_when_told() {
    let space = Cluster::get().namespace("nothing");
    space.apply(ROLE);
    let mounts = Mounts::empty();
    let mut gateway = mounts.gateway(&space.kubeconfig_of("shop-gateway")).spawn();
    wait::until("the admin listener", Duration::from_secs(10), || {
        http::get(gateway.admin(), "/livez").ok()
    });
    thread::sleep(Duration::from_millis(500));
    let ready = |gateway: &Gateway| http::get(gateway.admin(), "/readyz").unwrap().status;
    assert_eq!(ready(&gateway), 503);
    assert!(gateway.log().contains("waiting for one"), "{}", gateway.log());

    space.apply_json(&container());
    wait::until_true("it serves", IN_FORCE, || ready(&gateway) == 200);
    gateway.terminate(Duration::from_secs(20));

    // Nobody at that address, and nothing mounted.
    let kubeconfig = mounts.0.path().join("nowhere.kubeconfig");
    fs::write(
        &kubeconfig,
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("https://{}", ports::free())}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "web"}}],
        })
        .to_string(),
    )
    .unwrap();
    let mut gateway = mounts.gateway(&kubeconfig).spawn();
    wait::until_true("it says that the API server is away", Duration::from_secs(10), || {
        gateway.log().contains("does not let itself be watched")
    });
    assert_eq!(ready(&gateway), 503);
    let (_, status) = gateway.terminate(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_destination_waits_at_its_cursor_for_a_credential_that_is_not_mounted_yet() {
    let space = Cluster::get().namespace("credential");
    space.apply(ROLE);
    space.apply_json(&container());
    let mounts = Mounts::empty();
    mounts.mount(&space, &["tc/shop"]);
    let gateway = mounts.gateway(&space.kubeconfig_of("shop-gateway")).start();

    let sink = Sink::with_secret("s3cret");
    let mut orders = destination("orders", "shop", &sink.url());
    orders["spec"]["webhook"]["hmac"] = json!({"secretKeyRef": {"name": "shop-secrets", "key": "hmac"}});
    space.apply_json(&orders);
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 1", "Destination/orders 1"]);
    for number in 0..20 {
        assert_eq!(gateway.hit("purchase", &format!("early-{number}"), ""), 204);
    }
    let standing = gateway.status()["destinations"][0].clone();
    assert_eq!(
        (&standing["state"], &standing["reason"]),
        (&json!("WaitingForCredentials"), &json!("Propagating"))
    );
    assert_eq!(sink.stats().requests, 0);

    fs::write(mounts.credentials().join("shop-secrets..hmac"), "s3cret").unwrap();
    sink.wait_for_ids(20, Duration::from_secs(10));
    assert_eq!(gateway.imbalance("orders"), 0.0);
    assert_eq!(
        gateway.status()["totals"],
        json!({"requests": 20, "errors": 0, "events": 20})
    );
}

#[test]
fn a_lookup_table_that_is_not_mounted_yet_is_waited_for() {
    let space = Cluster::get().namespace("table");
    space.apply(ROLE);
    space.apply_json(&container());
    let mounts = Mounts::empty();
    mounts.mount(&space, &["tc/shop"]);
    let gateway = mounts.gateway(&space.kubeconfig_of("shop-gateway")).start();

    let mut with_table = container();
    with_table["spec"]["lookupTables"] =
        json!([{"name": "stock", "key": "sku", "configMapRef": {"name": "stock", "key": "stock.csv"}}]);
    space.apply_json(&with_table);
    let refusal = wait::until("the refusal", IN_FORCE, || {
        gateway.status()["refusals"].as_array()?.first().cloned()
    });
    assert_eq!(
        (&refusal["object"], &refusal["generation"], &refusal["reason"]),
        (&json!("TaggingContainer/shop"), &json!(2), &json!("Propagating"))
    );
    assert_eq!(in_force(&gateway), ["TaggingContainer/shop 1"]);

    let table = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stock", "namespace": space.name()},
        "data": {"stock.csv": "sku,threshold\nA,5\n"},
    });
    fs::write(mounts.config().join("config-map-stock.yaml"), table.to_string()).unwrap();
    wait_for(&gateway, IN_FORCE, &["TaggingContainer/shop 2"]);
}
