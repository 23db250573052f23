//! Helpers that give the fields of both kinds their bounds, and what makes a derived schema structural.
//!
//! Every text, list and map is bounded: the API server estimates the cost of each CEL rule from the bounds, and
//! refuses a CRD whose rules could become expensive.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{Destination, TaggingContainer};

/// The pattern of a DNS label that may be an object's name.
pub(crate) const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A CEL rule with the message that the API server shows when it is broken.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// A rule that exactly one of the fields is set.
pub(crate) fn exactly_one_of(fields: &[&str], what: &str) -> Value {
    let set: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    rule(
        &format!("[{}].filter(x, x).size() == 1", set.join(", ")),
        &format!("set exactly one {what}: {}", fields.join(", ")),
    )
}

/// A rule that at most one of the fields is set.
pub(crate) fn at_most_one_of(fields: &[&str], what: &str) -> Value {
    let set: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    rule(
        &format!("[{}].filter(x, x).size() <= 1", set.join(", ")),
        &format!("set at most one {what}: {}", fields.join(", ")),
    )
}

/// A rule that a duration is longer than nothing and at most `most`.
pub(crate) fn positive_duration(most: &str) -> Value {
    rule(
        &format!("duration(self) > duration('0s') && duration(self) <= duration('{most}')"),
        &format!("must be longer than 0s and at most {most}"),
    )
}

/// The name of something in a spec: a client, a table, a rule.
pub(crate) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL_PATTERN})
}

/// The name of a Kubernetes object.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    })
}

/// A key in the data of a Secret or ConfigMap.
pub(crate) fn data_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$"})
}

/// A name that expressions can write, as in `vars.low_stock`.
pub(crate) fn identifier(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
}

/// A CEL expression.
pub(crate) fn expression(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 4096})
}

/// The name of an event.
fn event_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256})
}

/// Names of events.
pub(crate) fn event_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 200, "items": event_name(),
        "x-kubernetes-list-type": "set",
    })
}

/// Names of parameters, with dots for nested ones.
pub(crate) fn parameter_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 200,
        "items": {"type": "string", "minLength": 1, "maxLength": 256},
        "x-kubernetes-list-type": "set",
    })
}

/// A set of names of things in a spec.
pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 50,
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL_PATTERN},
        "x-kubernetes-list-type": "set",
    })
}

/// Names of classes of parameters; an empty list is a statement, too.
pub(crate) fn class_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 20,
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL_PATTERN},
        "x-kubernetes-list-type": "set",
    })
}

/// Names mapped to expressions.
pub(crate) fn expressions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 100,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 4096},
    })
}

/// Names of events mapped to a vendor's names or numbers.
pub(crate) fn event_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 200,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256},
    })
}

/// Names of events mapped to a vendor's numeric identifiers; at least one.
pub(crate) fn event_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "minProperties": 1, "maxProperties": 200,
        "additionalProperties": {"type": "string", "maxLength": 32, "pattern": "^[0-9]+$"},
    })
}

/// HTTP headers by name.
pub(crate) fn headers(generator: &mut SchemaGenerator) -> Schema {
    let value = generator.subschema_for::<crate::HeaderValue>();
    json_schema!({"type": "object", "maxProperties": 50, "additionalProperties": value})
}

/// Kubernetes labels, annotations, node selectors: text by name.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 100,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// DNS names that requests come to.
pub(crate) fn hostnames(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 50, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "minLength": 1, "maxLength": 253,
            "x-kubernetes-validations": [rule(
                r"self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')",
                "must be a DNS name in lower case, such as metrics.shop.example, without scheme, port or path",
            )],
        },
    })
}

/// Ranges of addresses.
pub(crate) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 100, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "maxLength": 64,
            "x-kubernetes-validations": [rule(
                "isCIDR(self)",
                "must be a range of addresses in CIDR notation, such as 10.0.0.0/8 or fd00::/8",
            )],
        },
    })
}

/// Origins, as browsers send them.
pub(crate) fn origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 100, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "maxLength": 2048,
            "x-kubernetes-validations": [rule(
                "self.matches('^https?://[^/?#@]+$')",
                "must be an origin: scheme and host, such as https://www.shop.example, without a path",
            )],
        },
    })
}

/// Whether a text is the id of a Pub/Sub topic (projects.topics, "name"): 3 to 255 letters, digits and `. _ ~ + % -`, the
/// first a letter, and not beginning with `goog`.
pub(crate) fn is_topic(text: &str) -> bool {
    (3..=255).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.starts_with("goog")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~+%-".contains(&byte))
}

