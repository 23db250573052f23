//! The syntax tree to the tree that is evaluated: names are resolved, types inferred, mistakes reported.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

use crate::{
    Environment, Root, Type, Value, expression::Reads, functions::Function, infer, suggest::did_you_mean, tree::Node,
};

/// Why an expression is refused, at which node of the syntax tree.
pub(crate) struct Fault {
    pub(crate) node: u64,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(node: &IdedExpr, message: impl Into<String>) -> Self {
        Self {
            node: node.id,
            message: message.into(),
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// A compiled node and the type of its value.
pub(crate) type Typed = (Node, Type);

/// Compiles `syntax` for the place that `environment` describes.
pub(crate) fn compile(syntax: &IdedExpr, environment: &Environment) -> Result<(Node, Type, Reads)> {
    let mut compiler = Compiler {
        environment,
        elements: Vec::new(),
        patterns: 0,
        reads: Reads::default(),
    };
    let (node, result) = compiler.node(syntax)?;
    Ok((node, result, compiler.reads))
}

pub(crate) struct Compiler<'c> {
    pub(crate) environment: &'c Environment,
    /// The names of the elements of the comprehensions around the node being compiled, outermost first.
    pub(crate) elements: Vec<String>,
    /// The regular expressions so far.
    pub(crate) patterns: usize,
    pub(crate) reads: Reads,
}

impl Compiler<'_> {
    pub(crate) fn node(&mut self, syntax: &IdedExpr) -> Result<Typed> {
        match &syntax.expr {
            Expr::Literal(literal) => self::literal(syntax, literal),
            Expr::Ident(name) => self.name(syntax, name),
            Expr::Select(select) => self.selection(syntax, select),
            Expr::Call(call) => self.call(syntax, call),
            Expr::List(list) => {
                let mut elements = Vec::with_capacity(list.elements.len());
                for element in &list.elements {
                    elements.push(self.node(element)?.0);
                }
                Ok((Node::List(elements), Type::List))
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        entries.push(self.map_entry(&entry.key, &entry.value)?);
                    }
                }
                Ok((Node::Map(entries), Type::Map))
            }
            Expr::Comprehension(comprehension) => self.comprehension(syntax, comprehension),
            Expr::Struct(_) => Err(Fault::new(
                syntax,
                "there are no message types: write a map, {'name': value}",
            )),
            Expr::Unspecified => Err(Fault::new(syntax, "the expression cannot be read")),
        }
    }

    fn map_entry(&mut self, key: &IdedExpr, value: &IdedExpr) -> Result<(Node, Node)> {
        let (key_node, kind) = self.node(key)?;
        if !matches!(kind, Type::String | Type::Dyn) {
            return Err(Fault::new(key, format!("the keys of a map are text, not {kind}")));
        }
        Ok((key_node, self.node(value)?.0))
    }

    /// The root that `syntax` names, unless an element of the same name hides it.
    fn root_of(&self, syntax: &IdedExpr) -> Option<Root> {
        let Expr::Ident(name) = &syntax.expr else { return None };
        if self.elements.contains(name) {
            return None;
        }
        let mut roots = self.environment.roots().iter();
        roots.find(|root| root.name() == name).copied()
    }

    fn name(&mut self, syntax: &IdedExpr, name: &str) -> Result<Typed> {
        if let Some(outward) = self.elements.iter().rev().position(|element| element == name) {
            return Ok((Node::Element(outward), Type::Dyn));
        }
        match self.root_of(syntax) {
            Some(Root::Vars) => Err(Fault::new(syntax, "read a variable by its name, as vars.low_stock")),
            Some(root) => {
                self.note_whole(root);
                let kind = if root == Root::This { Type::Dyn } else { Type::Map };
                Ok((Node::Root(root), kind))
            }
            None => Err(Fault::new(syntax, self.unknown_name(name))),
        }
    }

    fn unknown_name(&self, name: &str) -> String {
        let known = self.environment.roots().iter().map(|root| root.name());
        let readable = known.clone().collect::<Vec<_>>().join(", ");
        match name {
            "oldSelf" => "`oldSelf` is the object's former state, which a file does not have".to_owned(),
            "request" => format!(
                "`request` is not kept with the event: read it in a variable of the container, then vars.name here \
                 (here: {readable})"
            ),
            _ => format!("unknown name `{name}`{}; here: {readable}", did_you_mean(name, known)),
        }
    }

    fn selection(&mut self, syntax: &IdedExpr, select: &SelectExpr) -> Result<Typed> {
        if let Some(root) = self.root_of(&select.operand).filter(|root| *root != Root::This) {
            return self.root_field(syntax, root, &select.field, select.test);
        }
        let (operand, kind) = self.node(&select.operand)?;
        self.select(syntax, operand, kind, &select.field, select.test)
    }

    /// `root.name`, or `has(root.name)`.
    fn root_field(&mut self, syntax: &IdedExpr, root: Root, name: &str, test: bool) -> Result<Typed> {
        let arc: Arc<str> = Arc::from(name);
        if root == Root::Vars {
            let variables = self.environment.variables();
            let Some(kind) = variables.get(name).copied() else {
                let meant = did_you_mean(name, variables.keys().map(String::as_str));
                return Err(Fault::new(syntax, format!("there is no variable `{name}`{meant}")));
            };
            self.reads.variables.insert(arc.clone());
            return Ok(if test {
                (Node::HasVariable(arc), Type::Bool)
            } else {
                (Node::Variable(arc), kind)
            });
        }
        let Some(kind) = infer::field(root, name) else {
            let meant = did_you_mean(name, infer::fields(root));
            let fields = infer::fields(root).collect::<Vec<_>>().join(", ");
            let root = root.name();
            return Err(Fault::new(
                syntax,
                format!("`{root}` has no field `{name}`{meant}; it has: {fields}"),
            ));
        };
        match root {
            Root::Event => {
                self.reads.event_fields.insert(arc.clone());
            }
            Root::Request => {
                self.reads.request_fields.insert(arc.clone());
            }
            _ => {}
        }
        Ok(if test {
            (Node::HasField { root, name: arc }, Type::Bool)
        } else {
            (Node::Field { root, name: arc }, kind)
        })
    }

    /// `operand.name`, or `has(operand.name)`.
    fn select(&self, syntax: &IdedExpr, operand: Node, kind: Type, name: &str, test: bool) -> Result<Typed> {
        if !matches!(kind, Type::Map | Type::Dyn) {
            return Err(Fault::new(
                syntax,
                format!("`.{name}` reads from a map, not from {kind}"),
            ));
        }
        let entry = self.entry_type(syntax, &operand, name)?;
        let operand = Box::new(operand);
        let name = Arc::from(name);
        Ok(if test {
            (Node::Has { operand, name }, Type::Bool)
        } else {
            (Node::Select { operand, name }, entry)
        })
    }

    /// The type of the entry `name` of what `operand` gives, where its entries are known.
    fn entry_type(&self, syntax: &IdedExpr, operand: &Node, name: &str) -> Result<Type> {
        match operand {
            Node::Lookup { table, .. } => {
                if let Some(Some(columns)) = self.environment.tables().get(table.as_ref())
                    && !columns.contains(name)
                {
                    let meant = did_you_mean(name, columns.iter().map(String::as_str));
                    let columns = columns.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let message = format!("lookup table `{table}` has no column `{name}`{meant}; it has: {columns}");
                    return Err(Fault::new(syntax, message));
                }
                Ok(Type::String)
            }
            Node::Call {
                function: Function::Url,
                ..
            } => match name {
                "scheme" | "host" | "path" | "fragment" => Ok(Type::String),
                "query" => Ok(Type::Map),
                _ => {
                    let message = format!("url() has no part `{name}`; it has: scheme, host, path, query, fragment");
                    Err(Fault::new(syntax, message))
                }
            },
            Node::Select { operand, name } if name.as_ref() == "query" && is_url(operand) => Ok(Type::String),
            _ => Ok(Type::Dyn),
        }
    }

    /// `operand[index]`.
    pub(crate) fn index(&mut self, syntax: &IdedExpr, operand: &IdedExpr, index: &IdedExpr) -> Result<Typed> {
        if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
            let select = SelectExpr {
                operand: Box::new(operand.clone()),
                field: name.inner().to_owned(),
                test: false,
            };
            return self.selection(syntax, &select);
        }
        if let Some(root) = self.root_of(operand).filter(|root| *root != Root::This) {
            let (key, kind) = self.node(index)?;
            if root == Root::Vars || !matches!(kind, Type::String | Type::Dyn) {
                let root = root.name();
                return Err(Fault::new(
                    index,
                    format!("name the field of `{root}` in quotes, as {root}['name']"),
                ));
            }
            self.note_whole(root);
            let key = Box::new(key);
            return Ok((Node::FieldAt { root, key }, Type::Dyn));
        }
        let (operand_node, operand_kind) = self.node(operand)?;
        let (index_node, index_kind) = self.node(index)?;
        let fits = match operand_kind {
            Type::List => index_kind.is_number() || index_kind == Type::Dyn,
            Type::Map => matches!(index_kind, Type::String | Type::Dyn),
            Type::Dyn => index_kind.is_number() || matches!(index_kind, Type::String | Type::Dyn),
            _ => false,
        };
        if !fits {
            let message = format!(
                "`[]` reads from a list by number or from a map by text, not from {operand_kind} by {index_kind}"
            );
            return Err(Fault::new(syntax, message));
        }
        let (operand, index) = (Box::new(operand_node), Box::new(index_node));
        Ok((Node::Index { operand, index }, Type::Dyn))
    }

    /// `key in root`, if the right side is a root whose fields are read one by one.
    pub(crate) fn in_root(&mut self, key: &IdedExpr, container: &IdedExpr) -> Option<Result<Typed>> {
        let root = self.root_of(container)?;
        if !matches!(root, Root::Event | Root::Consent | Root::Request) {
            return None;
        }
        if let Expr::Literal(LiteralValue::String(name)) = &key.expr {
            return Some(self.root_field(key, root, name.inner(), true));
        }
        self.note_whole(root);
        Some(self.node(key).and_then(|(node, kind)| {
            infer::binary(crate::operators::Operator::In, kind, Type::Map)
                .map_err(|message| Fault::new(key, message))?;
            let key = Box::new(node);
            Ok((Node::InRoot { root, key }, Type::Bool))
        }))
    }

    fn note_whole(&mut self, root: Root) {
        match root {
            Root::Event => self.reads.whole_event = true,
            Root::Request => self.reads.whole_request = true,
            _ => {}
        }
    }
}

