//! Hits of visitors who decide later, into a log in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;
use tagfleet_crds::tagging_container::ConsentSignal as Signal;
use tagfleet_expressions::{Map, STEPS_PER_HIT, Steps};

use super::*;
use crate::{
    erase::Visitor,
    ingest::{ClaimedEvent, Connection, HitRequest},
    log::{Accepted, AppendError, Appender, Commit, DestinationId, Ledger, SharedLog, WhenFull, memory::MemoryLog},
    pipeline::{
        self, Fate,
        consent::{ConsentPolicy, HoldPolicy, Resolved, Said, Source},
        policies::Policies,
        visit::Visit,
    },
    plan::PlannedDestination,
    record::{Consent, ConsentSignal},
    testing,
};

const G: ConsentSignal = ConsentSignal::Granted;
const D: ConsentSignal = ConsentSignal::Denied;
const U: ConsentSignal = ConsentSignal::Unset;

const UNDECIDED: [ConsentSignal; 4] = [U; 4];
const GRANTED: [ConsentSignal; 4] = [G; 4];
const DENIED: [ConsentSignal; 4] = [D; 4];

/// A gateway's middle: plan, hold and log, without sockets.
struct Middle {
    plan: Plan,
    hold: Arc<Hold>,
    log: SharedLog,
    appender: Box<dyn Appender>,
    start: Instant,
}

impl Middle {
    /// `ads` needs two signals; `own` needs one and takes events without identifiers; `stats` needs none.
    fn new(max_events: usize) -> Self {
        let log: SharedLog = Arc::new(MemoryLog::open(64 << 20, WhenFull::Refuse));
        let destination = |name: &str, requires: &[Signal], anonymize| PlannedDestination {
            requires: requires.to_vec(),
            anonymize,
            ..testing::destination(name, log.register(name).unwrap(), &[])
        };
        let destinations = vec![
            destination("ads", &[Signal::AdStorage, Signal::AdUserData], false),
            destination("own", &[Signal::AnalyticsStorage], true),
            destination("stats", &[], false),
        ];
        let mut plan = testing::plan("v1", Vec::new(), destinations);
        plan.policies = Arc::new(Policies {
            consent: ConsentPolicy {
                hold: Some(HoldPolicy {
                    max_age: Duration::from_secs(30 * 60),
                    max_events,
                }),
                ..ConsentPolicy::default()
            },
            ..Policies::default()
        });
        Self {
            plan,
            hold: Arc::new(Hold::new(IntGauge::new("held", "held").unwrap())),
            appender: log.appender(),
            log,
            start: Instant::now(),
        }
    }

    /// A hit with one event, `minutes` after the start, on the way that intake takes.
    fn hit(&mut self, event: serde_json::Value, consent: [ConsentSignal; 4], minutes: u64) {
        let headers = HeaderMap::new();
        let request = HitRequest {
            received_ms: 1_000,
            ..testing::request(&headers)
        };
        let visit = Visit::of(&self.plan, request, Connection::Visitor, Map::new());
        let claimed = ClaimedEvent {
            event: testing::record(event).event,
            said: Said {
                signals: Resolved::said_by(Source::Event, Consent::of(consent)),
                tcf: None,
            },
            has_own_id: false,
        };
        let Fate::Judged(mut judged) = pipeline::judge(&self.plan, claimed, &visit, &mut Steps::new(STEPS_PER_HIT))
        else {
            panic!("it is dropped")
        };
        self.hold.make_room(&self.plan, &mut judged);
        let accepted = Accepted {
            record: &judged.record,
            verdicts: &judged.verdicts,
        };
        // A log in memory makes nobody wait.
        let commit = self.appender.append(&[accepted]).unwrap();
        commit.now_or_never().unwrap().unwrap();
        let now = self.start + Duration::from_secs(minutes * 60);
        self.hold.note(&self.plan, &judged, now);
    }

    fn view(&mut self, id: &str, visitor: &str, consent: [ConsentSignal; 4], minutes: u64) {
        self.hit(
            json!({"event_name": "page_view", "event_id": id, "client_id": visitor, "timestamp_ms": 1_000}),
            consent,
            minutes,
        );
    }

    fn sweep(&self, minutes: u64) {
        let mut store = self.hold.lock();
        store.sweep(&self.plan, self.start + Duration::from_secs(minutes * 60));
        self.hold.show(&store);
    }

