//! Both kinds in a real API server: what it accepts, what it refuses and with which words, and what kubectl shows of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::needless_pass_by_value
)]

use std::{collections::BTreeSet, fs, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};
use tagfleet_crds::{Destination, destination::VENDORS, schema};
use tagfleet_tests::{
    cluster::{Cluster, Namespace},
    process, wait,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_example_is_accepted_by_apply_and_by_server_side_apply() {
    let example = process::repository().join("crds/tests/data/contract.yaml");
    let example = fs::read_to_string(example).unwrap();
    for apply in ["apply -f -", "apply --server-side -f -"] {
        let space = Cluster::get().namespace("example");
        let answer = space.kubectl_with(apply, &example);
        assert!(answer.success && answer.stderr.is_empty(), "{apply}: {}", answer.stderr);
        assert_eq!(answer.stdout.lines().count(), 6, "{}", answer.stdout);
    }
}

#[test]
fn the_quickstart_is_accepted() {
    let space = Cluster::get().namespace("quickstart");
    let folder = process::repository().join("examples/quickstart");
    let answer = space.kubectl(&format!("apply -f {}", folder.display()));
    assert!(answer.success && answer.stderr.is_empty(), "{}", answer.stderr);
}

/// A rule of a CRD (`x-kubernetes-validations`), and an object that breaks it and no other.
struct Case {
    kind: &'static str,
    /// Where the rule stands, `[]` for the elements of a list.
    at: String,
    /// How the rule's message begins.
    says: &'static str,
    object: Value,
}

fn container(at: &str, says: &'static str, spec: Value) -> Case {
    let object = json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": "shop"}, "spec": spec});
    Case {
        kind: "TaggingContainer",
        at: at.to_owned(),
        says,
        object,
    }
}

fn destination(at: &str, says: &'static str, spec: Value) -> Case {
    let mut object = json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination",
        "metadata": {"name": "orders"},
        "spec": {"containerRefs": [{"name": "shop"}]}});
    let fields = object["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    if !VENDORS.iter().any(|vendor| fields.contains_key(*vendor)) {
        fields.insert("webhook".to_owned(), vendor("webhook"));
    }
    Case {
        kind: "Destination",
        at: at.to_owned(),
        says,
        object,
    }
}

/// A vendor's block with what it must have.
fn vendor(name: &str) -> Value {
    let secret = json!({"secretKeyRef": {"name": "shop-secrets", "key": "k"}});
    match name {
        "ga4" => json!({"measurementId": "G-TEST1"}),
        "metaConversions" => json!({"pixelId": "1", "accessToken": secret}),
        "tiktokEvents" => json!({"pixelCode": "C1", "accessToken": secret}),
        "linkedinConversions" => json!({"conversions": {"purchase": "1"}, "accessToken": secret}),
        "pinterestConversions" => json!({"adAccountId": "1", "accessToken": secret}),
        "googleAds" => json!({"customerId": "1234567890", "conversionActions": {"purchase": "1"},
            "oauth": {"clientId": secret, "clientSecret": secret, "refreshToken": secret}}),
        "pubSub" => json!({"project": "demo", "topic": "orders"}),
        "bigQuery" => json!({"project": "demo", "dataset": "shop", "table": "events"}),
        "webhook" => json!({"url": "https://orders.shop.example/hook"}),
        "snapchatConversions" => json!({"pixelId": "1", "accessToken": secret}),
        _ => panic!("no vendor is called {name}"),
    }
}

/// The vendor's block with more in it.
fn vendor_with(name: &str, field: &str, value: Value) -> Value {
    let mut block = vendor(name);
    block[field] = value;
    json!({ name: block })
}

