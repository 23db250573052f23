//! The functions of Kubernetes' own CEL library that the rules of our two kinds use. They exist where `self` does, and
//! nowhere else: <https://kubernetes.io/docs/reference/using-api/cel/>.

use std::net::IpAddr;

use crate::{
    EvaluateError, Type, Value,
    functions::{Function, Signature, Style, text},
};

const TEXT: &[Type] = &[Type::String];

pub(crate) const SCHEMA_SIGNATURES: [Signature; 2] = [
    Signature {
        function: Function::Duration,
        name: "duration",
        style: Style::Global,
        takes: &[TEXT],
        optional: 0,
        // Nothing but comparing is done with durations in rules, and nanoseconds compare alike.
        gives: Type::Int,
        usage: "duration('1h30m')",
    },
    Signature {
        function: Function::IsCidr,
        name: "isCIDR",
        style: Style::Global,
        takes: &[TEXT],
        optional: 0,
        gives: Type::Bool,
        usage: "isCIDR('10.0.0.0/8')",
    },
];

/// `duration(text)`: the nanoseconds of a text such as `1h30m`, as Go writes it.
pub(crate) fn duration<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    nanoseconds(text("duration", value)?)
        .map(Value::Int)
        .ok_or(EvaluateError::BadConversion("duration"))
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let factor = match unit {
            "h" => 3_600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" | "μs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    let whole = (sign * total).trunc();
    (!text.is_empty() && whole.abs() < i64::MAX as f64).then_some(whole as i64)
}

/// `isCIDR(text)`: whether it is an address and the length of its prefix.
pub(crate) fn is_cidr<'v>(value: &Value<'_>) -> Result<Value<'v>, EvaluateError> {
    let prefix = text("isCIDR", value)?.split_once('/');
    Ok(Value::Bool(prefix.is_some_and(|(address, length)| {
        let most = match address.parse() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        let digits = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        digits && length.parse::<u8>().is_ok_and(|length| length <= most)
    })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Environment, Expression, SchemaActivation, Steps, Value};

    fn holds(rule: &str, this: &str) -> bool {
        let rule = Expression::compile(rule, &Environment::schema_rule()).unwrap();
        let this = Value::from(this);
        let value = rule.evaluate(&SchemaActivation(&this), &mut Steps::default()).unwrap();
        value == Value::Bool(true)
    }

    #[test]
    fn durations_are_compared() {
        let rule = "duration(self) > duration('0s') && duration(self) <= duration('1h')";
        for (text, result) in [
            ("0s", false),
            ("500ms", true),
            ("1h", true),
            ("59m60s", true),
            ("1h1ms", false),
            ("1.5h", false),
            ("-1s", false),
        ] {
            assert_eq!(holds(rule, text), result, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_an_error_and_never_a_length() {
        let rule = Expression::compile("duration(self) > 0", &Environment::schema_rule()).unwrap();
        for text in ["", "1", "s", "1d", "1h-1m", "1..2s", "999999999999999999h"] {
            let this = Value::from(text);
            let result = rule.evaluate(&SchemaActivation(&this), &mut Steps::default());
            assert!(result.is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_of_addresses_are_told_from_other_text() {
        for (text, result) in [
            ("10.0.0.0/8", true),
            ("fd00::/8", true),
            ("::1/128", true),
            ("10.0.0.1", false),
            ("10.0.0.0/33", false),
            ("10.0.0.0/08", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/+8", false),
            ("10.0.0/8", false),
        ] {
            assert_eq!(holds("isCIDR(self)", text), result, "{text}");
        }
    }

    #[test]
    fn they_exist_in_rules_of_a_schema_only() {
        assert!(Expression::compile("duration('1h') > 0", &Environment::event()).is_err());
        assert!(Expression::compile("isCIDR(event.x)", &Environment::event()).is_err());
    }
}