    /// Brings what is released to the log.
    fn drain(&mut self) -> bool {
        release::drain(&self.hold, &mut *self.appender).now_or_never().unwrap()
    }

    fn id(&self, name: &str) -> DestinationId {
        self.log.register(name).unwrap()
    }

    fn ledger(&self, name: &str) -> Ledger {
        let ledgers = self.log.ledgers();
        let (_, _, ledger) = ledgers.into_iter().find(|(known, _, _)| known == name).unwrap();
        assert_eq!(ledger.imbalance(), 0, "{name}: {ledger:?}");
        ledger
    }

    /// What a destination has been given: meant for it, and denied.
    fn counts(&self, name: &str) -> (u64, u64) {
        let ledger = self.ledger(name);
        assert_eq!(ledger.accepted, ledger.in_flight + ledger.consent_denied, "{ledger:?}");
        (ledger.in_flight, ledger.consent_denied)
    }

    /// The ids of the events meant for a destination, each with its consent, in the order of the log.
    fn meant(&self, name: &str) -> Vec<(String, Consent)> {
        let chunk = self.log.reader(self.id(name)).unwrap().read(10_000, 64 << 20).unwrap();
        chunk
            .events
            .iter()
            .map(|stored| {
                let record = codec::decode(&stored.payload).unwrap();
                (record.event.text("event_id").unwrap().to_owned(), record.consent)
            })
            .collect()
    }
}

fn ids(meant: &[(String, Consent)]) -> Vec<&str> {
    meant.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn an_event_waits_for_those_that_need_the_decision_and_goes_to_the_others_at_once() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.drain();
    assert_eq!(middle.counts("stats"), (1, 0));
    assert_eq!(middle.ledger("ads"), Ledger::default(), "nothing is counted yet");
    assert_eq!(middle.ledger("own"), Ledger::default());
    assert_eq!(middle.hold.gauge.get(), 1);
}

#[test]
fn a_grant_releases_what_waits_of_the_same_visitor() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "john", UNDECIDED, 0);
    middle.view("e3", "jane", GRANTED, 1);
    assert!(middle.drain());
    let meant = middle.meant("ads");
    assert_eq!(ids(&meant), ["e3", "e1"]);
    assert_eq!(meant[1].1, Consent::of(GRANTED));
    assert_eq!((middle.counts("own"), middle.counts("stats")), ((2, 0), (3, 0)));
    assert_eq!(middle.hold.gauge.get(), 1, "john has not decided");
}

#[test]
fn a_denial_drops_it_and_leaves_the_event_without_identifiers_to_those_that_take_it() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "jane", DENIED, 1);
    middle.drain();
    assert_eq!(middle.counts("ads"), (0, 2));
    assert_eq!(middle.counts("own"), (2, 0));
    assert_eq!(middle.meant("own")[1].1, Consent::of(DENIED));
    assert_eq!(middle.hold.gauge.get(), 0);
}

#[test]
fn half_a_decision_releases_for_those_that_it_is_enough_for() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "jane", [G, D, U, U], 1);
    middle.drain();
    assert_eq!(middle.counts("own"), (2, 0));
    assert_eq!(middle.ledger("ads").accepted, 0, "ad_user_data is still to come");
    middle.view("e3", "jane", [U, U, D, U], 2);
    middle.drain();
    assert_eq!(middle.counts("ads"), (0, 3));
    assert_eq!(middle.meant("own")[1].1, Consent::of([G, D, U, U]));
}

#[test]
fn what_was_said_with_the_event_itself_is_not_overruled_later() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", [G, U, U, D], 0);
    middle.view("e2", "jane", [D, G, G, G], 1);
    middle.drain();
    let meant = middle.meant("ads");
    assert_eq!(ids(&meant), ["e1"]);
    assert_eq!(meant[0].1, Consent::of([G, G, G, D]));
}

#[test]
fn what_is_denied_or_known_to_nobody_does_not_wait() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", [D, G, U, U], 0);
    middle.hit(
        json!({"event_name": "a", "event_id": "e2", "timestamp_ms": 1}),
        UNDECIDED,
        0,
    );
    middle.view("e3", "", UNDECIDED, 0);
    assert_eq!(middle.counts("ads"), (0, 3));
    assert_eq!(middle.hold.gauge.get(), 0);
}

