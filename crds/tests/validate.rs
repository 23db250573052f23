//! `validate`: what is wrong with objects that the schema lets pass. Each case is the contract's example with one change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tagfleet_crds::{
    Destination, TaggingContainer,
    validate::{Finding, NamespacedName, Objects, SecretKeys, Setting, validate},
};

const THRESHOLDS: &str = "sku,threshold\nBOWL-10,5\nCUP-1,12\n";

/// The objects of a case, as JSON so that a case can change anything.
#[derive(Clone)]
struct Case {
    objects: Vec<Value>,
    secrets: BTreeMap<NamespacedName, SecretKeys>,
    config_maps: BTreeMap<NamespacedName, BTreeMap<String, String>>,
    setting: Setting,
}

impl Case {
    /// The contract's example with everything that it refers to.
    fn contract() -> Self {
        let text = include_str!("data/contract.yaml");
        let objects = serde_saphyr::from_multiple(text).unwrap();
        let keys = ["mp-secret", "ga4", "meta", "hmac"].map(str::to_owned);
        let shared = SecretKeys {
            keys: BTreeSet::from(keys),
            is_shared: true,
        };
        let table = BTreeMap::from([("thresholds.csv".to_owned(), THRESHOLDS.to_owned())]);
        Self {
            objects,
            secrets: BTreeMap::from([(NamespacedName::new("default", "shop-secrets"), shared)]),
            config_maps: BTreeMap::from([(NamespacedName::new("default", "stock"), table)]),
            setting: Setting::Check,
        }
    }

    fn setting(mut self, setting: Setting) -> Self {
        self.setting = setting;
        self
    }

    fn object(&mut self, name: &str) -> &mut Value {
        self.objects
            .iter_mut()
            .find(|object| object["metadata"]["name"] == name)
            .expect(name)
    }

    /// With the field at this pointer below the object's spec set, or removed by null.
    fn with(mut self, object: &str, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match self
            .object(object)
            .pointer_mut(&format!("/spec{parent}"))
            .expect(pointer)
        {
            Value::Object(fields) if value.is_null() => assert!(fields.remove(name).is_some(), "{pointer}"),
            Value::Object(fields) => _ = fields.insert(name.to_owned(), value),
            Value::Array(elements) => elements.push(value),
            _ => panic!("{pointer}"),
        }
        self
    }

    fn without(mut self, object: &str) -> Self {
        self.objects.retain(|known| known["metadata"]["name"] != object);
        self
    }

    fn findings(&self) -> Vec<Finding> {
        let of_kind = |kind: &str| {
            self.objects
                .iter()
                .filter(|o| o["kind"] == kind)
                .cloned()
                .collect::<Vec<_>>()
        };
        let containers: Vec<TaggingContainer> = of_kind("TaggingContainer")
            .into_iter()
            .map(|o| serde_json::from_value(o).unwrap())
            .collect();
        let destinations: Vec<Destination> = of_kind("Destination")
            .into_iter()
            .map(|o| serde_json::from_value(o).unwrap())
            .collect();
        validate(&Objects {
            containers: containers.iter().collect(),
            destinations: destinations.iter().collect(),
            secrets: self.secrets.clone(),
            config_maps: self.config_maps.clone(),
            setting: self.setting,
        })
    }

    fn told(&self) -> Vec<String> {
        self.findings().iter().map(ToString::to_string).collect()
    }

    /// Asserts that exactly one thing is wrong, and how that begins.
    #[track_caller]
    fn tells(&self, start: &str) {
        let told = self.told();
        assert!(
            told.len() == 1 && told[0].starts_with(start),
            "wanted: {start}\ngot: {told:#?}"
        );
    }
}

#[test]
fn the_contracts_example_is_free_of_mistakes_everywhere() {
    for setting in [Setting::Check, Setting::Files, Setting::Cluster] {
        assert_eq!(Case::contract().setting(setting).told(), Vec::<String>::new());
    }
}