fn cases() -> Vec<Case> {
    let secret = json!({"secretKeyRef": {"name": "shop-secrets", "key": "k"}});
    let longer = "must be longer than 0s";
    let client = |client: Value| json!({ "clients": [client] });
    let retry = |retry: Value| json!({"delivery": {"retry": retry}});
    let mut dotted = container("", "metadata.name must be a DNS label", json!({}));
    dotted.object["metadata"]["name"] = json!("shop.eu");
    let mut dotted_destination = destination("", "metadata.name must be a DNS label", json!({}));
    dotted_destination.object["metadata"]["name"] = json!("orders.eu");
    let mut cases = vec![
        dotted,
        container(
            "spec",
            "set at most one way in",
            json!({"hostnames": ["a.example"], "ingress": {}, "gatewayRefs": [{"name": "public"}]}),
        ),
        container(
            "spec",
            "ingress and gatewayRefs route hostnames",
            json!({"ingress": {}}),
        ),
        container(
            "spec.buffer",
            "set at most one kind of buffer",
            json!({"buffer": {"memory": {}, "disk": {}}}),
        ),
        container(
            "spec.buffer.jetStream.maxAge",
            longer,
            json!({"buffer": {"jetStream": {"url": "nats://nats.nats:4222", "maxAge": "0s"}}}),
        ),
        container(
            "spec.clients[]",
            "set exactly one kind of client",
            client(json!({"name": "web"})),
        ),
        container(
            "spec.clients[].json.auth",
            "set exactly one way to authenticate",
            client(json!({"name": "app", "json": {"path": "/v1/events", "auth": {"apiKey": secret, "hmac": secret}}})),
        ),
        container(
            "spec.clients[].json.path",
            "must begin with /",
            client(json!({"name": "app", "json": {"path": "v1/events"}})),
        ),
        container(
            "spec.clients[].pixel.path",
            "must begin with /",
            client(json!({"name": "pixel", "pixel": {"path": "/p.gif?x=1"}})),
        ),
        container(
            "spec.consent.hold.maxAge",
            longer,
            json!({"consent": {"hold": {"maxAge": "25h"}}}),
        ),
        container(
            "spec.cors.allowedOrigins[]",
            "must be an origin",
            json!({"cors": {"allowedOrigins": ["https://www.shop.example/path"]}}),
        ),
        container(
            "spec.deduplication.window",
            longer,
            json!({"deduplication": {"window": "721h"}}),
        ),
        container(
            "spec.enrich.geo",
            "set exactly one source of geo",
            json!({"enrich": {"geo": {"file": "/geo/city.mmdb", "url": "https://storage.example/city.mmdb"}}}),
        ),
        container(
            "spec.enrich.geo.refreshInterval",
            longer,
            json!({"enrich": {"geo": {"url": "https://storage.example/city.mmdb", "refreshInterval": "721h"}}}),
        ),
        container(
            "spec.hostnames[]",
            "must be a DNS name in lower case",
            json!({"hostnames": ["Metrics.Shop.example"]}),
        ),
        container(
            "spec.monitoring.objectives.deliveryLag",
            longer,
            json!({"monitoring": {"objectives": {"deliveryLag": "25h"}}}),
        ),
        container(
            "spec.monitoring.objectives.latency",
            longer,
            json!({"monitoring": {"objectives": {"latency": "2m"}}}),
        ),
        container(
            "spec.replicas",
            "min must not be greater than max",
            json!({"replicas": {"min": 3, "max": 2}}),
        ),
        container(
            "spec.telemetry.otlp.endpoint",
            "must be an http or https URL",
            json!({"telemetry": {"otlp": {"endpoint": "http://user:password@collector:4318"}}}),
        ),
        container(
            "spec.transformations[].redact",
            "set patterns, queryParameters or both",
            json!({"transformations": [{"name": "clean", "redact": {"parameters": ["note"]}}]}),
        ),
        container(
            "spec.transformations[]",
            "set exactly one kind of transformation",
            json!({"transformations": [{"name": "both", "allow": ["value"], "exclude": ["currency"]}]}),
        ),
        container(
            "spec.trustedProxies[]",
            "must be a range of addresses",
            json!({"trustedProxies": ["10.0.0.1"]}),
        ),
        dotted_destination,
        destination(
            "spec",
            "set exactly one vendor",
            json!({"ga4": vendor("ga4"), "webhook": vendor("webhook")}),
        ),
        destination(
            "spec.delivery.batch.maxDelay",
            "must be at most 5m",
            json!({"delivery": {"batch": {"maxDelay": "6m"}}}),
        ),
        destination(
            "spec.delivery.retry",
            "initialBackoff must not be longer than maxBackoff",
            retry(json!({"initialBackoff": "2m", "maxBackoff": "1m"})),
        ),
        destination(
            "spec.delivery.retry.initialBackoff",
            longer,
            retry(json!({"initialBackoff": "0s"})),
        ),
        destination("spec.delivery.retry.maxAge", longer, retry(json!({"maxAge": "8761h"}))),
        destination(
            "spec.delivery.retry.maxBackoff",
            longer,
            retry(json!({"maxBackoff": "25h"})),
        ),
        destination("spec.delivery.timeout", longer, json!({"delivery": {"timeout": "6m"}})),
        destination(
            "spec.googleAds",
            "api GoogleAds needs developerToken",
            vendor_with("googleAds", "api", json!("GoogleAds")),
        ),
        destination(
            "spec.pubSub",
            "set exactly one topic",
            json!({"pubSub": {"project": "demo"}}),
        ),
        destination(
            "spec.pubSub.topic",
            "must be a topic's id",
            json!({"pubSub": {"project": "demo", "topic": "google-like"}}),
        ),
        destination(
            "spec.webhook.url",
            "must be an http or https URL",
            json!({"webhook": {"url": "https://user:password@orders.shop.example/hook"}}),
        ),
    ];
    cases.extend(VENDORS.map(|vendor| {
        let spec = vendor_with(vendor, "endpoint", json!("https://vendor.example/path"));
        destination(&format!("spec.{vendor}.endpoint"), "must be scheme and host", spec)
    }));
    cases
}