#[test]
fn after_max_age_it_goes_on_with_the_consent_that_it_has() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "jane", UNDECIDED, 20);
    middle.sweep(29);
    assert_eq!(middle.hold.gauge.get(), 2);
    middle.sweep(30);
    middle.drain();
    assert_eq!(middle.hold.gauge.get(), 1);
    assert_eq!(middle.counts("ads"), (0, 1));
    assert_eq!(ids(&middle.meant("own")), ["e1"]);
}

#[test]
fn past_max_events_the_oldest_go_on() {
    let mut middle = Middle::new(3);
    for number in 0..10 {
        middle.view(&format!("e{number}"), &format!("visitor-{number}"), UNDECIDED, 0);
        middle.drain();
    }
    assert_eq!(middle.hold.gauge.get(), 3);
    assert_eq!(middle.counts("ads"), (0, 7));
    middle.view("e10", "visitor-0", GRANTED, 1);
    middle.view("e11", "visitor-9", GRANTED, 1);
    middle.drain();
    assert_eq!(ids(&middle.meant("ads")), ["e10", "e11", "e9"]);
}

#[test]
fn large_events_are_bounded_by_their_bytes() {
    let mut middle = Middle::new(100);
    let large = "x".repeat(50_000);
    for number in 0..20 {
        let event = json!({"event_name": "a", "event_id": "e", "client_id": format!("{number}"), "note": large});
        middle.hit(event, UNDECIDED, 0);
    }
    let waiting = middle.hold.gauge.get();
    assert!((5..=8).contains(&waiting), "{waiting} of 50 kB wait within 400 KiB");
}

#[test]
fn one_visitor_cannot_fill_the_hold() {
    let mut middle = Middle::new(10_000);
    for number in 0..300 {
        middle.view(&format!("e{number}"), "jane", UNDECIDED, 0);
    }
    assert_eq!(middle.hold.gauge.get(), 200);
    middle.drain();
    assert_eq!(middle.counts("ads"), (0, 100));
}

#[test]
fn a_destination_that_is_gone_is_left_out_and_one_that_changed_is_asked_as_it_is_now() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.plan.destinations.retain(|known| &*known.name != "own");
    middle.plan.destinations[0] = Arc::new(PlannedDestination {
        requires: vec![Signal::AdPersonalization],
        ..testing::destination("ads", middle.id("ads"), &[])
    });
    middle.view("e2", "jane", [U, U, U, G], 1);
    middle.drain();
    assert_eq!(middle.counts("ads"), (2, 0));
    assert_eq!(middle.ledger("own"), Ledger::default());
    assert_eq!(middle.hold.gauge.get(), 0);
}

#[test]
fn without_consent_hold_in_the_plan_nothing_waits_any_longer() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.plan.policies = Arc::default();
    middle.sweep(0);
    middle.drain();
    assert_eq!((middle.counts("ads"), middle.counts("own")), ((0, 1), (1, 0)));
}

#[test]
fn an_erased_visitors_events_wait_no_longer_and_reach_nobody() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "john", UNDECIDED, 0);
    middle.view("e3", "jane", [U, G, U, U], 1);
    let erasures = Erasures::default();
    erasures.add(&Visitor::ClientId("jane".to_owned()), i64::MAX).unwrap();
    assert_eq!(
        middle.hold.forget(&erasures).unwrap(),
        3,
        "two that wait, one of them released in part"
    );
    middle.view("e4", "jane", GRANTED, 2);
    middle.view("e5", "john", GRANTED, 2);
    middle.drain();
    assert_eq!(ids(&middle.meant("ads")), ["e4", "e5", "e2"]);
    assert_eq!(middle.counts("own"), (4, 0));
}

/// Refuses so often, then takes what comes.
struct Reluctant {
    refuses: usize,
    appender: Box<dyn Appender>,
}

impl Appender for Reluctant {
    fn append(&mut self, events: &[Accepted<'_, '_>]) -> Result<Commit, AppendError> {
        match self.refuses.checked_sub(1) {
            Some(left) => {
                self.refuses = left;
                // Once at once, then by the commit.
                let error = AppendError::Device("no space".to_owned());
                if left % 2 == 0 {
                    Err(error)
                } else {
                    Ok(Box::pin(async { Err(error) }))
                }
            }
            None => self.appender.append(events),
        }
    }
}

