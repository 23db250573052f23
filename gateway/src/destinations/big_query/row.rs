//! A row of an event: the columns of GA4's export (vendors/bigquery.md section 3).
//!
//! What has no column of its own is in `event_params`. Columns that cannot be known here, such as a visitor's first
//! source, are left out, and so are addresses, user agent, cookies and user data: `parameters` can add them.

use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};
use tagfleet_expressions::{Map, Value};
use url::form_urlencoded;

use super::{device, schema::JSON_COLUMNS, shop};
use crate::{
    destinations::{
        commerce,
        mapping::{Budget, Failures, Mapping, text},
    },
    event::{Event, field},
    record::{Consent, ConsentSignal, Record},
};

/// Fields of the event that are no parameters: they have columns of their own, or stay out of the table.
const NOT_PARAMETERS: [&str; 15] = [
    field::EVENT_NAME,
    field::EVENT_ID,
    field::TIMESTAMP_MS,
    field::CLIENT_ID,
    field::USER_ID,
    field::USER_DATA,
    field::USER_PROPERTIES,
    field::ITEMS,
    field::CLICK_IDS,
    field::COOKIES,
    field::CLIENT_HINTS,
    field::IP_OVERRIDE,
    field::USER_AGENT,
    field::LANGUAGE,
    field::DEVICE,
];

/// Parameters that GA4 holds as whole numbers, though tags send them as text.
const WHOLE_PARAMETERS: [&str; 3] = [field::GA_SESSION_ID, field::GA_SESSION_NUMBER, "engagement_time_msec"];

/// The parameters of a page's URL that name a campaign; each with its parameter in a hit, by which a tag overrides it
/// (vendors/ga4-collect.md, campaign overrides).
const CAMPAIGN: [(&str, &str, &[&str]); 12] = [
    ("manual_campaign_id", "utm_id", &["ci"]),
    ("manual_campaign_name", "utm_campaign", &["cn"]),
    ("manual_source", "utm_source", &["cs"]),
    ("manual_medium", "utm_medium", &["cm"]),
    ("manual_term", "utm_term", &["ck", "ct"]),
    ("manual_content", "utm_content", &["cc"]),
    ("manual_source_platform", "utm_source_platform", &[]),
    ("manual_creative_format", "utm_creative_format", &["ccf"]),
    ("manual_marketing_tactic", "utm_marketing_tactic", &["cmt"]),
    ("gclid", "gclid", &[]),
    ("dclid", "dclid", &[]),
    ("srsltid", "srsltid", &[]),
];

/// The row of a record.
///
/// # Errors
/// With what a person understands, when the event has no time that BigQuery could hold.
pub(super) fn of<'v>(
    record: &'v Record<'v>,
    mapping: &'v Mapping,
    failures: &mut Failures,
) -> Result<Map<'v>, Cow<'static, str>> {
    let event = &record.event;
    let happened_ms = event.timestamp_ms().unwrap_or(record.accepted_ms);
    let happened = at(happened_ms)?;
    let micros = happened.as_microsecond();
    let mut row = Map::with_capacity(24);
    row.insert("event_date", happened.to_zoned(TimeZone::UTC).date().to_string());
    row.insert("event_timestamp", micros);
    row.insert("event_name", mapping.event_name(event));
    let offset = record.accepted_ms.saturating_sub(happened_ms).saturating_mul(1_000);
    row.insert("event_server_timestamp_offset", offset);
    put(&mut row, "user_id", event.get(field::USER_ID).and_then(as_text));
    put(
        &mut row,
        "user_pseudo_id",
        event.get(field::CLIENT_ID).and_then(as_text),
    );
    put_members(&mut row, "privacy_info", privacy_info(&record.consent));
    put_list(&mut row, "event_params", parameters(event));
    let properties = event.get(field::USER_PROPERTIES).and_then(Value::as_map);
    let properties = properties.into_iter().flat_map(Map::iter);
    put_list(
        &mut row,
        "user_properties",
        properties
            .filter_map(|(name, value)| keyed(name, value, Some(micros)))
            .collect(),
    );
    put_members(&mut row, "device", device::of(event));
    put_members(&mut row, "geo", geo(event));
    put_members(
        &mut row,
        "event_dimensions",
        members([("hostname", event.get(field::PAGE_HOSTNAME).and_then(as_text))]),
    );
    put_members(&mut row, "collected_traffic_source", traffic_source(event));
    put(
        &mut row,
        "stream_id",
        event.get("x-ga-measurement_id").and_then(as_text),
    );
    row.insert("platform", "WEB");
    put_members(&mut row, "ecommerce", shop::ecommerce(event));
    put_list(&mut row, "items", shop::items(event));
    put(&mut row, "batch_page_id", event.get("x-ga-page_id").and_then(whole));
    put(
        &mut row,
        "batch_ordering_id",
        event.get("x-ga-request_count").and_then(whole),
    );
    put(&mut row, "event_id", event.get(field::EVENT_ID).and_then(as_text));
    row.insert("received_at", at(record.accepted_ms)?.to_string());
    row.insert("consent", consent(&record.consent));
    for (path, value) in mapping.values(record, &mut Budget::default(), failures) {
        set(&mut row, path, value, micros);
    }
    Ok(row)
}

