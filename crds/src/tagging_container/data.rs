//! What a container computes and changes: lookup tables, variables, transformations, and the tracking plan.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{common::ConfigMapKeyRef, schema::exactly_one_of};

/// A table for the function `lookup`: CSV text in a ConfigMap, the first line being the columns' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LookupTable {
    /// The table's name: the first argument of `lookup`.
    #[schemars(schema_with = "crate::schema::name")]
    pub name: String,
    /// The column that `lookup` compares its second argument with. Its values are unique.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// The ConfigMap and the key in it that hold the CSV text.
    pub config_map_ref: ConfigMapKeyRef,
}

/// A named expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// The variable's name: `vars.<name>` in expressions.
    #[schemars(schema_with = "crate::schema::identifier")]
    pub name: String,
    /// What it computes, over `event`, `consent`, `vars` and `request`. An error makes it null.
    #[schemars(schema_with = "crate::schema::expression")]
    pub expression: String,
}

/// A change of the event. Exactly one of `allow`, `exclude`, `augment`, `hash` and `redact` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    exactly_one_of(&["allow", "exclude", "augment", "hash", "redact"], "kind of transformation"),
]))]
pub struct Transformation {
    /// The transformation's name.
    #[schemars(schema_with = "crate::schema::name")]
    pub name: String,
    /// Keeps only these parameters, with dots for nested ones, beside what every event needs (`event_name`, `event_id`,
    /// `timestamp_ms`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::parameter_names")]
    pub allow: Option<Vec<String>>,
    /// Removes these parameters, with dots for nested ones: `user_data.email_address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::parameter_names")]
    pub exclude: Option<Vec<String>>,
    /// Sets parameters to the results of expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expressions", extend("minProperties" = 1))]
    pub augment: Option<BTreeMap<String, String>>,
    /// Replaces the values of these parameters by their SHA-256 in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::parameter_names")]
    pub hash: Option<Vec<String>>,
    /// Replaces what looks like personal data inside texts by `[redacted]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redact>,
    /// The Destinations in whose view the event is changed; no other sees the change. When not set: for all, before the
    /// event is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::names")]
    pub destinations: Option<Vec<String>>,
    /// An expression: the change is made only when it is true. `allow`, `exclude`, `hash` and `redact` are left out only when
    /// it is false: should it fail, they are made. `request` can be read only when `destinations` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expression")]
    pub when: Option<String>,
}

/// What is redacted. At least one of `patterns` and `queryParameters` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [crate::schema::rule(
    "has(self.patterns) || has(self.queryParameters)",
    "set patterns, queryParameters or both",
)]))]
pub struct Redact {
    /// What is looked for inside every text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub patterns: Vec<RedactPattern>,
    /// The names of query parameters whose values go, wherever a text is a URL. A `*` at the end stands for any rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "query_parameters")]
    pub query_parameters: Vec<String>,
    /// The parameters that are looked into, with dots for nested ones. When not set: all but `user_data`, `client_id`,
    /// `user_id`, `cookies` and `click_ids`, which hold identifiers by intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::parameter_names")]
    pub parameters: Option<Vec<String>>,
}

/// A kind of personal data that can be told by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RedactPattern {
    /// E-mail addresses, percent-encoded ones too.
    Email,
    /// Phone numbers in international form, or with separators as people write them.
    Phone,
    /// Numbers of payment cards whose check digit is right (Luhn, ISO/IEC 7812-1).
    Card,
    /// International bank account numbers whose check digits are right (ISO 13616).
    Iban,
}

/// The kind of a transformation, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransformationKind<'a> {
    /// `allow`.
    Allow(&'a [String]),
    /// `exclude`.
    Exclude(&'a [String]),
    /// `augment`.
    Augment(&'a BTreeMap<String, String>),
    /// `hash`.
    Hash(&'a [String]),
    /// `redact`.
    Redact(&'a Redact),
}

impl Transformation {
    /// The transformation's kind; none unless exactly one is set.
    #[must_use]
    pub fn kind(&self) -> Option<TransformationKind<'_>> {
        let kinds = [
            self.allow.as_deref().map(TransformationKind::Allow),
            self.exclude.as_deref().map(TransformationKind::Exclude),
            self.augment.as_ref().map(TransformationKind::Augment),
            self.hash.as_deref().map(TransformationKind::Hash),
            self.redact.as_ref().map(TransformationKind::Redact),
        ];
        let mut set = kinds.into_iter().flatten();
        set.next().filter(|_| set.next().is_none())
    }
}

/// A rule of a tracking plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationRule {
    /// The names of the events that are checked. When not set: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::event_names")]
    pub events: Vec<String>,
    /// The JSON Schema that such an event must satisfy, as it came in: after `privacy`, before `transformations`. Draft
    /// 2020-12 unless its `$schema` names another; up to 64 KiB; `$ref` to places in the schema itself (`#/$defs/price`) and
    /// in no circle; patterns without look-around and back references.
    #[schemars(schema_with = "crate::schema::free_object")]
    pub schema: serde_json::Map<String, Value>,
    /// What becomes of an event that does not: `Drop`, `Mark` (`event.x_invalid` names what is wrong) or `DeadLetter`. Of
    /// several broken rules the one counts that lets least through. Default: Mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_invalid: Option<OnInvalid>,
}

impl ValidationRule {
    /// What becomes of an invalid event: the field, or `Mark`.
    #[must_use]
    pub fn effective_on_invalid(&self) -> OnInvalid {
        self.on_invalid.unwrap_or_default()
    }
}

/// What becomes of an event that breaks the tracking plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnInvalid {
    /// Dropped and counted.
    Drop,
    /// Goes on, marked.
    #[default]
    Mark,
    /// Kept as a dead letter of every destination that it was meant for.
    DeadLetter,
}

fn query_parameters(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 100, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^&=#?*]+[*]?$"},
    })
}
