//! The types of operations, as far as they are certain before an expression runs.
//!
//! `Dyn` is "not known": it fits everywhere. A mistake is reported only where no event could make the operation succeed.

use crate::{Root, Type, operators::Operator};

/// The fields of the event whose type every client keeps (contract "Vocabulary"). Every other field is `Dyn`: senders
/// choose `value` as whole number or fraction, and may set the page's fields themselves.
const EVENT_FIELDS: [(&str, Type); 14] = [
    ("event_name", Type::String),
    ("client_id", Type::String),
    ("ga_session_id", Type::String),
    ("language", Type::String),
    ("screen_resolution", Type::String),
    ("user_agent", Type::String),
    ("ip_override", Type::String),
    ("timestamp_ms", Type::Int),
    ("items", Type::List),
    ("user_data", Type::Map),
    ("user_properties", Type::Map),
    ("client_hints", Type::Map),
    ("click_ids", Type::Map),
    ("cookies", Type::Map),
];

const CONSENT_FIELDS: [(&str, Type); 4] = [
    ("ad_storage", Type::String),
    ("analytics_storage", Type::String),
    ("ad_user_data", Type::String),
    ("ad_personalization", Type::String),
];

const REQUEST_FIELDS: [(&str, Type); 6] = [
    ("host", Type::String),
    ("path", Type::String),
    ("query", Type::Map),
    ("headers", Type::Map),
    ("cookies", Type::Map),
    ("ip", Type::String),
];

/// The type of `root.name`; `None` if `root` has no such field.
pub(crate) fn field(root: Root, name: &str) -> Option<Type> {
    let known = |fields: &[(&str, Type)]| fields.iter().find(|(field, _)| *field == name).map(|(_, kind)| *kind);
    match root {
        Root::Event => Some(known(&EVENT_FIELDS).unwrap_or_default()),
        Root::Consent => known(&CONSENT_FIELDS),
        Root::Request => known(&REQUEST_FIELDS),
        Root::Vars | Root::This => Some(Type::Dyn),
    }
}

/// The names of the fields of a root that has no others.
pub(crate) fn fields(root: Root) -> impl Iterator<Item = &'static str> {
    let fields: &'static [(&str, Type)] = match root {
        Root::Consent => &CONSENT_FIELDS,
        Root::Request => &REQUEST_FIELDS,
        _ => &[],
    };
    fields.iter().map(|(name, _)| *name)
}

/// The type of `left operator right`, or what is wrong with it.
pub(crate) fn binary(operator: Operator, left: Type, right: Type) -> Result<Type, String> {
    match operator {
        Operator::Add => arithmetic(
            operator,
            left,
            right,
            &[Type::Int, Type::Uint, Type::Double, Type::String, Type::List],
        ),
        Operator::Subtract | Operator::Multiply | Operator::Divide => {
            arithmetic(operator, left, right, &[Type::Int, Type::Uint, Type::Double])
        }
        Operator::Remainder => arithmetic(operator, left, right, &[Type::Int, Type::Uint]),
        Operator::Equal | Operator::NotEqual => equality(operator, left, right),
        Operator::In => membership(left, right),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            order(operator, left, right)
        }
    }
}

fn arithmetic(operator: Operator, left: Type, right: Type, taken: &[Type]) -> Result<Type, String> {
    let symbol = operator.symbol();
    for side in [left, right] {
        if side != Type::Dyn && !taken.contains(&side) {
            return Err(format!("`{symbol}` does not take {side}"));
        }
    }
    match (left, right) {
        (Type::Dyn, known) | (known, Type::Dyn) => Ok(known),
        _ if left == right => Ok(left),
        _ if left.is_number() && right.is_number() => Err(format!(
            "`{symbol}` does not mix {left} and {right}: convert one side, as double(x) or int(x)"
        )),
        _ => Err(format!(
            "`{symbol}` does not take {left} and {right}: convert one side, as string(x) or int(x)"
        )),
    }
}

fn equality(operator: Operator, left: Type, right: Type) -> Result<Type, String> {
    let comparable = left == right
        || [left, right].iter().any(|side| matches!(side, Type::Dyn | Type::Null))
        || left.is_number() && right.is_number();
    if comparable {
        Ok(Type::Bool)
    } else {
        Err(format!(
            "`{}` compares {left} with {right}, which are never equal: convert one side, as string(x) or int(x)",
            operator.symbol()
        ))
    }
}

fn order(operator: Operator, left: Type, right: Type) -> Result<Type, String> {
    let has_order = |side: Type| side.is_number() || matches!(side, Type::Dyn | Type::String | Type::Bool);
    let comparable = left == right || left == Type::Dyn || right == Type::Dyn || left.is_number() && right.is_number();
    if has_order(left) && has_order(right) && comparable {
        Ok(Type::Bool)
    } else {
        Err(format!(
            "`{}` cannot compare {left} with {right}: convert one side, as double(x) or string(x)",
            operator.symbol()
        ))
    }
}

fn membership(needle: Type, haystack: Type) -> Result<Type, String> {
    match haystack {
        Type::List | Type::Dyn => Ok(Type::Bool),
        Type::Map if matches!(needle, Type::String | Type::Dyn) => Ok(Type::Bool),
        Type::Map => Err(format!(
            "`in` looks for {needle} among the keys of a map, which are text"
        )),
        Type::String => Err("`in` does not search text: write text.contains(part)".to_owned()),
        _ => Err(format!("`in` takes a list or a map on its right, not {haystack}")),
    }
}

/// Whether a side of `&&`, `||`, `!` or `? :` may be a bool.
pub(crate) fn truth(operator: &str, side: Type) -> Result<(), String> {
    if matches!(side, Type::Bool | Type::Dyn) {
        Ok(())
    } else {
        Err(format!("`{operator}` takes true or false, not {side}"))
    }
}

/// The type of `-operand`.
pub(crate) fn negation(operand: Type) -> Result<Type, String> {
    match operand {
        Type::Int | Type::Double | Type::Dyn => Ok(operand),
        _ => Err(format!("`-` does not take {operand}")),
    }
}

/// The type of something that is either of two types.
pub(crate) fn either(one: Type, other: Type) -> Type {
    if one == other { one } else { Type::Dyn }
}
