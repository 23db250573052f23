//! The values that an event is made of, and that an expression reads and returns.
//!
//! A value borrows from the request (or from the log's buffer) wherever the bytes need no decoding, so that
//! reading a hit copies almost nothing.

use std::{borrow::Cow, slice};

use serde::ser::{Serialize, SerializeMap, Serializer};

/// One value: JSON's six kinds, with integers kept apart from doubles as CEL does.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// JSON `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number that fits 64 bits with sign.
    Int(i64),
    /// A whole number without sign; only expressions make these (CEL `uint`), parsers never do.
    Uint(u64),
    /// Any other number. Never NaN or infinite when it came from a hit.
    Double(f64),
    /// Text.
    String(Cow<'a, str>),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object; names are unique and keep their order.
    Map(Map<'a>),
}

/// An object: unique names in the order in which they were first set.
///
/// Lookup is a scan: events have some dozens of fields, for which a scan is faster than a hash. Parsers bound the
/// number of fields before they fill one from the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Map<'a> {
    /// An empty object.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty object with room for `fields` fields.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    /// An object of fields whose names the caller knows to be unique, without looking at them again. Of names that
    /// repeat all the same, the first one's value is found.
    #[must_use]
    pub const fn from_unique(fields: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self(fields)
    }

    /// The value of `name`, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of `name` to change in place, if it is set.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether `name` is set (to anything, `null` included).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets `name`, replacing what it had. Returns the value replaced.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> Option<Value<'a>> {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(slot) => Some(std::mem::replace(slot, value)),
            None => {
                self.0.push((name, value));
                None
            }
        }
    }

    /// Removes `name` and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    /// Removes the fields that `keep` does not want; it may change the values of the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value<'a>) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// The fields in order, to change their values in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value<'a>)> {
        self.0.iter_mut().map(|(name, value)| (&**name, value))
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields in order.
    #[must_use]
    pub fn iter(&self) -> Fields<'_, 'a> {
        Fields(self.0.iter())
    }

    /// The same object with every text borrowed from this one.
    #[must_use]
    pub fn reborrow(&self) -> Map<'_> {
        Map(self
            .0
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_ref()), value.reborrow()))
            .collect())
    }

    /// The same object with every text owned.
    #[must_use]
    pub fn into_owned(self) -> Map<'static> {
        Map(self
            .0
            .into_iter()
            .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
            .collect())
    }
}

/// The fields of an object, in order.
#[derive(Clone, Debug)]
pub struct Fields<'m, 'a>(slice::Iter<'m, (Cow<'a, str>, Value<'a>)>);

impl<'m, 'a> Iterator for Fields<'m, 'a> {
    type Item = (&'m str, &'m Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (&**name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<'m, 'a> IntoIterator for &'m Map<'a> {
    type Item = (&'m str, &'m Value<'a>);
    type IntoIter = Fields<'m, 'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Map<'a> {
    /// Collects fields; of a repeated name the last value stays.
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(fields: I) -> Self {
        let mut map = Self::new();
        for (name, value) in fields {
            map.insert(name, value);
        }
        map
    }
}

impl<'a> IntoIterator for Map<'a> {
    type Item = (Cow<'a, str>, Value<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> Value<'a> {
    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number as a double, if this is any kind of number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// The whole number, if this is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Uint(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The object, if this is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map<'a>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The same value with every text borrowed from this one: lists and maps are rebuilt, no text is copied.
    #[must_use]
    pub fn reborrow(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(number) => Value::Int(*number),
            Self::Uint(number) => Value::Uint(*number),
            Self::Double(number) => Value::Double(*number),
            Self::String(text) => Value::String(Cow::Borrowed(text)),
            Self::List(elements) => Value::List(elements.iter().map(Value::reborrow).collect()),
            Self::Map(map) => Value::Map(map.reborrow()),
        }
    }

    /// The same value with every text owned.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Int(number) => Value::Int(number),
            Self::Uint(number) => Value::Uint(number),
            Self::Double(number) => Value::Double(number),
            Self::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Self::List(elements) => Value::List(elements.into_iter().map(Value::into_owned).collect()),
            Self::Map(map) => Value::Map(map.into_owned()),
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::String(text)
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(elements: Vec<Value<'a>>) -> Self {
        Self::List(elements)
    }
}

impl<'a> From<Map<'a>> for Value<'a> {
    fn from(map: Map<'a>) -> Self {
        Self::Map(map)
    }
}

impl From<serde_json::Value> for Value<'static> {
    /// Whole numbers that fit `i64` become `Int`, every other number `Double`.
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::MAX)), Self::Int),
            serde_json::Value::String(text) => Self::String(Cow::Owned(text)),
            serde_json::Value::Array(elements) => Self::List(elements.into_iter().map(Into::into).collect()),
            serde_json::Value::Object(fields) => Self::Map(
                fields
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name), value.into()))
                    .collect(),
            ),
        }
    }
}

impl Serialize for Value<'_> {
    /// As JSON writes it; a double that JSON cannot write (NaN, infinite) becomes `null`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::List(elements) => serializer.collect_seq(elements),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn value(json: &str) -> Value<'static> {
        serde_json::from_str::<serde_json::Value>(json).unwrap().into()
    }

    #[test]
    fn json_goes_in_and_out() {
        for json in [
            "null",
            "true",
            "-7",
            "2.5",
            r#""é""#,
            r#"[1,"a",[]]"#,
            r#"{"a":{"b":1},"c":[null]}"#,
        ] {
            assert_eq!(serde_json::to_string(&value(json)).unwrap(), json);
            assert_eq!(value(json).reborrow(), value(json));
        }
        assert_eq!(
            value("18446744073709551615"),
            Value::Double(18_446_744_073_709_551_615.0)
        );
        assert_eq!(serde_json::to_string(&Value::Double(f64::NAN)).unwrap(), "null");
        assert_eq!(serde_json::to_string(&Value::Uint(7)).unwrap(), "7");
    }

    #[test]
    fn a_map_keeps_the_order_and_the_last_value_of_each_name() {
        let mut map = Map::new();
        map.insert("b", 1_i64);
        map.insert("a", 2_i64);
        assert_eq!(map.insert("b", 3_i64), Some(Value::Int(1)));
        let fields: Vec<_> = map.iter().map(|(name, value)| (name, value.as_i64())).collect();
        assert_eq!(fields, [("b", Some(3)), ("a", Some(2))]);
        assert_eq!(map.remove("b"), Some(Value::Int(3)));
        assert!(map.contains("a") && !map.contains("b"));
    }

    #[test]
    fn a_reborrowed_value_copies_no_text() {
        let Value::List(list) = value(r#"["text"]"#) else {
            panic!()
        };
        let whole = Value::List(list);
        let Value::List(reborrowed) = whole.reborrow() else {
            panic!()
        };
        assert!(matches!(reborrowed.first(), Some(Value::String(Cow::Borrowed("text")))));
    }
}
