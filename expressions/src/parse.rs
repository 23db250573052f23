//! Source text to the syntax tree of the crate `cel`.
//!
//! Of the crate's two parsers we use `PrattParser`: the generated one (its default) recurses so heavily that 30 nested
//! brackets overflow a 2 MiB stack in a debug build. It is marked as not for documentation, so the crate's version is
//! pinned exactly.

use std::sync::Arc;

use cel::{
    common::ast::{IdedExpr, SourceInfo},
    parser::{ParseErrors, PrattParser},
};

use crate::{CompileError, limits};

/// Parses `source`, which must have passed [`limits::check_source`].
pub(crate) fn parse(source: &str) -> Result<IdedExpr, CompileError> {
    parser().parse(source).map_err(|errors| describe(source, &errors))
}

/// Where the node `id` of the tree of `source` starts, in bytes.
///
/// The parser gives positions only together with an error. So this parses the source once more with a bracket too many
/// behind it: the same tree with the same ids, and then the error that has them.
pub(crate) fn offset_of(source: &str, id: u64) -> usize {
    let positions = parser()
        .parse(&format!("{source}\n)"))
        .err()
        .and_then(|failure| failure.errors.into_iter().find_map(|error| error.source_info));
    let start = |positions: Arc<SourceInfo>| positions.offset_for(id).map(|(start, _)| start);
    positions
        .and_then(start)
        .and_then(|start| usize::try_from(start).ok())
        .unwrap_or_default()
}

fn parser() -> PrattParser {
    PrattParser::new()
        .max_recursion_depth(u16::try_from(limits::MAX_DEPTH).unwrap_or(u16::MAX) + 1)
        .enable_variadic_operator_asts(true)
        .enable_ident_escape_syntax(true)
}

/// The first of the parser's errors, with a hint where a usual mistake explains it.
fn describe(source: &str, errors: &ParseErrors) -> CompileError {
    let Some(first) = errors.errors.first() else {
        return CompileError::at(source, 0, "the expression cannot be read");
    };
    let (line, column) = first.pos;
    let before: usize = source
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or_default())
        .map(str::len)
        .sum();
    let offset = source.floor_char_boundary(before + usize::try_from(column - 1).unwrap_or_default());
    let (read, rest) = source.split_at_checked(offset).unwrap_or((source, ""));
    let reason = plain(first.msg.trim_start_matches("Syntax error: "), source);
    let message = match hint(read, rest, &reason) {
        Some(hint) => format!("{reason}: {hint}"),
        None => reason,
    };
    CompileError::at(source, offset, message)
}

/// The parser's message in words for someone who does not know parsers.
fn plain(message: &str, source: &str) -> String {
    if source.trim().is_empty() {
        return "the expression is empty".to_owned();
    }
    let Some(mismatch) = message.strip_prefix("mismatched input ") else {
        return message.to_owned();
    };
    match mismatch.split_once(" expecting ") {
        Some((found, _)) if found.contains("<EOF>") => "the expression ends too early".to_owned(),
        Some((found, "<EOF>")) => format!("{found} cannot stand here"),
        Some((found, expected)) => format!("{found} cannot stand here, where {expected} is expected"),
        None => message.to_owned(),
    }
}

/// What usual mistake explains an error between what was `read` and the `rest`.
fn hint(read: &str, rest: &str, reason: &str) -> Option<&'static str> {
    let word = rest
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "and" => return Some("write &&"),
        "or" => return Some("write ||"),
        _ => {}
    }
    if read.trim_end().to_ascii_lowercase().ends_with("not") {
        return Some("write ! before what is to be false");
    }
    if rest.starts_with('=') && !rest.starts_with("==") {
        return Some("write == to compare");
    }
    for (part, hint) in [
        (
            "has()",
            "it takes a field, as has(event.value); for a name that is no word, write has(event.`x-ga-name`) or \
             'x-ga-name' in event",
        ),
        (
            "argument must be a simple name",
            "the first argument of all, exists, exists_one, map and filter names the element",
        ),
        ("unexpected character", "text stands in quotes, 'like this'"),
        (
            "unsupported syntax",
            "write has(event.value), or event.value.orElse('default')",
        ),
        ("invalid int literal", "a whole number has 64 bits"),
    ] {
        if reason.contains(part) {
            return Some(hint);
        }
    }
    None
}
