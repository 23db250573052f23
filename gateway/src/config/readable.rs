//! What the expressions of a container read when they run: its variables and lookup tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tagfleet_crds::{lookup_table::Table, validate::Scope};
use tagfleet_expressions::{Expression, Map, Value};

use crate::{hashing::sha256_hex, pipeline::lookup::LookupTables};

/// A compiled variable.
#[derive(Clone, Debug)]
pub struct NamedExpression {
    /// As in `vars.<name>`.
    pub name: Arc<str>,
    /// What it computes.
    pub expression: Expression,
}

/// A lookup table.
#[derive(Debug)]
pub struct SharedTable {
    /// Its columns and rows.
    pub table: Table,
    /// Tells this content from any other.
    pub digest: String,
}

/// Lookup tables by name.
pub type Tables = BTreeMap<String, Arc<SharedTable>>;

/// What expressions read.
#[derive(Clone, Debug, Default)]
pub struct Readable {
    /// What they may read, for compiling them.
    pub scope: Scope,
    /// The variables, each after those that it reads.
    pub variables: Vec<NamedExpression>,
    /// The tables.
    pub tables: Tables,
    /// The same tables, by which expressions look up.
    pub lookup_tables: Arc<LookupTables>,
}

impl Readable {
    /// What a scope gives to read; tables that are as they were before are shared with before.
    #[must_use]
    pub fn new(scope: Scope, previous: Option<&Self>) -> Self {
        let before = |name: &str, table: &Table| {
            let known = previous?.tables.get(name)?;
            (known.table == *table).then(|| Arc::clone(known))
        };
        let tables: Tables = scope
            .tables()
            .map(|(name, table)| (name.to_owned(), before(name, table).unwrap_or_else(|| share(table))))
            .collect();
        let variables = scope.variables().map(|(name, expression)| NamedExpression {
            name: name.into(),
            expression: expression.clone(),
        });
        Self {
            variables: variables.collect(),
            lookup_tables: match previous {
                Some(previous) if same(&previous.tables, &tables) => Arc::clone(&previous.lookup_tables),
                _ => Arc::new(lookup_tables(&tables)),
            },
            tables,
            scope,
        }
    }

    /// The variables that these expressions read, and those that these read, each after those that it reads.
    #[must_use]
    pub fn variables_of<'e>(&self, expressions: impl Iterator<Item = &'e Expression>) -> Vec<NamedExpression> {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for expression in expressions {
            wanted.extend(expression.variables_read().map(str::to_owned));
        }
        for variable in self.variables.iter().rev() {
            if wanted.contains(&*variable.name) {
                wanted.extend(variable.expression.variables_read().map(str::to_owned));
            }
        }
        let found = self
            .variables
            .iter()
            .filter(|variable| wanted.contains(&*variable.name));
        found.cloned().collect()
    }

    /// The tables that these expressions read.
    #[must_use]
    pub fn tables_of<'e>(&self, expressions: impl Iterator<Item = &'e Expression>) -> Tables {
        let read: BTreeSet<&str> = expressions.flat_map(Expression::tables_read).collect();
        let found = self.tables.iter().filter(|(name, _)| read.contains(name.as_str()));
        found.map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }
}

/// Whether these are the same tables, not just equal ones.
fn same(one: &Tables, other: &Tables) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1))
}

fn share(table: &Table) -> Arc<SharedTable> {
    let content = serde_json::to_vec(&(&table.columns, &table.rows)).unwrap_or_default();
    Arc::new(SharedTable {
        table: table.clone(),
        digest: sha256_hex(&content),
    })
}

/// Tables as expressions look up in them.
#[must_use]
pub fn lookup_tables(tables: &Tables) -> LookupTables {
    let mut lookup = LookupTables::default();
    for (name, shared) in tables {
        let rows = shared.table.rows.keys().filter_map(|key| {
            let cells: Map<'static> = shared
                .table
                .row(key)?
                .map(|(column, cell)| (column.to_owned().into(), Value::from(cell.to_owned())))
                .collect();
            Some((key.clone(), Value::Map(cells)))
        });
        lookup.insert(name, rows);
    }
    lookup
}
