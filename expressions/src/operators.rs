//! What the operators do with values. Semantics: the CEL specification (cel-spec, doc/langdef.md), "Numeric values",
//! "Equality" and "Ordering".

use std::{borrow::Cow, cmp::Ordering};

use crate::{EvaluateError, Steps, Type, Value};

/// An operator with two sides, both of which are always evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    /// As it is written.
    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    /// The result for these two sides.
    pub(crate) fn apply<'v>(
        self,
        left: &Value<'v>,
        right: &Value<'v>,
        steps: &mut Steps,
    ) -> Result<Value<'v>, EvaluateError> {
        match self {
            Self::Equal => equal(left, right, steps).map(Value::Bool),
            Self::NotEqual => equal(left, right, steps).map(|same| Value::Bool(!same)),
            Self::In => contains(right, left, steps).map(Value::Bool),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                let order = order(self, left, right, steps)?;
                Ok(Value::Bool(order.is_some_and(|order| match self {
                    Self::Less => order.is_lt(),
                    Self::LessOrEqual => order.is_le(),
                    Self::Greater => order.is_gt(),
                    _ => order.is_ge(),
                })))
            }
            _ => self.arithmetic(left, right, steps),
        }
    }

    fn arithmetic<'v>(
        self,
        left: &Value<'v>,
        right: &Value<'v>,
        steps: &mut Steps,
    ) -> Result<Value<'v>, EvaluateError> {
        let overflow = EvaluateError::Overflow(self.symbol());
        match (left, right) {
            (Value::Int(a), Value::Int(b)) => {
                if *b == 0 && matches!(self, Self::Divide | Self::Remainder) {
                    return Err(EvaluateError::DivisionByZero);
                }
                match self {
                    Self::Add => a.checked_add(*b),
                    Self::Subtract => a.checked_sub(*b),
                    Self::Multiply => a.checked_mul(*b),
                    Self::Divide => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                }
                .map(Value::Int)
                .ok_or(overflow)
            }
            (Value::Uint(a), Value::Uint(b)) => {
                if *b == 0 && matches!(self, Self::Divide | Self::Remainder) {
                    return Err(EvaluateError::DivisionByZero);
                }
                match self {
                    Self::Add => a.checked_add(*b),
                    Self::Subtract => a.checked_sub(*b),
                    Self::Multiply => a.checked_mul(*b),
                    Self::Divide => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                }
                .map(Value::Uint)
                .ok_or(overflow)
            }
            (Value::Double(a), Value::Double(b)) => match self {
                Self::Add => Ok(Value::Double(a + b)),
                Self::Subtract => Ok(Value::Double(a - b)),
                Self::Multiply => Ok(Value::Double(a * b)),
                Self::Divide => Ok(Value::Double(a / b)),
                _ => Err(self.mismatch(left, right)),
            },
            (Value::String(a), Value::String(b)) if self == Self::Add => {
                steps.take_text(a.len() + b.len())?;
                let mut text = String::with_capacity(a.len() + b.len());
                text.push_str(a);
                text.push_str(b);
                Ok(Value::String(Cow::Owned(text)))
            }
            (Value::List(a), Value::List(b)) if self == Self::Add => {
                steps.take_copy(left)?;
                steps.take_copy(right)?;
                Ok(Value::List(a.iter().chain(b).cloned().collect()))
            }
            _ => Err(self.mismatch(left, right)),
        }
    }

    fn mismatch(self, left: &Value<'_>, right: &Value<'_>) -> EvaluateError {
        EvaluateError::TypeMismatch {
            operation: self.symbol(),
            found: Type::of(left),
            and: Some(Type::of(right)),
        }
    }
}

/// `-value`.
pub(crate) fn negate<'v>(value: &Value<'v>) -> Result<Value<'v>, EvaluateError> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(EvaluateError::Overflow("-")),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvaluateError::mismatch("-", value)),
    }
}

/// Whether two values are equal. Numbers are equal by what they count, whatever their kind; values of other different
/// kinds are not equal, which is no error.
pub(crate) fn equal(left: &Value<'_>, right: &Value<'_>, steps: &mut Steps) -> Result<bool, EvaluateError> {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => {
            steps.take_text(a.len().min(b.len()))?;
            Ok(a == b)
        }
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                steps.take(1)?;
                if !equal(a, b, steps)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            // Each name is searched for in the other map, from its start.
            let search = u32::try_from(b.len() / 16).unwrap_or(u32::MAX);
            for (name, a) in a.iter() {
                steps.take(1)?;
                steps.take(search)?;
                match b.get(name) {
                    Some(b) if equal(a, b, steps)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => Ok(compare_numbers(left, right) == Some(Ordering::Equal)),
    }
}

/// `needle in haystack`: an element of a list, a key of a map.
fn contains(haystack: &Value<'_>, needle: &Value<'_>, steps: &mut Steps) -> Result<bool, EvaluateError> {
    match haystack {
        Value::List(elements) => {
            for element in elements {
                steps.take(1)?;
                if equal(element, needle, steps)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        // A key that is no text is in no map: all keys of ours are text.
        Value::Map(map) => Ok(needle.as_str().is_some_and(|key| map.contains(key))),
        _ => Err(Operator::In.mismatch(needle, haystack)),
    }
}

/// The order of two values; `None` when one is not a number (NaN).
fn order(
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
    steps: &mut Steps,
) -> Result<Option<Ordering>, EvaluateError> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (Value::String(a), Value::String(b)) => {
            steps.take_text(a.len().min(b.len()))?;
            Ok(Some(a.cmp(b)))
        }
        _ if is_number(left) && is_number(right) => Ok(compare_numbers(left, right)),
        _ => Err(operator.mismatch(left, right)),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// The order of two numbers of any kinds. As in cel-go, a whole number is rounded to a double before it is compared with
/// one.
fn compare_numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Some(u64::try_from(*a).map_or(Ordering::Less, |a| a.cmp(b))),
        (Value::Uint(a), Value::Int(b)) => Some(u64::try_from(*b).map_or(Ordering::Greater, |b| a.cmp(&b))),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
