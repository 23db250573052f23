//! BigQuery: `tabledata.insertAll`, and `tables.insert` to make the table (vendors/bigquery.md).
//!
//! The dataset `shop` is there; a table is once it was made. Rows are checked against the columns that it was made with.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hyper::Method;
use serde_json::{Value, json};
use tagfleet_tests::vendors::Trouble;

use crate::double::{Call, Double, Verdict};

/// Section 1: rows of a request.
const MAX_ROWS: usize = 50_000;
/// Section 1: bytes of a request.
const MAX_BYTES: usize = 10_000_000;
/// Section 1: characters of an `insertId`.
const MAX_INSERT_ID: usize = 128;
/// The dataset that is there.
const DATASET: &str = "shop";

#[derive(Default)]
pub(crate) struct BigQuery {
    /// The columns of each table that was made, by its path.
    tables: Mutex<HashMap<String, Value>>,
}

impl Double for BigQuery {
    fn name(&self) -> &'static str {
        "bigQuery"
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/bigquery/v2/projects/")
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        // Over cleartext no token may come, and over TLS one must: a double is asked in cleartext.
        if call.bearer().is_some() && !call.is_authorized() {
            return self.in_trouble(Trouble::Revoked, call);
        }
        if call.method != Method::POST {
            return error(404, "notFound", "no such method");
        }
        // Section 1: split.
        if call.body.len() > MAX_BYTES {
            return error(
                413,
                "uploadTooLarge",
                "Request payload size exceeds the limit: 10485760 bytes.",
            );
        }
        let Some(body) = call.json() else {
            return error(400, "parseError", "Parse Error");
        };
        let parts: Vec<&str> = call.path.split('/').collect();
        match parts.as_slice() {
            [.., "datasets", dataset, "tables"] => self.make(call.path, dataset, &body),
            [.., "datasets", _, "tables", table, "insertAll"] => self.insert(call.path, table, &body),
            _ => error(404, "notFound", "no such path"),
        }
    }

    /// Section 1, the table of reasons.
    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => error(403, "rateLimitExceeded", "Exceeded rate limits"),
            Trouble::Failing => error(503, "backendError", "The service is currently unavailable."),
            Trouble::Revoked => error(401, "authError", "Invalid Credentials"),
            Trouble::Refusing => error(400, "invalid", "Request contains an invalid argument."),
        }
    }
}

impl BigQuery {
    fn tables(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, path: &str, dataset: &str, body: &Value) -> Verdict {
        if dataset != DATASET {
            return error(404, "notFound", &format!("Not found: Dataset {dataset}"));
        }
        let table = body["tableReference"]["tableId"].as_str().unwrap_or_default();
        let columns = &body["schema"]["fields"];
        // Section 3: partitioned by day, clustered by the event's name.
        let is_partitioned = body["timePartitioning"] == json!({"type": "DAY", "field": "event_date"});
        let is_clustered = body["clustering"]["fields"] == json!(["event_name"]);
        if table.is_empty() || !columns.is_array() || !is_partitioned || !is_clustered {
            return error(400, "invalid", "Invalid table");
        }
        let mut tables = self.tables();
        let path = format!("{path}/{table}");
        if tables.contains_key(&path) {
            return error(409, "duplicate", &format!("Already Exists: Table {table}"));
        }
        tables.insert(path, columns.clone());
        Verdict::took(Vec::new(), json!({"kind": "bigquery#table", "id": table}))
    }

