//! The functions of the language: what each takes and gives, and what it does.

use std::borrow::Cow;

use crate::{EvaluateError, Steps, Type, Value, operand::Operand, schema_functions, url};

/// A function of its argument values. Those that need more (a pattern, a table, an error) are nodes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    Split,
    Url,
    Bool,
    Double,
    Int,
    String,
    Uint,
    Duration,
    IsCidr,
}

/// How a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `text.f(x)`.
    Method,
    /// `f(x)`.
    Global,
    /// Both.
    Either,
}

/// What a function takes and gives. The receiver of a method is its first argument.
pub(crate) struct Signature {
    pub(crate) function: Function,
    pub(crate) name: &'static str,
    pub(crate) style: Style,
    /// The types that each argument may have; none: any.
    pub(crate) takes: &'static [&'static [Type]],
    /// How many of the last arguments may be left out.
    pub(crate) optional: usize,
    pub(crate) gives: Type,
    /// How it is called, for messages.
    pub(crate) usage: &'static str,
}

const TEXT: &[Type] = &[Type::String];
const NUMBER_OR_TEXT: &[Type] = &[Type::Int, Type::Uint, Type::Double, Type::String];

const fn text_test(function: Function, name: &'static str, usage: &'static str) -> Signature {
    Signature {
        function,
        name,
        style: Style::Method,
        takes: &[TEXT, TEXT],
        optional: 0,
        gives: Type::Bool,
        usage,
    }
}

const fn conversion(
    function: Function,
    name: &'static str,
    takes: &'static [&'static [Type]],
    gives: Type,
    usage: &'static str,
) -> Signature {
    Signature {
        function,
        name,
        style: Style::Global,
        takes,
        optional: 0,
        gives,
        usage,
    }
}

pub(crate) const SIGNATURES: [Signature; 12] = [
    Signature {
        function: Function::Size,
        name: "size",
        style: Style::Either,
        takes: &[&[Type::String, Type::List, Type::Map]],
        optional: 0,
        gives: Type::Int,
        usage: "size(event.items) or event.items.size()",
    },
    text_test(Function::Contains, "contains", "text.contains('part')"),
    text_test(Function::StartsWith, "startsWith", "text.startsWith('part')"),
    text_test(Function::EndsWith, "endsWith", "text.endsWith('part')"),
    Signature {
        function: Function::LowerAscii,
        name: "lowerAscii",
        style: Style::Method,
        takes: &[TEXT],
        optional: 0,
        gives: Type::String,
        usage: "text.lowerAscii()",
    },
    Signature {
        function: Function::Split,
        name: "split",
        style: Style::Method,
        takes: &[TEXT, TEXT, &[Type::Int]],
        optional: 1,
        gives: Type::List,
        usage: "text.split(',') or text.split(',', 2)",
    },
    conversion(
        Function::Url,
        "url",
        &[TEXT],
        Type::Map,
        "url(event.page_location).query.name",
    ),
    conversion(
        Function::Bool,
        "bool",
        &[&[Type::Bool, Type::String]],
        Type::Bool,
        "bool('true')",
    ),
    conversion(
        Function::Double,
        "double",
        &[NUMBER_OR_TEXT],
        Type::Double,
        "double('9.5')",
    ),
    conversion(Function::Int, "int", &[NUMBER_OR_TEXT], Type::Int, "int('9')"),
    conversion(
        Function::String,
        "string",
        &[&[Type::Bool, Type::Int, Type::Uint, Type::Double, Type::String]],
        Type::String,
        "string(9)",
    ),
    conversion(Function::Uint, "uint", &[NUMBER_OR_TEXT], Type::Uint, "uint('9')"),
];

impl Function {
    /// The result for `arguments`, of which there are as many as the signature takes.
    pub(crate) fn call<'v>(
        self,
        arguments: &mut [Operand<'_, 'v>],
        steps: &mut Steps,
    ) -> Result<Value<'v>, EvaluateError> {
        let (first, rest) = arguments
            .split_first_mut()
            .ok_or(EvaluateError::BadConversion("a function without arguments"))?;
        match self {
            Self::Size => size(first.as_value(), steps),
            Self::Contains => text_pair("contains", first, rest, steps, |text, part| text.contains(part)),
            Self::StartsWith => text_pair("startsWith", first, rest, steps, |text, part| text.starts_with(part)),
            Self::EndsWith => text_pair("endsWith", first, rest, steps, |text, part| text.ends_with(part)),
            Self::LowerAscii => lower_ascii(first, steps),
            Self::Split => split(first, rest, steps),
            Self::Url => {
                let text = text("url", first.as_value())?;
                steps.take_text(text.len())?;
                url::parts(text, steps)
            }
            Self::Bool => to_bool(first.as_value()),
            Self::Double => to_double(first.as_value()),
            Self::Int => to_int(first.as_value()),
            Self::String => to_string(first),
            Self::Uint => to_uint(first.as_value()),
            Self::Duration => schema_functions::duration(first.as_value()),
            Self::IsCidr => schema_functions::is_cidr(first.as_value()),
        }
    }
}

/// The text of `value`, which `function` needs.
pub(crate) fn text<'t>(function: &'static str, value: &'t Value<'_>) -> Result<&'t str, EvaluateError> {
    value.as_str().ok_or_else(|| EvaluateError::mismatch(function, value))
}

