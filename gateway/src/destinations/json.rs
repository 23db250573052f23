//! Vendors' JSON: objects without the fields that an event does not have.

use std::borrow::Cow;

use serde_json::{Value as Json, json};
use tagfleet_expressions::Value;

use super::{
    commerce,
    mapping::{self, Json as Object},
};
use crate::event::Event;

/// An object of the fields that have a value.
#[must_use]
pub fn object<const N: usize>(fields: [(&str, Option<Json>); N]) -> Object {
    let fields = fields.into_iter();
    fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// An object as a field's value, unless it is empty.
#[must_use]
pub fn non_empty(object: Object) -> Option<Json> {
    (!object.is_empty()).then_some(Json::Object(object))
}

/// A list as a field's value, unless it is empty.
#[must_use]
pub fn list<T: Into<Json>>(elements: impl IntoIterator<Item = T>) -> Option<Json> {
    let elements: Vec<Json> = elements.into_iter().map(Into::into).collect();
    (!elements.is_empty()).then_some(Json::Array(elements))
}

/// A field of nested objects by its dotted path.
#[must_use]
pub fn get<'o>(object: &'o Object, path: &str) -> Option<&'o Json> {
    let mut names = path.split('.');
    let first = object.get(names.next()?);
    names.fold(first, |inner, name| inner?.get(name))
}

/// An event's field as text, unless it is empty.
#[must_use]
pub fn written(event: &Event<'_>, name: &str) -> Option<Json> {
    filled(event.get(name)?)
}

/// A member of an event's object (`click_ids`, `cookies`) as text, unless it is empty.
#[must_use]
pub fn member(event: &Event<'_>, object: &str, name: &str) -> Option<Json> {
    filled(event.get(object)?.as_map()?.get(name)?)
}

/// A value as text, unless it is empty or none.
#[must_use]
pub fn filled(value: &Value<'_>) -> Option<Json> {
    let text = mapping::text(value)?;
    let text = text.trim();
    (!text.is_empty()).then(|| json!(text))
}

/// A value as JSON writes it, whole numbers without `.0`; `None` for null and for numbers that JSON has not.
#[must_use]
pub fn plain(value: &Value<'_>) -> Option<Json> {
    let json = match value {
        Value::Double(number) => commerce::json_number(*number),
        other => json!(other),
    };
    (!json.is_null()).then_some(json)
}

/// A value as a whole number, as times and counts are.
#[must_use]
pub fn whole(value: &Value<'_>) -> Option<Json> {
    commerce::number(value).map(|number| commerce::json_number(number.round()))
}

/// A text, or the texts of a list; numbers count as text.
#[must_use]
pub fn texts<'v>(value: &'v Value<'_>) -> Vec<Cow<'v, str>> {
    match value {
        Value::List(elements) => elements.iter().filter_map(mapping::text).collect(),
        single => mapping::text(single).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::testing;

    #[test]
    fn fields_without_a_value_are_left_out() {
        let inner = object([("url", None)]);
        let outer = object([
            ("event", Some(json!("Purchase"))),
            ("page", non_empty(inner)),
            ("ids", list(Vec::<String>::new())),
        ]);
        assert_eq!(Json::Object(outer), json!({"event": "Purchase"}));
    }

    #[test]
    fn a_dotted_path_reads_from_objects() {
        let event = object([("user", Some(json!({"email": ["hash"]})))]);
        assert_eq!(get(&event, "user.email"), Some(&json!(["hash"])));
        assert_eq!(get(&event, "user.email.first"), None);
        assert_eq!(get(&event, "page.url"), None);
    }

    #[test]
    fn text_is_read_from_numbers_too_and_never_empty() {
        let event = testing::record(json!({
            "transaction_id": 1001, "user_id": " ", "cookies": {"_ttp": " abc "}, "skus": ["a", 2, null]
        }))
        .event;
        assert_eq!(written(&event, "transaction_id"), Some(json!("1001")));
        assert_eq!(written(&event, "user_id"), None);
        assert_eq!(member(&event, "cookies", "_ttp"), Some(json!("abc")));
        assert_eq!(member(&event, "user_id", "_ttp"), None);
        assert_eq!(texts(event.get("skus").unwrap()), ["a", "2"]);
    }

    #[test]
    fn numbers_are_written_as_short_as_they_are() {
        assert_eq!(plain(&Value::Double(9.0)), Some(json!(9)));
        assert_eq!(plain(&Value::Double(9.5)), Some(json!(9.5)));
        assert_eq!(plain(&Value::Double(f64::NAN)), None);
        assert_eq!(plain(&Value::Bool(true)), Some(json!(true)));
        assert_eq!(whole(&Value::from("1767225600.4")), Some(json!(1_767_225_600)));
        assert_eq!(whole(&Value::from("soon")), None);
    }
}
