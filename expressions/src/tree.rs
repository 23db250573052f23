//! The tree that an expression is compiled to, and that the evaluator walks.

use std::sync::Arc;

use regex::Regex;

use crate::{Root, Value, functions::Function, operators::Operator};

/// One step of an expression. Every node costs one step when it is evaluated.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A constant.
    Literal(Value<'static>),
    /// The element of a comprehension around this node; 0 is the innermost.
    Element(usize),
    /// A whole root.
    Root(Root),
    /// `event.x`.
    Field { root: Root, name: Arc<str> },
    /// `event[key]`.
    FieldAt { root: Root, key: Box<Node> },
    /// `vars.x`.
    Variable(Arc<str>),
    /// `has(event.x)`.
    HasField { root: Root, name: Arc<str> },
    /// `has(vars.x)`.
    HasVariable(Arc<str>),
    /// `operand.name`.
    Select { operand: Box<Node>, name: Arc<str> },
    /// `has(operand.name)`.
    Has { operand: Box<Node>, name: Arc<str> },
    /// `operand[index]`.
    Index { operand: Box<Node>, index: Box<Node> },
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{'a': b}`.
    Map(Vec<(Node, Node)>),
    /// `a && b && c`.
    And(Vec<Node>),
    /// `a || b || c`.
    Or(Vec<Node>),
    /// `!a`.
    Not(Box<Node>),
    /// `-a`.
    Negate(Box<Node>),
    /// `a ? b : c`.
    Conditional(Box<[Node; 3]>),
    /// `a + b`, `a < b`, `a in b` and their like.
    Binary { operator: Operator, sides: Box<[Node; 2]> },
    /// `key in event`.
    InRoot { root: Root, key: Box<Node> },
    /// A function of values.
    Call { function: Function, arguments: Vec<Node> },
    /// `text.matches('pattern')`.
    Matches { text: Box<Node>, pattern: Regex },
    /// `text.find('pattern')`.
    Find { text: Box<Node>, pattern: Regex },
    /// `lookup('table', key)`.
    Lookup { table: Arc<str>, key: Box<Node> },
    /// `value.orElse(default)`.
    OrElse(Box<[Node; 2]>),
    /// `range.all(x, predicate)` and its like.
    Comprehension(Box<Comprehension>),
}

/// One of the macros that go over a list, or over the keys of a map.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    pub(crate) range: Node,
    pub(crate) kind: ComprehensionKind,
}

/// What a comprehension does with each element.
#[derive(Clone, Debug)]
pub(crate) enum ComprehensionKind {
    /// Whether the predicate holds for all.
    All(Node),
    /// Whether it holds for one or more.
    Exists(Node),
    /// Whether it holds for exactly one.
    ExistsOne(Node),
    /// The elements for which it holds.
    Filter(Node),
    /// The transform of each element (for which the predicate, if there is one, holds).
    Map { predicate: Option<Node>, transform: Node },
}