    fn insert(&self, path: &str, table: &str, body: &Value) -> Verdict {
        let tables = self.tables();
        let Some(columns) = path.strip_suffix("/insertAll").and_then(|path| tables.get(path)) else {
            return error(404, "notFound", &format!("Not found: Table {table}"));
        };
        let Some(rows) = body["rows"].as_array().filter(|rows| !rows.is_empty()) else {
            return error(400, "invalid", "No rows present in the request.");
        };
        if rows.len() > MAX_ROWS {
            return error(400, "invalid", "Too many rows present in the request, limit: 50000");
        }
        let flag = |name: &str| body[name].as_bool().unwrap_or_default();
        let skips = flag("skipInvalidRows");
        let ignores = flag("ignoreUnknownValues");
        let checked: Vec<(&Value, Result<(), Fault>)> =
            rows.iter().map(|row| (row, check(row, columns, ignores))).collect();
        let stops = !skips && checked.iter().any(|(_, fate)| fate.is_err());
        // Section 1: the answer is 200 even when rows fail, and names those that failed.
        let mut errors = Vec::new();
        let mut taken = Vec::new();
        for (index, (row, fate)) in checked.into_iter().enumerate() {
            let error = |reason: &str, location: &str, message: &str| {
                json!({"index": index, "errors": [
                    {"reason": reason, "location": location, "debugInfo": "", "message": message}
                ]})
            };
            match fate {
                Err(Fault(location, message)) => errors.push(error("invalid", &location, &message)),
                Ok(()) if stops => errors.push(error("stopped", "", "")),
                Ok(()) => taken.push(row["json"].clone()),
            }
        }
        let mut answer = json!({"kind": "bigquery#tableDataInsertAllResponse"});
        if !errors.is_empty() {
            answer["insertErrors"] = errors.into();
        }
        Verdict::took(taken, answer)
    }
}

/// Why a row is refused: where, and what is wrong.
struct Fault(String, String);

fn fault<T>(location: &str, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(location.to_owned(), message.into()))
}

fn check(row: &Value, columns: &Value, ignores_unknown: bool) -> Result<(), Fault> {
    let id = row["insertId"].as_str().unwrap_or_default();
    if id.chars().count() > MAX_INSERT_ID {
        return fault("", "insertId is too long");
    }
    record(&row["json"], columns, ignores_unknown, "")
}

fn record(value: &Value, columns: &Value, ignores_unknown: bool, at: &str) -> Result<(), Fault> {
    let Some(members) = value.as_object() else {
        return fault(at, "This field is not a record.");
    };
    for (name, value) in members {
        let at = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        let mut known = columns.as_array().into_iter().flatten();
        match known.find(|column| column["name"] == *name) {
            Some(column) => field(value, column, ignores_unknown, &at)?,
            None if ignores_unknown => {}
            None => return fault(&at, format!("no such field: {name}.")),
        }
    }
    Ok(())
}

fn field(value: &Value, column: &Value, ignores_unknown: bool, at: &str) -> Result<(), Fault> {
    // Section 1, `.json`: arrays of REPEATED, never null.
    if column["mode"] == "REPEATED" {
        let Some(values) = value.as_array() else {
            return fault(at, "Repeated field must be imported as a JSON array.");
        };
        let mut values = values.iter();
        return values.try_for_each(|value| scalar(value, column, ignores_unknown, at));
    }
    if value.is_null() {
        return Ok(());
    }
    scalar(value, column, ignores_unknown, at)
}

fn scalar(value: &Value, column: &Value, ignores_unknown: bool, at: &str) -> Result<(), Fault> {
    let kind = column["type"].as_str().unwrap_or_default();
    let fits = match kind {
        "RECORD" => return record(value, &column["fields"], ignores_unknown, at),
        "INTEGER" => value.is_i64() || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()),
        "FLOAT" => value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok()),
        "BOOLEAN" => value.is_boolean(),
        "DATE" => value.as_str().is_some_and(is_date),
        "TIMESTAMP" => {
            value.is_number()
                || value
                    .as_str()
                    .and_then(|text| text.split_once('T'))
                    .is_some_and(|(date, time)| is_date(date) && time.ends_with('Z'))
        }
        // Section 1, `.json`: a text that holds JSON.
        "JSON" => value
            .as_str()
            .is_some_and(|text| serde_json::from_str::<Value>(text).is_ok()),
        _ => value.is_string(),
    };
    if fits {
        return Ok(());
    }
    fault(at, format!("Cannot convert value to {}: {value}", kind.to_lowercase()))
}

/// `2026-01-01`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2] && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

fn error(status: u16, reason: &str, message: &str) -> Verdict {
    let body = json!({"error": {
        "code": status, "message": message,
        "errors": [{"message": message, "domain": "global", "reason": reason}],
    }});
    Verdict::refused(status, body)
}
