//! What BigQuery's answers mean (vendors/bigquery.md section 1).

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;

use crate::destinations::{Outcome, Response, answer};

/// Reasons that pass: the row, or the whole request, is sent again. `stopped` is a good row that others stopped.
const PASSING: [&str; 6] = [
    "stopped",
    "timeout",
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "quotaExceeded",
];

/// The answer of `insertAll`: 200, too, when rows fail.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inserted {
    #[serde(default)]
    insert_errors: Vec<RowErrors>,
}

/// What is wrong with a row.
#[derive(Deserialize)]
struct RowErrors {
    index: usize,
    #[serde(default)]
    errors: Vec<Problem>,
}

/// A problem, of a row or of a request.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    message: String,
}

/// The body of an answer that is no success.
#[derive(Deserialize)]
struct Failed {
    error: FailedRequest,
}

#[derive(Deserialize)]
struct FailedRequest {
    #[serde(default)]
    errors: Vec<Problem>,
    #[serde(default)]
    message: String,
}

/// Reads an answer: to rows, or to the request that makes the table. `makes_table` says whether one may be made.
pub(super) fn classify(response: &Response, makes_table: bool) -> Outcome {
    if response.status.is_success() {
        return inserted(&response.body);
    }
    let failed = serde_json::from_slice::<Failed>(&response.body).map(|failed| failed.error);
    let reason = match &failed {
        Ok(failed) => {
            let why = failed
                .errors
                .first()
                .map(|problem| problem.reason.as_str())
                .unwrap_or_default();
            answer::one_line(&format!("{} {why}: {}", response.status.as_u16(), failed.message))
        }
        Err(_) => answer::reason(response),
    };
    let passes = failed.is_ok_and(|failed| failed.errors.iter().any(Problem::passes));
    match response.status {
        // Also for some minutes after the table was made, until streaming knows it.
        StatusCode::NOT_FOUND => Outcome::Retry {
            after: None,
            reason: if makes_table {
                reason
            } else {
                format!("{reason}; make the table, or set createTable: true")
            },
        },
        // The table was made by somebody else in between.
        StatusCode::CONFLICT => Outcome::Retry { after: None, reason },
        StatusCode::FORBIDDEN if passes => Outcome::Retry { after: None, reason },
        StatusCode::FORBIDDEN => Outcome::CredentialsRejected {
            reason: format!("{reason}; grant roles/bigquery.dataEditor on the dataset, and have billing enabled"),
        },
        StatusCode::UNAUTHORIZED => Outcome::CredentialsRejected {
            reason: format!("{reason}; put a valid service account key into the Secret of credentials"),
        },
        // No row was taken: smaller requests find the one at fault, or fit.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Outcome::RefusedBatch { reason },
        _ => match answer::by_status(response) {
            Outcome::Retry { after, .. } => Outcome::Retry { after, reason },
            Outcome::Refused { .. } if !response.status.is_redirection() => Outcome::Refused { reason },
            other => other,
        },
    }
}

fn inserted(body: &[u8]) -> Outcome {
    let (rows, others) = match serde_json::from_slice::<Inserted>(body) {
        Ok(inserted) => (inserted.insert_errors, Outcome::Delivered),
        Err(_) if body.trim_ascii().is_empty() => return Outcome::Delivered,
        Err(error) if error.is_eof() => {
            let reason = "the answer is too long to be read: rows that its beginning does not name are sent again";
            (begun(body), retry(reason))
        }
        Err(_) => return retry("the answer is not JSON: is this BigQuery?"),
    };
    if rows.is_empty() {
        return others;
    }
    let named: BTreeMap<usize, Outcome> = rows.iter().map(|row| (row.index, row.outcome())).collect();
    Outcome::Named {
        named,
        others: Box::new(others),
    }
}

/// The rows that an answer names before it was cut.
fn begun(body: &[u8]) -> Vec<RowErrors> {
    let mut rows = Vec::new();
    let Some(list) = memchr::memmem::find(body, b"\"insertErrors\"") else {
        return rows;
    };
    let mut rest = body.get(list..).unwrap_or_default();
    while let Some(begin) = memchr::memchr(b'{', rest) {
        rest = rest.get(begin..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<RowErrors>();
        let Some(Ok(row)) = values.next() else {
            return rows;
        };
        rows.push(row);
        rest = rest.get(values.byte_offset()..).unwrap_or_default();
    }
    rows
}

fn retry(reason: &str) -> Outcome {
    Outcome::Retry {
        after: None,
        reason: reason.to_owned(),
    }
}

impl Problem {
    fn passes(&self) -> bool {
        PASSING.contains(&self.reason.as_str())
    }

    /// `invalid: event_ts: Could not parse value`.
    fn words(&self) -> String {
        let parts = [&self.reason, &self.location, &self.message];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(": ")
    }
}

impl RowErrors {
    /// A row with a lasting problem is given up; one whose problems all pass is sent again.
    fn outcome(&self) -> Outcome {
        let lasting = self.errors.iter().find(|problem| !problem.passes());
        let reason = |problem: Option<&Problem>| {
            let words = problem.map(Problem::words).unwrap_or_default();
            answer::one_line(if words.is_empty() {
                "BigQuery gives no reason"
            } else {
                &words
            })
        };
        match lasting {
            Some(problem) => Outcome::Refused {
                reason: reason(Some(problem)),
            },
            None => Outcome::Retry {
                after: None,
                reason: reason(self.errors.first()),
            },
        }
    }
}
