//! Compiles operators, functions and macros.

use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, operators as names};
use regex::{Regex, RegexBuilder};

use crate::{
    Root, Type,
    compile::{Compiler, Fault, Result, Typed, all_arguments, literal_text},
    functions::{SIGNATURES, Signature, Style},
    infer,
    operators::Operator,
    schema_functions::SCHEMA_SIGNATURES,
    suggest::did_you_mean,
    tree::{Comprehension, ComprehensionKind, Node},
};

/// The regular expressions of one expression; each may take up to a megabyte when compiled.
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 1 << 20;
const MAX_PATTERN_CACHE_BYTES: usize = 1 << 19;
const MAX_PATTERN_NESTING: u32 = 50;

/// The functions and macros that have no [`Signature`], and how each is called.
const OTHERS: [(&str, &str); 11] = [
    ("matches", "text.matches('pattern')"),
    ("find", "text.find('pattern')"),
    ("lookup", "lookup('table', event.sku).column"),
    ("orElse", "event.value.orElse(0)"),
    ("dyn", "dyn(event.value)"),
    ("has", "has(event.value)"),
    ("all", "list.all(x, x.price > 0)"),
    ("exists", "list.exists(x, x.price > 0)"),
    ("exists_one", "list.exists_one(x, x.price > 0)"),
    ("map", "list.map(x, x.price) or list.map(x, x.price > 0, x.price)"),
    ("filter", "list.filter(x, x.price > 0)"),
];

