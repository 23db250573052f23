//! The children of fleets as text: `tests/golden/<case>/in.yaml` holds a container with all that it refers to, `out.yaml` all
//! children that come of it. With `UPDATE_GOLDEN=1` the second is written anew, to be read before it is committed.
//!
//! **A change of `spec.template` in an `out.yaml` rolls every pod of every fleet of every user as soon as the operator is
//! upgraded.** An upgrade of the operator alone is to roll none: the template depends on the container's specification, its
//! name, the image and `--allowed-private-destinations`. If a template must change, the changelog says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tagfleet_crds::{DestinationSpec, SecretKeyRef, TaggingContainerSpec};
use tagfleet_operator::{
    build,
    child::{Child, ChildKind},
    fleet::{ConfigMapKey, Fleet, Form, OptionalKinds, Settings},
};

const UID: &str = "4a8bd4a3-8c1d-4b1f-9a55-0d1c5f0f6a01";
const IMAGE: &str = "registry.example/tagfleet-gateway:1.0.0";

/// The operator's settings, as a document of an `in.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct SettingsDocument {
    #[serde(rename = "kind")]
    _kind: String,
    api_server: BTreeSet<std::net::SocketAddr>,
    allowed_private_destinations: Vec<ipnet::IpNet>,
    kinds: BTreeSet<String>,
}

impl Default for SettingsDocument {
    fn default() -> Self {
        Self {
            _kind: String::new(),
            api_server: BTreeSet::new(),
            allowed_private_destinations: Vec::new(),
            kinds: ["HTTPRoute", "ServiceMonitor", "PrometheusRule"]
                .map(str::to_owned)
                .into(),
        }
    }
}

impl From<SettingsDocument> for Settings {
    fn from(document: SettingsDocument) -> Self {
        Self {
            operator_namespace: Some("tagfleet-system".into()),
            gateway_image: IMAGE.into(),
            allowed_private_destinations: document.allowed_private_destinations,
            api_server: document.api_server,
            kinds: OptionalKinds {
                http_route: document.kinds.contains("HTTPRoute"),
                service_monitor: document.kinds.contains("ServiceMonitor"),
                prometheus_rule: document.kinds.contains("PrometheusRule"),
            },
        }
    }
}

/// The folders of all cases.
fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 8, "{cases:?}");
    cases
}

fn case(name: &str) -> Fleet {
    fleet(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

/// The fleet of an `in.yaml`.
fn fleet(case: &Path) -> Fleet {
    let text = fs::read_to_string(case.join("in.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let container = of_kind("TaggingContainer").next().unwrap();
    let destinations: BTreeMap<String, Form<DestinationSpec>> = of_kind("Destination")
        .map(|destination| (name(destination), form(destination)))
        .collect();
    let settings: SettingsDocument = of_kind("Settings").next().map(typed).unwrap_or_default();
    let container_form: Form<TaggingContainerSpec> = form(container);
    let settings = Settings::from(settings);
    Fleet {
        namespace: container["metadata"]["namespace"].as_str().unwrap().into(),
        name: name(container),
        tables: tables(&container_form.spec, &of_kind("ConfigMap").collect::<Vec<_>>()),
        credentials: credentials(
            &container_form.spec,
            &destinations,
            &of_kind("Secret").collect::<Vec<_>>(),
        ),
        image: container_form
            .spec
            .image
            .clone()
            .unwrap_or_else(|| settings.gateway_image.clone()),
        container: container_form,
        destinations,
        settings,
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().into()
}

fn form<S: DeserializeOwned>(object: &Value) -> Form<S> {
    Form {
        spec: typed(&object["spec"]),
        uid: object["metadata"]["uid"].as_str().unwrap().into(),
        generation: object["metadata"]["generation"].as_i64().unwrap(),
    }
}

fn tables(container: &TaggingContainerSpec, config_maps: &[&Value]) -> BTreeMap<ConfigMapKey, String> {
    let text = |map: &str, key: &str| {
        let found = config_maps.iter().find(|it| name(it) == map).unwrap();
        found["data"][key].as_str().unwrap().to_owned()
    };
    container
        .lookup_tables
        .iter()
        .map(|table| {
            let (config_map, key) = (table.config_map_ref.name.clone(), table.config_map_ref.key.clone());
            let text = text(&config_map, &key);
            (ConfigMapKey { config_map, key }, text)
        })
        .collect()
}

fn credentials(
    container: &TaggingContainerSpec,
    destinations: &BTreeMap<String, Form<DestinationSpec>>,
    secrets: &[&Value],
) -> BTreeMap<String, ByteString> {
    let of_container = container.secrets();
    let of_destinations = destinations
        .values()
        .flat_map(|destination| destination.spec.vendor().unwrap().secrets());
    of_container
        .into_iter()
        .chain(of_destinations)
        .map(|(_, SecretKeyRef { name: secret, key })| {
            let found = secrets.iter().find(|it| name(it) == *secret).unwrap();
            let value = found["stringData"][key].as_str().unwrap();
            (
                build::credentials::key(secret, key),
                ByteString(value.as_bytes().to_vec()),
            )
        })
        .collect()
}

/// The children as one text of several documents.
fn yaml(children: &[Child]) -> String {
    children
        .iter()
        .map(|child| format!("---\n{}", serde_saphyr::to_string(&child.object).unwrap()))
        .collect()
}

/// Every value in a tree, with its path.
fn walk(at: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(at, value);
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| walk(&format!("{at}.{name}"), field, visit)),
        Value::Array(items) => items.iter().for_each(|item| walk(&format!("{at}[]"), item, visit)),
        _ => {}
    }
}

#[test]
fn children_come_out_as_in_the_golden_files() {
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    for case in cases() {
        let found = yaml(&build::children(&fleet(&case)));
        let golden = case.join("out.yaml");
        if update {
            fs::write(&golden, &found).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != found {
            differing.push(golden);
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} differ; write them with UPDATE_GOLDEN=1, and read what has changed"
    );
}

#[test]
fn the_golden_files_read_back_as_the_children() {
    for case in cases() {
        let text = fs::read_to_string(case.join("out.yaml")).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let children: Vec<Value> = build::children(&fleet(&case)).into_iter().map(|it| it.object).collect();
        assert_eq!(read, children, "{}", case.display());
    }
}

#[test]
fn every_child_says_what_it_is_and_whose() {
    for case in cases() {
        let fleet = fleet(&case);
        for child in build::children(&fleet) {
            let (object, gvk) = (&child.object, child.kind.gvk());
            assert_eq!(object["apiVersion"], gvk.api_version());
            assert_eq!(object["kind"], gvk.kind);
            let metadata = &object["metadata"];
            assert_eq!(metadata["name"], child.name);
            assert_eq!(metadata["namespace"], fleet.namespace);
            assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "tagfleet-gateway");
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], fleet.name);
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "tagfleet-operator");
            let owners = metadata["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), 1);
            assert_eq!(owners[0]["uid"], UID);
            assert_eq!(owners[0]["controller"], true);
        }
    }
}

#[test]
fn children_come_in_the_order_of_applying_and_each_once() {
    for case in cases() {
        let children = build::children(&fleet(&case));
        let order: Vec<_> = children.iter().map(|child| (child.kind, child.name.clone())).collect();
        let kinds: Vec<_> = order.iter().map(|(kind, _)| *kind).collect();
        assert!(kinds.is_sorted(), "{kinds:?}");
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
    }
}

#[test]
fn nothing_is_null_or_empty_but_what_the_user_left_so() {
    for case in cases() {
        for child in build::children(&fleet(&case)) {
            walk(&child.kind.gvk().kind, &child.object, &mut |at, value| {
                let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty);
                let is_the_users = at.ends_with("namespaceSelector");
                assert!(!value.is_null() && (!is_empty || is_the_users), "{at}: {value}");
            });
        }
    }
}

