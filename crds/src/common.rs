//! The small types that both kinds share: durations, sizes, references, and text that may come from a Secret.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The pattern of a size: a Kubernetes quantity of whole bytes.
const SIZE_PATTERN: &str = "^[0-9]{1,18}([.][0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$";

/// A span of time as text: `10s`, `5m`, `48h`, `1h30m`, `500ms` (GEP-2257). Units are `h`, `m`, `s` and `ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

impl Duration {
    /// The pattern of its text, as Gateway API defines it (GEP-2257).
    pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// A duration of whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// The same span as the standard library's type.
    #[must_use]
    pub const fn get(self) -> time::Duration {
        self.0
    }

    /// Whether it is longer than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        !self.0.is_zero()
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a duration; write whole numbers with units h, m, s or ms, such as 10s, 5m or 48h")]
pub struct InvalidDuration(String);

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text).ok_or_else(|| InvalidDuration(text.chars().take(64).collect()))
    }
}

/// Reads one to four parts of at most five digits and a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut parts) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let milliseconds = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        if digits > 5 {
            return None;
        }
        total += number.parse::<u64>().ok()? * milliseconds;
        parts += 1;
        rest = tail;
    }
    (1..=4).contains(&parts).then(|| Duration::from_millis(total))
}

impl fmt::Display for Duration {
    /// In GEP-2257 form, the largest units first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis();
        if total == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (total / 3_600_000, "h"),
            (total / 60_000 % 60, "m"),
            (total / 1_000 % 60, "s"),
            (total % 1_000, "ms"),
        ];
        parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": Self::PATTERN})
    }
}

/// A number of bytes as a Kubernetes quantity: `128Ki`, `512Mi`, `2Gi`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// A size of that many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size; write a quantity of bytes such as 128Ki, 512Mi or 2Gi")]
pub struct InvalidSize(String);

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).ok_or_else(|| InvalidSize(text.chars().take(64).collect()))
    }
}

/// Reads a decimal number and a unit; a fraction of a byte is rounded up, as Kubernetes does.
fn parse_size(text: &str) -> Option<Size> {
    let end = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (number, unit) = text.split_at_checked(end)?;
    let factor: u128 = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let digits = |part: &str, most: usize| {
        ((1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u128>().ok())
            .flatten()
    };
    let mut bytes = digits(whole, 18)? * factor;
    if let Some(fraction) = fraction {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?.min(9));
        bytes += (digits(fraction, 9)? * factor).div_ceil(scale);
    }
    u64::try_from(bytes).ok().map(Size)
}

impl fmt::Display for Size {
    /// As a quantity with the largest binary unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
        let unit = units
            .iter()
            .find(|(bits, _)| self.0 > 0 && self.0.is_multiple_of(1 << bits));
        match unit {
            Some((bits, unit)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity of bytes such as 512Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::custom("a size is not negative"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 32, "pattern": SIZE_PATTERN})
    }
}

/// A value that is kept in a Secret of the same namespace. In a cluster the Secret carries the label
/// `tagfleet.dev/credentials: "true"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSource {
    /// The Secret and the key in it that hold the value.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// The key in the Secret's data.
    #[schemars(schema_with = "crate::schema::data_key")]
    pub key: String,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// The key in the ConfigMap's data.
    #[schemars(schema_with = "crate::schema::data_key")]
    pub key: String,
}

/// An object of the same namespace, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// The object's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
}

/// The value of an HTTP header: text, or a value from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// The text itself.
    Text(String),
    /// From a Secret: `{secretKeyRef: {name, key}}`.
    Secret(SecretSource),
}

impl HeaderValue {
    /// The Secret that it comes from, if it does.
    #[must_use]
    pub const fn secret(&self) -> Option<&SecretSource> {
        match self {
            Self::Text(_) => None,
            Self::Secret(source) => Some(source),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HeaderValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (put numbers in quotes) or {secretKeyRef: {name, key}}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderValue, E> {
                Ok(HeaderValue::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<HeaderValue, A::Error> {
                SecretSource::deserialize(de::value::MapAccessDeserializer::new(map)).map(HeaderValue::Secret)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for HeaderValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HeaderValue".into()
    }

    /// A structural schema has no way to say "text or object": the object's part is spelt out, the rest is checked by
    /// the gateway and the operator.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretKeyRef>();
        json_schema!({
            "x-kubernetes-preserve-unknown-fields": true,
            "maxLength": 4096,
            "maxProperties": 1,
            "properties": {"secretKeyRef": secret},
            "required": ["secretKeyRef"],
        })
    }
}

/// Whether a flag is off; such a flag is not written.
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn durations_are_read_in_milliseconds() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("48h", 172_800_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("0s", 0),
            ("1m1m", 120_000),
        ] {
            assert_eq!(
                text.parse::<Duration>(),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "1h1m1s1ms1h",
            "123456s",
            "1 s",
            "1µs",
            "١s",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_with_the_largest_units_first() {
        for (given, written) in [
            ("90m", "1h30m"),
            ("1000ms", "1s"),
            ("61s", "1m1s"),
            ("0s", "0s"),
            ("48h", "48h"),
        ] {
            assert_eq!(given.parse::<Duration>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        for (text, bytes) in [
            ("128Ki", 131_072),
            ("2Gi", 2_147_483_648),
            ("1.5Mi", 1_572_864),
            ("1G", 1_000_000_000),
            ("7", 7),
        ] {
            assert_eq!(text.parse::<Size>(), Ok(Size::from_bytes(bytes)), "{text}");
        }
        assert_eq!(serde_json::from_str::<Size>("4096").unwrap(), Size::from_bytes(4096));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "Gi",
            "-1",
            "1e3",
            "1.Mi",
            ".5Mi",
            "2GB",
            "1m",
            "999999999999999999Pi",
            "1..2",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Size>("-1").is_err());
    }

    #[test]
    fn sizes_are_written_with_the_unit_that_divides_them() {
        for (given, written) in [("1024Mi", "1Gi"), ("1500", "1500"), ("0", "0"), ("128Ki", "128Ki")] {
            assert_eq!(given.parse::<Size>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn a_header_is_text_or_a_secret_and_nothing_else() {
        assert_eq!(
            serde_json::from_str::<HeaderValue>(r#""a""#).unwrap(),
            HeaderValue::Text("a".into())
        );
        assert!(matches!(
            serde_json::from_str(r#"{"secretKeyRef": {"name": "s", "key": "k"}}"#).unwrap(),
            HeaderValue::Secret(_)
        ));
        for wrong in [
            "1",
            "true",
            "[]",
            r#"{"secretKeyRef": {"name": "s"}}"#,
            r#"{"value": "x"}"#,
        ] {
            assert!(serde_json::from_str::<HeaderValue>(wrong).is_err(), "{wrong}");
        }
    }
}
