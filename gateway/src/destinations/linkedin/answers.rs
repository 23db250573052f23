//! What LinkedIn says of a request and of the events in it (sheet, section 5).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::destinations::{Outcome, Response, answer};

/// What LinkedIn answers to a request that it did not take.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn refusal(response: &Response) -> Refusal {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

pub(super) fn message(response: &Response) -> String {
    refusal(response).message
}

/// Status, code and message in one line.
pub(super) fn reason(response: &Response) -> String {
    let Refusal { code, message } = refusal(response);
    if message.is_empty() && code.is_empty() {
        return answer::reason(response);
    }
    answer::one_line(&format!("{}: {code} {message}", response.status.as_u16()))
}

/// The answer to a batch, with a status for each event.
pub(super) fn elements(response: &Response) -> Outcome {
    #[derive(Deserialize)]
    struct Answer {
        elements: Vec<Element>,
    }
    #[derive(Deserialize)]
    struct Element {
        status: u16,
        #[serde(default)]
        message: String,
    }
    let Some(Answer { elements }) = answer::list(&response.body) else {
        return Outcome::Retry {
            after: None,
            reason: format!(
                "the answer does not say what became of the events: {}",
                answer::reason(response)
            ),
        };
    };
    let outcomes = elements.into_iter().map(|element| {
        let reason = answer::one_line(&format!("{}: {}", element.status, element.message));
        match element.status {
            ..400 => Outcome::Delivered,
            408 | 423 | 425 | 429 | 500.. => Outcome::Retry { after: None, reason },
            _ => Outcome::Refused { reason },
        }
    });
    Outcome::PerEvent(outcomes.collect())
}

/// The bad events that the message of a 422 names, each with its errors: a line `Index: N, ERROR :: /path :: reason`
/// begins an event, and lines that begin with `ERROR ::` are of the same one (sheet, section 5).
pub(super) fn bad_elements(message: &str) -> BTreeMap<usize, String> {
    let mut bad: BTreeMap<usize, String> = BTreeMap::new();
    let mut open = None;
    for line in message.lines().map(str::trim) {
        let error = match line.strip_prefix("Index:").and_then(|rest| rest.split_once(',')) {
            Some((index, error)) => {
                open = index.trim().parse().ok();
                error.trim()
            }
            None => line,
        };
        let (Some(index), Some(error)) = (open, error.strip_prefix("ERROR ::")) else {
            continue;
        };
        let errors = bad.entry(index).or_default();
        if !errors.is_empty() {
            errors.push_str("; ");
        }
        errors.push_str(&answer::one_line(error));
    }
    bad
}
