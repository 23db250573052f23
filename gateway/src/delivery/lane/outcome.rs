//! What becomes of events once a request has ended.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{task::JoinError, time::Instant};

use super::{DISK_RETRY, Lane, Returned};
use crate::{
    delivery::{
        attempt::Attempt,
        dead_letters::{Letter, Reason},
        gate::{Shut, Signal},
        parcel::{Doomed, Parcel},
        view,
    },
    destinations::Outcome,
    log::{Ending, Stored},
    metrics::CallCode,
    pipeline::transform::View,
    status::{CredentialsReason, Delivery},
};

/// The longest message that is kept of a vendor.
const MAX_MESSAGE_BYTES: usize = 1024;

impl Lane {
    /// A request ended: its events are settled, wait for another attempt, or go to the dead letters.
    pub(super) fn came_back(&mut self, returned: Result<Returned, JoinError>) {
        let Ok(returned) = returned else {
            tracing::error!(destination = %self.name, "a request's task died; delivery begins again at the cursor");
            self.broken = true;
            return;
        };
        let Returned {
            mut parcel,
            attempt,
            probe,
            fingerprint,
        } = returned;
        self.metrics.called(attempt.code, attempt.took);
        parcel.attempts += 1;
        let key = parcel.key.clone();
        // What an earlier form met with says nothing about the one in force.
        let current = self.form.as_ref().is_some_and(|form| form.fingerprint == fingerprint);
        self.note(&attempt, parcel.attempts == 1, probe, current);
        let code = attempt.code;
        self.apply(parcel, attempt.outcome, code);
        // Only now: if the parcel went back into the queue, it stands before the others of its key again.
        self.queue.release(key.as_ref());
        self.show();
    }

    /// Tells the gate and the status board.
    fn note(&mut self, attempt: &Attempt, fresh: bool, probe: bool, current: bool) {
        let Some(form) = self.form.clone().filter(|_| current) else {
            return;
        };
        let signal = signal(&attempt.outcome, fresh);
        let was_welcome = self.gate.shut() != Some(Shut::Rejected);
        let opened = self.gate.note(
            signal,
            probe,
            Instant::now(),
            Self::backoff(&form),
            rand::random::<f64>(),
        );
        if opened {
            self.queue.hurry(Instant::now());
            tracing::info!(destination = %self.name, "the destination is back; its backlog is delivered");
        }
        if let Some(reason) = reason(&attempt.outcome) {
            self.complain(&shortened(reason));
            if was_welcome && self.gate.shut() == Some(Shut::Rejected) {
                self.tell_of_credentials(reason);
            }
        }
        let succeeded = match &attempt.outcome {
            Outcome::DeliveredWith { .. } => true,
            outcome => reason(outcome).is_none(),
        };
        if succeeded && self.gate.shut().is_none() {
            self.board.report_success((self.parts.now_ms)());
        }
    }

    /// Once for each time that credentials are found to be bad: nothing goes on before somebody does something.
    fn tell_of_credentials(&self, reason: &str) {
        let state = Delivery::WaitingForCredentials {
            reason: CredentialsReason::CredentialsRejected,
        };
        let to_do = state.to_do().unwrap_or_default();
        let reason = shortened(reason);
        tracing::error!(destination = %self.name, "CredentialsRejected: {reason}; {to_do}");
    }

    fn apply(&mut self, parcel: Parcel, outcome: Outcome, code: CallCode) {
        match outcome {
            Outcome::Delivered | Outcome::DeliveredWith { .. } => self.delivered(&parcel.events),
            Outcome::Retry { after, reason } => {
                self.metrics.retry(code);
                let wait = after.or_else(|| {
                    let form = self.form.as_ref()?;
                    Some(Self::backoff(form).wait(parcel.attempts, rand::random::<f64>()))
                });
                self.put_back(parcel, Instant::now() + wait.unwrap_or_default(), &reason, code);
            }
            Outcome::CredentialsRejected { reason } | Outcome::Gone { reason } => {
                self.metrics.retry(code);
                self.put_back(parcel, Instant::now(), &reason, code);
            }
            Outcome::Refused { reason } => self.refused(parcel, &reason, code),
            Outcome::RefusedBatch { reason } => self.split(parcel, &reason, code),
            Outcome::RefusedEvents { bad } => self.refuse_named(parcel, &bad, code),
            Outcome::PerEvent(outcomes) => self.apply_each(parcel, outcomes, code),
            Outcome::Named { mut named, others } => {
                let outcomes =
                    (0..parcel.events.len()).map(|place| named.remove(&place).unwrap_or_else(|| (*others).clone()));
                let outcomes = outcomes.collect();
                self.apply_each(parcel, outcomes, code);
            }
        }
    }

