//! From the text of a file to trees: YAML of several documents, read with bounds.
//!
//! Nesting is at most 64 deep and a file holds at most 200,000 nodes, what aliases repeat counted, so that a small
//! file cannot become a large tree.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{
    finding::Position,
    scalars,
    tree::{Field, Node, Value},
};

/// The largest file that is read, in bytes: several times what an API server stores of one object.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// The most nodes in a file.
const MAX_NODES: usize = 200_000;
/// The most brackets, braces, commas and colons in one line. The scanner keeps all of a line's tokens until it knows
/// that the line is no field's name, which for one of a few megabytes would be a gigabyte.
const MAX_LINE_TOKENS: usize = 100_000;

/// What was read of a file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The documents before the first mistake, empty ones left out.
    pub documents: Vec<Node>,
    /// Why the rest cannot be read, if it cannot.
    pub error: Option<SyntaxError>,
}

/// A file that is not the YAML that a manifest may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
}

impl SyntaxError {
    fn new(at: Position, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }
}

/// Reads all documents of a text. Never fails as a whole: what stands before a mistake is there.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let mut builder = Builder::default();
    let error = check_lines(text).and_then(|()| builder.read(text)).err();
    Parsed {
        documents: builder.documents,
        error,
    }
}

/// Reads all documents of bytes that should be UTF-8.
#[must_use]
pub fn parse_bytes(bytes: &[u8]) -> Parsed {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let before = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            Parsed {
                documents: Vec::new(),
                error: Some(SyntaxError::new(
                    position_of(line, column),
                    "the file is not UTF-8 text",
                )),
            }
        }
    }
}

fn check_lines(text: &str) -> Result<(), SyntaxError> {
    for (line, content) in (1..).zip(text.split('\n')) {
        let tokens = content
            .bytes()
            .filter(|byte| matches!(byte, b'[' | b']' | b'{' | b'}' | b',' | b':'));
        if tokens.count() > MAX_LINE_TOKENS {
            let message = format!("more than {MAX_LINE_TOKENS} brackets, commas and colons in one line: break it");
            return Err(SyntaxError::new(position_of(line, 1), message));
        }
    }
    Ok(())
}

/// A collection that is being filled.
struct Open {
    node: Node,
    anchor: usize,
    /// Of an object: the name whose value comes next.
    name: Option<(String, Position)>,
    /// Of an object: its names so far.
    names: HashMap<String, Position>,
    /// The nodes in it, itself included.
    size: usize,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    /// The finished nodes that have an anchor, with their sizes.
    anchors: HashMap<usize, (Node, usize)>,
    /// The nodes made so far, copies included.
    nodes: usize,
}