/// A web address.
pub(crate) fn url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 2048,
        "x-kubernetes-validations": [rule(
            "self.matches('^https?://[^/?#@]+([/?#].*)?$')",
            "must be an http or https URL without user or password in it",
        )],
    })
}

/// A vendor's scheme and host.
pub(crate) fn endpoint(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 2048,
        "x-kubernetes-validations": [rule(
            "self.matches('^https?://[^/?#@]+/?$')",
            "must be scheme and host, such as https://region1.google-analytics.com; the vendor's own path follows",
        )],
    })
}

/// A path that a client claims.
pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 1024,
        "x-kubernetes-validations": [rule(
            "self.matches('^/[^?#[:space:]]*$')",
            "must begin with / and have no query",
        )],
    })
}

/// The conditions of a status, by type, as `metav1.Condition` defines them.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 20,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316, "description": "What the condition is about, such as Accepted.",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "True, False or Unknown.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in one CamelCase word that programs can compare.",
                },
                "message": {
                    "type": "string", "maxLength": 32768, "description": "Why, in words, and what to do about it.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "maxLength": 64,
                    "description": "When the status last changed.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The metadata.generation that the condition was computed from.",
                },
            },
        },
    })
}

/// The schema of any JSON object, kept as it is.
pub(crate) fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The CRD of `TaggingContainer`, complete and structural.
#[must_use]
pub fn tagging_container() -> CustomResourceDefinition {
    finish(
        TaggingContainer::crd(),
        &[rule(
            "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must be a DNS label of at most 63 characters that begins with a letter: Services are named after it",
        )],
    )
}

/// The CRD of `Destination`, complete and structural.
#[must_use]
pub fn destination() -> CustomResourceDefinition {
    finish(
        Destination::crd(),
        &[rule(
            &format!("self.metadata.name.size() <= 63 && self.metadata.name.matches('{LABEL_PATTERN}')"),
            "metadata.name must be a DNS label of at most 63 characters: metrics carry it as a label",
        )],
    )
}

/// Makes the derived schema structural and bounded, and adds the rules on the object's own name.
fn finish(mut crd: CustomResourceDefinition, rules: &[Value]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(validation) = version.schema.as_mut() else {
            continue;
        };
        let Ok(mut schema) = serde_json::to_value(&validation.open_api_v3_schema) else {
            continue;
        };
        if let Some(affinity) = schema.pointer_mut("/properties/spec/properties/pod/properties/affinity/properties") {
            shorten(affinity);
        }
        if let Some(root) = schema.as_object_mut() {
            structural(root);
            root.insert("x-kubernetes-validations".into(), rules.into());
        }
        validation.open_api_v3_schema = serde_json::from_value(schema).ok();
    }
    crd
}

/// Leaves the first sentence of every description. Kubernetes' affinity repeats pages of text at a dozen places, which
/// alone would take half of what a CRD may weigh.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description")
                && let Some((sentence, _)) = text.split_once(". ")
            {
                *text = format!("{sentence}.");
            }
            fields.values_mut().for_each(shorten);
        }
        Value::Array(elements) => elements.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// Rewrites one node and all below it: what Kubernetes does not know is dropped, what has no bound gets one.
fn structural(schema: &mut Map<String, Value>) {
    // A null is the same as a missing field for both kinds, and the API server prunes it as such.
    schema.remove("nullable");
    schema.remove("title");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    // The API server warns of formats that it does not know.
    let unsigned = matches!(
        schema.get("format").and_then(Value::as_str),
        Some("uint8" | "uint16" | "uint32")
    );
    if unsigned {
        schema.insert("format".into(), "int32".into());
    } else if schema.get("format").and_then(Value::as_str) == Some("uint64") {
        schema.insert("format".into(), "int64".into());
    }
    // "additionalProperties: false" is implied (unknown fields are refused or pruned) and not allowed.
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        schema.remove("additionalProperties");
    }
    bound(schema);
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(child)) = schema.get_mut(key) {
            structural(child);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for child in properties.values_mut().filter_map(Value::as_object_mut) {
            structural(child);
        }
    }
}

/// Bounds what the embedded Kubernetes types (tolerations, affinity, network peers) leave open.
fn bound(schema: &mut Map<String, Value>) {
    let (limit, most) = match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => ("maxLength", 1024),
        Some("array") => ("maxItems", 50),
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => ("maxProperties", 100),
        None if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) => ("maxLength", 253),
        _ => return,
    };
    schema.entry(limit).or_insert_with(|| most.into());
}