    /// Splits a parcel by the outcome of each of its events; one without an outcome is tried again.
    fn apply_each(&mut self, parcel: Parcel, outcomes: Vec<Outcome>, code: CallCode) {
        let mut again: Vec<(Outcome, Vec<Stored>)> = Vec::new();
        let mut outcomes = outcomes.into_iter();
        for event in parcel.events {
            let outcome = outcomes.next().unwrap_or_else(|| Outcome::Retry {
                after: None,
                reason: "the answer says nothing of this event".to_owned(),
            });
            match outcome {
                Outcome::Delivered | Outcome::DeliveredWith { .. } => self.delivered(std::slice::from_ref(&event)),
                other => match again.last_mut() {
                    Some((same, events)) if *same == other => events.push(event),
                    _ => again.push((other, vec![event])),
                },
            }
        }
        for (outcome, events) in again {
            // An outcome within an outcome is a vendor's mistake: taken as "try again".
            let outcome = match outcome {
                Outcome::PerEvent(_) | Outcome::Named { .. } => Outcome::Retry {
                    after: None,
                    reason: "the answer cannot be understood".to_owned(),
                },
                plain => plain,
            };
            let part = Parcel {
                events,
                oldest_ms: parcel.oldest_ms,
                key: parcel.key.clone(),
                prepared: None,
                attempts: parcel.attempts,
                due: parcel.due,
                failure: parcel.failure.clone(),
            };
            self.apply(part, outcome, code);
        }
    }

    fn delivered(&mut self, events: &[Stored]) {
        let endings = events.iter().map(|event| (event.position, Ending::Delivered));
        self.endings.extend(endings);
    }

    fn put_back(&mut self, mut parcel: Parcel, due: Instant, reason: &str, code: CallCode) {
        parcel.due = due;
        parcel.prepared = None;
        parcel.failure = Some((shortened(reason), code.to_string()));
        self.queue.push(parcel);
    }

    /// At least one event is bad, and the vendor took none: each half is sent by itself, until what is refused is a single
    /// event. `b` bad ones among `n` cost about `2 b log n` requests.
    fn split(&mut self, mut parcel: Parcel, reason: &str, code: CallCode) {
        if parcel.events.len() < 2 {
            return self.refused(parcel, reason, code);
        }
        self.metrics.retry(code);
        let events = parcel.events.split_off(parcel.events.len() / 2);
        let rest = Parcel {
            events,
            key: parcel.key.clone(),
            prepared: None,
            failure: parcel.failure.clone(),
            ..parcel
        };
        let now = Instant::now();
        self.put_back(parcel, now, reason, code);
        self.put_back(rest, now, reason, code);
    }

    /// The vendor took none, and names the bad ones: the others are sent again without them. Names it none that there is,
    /// the batch is split.
    fn refuse_named(&mut self, parcel: Parcel, bad: &BTreeMap<usize, String>, code: CallCode) {
        let reason = bad.values().next().cloned().unwrap_or_default();
        if !bad.keys().any(|index| *index < parcel.events.len()) {
            return self.split(parcel, &reason, code);
        }
        let mut good = Vec::with_capacity(parcel.events.len());
        for (index, event) in parcel.events.into_iter().enumerate() {
            match bad.get(&index) {
                Some(reason) => self.doomed.push(Doomed {
                    event,
                    reason: Reason::Refused,
                    message: shortened(reason),
                    code: code.to_string(),
                    attempts: parcel.attempts,
                }),
                None => good.push(event),
            }
        }
        if !good.is_empty() {
            self.metrics.retry(code);
            let rest = Parcel { events: good, ..parcel };
            self.put_back(rest, Instant::now(), &reason, code);
        }
    }

    /// The vendor refuses all events of the request for good: they become dead letters.
    fn refused(&mut self, parcel: Parcel, reason: &str, code: CallCode) {
        let message = shortened(reason);
        let code = code.to_string();
        self.doomed.extend(parcel.events.into_iter().map(|event| Doomed {
            event,
            reason: Reason::Refused,
            message: message.clone(),
            code: code.clone(),
            attempts: parcel.attempts,
        }));
    }

    /// Lets each of the doomed keep no more than its destination may see.
    fn view_doomed(&mut self, doomed: Vec<Doomed>) -> Vec<Doomed> {
        // A destination that is gone from the configuration asks for no consent.
        let Some(form) = self.form.clone() else {
            return doomed;
        };
        let (mut seen, mut withheld) = (Vec::with_capacity(doomed.len()), Vec::new());
        for mut doomed in doomed {
            match view::admitted_payload(&form, doomed.event.payload.clone()) {
                Some(payload) => {
                    doomed.event.payload = payload;
                    seen.push(doomed);
                }
                None => withheld.push(doomed.event.position),
            }
        }
        self.end_erased(withheld);
        seen
    }

