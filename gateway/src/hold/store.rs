//! The events that wait, and those that are released. Pure: time and plan are given.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    log::{DestinationId, Verdict},
    pipeline::consent::{
        HoldPolicy,
        admission::{admit, is_undecided},
    },
    plan::Plan,
    record::{Consent, ConsentSignal},
};

/// What an event may take in memory on average: `maxEvents` times this bounds what is held.
const BYTES_PER_EVENT: usize = 4 * 1024;

/// Events of one visitor that wait: past that their oldest goes on. It bounds what a single hit can set in motion.
const PER_VISITOR: usize = 200;

/// What an event takes beside its payload, about.
const OVERHEAD: usize = 256;

/// An event that begins to wait.
pub(super) struct Arrival {
    /// The consent that it has.
    pub(super) consent: Consent,
    /// The destinations that it waits for.
    pub(super) destinations: Vec<DestinationId>,
    /// The encoded record.
    pub(super) payload: Bytes,
    /// When it began.
    pub(super) since: Instant,
}

/// An event on its way to the log.
#[derive(Clone, Debug)]
pub(super) struct Released {
    /// The consent that it has by now.
    pub(super) consent: Consent,
    /// The verdicts for the destinations that it waited for; never empty.
    pub(super) verdicts: Vec<(DestinationId, Verdict)>,
    /// The encoded record; none if nobody gets it.
    pub(super) payload: Option<Bytes>,
}

/// All events that were held and are not in the log yet.
#[derive(Default)]
pub(super) struct Store {
    /// Those that wait, in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// The numbers of each visitor's.
    visitors: HashMap<Arc<str>, Vec<u64>>,
    /// Those that wait no longer.
    ready: VecDeque<Released>,
    bytes: usize,
    next: u64,
}

struct Waiting {
    visitor: Arc<str>,
    event: Arrival,
}

impl Waiting {
    fn size(&self) -> usize {
        self.event.payload.len() + self.visitor.len() + OVERHEAD
    }
}

/// Which destinations are ruled on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Those for which all is decided.
    Waits,
    /// All, with the consent that there is.
    Ended,
}

impl Store {
    /// Events that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Events that wait no longer and are to go to the log.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether nothing of any event is left.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.visitors.is_empty() && self.ready.is_empty() && self.bytes == 0
    }

    /// Takes an event in. Those beyond the bounds, the oldest first, go on with the consent that they have.
    pub(super) fn hold(&mut self, plan: &Plan, visitor: &str, event: Arrival, policy: HoldPolicy) {
        let visitor = match self.visitors.get_key_value(visitor) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(visitor),
        };
        let number = self.next;
        self.next += 1;
        let numbers = self.visitors.entry(Arc::clone(&visitor)).or_default();
        numbers.push(number);
        let too_many = (numbers.len() > PER_VISITOR)
            .then(|| numbers.first().copied())
            .flatten();
        let waiting = Waiting { visitor, event };
        self.bytes += waiting.size();
        self.waiting.insert(number, waiting);
        if let Some(oldest) = too_many {
            self.rule(plan, oldest, Patience::Ended);
        }
        let max_bytes = policy.max_events.saturating_mul(BYTES_PER_EVENT);
        while self.waiting.len() > policy.max_events || self.bytes > max_bytes {
            if !self.give_up_oldest(plan) {
                break;
            }
        }
    }

    /// A visitor has decided on some signals: that holds for what waits of theirs, where it was unset.
    pub(super) fn decide(&mut self, plan: &Plan, visitor: &str, decided: &Consent) {
        if *decided == Consent::default() {
            return;
        }
        let Some(numbers) = self.visitors.get(visitor).cloned() else {
            return;
        };
        for number in numbers {
            let Some(waiting) = self.waiting.get_mut(&number) else {
                continue;
            };
            let consent = merged(&waiting.event.consent, decided);
            if consent != waiting.event.consent {
                waiting.event.consent = consent;
                self.rule(plan, number, Patience::Waits);
            }
        }
    }

    /// Lets go of what has waited long enough; without a policy that is everything.
    pub(super) fn sweep(&mut self, plan: &Plan, now: Instant) {
        let policy = plan.policies.consent.hold;
        while let Some((_, oldest)) = self.waiting.first_key_value() {
            let age = now.saturating_duration_since(oldest.event.since);
            if policy.is_some_and(|policy| age < policy.max_age) || !self.give_up_oldest(plan) {
                return;
            }
        }
    }

    /// Lets go of everything.
    pub(super) fn give_up(&mut self, plan: &Plan) {
        while self.give_up_oldest(plan) {}
    }

    /// Removes the events, waiting or released, whose record `covers` wants, and returns how many there were. No destination
    /// has counted them.
    pub(super) fn forget(&mut self, covers: impl Fn(&[u8]) -> bool) -> u64 {
        let waiting = self
            .waiting
            .iter()
            .filter(|(_, waiting)| covers(&waiting.event.payload));
        let gone: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in &gone {
            self.remove(*number);
        }
        let released = self.ready.len();
        self.ready
            .retain(|released| !released.payload.as_deref().is_some_and(&covers));
        (gone.len() + released - self.ready.len()) as u64
    }

    /// Takes up to `most` events that wait no longer, the first first.
    pub(super) fn take_ready(&mut self, most: usize) -> Vec<Released> {
        let most = most.min(self.ready.len());
        self.ready.drain(..most).collect()
    }

    /// Gives back events that the log did not take.
    pub(super) fn put_back(&mut self, events: Vec<Released>) {
        for event in events.into_iter().rev() {
            self.ready.push_front(event);
        }
    }

    /// Whether there was one.
    fn give_up_oldest(&mut self, plan: &Plan) -> bool {
        let Some(number) = self.waiting.first_key_value().map(|(number, _)| *number) else {
            return false;
        };
        self.rule(plan, number, Patience::Ended);
        true
    }

    /// Rules on the destinations of one event. It is released for those that are ruled on; one that is gone from the plan is
    /// left out.
    fn rule(&mut self, plan: &Plan, number: u64, patience: Patience) {
        let Some(waiting) = self.waiting.get_mut(&number) else {
            return;
        };
        let event = &mut waiting.event;
        let (mut verdicts, mut still) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut event.destinations) {
            let Some(destination) = plan.destinations.iter().find(|known| known.id == id) else {
                continue;
            };
            if patience == Patience::Waits && is_undecided(destination, &event.consent) {
                still.push(id);
            } else {
                verdicts.push((id, admit(destination, &event.consent).verdict()));
            }
        }
        let done = still.is_empty();
        event.destinations = still;
        if !verdicts.is_empty() {
            let meant = verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Meant);
            self.ready.push_back(Released {
                consent: event.consent,
                verdicts,
                payload: meant.then(|| event.payload.clone()),
            });
        }
        if done {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        self.bytes -= waiting.size();
        if let Some(numbers) = self.visitors.get_mut(&waiting.visitor) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.visitors.remove(&waiting.visitor);
            }
        }
    }
}

/// What was said stays; what was not is as decided now.
fn merged(consent: &Consent, decided: &Consent) -> Consent {
    let mut states = consent.states();
    for (state, now) in states.iter_mut().zip(decided.states()) {
        if *state == ConsentSignal::Unset {
            *state = now;
        }
    }
    Consent::of(states)
}
