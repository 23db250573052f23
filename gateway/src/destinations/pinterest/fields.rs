//! The names that Pinterest knows: it refuses all others (sheet, section 1).

use std::borrow::Cow;

/// GA4's event names where Pinterest has another (sheet, section 3).
const EVENT_NAMES: [(&str, &str); 7] = [
    ("page_view", "page_visit"),
    ("view_item", "view_content"),
    ("view_item_list", "view_category"),
    ("begin_checkout", "initiate_checkout"),
    ("purchase", "checkout"),
    ("generate_lead", "lead"),
    ("sign_up", "signup"),
];
/// What becomes of an event that Pinterest has no name for.
const CUSTOM: &str = "custom";
/// All names that Pinterest takes (sheet, section 3).
const KNOWN_EVENTS: [&str; 15] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "checkout",
    CUSTOM,
    "initiate_checkout",
    "lead",
    "page_visit",
    "search",
    "signup",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];
/// Names that one other sender uses and Pinterest's list does not have: only for who asks for them in `eventNames`.
const UNLISTED_EVENTS: [&str; 7] = [
    "app_open",
    "contact",
    "customize_product",
    "find_location",
    "schedule",
    "start_trial",
    "submit_application",
];

/// Plain fields of an event (sheet, section 2).
const EVENT_FIELDS: [&str; 17] = [
    "event_name",
    "action_source",
    "event_time",
    "event_id",
    "event_source_url",
    "opt_out",
    "partner_name",
    "language",
    "app_id",
    "app_name",
    "app_version",
    "device_brand",
    "device_carrier",
    "device_model",
    "device_type",
    "os_version",
    "wifi",
];
/// Members of `user_data` (sheet, section 2.1).
const USER_DATA: [&str; 16] = [
    "em",
    "ph",
    "ge",
    "db",
    "fn",
    "ln",
    "ct",
    "st",
    "zp",
    "country",
    "external_id",
    "hashed_maids",
    "client_ip_address",
    "client_user_agent",
    "click_id",
    "partner_id",
];
/// Members of `custom_data` (sheet, section 2.2).
const CUSTOM_DATA: [&str; 13] = [
    "currency",
    "value",
    "content_ids",
    "contents",
    "num_items",
    "order_id",
    "search_string",
    "content_name",
    "content_category",
    "content_brand",
    "opt_out_type",
    "predicted_ltv",
    "np",
];

/// The name of an event at Pinterest: what is neither among GA4's nor its own is custom.
pub(super) fn event_name(ours: &str) -> &str {
    match EVENT_NAMES.iter().find(|(ga4, _)| *ga4 == ours) {
        Some((_, pinterest)) => pinterest,
        None if KNOWN_EVENTS.contains(&ours) => ours,
        None => CUSTOM,
    }
}

/// What is wrong with a name in `eventNames`, if anything.
pub(super) fn mistake_in_event_name(name: &str) -> Option<String> {
    let is_known = KNOWN_EVENTS.contains(&name) || UNLISTED_EVENTS.contains(&name);
    (!is_known).then(|| {
        format!(
            "{name} is no event of Pinterest's, which has {}",
            KNOWN_EVENTS.join(", ")
        )
    })
}

/// What is wrong with a name in `parameters`, if anything.
pub(super) fn mistake_in_field(name: &str) -> Option<String> {
    path(name).is_none().then(|| {
        format!(
            "is no field of Pinterest's, which refuses others: write {}, a member of user_data ({}) or of custom_data ({})",
            EVENT_FIELDS.join(", "),
            USER_DATA.join(", "),
            CUSTOM_DATA.join(", "),
        )
    })
}

/// Where a field of `parameters` stands in an event; a bare name may also be one of `custom_data`. `None` for what
/// Pinterest does not know.
pub(super) fn path(name: &str) -> Option<Cow<'_, str>> {
    match name.split_once('.') {
        Some(("user_data", member)) => USER_DATA.contains(&member).then_some(name.into()),
        Some(("custom_data", member)) => CUSTOM_DATA.contains(&member).then_some(name.into()),
        // For apps; the sheet does not list their members.
        Some(("app_info" | "device_info", member)) => (!member.is_empty()).then_some(name.into()),
        Some(_) => None,
        None if EVENT_FIELDS.contains(&name) => Some(name.into()),
        None => CUSTOM_DATA
            .contains(&name)
            .then(|| format!("custom_data.{name}").into()),
    }
}