#[test]
fn every_rule_refuses_in_its_own_words_where_the_mistake_is() {
    let space = Cluster::get().namespace("rules");
    for case in cases() {
        let refusal = space.refusal(&case.object.to_string());
        let here = case.at.replace("[]", "[0]");
        let here = if here.is_empty() { "<nil>".to_owned() } else { here };
        let at = format!("{here}: Invalid value: ");
        assert!(
            refusal.contains(case.says) && refusal.contains(&at),
            "{} {}: {refusal}",
            case.kind,
            case.at
        );
        assert_eq!(
            refusal.matches("Invalid value").count(),
            1,
            "one mistake, one complaint: {refusal}"
        );
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut without_case = BTreeSet::new();
    let cases = cases();
    for crd in [schema::tagging_container(), schema::destination()] {
        let kind = &crd.spec.names.kind;
        let schema = json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema);
        for (at, message) in rules(&schema, "") {
            let is_it = |case: &&Case| case.kind == kind && case.at == at && message.starts_with(case.says);
            if cases.iter().filter(is_it).count() != 1 {
                without_case.insert(format!("{kind} {at}: {message}"));
            }
        }
    }
    assert_eq!(without_case, BTreeSet::new());
}

/// The rules of a schema and of all below it: path and message.
fn rules(schema: &Value, path: &str) -> Vec<(String, String)> {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut found: Vec<_> = own
        .map(|rule| (path.to_owned(), rule["message"].as_str().unwrap().to_owned()))
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        found.extend(rules(field, &format!("{path}{dot}{name}")));
    }
    found.extend(
        schema
            .get("items")
            .map(|it| rules(it, &format!("{path}[]")))
            .unwrap_or_default(),
    );
    let values = schema.get("additionalProperties").filter(|it| it.is_object());
    found.extend(values.map(|it| rules(it, &format!("{path}{{}}"))).unwrap_or_default());
    found
}

#[test]
fn what_is_not_in_the_schema_is_refused_with_its_path() {
    let space = Cluster::get().namespace("schema");
    let object = |spec: Value| container("", "", spec).object.to_string();
    let many = |count: usize| (0..count).map(|n| format!("h{n}.shop.example")).collect::<Vec<_>>();

    let unknown = object(json!({"clients": [{"name": "web", "ga4": {"measurementIDs": ["G-1"]}}]}));
    let path = r#"unknown field "spec.clients[0].ga4.measurementIDs""#;
    assert_contains(&space.refusal(&unknown), path);
    // The wording of server-side apply is its own.
    let refusal = space.kubectl_with("apply --server-side -f -", &unknown).refusal();
    assert_contains(
        &refusal,
        r#".spec.clients[name="web"].ga4.measurementIDs: field not declared in schema"#,
    );

    for (spec, says) in [
        (json!({"paused": "yes"}), "spec.paused"),
        (json!({"replicas": {"min": "two", "max": 3}}), "spec.replicas.min"),
        (
            json!({"hostnames": many(51)}),
            "spec.hostnames: Too many: 51: must have at most 50 items",
        ),
        (
            json!({"variables": [{"name": "long", "expression": "a".repeat(4097)}]}),
            "spec.variables[0].expression: Too long: may not be more than 4096 bytes",
        ),
        (
            json!({"clients": (0..21).map(|n| json!({"name": format!("c{n}"), "ga4": {}})).collect::<Vec<_>>()}),
            "spec.clients: Too many: 21: must have at most 20 items",
        ),
        (
            json!({"clients": [{"name": "a", "ga4": {}}, {"name": "a", "pixel": {}}]}),
            r#"spec.clients[1]: Duplicate value: {"name":"a"}"#,
        ),
    ] {
        assert_contains(&space.refusal(&object(spec)), says);
    }
    space.apply(&object(json!({"hostnames": many(50)})));
}

