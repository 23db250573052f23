//! Reading an event's money and items, which most advertising vendors want alike: ids, contents, totals.

use std::borrow::Cow;

use serde_json::{Number, Value as Json};
use tagfleet_expressions::{Map, Value};

use super::mapping;
use crate::event::{Event, field};

/// One of `event.items`.
#[derive(Clone, Copy, Debug)]
pub struct Item<'e>(&'e Map<'e>);

impl<'e> Item<'e> {
    /// `item_id`, or where it has none `item_name`.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'e, str>> {
        self.text("item_id").or_else(|| self.text("item_name"))
    }

    /// A field as text (`item_name`, `item_brand`, `item_variant`); `None` where it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'e, str>> {
        self.0
            .get(name)
            .and_then(mapping::text)
            .filter(|text| !text.trim().is_empty())
    }

    /// The price of one.
    #[must_use]
    pub fn price(&self) -> Option<f64> {
        self.0.get("price").and_then(number)
    }

    /// How many; one where it is not said.
    #[must_use]
    pub fn quantity(&self) -> f64 {
        self.0
            .get("quantity")
            .and_then(number)
            .filter(|quantity| *quantity > 0.0)
            .unwrap_or(1.0)
    }

    /// A field as a number (`discount`).
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(number)
    }

    /// The categories that are there, `item_category` first, then `item_category2` to `5`.
    #[must_use]
    pub fn categories(&self) -> Vec<Cow<'e, str>> {
        const NAMES: [&str; 5] = [
            "item_category",
            "item_category2",
            "item_category3",
            "item_category4",
            "item_category5",
        ];
        NAMES.iter().filter_map(|name| self.text(name)).collect()
    }
}

/// The event's items.
#[must_use]
pub fn items<'e>(event: &'e Event<'_>) -> Vec<Item<'e>> {
    let items = event.get(field::ITEMS).and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_map).map(Item).collect()
}

/// The event's `value`, or where it has none the sum of price × quantity of the items that have a price.
#[must_use]
pub fn value(event: &Event<'_>) -> Option<f64> {
    event.get(field::VALUE).and_then(number).or_else(|| {
        let items = items(event);
        let mut lines = items.iter().filter_map(|item| Some(item.price()? * item.quantity()));
        let first = lines.next()?;
        // Whole multiples of a millionth, as sums of decimal fractions are not exact in binary.
        Some(((first + lines.sum::<f64>()) * 1e6).round() / 1e6).filter(|sum| sum.is_finite())
    })
}

/// The event's ISO 4217 currency code in upper case; `None` when it is none.
#[must_use]
pub fn currency(event: &Event<'_>) -> Option<String> {
    let code = event.text(field::CURRENCY)?.trim();
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}

/// How many articles the items are together.
#[must_use]
pub fn quantity(items: &[Item<'_>]) -> f64 {
    items.iter().map(Item::quantity).sum()
}

/// A number, also one that came as text (`"19.99"`). Never NaN or infinite.
#[must_use]
pub fn number(value: &Value<'_>) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    number.is_finite().then_some(number)
}

/// A number as JSON writes it, a whole one without `.0`.
#[must_use]
pub fn json_number(number: f64) -> Json {
    /// Whole doubles below are exact integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
        return Json::from(number as i64);
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;
    use crate::testing;

    fn event(fields: Json) -> Event<'static> {
        testing::record(fields).event
    }

    #[test]
    fn items_are_read_whatever_kind_their_values_are() {
        let event = event(json!({"items": [
            {"item_id": 7, "price": "19.99", "quantity": 3, "item_category": "Home", "item_category2": "", "item_category3": "Bowls"},
            {"item_name": "Cup", "quantity": 0},
            "no item",
        ]}));
        let items = items(&event);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].id().as_deref(), Some("7"));
        assert_eq!((items[0].price(), items[0].quantity()), (Some(19.99), 3.0));
        assert_eq!(items[0].categories(), ["Home", "Bowls"]);
        assert_eq!((items[1].id().as_deref(), items[1].quantity()), (Some("Cup"), 1.0));
        assert_eq!(quantity(&items), 4.0);
        assert_eq!(value(&event), Some(59.97));
    }

    #[test]
    fn the_events_own_value_counts_first() {
        let items = json!([{"price": 5}]);
        assert_eq!(value(&event(json!({"value": 0, "items": items}))), Some(0.0));
        assert_eq!(value(&event(json!({"value": "12.5"}))), Some(12.5));
        assert_eq!(value(&event(json!({"value": "much", "items": items}))), Some(5.0));
        assert_eq!(value(&event(json!({"items": [{"item_id": "A"}]}))), None);
    }

    #[test]
    fn a_currency_is_a_code() {
        assert_eq!(currency(&event(json!({"currency": " eur "}))).as_deref(), Some("EUR"));
        assert_eq!(currency(&event(json!({"currency": "€"}))), None);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(json_number(2.0).to_string(), "2");
        assert_eq!(json_number(33.03).to_string(), "33.03");
        assert_eq!(json_number(1e300), 1e300);
    }
}