    /// Shelves the doomed as dead letters; what finds no room there has expired. If the disk refuses, they wait, except
    /// those that have to make room.
    pub(super) async fn bury(&mut self) {
        let erasures = Arc::clone(&self.parts.erasures);
        let mut requests = erasures.changes();
        let (erased, doomed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.doomed)
            .into_iter()
            .partition(|doomed| erasures.covers_encoded(&doomed.event.payload));
        self.end_erased(erased.iter().map(|doomed| doomed.event.position).collect());
        let doomed = self.view_doomed(doomed);
        if doomed.is_empty() {
            return;
        }
        let time_ms = (self.parts.now_ms)();
        let letters: Vec<Letter> = doomed
            .iter()
            .map(|doomed| letter(doomed, &self.view, time_ms))
            .collect();
        let (store, name) = (Arc::clone(&self.parts.dead_letters), Arc::clone(&self.name));
        // The sync may take a while: not on a thread that sends.
        let shelved = tokio::task::spawn_blocking(move || {
            let shelved = store.append(&name, &letters);
            // A request to erase may have searched the shelves just before.
            if requests.has_changed().unwrap_or(false) {
                requests.mark_unchanged();
                store.remove_erased(&erasures)?;
            }
            shelved
        })
        .await;
        match shelved {
            Ok(Ok(kept)) => {
                if let Some(first) = doomed.first() {
                    let message = format!(
                        "{} of {} events went to the dead letters; {}: {}",
                        kept,
                        doomed.len(),
                        first.reason.as_str(),
                        first.message
                    );
                    self.complain(&message);
                }
                if kept < doomed.len() {
                    tracing::warn!(
                        destination = %self.name,
                        events = doomed.len() - kept,
                        "expired: deadLetters.maxBytes is reached; replay or purge dead letters"
                    );
                }
                self.endings.extend(doomed.iter().enumerate().map(|(index, doomed)| {
                    let ending = if index < kept {
                        Ending::DeadLettered
                    } else {
                        Ending::Expired
                    };
                    (doomed.event.position, ending)
                }));
            }
            Ok(Err(error)) => self.not_buried(doomed, &error.to_string()),
            Err(error) => self.not_buried(doomed, &error.to_string()),
        }
    }

    fn not_buried(&mut self, doomed: Vec<Doomed>, error: &str) {
        self.complain(&format!("dead letters cannot be written: {error}"));
        self.bury_after = Instant::now() + DISK_RETRY;
        for doomed in doomed {
            if doomed.reason == Reason::BufferFull {
                self.endings.push((doomed.event.position, Ending::Expired));
            } else {
                self.doomed.push(doomed);
            }
        }
    }

    /// Saves what ended. Called before anything else is sent, so that a crash repeats only what is under way.
    pub(super) fn settle(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        if let Some(reader) = &mut self.reader
            && let Err(error) = reader.settle(&self.endings)
        {
            self.complain(&format!("the cursor cannot be saved: {error}"));
        }
        // After an error, too: the reader keeps them and saves them with the next ones.
        self.endings.clear();
    }
}

/// The letter of an event, as the destination sees it. An event that cannot be read cannot be shown so: its bytes are not
/// kept then.
pub(crate) fn letter(doomed: &Doomed, view: &View, time_ms: i64) -> Letter {
    let mut message = doomed.message.clone();
    let payload = if view.is_empty() {
        doomed.event.payload.to_vec()
    } else {
        view.of_payload(&doomed.event.payload).unwrap_or_else(|_| {
            message.push_str("; the event itself is not kept, since its transformations cannot be made");
            Vec::new()
        })
    };
    Letter {
        time_ms,
        reason: doomed.reason,
        message,
        code: doomed.code.clone(),
        attempts: doomed.attempts,
        payload,
    }
}

fn signal(outcome: &Outcome, fresh: bool) -> Signal {
    match outcome {
        Outcome::Delivered
        | Outcome::DeliveredWith { .. }
        | Outcome::Refused { .. }
        | Outcome::RefusedBatch { .. }
        | Outcome::RefusedEvents { .. } => Signal::Answered,
        Outcome::Retry { after: Some(wait), .. } => Signal::Later(*wait),
        Outcome::Retry { after: None, .. } => Signal::Failed { fresh },
        Outcome::CredentialsRejected { .. } => Signal::Rejected,
        Outcome::Gone { .. } => Signal::Gone,
        // It answered and took its time over each: it works.
        Outcome::PerEvent(_) | Outcome::Named { .. } => Signal::Answered,
    }
}

fn reason(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Delivered => None,
        Outcome::Retry { reason, .. }
        | Outcome::Refused { reason }
        | Outcome::RefusedBatch { reason }
        | Outcome::DeliveredWith { warning: reason }
        | Outcome::CredentialsRejected { reason }
        | Outcome::Gone { reason } => Some(reason),
        Outcome::RefusedEvents { bad } => bad.values().next().map(String::as_str),
        Outcome::PerEvent(outcomes) => outcomes.iter().find_map(reason),
        Outcome::Named { named, others } => named.values().find_map(reason).or_else(|| reason(others)),
    }
}

/// A vendor's message, cut to a length that logs and lists bear, at a character's boundary.
fn shortened(message: &str) -> String {
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    message.get(..end).unwrap_or_default().to_owned()
}
