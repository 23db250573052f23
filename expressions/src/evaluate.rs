//! Walks the compiled tree of an expression. Recurses as deep as the tree, which is bounded when it is compiled.

use std::{borrow::Cow, sync::Arc};

use crate::{
    Activation, EvaluateError, Map, Root, Steps, Value, functions,
    operand::{Operand, element, select},
    operators,
    operators::Operator,
    tree::Node,
};

/// The elements of the comprehensions around a node, innermost first.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'e, 'v>(pub(crate) Option<(&'e Operand<'e, 'v>, &'e Scope<'e, 'v>)>);

impl<'e, 'v> Scope<'e, 'v> {
    fn element(&'e self, outward: usize) -> Option<&'e Operand<'e, 'v>> {
        let mut scope = self;
        for _ in 0..outward {
            scope = scope.0?.1;
        }
        Some(scope.0?.0)
    }
}

pub(crate) type Result<T> = std::result::Result<T, EvaluateError>;

/// Runs `node` and everything below it.
pub(crate) fn evaluate<'v>(node: &'v Node, activation: &dyn Activation<'v>, steps: &mut Steps) -> Result<Value<'v>> {
    let mut run = Run { activation, steps };
    let operand = run.evaluate(node, &Scope(None))?;
    operand.into_value(run.steps)
}

pub(crate) struct Run<'a, 'v> {
    activation: &'a dyn Activation<'v>,
    pub(crate) steps: &'a mut Steps,
}

impl<'a, 'v> Run<'a, 'v> {
    pub(crate) fn evaluate<'e>(&mut self, node: &'v Node, scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        self.steps.take(1)?;
        match node {
            Node::Literal(value) => Ok(Operand::Held(value)),
            Node::Field { root, name } => self.field(*root, name),
            Node::Binary { operator, sides } => self.binary(*operator, sides, scope),
            Node::And(sides) => self.logic(sides, false, scope),
            Node::Or(sides) => self.logic(sides, true, scope),
            Node::Not(side) => Ok((!self.truth("!", side, scope)?).into()),
            Node::Negate(side) => {
                let operand = self.evaluate(side, scope)?;
                operators::negate(operand.as_value()).map(Operand::Made)
            }
            Node::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let chosen = if self.truth("? :", condition, scope)? { yes } else { no };
                self.evaluate(chosen, scope)
            }
            Node::Element(outward) => match scope.element(*outward) {
                Some(Operand::Held(value)) => Ok(Operand::Held(value)),
                Some(Operand::Near(value)) => Ok(Operand::Near(value)),
                Some(Operand::Made(value)) => Ok(Operand::Near(value)),
                None => Ok(Operand::Made(Value::Null)),
            },
            Node::Variable(name) => self.variable(name).map(Operand::Near),
            Node::HasField { root, name } => Ok(self.activation.field(*root, name).is_some().into()),
            Node::HasVariable(name) => Ok(self.variable(name).is_ok_and(|value| *value != Value::Null).into()),
            Node::Select { operand, name } => {
                let operand = self.evaluate(operand, scope)?;
                select(operand, name)
            }
            Node::Has { operand, name } => self.has(operand, name, scope),
            Node::Index { operand, index } => {
                let operand = self.evaluate(operand, scope)?;
                let index = self.evaluate(index, scope)?;
                element(operand, index.as_value())
            }
            Node::OrElse(sides) => self.or_else(sides, scope),
            Node::Comprehension(comprehension) => self.comprehension(comprehension, scope),
            _ => self.evaluate_rarer(node, scope),
        }
    }

    /// The nodes that triggers seldom have: apart, so that the frame of [`Self::evaluate`], which recurses, stays small.
    fn evaluate_rarer<'e>(&mut self, node: &'v Node, scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        match node {
            Node::Root(root) => self.root(*root),
            Node::FieldAt { root, key } => {
                let key = self.evaluate(key, scope)?;
                let value = self.activation.field(*root, functions::text("[]", key.as_value())?);
                value.map(Operand::Held).ok_or(EvaluateError::NoSuchKey)
            }
            Node::InRoot { root, key } => {
                let key = self.evaluate(key, scope)?;
                let name = key.as_value().as_str();
                Ok(name
                    .is_some_and(|name| self.activation.field(*root, name).is_some())
                    .into())
            }
            Node::List(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    let element = self.evaluate(element, scope)?;
                    list.push(element.into_value(self.steps)?);
                }
                Ok(Operand::Made(Value::List(list)))
            }
            Node::Map(entries) => self.map(entries, scope),
            Node::Call { function, arguments } => {
                let mut operands = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    operands.push(self.evaluate(argument, scope)?);
                }
                function.call(&mut operands, self.steps).map(Operand::Made)
            }
            Node::Matches { text, pattern } => {
                let text = self.evaluate(text, scope)?;
                let text = functions::text("matches", text.as_value())?;
                self.steps.take_pattern(text.len())?;
                Ok(pattern.is_match(text).into())
            }
            Node::Find { text, pattern } => {
                let text = self.evaluate(text, scope)?.take_text("find")?;
                self.steps.take_pattern(text.len())?;
                let found = match text {
                    Cow::Borrowed(text) => Cow::Borrowed(pattern.find(text).map_or("", |found| found.as_str())),
                    Cow::Owned(text) => Cow::Owned(pattern.find(&text).map_or("", |found| found.as_str()).to_owned()),
                };
                Ok(Operand::Made(Value::String(found)))
            }
            Node::Lookup { table, key } => {
                let key = self.evaluate(key, scope)?;
                let key = match key.as_value() {
                    Value::String(text) => Cow::Borrowed(text.as_ref()),
                    other => functions::scalar_text(other)
                        .map(Cow::Owned)
                        .ok_or_else(|| EvaluateError::mismatch("lookup", other))?,
                };
                let row = self.activation.row(table, &key);
                row.map(Operand::Held)
                    .ok_or_else(|| EvaluateError::NoSuchRow(table.clone()))
            }
            // Every other kind is in `evaluate`.
            _ => Ok(Operand::Made(Value::Null)),
        }
    }

    fn field<'e>(&self, root: Root, name: &Arc<str>) -> Result<Operand<'e, 'v>> {
        let value = self.activation.field(root, name);
        value
            .map(Operand::Held)
            .ok_or_else(|| EvaluateError::NoSuchField(name.clone()))
    }

    fn variable<'e>(&self, name: &Arc<str>) -> Result<&'e Value<'v>>
    where
        'a: 'e,
    {
        let activation: &'a dyn Activation<'v> = self.activation;
        activation
            .variable(name)
            .ok_or_else(|| EvaluateError::NoSuchField(name.clone()))
    }

    fn root<'e>(&mut self, root: Root) -> Result<Operand<'e, 'v>> {
        match self.activation.root(root) {
            Some(Cow::Borrowed(value)) => Ok(Operand::Held(value)),
            Some(Cow::Owned(value)) => {
                self.steps.take_copy(&value)?;
                Ok(Operand::Made(value))
            }
            None => Err(EvaluateError::NoSuchField(Arc::from(root.name()))),
        }
    }

    fn binary<'e>(
        &mut self,
        operator: Operator,
        sides: &'v [Node; 2],
        scope: &'e Scope<'e, 'v>,
    ) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        let [left, right] = sides;
        let left = self.evaluate(left, scope)?;
        let right = self.evaluate(right, scope)?;
        let result = operator.apply(left.as_value(), right.as_value(), self.steps)?;
        Ok(Operand::Made(result))
    }

    pub(crate) fn truth<'e>(
        &mut self,
        operation: &'static str,
        node: &'v Node,
        scope: &'e Scope<'e, 'v>,
    ) -> Result<bool>
    where
        'a: 'e,
    {
        let operand = self.evaluate(node, scope)?;
        let value = operand.as_value();
        value.as_bool().ok_or_else(|| EvaluateError::mismatch(operation, value))
    }

    /// `&&` (`decisive` is false) and `||` (it is true). As CEL has it, one decisive side decides, even if another fails:
    /// an error counts only when no side decides.
    fn logic<'e>(&mut self, sides: &'v [Node], decisive: bool, scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        let operation = if decisive { "||" } else { "&&" };
        let mut verdict = Verdict::new(decisive);
        for side in sides {
            let truth = self.truth(operation, side, scope);
            if verdict.is_decided_by(truth)? {
                return Ok(decisive.into());
            }
        }
        verdict.otherwise().map(Operand::from)
    }

    /// `has(operand.name)`: false when anything on the way is not there.
    fn has<'e>(&mut self, operand: &'v Node, name: &str, scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        match self.evaluate(operand, scope) {
            Ok(operand) => match operand.as_value() {
                Value::Map(map) => Ok(map.contains(name).into()),
                Value::Null => Ok(false.into()),
                other => Err(EvaluateError::mismatch("has", other)),
            },
            Err(error) if error.is_absence() => Ok(false.into()),
            Err(error) => Err(error),
        }
    }

    /// `value.orElse(default)`: the default where the value is null or not there.
    fn or_else<'e>(&mut self, sides: &'v [Node; 2], scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        let [value, default] = sides;
        match self.evaluate(value, scope) {
            Ok(operand) if *operand.as_value() != Value::Null => Ok(operand),
            Err(error) if !error.is_absence() => Err(error),
            _ => self.evaluate(default, scope),
        }
    }

    fn map<'e>(&mut self, entries: &'v [(Node, Node)], scope: &'e Scope<'e, 'v>) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        let mut map = Map::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.evaluate(key, scope)?.take_text("a map's key")?;
            let value = self.evaluate(value, scope)?.into_value(self.steps)?;
            if map.insert(key, value).is_some() {
                return Err(EvaluateError::DuplicateKey);
            }
        }
        Ok(Operand::Made(Value::Map(map)))
    }
}

/// What a row of truths, some of which failed, comes to.
pub(crate) struct Verdict {
    decisive: bool,
    failure: Option<EvaluateError>,
}

impl Verdict {
    pub(crate) const fn new(decisive: bool) -> Self {
        Self {
            decisive,
            failure: None,
        }
    }

    /// Whether this truth decides. Only an exhausted budget is an error at once: nothing may absorb it.
    pub(crate) fn is_decided_by(&mut self, truth: Result<bool>) -> Result<bool> {
        match truth {
            Ok(truth) => Ok(truth == self.decisive),
            Err(EvaluateError::StepsExhausted) => Err(EvaluateError::StepsExhausted),
            Err(error) => {
                self.failure.get_or_insert(error);
                Ok(false)
            }
        }
    }

    /// The result when none decided.
    pub(crate) fn otherwise(self) -> Result<bool> {
        self.failure.map_or(Ok(!self.decisive), Err)
    }
}
