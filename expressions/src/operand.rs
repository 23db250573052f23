//! A value on its way through an evaluation, and what is reached from it.

use std::{borrow::Cow, sync::Arc};

use crate::{EvaluateError, Steps, Type, Value};

/// A value on its way through an evaluation. `'e` is the life of what surrounds the evaluated node (a variable, the
/// element of a comprehension), which ends before the result is used.
pub(crate) enum Operand<'e, 'v> {
    /// Part of the event, or of the expression.
    Held(&'v Value<'v>),
    /// Part of a variable or of an element.
    Near(&'e Value<'v>),
    /// Computed.
    Made(Value<'v>),
}

impl<'v> Operand<'_, 'v> {
    /// The value, to look at.
    pub(crate) fn as_value(&self) -> &Value<'v> {
        match self {
            Self::Held(value) => value,
            Self::Near(value) => value,
            Self::Made(value) => value,
        }
    }

    /// The text out of this operand, which `function` needs, without a copy where it lives as long as the event.
    pub(crate) fn take_text(&mut self, function: &'static str) -> Result<Cow<'v, str>, EvaluateError> {
        match self {
            Self::Held(Value::String(text)) => Ok(Cow::Borrowed(text)),
            Self::Near(Value::String(text)) => Ok(text.clone()),
            Self::Made(Value::String(text)) => Ok(std::mem::take(text)),
            _ => Err(EvaluateError::mismatch(function, self.as_value())),
        }
    }

    /// The value itself. Lists and maps that belong to the event are rebuilt, at the price of steps; no text of the event is
    /// copied.
    pub(crate) fn into_value(self, steps: &mut Steps) -> Result<Value<'v>, EvaluateError> {
        match self {
            Self::Held(value) => {
                steps.take_copy(value)?;
                Ok(value.reborrow())
            }
            Self::Near(value) => {
                steps.take_copy(value)?;
                Ok(value.clone())
            }
            Self::Made(value) => Ok(value),
        }
    }
}

impl From<bool> for Operand<'_, '_> {
    fn from(truth: bool) -> Self {
        Self::Made(Value::Bool(truth))
    }
}

/// `operand.name`.
pub(crate) fn select<'e, 'v>(operand: Operand<'e, 'v>, name: &Arc<str>) -> Result<Operand<'e, 'v>, EvaluateError> {
    entry(operand, name)?.ok_or_else(|| EvaluateError::NoSuchField(name.clone()))
}

/// The value of `name` in a map; null has none.
fn entry<'e, 'v>(operand: Operand<'e, 'v>, name: &str) -> Result<Option<Operand<'e, 'v>>, EvaluateError> {
    match operand {
        Operand::Held(Value::Map(map)) => Ok(map.get(name).map(Operand::Held)),
        Operand::Near(Value::Map(map)) => Ok(map.get(name).map(Operand::Near)),
        Operand::Made(Value::Map(mut map)) => Ok(map.remove(name).map(Operand::Made)),
        other if *other.as_value() == Value::Null => Ok(None),
        other => Err(EvaluateError::mismatch(".", other.as_value())),
    }
}

/// `operand[index]`.
pub(crate) fn element<'e, 'v>(operand: Operand<'e, 'v>, index: &Value<'v>) -> Result<Operand<'e, 'v>, EvaluateError> {
    match (operand.as_value(), index) {
        (Value::Map(_) | Value::Null, Value::String(name)) => entry(operand, name)?.ok_or(EvaluateError::NoSuchKey),
        (Value::List(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            let position = position(index)?;
            let missing = || EvaluateError::NoSuchElement(i64::try_from(position).unwrap_or(i64::MAX));
            match operand {
                Operand::Held(Value::List(list)) => list.get(position).map(Operand::Held).ok_or_else(missing),
                Operand::Near(Value::List(list)) => list.get(position).map(Operand::Near).ok_or_else(missing),
                Operand::Made(Value::List(list)) => {
                    list.into_iter().nth(position).map(Operand::Made).ok_or_else(missing)
                }
                other => Err(EvaluateError::mismatch("[]", other.as_value())),
            }
        }
        // Keys of another kind are in no map: all keys of ours are text.
        (Value::Map(_), Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            Err(EvaluateError::NoSuchKey)
        }
        (found, index) => Err(EvaluateError::TypeMismatch {
            operation: "[]",
            found: Type::of(found),
            and: Some(Type::of(index)),
        }),
    }
}

/// A number as a position; a double counts if it is whole, as JSON's do.
fn position(index: &Value<'_>) -> Result<usize, EvaluateError> {
    let whole = match index {
        Value::Double(number) if number.fract() == 0.0 && number.abs() < i64::MAX as f64 => Some(*number as i64),
        other => other.as_i64(),
    };
    let whole = whole.ok_or_else(|| EvaluateError::mismatch("[]", index))?;
    usize::try_from(whole).map_err(|_| EvaluateError::NoSuchElement(whole))
}
