//! JSON from the network: values that borrow from the body, with every dimension bounded.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tagfleet_expressions::Value;

use super::fields::Fields;

/// How deep objects and arrays may stand in each other, the event itself counted.
pub(super) const MAX_DEPTH: u8 = 32;

/// How many fields one object may have.
pub(super) const MAX_FIELDS: usize = 1_000;

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No JSON (RFC 8259); the parser's words, with line and column.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Too deep.
    #[error("objects and arrays stand more than {MAX_DEPTH} deep in each other")]
    Depth,
    /// Too wide.
    #[error("an object has more than {MAX_FIELDS} fields")]
    Fields,
    /// Too many values in an array of events.
    #[error("more than {0} events in one request")]
    Events(usize),
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// Reads a text that is one JSON value. Of a repeated name the last value counts.
///
/// # Errors
/// When it is not JSON, or too deep or wide.
pub(super) fn read(text: &str) -> Result<Value<'_>, Fault> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Reader {
        depth: MAX_DEPTH,
        fault: &fault,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    fault.take().map_or(Ok(value), Err)
}

/// Reads a text that is one JSON array, each element for itself: an element that is too deep or wide spoils no other.
///
/// # Errors
/// When it is not one array of JSON, or has more than `at_most` elements.
pub(super) fn read_elements(text: &str, at_most: usize) -> Result<Vec<Result<Value<'_>, Fault>>, Fault> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let elements = Elements { at_most, fault: &fault };
    let elements = match deserializer.deserialize_seq(elements) {
        Ok(elements) => elements,
        Err(error) => return Err(fault.take().unwrap_or_else(|| error.into())),
    };
    deserializer.end()?;
    Ok(elements)
}

/// The array that `text` spells, if it spells one.
pub(super) fn list<'a>(text: &str) -> Option<Vec<Value<'a>>> {
    match read(text).ok()?.into_owned() {
        Value::List(elements) => Some(elements),
        _ => None,
    }
}

/// Reads one value; a fault is noted aside so that the rest of the text can be read on.
struct Reader<'f> {
    /// How many levels of objects and arrays are left.
    depth: u8,
    fault: &'f Cell<Option<Fault>>,
}

impl Reader<'_> {
    fn inner(&self) -> Self {
        Self {
            depth: self.depth - 1,
            fault: self.fault,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Value::Double(number as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        if self.depth == 0 {
            self.fault.set(Some(Fault::Depth));
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self.inner())? {
            list.push(element);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        if self.depth == 0 {
            self.fault.set(Some(Fault::Depth));
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut fields = Fields::default();
        while let Some(name) = members.next_key_seed(Name)? {
            if fields.len() >= MAX_FIELDS && !fields.contains(&name) {
                self.fault.set(Some(Fault::Fields));
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            fields.insert(name, members.next_value_seed(self.inner())?);
        }
        Ok(Value::Map(fields.into_map()))
    }
}

/// Reads a member's name.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Reads the elements of the outermost array.
struct Elements<'f> {
    at_most: usize,
    fault: &'f Cell<Option<Fault>>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<Result<Value<'de>, Fault>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(Reader {
            depth: MAX_DEPTH,
            fault: self.fault,
        })? {
            if all.len() == self.at_most {
                self.fault.set(Some(Fault::Events(self.at_most)));
                return Err(A::Error::custom("too many events"));
            }
            all.push(self.fault.take().map_or(Ok(element), Err));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_value() {
        let value =
            read(r#"{"a":1,"b":-2.5,"c":"x","d":[true,null],"e":{},"f":18446744073709551615,"g":"\n"}"#).unwrap();
        let map = value.as_map().unwrap();
        assert_eq!(map.get("a"), Some(&Value::Int(1)));
        assert_eq!(map.get("b"), Some(&Value::Double(-2.5)));
        assert!(matches!(map.get("c"), Some(Value::String(Cow::Borrowed("x")))));
        assert_eq!(map.get("d"), Some(&Value::List(vec![Value::Bool(true), Value::Null])));
        assert_eq!(map.get("f"), Some(&Value::Double(18_446_744_073_709_551_615.0)));
        assert_eq!(map.get("g"), Some(&Value::from("\n")));
    }

    #[test]
    fn of_a_repeated_name_the_last_counts() {
        let value = read(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(value.as_map().unwrap().get("a"), Some(&Value::Int(3)));
        assert_eq!(value.as_map().unwrap().len(), 2);
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_bounded_whatever_the_text() {
        assert!(read(&nested(32)).is_ok());
        assert_eq!(read(&nested(33)), Err(Fault::Depth));
        assert_eq!(read(&nested(50_000)), Err(Fault::Depth));
        assert!(read(&"{\"a\":".repeat(50_000)).is_err());
    }

    #[test]
    fn width_is_bounded() {
        let object = |fields: usize| {
            let members: Vec<_> = (0..fields).map(|number| format!("\"f{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(read(&object(1_000)).is_ok());
        assert_eq!(read(&object(1_001)), Err(Fault::Fields));
    }

    #[test]
    fn a_faulty_element_spoils_no_other() {
        let text = format!("[1,{},2]", nested(40));
        let elements = read_elements(&text, 10).unwrap();
        assert_eq!(elements, [Ok(Value::Int(1)), Err(Fault::Depth), Ok(Value::Int(2))]);
        assert_eq!(read_elements("[1,2,3]", 2), Err(Fault::Events(2)));
        assert!(matches!(read_elements("[1,2", 9), Err(Fault::Syntax(_))));
        assert!(matches!(read_elements("[1] x", 9), Err(Fault::Syntax(_))));
    }

    proptest! {
        /// Given any text: this reader takes what the reference takes, and reads the same.
        #[test]
        fn it_agrees_with_the_reference(text in r#"[\[\]{}",:0-9a-c.e\\ntrul -]{0,40}"#) {
            let reference: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            let read = read(&text).ok();
            prop_assert_eq!(read.map(|value| serde_json::to_value(value).unwrap()), reference);
        }
    }
}
