//! Parcels: events that travel in one request, and the queue in which they wait for it. Pure but for the given times.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{dead_letters::Reason, view::prepare_record};
use crate::{
    destinations::Request,
    erase::Erasures,
    log::{Position, Stored, codec},
    pipeline::{consent::admission::Admission, validation},
    plan::PlannedDestination,
    record::Record,
};

/// Events of one request, with its history.
#[derive(Debug)]
pub struct Parcel {
    /// The events, in the order of the request; never empty.
    pub events: Vec<Stored>,
    /// When the oldest of them was accepted, unix milliseconds.
    pub oldest_ms: i64,
    /// Requests of one key go one at a time and in order.
    pub key: Option<Arc<str>>,
    /// The request for the first attempt. Later ones are encoded anew: signatures carry the time of sending.
    pub prepared: Option<(Request, Instant)>,
    /// Requests that carried it so far.
    pub attempts: u32,
    /// Not before this time.
    pub due: Instant,
    /// What the last failure was: message and code.
    pub failure: Option<(String, String)>,
}

impl Parcel {
    /// Its place in the order of the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.events.first().map(|event| event.position).unwrap_or_default()
    }

    /// Bytes of payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.payload.len()).sum()
    }
}

/// An event that will not be sent, and why.
#[derive(Debug)]
pub struct Doomed {
    /// The event.
    pub event: Stored,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
    /// The vendor's status, if there is one.
    pub code: String,
    /// Requests that carried it.
    pub attempts: u32,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Packed {
    /// The parcels to send.
    pub parcels: Vec<Parcel>,
    /// The events that cannot be sent.
    pub doomed: Vec<Doomed>,
    /// The events that were erased, or that may not be sent by the consent that is required now.
    pub erased: Vec<Position>,
    /// Failed expressions by field path.
    pub expression_errors: Vec<(String, u64)>,
}

/// What packing needs to know of the time and of earlier attempts.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Now, unix milliseconds.
    pub now_ms: i64,
    /// Now, for the timers.
    pub now: Instant,
    /// `retry.maxAge` in milliseconds.
    pub max_age_ms: i64,
    /// Earlier attempts of these events.
    pub attempts: u32,
    /// The last failure of these events.
    pub failure: Option<(String, String)>,
    /// Whose events are not sent.
    pub erasures: Arc<Erasures>,
}

/// Encodes events into parcels, each event as this destination may see it.
#[must_use]
pub fn pack(form: &PlannedDestination, events: &[Stored], with: &Circumstances) -> Packed {
    let mut packed = Packed::default();
    let mut expression_errors = BTreeMap::new();
    let mut young = Vec::with_capacity(events.len());
    let mut accepted = Vec::with_capacity(events.len());
    let mut records: Vec<Record<'_>> = Vec::with_capacity(events.len());
    for event in events {
        match codec::decode(&event.payload) {
            Err(error) => packed
                .doomed
                .push(doomed(event, Reason::Unreadable, error.to_string(), with)),
            Ok(record) if with.erasures.covers(&record.event, record.accepted_ms) => packed.erased.push(event.position),
            Ok(Record {
                rejected: Some(breach), ..
            }) => {
                packed
                    .doomed
                    .push(doomed(event, Reason::Invalid, validation::rejection(&breach), with));
            }
            Ok(record) if with.now_ms.saturating_sub(record.accepted_ms) > with.max_age_ms => {
                packed
                    .doomed
                    .push(doomed(event, Reason::TooOld, too_old(with.failure.as_ref()), with));
            }
            Ok(mut record) => match prepare_record(form, &mut record) {
                Admission::Withheld => packed.erased.push(event.position),
                Admission::Whole | Admission::Anonymized => {
                    form.view.apply(&mut record, &mut expression_errors);
                    young.push(event);
                    accepted.push(record.accepted_ms);
                    records.push(record);
                }
            },
        }
    }
    if records.is_empty() {
        return packed;
    }
    let encoding = form.vendor.encode(&records, with.now_ms);
    drop(records);
    // Every event leaves this list exactly once, whatever the encoder said: the ledger counts on it.
    let mut left: Vec<Option<&Stored>> = young.into_iter().map(Some).collect();
    let mut take = |index: usize| left.get_mut(index).and_then(Option::take).cloned();
    for (index, reason) in encoding.refused {
        if let Some(event) = take(index) {
            packed.doomed.push(doomed(&event, Reason::NotEncodable, reason, with));
        }
    }
    for encoded in encoding.requests {
        let oldest_ms = encoded.events.iter().filter_map(|index| accepted.get(*index)).min();
        let oldest_ms = oldest_ms.copied().unwrap_or(with.now_ms);
        let events: Vec<Stored> = encoded.events.into_iter().filter_map(&mut take).collect();
        if events.is_empty() {
            continue;
        }
        packed.parcels.push(Parcel {
            events,
            oldest_ms,
            key: encoded.ordering_key.map(Arc::from),
            prepared: Some((encoded.request, with.now)),
            attempts: with.attempts,
            due: with.now,
            failure: with.failure.clone(),
        });
    }
    for event in left.into_iter().flatten() {
        let reason = "this destination made no request of the event";
        packed.doomed.push(doomed(event, Reason::NotEncodable, reason, with));
    }
    expression_errors.extend(encoding.expression_errors);
    packed.expression_errors = expression_errors.into_iter().collect();
    packed
}

