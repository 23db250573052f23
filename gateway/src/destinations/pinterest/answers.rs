//! What Pinterest says of each event (sheet, section 6).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::destinations::{Outcome, Response, answer};

/// What became of an event.
#[derive(Deserialize)]
struct Fate {
    status: String,
    #[serde(default)]
    error_message: String,
    #[serde(default)]
    warning_message: String,
}

impl Fate {
    fn is_failed(&self) -> bool {
        self.status != "processed"
    }

    /// In Pinterest's own words.
    fn reason(&self) -> String {
        let message = answer::one_line(&self.error_message);
        if message.is_empty() {
            self.status.clone()
        } else {
            message
        }
    }
}

/// The answer to a request that was taken: one entry for each event, in order.
pub(super) fn each(response: &Response) -> Outcome {
    #[derive(Deserialize)]
    struct Answer {
        events: Vec<Fate>,
    }
    let Some(Answer { events }) = answer::list(&response.body) else {
        return Outcome::Retry {
            after: None,
            reason: format!(
                "the answer does not say what became of the events: {}",
                answer::reason(response)
            ),
        };
    };
    let outcomes = events.into_iter().map(|fate| {
        if fate.is_failed() {
            return Outcome::Refused { reason: fate.reason() };
        }
        match answer::one_line(&fate.warning_message) {
            warning if warning.is_empty() => Outcome::Delivered,
            warning => Outcome::DeliveredWith { warning },
        }
    });
    Outcome::PerEvent(outcomes.collect())
}

/// The answer to a request that was not taken because of some of its events: those are named in `details`.
pub(super) fn each_of_refused(response: &Response) -> Outcome {
    #[derive(Deserialize)]
    struct Answer {
        details: Details,
    }
    #[derive(Deserialize)]
    struct Details {
        events: Vec<Fate>,
    }
    let named =
        serde_json::from_slice::<Answer>(&response.body).map_or_else(|_| Vec::new(), |answer| answer.details.events);
    let bad: BTreeMap<usize, String> = named
        .iter()
        .enumerate()
        .filter(|(_, fate)| fate.is_failed())
        .map(|(index, fate)| (index, fate.reason()))
        .collect();
    if bad.is_empty() {
        let reason = answer::reason(response);
        return Outcome::RefusedBatch { reason };
    }
    Outcome::RefusedEvents { bad }
}
