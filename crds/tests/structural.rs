//! Both CRDs hold to Kubernetes' rules for structural schemas, and every rule in them is documented, bounded and cheap.
//! Reference: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use kube::CustomResourceExt as _;
use regex::Regex;
use serde_json::Value;
use tagfleet_crds::schema;

/// Formats that the API server knows; of others it warns.
const FORMATS: [&str; 6] = ["int32", "int64", "float", "double", "date-time", "byte"];
/// Keywords that a structural schema may not have, or that these need not have.
const FORBIDDEN: [&str; 13] = [
    "$ref",
    "definitions",
    "$defs",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "nullable",
    "title",
    "uniqueItems",
    "patternProperties",
    "additionalItems",
    "const",
];

fn schemas() -> Vec<(&'static str, Value)> {
    [
        ("TaggingContainer", schema::tagging_container()),
        ("Destination", schema::destination()),
    ]
    .into_iter()
    .map(|(kind, crd)| {
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema;
        (kind, serde_json::to_value(schema).unwrap())
    })
    .collect()
}

/// Visits every node with its path and whether it is inside of a list.
fn walk(path: &str, in_list: bool, node: &Value, visit: &mut dyn FnMut(&str, bool, &Value)) {
    visit(path, in_list, node);
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), in_list, child, visit);
    }
    for (key, is_list) in [("items", true), ("additionalProperties", in_list)] {
        if node[key].is_object() {
            walk(&format!("{path}[]"), is_list, &node[key], visit);
        }
    }
}

fn for_each_node(mut visit: impl FnMut(&str, bool, &Value)) {
    for (kind, schema) in schemas() {
        walk(kind, false, &schema, &mut visit);
    }
}

#[test]
fn every_node_has_a_type_and_no_forbidden_keyword() {
    for_each_node(|path, _, node| {
        for keyword in FORBIDDEN {
            assert!(node.get(keyword).is_none(), "{path}: {keyword}");
        }
        let typeless =
            node["x-kubernetes-int-or-string"] == true || node["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(typeless || node["type"].is_string(), "{path}: has no type");
        assert!(
            node["properties"].is_null() || node["additionalProperties"].is_null(),
            "{path}: is map and object"
        );
        assert!(
            !node["additionalProperties"].is_boolean(),
            "{path}: additionalProperties is a flag"
        );
        let format = node["format"].as_str();
        assert!(
            format.is_none_or(|format| FORMATS.contains(&format)),
            "{path}: unknown format {format:?}"
        );
    });
}

#[test]
fn every_text_list_and_map_is_bounded() {
    for_each_node(|path, _, node| match node["type"].as_str() {
        Some("string") => assert!(
            node["maxLength"].is_u64() || node["enum"].is_array(),
            "{path}: no maxLength"
        ),
        Some("array") => {
            assert!(node["maxItems"].is_u64(), "{path}: no maxItems");
            assert!(node["items"].is_object(), "{path}: no items");
        }
        Some("object") if node["additionalProperties"].is_object() => {
            assert!(node["maxProperties"].is_u64(), "{path}: no maxProperties");
        }
        Some("object") => {
            let is_open = node["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(
                is_open || node["properties"].is_object(),
                "{path}: neither map nor object"
            );
        }
        _ => {}
    });
}

#[test]
fn the_bounds_are_the_contracts() {
    let schemas = schemas();
    for (pointer, keyword, most) in [
        ("/0/hostnames", "maxItems", 50),
        ("/0/clients", "maxItems", 20),
        ("/0/variables", "maxItems", 200),
        ("/0/transformations", "maxItems", 200),
        ("/0/lookupTables", "maxItems", 50),
        ("/0/variables/items/properties/name", "maxLength", 63),
        ("/0/variables/items/properties/expression", "maxLength", 4096),
        ("/1/containerRefs", "maxItems", 50),
        ("/1/trigger/properties/events", "maxItems", 200),
        ("/1/trigger/properties/when", "maxLength", 4096),
        ("/1/webhook/properties/url", "maxLength", 2048),
    ] {
        let (kind, field) = pointer.trim_start_matches('/').split_once('/').unwrap();
        let schema = &schemas[kind.parse::<usize>().unwrap()].1;
        let node = schema
            .pointer(&format!("/properties/spec/properties/{field}"))
            .expect(pointer);
        assert_eq!(node[keyword], most, "{pointer}");
    }
}

#[test]
fn list_types_name_fields_that_every_element_has() {
    for_each_node(|path, _, node| match node["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            for key in node["x-kubernetes-list-map-keys"].as_array().unwrap() {
                let items = &node["items"];
                assert!(
                    items["properties"][key.as_str().unwrap()]["type"] == "string",
                    "{path}: {key} is no text"
                );
                assert!(
                    items["required"].as_array().unwrap().contains(key),
                    "{path}: {key} is not required"
                );
            }
        }
        Some("set") => assert_eq!(node["items"]["type"], "string", "{path}: only texts are compared"),
        Some("atomic") | None => assert!(node["x-kubernetes-list-map-keys"].is_null(), "{path}"),
        Some(other) => panic!("{path}: unknown list type {other}"),
    });
}

