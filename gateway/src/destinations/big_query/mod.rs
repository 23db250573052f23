//! `bigQuery`: each event as a row in the shape of GA4's own export, by `tabledata.insertAll` (vendors/bigquery.md).
//!
//! [`row`] makes a row of an event, [`schema`] the table that such rows fit into; here are requests and answers.

mod answers;
mod device;
mod row;
mod schema;
mod shop;

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Map;
use url::Url;

use super::{
    Authentication, Built, Destination, Encoded, Encoding, Limits, Outcome, Request, Resolve, Response,
    batches::{self, Room},
    mapping::{Failures, Mapping},
    with_endpoint,
};
use crate::{
    delivery::tokens::GoogleTokens,
    event::{Event, field},
    hashing::sha256_hex,
    record::Record,
};

/// BigQuery's own address.
const HOST: &str = "https://bigquery.googleapis.com";
/// Rows of a request: what the sheet recommends. BigQuery takes 50,000, but its answer names every row that it refuses,
/// and only the beginning of an answer is read.
const MAX_ROWS: usize = 500;
/// Bytes of a request: BigQuery takes 10 MB.
const MAX_BYTES: usize = 9_900_000;
/// Characters of an `insertId`.
const MAX_INSERT_ID: usize = 128;
/// What stands around the rows. Good rows are stored although others fail, and a column that the table does not have is
/// left out of its row.
const BEGIN: &str = r#"{"skipInvalidRows":true,"ignoreUnknownValues":true,"rows":"#;
const END: &str = "}";
/// The OAuth scope that inserting needs.
const INSERT_SCOPE: &str = "https://www.googleapis.com/auth/bigquery.insertdata";
/// The OAuth scope that making a table needs, too.
const TABLE_SCOPE: &str = "https://www.googleapis.com/auth/bigquery";

/// The vendor.
struct BigQuery {
    /// Ends in `/tables/<table>/insertAll`.
    rows: Url,
    /// What makes the table, if it may be made.
    table: Option<NewTable>,
    mapping: Mapping,
}

/// The request that makes the table.
struct NewTable {
    /// Ends in `/tables`.
    url: Url,
    body: String,
}

/// A row and the id by which BigQuery drops a repeat within about a minute.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'v> {
    #[serde(skip_serializing_if = "Option::is_none")]
    insert_id: Option<Cow<'v, str>>,
    json: Map<'v>,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::BigQuery, resolve: &mut dyn Resolve) -> Option<Built> {
    let tables = format!(
        "{HOST}/bigquery/v2/projects/{}/datasets/{}/tables",
        block.project, block.dataset
    );
    let endpoint = block.endpoint.as_deref();
    let rows = with_endpoint(
        &format!("{tables}/{}/insertAll", block.table),
        "endpoint",
        endpoint,
        resolve,
    );
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    let scope = if block.create_table { TABLE_SCOPE } else { INSERT_SCOPE };
    let tokens = match &block.credentials {
        None => Some(GoogleTokens::metadata_server(scope)),
        Some(source) => {
            let key = resolve.secret("credentials", source);
            if resolve.awaits(source) {
                Some(GoogleTokens::metadata_server(scope))
            } else {
                key.and_then(|key| {
                    GoogleTokens::service_account(&key, scope)
                        .map_err(|error| resolve.mistake("credentials", error.to_string()))
                        .ok()
                })
            }
        }
    };
    let rows = rows?;
    let table = if block.create_table {
        Some(NewTable {
            url: with_endpoint(&tables, "endpoint", endpoint, resolve)?,
            body: schema::table(&block.project, &block.dataset, &block.table).to_string(),
        })
    } else {
        None
    };
    let vendor = BigQuery {
        rows,
        table,
        mapping: mapping?,
    };
    let tokens = tokens?;
    let is_authenticated = vendor.authentication() == Authentication::GoogleToken;
    Some(Built {
        vendor: std::sync::Arc::new(vendor),
        tokens: is_authenticated.then(|| std::sync::Arc::new(tokens) as _),
    })
}

impl BigQuery {
    /// Credentials never travel in cleartext: not to an emulator, not to a test double.
    fn authentication(&self) -> Authentication {
        match self.rows.scheme() {
            "https" => Authentication::GoogleToken,
            _ => Authentication::None,
        }
    }

    /// One of `rows[]`.
    fn row(&self, record: &Record<'_>, failures: &mut Failures) -> Result<String, Cow<'static, str>> {
        let row = Row {
            insert_id: insert_id(&record.event),
            json: row::of(record, &self.mapping, failures)?,
        };
        serde_json::to_string(&row).map_err(|error| format!("the event cannot be written as JSON: {error}").into())
    }

    fn request(&self, url: &Url, body: String) -> Request {
        Request {
            authentication: self.authentication(),
            ..Request::post_json(url, body)
        }
    }
}

impl Destination for BigQuery {
    fn limits(&self) -> Limits {
        Limits {
            max_events: MAX_ROWS,
            max_bytes: MAX_BYTES,
        }
    }

    fn encode(&self, records: &[Record<'_>], _now_ms: i64) -> Encoding {
        let mut encoding = Encoding::default();
        let mut failures = Failures::default();
        let mut rows = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match self.row(record, &mut failures) {
                Ok(row) => rows.push((index, row)),
                Err(reason) => encoding.refused.push((index, reason)),
            }
        }
        let room = Room {
            events: MAX_ROWS,
            bytes: MAX_BYTES,
            overhead: BEGIN.len() + END.len(),
        };
        let (batches, too_large) = batches::fill(rows, room);
        let too_large = too_large.into_iter();
        encoding
            .refused
            .extend(too_large.map(|index| (index, "the event is larger than 10 MB".into())));
        let requests = batches.into_iter().map(|batch| Encoded {
            request: self.request(&self.rows, format!("{BEGIN}{}{END}", batch.array())),
            events: batch.events,
            ordering_key: None,
        });
        encoding.requests = requests.collect();
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn classify(&self, response: &Response) -> Outcome {
        answers::classify(response, self.table.is_some())
    }

    fn prepare(&self, response: &Response) -> Option<Request> {
        let table = self.table.as_ref()?;
        (response.status == StatusCode::NOT_FOUND).then(|| self.request(&table.url, table.body.clone()))
    }
}

/// The event's id; the hash of one that is too long.
fn insert_id<'v>(event: &'v Event<'_>) -> Option<Cow<'v, str>> {
    let id = event.text(field::EVENT_ID).filter(|id| !id.is_empty())?;
    Some(if id.chars().nth(MAX_INSERT_ID).is_none() {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(sha256_hex(id.as_bytes()))
    })
}

#[cfg(test)]
mod tests;
