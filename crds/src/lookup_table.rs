//! Lookup tables: from the CSV text of a ConfigMap to rows by key.

use std::collections::{BTreeMap, BTreeSet};

use csv::{ErrorKind, ReaderBuilder, Trim};

/// The most columns of a table.
const MAX_COLUMNS: usize = 200;
/// How many repeated keys are named.
const NAMED_REPEATS: usize = 5;

/// A table: rows by key, each a map from column to text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns in their order, the key's own included.
    pub columns: Vec<String>,
    /// The cells of each row, in the order of the columns, by the value of the key's column.
    pub rows: BTreeMap<String, Vec<String>>,
    /// Keys that stand in several rows, of which the last counts: the first few of them.
    pub repeated: Vec<String>,
}

/// Why a text is no table. Lines count from 1, which is the line of the columns' names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is nothing in it.
    #[error("is empty; the first line names the columns")]
    Empty,
    /// The column of the key is missing.
    #[error("has no column `{key}`; its columns are {columns}")]
    NoKeyColumn {
        /// The column that was wanted.
        key: String,
        /// Those that there are.
        columns: String,
    },
    /// A column has no name.
    #[error("column {number} has no name")]
    UnnamedColumn {
        /// Its number, from 1.
        number: usize,
    },
    /// Two columns have one name.
    #[error("column {number} has the name `{name}` again")]
    RepeatedColumn {
        /// The number of the second, from 1.
        number: usize,
        /// The name.
        name: String,
    },
    /// There are too many columns.
    #[error("has {0} columns, more than {MAX_COLUMNS}")]
    TooManyColumns(usize),
    /// A row is longer or shorter than the first line.
    #[error("line {line}: has {found} fields, the first line {expected}")]
    UnequalRow {
        /// Its line.
        line: u64,
        /// Its fields.
        found: u64,
        /// Those of the first line.
        expected: u64,
    },
    /// The reader gave up.
    #[error("cannot be read as CSV: {0}")]
    Unreadable(String),
}

impl Table {
    /// Reads CSV (RFC 4180): the first line names the columns; cells are trimmed; a cell in quotes may hold commas, line
    /// breaks and doubled quotes. A byte order mark is passed over.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(text: &str, key: &str) -> Result<Self, TableError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
        let heading = reader.headers().map_err(|error| explain(&error))?;
        let columns: Vec<String> = heading.iter().map(str::to_owned).collect();
        check_columns(&columns)?;
        let key_column = columns
            .iter()
            .position(|column| column == key)
            .ok_or_else(|| TableError::NoKeyColumn {
                key: key.to_owned(),
                columns: columns.join(", "),
            })?;
        let mut table = Self {
            columns,
            ..Self::default()
        };
        for record in reader.records() {
            let record = record.map_err(|error| explain(&error))?;
            let key = record.get(key_column).unwrap_or_default().to_owned();
            let cells = record.iter().map(str::to_owned).collect();
            let replaced = table.rows.insert(key.clone(), cells);
            if replaced.is_some() && table.repeated.len() < NAMED_REPEATS && !table.repeated.contains(&key) {
                table.repeated.push(key);
            }
        }
        Ok(table)
    }

    /// The row of a key, as column and cell in the order of the columns.
    pub fn row(&self, key: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
        let cells = self.rows.get(key)?;
        Some(
            self.columns
                .iter()
                .map(String::as_str)
                .zip(cells.iter().map(String::as_str)),
        )
    }
}

fn check_columns(columns: &[String]) -> Result<(), TableError> {
    if columns.iter().all(String::is_empty) {
        return Err(TableError::Empty);
    }
    if columns.len() > MAX_COLUMNS {
        return Err(TableError::TooManyColumns(columns.len()));
    }
    let mut seen = BTreeSet::new();
    for (number, name) in (1..).zip(columns) {
        if name.is_empty() {
            return Err(TableError::UnnamedColumn { number });
        }
        if !seen.insert(name) {
            return Err(TableError::RepeatedColumn {
                number,
                name: name.clone(),
            });
        }
    }
    Ok(())
}

fn explain(error: &csv::Error) -> TableError {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => TableError::UnequalRow {
            line: pos.as_ref().map_or(0, csv::Position::line),
            found: *len,
            expected: *expected_len,
        },
        _ => TableError::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn rows_are_found_by_the_keys_column() {
        let table = Table::parse(
            "\u{feff}sku,threshold,note\r\nBOWL-10, 5 ,\"a, \"\"b\"\"\"\r\nCUP-1,12,\r\n",
            "sku",
        )
        .unwrap();
        let row: Vec<_> = table.row("BOWL-10").unwrap().collect();
        assert_eq!(row, [("sku", "BOWL-10"), ("threshold", "5"), ("note", "a, \"b\"")]);
        assert!(table.row("BOWL-11").is_none());
    }

    #[test]
    fn of_a_repeated_key_the_last_row_counts_and_the_key_is_named() {
        let table = Table::parse("sku,t\nA,1\nA,2\nA,3\n", "sku").unwrap();
        assert_eq!(table.rows["A"], ["A", "3"]);
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
            assert_eq!(Table::parse(text, "sku").unwrap_err().to_string(), message, "{text}");
        }
        let wide = (0..=MAX_COLUMNS).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(
            Table::parse(&wide, "c0").unwrap_err(),
            TableError::TooManyColumns(MAX_COLUMNS + 1)
        );
    }
}