#[test]
fn expressions_are_compiled_where_they_stand() {
    let contract = Case::contract;
    for (object, pointer, value, told) in [
        (
            "meta",
            "/trigger/when",
            json!("event.value >"),
            "Destination/meta: spec.trigger.when: ",
        ),
        (
            "meta",
            "/trigger/when",
            json!("event.event_name"),
            "Destination/meta: spec.trigger.when: must be true or false, and is string",
        ),
        (
            "meta",
            "/trigger/when",
            json!("vars.nowhere"),
            "Destination/meta: spec.trigger.when: ",
        ),
        (
            "meta",
            "/trigger/when",
            json!("request.host == 'a'"),
            "Destination/meta: spec.trigger.when: ",
        ),
        (
            "meta",
            "/metaConversions/parameters",
            json!({"order_id": "event..x"}),
            "Destination/meta: spec.metaConversions.parameters.order_id: ",
        ),
        (
            "promotions",
            "/pubSub/attributes",
            json!({"currency": "currency"}),
            "Destination/promotions: spec.pubSub.attributes.currency: ",
        ),
        (
            "promotions",
            "/pubSub/orderingKey",
            json!("event.timestamp_ms"),
            "Destination/promotions: spec.pubSub.orderingKey: must be text, and is int",
        ),
        (
            "shop",
            "/priority",
            json!("'high'"),
            "TaggingContainer/shop: spec.priority: must be a number, and is string",
        ),
        (
            "shop",
            "/variables/-",
            json!({"name": "x", "expression": "1 +"}),
            "TaggingContainer/shop: spec.variables[1].expression: ",
        ),
        (
            "shop",
            "/variables/-",
            json!({"name": "x", "expression": "vars.x"}),
            "TaggingContainer/shop: spec.variables[1].expression: is computed from itself: it reads vars.x",
        ),
        (
            "shop",
            "/variables/-",
            json!({"name": "x", "expression": "lookup('prices', 'a')"}),
            "TaggingContainer/shop: spec.variables[1].expression: ",
        ),
        (
            "shop",
            "/variables/-",
            json!({"name": "x", "expression": "lookup('stock-thresholds', 'a').treshold"}),
            "TaggingContainer/shop: spec.variables[1].expression: ",
        ),
        (
            "shop",
            "/transformations/-",
            json!({"name": "x", "augment": {"a": "event."}}),
            "TaggingContainer/shop: spec.transformations[2].augment.a: ",
        ),
        (
            "shop",
            "/transformations/-",
            json!({"name": "x", "hash": ["a"], "when": "1"}),
            "TaggingContainer/shop: spec.transformations[2].when: must be true or false, and is int",
        ),
        (
            "shop",
            "/transformations/-",
            json!({"name": "x", "augment": {"a": "request.ip"}, "destinations": ["meta"]}),
            "TaggingContainer/shop: spec.transformations[2].augment.a: ",
        ),
    ] {
        contract().with(object, pointer, value).tells(told);
    }
    let everywhere = json!({"name": "x", "augment": {"host": "request.host"}});
    assert_eq!(
        contract().with("shop", "/transformations/-", everywhere).told(),
        Vec::<String>::new()
    );
}

