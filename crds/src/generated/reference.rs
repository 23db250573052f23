//! The reference page of a kind: a table of fields for each object of its schema.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// Objects of Kubernetes itself, which its own documentation describes.
const KUBERNETES_OBJECTS: [(&str, &str); 6] = [
    ("spec.pod.affinity", "Affinity"),
    ("spec.pod.tolerations[]", "Toleration"),
    ("spec.networkPolicy.ingress[]", "NetworkPolicyPeer"),
    ("spec.networkPolicy.monitoring[]", "NetworkPolicyPeer"),
    ("spec.networkPolicy.egress[]", "NetworkPolicyEgressRule"),
    ("spec.validation[].schema", "JSON Schema"),
];

/// How the types of the tables are written.
const CONVENTIONS: &str = "\
A *duration* is text such as `10s`, `5m`, `48h` or `1h30m`. A *size* is a quantity of bytes such as `512Mi` or `2Gi`. An \
*expression* is CEL, see [expressions](../expressions.md). A *Secret key* is written `{secretKeyRef: {name: ..., key: ...}}` and \
names a Secret of the same namespace; in a cluster the Secret carries the label `tagfleet.dev/credentials: \"true\"`. Unknown \
fields are refused.\n\n";

/// The page of a kind.
pub(super) fn page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let version = crd.spec.versions.first();
    let schema = version
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok())
        .unwrap_or_default();
    let mut page = format!(
        "<!-- Generated from crds/src by `make generate`; changes made here are lost. -->\n\
         # {}\n\n{}\n\n\
         `apiVersion: {}/{}`, `kind: {}`; short name `{}`, category `{}`, namespaced.\n\n",
        names.kind,
        text(&schema, "description"),
        crd.spec.group,
        version.map_or("", |version| version.name.as_str()),
        names.kind,
        names
            .short_names
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join("`, `"),
        names
            .categories
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join("`, `"),
    );
    page.push_str(CONVENTIONS);
    rules(&mut page, &schema);
    for root in ["spec", "status"] {
        if let Some(object) = schema.get("properties").and_then(|properties| properties.get(root)) {
            section(&mut page, root, object);
        }
    }
    format!("{}\n", page.trim_end())
}

/// The section of an object, then those of the objects in it.
fn section(page: &mut String, path: &str, object: &Value) {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else {
        return;
    };
    let is_required = |name: &str| {
        let required = object.get("required").and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|field| field == name))
    };
    push(page, format_args!("## `{path}`\n\n"));
    if path == "spec" || path == "status" {
        push(page, format_args!("{}\n\n", text(object, "description")));
    }
    push(page, format_args!("| field | type | meaning |\n|---|---|---|\n"));
    let (first, rest): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_required(name));
    for (name, field) in first.into_iter().chain(rest) {
        let required = if is_required(name) { ", required" } else { "" };
        push(
            page,
            format_args!(
                "| `{name}` | {}{required} | {} |\n",
                type_of(&child_path(path, name, field), field),
                cell(text(field, "description")),
            ),
        );
    }
    page.push('\n');
    rules(page, object);
    for (name, field) in properties {
        let path = child_path(path, name, field);
        if kubernetes_object(&path).is_none() && name != "conditions" && !is_secret(field) {
            section(page, &path, innermost(field));
        }
    }
}

/// The path of what a field holds: of its elements, if it is a list.
fn child_path(path: &str, name: &str, field: &Value) -> String {
    match field.get("type").and_then(Value::as_str) {
        Some("array") => format!("{path}.{name}[]"),
        _ => format!("{path}.{name}"),
    }
}

/// The schema of what a field holds: of its elements, if it is a list.
fn innermost(field: &Value) -> &Value {
    field.get("items").unwrap_or(field)
}

fn kubernetes_object(path: &str) -> Option<&'static str> {
    KUBERNETES_OBJECTS
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, name)| *name)
}

/// Whether a field is a value from a Secret, or may be.
fn is_secret(field: &Value) -> bool {
    field
        .get("properties")
        .and_then(|properties| properties.get("secretKeyRef"))
        .is_some()
}

/// The rules in CEL that the API server enforces, in words.
fn rules(page: &mut String, object: &Value) {
    let messages: Vec<&str> = messages(object).collect();
    if messages.is_empty() {
        return;
    }
    page.push_str("Rules:\n");
    for message in messages {
        push(page, format_args!("- {message}\n"));
    }
    page.push('\n');
}

fn messages(schema: &Value) -> impl Iterator<Item = &str> {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    rules.into_iter().flatten().map(|rule| text(rule, "message"))
}

/// The type of a field in words, with its bounds.
fn type_of(path: &str, field: &Value) -> String {
    if let Some(name) = kubernetes_object(path) {
        let list = if path.ends_with("[]") { "list of " } else { "" };
        return format!("{list}{name}");
    }
    let number = |name: &str| field.get(name).and_then(Value::as_f64);
    let range = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) if least != 0.0 => format!(" from {least}"),
        _ => String::new(),
    };
    let values: Vec<&str> = field
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !values.is_empty() {
        return format!("`{}`", values.join("`, `"));
    }
    match field.get("type").and_then(Value::as_str) {
        Some("array") => {
            let most = field
                .get("maxItems")
                .map_or_else(String::new, |most| format!(", at most {most}"));
            format!("list of {}{most}", plural(path, innermost(field)))
        }
        Some("object") if is_secret(field) => "Secret key".to_owned(),
        Some("object") => match field.get("additionalProperties") {
            Some(values) => format!("map of {}", plural(path, values)),
            None => "object".to_owned(),
        },
        Some("string") => string_type(field),
        Some(other) => format!("{other}{range}"),
        None if is_secret(field) => "text or Secret key".to_owned(),
        None if field.get("x-kubernetes-int-or-string").is_some() => "size".to_owned(),
        None => "any".to_owned(),
    }
}

fn string_type(field: &Value) -> String {
    let pattern = text(field, "pattern");
    let bound = |name: &str| field.get(name).and_then(Value::as_u64);
    let is_expression = pattern.is_empty() && bound("minLength") == Some(1) && bound("maxLength") == Some(4096);
    if pattern == crate::Duration::PATTERN {
        "duration".to_owned()
    } else if is_expression {
        "expression".to_owned()
    } else {
        "text".to_owned()
    }
}

fn plural(path: &str, items: &Value) -> String {
    match items.get("type").and_then(Value::as_str) {
        Some("object") => "objects".to_owned(),
        _ => match type_of(path, items) {
            name if matches!(name.as_str(), "expression" | "size" | "duration") => format!("{name}s"),
            name => name,
        },
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    page.write_fmt(text).unwrap_or_default();
}