#[test]
fn an_object_at_all_its_bounds_is_stored() {
    let space = Cluster::get().namespace("bounds");
    let expression = format!("event.value > 0.0 || '{}' == ''", "x".repeat(4000));
    let variable = |n: usize| json!({"name": format!("v{n}"), "expression": expression});
    let spec = json!({
        "variables": (0..200).map(variable).collect::<Vec<_>>(),
        "transformations": (0..200).map(|n| json!({"name": format!("t{n}"), "exclude": ["a"]})).collect::<Vec<_>>(),
    });
    // 800 KiB: more than kubectl can put into its annotation, which server-side apply has no need of.
    let answer = space.kubectl_with("apply --server-side -f -", &container("", "", spec).object.to_string());
    assert!(answer.success && answer.stderr.is_empty(), "{}", answer.stderr);
}

#[test]
fn both_kinds_are_established_and_small() {
    let cluster = Cluster::get();
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client());
    for name in ["taggingcontainers.tagfleet.dev", "destinations.tagfleet.dev"] {
        let crd = cluster.block_on(api.get(name)).unwrap();
        let conditions = json!(crd.status.as_ref().unwrap().conditions);
        let holds = |kind: &str| {
            let conditions = conditions.as_array().unwrap();
            conditions.iter().any(|it| it["type"] == kind && it["status"] == "True")
        };
        assert!(holds("Established") && holds("NamesAccepted"), "{name}: {conditions}");
        assert!(!holds("NonStructuralSchema"), "{name}: {conditions}");
        let bytes = json!({"spec": crd.spec}).to_string().len();
        assert!(bytes < 200 * 1024, "{name}: {bytes} bytes");
    }
    let file = |name: &str| {
        fs::metadata(process::repository().join("crds/yaml").join(name))
            .unwrap()
            .len()
    };
    assert!(file("taggingcontainers.yaml") < 200 * 1024 && file("destinations.yaml") < 200 * 1024);
}