/// The message of an event that passed `retry.maxAge`.
pub(super) fn too_old(failure: Option<&(String, String)>) -> Cow<'static, str> {
    match failure {
        Some((message, _)) => format!("older than retry.maxAge; the last failure: {message}").into(),
        None => "older than retry.maxAge before it could be sent".into(),
    }
}

fn doomed(event: &Stored, reason: Reason, message: impl Into<Cow<'static, str>>, with: &Circumstances) -> Doomed {
    Doomed {
        event: event.clone(),
        reason,
        message: message.into().into_owned(),
        code: with.failure.as_ref().map(|(_, code)| code.clone()).unwrap_or_default(),
        attempts: with.attempts,
    }
}

/// Parcels that wait: for their turn, for the end of a backoff, or for an earlier one of the same key.
#[derive(Debug, Default)]
pub struct Queue {
    /// In the order of the log.
    parcels: Vec<Parcel>,
    /// Keys of parcels that are under way.
    keys: HashSet<Arc<str>>,
    bytes: usize,
}

impl Queue {
    /// Parcels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parcels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Bytes of payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Parcels that are due by this time.
    #[must_use]
    pub fn due_by(&self, time: Instant) -> usize {
        self.parcels.iter().filter(|parcel| parcel.due <= time).count()
    }

    /// Puts a parcel at its place.
    pub fn push(&mut self, parcel: Parcel) {
        self.bytes += parcel.bytes();
        let at = self
            .parcels
            .partition_point(|other| other.position() <= parcel.position());
        self.parcels.insert(at, parcel);
    }

    /// A parcel of this key is no longer under way.
    pub fn release(&mut self, key: Option<&Arc<str>>) {
        if let Some(key) = key {
            self.keys.remove(key);
        }
    }

    /// Whether [`Self::take`] would give one.
    #[must_use]
    pub fn is_any_due(&self, now: Instant) -> bool {
        self.find(|parcel| parcel.due <= now).is_some()
    }

    /// The first parcel that is due and that no other of its key stands before. Its key counts as under way until
    /// [`Self::release`].
    pub fn take(&mut self, now: Instant) -> Option<Parcel> {
        let at = self.find(|parcel| parcel.due <= now)?;
        Some(self.remove(at))
    }

    /// A parcel to see whether the vendor is back: due or not, of those that have been tried least the first. A parcel may
    /// fail by its own fault, so each gets its turn.
    pub fn take_probe(&mut self) -> Option<Parcel> {
        let fewest = self.free().map(|(_, parcel)| parcel.attempts).min()?;
        let at = self.find(|parcel| parcel.attempts == fewest)?;
        Some(self.remove(at))
    }