#[test]
fn every_field_is_documented_and_every_required_field_exists() {
    for_each_node(|path, _, node| {
        for (name, child) in node["properties"].as_object().into_iter().flatten() {
            let text = child["description"].as_str().unwrap_or_default();
            assert!(text.len() > 5, "{path}.{name}: no description");
        }
        for name in node["required"].as_array().into_iter().flatten() {
            assert!(
                node["properties"][name.as_str().unwrap()].is_object(),
                "{path}: {name} is required and unknown"
            );
        }
    });
}

#[test]
fn patterns_compile_and_defaults_fit() {
    for_each_node(|path, in_list, node| {
        let pattern = node["pattern"].as_str().map(|pattern| Regex::new(pattern).expect(path));
        let default = &node["default"];
        if default.is_null() {
            return;
        }
        // GitOps tools compare lists as a whole: a default filled into an element would show as a difference for ever.
        assert!(!in_list, "{path}: default within a list");
        let fits = match node["type"].as_str() {
            Some("string") => default.is_string(),
            Some("integer") => default.is_i64(),
            Some("number") => default.is_number(),
            Some("boolean") => default.is_boolean(),
            // A default on an object would be written into every stored object.
            Some(_) => false,
            None => default.is_string(),
        };
        assert!(fits, "{path}: default {default}");
        if let (Some(pattern), Some(text)) = (pattern, default.as_str()) {
            assert!(pattern.is_match(text), "{path}: default {default}");
        }
        if let Some(values) = node["enum"].as_array() {
            assert!(values.contains(default), "{path}: default {default}");
        }
    });
}

#[test]
fn every_rule_has_a_message_in_one_line() {
    let mut count = 0;
    for_each_node(|path, _, node| {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().expect(path);
            assert!(
                !message.is_empty() && !message.contains('\n') && message.len() < 2048,
                "{path}: {message}"
            );
            count += 1;
        }
    });
    assert!(count > 20, "only {count} rules found");
}

#[test]
fn the_names_are_the_contracts() {
    let container = schema::tagging_container();
    let destination = schema::destination();
    for (crd, plural, short) in [
        (&container, "taggingcontainers", "tc"),
        (&destination, "destinations", "dest"),
    ] {
        let names = &crd.spec.names;
        assert_eq!(crd.spec.group, "tagfleet.dev");
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(names.plural, plural);
        assert_eq!(names.short_names.as_deref(), Some(&[short.to_owned()][..]));
        assert_eq!(names.categories.as_deref(), Some(&["tagfleet".to_owned()][..]));
        assert_eq!(crd.spec.versions.len(), 1);
        assert_eq!(crd.spec.versions[0].name, "v1alpha1");
        assert!(
            crd.spec.versions[0]
                .subresources
                .as_ref()
                .is_some_and(|sub| sub.status.is_some())
        );
    }
    assert_eq!(
        tagfleet_crds::TaggingContainer::crd_name(),
        "taggingcontainers.tagfleet.dev"
    );
}

#[test]
fn the_columns_show_fields_that_exist() {
    let in_brackets = Regex::new(r"\[[^]]*\]").unwrap();
    for (crd, columns) in [
        (
            schema::tagging_container(),
            ["Hostname", "Ready", "Destinations", "Events/s", "Errors", "Age"],
        ),
        (
            schema::destination(),
            ["Container", "Vendor", "Delivering", "Lag", "Last Error", "Age"],
        ),
    ] {
        let version = &crd.spec.versions[0];
        let schema = serde_json::to_value(version.schema.clone().unwrap().open_api_v3_schema).unwrap();
        let shown = version.additional_printer_columns.as_ref().unwrap();
        assert_eq!(
            shown.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            columns
        );
        for column in shown
            .iter()
            .filter(|column| column.json_path != ".metadata.creationTimestamp")
        {
            let path = in_brackets
                .replace(&column.json_path, ".items")
                .replace('.', "/properties/");
            let path = path.replace("/properties/items", "/items");
            assert!(schema.pointer(&path).is_some(), "{}: {path}", column.name);
        }
    }
}