impl Compiler<'_> {
    pub(crate) fn call(&mut self, syntax: &IdedExpr, call: &CallExpr) -> Result<Typed> {
        if let (None, [left, right]) = (&call.target, call.args.as_slice())
            && let Some(operator) = binary_operator(&call.func_name)
        {
            return self.binary(syntax, operator, left, right);
        }
        let at = |message| Fault::new(syntax, message);
        match (call.func_name.as_str(), call.args.as_slice()) {
            (names::LOGICAL_AND, sides) => Ok((Node::And(self.sides("&&", sides)?), Type::Bool)),
            (names::LOGICAL_OR, sides) => Ok((Node::Or(self.sides("||", sides)?), Type::Bool)),
            (names::LOGICAL_NOT, [side]) => {
                let (node, kind) = self.node(side)?;
                infer::truth("!", kind).map_err(at)?;
                Ok((Node::Not(Box::new(node)), Type::Bool))
            }
            (names::NEGATE, [side]) => {
                let (node, kind) = self.node(side)?;
                Ok((Node::Negate(Box::new(node)), infer::negation(kind).map_err(at)?))
            }
            (names::CONDITIONAL, [condition, yes, no]) => {
                let (condition, kind) = self.node(condition)?;
                infer::truth("? :", kind).map_err(at)?;
                let (yes, one) = self.node(yes)?;
                let (no, other) = self.node(no)?;
                Ok((
                    Node::Conditional(Box::new([condition, yes, no])),
                    infer::either(one, other),
                ))
            }
            (names::INDEX, [operand, index]) => self.index(syntax, operand, index),
            _ => self.function(syntax, call),
        }
    }

    fn sides(&mut self, operator: &str, sides: &[IdedExpr]) -> Result<Vec<Node>> {
        let mut nodes = Vec::with_capacity(sides.len());
        for side in sides {
            let (node, kind) = self.node(side)?;
            infer::truth(operator, kind).map_err(|message| Fault::new(side, message))?;
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn binary(&mut self, syntax: &IdedExpr, operator: Operator, left: &IdedExpr, right: &IdedExpr) -> Result<Typed> {
        if operator == Operator::In
            && let Some(result) = self.in_root(left, right)
        {
            return result;
        }
        let (left, left_kind) = self.node(left)?;
        let (right, right_kind) = self.node(right)?;
        let kind = infer::binary(operator, left_kind, right_kind).map_err(|message| Fault::new(syntax, message))?;
        let sides = Box::new([left, right]);
        Ok((Node::Binary { operator, sides }, kind))
    }

    fn function(&mut self, syntax: &IdedExpr, call: &CallExpr) -> Result<Typed> {
        let name = call.func_name.as_str();
        let of_rules = if self.environment.roots().contains(&Root::This) {
            &SCHEMA_SIGNATURES[..]
        } else {
            &[]
        };
        if let Some(signature) = SIGNATURES
            .iter()
            .chain(of_rules)
            .find(|signature| signature.name == name)
        {
            return self.plain_function(syntax, call, signature);
        }
        let wrong_form = || {
            let usage = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, usage)| *usage);
            usage.map(|usage| Fault::new(syntax, format!("`{name}` is written {usage}")))
        };
        match (name, call.target.as_deref(), call.args.as_slice()) {
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                let text = self.text(syntax, name, text)?;
                let pattern = self.pattern(name, pattern)?;
                Ok((Node::Matches { text, pattern }, Type::Bool))
            }
            ("find", Some(text), [pattern]) => {
                let text = self.text(syntax, name, text)?;
                let pattern = self.pattern(name, pattern)?;
                Ok((Node::Find { text, pattern }, Type::String))
            }
            ("lookup", None, [table, key]) => self.lookup(table, key),
            ("orElse", Some(value), [default]) => {
                let (value, one) = self.node(value)?;
                let (default, other) = self.node(default)?;
                Ok((Node::OrElse(Box::new([value, default])), infer::either(one, other)))
            }
            ("dyn", None, [value]) => Ok((self.node(value)?.0, Type::Dyn)),
            _ => Err(wrong_form().unwrap_or_else(|| Fault::new(syntax, unknown_function(name)))),
        }
    }

    fn plain_function(&mut self, syntax: &IdedExpr, call: &CallExpr, signature: &Signature) -> Result<Typed> {
        let arguments = all_arguments(call).count();
        let fits = match signature.style {
            Style::Method => call.target.is_some(),
            Style::Global => call.target.is_none(),
            Style::Either => true,
        };
        let most = signature.takes.len();
        if !fits || arguments > most || arguments + signature.optional < most {
            let message = format!("`{}` is written {}", signature.name, signature.usage);
            return Err(Fault::new(syntax, message));
        }
        let mut nodes = Vec::with_capacity(arguments);
        for (argument, takes) in all_arguments(call).zip(signature.takes) {
            let (node, kind) = self.node(argument)?;
            if kind != Type::Dyn && !takes.contains(&kind) {
                let takes = takes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let message = format!("`{}` takes {takes} here, not {kind}", signature.name);
                return Err(Fault::new(argument, message));
            }
            nodes.push(node);
        }
        let node = Node::Call {
            function: signature.function,
            arguments: nodes,
        };
        Ok((node, signature.gives))
    }

    fn text(&mut self, syntax: &IdedExpr, function: &str, text: &IdedExpr) -> Result<Box<Node>> {
        let (node, kind) = self.node(text)?;
        if matches!(kind, Type::String | Type::Dyn) {
            Ok(Box::new(node))
        } else {
            Err(Fault::new(syntax, format!("`{function}` takes string, not {kind}")))
        }
    }

    /// A regular expression, which is compiled here and never per hit. So it must be a literal.
    fn pattern(&mut self, function: &str, pattern: &IdedExpr) -> Result<Regex> {
        let Some(text) = literal_text(pattern) else {
            let message =
                format!("the pattern of `{function}` must stand in quotes: it is compiled once, not for each hit");
            return Err(Fault::new(pattern, message));
        };
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            let message = format!("an expression may have {MAX_PATTERNS} patterns: join them, as 'a|b'");
            return Err(Fault::new(pattern, message));
        }
        RegexBuilder::new(text)
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_CACHE_BYTES)
            .nest_limit(MAX_PATTERN_NESTING)
            .build()
            .map_err(|error| {
                let reason = match error {
                    regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
                    // The last line says what is wrong; the lines before repeat the pattern.
                    other => other
                        .to_string()
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .to_owned(),
                };
                Fault::new(pattern, format!("the pattern cannot be used: {reason}"))
            })
    }

    fn lookup(&mut self, table: &IdedExpr, key: &IdedExpr) -> Result<Typed> {
        let Some(name) = literal_text(table) else {
            return Err(Fault::new(
                table,
                "name the table in quotes, as lookup('stock', event.sku)",
            ));
        };
        let tables = self.environment.tables();
        if !tables.contains_key(name) {
            let meant = did_you_mean(name, tables.keys().map(String::as_str));
            return Err(Fault::new(table, format!("there is no lookup table `{name}`{meant}")));
        }
        let (node, kind) = self.node(key)?;
        if matches!(kind, Type::Null | Type::List | Type::Map) {
            return Err(Fault::new(key, format!("a lookup key is text or a number, not {kind}")));
        }
        let table: Arc<str> = Arc::from(name);
        self.reads.tables.insert(table.clone());
        let key = Box::new(node);
        Ok((Node::Lookup { table, key }, Type::Map))
    }

    pub(crate) fn comprehension(&mut self, syntax: &IdedExpr, comprehension: &ComprehensionExpr) -> Result<Typed> {
        let (range, range_kind) = self.node(&comprehension.iter_range)?;
        if !matches!(range_kind, Type::List | Type::Map | Type::Dyn) {
            let message =
                format!("all, exists, exists_one, map and filter go over a list or a map, not over {range_kind}");
            return Err(Fault::new(syntax, message));
        }
        if self.elements.len() >= self.environment.nested_comprehensions() {
            let message = "one of all, exists, exists_one, map and filter may not stand inside another: it could take far too \
                           long for a hit";
            return Err(Fault::new(syntax, message));
        }
        self.elements.push(comprehension.iter_var.clone());
        let compiled = self.comprehension_kind(syntax, comprehension);
        self.elements.pop();
        let (kind, result) = compiled?;
        Ok((Node::Comprehension(Box::new(Comprehension { range, kind })), result))
    }

    /// Recognises the macro by the loop that the parser expanded it to: the accumulator's start and its next value.
    fn comprehension_kind(
        &mut self,
        syntax: &IdedExpr,
        comprehension: &ComprehensionExpr,
    ) -> Result<(ComprehensionKind, Type)> {
        let unknown = || Fault::new(syntax, "this loop is no macro of the language");
        let Expr::Call(step) = &comprehension.loop_step.expr else {
            return Err(unknown());
        };
        match (step.func_name.as_str(), step.args.as_slice()) {
            // accumulator && predicate
            (names::LOGICAL_AND, [_, predicate]) => {
                Ok((ComprehensionKind::All(self.predicate("all", predicate)?), Type::Bool))
            }
            // accumulator || predicate
            (names::LOGICAL_OR, [_, predicate]) => Ok((
                ComprehensionKind::Exists(self.predicate("exists", predicate)?),
                Type::Bool,
            )),
            // accumulator + [transform]
            (names::ADD, [_, result]) => {
                let transform = single(result).ok_or_else(unknown)?;
                let (transform, _) = self.node(transform)?;
                let predicate = None;
                Ok((ComprehensionKind::Map { predicate, transform }, Type::List))
            }
            // predicate ? accumulator + something : accumulator
            (names::CONDITIONAL, [predicate, next, _]) => {
                let Expr::Call(next) = &next.expr else {
                    return Err(unknown());
                };
                let [_, added] = next.args.as_slice() else {
                    return Err(unknown());
                };
                match single(added) {
                    // + 1
                    None => Ok((
                        ComprehensionKind::ExistsOne(self.predicate("exists_one", predicate)?),
                        Type::Bool,
                    )),
                    // + [element]
                    Some(IdedExpr {
                        expr: Expr::Ident(name),
                        ..
                    }) if *name == comprehension.iter_var => Ok((
                        ComprehensionKind::Filter(self.predicate("filter", predicate)?),
                        Type::List,
                    )),
                    // + [transform]
                    Some(transform) => {
                        let predicate = Some(self.predicate("map", predicate)?);
                        let (transform, _) = self.node(transform)?;
                        Ok((ComprehensionKind::Map { predicate, transform }, Type::List))
                    }
                }
            }
            _ => Err(unknown()),
        }
    }

    fn predicate(&mut self, name: &str, predicate: &IdedExpr) -> Result<Node> {
        let (node, kind) = self.node(predicate)?;
        infer::truth(name, kind).map_err(|message| Fault::new(predicate, message))?;
        Ok(node)
    }
}