    /// When the next parcel is due that [`Self::take`] would give then.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.free().map(|(_, parcel)| parcel.due).min()
    }

    /// When the oldest event was accepted.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        self.parcels.iter().map(|parcel| parcel.oldest_ms).min()
    }

    /// Makes every parcel due now: the vendor is back, or is another one.
    pub fn hurry(&mut self, now: Instant) {
        for parcel in &mut self.parcels {
            parcel.due = parcel.due.min(now);
        }
    }

    /// Drops prepared requests, which an earlier configuration made.
    pub fn unprepare(&mut self) {
        for parcel in &mut self.parcels {
            parcel.prepared = None;
        }
    }

    /// Takes out the parcels that `which` wants.
    pub fn extract(&mut self, which: impl Fn(&Parcel) -> bool) -> Vec<Parcel> {
        let (taken, kept) = std::mem::take(&mut self.parcels).into_iter().partition(which);
        self.parcels = kept;
        self.bytes = self.parcels.iter().map(Parcel::bytes).sum();
        taken
    }

    /// Takes out single events and returns where they stood; what is left of their parcels is encoded anew.
    pub fn forget(&mut self, which: impl Fn(&Stored) -> bool) -> Vec<Position> {
        let mut gone = Vec::new();
        for parcel in &mut self.parcels {
            let before = gone.len();
            parcel.events.retain(|event| {
                let goes = which(event);
                gone.extend(goes.then_some(event.position));
                !goes
            });
            if gone.len() > before {
                parcel.prepared = None;
            }
        }
        self.parcels.retain(|parcel| !parcel.events.is_empty());
        self.bytes = self.parcels.iter().map(Parcel::bytes).sum();
        gone
    }

    /// The first parcel that `which` wants and that no other of its key stands before.
    fn find(&self, which: impl Fn(&Parcel) -> bool) -> Option<usize> {
        self.free().find(|(_, parcel)| which(parcel)).map(|(at, _)| at)
    }

    /// The parcels that no other of their key stands before, waiting or under way.
    fn free(&self) -> impl Iterator<Item = (usize, &Parcel)> {
        let mut before: HashSet<&Arc<str>> = HashSet::new();
        self.parcels
            .iter()
            .enumerate()
            .filter(move |(_, parcel)| match &parcel.key {
                None => true,
                Some(key) => before.insert(key) && !self.keys.contains(key),
            })
    }

    fn remove(&mut self, at: usize) -> Parcel {
        let parcel = self.parcels.remove(at);
        self.bytes -= parcel.bytes();
        if let Some(key) = &parcel.key {
            self.keys.insert(Arc::clone(key));
        }
        parcel
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        destinations::{Authentication, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Response},
        event::Event,
        log::DestinationId,
        testing,
    };

    /// Answers with an encoding that was made up before.
    struct Scripted(Encoding);

    impl Destination for Scripted {
        fn limits(&self) -> Limits {
            Limits {
                max_events: 1000,
                max_bytes: 1_000_000,
            }
        }
        fn encode(&self, _: &[Record<'_>], _: i64) -> Encoding {
            self.0.clone()
        }
        fn classify(&self, _: &Response) -> Outcome {
            Outcome::Delivered
        }
    }

    fn scripted(encoding: Encoding) -> PlannedDestination {
        PlannedDestination {
            vendor: Arc::new(Scripted(encoding)),
            ..testing::destination("orders", DestinationId(0), &[])
        }
    }

    fn stored(position: u64, accepted_ms: i64) -> Stored {
        let mut payload = Vec::new();
        let record = Record {
            accepted_ms,
            event: Event::new(),
            ..Record::default()
        };
        codec::encode(&record, &mut payload);
        Stored {
            position: Position(position),
            payload: payload.into(),
        }
    }

    fn encoded(events: Vec<usize>) -> Encoded {
        Encoded {
            request: Request {
                method: Method::POST,
                url: "http://vendor.example/".parse().unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                authentication: Authentication::None,
                protocol: Protocol::Http,
            },
            events,
            ordering_key: None,
        }
    }

    fn circumstances() -> Circumstances {
        Circumstances {
            now_ms: 100_000,
            now: Instant::now(),
            max_age_ms: 60_000,
            attempts: 0,
            failure: None,
            erasures: Arc::default(),
        }
    }

    fn positions(events: &[Stored]) -> Vec<u64> {
        events.iter().map(|event| event.position.0).collect()
    }

    #[test]
    fn events_become_parcels_or_dead_letters() {
        let form = scripted(Encoding {
            requests: vec![encoded(vec![0, 2]), encoded(vec![3])],
            refused: vec![(1, "no client_id".into())],
            expression_errors: BTreeMap::new(),
        });
        let mut events = vec![
            stored(10, 90_000),
            stored(11, 90_000),
            stored(12, 80_000),
            stored(13, 90_000),
        ];
        events.insert(0, stored(9, 1_000));
        events.push(Stored {
            position: Position(14),
            payload: Bytes::from_static(b"\xff"),
        });
        let packed = pack(&form, &events, &circumstances());
        let parcels: Vec<_> = packed
            .parcels
            .iter()
            .map(|parcel| (positions(&parcel.events), parcel.oldest_ms))
            .collect();
        assert_eq!(parcels, [(vec![10, 12], 80_000), (vec![13], 90_000)]);
        let doomed: Vec<_> = packed
            .doomed
            .iter()
            .map(|doomed| (doomed.event.position.0, doomed.reason))
            .collect();
        assert_eq!(
            doomed,
            [
                (9, Reason::TooOld),
                (14, Reason::Unreadable),
                (11, Reason::NotEncodable)
            ]
        );
        assert_eq!(packed.doomed[2].message, "no client_id");
    }

    #[test]
    fn an_event_that_breaks_the_tracking_plan_is_a_dead_letter_however_old() {
        let mut payload = Vec::new();
        let record = Record {
            rejected: Some("/value: type".into()),
            ..Record::default()
        };
        codec::encode(&record, &mut payload);
        let event = Stored {
            position: Position(7),
            payload: payload.into(),
        };
        let form = scripted(Encoding {
            requests: vec![encoded(vec![0])],
            ..Encoding::default()
        });
        let packed = pack(&form, &[event], &circumstances());
        assert!(packed.parcels.is_empty());
        let doomed = &packed.doomed[0];
        assert_eq!(doomed.reason, Reason::Invalid);
        assert_eq!(doomed.message, "breaks the tracking plan: /value: type");
    }

    #[test]
    fn an_event_that_grew_too_old_tells_its_last_failure() {
        let mut with = circumstances();
        with.attempts = 7;
        with.failure = Some(("503: upstream down".into(), "503".into()));
        let packed = pack(&scripted(Encoding::default()), &[stored(1, 0)], &with);
        let doomed = &packed.doomed[0];
        assert_eq!(
            doomed.message,
            "older than retry.maxAge; the last failure: 503: upstream down"
        );
        assert_eq!((doomed.attempts, doomed.code.as_str()), (7, "503"));
    }

    proptest! {
        /// Whatever indexes an encoder gives, repeated, missing or out of range: no event is lost or counted twice.
        #[test]
        fn every_event_goes_exactly_one_way(requests in prop::collection::vec(prop::collection::vec(0_usize..12, 0..6), 0..6),
                                            refused in prop::collection::vec(0_usize..12, 0..6)) {
            let form = scripted(Encoding {
                requests: requests.into_iter().map(encoded).collect(),
                refused: refused.into_iter().map(|index| (index, "no".into())).collect(),
                expression_errors: BTreeMap::new(),
            });
            let events: Vec<Stored> = (0..8).map(|position| stored(position, 90_000)).collect();
            let packed = pack(&form, &events, &circumstances());
            let mut all: Vec<u64> = packed.parcels.iter().flat_map(|parcel| positions(&parcel.events)).collect();
            all.extend(packed.doomed.iter().map(|doomed| doomed.event.position.0));
            all.sort_unstable();
            prop_assert_eq!(all, (0..8).collect::<Vec<u64>>());
        }
    }

    fn parcel(position: u64, key: Option<&str>, due: Instant) -> Parcel {
        Parcel {
            events: vec![stored(position, 0)],
            oldest_ms: 0,
            key: key.map(Arc::from),
            prepared: None,
            attempts: 0,
            due,
            failure: None,
        }
    }

    #[test]
    fn a_parcel_in_backoff_lets_others_pass_but_not_those_of_its_key() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let mut queue = Queue::default();
        queue.push(parcel(3, Some("visitor"), now));
        queue.push(parcel(4, None, now));
        queue.push(parcel(1, Some("visitor"), later));
        queue.push(parcel(2, None, later));
        assert_eq!(queue.take(now).unwrap().position(), Position(4));
        assert!(!queue.is_any_due(now));
        let first = queue.take(later).unwrap();
        assert_eq!(first.position(), Position(1), "the key's first");
        assert_eq!(queue.take(later).unwrap().position(), Position(2));
        assert!(
            queue.take(later).is_none(),
            "the key's second waits while the first is under way"
        );
        queue.release(first.key.as_ref());
        assert_eq!(queue.take(later).unwrap().position(), Position(3));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn a_probe_is_a_parcel_that_has_not_failed_before() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(Parcel {
            attempts: 3,
            ..parcel(1, None, now)
        });
        queue.push(parcel(2, None, now));
        assert_eq!(queue.take_probe().unwrap().position(), Position(2));
        assert_eq!(queue.take_probe().unwrap().position(), Position(1));
        assert!(queue.take_probe().is_none());
    }
}
