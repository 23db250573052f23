//! The names that the Measurement Protocol takes, and those that it keeps for Google's own tags and SDKs
//! (vendors/ga4-mp.md section 2).

use tagfleet_expressions::Value;

use super::mp_validation::Code;

/// Characters of an event's or a parameter's name.
const MAX_NAME: usize = 40;
/// Characters of a user property's name.
const MAX_PROPERTY_NAME: usize = 24;

/// Names of events that only Google's own tags and SDKs may send.
const RESERVED_EVENTS: &[&str] = &[
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_impression",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_background",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_store_subscription_cancel",
    "app_store_subscription_convert",
    "app_store_subscription_renew",
    "app_uninstall",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "session_start",
];
/// Reserved on paper, taken in practice: remarked on, never dropped.
const TOLERATED_EVENTS: &[&str] = &["screen_view", "user_engagement"];
const RESERVED_EVENT_PREFIXES: &[&str] = &["_", "firebase_", "ga_", "google_", "gtag."];
const RESERVED_PARAMETERS: &[&str] = &["firebase_conversion"];
const RESERVED_PARAMETER_PREFIXES: &[&str] = &["_", "firebase_", "ga_", "google_"];
const RESERVED_PROPERTIES: &[&str] = &[
    "first_open_time",
    "first_visit_time",
    "first_open_after_install",
    "last_deep_link_referrer",
    "user_id",
];
const RESERVED_PROPERTY_PREFIXES: &[&str] = &["firebase_", "ga_", "google_"];

/// Whether GA4 drops an event of this name.
pub(crate) fn is_reserved_event(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name) || has_prefix(name, RESERVED_EVENT_PREFIXES)
}

/// Whether GA4 drops a parameter of this name.
pub(crate) fn is_reserved_parameter(name: &str) -> bool {
    RESERVED_PARAMETERS.contains(&name) || has_prefix(name, RESERVED_PARAMETER_PREFIXES)
}

/// Whether GA4 drops a user property of this name.
pub(crate) fn is_reserved_user_property(name: &str) -> bool {
    RESERVED_PROPERTIES.contains(&name) || has_prefix(name, RESERVED_PROPERTY_PREFIXES)
}

/// What is wrong with a name, in words.
pub(super) type Fault = (Code, &'static str);

/// What is wrong with an event's name, so that Google would not take the event.
pub(super) fn event_fault(name: Option<&Value<'_>>) -> Option<Fault> {
    const REQUIRED: Fault = (Code::ValueRequired, "the event's name is required");
    let name = match name {
        None | Some(Value::Null) => return Some(REQUIRED),
        Some(Value::String(name)) if name.is_empty() => return Some(REQUIRED),
        Some(Value::String(name)) => name,
        Some(_) => return Some((Code::NameInvalid, "the event's name must be text")),
    };
    if is_reserved_event(name) {
        return Some((Code::NameReserved, "the event's name is reserved"));
    }
    spelling_fault(name, MAX_NAME)
}

/// Whether an event's name is reserved on paper only.
pub(super) fn is_tolerated_event(name: &str) -> bool {
    TOLERATED_EVENTS.contains(&name)
}

/// What is wrong with a parameter's name.
pub(super) fn parameter_fault(name: &str) -> Option<Fault> {
    if is_reserved_parameter(name) {
        return Some((Code::NameReserved, "the parameter's name is reserved"));
    }
    spelling_fault(name, MAX_NAME)
}

/// What is wrong with a user property's name.
pub(super) fn user_property_fault(name: &str) -> Option<Fault> {
    if is_reserved_user_property(name) {
        return Some((Code::NameReserved, "the user property's name is reserved"));
    }
    spelling_fault(name, MAX_PROPERTY_NAME)
}

/// A letter, then letters, digits and underscores, no longer than `most` characters.
fn spelling_fault(name: &str, most: usize) -> Option<Fault> {
    if !name.starts_with(|first: char| first.is_alphabetic()) {
        return Some((Code::NameInvalid, "a name must begin with a letter"));
    }
    if !name.chars().all(|sign| sign.is_alphanumeric() || sign == '_') {
        return Some((
            Code::NameInvalid,
            "a name may hold only letters, digits and underscores",
        ));
    }
    (name.chars().count() > most).then_some((Code::NameInvalid, "the name is too long"))
}

fn has_prefix(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}