#[test]
fn what_the_log_refuses_is_brought_again() {
    let mut middle = Middle::new(10);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "jane", UNDECIDED, 0);
    middle.view("e3", "jane", GRANTED, 1);
    middle.appender = Box::new(Reluctant {
        refuses: 2,
        appender: middle.log.appender(),
    });
    assert!(!middle.drain() && !middle.drain());
    assert_eq!(ids(&middle.meant("ads")), ["e3"]);
    assert!(middle.drain());
    assert_eq!(ids(&middle.meant("ads")), ["e3", "e1", "e2"]);
}

#[test]
fn while_the_log_does_not_keep_up_nothing_more_is_held() {
    let mut middle = Middle::new(2);
    for number in 0..5 {
        middle.view(&format!("e{number}"), &format!("visitor-{number}"), UNDECIDED, 0);
    }
    let ready = middle.hold.ready.load(Ordering::Relaxed);
    assert_eq!((middle.hold.gauge.get(), ready), (2, 2));
    assert_eq!(middle.counts("ads"), (0, 1), "the last went on at once");
    middle.drain();
    assert_eq!(middle.counts("ads"), (0, 3));
}

#[tokio::test]
async fn at_a_graceful_stop_everything_goes_on() {
    let mut middle = Middle::new(10);
    let plan = Arc::new(ArcSwap::from_pointee(Middle::new(10).plan));
    let releasing = Releasing::start(Arc::clone(&middle.hold), &middle.log, plan);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "john", UNDECIDED, 0);
    releasing.stop(Duration::from_secs(20)).await;
    assert_eq!((middle.counts("ads"), middle.counts("own")), ((0, 2), (2, 0)));
    assert_eq!(middle.hold.gauge.get(), 0);
}

#[tokio::test]
async fn a_decision_releases_without_waiting_for_the_sweep() {
    let mut middle = Middle::new(10);
    let plan = Arc::new(ArcSwap::from_pointee(Middle::new(10).plan));
    let mut head = middle.log.head();
    let _releasing = Releasing::start(Arc::clone(&middle.hold), &middle.log, plan);
    middle.view("e1", "jane", UNDECIDED, 0);
    middle.view("e2", "jane", GRANTED, 0);
    let released = head.wait_for(|head| head.0 == 3);
    tokio::time::timeout(Duration::from_secs(20), released)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ids(&middle.meant("ads")), ["e2", "e1"]);
}

proptest! {
    /// Whatever visitors decide and when: in the end every destination has counted every event exactly once, and what is
    /// meant for it has the consent that it requires.
    #[test]
    fn the_ledger_closes(hits in prop::collection::vec((0_u8..4, prop::array::uniform4(0_u8..3), 0_u64..20, any::<bool>()), 0..60),
                         max_events in 1_usize..12) {
        let mut middle = Middle::new(max_events);
        let mut minutes = 0;
        for (number, (visitor, consent, later, drains)) in hits.iter().enumerate() {
            minutes += later;
            middle.sweep(minutes);
            let consent = consent.map(|state| [U, G, D][usize::from(state)]);
            middle.view(&format!("e{number}"), &format!("v{visitor}"), consent, minutes);
            prop_assert!(middle.hold.gauge.get() <= max_events as i64);
            if *drains {
                middle.drain();
            }
        }
        middle.sweep(minutes + 31);
        middle.drain();
        prop_assert_eq!(middle.hold.gauge.get(), 0);
        for name in ["ads", "own", "stats"] {
            prop_assert_eq!(middle.ledger(name).accepted, hits.len() as u64, "{}", name);
            let mut meant = middle.meant(name);
            meant.sort_by(|a, b| a.0.cmp(&b.0));
            meant.dedup_by(|a, b| a.0 == b.0);
            let (in_flight, _) = middle.counts(name);
            prop_assert_eq!(meant.len() as u64, in_flight, "each once");
        }
        for (id, consent) in middle.meant("ads") {
            prop_assert_eq!((consent.ad_storage, consent.ad_user_data), (G, G), "{}", id);
        }
        let store = middle.hold.lock();
        prop_assert!(store.is_empty());
    }
}