fn is_url(node: &Node) -> bool {
    matches!(
        node,
        Node::Call {
            function: Function::Url,
            ..
        }
    )
}

fn literal(syntax: &IdedExpr, literal: &LiteralValue) -> Result<Typed> {
    let value = match literal {
        LiteralValue::Null => Value::Null,
        LiteralValue::Boolean(truth) => Value::Bool(*truth.inner()),
        LiteralValue::Int(number) => Value::Int(*number.inner()),
        LiteralValue::UInt(number) => Value::Uint(*number.inner()),
        LiteralValue::Double(number) => Value::Double(*number.inner()),
        LiteralValue::String(text) => Value::String(text.inner().to_owned().into()),
        LiteralValue::Bytes(_) => {
            return Err(Fault::new(
                syntax,
                "events hold text, not bytes: write the text without the b before it",
            ));
        }
    };
    let kind = Type::of(&value);
    Ok((Node::Literal(value), kind))
}

/// The text of a literal, if `syntax` is one.
pub(crate) fn literal_text(syntax: &IdedExpr) -> Option<&str> {
    match &syntax.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The receiver of a method, if there is one, and the arguments.
pub(crate) fn all_arguments(call: &CallExpr) -> impl Iterator<Item = &IdedExpr> {
    call.target.as_deref().into_iter().chain(&call.args)
}