#[test]
fn cookies_that_cannot_be_set_as_they_are_written_are_told() {
    let told = "TaggingContainer/shop: spec.identity.";
    let with = |identity: Value| Case::contract().with("shop", "/identity", identity);
    let secret = json!({"secretKeyRef": {"name": "shop-secrets", "key": "hmac"}});
    for (identity, start) in [
        (
            json!({"linker": {"key": secret}}),
            format!("{told}linker: needs identity.cookie"),
        ),
        (
            json!({"cookie": {"maxAgeDays": 401}}),
            format!("{told}cookie.maxAgeDays: must be 1 to 400"),
        ),
        (
            json!({"clickIds": true, "cookies": [{"name": "_fbp", "maxAgeDays": 0}]}),
            format!("{told}cookies[0].maxAgeDays: must be 1 to 400"),
        ),
        (
            json!({"cookie": {"name": "_fbp"}, "clickIds": true}),
            format!("{told}cookie.name: the server sets another cookie of the name _fbp"),
        ),
        (
            json!({"cookie": {"name": "FPLC"}, "linker": {"key": secret}}),
            format!("{told}cookie.name: the server sets another cookie of the name FPLC"),
        ),
        (
            json!({"clickIds": true, "cookies": [{"name": "_fbp"}, {"name": "_fbp", "set": false}]}),
            format!("{told}cookies[1].name: the name _fbp is there already"),
        ),
        (
            json!({"cookie": {}, "cookies": [{"name": "FPID", "domain": "ketteringshop.example"}]}),
            format!("{told}cookies[0].domain: none of the hostnames is ketteringshop.example or below it"),
        ),
        (
            json!({"cookie": {}, "cookies": [{"name": "_fbp"}]}),
            format!("warning: {told}cookies[0].name: no effect: this container does not set the cookie _fbp"),
        ),
        (
            json!({"cookie": {"name": "visitor"}, "cookies": [{"name": "FPID"}]}),
            format!("warning: {told}cookies[0].name: no effect"),
        ),
    ] {
        with(identity).tells(&start);
    }
    let fine = json!({"cookie": {}, "clickIds": true, "linker": {"key": secret}, "cookies": [
        {"name": "FPID", "domain": "shop.example"}, {"name": "FPLC", "sameSite": "None"},
        {"name": "_ttp", "domain": "metrics.shop.example", "set": false},
    ]});
    assert_eq!(with(fine).told(), Vec::<String>::new());
    let wildcard = json!({"cookie": {}, "cookies": [{"name": "FPID", "domain": "shop.example"}]});
    let wildcard = with(wildcard).with("shop", "/hostnames", json!(["*.shop.example"]));
    assert_eq!(wildcard.told(), Vec::<String>::new());
}

#[test]
fn a_refused_variable_is_blamed_once_and_not_where_it_is_read() {
    let circle = json!([
        {"name": "low_stock", "expression": "vars.b"},
        {"name": "b", "expression": "vars.low_stock && true"},
    ]);
    assert_eq!(
        Case::contract().with("shop", "/variables", circle).told(),
        [
            "TaggingContainer/shop: spec.variables[0].expression: is computed from itself: it reads vars.b",
            "TaggingContainer/shop: spec.variables[1].expression: is computed from itself: it reads vars.low_stock",
        ]
    );
}

#[test]
fn a_table_that_does_not_parse_is_blamed_once_and_its_readers_are_not() {
    let mut case = Case::contract();
    let table = case.config_maps.values_mut().next().unwrap();
    table.insert("thresholds.csv".to_owned(), "sku,threshold\nBOWL-10\n".to_owned());
    case.tells(
        "TaggingContainer/shop: spec.lookupTables[0].configMapRef: lookup table stock-thresholds: line 2: has 1 fields, \
         the first line 2 (ConfigMap stock, key thresholds.csv)",
    );
    case.config_maps
        .values_mut()
        .next()
        .unwrap()
        .insert("thresholds.csv".to_owned(), "sku,threshold\nA,1\nA,2\n".into());
    case.tells(
        "warning: TaggingContainer/shop: spec.lookupTables[0].configMapRef: lookup table stock-thresholds: of several",
    );
}

#[test]
fn what_is_nowhere_is_a_warning_in_check_and_an_error_where_it_is_served() {
    let mut case = Case::contract().without("meta").without("orders").without("analytics");
    case.secrets.clear();
    let told = "TaggingContainer/shop: spec.clients[1].measurementProtocol.apiSecret.secretKeyRef: ";
    let case = case.with("shop", "/transformations", json!([]));
    case.tells(&format!(
        "warning: {told}the Secret shop-secrets is nowhere in the given files"
    ));
    case.clone()
        .setting(Setting::Files)
        .tells(&format!("{told}the Secret shop-secrets is nowhere"));
    case.setting(Setting::Cluster)
        .tells(&format!("{told}there is no Secret shop-secrets in namespace default"));

    let mut case = Case::contract();
    case.config_maps.clear();
    let told = "TaggingContainer/shop: spec.lookupTables[0].configMapRef: ";
    case.tells(&format!(
        "warning: {told}the ConfigMap stock is nowhere in the given files"
    ));
    case.setting(Setting::Files)
        .tells(&format!("{told}the ConfigMap stock is nowhere"));
}

