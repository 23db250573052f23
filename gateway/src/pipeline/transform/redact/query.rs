//! Query parameters inside a text that is a URL, by their names.

use std::ops::Range;

use super::scan::encoded;
use crate::{ingest::query, name_patterns::NamePatterns};

/// Names of query parameters. Upper and lower case are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(NamePatterns);

/// What parts a URL's parameters from each other and from their values.
#[derive(Clone, Copy, Debug)]
struct Delimiter {
    byte: u8,
    at: usize,
    length: usize,
}

impl Names {
    pub(super) fn new(names: &[String]) -> Self {
        Self(NamePatterns::new(names.iter().map(|name| name.to_lowercase())))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, raw: &str) -> bool {
        // Nearly every name is written so already.
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if raw.bytes().all(is_plain) {
            return self.0.matches(raw);
        }
        self.0.matches(&query::decode(raw).to_lowercase())
    }

    /// Finds the values of the parameters: in the query, in the fragment, and in a URL that is itself a parameter and
    /// therefore percent-encoded.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        if !is_url(text) {
            return;
        }
        let mut delimiters = delimiters(text).peekable();
        // The place behind the last delimiter that a name may follow.
        let mut name_start = None;
        while let Some(delimiter) = delimiters.next() {
            let start = match (delimiter.byte, name_start) {
                (b'=', Some(start)) => start,
                (b'=', None) => continue,
                _ => {
                    name_start = Some(delimiter.at + delimiter.length);
                    continue;
                }
            };
            name_start = None;
            if !text.get(start..delimiter.at).is_some_and(|name| self.contains(name)) {
                continue;
            }
            let value = delimiter.at + delimiter.length;
            let ends = |next: &Delimiter| {
                // A value ends where the next parameter begins: in a nested URL also where that ends.
                matches!(next.byte, b'&' | b'#') && (next.length == 1 || delimiter.length > 1)
            };
            while delimiters.next_if(|next| !ends(next)).is_some() {}
            let end = delimiters.peek().map_or(text.len(), |next| next.at);
            if end > value {
                found.push(value..end);
            }
        }
    }
}

/// Whether a text is a URL, or the part of one that begins with its path or query.
fn is_url(text: &str) -> bool {
    text.contains('=') && (text.contains("://") || text.starts_with(['/', '?', '#']))
        || text.contains("%3A%2F%2F")
        || text.contains("%3a%2f%2f")
}

fn delimiters(text: &str) -> impl Iterator<Item = Delimiter> {
    let bytes = text.as_bytes();
    let is_delimiter = |byte: u8| matches!(byte, b'?' | b'&' | b'#' | b'=' | b';');
    bytes.iter().enumerate().filter_map(move |(at, &byte)| {
        let (byte, length) = if byte == b'%' {
            (encoded(bytes, at)?, 3)
        } else {
            (byte, 1)
        };
        is_delimiter(byte).then_some(Delimiter { byte, at, length })
    })
}
