//! Lookup tables: CSV from ConfigMaps, read by `lookup('<table>', <key>)` in expressions.

use std::collections::HashMap;

use tagfleet_expressions::Value;

/// The container's tables by name; each row by its key, as a map from column to text.
#[derive(Debug, Default)]
pub struct LookupTables {
    tables: HashMap<String, HashMap<String, Value<'static>>>,
}

impl LookupTables {
    /// Adds a table. Of a repeated key the last row stays.
    pub fn insert(&mut self, name: impl Into<String>, rows: impl IntoIterator<Item = (String, Value<'static>)>) {
        self.tables.insert(name.into(), rows.into_iter().collect());
    }

    /// The row of a table for a key.
    #[must_use]
    pub fn row(&self, table: &str, key: &str) -> Option<&Value<'static>> {
        self.tables.get(table)?.get(key)
    }
}