#[test]
fn a_container_that_is_nowhere_is_a_slip_of_the_pen_only_if_another_is_there() {
    let alone = Case::contract()
        .without("shop")
        .without("meta")
        .without("orders")
        .without("analytics")
        .without("promotions");
    alone.tells(
        "warning: Destination/low-stock: spec.containerRefs[0].name: the TaggingContainer shop is nowhere in the",
    );
    let wrong = json!([{"name": "shoop"}]);
    Case::contract()
        .with("low-stock", "/containerRefs", wrong)
        .tells("Destination/low-stock: spec.containerRefs[0].name: there is no TaggingContainer shoop; given: shop");
    alone
        .setting(Setting::Cluster)
        .tells("Destination/low-stock: spec.containerRefs[0].name: there is no TaggingContainer shop");
}

#[test]
fn expressions_of_a_destination_without_its_container_are_compiled_as_far_as_they_can() {
    let alone = Case::contract()
        .without("shop")
        .without("meta")
        .without("orders")
        .without("analytics")
        .without("promotions");
    let told = alone
        .clone()
        .with(
            "low-stock",
            "/trigger/when",
            json!("vars.a && lookup('t', 'k').b == 'c'"),
        )
        .told();
    assert_eq!(told.len(), 1, "{told:?}");
    let told = alone.with("low-stock", "/trigger/when", json!("vars.a &&")).told();
    assert!(
        told.len() == 2 && told[1].starts_with("Destination/low-stock: spec.trigger.when: "),
        "{told:?}"
    );
}

#[test]
fn a_key_that_is_missing_and_a_secret_that_is_not_shared_are_errors() {
    let mut case = Case::contract();
    case.secrets.values_mut().next().unwrap().keys.remove("meta");
    case.tells(
        "Destination/meta: spec.metaConversions.accessToken.secretKeyRef: the Secret shop-secrets has no key meta",
    );
    let mut case = Case::contract();
    case.config_maps.values_mut().next().unwrap().clear();
    case.tells(
        "TaggingContainer/shop: spec.lookupTables[0].configMapRef: the ConfigMap stock has no key thresholds.csv",
    );

    let mut case = Case::contract().setting(Setting::Cluster);
    case.secrets.values_mut().next().unwrap().is_shared = false;
    let told = case.told();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter().all(|told| told
            .ends_with("kubectl label secret --namespace default shop-secrets tagfleet.dev/credentials=true")),
        "{told:?}"
    );
}

#[test]
fn objects_of_other_namespaces_are_not_seen() {
    let mut case = Case::contract();
    case.object("orders")["metadata"]["namespace"] = json!("elsewhere");
    let told = case.told();
    assert!(
        told.iter()
            .any(|t| t.starts_with("warning: Destination/orders: spec.containerRefs[0].name: ")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|t| t.starts_with("warning: Destination/orders: spec.webhook.hmac.secretKeyRef: ")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|t| t.contains("the Destination orders is nowhere")),
        "{told:?}"
    );
}

