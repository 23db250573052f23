//! `check --data-flow`: who gets what, as a record of processing activities (GDPR article 30).

mod csv;
mod text;
mod words;

use std::io::{self, Write};

use clap::ValueEnum;

use crate::config::data_flow::Described;

/// How the record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// For people.
    Text,
    /// As CSV (RFC 4180): a row for each destination and parameter.
    Csv,
}

/// Prints the record.
pub(super) fn print(layout: Layout, described: &[Described], out: &mut dyn Write) -> io::Result<()> {
    match layout {
        Layout::Text => text::print(described, out),
        Layout::Csv => csv::print(described, out),
    }
}
