//! What a plain scalar means: YAML 1.2's core schema with the habits of kubectl, whose parser also knows YAML 1.1's.

use super::tree::Value;

/// Reads a plain (unquoted) scalar. Text is what remains when it is nothing else.
///
/// # Errors
/// When it is a number that JSON, and so Kubernetes, cannot hold.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Value::Bool(true, text.into())
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Value::Bool(false, text.into())
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => return Err(format!("`{text}` is no number that Kubernetes can hold")),
        _ => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    })
}

/// A number, if it is spelled as one: with or without sign, `0x`, `0o`, `0b` and a leading `0` (octal), `_` between
/// digits.
fn number(text: &str) -> Option<Value> {
    let starts_as_one = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
    if !starts_as_one || text.len() > 64 {
        return None;
    }
    let bare = text.replace('_', "");
    if let Some(whole) = whole_number(&bare) {
        return Some(Value::Int(whole, text.into()));
    }
    let double: f64 = is_decimal(&bare).then(|| bare.parse().ok())??;
    double.is_finite().then(|| Value::Double(double, text.into()))
}

fn whole_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`: the core schema's float.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let mantissa_is_good = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !unsigned.is_empty() && digits(unsigned)
    });
    mantissa_is_good && exponent_is_good
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_takes_them_for() {
        for (text, meaning) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("yes", Value::Bool(true, "yes".into())),
            ("Off", Value::Bool(false, "Off".into())),
            ("12", Value::Int(12, "12".into())),
            ("-0x1F", Value::Int(-31, "-0x1F".into())),
            ("0644", Value::Int(420, "0644".into())),
            ("1_000", Value::Int(1000, "1_000".into())),
            ("1.5", Value::Double(1.5, "1.5".into())),
            ("1e3", Value::Double(1000.0, "1e3".into())),
            (".5", Value::Double(0.5, ".5".into())),
            ("08", Value::Double(8.0, "08".into())),
            (
                "9223372036854775808",
                Value::Double(9_223_372_036_854_775_808.0, "9223372036854775808".into()),
            ),
            ("1s", Value::Text("1s".into())),
            ("2Gi", Value::Text("2Gi".into())),
            ("-", Value::Text("-".into())),
            (".", Value::Text(".".into())),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("0x", Value::Text("0x".into())),
            ("2020-01-01", Value::Text("2020-01-01".into())),
            ("G-TEST1", Value::Text("G-TEST1".into())),
        ] {
            assert_eq!(resolve(text).unwrap(), meaning, "{text}");
        }
        assert!(resolve(".nan").is_err());
        assert_eq!(resolve("1e999").unwrap(), Value::Text("1e999".into()));
    }
}
