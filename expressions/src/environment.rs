//! What an expression may read: its roots, the variables and the lookup tables that exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::Value;

/// A name that an expression may start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// The event.
    Event,
    /// The four consent types: `"granted"`, `"denied"` or `"unset"`.
    Consent,
    /// The named expressions of the container.
    Vars,
    /// The HTTP request: `host, path, query, headers, cookies, ip`.
    Request,
    /// The object that a rule of a Kubernetes schema judges (`self`).
    This,
}

impl Root {
    /// The name as it is written in an expression.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Consent => "consent",
            Self::Vars => "vars",
            Self::Request => "request",
            Self::This => "self",
        }
    }
}

/// What kind of value an expression has, as far as it is known before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// Not known before it runs; may be anything.
    #[default]
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number with sign.
    Int,
    /// A whole number without sign.
    Uint,
    /// A number with a fraction.
    Double,
    /// Text.
    String,
    /// A list of anything.
    List,
    /// A map from text to anything.
    Map,
}

impl Type {
    /// The type of a value.
    #[must_use]
    pub const fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Uint(_) => Self::Uint,
            Value::Double(_) => Self::Double,
            Value::String(_) => Self::String,
            Value::List(_) => Self::List,
            Value::Map(_) => Self::Map,
        }
    }

    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }
}

impl std::fmt::Display for Type {
    /// The name that CEL gives the type.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::List => "list",
            Self::Map => "map",
        })
    }
}

/// What an expression may read where it stands.
#[derive(Clone, Debug)]
pub struct Environment {
    roots: Vec<Root>,
    variables: BTreeMap<String, Type>,
    tables: BTreeMap<String, Option<BTreeSet<String>>>,
    /// How many comprehensions may stand inside each other.
    nested_comprehensions: usize,
}

impl Environment {
    /// Where `event`, `consent` and `vars` are visible: triggers, parameters, attributes.
    #[must_use]
    pub fn event() -> Self {
        Self::with_roots(&[Root::Event, Root::Consent, Root::Vars], 1)
    }

    /// Where only `self` is visible: a validation rule of a Kubernetes schema (`x-kubernetes-validations`).
    ///
    /// One comprehension may stand in another there, as rules need it that compare a list with itself
    /// (`self.all(x, self.exists_one(y, y.name == x.name))`): it judges an object being applied, not every hit.
    #[must_use]
    pub fn schema_rule() -> Self {
        Self::with_roots(&[Root::This], 2)
    }

    fn with_roots(roots: &[Root], nested_comprehensions: usize) -> Self {
        Self {
            roots: roots.to_vec(),
            variables: BTreeMap::new(),
            tables: BTreeMap::new(),
            nested_comprehensions,
        }
    }

    pub(crate) fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, Type> {
        &self.variables
    }

    pub(crate) fn tables(&self) -> &BTreeMap<String, Option<BTreeSet<String>>> {
        &self.tables
    }

    pub(crate) fn nested_comprehensions(&self) -> usize {
        self.nested_comprehensions
    }

    /// Makes `request` visible too: in variables and container-wide transformations.
    #[must_use]
    pub fn with_request(mut self) -> Self {
        if !self.roots.contains(&Root::Request) {
            self.roots.push(Root::Request);
        }
        self
    }

    /// Makes `vars.<name>` readable, with the type of its expression.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, result: Type) -> Self {
        self.variables.insert(name.into(), result);
        self
    }

    /// Makes `lookup('<name>', key)` callable; any column may be read (the table's content is not known yet).
    #[must_use]
    pub fn with_table(mut self, name: impl Into<String>) -> Self {
        self.tables.insert(name.into(), None);
        self
    }

    /// Makes `lookup('<name>', key)` callable with just these columns (the key's own included): a misspelt one is refused.
    #[must_use]
    pub fn with_table_columns<C>(mut self, name: impl Into<String>, columns: impl IntoIterator<Item = C>) -> Self
    where
        C: Into<String>,
    {
        let columns = columns.into_iter().map(Into::into).collect();
        self.tables.insert(name.into(), Some(columns));
        self
    }
}