/// The only element of a list literal.
fn single(syntax: &IdedExpr) -> Option<&IdedExpr> {
    match &syntax.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}

fn binary_operator(name: &str) -> Option<Operator> {
    Some(match name {
        names::ADD => Operator::Add,
        names::SUBSTRACT => Operator::Subtract,
        names::MULTIPLY => Operator::Multiply,
        names::DIVIDE => Operator::Divide,
        names::MODULO => Operator::Remainder,
        names::EQUALS => Operator::Equal,
        names::NOT_EQUALS => Operator::NotEqual,
        names::LESS => Operator::Less,
        names::LESS_EQUALS => Operator::LessOrEqual,
        names::GREATER => Operator::Greater,
        names::GREATER_EQUALS => Operator::GreaterOrEqual,
        names::IN => Operator::In,
        _ => return None,
    })
}

fn unknown_function(name: &str) -> String {
    match name {
        "timestamp" | "duration" => {
            return format!(
                "there is no `{name}`: times are int, in milliseconds (event.timestamp_ms), and so are their differences"
            );
        }
        "bytes" => return "there is no `bytes`: events hold text".to_owned(),
        "type" => return "there is no `type`: convert a value with int(), double(), string() or bool()".to_owned(),
        _ => {}
    }
    let known = SIGNATURES.iter().map(|signature| signature.name);
    let known = known.chain(OTHERS.iter().map(|(other, _)| *other));
    format!("there is no function `{name}`{}", did_you_mean(name, known))
}
