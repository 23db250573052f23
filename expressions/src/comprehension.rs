//! Runs the macros that go over a list, or over the keys of a map.

use crate::{
    EvaluateError, Value,
    evaluate::{Result, Run, Scope, Verdict},
    operand::Operand,
    tree::{Comprehension, ComprehensionKind, Node},
};

impl<'a, 'v> Run<'a, 'v> {
    pub(crate) fn comprehension<'e>(
        &mut self,
        comprehension: &'v Comprehension,
        scope: &'e Scope<'e, 'v>,
    ) -> Result<Operand<'e, 'v>>
    where
        'a: 'e,
    {
        let kind = &comprehension.kind;
        let result = match self.evaluate(&comprehension.range, scope)? {
            Operand::Held(Value::List(list)) => self.fold(kind, list.iter().map(Operand::Held), scope),
            Operand::Near(Value::List(list)) => self.fold(kind, list.iter().map(Operand::Near), scope),
            Operand::Made(Value::List(list)) => self.fold(kind, list.into_iter().map(Operand::Made), scope),
            Operand::Held(Value::Map(map)) => {
                self.fold(kind, map.iter().map(|(key, _)| Operand::Made(key.into())), scope)
            }
            Operand::Near(Value::Map(map)) => {
                let keys = map.iter().map(|(key, _)| Operand::Made(key.to_owned().into()));
                self.fold(kind, keys, scope)
            }
            Operand::Made(Value::Map(map)) => {
                let keys = map.into_iter().map(|(key, _)| Operand::Made(key.into()));
                self.fold(kind, keys, scope)
            }
            other => Err(EvaluateError::mismatch("a comprehension", other.as_value())),
        };
        result.map(Operand::Made)
    }

    fn fold<'e>(
        &mut self,
        kind: &'v ComprehensionKind,
        elements: impl Iterator<Item = Operand<'e, 'v>>,
        scope: &'e Scope<'e, 'v>,
    ) -> Result<Value<'v>>
    where
        'a: 'e,
    {
        match kind {
            ComprehensionKind::All(predicate) => self.fold_logic(predicate, false, elements, scope),
            ComprehensionKind::Exists(predicate) => self.fold_logic(predicate, true, elements, scope),
            ComprehensionKind::ExistsOne(predicate) => {
                let mut found = 0_usize;
                for element in elements {
                    let inner = Scope(Some((&element, scope)));
                    found += usize::from(self.truth("exists_one", predicate, &inner)?);
                }
                Ok(Value::Bool(found == 1))
            }
            ComprehensionKind::Filter(predicate) => {
                let mut kept = Vec::new();
                for element in elements {
                    if self.truth("filter", predicate, &Scope(Some((&element, scope))))? {
                        kept.push(element.into_value(self.steps)?);
                    }
                }
                Ok(Value::List(kept))
            }
            ComprehensionKind::Map { predicate, transform } => {
                let mut results = Vec::new();
                for element in elements {
                    let inner = Scope(Some((&element, scope)));
                    if let Some(predicate) = predicate
                        && !self.truth("map", predicate, &inner)?
                    {
                        continue;
                    }
                    let result = self.evaluate(transform, &inner)?;
                    results.push(result.into_value(self.steps)?);
                }
                Ok(Value::List(results))
            }
        }
    }

    /// `all` and `exists`, which absorb errors as `&&` and `||` do.
    fn fold_logic<'e>(
        &mut self,
        predicate: &'v Node,
        decisive: bool,
        elements: impl Iterator<Item = Operand<'e, 'v>>,
        scope: &'e Scope<'e, 'v>,
    ) -> Result<Value<'v>>
    where
        'a: 'e,
    {
        let operation = if decisive { "exists" } else { "all" };
        let mut verdict = Verdict::new(decisive);
        for element in elements {
            let truth = self.truth(operation, predicate, &Scope(Some((&element, scope))));
            if verdict.is_decided_by(truth)? {
                return Ok(Value::Bool(decisive));
            }
        }
        verdict.otherwise().map(Value::Bool)
    }
}