#[test]
fn a_container_is_checked_beyond_its_schema() {
    for (pointer, value, told) in [
        (
            "/trustedProxies",
            json!(["10.0.0.0/8", "10.0.0.0/33"]),
            "TaggingContainer/shop: spec.trustedProxies[1]: must be a range",
        ),
        (
            "/cors",
            json!({"allowedOrigins": ["https://a.example/x"]}),
            "TaggingContainer/shop: spec.cors.allowedOrigins[0]: must be scheme and host",
        ),
        (
            "/gatewayRefs",
            json!([{"name": "g"}]),
            "TaggingContainer/shop: spec.gatewayRefs: set at most one way in",
        ),
        (
            "/replicas/min",
            json!(21),
            "TaggingContainer/shop: spec.replicas.min: min (21) must not be greater than max (20)",
        ),
        (
            "/enrich",
            json!({"geo": {"file": "/geo/city.mmdb", "url": "https://files.example/city.mmdb"}}),
            "TaggingContainer/shop: spec.enrich.geo: set exactly one source of geo: file, url, headers",
        ),
        (
            "/enrich",
            json!({"geo": {"refreshInterval": "1h"}}),
            "TaggingContainer/shop: spec.enrich.geo: set exactly one source of geo: file, url, headers",
        ),
        (
            "/enrich",
            json!({"geo": {"url": "https://user:hunter2@files.example/city.mmdb"}}),
            "TaggingContainer/shop: spec.enrich.geo.url: must not hold user or password",
        ),
        (
            "/enrich",
            json!({"geo": {"file": "/geo/city.mmdb", "refreshInterval": "1h"}}),
            "warning: TaggingContainer/shop: spec.enrich.geo.refreshInterval: is for url",
        ),
        (
            "/clients",
            json!([]),
            "warning: TaggingContainer/shop: spec.clients: without a client",
        ),
        (
            "/clients/-",
            json!({"name": "web", "pixel": {}}),
            "TaggingContainer/shop: spec.clients[3].name: the name web is there already",
        ),
        (
            "/clients/-",
            json!({"name": "a"}),
            "TaggingContainer/shop: spec.clients[3]: set exactly one kind of client",
        ),
        (
            "/clients/-",
            json!({"name": "a", "pixel": {"path": "/v1/events"}}),
            "warning: TaggingContainer/shop: spec.clients[3]: never gets a hit at /v1/events: client app claims it first",
        ),
        (
            "/clients/-",
            json!({"name": "a", "pixel": {"path": "/healthz"}}),
            "TaggingContainer/shop: spec.clients[3]: the path /healthz is the server's own",
        ),
        (
            "/clients/-",
            json!({"name": "a", "json": {"path": "/b", "auth": {}}}),
            "TaggingContainer/shop: spec.clients[3].json.auth: set exactly one way",
        ),
        (
            "/buffer",
            json!({"memory": {}, "disk": {}}),
            "TaggingContainer/shop: spec.buffer: set at most one kind of buffer",
        ),
        (
            "/buffer",
            json!({"memory": {"maxBytes": "0"}}),
            "TaggingContainer/shop: spec.buffer.memory.maxBytes: must be more than 0",
        ),
        (
            "/buffer",
            json!({"disk": {"maxBytes": "2Gi", "volume": {"size": "2Gi"}}}),
            "TaggingContainer/shop: spec.buffer.disk.volume.size: 2Gi is less than the buffer (2Gi) and the dead letters (512Mi)",
        ),
        (
            "/limits",
            json!({"requestBytes": 0}),
            "TaggingContainer/shop: spec.limits.requestBytes: must be more than 0",
        ),
        (
            "/transformations/-",
            json!({"name": "x"}),
            "TaggingContainer/shop: spec.transformations[2]: set exactly one kind",
        ),
        (
            "/transformations/-",
            json!({"name": "x", "exclude": ["user_data..a"]}),
            "TaggingContainer/shop: spec.transformations[2].exclude[0]: `user_data..a` is no parameter",
        ),
        (
            "/transformations/-",
            json!({"name": "x", "exclude": ["event.value"]}),
            "TaggingContainer/shop: spec.transformations[2].exclude[0]: name the parameter without `event.`: value",
        ),
        (
            "/transformations/-",
            json!({"name": "x", "exclude": ["a"], "destinations": ["order"]}),
            "warning: TaggingContainer/shop: spec.transformations[2].destinations[0]: the Destination order is nowhere",
        ),
        (
            "/validation",
            json!([{"schema": {"required": ["value"]}}, {"schema": {"properties": {"value": {"type": "nmber"}}}}]),
            "TaggingContainer/shop: spec.validation[1].schema: /properties/value/type: \"nmber\" is not",
        ),
        (
            "/validation",
            json!([{"schema": {"$ref": "https://schemas.shop.example/event.json"}}]),
            "TaggingContainer/shop: spec.validation[0].schema: `$ref: https://schemas.shop.example/event.json` is not followed",
        ),
        (
            "/validation",
            json!([{"events": ["purchase"], "schema": {}}]),
            "warning: TaggingContainer/shop: spec.validation[0].schema: an empty schema allows every event",
        ),
        (
            "/telemetry",
            json!({"otlp": {"endpoint": "grpc://collector"}}),
            "TaggingContainer/shop: spec.telemetry.otlp.endpoint: must begin with http:// or https://",
        ),
    ] {
        Case::contract().with("shop", pointer, value).tells(told);
    }
}

