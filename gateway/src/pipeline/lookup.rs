//! Lookup tables: CSV from ConfigMaps, read by `lookup('<table>', <key>)` in expressions.

/// The container's tables by name.
#[derive(Debug, Default)]
pub struct LookupTables {}
