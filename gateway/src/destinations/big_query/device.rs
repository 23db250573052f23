//! The column `device`: by GA4's names what the pipeline knows of a device.

use tagfleet_expressions::{Map, Value};

use super::row::{as_text, members};
use crate::{
    event::{Event, field},
    pipeline::device,
};

/// The record of an event's device.
pub(super) fn of<'v>(event: &'v Event<'_>) -> Map<'v> {
    let known = device::of(event);
    let web_info = members([
        ("browser", known.browser.map(Value::String)),
        ("browser_version", known.browser_version.map(Value::String)),
        ("hostname", event.get(field::PAGE_HOSTNAME).and_then(as_text)),
    ]);
    let mut device = members([
        ("category", known.category.map(Value::String)),
        ("mobile_brand_name", known.brand.map(Value::String)),
        ("mobile_model_name", known.model.map(Value::String)),
        ("operating_system", known.operating_system.map(Value::String)),
        (
            "operating_system_version",
            known.operating_system_version.map(Value::String),
        ),
        ("language", event.get(field::LANGUAGE).and_then(as_text)),
    ]);
    if !web_info.is_empty() {
        device.insert("web_info", web_info);
    }
    device
}
