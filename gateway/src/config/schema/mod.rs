//! The structural schema of a kind, as its CustomResourceDefinition has it, and the check of a tree against it.
//!
//! What the API server does to an object that is applied is done here to a manifest: nulls are dropped, defaults filled
//! in, every value checked, and every rule in CEL evaluated. Unlike the server's, the answer names line and column.
//! Reference: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.

mod check;
mod compile;
mod defaults;
mod own;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;
use tagfleet_expressions::Expression;

pub use check::Mistake;
pub use own::of_kind;

/// A schema, compiled once from a CRD.
#[derive(Debug, Default)]
pub struct Schema {
    kind: Kind,
    nullable: bool,
    properties: BTreeMap<String, Schema>,
    /// Of an object that is a map: the schema of its values.
    values: Option<Box<Schema>>,
    /// Whether fields that no property names are kept (`x-kubernetes-preserve-unknown-fields`).
    open: bool,
    required: Vec<String>,
    items: Option<Box<Schema>>,
    allowed: Vec<Json>,
    pattern: Option<Regex>,
    /// What the pattern means, where that is shorter to say than to read.
    meaning: Option<&'static str>,
    format: Option<Format>,
    bounds: Bounds,
    /// Fields that tell list elements apart (`x-kubernetes-list-map-keys`); of a set the element itself, when empty.
    list_keys: Option<Vec<String>>,
    default: Option<Json>,
    rules: Vec<Rule>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

/// What kind of value a schema wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    /// What no structural schema can say: text, or an object of these properties (a header's value). It is written as
    /// bounds of both without a type.
    TextOrObject,
}

/// `format`, where the API server enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Int32,
    DateTime,
}

/// The bounds of numbers, texts, lists and maps.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    min_fields: Option<usize>,
    max_fields: Option<usize>,
}

/// A rule of `x-kubernetes-validations`.
#[derive(Debug)]
struct Rule {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    /// The field that the rule is about, below the value that it stands at.
    field: Option<String>,
}

/// Why a CRD cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A pattern that is no regular expression.
    #[error("{path}: pattern: {source}")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// A rule that does not compile.
    #[error("{path}: rule `{rule}`: {source}")]
    Rule {
        /// Where in the schema.
        path: String,
        /// Its text.
        rule: String,
        /// Why.
        source: tagfleet_expressions::CompileError,
    },
    /// Something that the schema says and that this checker does not know.
    #[error("{path}: `{keyword}` is not supported")]
    Unsupported {
        /// Where in the schema.
        path: String,
        /// The keyword.
        keyword: String,
    },
}