impl Builder {
    fn read(&mut self, text: &str) -> Result<(), SyntaxError> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                SyntaxError::new(position(error.marker()), format!("not valid YAML: {}", error.info()))
            })?;
            self.take(event, span)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let at = position(&span.start);
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref()).map_err(|message| SyntaxError::new(at, message))?;
                self.count(1, at)?;
                if self.awaits_name() {
                    return self.name(&text, &value, at);
                }
                self.add(Node { at, value }, anchor, 1)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Value::List(Vec::new()), anchor, tag.as_deref(), "seq", at)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Value::Map(Vec::new()), anchor, tag.as_deref(), "map", at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.add(open.node, open.anchor, open.size)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
                    return Err(SyntaxError::new(
                        at,
                        "an alias to an anchor that is not complete before it",
                    ));
                };
                self.count(size, at)?;
                if let Some((node, _)) = self.anchors.get(&anchor) {
                    self.add(node.clone(), 0, size)?;
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    /// Counts nodes before they are made.
    fn count(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} nodes in one file, repeats by aliases included");
            return Err(SyntaxError::new(at, message));
        }
        Ok(())
    }

    /// Whether what comes next is the name of a field.
    fn awaits_name(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.node.value, Value::Map(_)) && open.name.is_none())
    }

    fn begin(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<&Tag>,
        expected: &str,
        at: Position,
    ) -> Result<(), SyntaxError> {
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == expected)) {
            return Err(SyntaxError::new(at, "tags other than YAML's own are not supported"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError::new(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if self.awaits_name() {
            return Err(SyntaxError::new(at, "a field's name must be text"));
        }
        self.count(1, at)?;
        self.open.push(Open {
            node: Node { at, value },
            anchor,
            name: None,
            names: HashMap::new(),
            size: 1,
        });
        Ok(())
    }

    fn name(&mut self, text: &str, value: &Value, at: Position) -> Result<(), SyntaxError> {
        match value {
            Value::Null => return Err(SyntaxError::new(at, "a field without a name")),
            Value::Bool(..) if !matches!(text, "true" | "false") => {
                let message = format!("kubectl reads the name `{text}` as a boolean: put it in quotes");
                return Err(SyntaxError::new(at, message));
            }
            Value::Text(_) if text == "<<" => {
                let message = "merge keys (`<<`) are not supported: write the fields out";
                return Err(SyntaxError::new(at, message));
            }
            _ => {}
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(first) = open.names.insert(text.to_owned(), at) {
            let message = format!("the field `{text}` is already set in line {}", first.line);
            return Err(SyntaxError::new(at, message));
        }
        open.name = Some((text.to_owned(), at));
        Ok(())
    }

    /// Puts a finished node where it belongs. `size` is the number of nodes in it.
    fn add(&mut self, mut node: Node, anchor: usize, size: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            self.count(size, node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        open.size += size;
        match &mut open.node.value {
            Value::List(elements) => elements.push(node),
            Value::Map(fields) => {
                let Some((name, at)) = open.name.take() else {
                    return Err(SyntaxError::new(node.at, "a field's name must be text"));
                };
                if matches!(node.value, Value::List(_) | Value::Map(_)) {
                    node.at = at;
                }
                fields.push(Field { name, at, node });
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a scalar means by its style and tag.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => scalars::resolve(text),
            _ => Ok(Value::Text(text.to_owned())),
        };
    };
    let suffix = if tag.is_yaml_core_schema() {
        tag.suffix.as_str()
    } else {
        ""
    };
    let resolved = match (suffix, scalars::resolve(text)) {
        ("str", _) => return Ok(Value::Text(text.to_owned())),
        (_, Err(message)) => return Err(message),
        (_, Ok(resolved)) => resolved,
    };
    match (suffix, &resolved) {
        ("int", Value::Int(..)) | ("bool", Value::Bool(..)) | ("null", Value::Null) => Ok(resolved),
        ("float", Value::Int(number, spelled)) => Ok(Value::Double(*number as f64, spelled.clone())),
        ("float", Value::Double(..)) => Ok(resolved),
        ("int" | "bool" | "null" | "float", _) => Err(format!("what is tagged !!{suffix} is none")),
        _ => Err("tags other than YAML's own are not supported".to_owned()),
    }
}

fn position(marker: &Marker) -> Position {
    position_of(marker.line(), marker.col() + 1)
}

fn position_of(line: usize, column: usize) -> Position {
    Position {
        line: u32::try_from(line.max(1)).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn json(text: &str) -> serde_json::Value {
        let parsed = parse(text);
        assert_eq!(parsed.error, None, "{text}");
        parsed.documents[0].to_json()
    }

    fn error(text: &str) -> String {
        let error = parse(text).error.unwrap();
        format!("{}:{}: {}", error.at.line, error.at.column, error.message)
    }

    #[test]
    fn documents_become_trees_with_places() {
        let parsed = parse("# shop\n---\na: 1\n---\n---\nb: [x, {c: ~}]\n");
        assert_eq!(parsed.error, None);
        assert_eq!(parsed.documents.len(), 2);
        let b = parsed.documents[1].field("b").unwrap();
        assert_eq!((b.at.line, b.at.column), (6, 1));
        let x = &b.node.elements()[0];
        assert_eq!((x.at.line, x.at.column), (6, 5));
        assert_eq!(parsed.documents[1].to_json(), serde_json::json!({"b": ["x", {}]}));
    }

    #[test]
    fn quoting_and_tags_make_text() {
        assert_eq!(
            json("a: \"1\"\nb: '~'\nc: !!str 1\nd: |\n  two\n  lines\ne: !!float 1\n"),
            serde_json::json!({"a": "1", "b": "~", "c": "1", "d": "two\nlines\n", "e": 1.0})
        );
        assert_eq!(
            error("a: !secret x"),
            "1:4: tags other than YAML's own are not supported"
        );
        assert_eq!(error("a: !!int x"), "1:4: what is tagged !!int is none");
    }

    #[test]
    fn an_alias_repeats_what_its_anchor_holds() {
        assert_eq!(
            json("a: &x {k: [1]}\nb: *x\n"),
            serde_json::json!({"a": {"k": [1]}, "b": {"k": [1]}})
        );
        assert_eq!(
            error("a: &x 1\n---\nb: *x\n"),
            "3:4: an alias to an anchor that is not complete before it"
        );
        assert_eq!(
            error("a: &x [*x]\n"),
            "1:8: an alias to an anchor that is not complete before it"
        );
        assert_eq!(
            error("a: &x {k: 1}\nb: {<<: *x}\n"),
            "2:5: merge keys (`<<`) are not supported: write the fields out"
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_before_it_grows() {
        let mut bomb = "l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..20 {
            let alias = format!("*l{},", level - 1).repeat(10);
            bomb.push_str(&format!("l{level}: &l{level} [{alias}]\n"));
        }
        assert!(error(&bomb).contains("more than 200000 nodes"), "{}", error(&bomb));
    }

    #[test]
    fn deep_nesting_is_refused_and_never_overflows_the_stack() {
        assert!(error(&format!("{}{}", "[".repeat(80), "]".repeat(80))).contains("nested deeper than 64 levels"));
        assert!(
            error(&"[".repeat(100_000)).contains("recursion limit"),
            "the scanner's own limit"
        );
        let block: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(error(&block).contains("nested deeper than 64 levels"));
    }

    #[test]
    fn a_line_that_the_scanner_would_hoard_is_refused_before_it_sees_it() {
        let long = format!("a: 1\nb: [{}]\n", "x,".repeat(MAX_LINE_TOKENS));
        assert!(
            error(&long).starts_with("2:1: more than 100000 brackets"),
            "{}",
            error(&long)
        );
        let broken = format!("b: [{}]\n", "x,\n ".repeat(MAX_LINE_TOKENS));
        assert_eq!(parse(&broken).error, None);
    }

    #[test]
    fn a_repeated_field_is_refused_where_it_stands() {
        assert_eq!(
            error("spec:\n  a: 1\n  b: 2\n  a: 3\n"),
            "4:3: the field `a` is already set in line 2"
        );
    }

    #[test]
    fn what_is_no_yaml_is_named_with_its_place() {
        assert!(error("a: b: c\n").starts_with("1:"), "{}", error("a: b: c\n"));
        assert!(error("a: [1, 2\nb: 3\n").contains("not valid YAML"));
        let parsed = parse("a: 1\n---\n{]\n");
        assert_eq!(parsed.documents.len(), 1, "the documents before the mistake are there");
        assert!(parsed.error.is_some());
        let latin1 = parse_bytes(b"a: 1\nb: caf\xe9\n").error.unwrap();
        assert_eq!((latin1.at.line, latin1.at.column), (2, 7));
    }

    #[test]
    fn a_name_that_kubectl_takes_for_a_boolean_is_refused() {
        assert_eq!(
            error("eventNames: {on: x}"),
            "1:14: kubectl reads the name `on` as a boolean: put it in quotes"
        );
    }
}