#[test]
fn a_destination_is_checked_beyond_its_schema() {
    for (object, pointer, value, told) in [
        (
            "orders",
            "/ga4",
            json!({"measurementId": "G-1"}),
            "Destination/orders: spec: set exactly one vendor: ga4, ",
        ),
        (
            "orders",
            "/containerRefs/-",
            json!({"name": "shop"}),
            "Destination/orders: spec.containerRefs[1].name: the name shop is there already",
        ),
        (
            "orders",
            "/webhook/url",
            json!("https://user:pass@shop.example"),
            "Destination/orders: spec.webhook.url: must not hold user or password",
        ),
        (
            "orders",
            "/webhook/url",
            json!("file:///etc/passwd"),
            "Destination/orders: spec.webhook.url: must begin with http:// or https://",
        ),
        (
            "orders",
            "/webhook/url",
            json!("https://shop.example:99999"),
            "Destination/orders: spec.webhook.url: is no URL: ",
        ),
        (
            "orders",
            "/webhook/endpoint",
            json!("https://proxy.example/a"),
            "Destination/orders: spec.webhook.endpoint: must be scheme and host only",
        ),
        (
            "orders",
            "/webhook/headers",
            json!({"X Y": "a"}),
            "Destination/orders: spec.webhook.headers.X Y: is no header that may be set",
        ),
        (
            "orders",
            "/webhook/headers",
            json!({"host": "a"}),
            "Destination/orders: spec.webhook.headers.host: is no header that may be set",
        ),
        (
            "orders",
            "/webhook/headers",
            json!({"X-A": "a\r\nX-B: c"}),
            "Destination/orders: spec.webhook.headers.X-A: its value has characters that no header may hold",
        ),
        (
            "orders",
            "/webhook/headers",
            json!({"X-A": {"secretKeyRef": {"name": "shop-secrets", "key": "k"}}}),
            "Destination/orders: spec.webhook.headers.X-A.secretKeyRef: the Secret shop-secrets has no key k",
        ),
        (
            "orders",
            "/delivery/timeout",
            json!("0s"),
            "Destination/orders: spec.delivery.timeout: must be longer than 0s",
        ),
        (
            "orders",
            "/delivery/retry/initialBackoff",
            json!("6m"),
            "Destination/orders: spec.delivery.retry.initialBackoff: initialBackoff (6m) must not be longer than maxBackoff (5m)",
        ),
        (
            "orders",
            "/delivery/retry/maxAge",
            json!("1s"),
            "Destination/orders: spec.delivery.batch.maxDelay: events would be too old",
        ),
        (
            "orders",
            "/receives",
            json!(["contact", "personal"]),
            "Destination/orders: spec.receives[0]: the container shop defines no class contact",
        ),
        (
            "low-stock",
            "/pubSub/topic",
            json!("google"),
            "Destination/low-stock: spec.pubSub.topic: must be a topic's id",
        ),
        (
            "low-stock",
            "/pubSub/topic",
            json!("ab"),
            "Destination/low-stock: spec.pubSub.topic: must be a topic's id",
        ),
        (
            "low-stock",
            "/pubSub/topic",
            Value::Null,
            "Destination/low-stock: spec.pubSub: set exactly one topic",
        ),
        (
            "low-stock",
            "/pubSub/attributes",
            json!({"google": "'a'"}),
            "warning: Destination/low-stock: spec.pubSub.attributes.google: ",
        ),
    ] {
        Case::contract().with(object, pointer, value).tells(told);
    }
}

