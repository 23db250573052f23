//! Lookup tables: from the CSV of a ConfigMap to rows by key.

use std::{collections::HashMap, sync::Arc};

use csv::{ReaderBuilder, StringRecord, Trim};
use tagfleet_expressions::{Map, Value};

use crate::hashing::sha256_hex;

/// The most columns of a table.
const MAX_COLUMNS: usize = 200;

/// A table.
#[derive(Debug)]
pub struct Table {
    /// The columns in order, the key's own included.
    pub columns: Vec<Arc<str>>,
    /// The rows by key, each a map from column to text.
    pub rows: HashMap<String, Value<'static>>,
    /// Keys that stand in several rows, of which the last counts: the first few of them.
    pub repeated: Vec<String>,
    /// Tells this content from any other.
    pub digest: String,
}

/// Why a text is no table. Lines count from 1, the heading's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is no heading.
    #[error("is empty; the first line names the columns")]
    Empty,
    /// The column of the key is not there.
    #[error("has no column `{key}`; its columns are {columns}")]
    NoKey {
        /// The column wanted.
        key: String,
        /// Those that are there.
        columns: String,
    },
    /// A column's name is empty or stands twice.
    #[error("column {number} has {what}")]
    Column {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with its name.
        what: String,
    },
    /// There are too many columns.
    #[error("has more than {MAX_COLUMNS} columns")]
    TooWide,
    /// A row has more or fewer fields than the heading.
    #[error("line {line}: has {found} fields, the first line {expected}")]
    Ragged {
        /// The line.
        line: u64,
        /// The row's fields.
        found: u64,
        /// The heading's.
        expected: u64,
    },
    /// A row cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// Reads a table whose rows are found by column `key`. Fields are trimmed; a field in quotes may hold commas, quotes
/// (doubled) and line breaks (RFC 4180).
///
/// # Errors
/// See [`TableError`].
pub fn parse(text: &str, key: &str) -> Result<Table, TableError> {
    let digest = sha256_hex(format!("{key}\n{text}").as_bytes());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let columns = columns(reader.headers().map_err(|error| explain(&error))?)?;
    let key_index = columns.iter().position(|column| **column == *key);
    let key_index = key_index.ok_or_else(|| TableError::NoKey {
        key: key.to_owned(),
        columns: columns.join(", "),
    })?;
    let mut table = Table {
        columns,
        rows: HashMap::new(),
        repeated: Vec::new(),
        digest,
    };
    for record in reader.into_records() {
        let record = record.map_err(|error| explain(&error))?;
        let key = record.get(key_index).unwrap_or_default().to_owned();
        let cells = table.columns.iter().zip(&record);
        let row: Map<'static> = cells
            .map(|(column, cell)| (column.to_string().into(), Value::from(cell.to_owned())))
            .collect();
        if table.rows.insert(key.clone(), Value::Map(row)).is_some() && table.repeated.len() < 5 {
            table.repeated.push(key);
        }
    }
    Ok(table)
}

fn columns(heading: &StringRecord) -> Result<Vec<Arc<str>>, TableError> {
    if heading.iter().all(str::is_empty) {
        return Err(TableError::Empty);
    }
    if heading.len() > MAX_COLUMNS {
        return Err(TableError::TooWide);
    }
    let mut columns: Vec<Arc<str>> = Vec::with_capacity(heading.len());
    for (index, name) in heading.iter().enumerate() {
        let what = match name {
            "" => "no name".to_owned(),
            _ if columns.iter().any(|known| **known == *name) => format!("the name `{name}` again"),
            _ => {
                columns.push(name.into());
                continue;
            }
        };
        return Err(TableError::Column {
            number: index + 1,
            what,
        });
    }
    Ok(columns)
}

fn explain(error: &csv::Error) -> TableError {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => TableError::Ragged {
            line: pos.as_ref().map_or(0, csv::Position::line),
            found: *len,
            expected: *expected_len,
        },
        _ => TableError::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn cell(table: &Table, key: &str, column: &str) -> String {
        let row = table.rows[key].as_map().unwrap();
        row.get(column).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn rows_are_found_by_their_key() {
        let table = parse("sku,threshold,note\nBOWL-10, 5 ,\"a, \"\"b\"\"\"\r\nCUP-1,12,\n", "sku").unwrap();
        assert_eq!(
            table.columns.iter().map(|c| &**c).collect::<Vec<_>>(),
            ["sku", "threshold", "note"]
        );
        assert_eq!(cell(&table, "BOWL-10", "threshold"), "5");
        assert_eq!(cell(&table, "BOWL-10", "note"), "a, \"b\"");
        assert_eq!(cell(&table, "CUP-1", "sku"), "CUP-1");
    }

    #[test]
    fn of_a_repeated_key_the_last_row_counts_and_it_is_told() {
        let table = parse("sku,t\nA,1\nA,2\n", "sku").unwrap();
        assert_eq!(cell(&table, "A", "t"), "2");
        assert_eq!(table.repeated, ["A"]);
    }

    #[test]
    fn what_is_no_table_is_explained() {
        for (text, message) in [
            ("", "is empty; the first line names the columns"),
            ("id,t\nA,1\n", "has no column `sku`; its columns are id, t"),
            ("sku,t,t\n", "column 3 has the name `t` again"),
            ("sku,\n", "column 2 has no name"),
            ("sku,t\nA,1\nB\n", "line 3: has 1 fields, the first line 2"),
        ] {
            assert_eq!(parse(text, "sku").unwrap_err().to_string(), message, "{text}");
        }
    }
}
