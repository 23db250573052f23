//! The table: the columns of GA4's BigQuery export and a few of our own, partitioned by day and clustered by event name
//! (vendors/bigquery.md section 3).

use serde_json::{Value as Json, json};

/// The column by which the table is partitioned.
const PARTITIONED_BY: &str = "event_date";
/// The column by which the table is clustered.
const CLUSTERED_BY: &str = "event_name";

/// The body of `tables.insert`.
pub(super) fn table(project: &str, dataset: &str, table: &str) -> Json {
    json!({
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "description": "Events of Tagfleet, in the shape of the GA4 export",
        "timePartitioning": {"type": "DAY", "field": PARTITIONED_BY},
        "clustering": {"fields": [CLUSTERED_BY]},
        "schema": {"fields": columns()},
    })
}

/// The columns that hold JSON, which BigQuery wants as text.
pub(super) const JSON_COLUMNS: [&str; 2] = ["consent", "raw"];

fn columns() -> Vec<Json> {
    let keyed = |details: &[Json]| {
        let mut value = of_type("STRING", &["string_value"]);
        value.extend(of_type("INTEGER", &["int_value"]));
        value.extend(of_type("FLOAT", &["float_value", "double_value"]));
        value.extend_from_slice(details);
        vec![column("key", "STRING"), record("value", value)]
    };
    let mut columns = vec![
        column("event_date", "DATE"),
        column("event_timestamp", "INTEGER"),
        column("event_name", "STRING"),
        repeated("event_params", keyed(&[])),
    ];
    columns.extend(of_type(
        "INTEGER",
        &[
            "event_previous_timestamp",
            "event_bundle_sequence_id",
            "event_server_timestamp_offset",
        ],
    ));
    columns.extend([
        column("event_value_in_usd", "FLOAT"),
        column("user_id", "STRING"),
        column("user_pseudo_id", "STRING"),
        record(
            "privacy_info",
            of_type("STRING", &["analytics_storage", "ads_storage", "uses_transient_token"]),
        ),
        repeated("user_properties", keyed(&[column("set_timestamp_micros", "INTEGER")])),
        column("user_first_touch_timestamp", "INTEGER"),
        record(
            "user_ltv",
            vec![column("revenue", "FLOAT"), column("currency", "STRING")],
        ),
        record("device", device()),
        record(
            "geo",
            of_type(
                "STRING",
                &["city", "country", "continent", "region", "sub_continent", "metro"],
            ),
        ),
        record(
            "app_info",
            of_type(
                "STRING",
                &["id", "version", "install_store", "firebase_app_id", "install_source"],
            ),
        ),
        record("event_dimensions", of_type("STRING", &["hostname"])),
        record("traffic_source", of_type("STRING", &["name", "medium", "source"])),
        record("collected_traffic_source", of_type("STRING", &TRAFFIC_SOURCE)),
        column("stream_id", "STRING"),
        column("platform", "STRING"),
        record("ecommerce", ecommerce()),
        repeated("items", items(keyed(&[]))),
        column("is_active_user", "BOOLEAN"),
    ]);
    columns.extend(of_type(
        "INTEGER",
        &["batch_event_index", "batch_page_id", "batch_ordering_id"],
    ));
    columns.extend([column("event_id", "STRING"), column("received_at", "TIMESTAMP")]);
    columns.extend(of_type("JSON", &JSON_COLUMNS));
    columns
}

/// The members of `collected_traffic_source`.
const TRAFFIC_SOURCE: [&str; 12] = [
    "manual_campaign_id",
    "manual_campaign_name",
    "manual_source",
    "manual_medium",
    "manual_term",
    "manual_content",
    "manual_source_platform",
    "manual_creative_format",
    "manual_marketing_tactic",
    "gclid",
    "dclid",
    "srsltid",
];

fn device() -> Vec<Json> {
    let mut members = of_type(
        "STRING",
        &[
            "category",
            "mobile_brand_name",
            "mobile_model_name",
            "operating_system",
            "operating_system_version",
            "language",
        ],
    );
    members.push(record(
        "web_info",
        of_type("STRING", &["browser", "browser_version", "hostname"]),
    ));
    members
}

fn ecommerce() -> Vec<Json> {
    let mut members = of_type("INTEGER", &["total_item_quantity", "unique_items"]);
    members.extend(of_type(
        "FLOAT",
        &[
            "purchase_revenue_in_usd",
            "purchase_revenue",
            "refund_value",
            "shipping_value",
            "tax_value",
        ],
    ));
    members.push(column("transaction_id", "STRING"));
    members
}

fn items(params: Vec<Json>) -> Vec<Json> {
    let mut members = of_type("STRING", &super::shop::ITEM_TEXTS);
    members.extend(of_type(
        "FLOAT",
        &["price", "price_in_usd", "item_revenue", "item_refund"],
    ));
    members.push(column("quantity", "INTEGER"));
    members.push(repeated("item_params", params));
    members
}

fn of_type(kind: &str, names: &[&str]) -> Vec<Json> {
    names.iter().map(|name| column(name, kind)).collect()
}

fn column(name: &str, kind: &str) -> Json {
    json!({"name": name, "type": kind, "mode": "NULLABLE"})
}

fn record(name: &str, fields: Vec<Json>) -> Json {
    json!({"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": Json::Array(fields)})
}

fn repeated(name: &str, fields: Vec<Json>) -> Json {
    json!({"name": name, "type": "RECORD", "mode": "REPEATED", "fields": Json::Array(fields)})
}