fn text_pair<'v>(
    function: &'static str,
    first: &Operand<'_, 'v>,
    rest: &[Operand<'_, 'v>],
    steps: &mut Steps,
    test: impl Fn(&str, &str) -> bool,
) -> Result<Value<'v>, EvaluateError> {
    let whole = text(function, first.as_value())?;
    let part = text(function, rest.first().map_or(&Value::Null, Operand::as_value))?;
    steps.take_text(whole.len())?;
    Ok(Value::Bool(test(whole, part)))
}

fn size<'v>(value: &Value<'_>, steps: &mut Steps) -> Result<Value<'v>, EvaluateError> {
    let size = match value {
        Value::String(text) => {
            steps.take_text(text.len())?;
            text.chars().count()
        }
        Value::List(elements) => elements.len(),
        Value::Map(map) => map.len(),
        _ => return Err(EvaluateError::mismatch("size", value)),
    };
    i64::try_from(size)
        .map(Value::Int)
        .map_err(|_| EvaluateError::Overflow("size"))
}

fn lower_ascii<'v>(operand: &mut Operand<'_, 'v>, steps: &mut Steps) -> Result<Value<'v>, EvaluateError> {
    let text = operand.take_text("lowerAscii")?;
    steps.take_text(text.len())?;
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Ok(Value::String(Cow::Owned(text.to_ascii_lowercase())))
    } else {
        Ok(Value::String(text))
    }
}

/// `text.split(separator)` and `text.split(separator, limit)`: at most `limit` parts, the last with the rest; all of them
/// when it is negative. An empty separator splits between characters.
fn split<'v>(
    operand: &mut Operand<'_, 'v>,
    rest: &[Operand<'_, 'v>],
    steps: &mut Steps,
) -> Result<Value<'v>, EvaluateError> {
    let separator = text("split", rest.first().map_or(&Value::Null, Operand::as_value))?;
    let limit = match rest.get(1).map(Operand::as_value) {
        None => usize::MAX,
        Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
        Some(other) => return Err(EvaluateError::mismatch("split", other)),
    };
    let text = operand.take_text("split")?;
    steps.take_text(text.len())?;
    let parts = match &text {
        Cow::Borrowed(text) => split_parts(text, separator, limit, steps)?
            .into_iter()
            .map(|part| Value::String(Cow::Borrowed(part)))
            .collect(),
        Cow::Owned(text) => split_parts(text, separator, limit, steps)?
            .into_iter()
            .map(|part| Value::String(Cow::Owned(part.to_owned())))
            .collect(),
    };
    Ok(Value::List(parts))
}

fn split_parts<'t>(
    text: &'t str,
    separator: &str,
    limit: usize,
    steps: &mut Steps,
) -> Result<Vec<&'t str>, EvaluateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < limit {
        let cut = if separator.is_empty() {
            let end = rest.chars().next().map_or(0, char::len_utf8);
            (end < rest.len()).then(|| rest.split_at(end))
        } else {
            rest.split_once(separator)
        };
        let Some((part, remainder)) = cut else { break };
        steps.take(1)?;
        parts.push(part);
        rest = remainder;
    }
    // Between the characters of an empty text there is nothing.
    if limit > 0 && !(separator.is_empty() && rest.is_empty()) {
        parts.push(rest);
    }
    Ok(parts)
}

/// The words that `bool()` reads: those of cel-cpp and cel-java.
fn to_bool<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    match value {
        Value::Bool(truth) => Ok(Value::Bool(*truth)),
        Value::String(text) => match text.as_ref() {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(EvaluateError::BadConversion("bool")),
        },
        _ => Err(EvaluateError::mismatch("bool", value)),
    }
}

fn to_double<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    match value {
        Value::String(text) => text
            .parse()
            .map(Value::Double)
            .map_err(|_| EvaluateError::BadConversion("double")),
        _ => value
            .as_f64()
            .map(Value::Double)
            .ok_or_else(|| EvaluateError::mismatch("double", value)),
    }
}

fn to_int<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    match value {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Uint(number) => i64::try_from(*number)
            .map(Value::Int)
            .map_err(|_| EvaluateError::Overflow("int")),
        // Both bounds are outside: the nearest doubles to the largest and the smallest int (CEL specification, "int").
        Value::Double(number) if *number > i64::MIN as f64 && *number < i64::MAX as f64 => {
            Ok(Value::Int(*number as i64))
        }
        Value::Double(_) => Err(EvaluateError::Overflow("int")),
        Value::String(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| EvaluateError::BadConversion("int")),
        _ => Err(EvaluateError::mismatch("int", value)),
    }
}

fn to_uint<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    match value {
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Int(number) => u64::try_from(*number)
            .map(Value::Uint)
            .map_err(|_| EvaluateError::Overflow("uint")),
        Value::Double(number) if *number >= 0.0 && *number < u64::MAX as f64 => Ok(Value::Uint(*number as u64)),
        Value::Double(_) => Err(EvaluateError::Overflow("uint")),
        Value::String(text) => text
            .parse()
            .map(Value::Uint)
            .map_err(|_| EvaluateError::BadConversion("uint")),
        _ => Err(EvaluateError::mismatch("uint", value)),
    }
}

fn to_string<'v>(operand: &mut Operand<'_, 'v>) -> Result<Value<'v>, EvaluateError> {
    match scalar_text(operand.as_value()) {
        Some(text) => Ok(Value::String(Cow::Owned(text))),
        None => operand.take_text("string").map(Value::String),
    }
}

/// A number or a bool as text; `None` for any other value.
pub(crate) fn scalar_text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        _ => None,
    }
}