#[test]
fn an_autoscaler_owns_the_replicas() {
    for case in cases() {
        for child in build::children(&fleet(&case)) {
            assert!(child.object["spec"].get("replicas").is_none(), "{}", child.name);
        }
    }
}

/// The pod template of a fleet.
fn template(fleet: &Fleet) -> Value {
    let children = build::children(fleet);
    let mut templates = children.iter().filter_map(|child| child.object["spec"].get("template"));
    templates.next().unwrap().clone()
}

#[test]
fn neither_configuration_nor_credentials_nor_the_operators_whereabouts_roll_a_pod() {
    let before = case("example");
    let mut after = before.clone();
    after.container.generation += 1;
    after.container.spec.variables.clear();
    after.destinations.clear();
    after.tables.clear();
    after.credentials.clear();
    after.settings.operator_namespace = None;
    after.settings.gateway_image = "registry.example/tagfleet-gateway:2.0.0".into();
    after.settings.kinds = OptionalKinds::default();
    assert_eq!(template(&before), template(&after));
}

#[test]
fn another_image_rolls_the_pods() {
    let before = case("example");
    let mut after = before.clone();
    after.image = "registry.example/tagfleet-gateway:2.0.0".into();
    assert_ne!(template(&before), template(&after));
}

#[test]
fn only_referenced_keys_of_secrets_and_config_maps_come_out() {
    let text = yaml(&build::children(&case("example")));
    assert!(!text.contains("unused"));
    assert!(!text.contains("czNjcmV0LTU="), "the value of `unused`");
}

#[test]
fn no_secret_stands_anywhere_but_in_the_secret() {
    for child in build::children(&case("example")) {
        let text = child.object.to_string();
        // `s3cret-` in the clear, and in base64.
        let has_a_secret = text.contains("s3cret-") || text.contains("czNjcmV0");
        assert_eq!(has_a_secret, child.kind == ChildKind::Secret, "{}", child.name);
    }
}

#[test]
fn the_configurations_size_is_that_of_the_config_maps_values() {
    let fleet = case("example");
    let children = build::children(&fleet);
    let config = children.iter().find(|child| child.name == "shop-config").unwrap();
    let values = config.object["data"].as_object().unwrap().values();
    let bytes: usize = values.map(|value| value.as_str().unwrap().len()).sum();
    assert_eq!(build::config::size(&fleet), bytes);
    assert!(bytes < build::config::LIMIT_BYTES);
}

#[test]
fn the_config_map_holds_what_is_in_force_as_manifests() {
    let fleet = case("example");
    let children = build::children(&fleet);
    let config = children
        .iter()
        .find(|child| child.kind == ChildKind::ConfigMap)
        .unwrap();
    let manifest =
        |file: &str| -> Value { serde_json::from_str(config.object["data"][file].as_str().unwrap()).unwrap() };
    assert_eq!(
        form::<TaggingContainerSpec>(&manifest("tagging-container.yaml")),
        fleet.container
    );
    for (name, destination) in &fleet.destinations {
        assert_eq!(
            form::<DestinationSpec>(&manifest(&format!("destination-{name}.yaml"))),
            *destination
        );
    }
    let thresholds = &manifest("config-map-stock.yaml")["data"]["thresholds.csv"];
    assert_eq!(*thresholds, "sku,threshold\nBOWL-10,5\n\"BOWL, large\",3\n");
}