#[test]
fn kubectl_get_shows_what_an_operator_wants_to_know() {
    let space = Cluster::get().namespace("columns");
    space.apply(
        &container("", "", json!({"hostnames": ["metrics.shop.example"]}))
            .object
            .to_string(),
    );
    space.apply(&destination("", "", json!({})).object.to_string());
    patch_status(
        &space,
        "tc shop",
        &json!({
            "pods": {"ready": 2, "desired": 3, "summary": "2/3"}, "destinations": 5,
            "eventsPerSecond": "1200", "errors": "0.1%",
        }),
    );
    patch_status(
        &space,
        "dest orders",
        &json!({
            "conditions": [{"type": "Delivering", "status": "False", "reason": "VendorRefuses", "message": "HTTP 500",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "vendor": "webhook", "lag": "12m", "lastError": "HTTP 500",
        }),
    );

    let shown = space.kubectl("get tc").ok();
    assert_eq!(
        words(&shown, 0),
        ["NAME", "HOSTNAME", "READY", "DESTINATIONS", "EVENTS/S", "ERRORS", "AGE"]
    );
    assert_eq!(
        words(&shown, 1)[..6],
        ["shop", "metrics.shop.example", "2/3", "5", "1200", "0.1%"]
    );
    let shown = space.kubectl("get dest").ok();
    let head = "NAME CONTAINER VENDOR DELIVERING LAG LAST ERROR AGE";
    assert_eq!(words(&shown, 0).join(" "), head);
    assert!(
        words(&shown, 1)
            .join(" ")
            .starts_with("orders shop webhook False 12m HTTP 500 "),
        "{shown}"
    );
    // One word for both kinds.
    let all = space.kubectl("get tagfleet -o name").ok();
    assert_eq!(
        all,
        "destination.tagfleet.dev/orders\ntaggingcontainer.tagfleet.dev/shop\n"
    );
}

fn patch_status(space: &Namespace<'_>, object: &str, status: &Value) {
    let patch = json!({ "status": status });
    // In a file: kubectl's words are parted by white space.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), patch.to_string()).unwrap();
    let path = file.path().display();
    space
        .kubectl(&format!(
            "patch {object} --subresource status --type merge --patch-file {path}"
        ))
        .ok();
}

fn words(table: &str, line: usize) -> Vec<&str> {
    table.lines().nth(line).unwrap_or_default().split_whitespace().collect()
}

#[test]
fn kubectl_explain_describes_every_field() {
    let cluster = Cluster::get();
    let clients = cluster.kubectl(["explain", "tc.spec.clients", "--recursive"]).ok();
    for field in [
        "ga4",
        "measurementProtocol",
        "json",
        "pixel",
        "scripts",
        "path\t<string> -required-",
    ] {
        assert!(clients.contains(field), "{field}: {clients}");
    }
    for path in [
        "tc.spec",
        "tc.spec.clients",
        "tc.spec.buffer",
        "tc.status",
        "dest.spec",
        "dest.spec.delivery.retry",
        "dest.status",
    ] {
        let page = cluster.kubectl(["explain", path]).ok();
        assert!(
            !page.contains("<no description>") && !page.contains("<empty>"),
            "{path}: {page}"
        );
    }
}

#[test]
fn a_newer_form_of_a_kind_keeps_what_is_stored() {
    let Some(cluster) = Cluster::own("a_newer_form_of_a_kind_keeps_what_is_stored") else {
        return;
    };
    // Given a cluster with an earlier form of Destination, which knows no webhook headers and allows two vendors,
    let mut earlier = serde_json::to_value(schema::destination()).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let fields = earlier.pointer_mut(spec).unwrap();
    fields
        .as_object_mut()
        .unwrap()
        .remove("x-kubernetes-validations")
        .unwrap();
    let webhook = fields.pointer_mut("/properties/webhook/properties").unwrap();
    webhook.as_object_mut().unwrap().remove("headers").unwrap();
    install(&cluster, &earlier);
    let space = cluster.namespace("upgrade");
    let good = destination("", "", json!({})).object;
    let mut bad = destination("", "", json!({"ga4": vendor("ga4"), "webhook": vendor("webhook")})).object;
    bad["metadata"]["name"] = json!("two-vendors");
    wait::until_true("the earlier form is in force", PATIENCE, || {
        space.kubectl_with("apply -f -", &bad.to_string()).success
    });
    space.apply(&good.to_string());

    // when the newer form is installed,
    install(&cluster, &serde_json::to_value(schema::destination()).unwrap());
    wait::until_true("the newer form is in force", PATIENCE, || {
        let mut another = bad.clone();
        another["metadata"]["name"] = json!("another");
        !space
            .kubectl_with("apply --dry-run=server -f -", &another.to_string())
            .success
    });

    // then both objects are there as they were, the one that its rules would refuse as well, which can still be labelled
    // and deleted; and new fields can be used.
    let stored: Destination = space.read("orders");
    assert_eq!(json!(stored.spec)["webhook"]["url"], good["spec"]["webhook"]["url"]);
    let stored: Destination = space.read("two-vendors");
    assert!(stored.spec.ga4.is_some() && stored.spec.webhook.is_some());
    space.kubectl("label dest two-vendors owner=shop").ok();
    space.kubectl("delete dest two-vendors").ok();
    let mut newer = good;
    newer["spec"]["webhook"]["headers"] = json!({"X-Shop": "bowls"});
    space.apply(&newer.to_string());
}

fn install(cluster: &Cluster, crd: &Value) {
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    cluster.kubectl_with(apply, &crd.to_string()).ok();
}

fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in: {text}");
}
