//! The columns `ecommerce` and `items` (vendors/bigquery.md section 3).

use tagfleet_expressions::{Map, Value};

use super::row::{as_text, decimal, keyed, members, put, put_list, whole};
use crate::event::{Event, field};

/// The members of an item that are text.
pub(super) const ITEM_TEXTS: [&str; 19] = [
    "item_id",
    "item_name",
    "item_brand",
    "item_variant",
    "item_category",
    "item_category2",
    "item_category3",
    "item_category4",
    "item_category5",
    "coupon",
    "affiliation",
    "location_id",
    "item_list_id",
    "item_list_name",
    "item_list_index",
    "promotion_id",
    "promotion_name",
    "creative_name",
    "creative_slot",
];

/// The record `ecommerce`.
pub(super) fn ecommerce<'v>(event: &'v Event<'_>) -> Map<'v> {
    let number = |name: &str| event.get(name).and_then(decimal);
    let items = event.get(field::ITEMS).and_then(Value::as_list).unwrap_or_default();
    let quantities = items
        .iter()
        .filter_map(|item| whole(item.as_map()?.get("quantity")?)?.as_i64());
    let has_items = !items.is_empty();
    members([
        (
            "total_item_quantity",
            has_items.then(|| Value::Int(quantities.fold(0, i64::saturating_add))),
        ),
        (
            "purchase_revenue",
            number(field::VALUE).filter(|_| event.name() == "purchase"),
        ),
        (
            "refund_value",
            number(field::VALUE).filter(|_| event.name() == "refund"),
        ),
        ("shipping_value", number("shipping")),
        ("tax_value", number("tax")),
        (
            "unique_items",
            has_items.then(|| Value::Int(i64::try_from(items.len()).unwrap_or(i64::MAX))),
        ),
        ("transaction_id", event.get(field::TRANSACTION_ID).and_then(as_text)),
    ])
}

/// The records of `items`.
pub(super) fn items<'v>(event: &'v Event<'_>) -> Vec<Value<'v>> {
    let items = event.get(field::ITEMS).and_then(Value::as_list).unwrap_or_default();
    let items = items.iter().filter_map(Value::as_map);
    items.map(|item| Value::Map(item_row(event.name(), item))).collect()
}

/// An item's columns; a member that is none of them, or does not fit into its type, is among `item_params`.
fn item_row<'v>(event_name: &str, item: &'v Map<'_>) -> Map<'v> {
    let mut columns = Map::with_capacity(item.len());
    let mut parameters = Vec::new();
    for (name, value) in item.iter() {
        let (column, typed) = match name {
            "price" => (name, decimal(value)),
            "quantity" => (name, whole(value)),
            "index" => ("item_list_index", as_text(value)),
            _ if ITEM_TEXTS.contains(&name) => (name, as_text(value)),
            _ => (name, None),
        };
        match typed {
            Some(typed) => {
                columns.insert(column, typed);
            }
            None => parameters.extend(keyed(name, value, None)),
        }
    }
    let total = columns.get("price").and_then(Value::as_f64).map(|price| {
        let quantity = columns.get("quantity").and_then(Value::as_f64).unwrap_or(1.0);
        Value::Double(price * quantity)
    });
    match event_name {
        "purchase" => put(&mut columns, "item_revenue", total),
        "refund" => put(&mut columns, "item_refund", total),
        _ => {}
    }
    put_list(&mut columns, "item_params", parameters);
    columns
}