fn at(unix_ms: i64) -> Result<Timestamp, Cow<'static, str>> {
    Timestamp::from_millisecond(unix_ms).map_err(|_| format!("timestamp_ms {unix_ms} is no time").into())
}

/// Puts what an expression gives into a column; `geo.country` into a member of one, `event_params.<key>` and
/// `user_properties.<key>` into the entry of that key.
fn set<'v>(row: &mut Map<'v>, path: &'v str, value: Value<'v>, micros: i64) {
    match path.split_once('.') {
        Some((column @ ("event_params" | "user_properties"), key)) => {
            let Some(entry) = keyed(key, &value, (column == "user_properties").then_some(micros)) else {
                return;
            };
            let entry = entry.into_owned();
            let mut entries = match row.remove(column) {
                Some(Value::List(entries)) => entries,
                _ => Vec::new(),
            };
            entries.retain(|entry| entry.as_map().and_then(|entry| entry.get("key")) != Some(&Value::from(key)));
            entries.push(entry);
            row.insert(column, entries);
        }
        Some((column, member)) => {
            let mut inner = match row.remove(column) {
                Some(Value::Map(inner)) => inner,
                _ => Map::new(),
            };
            set_member(&mut inner, member, value);
            row.insert(column, inner);
        }
        None if JSON_COLUMNS.contains(&path) => put(row, path, json(&value)),
        None => {
            row.insert(path, value);
        }
    }
}

fn set_member<'v>(map: &mut Map<'v>, path: &'v str, value: Value<'v>) {
    match path.split_once('.') {
        Some((name, rest)) => {
            let mut inner = match map.remove(name) {
                Some(Value::Map(inner)) => inner,
                _ => Map::new(),
            };
            set_member(&mut inner, rest, value);
            map.insert(name, inner);
        }
        None => {
            map.insert(path, value);
        }
    }
}

/// Every field that is no column: GA's own, such as `page_location`, and custom ones.
fn parameters<'v>(event: &'v Event<'_>) -> Vec<Value<'v>> {
    let own = |name: &str| !NOT_PARAMETERS.contains(&name) && !name.starts_with("x-ga-") && !name.starts_with("x-sst-");
    let fields = event
        .fields()
        .iter()
        .filter(|(name, value)| own(name) && !is_place(name, value));
    let typed = fields.filter_map(|(name, value)| {
        let number = WHOLE_PARAMETERS.contains(&name).then(|| whole(value)).flatten();
        match number {
            Some(number) => keyed(name, &number, None).map(Value::into_owned),
            None => keyed(name, value, None),
        }
    });
    let mut parameters: Vec<Value<'v>> = typed.collect();
    if let Some(engaged) = event.get("x-ga-mp2-seg") {
        parameters.extend(keyed("session_engaged", engaged, None));
    }
    parameters
}

/// `{key, value: {…}}` with the value under the name of its type; none for nothing.
pub(super) fn keyed<'v>(key: &'v str, value: &'v Value<'_>, set_micros: Option<i64>) -> Option<Value<'v>> {
    let (kind, value) = match value {
        Value::Null => return None,
        Value::Int(number) => ("int_value", Value::Int(*number)),
        Value::Uint(number) => match i64::try_from(*number) {
            Ok(number) => ("int_value", Value::Int(number)),
            Err(_) => ("double_value", Value::from(value.as_f64()?)),
        },
        Value::Double(number) if number.is_finite() => ("double_value", Value::Double(*number)),
        Value::Double(_) => return None,
        other => ("string_value", as_text(other)?),
    };
    let mut typed = Map::with_capacity(2);
    typed.insert(kind, value);
    if let Some(micros) = set_micros {
        typed.insert("set_timestamp_micros", micros);
    }
    Some(Value::Map(
        [("key".into(), key.into()), ("value".into(), typed.into())]
            .into_iter()
            .collect(),
    ))
}