#[test]
fn the_second_of_two_objects_of_one_name_is_refused() {
    let mut case = Case::contract();
    let again = case.object("orders").clone();
    case.objects.push(again);
    case.tells("Destination/orders: metadata.name: there is another Destination of this name in namespace default");
}

#[test]
fn a_reason_is_one_word_for_programs() {
    let findings = Case::contract().with("orders", "/webhook/url", json!("x")).findings();
    assert_eq!(findings[0].reason, "Invalid");
    assert!(findings[0].is_error());
    let findings = Case::contract().with("meta", "/trigger/when", json!("1")).findings();
    assert_eq!(findings[0].reason, "ExpressionType");
}

#[test]
fn anonymize_is_for_vendors_that_take_events_without_identifiers() {
    let anonymize = |requires: Value| json!({"requires": requires, "onDenied": "Anonymize"});
    let asked = || anonymize(json!(["ad_storage"]));
    for own in ["orders", "low-stock", "promotions"] {
        let case = Case::contract().with(own, "/consent", asked());
        assert_eq!(case.told(), Vec::<String>::new());
    }
    Case::contract().with("meta", "/consent", asked()).tells(
        "Destination/meta: spec.consent.onDenied: metaConversions can do nothing with an event without identifiers: \
         write Drop",
    );
    let by_the_protocol = Case::contract().with("analytics", "/consent", asked());
    by_the_protocol.tells("Destination/analytics: spec.consent.onDenied: GA4 takes no event without a client_id");
    let forwarded = by_the_protocol.with("analytics", "/ga4/apiSecret", Value::Null);
    assert_eq!(forwarded.told(), Vec::<String>::new());
    Case::contract()
        .with("orders", "/consent", anonymize(json!([])))
        .tells("warning: Destination/orders: spec.consent.onDenied: consent.requires is empty");
}

#[test]
fn a_region_is_told_and_listed_once() {
    let consent = json!({"regions": [
        {"region": ["DE", "US-CA"], "default": {"ad_storage": "denied"}},
        {"region": ["US", "DE"], "default": {"ad_storage": "granted"}},
    ]});
    let case = Case::contract().with("shop", "/consent", consent);
    assert_eq!(
        case.told(),
        [
            "warning: TaggingContainer/shop: spec.consent.regions: without enrich.geo no visitor's region is known, and \
             consent.default holds for all",
            "TaggingContainer/shop: spec.consent.regions[1].region[1]: DE stands in consent.regions[0] already: which of \
             the two is meant?",
        ]
    );
    let known = case.with(
        "shop",
        "/enrich",
        json!({"geo": {"headers": {"country": "CF-IPCountry"}}}),
    );
    known.tells("TaggingContainer/shop: spec.consent.regions[1].region[1]: ");
}

#[test]
fn a_place_by_headers_needs_somebody_to_believe() {
    let headers = json!({"geo": {"headers": {"country": "CF-IPCountry"}}});
    let case = Case::contract().with("shop", "/enrich", headers);
    assert_eq!(case.told(), Vec::<String>::new());
    case.with("shop", "/trustedProxies", json!([]))
        .tells("warning: TaggingContainer/shop: spec.enrich.geo.headers: are believed from trusted proxies alone");
}

#[test]
fn a_file_of_places_is_on_a_machine_and_in_no_pod() {
    let case = Case::contract().with("shop", "/enrich", json!({"geo": {"file": "/geo/city.mmdb"}}));
    assert_eq!(case.clone().setting(Setting::Files).told(), Vec::<String>::new());
    case.setting(Setting::Cluster)
        .tells("warning: TaggingContainer/shop: spec.enrich.geo.file: no volume can be mounted in a gateway's pod");
}
