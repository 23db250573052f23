//! A manifest as a tree in which every node and every key knows its line and column.

use std::fmt;

use serde_json::{Map as JsonMap, Number, Value as Json};

use super::finding::Position;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands. An object or a list that is a field's value stands where the field's name does.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// The kinds of node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, with its spelling.
    Bool(bool, Box<str>),
    /// A whole number, with its spelling.
    Int(i64, Box<str>),
    /// Any other finite number, with its spelling.
    Double(f64, Box<str>),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object; its names are unique.
    Map(Vec<Field>),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// Where the name stands.
    pub at: Position,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The tree of JSON, as the API server gives it: of no file, so all of it stands at the start.
    #[must_use]
    pub fn from_json(json: &Json) -> Self {
        let at = Position::START;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(*truth, truth.to_string().into()),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole, number.to_string().into()),
                (None, Some(double)) => Value::Double(double, number.to_string().into()),
                (None, None) => Value::Text(number.to_string()),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(elements) => Value::List(elements.iter().map(Self::from_json).collect()),
            Json::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(name, value)| Field {
                        name: name.clone(),
                        at,
                        node: Self::from_json(value),
                    })
                    .collect(),
            ),
        };
        Self { at, value }
    }

    /// The field's value, if this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.field(name).map(|field| &field.node)
    }

    /// The field, if this is an object that has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// The fields of an object; none of any other node.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Map(fields) => fields,
            _ => &[],
        }
    }

    /// The elements of a list; none of any other node.
    #[must_use]
    pub fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is written here.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The node as JSON. Fields that are null are left out, as the API server drops them.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(truth, _) => Json::Bool(*truth),
            Value::Int(number, _) => Json::Number((*number).into()),
            Value::Double(number, _) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(elements) => Json::Array(elements.iter().map(Node::to_json).collect()),
            Value::Map(fields) => Json::Object(
                fields
                    .iter()
                    .filter(|field| !field.node.is_null())
                    .map(|field| (field.name.clone(), field.node.to_json()))
                    .collect::<JsonMap<_, _>>(),
            ),
        }
    }

    /// Where the field of this path stands, as `spec.clients[0].ga4`, or the deepest part of it that is written.
    #[must_use]
    pub fn locate(&self, path: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for step in steps(path) {
            let found = match step {
                Step::Field(name) => node.field(name).map(|field| {
                    // A wrong value is marked where it stands; an object by its name.
                    let marked = field.node.at.max(field.at);
                    (&field.node, if field.node.is_null() { field.at } else { marked })
                }),
                Step::Index(index) => node.elements().get(index).map(|element| (element, element.at)),
            };
            match found {
                Some((child, place)) => (node, at) = (child, place),
                None => break,
            }
        }
        at
    }
}

enum Step<'p> {
    Field(&'p str),
    Index(usize),
}

/// The steps of a path: names between points, `[n]` an element, `[anything else]` a name with points in it.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return None;
        }
        if let Some(behind) = rest.strip_prefix('[') {
            let (inside, after) = behind.split_once(']').unwrap_or((behind, ""));
            rest = after;
            let inside = inside.trim_matches('"');
            return Some(inside.parse().map_or(Step::Field(inside), Step::Index));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        Some(Step::Field(name))
    })
}

/// A field's path, grown on the stack while a tree is walked.
#[derive(Clone, Copy, Debug)]
pub enum Path<'p> {
    /// The object itself.
    Root,
    /// A field of what stands at the path.
    Field(&'p Path<'p>, &'p str),
    /// An element of what stands at the path.
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(out, "{parent}[{index}]"),
            Self::Field(parent, name) if name.contains(['.', '[', ']', '/']) => write!(out, "{parent}[\"{name}\"]"),
            Self::Field(Path::Root, name) => out.write_str(name),
            Self::Field(parent, name) => write!(out, "{parent}.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::config::manifests::parse;

    #[test]
    fn a_path_leads_to_the_deepest_place_that_is_written() {
        let tree = &parse("spec:\n  clients:\n  - name: web\n    ga4: {measurementIds: [G-1, 2]}\n").documents[0];
        let place = |path| {
            let at = tree.locate(path);
            (at.line, at.column)
        };
        assert_eq!(place("spec.clients[0].ga4.measurementIds[1]"), (4, 33));
        assert_eq!(place("spec.clients[0].name"), (3, 11));
        assert_eq!(place("spec.clients[0].json.path"), (3, 5));
        assert_eq!(place("spec.clients[0].ga4"), (4, 5));
        assert_eq!(place("metadata.name"), (1, 1));
    }

    #[test]
    fn json_becomes_the_tree_that_its_text_would_be() {
        let text = r#"{"spec": {"a": [1, 2.5, true, null, "x"], "b": {"c": ""}}}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(Node::from_json(&json).to_json(), parse(text).documents[0].to_json());
    }

    #[test]
    fn names_with_points_stand_in_brackets() {
        let spec = Path::Field(&Path::Root, "spec");
        assert_eq!(
            Path::Index(&Path::Field(&spec, "a.b"), 3).to_string(),
            "spec[\"a.b\"][3]"
        );
    }
}