fn privacy_info(consent: &Consent) -> Map<'static> {
    let answer = |signal: ConsentSignal| match signal {
        ConsentSignal::Granted => Some(Value::from("Yes")),
        ConsentSignal::Denied => Some(Value::from("No")),
        ConsentSignal::Unset => None,
    };
    let mut info = members([
        ("analytics_storage", answer(consent.analytics_storage)),
        ("ads_storage", answer(consent.ad_storage)),
    ]);
    // There are no transient tokens outside Google's own.
    info.insert("uses_transient_token", "No");
    info
}

fn consent(consent: &Consent) -> String {
    serde_json::json!({
        "ad_storage": consent.ad_storage.as_str(),
        "analytics_storage": consent.analytics_storage.as_str(),
        "ad_user_data": consent.ad_user_data.as_str(),
        "ad_personalization": consent.ad_personalization.as_str(),
    })
    .to_string()
}

/// Whether a field is `event.geo` of the pipeline, which has a column of its own.
fn is_place(name: &str, value: &Value<'_>) -> bool {
    name == field::GEO && value.as_map().is_some()
}

/// What a server said of the visitor's place (Measurement Protocol, `user_location`), and else where the address was found
/// (`enrich.geo`).
fn geo<'v>(event: &'v Event<'_>) -> Map<'v> {
    let stated = event.get("user_location").and_then(Value::as_map);
    let found = event
        .get(field::GEO)
        .and_then(Value::as_map)
        .filter(|_| stated.is_none());
    let member = |stated_as: &str, found_as: &str| {
        let of = |map: Option<&'v Map<'_>>, name: &str| map?.get(name).and_then(as_text);
        of(stated, stated_as).or_else(|| of(found, found_as))
    };
    members([
        ("city", member("city", "city")),
        ("country", member("country_id", "country")),
        ("continent", member("continent_id", "continent")),
        ("region", member("region_id", "region")),
        ("sub_continent", member("subcontinent_id", "sub_continent")),
    ])
}

fn traffic_source<'v>(event: &'v Event<'_>) -> Map<'v> {
    let query = event
        .text(field::PAGE_LOCATION)
        .and_then(|url| url.split_once('?'))
        .map(|(_, query)| query.split_once('#').map_or(query, |(query, _)| query))
        .unwrap_or_default();
    let mut source = Map::new();
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        if let Some((member, ..)) = CAMPAIGN.iter().find(|(_, known, _)| *known == parameter)
            && !value.is_empty()
        {
            source.insert(*member, value);
        }
    }
    for (member, _, overrides) in CAMPAIGN {
        for wire in overrides {
            put(
                &mut source,
                member,
                event.get(&format!("x-ga-mp2-{wire}")).and_then(as_text),
            );
        }
    }
    let clicks = event.get(field::CLICK_IDS).and_then(Value::as_map);
    for id in ["gclid", "dclid"] {
        put(
            &mut source,
            id,
            clicks.and_then(|clicks| clicks.get(id)).and_then(as_text),
        );
    }
    source
}

/// A value as text; lists and objects as JSON. None for nothing.
pub(super) fn as_text<'v>(value: &'v Value<'_>) -> Option<Value<'v>> {
    text(value).map(Value::String).or_else(|| json(value))
}

fn json(value: &Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::Null | Value::Double(_) => None,
        other => serde_json::to_string(other).ok().map(Value::from),
    }
}

/// A whole number, also of text.
pub(super) fn whole(value: &Value<'_>) -> Option<Value<'static>> {
    /// Whole doubles below are exact integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Double(number) if number.fract() == 0.0 && number.abs() < EXACT => Some(*number as i64),
        other => other.as_i64(),
    };
    number.map(Value::Int)
}

/// A decimal number, also of text.
pub(super) fn decimal(value: &Value<'_>) -> Option<Value<'static>> {
    commerce::number(value).map(Value::Double)
}

/// The members that are there.
pub(super) fn members<'v, const N: usize>(given: [(&'static str, Option<Value<'v>>); N]) -> Map<'v> {
    let there = given
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), value?)));
    there.collect()
}

/// Sets a column, unless there is nothing to set.
pub(super) fn put<'v>(row: &mut Map<'v>, column: &'v str, value: Option<Value<'v>>) {
    if let Some(value) = value {
        row.insert(column, value);
    }
}

fn put_members<'v>(row: &mut Map<'v>, column: &'static str, members: Map<'v>) {
    if !members.is_empty() {
        row.insert(column, members);
    }
}

/// Sets a repeated column: empty ones are left out, as `null` is refused.
pub(super) fn put_list<'v>(row: &mut Map<'v>, column: &'static str, entries: Vec<Value<'v>>) {
    if !entries.is_empty() {
        row.insert(column, entries);
    }
}
