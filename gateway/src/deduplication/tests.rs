#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::event::{Event, field};

const NOW: i64 = 1_768_476_420_000;

const LIMITS: Limits = Limits {
    window_s: 3600,
    max_entries: 1_000,
};

fn open(folder: &Path, limits: Limits, now_ms: i64) -> Arc<Deduplication> {
    Arc::new(Deduplication::open(folder, Some(limits), now_ms))
}

fn key(deduplication: &Deduplication, id: u32) -> Key {
    let mut event = Event::new();
    event.set(field::EVENT_NAME, "purchase");
    event.set(field::EVENT_ID, id.to_string());
    deduplication.key_maker.key(&event)
}

/// Waits for a confirmation, as the only hit of its commit.
fn confirm(reservation: Reservation) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(reservation.confirm());
}

/// A hit with this one event: whether it is new. A new one gets into the log.
fn hit(deduplication: &Arc<Deduplication>, id: u32, now_ms: i64) -> bool {
    let mut reservation = deduplication.reservation(now_ms);
    let is_new = matches!(reservation.ask(key(deduplication, id)), Standing::New);
    confirm(reservation);
    is_new
}

/// Whether an event was seen; asking does not make it so.
fn seen(deduplication: &Arc<Deduplication>, id: u32, now_ms: i64) -> bool {
    matches!(
        deduplication.reservation(now_ms).ask(key(deduplication, id)),
        Standing::Seen
    )
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[test]
fn the_second_of_two_is_a_repeat_until_the_window_ends() {
    let folder = TempDir::new().unwrap();
    let deduplication = open(folder.path(), LIMITS, NOW);
    assert!(hit(&deduplication, 1, NOW));
    assert!(!hit(&deduplication, 1, NOW + 3_600_000));
    assert!(hit(&deduplication, 2, NOW + 3_600_000));
    assert!(hit(&deduplication, 1, NOW + 3_601_000));
    assert!(!hit(&deduplication, 1, NOW + 2 * 3_600_000));
}

#[test]
fn the_oldest_is_forgotten_when_there_are_too_many() {
    let deduplication = Arc::new(Deduplication::in_memory());
    deduplication.set_limits(Some(LIMITS), NOW);
    for id in 0..1_001 {
        assert!(hit(&deduplication, id, NOW));
    }
    assert!(!seen(&deduplication, 0, NOW));
    assert!((1..1_001).all(|id| seen(&deduplication, id, NOW)));
}

#[test]
fn other_limits_are_in_force_at_once() {
    let deduplication = Arc::new(Deduplication::in_memory());
    deduplication.set_limits(Some(LIMITS), NOW);
    hit(&deduplication, 1, NOW);
    hit(&deduplication, 2, NOW + 60_000);
    let shorter = Limits { window_s: 30, ..LIMITS };
    deduplication.set_limits(Some(shorter), NOW + 60_000);
    assert!(!seen(&deduplication, 1, NOW + 60_000));
    assert!(seen(&deduplication, 2, NOW + 60_000));
    let fewer = Limits {
        max_entries: 1,
        ..LIMITS
    };
    hit(&deduplication, 3, NOW + 60_000);
    deduplication.set_limits(Some(fewer), NOW + 60_000);
    assert!(!seen(&deduplication, 2, NOW + 60_000));
    assert!(seen(&deduplication, 3, NOW + 60_000));
}

#[test]
fn turned_off_it_remembers_nothing_and_keeps_no_file() {
    let folder = TempDir::new().unwrap();
    let deduplication = open(folder.path(), LIMITS, NOW);
    hit(&deduplication, 1, NOW);
    assert!(deduplication.set_limits(None, NOW).is_none());
    deduplication.tend(NOW);
    assert!(!seen(&deduplication, 1, NOW));
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());

    assert!(deduplication.set_limits(Some(LIMITS), NOW).is_some());
    assert!(hit(&deduplication, 1, NOW));
    let again = open(folder.path(), LIMITS, NOW);
    assert!(seen(&again, 1, NOW));
}

#[test]
fn a_folder_that_cannot_be_used_costs_the_memory_over_a_restart_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("deduplication");
    fs::write(&file, "in the way").unwrap();
    let deduplication = open(&file, LIMITS, NOW);
    deduplication.set_limits(Some(LIMITS), NOW);
    assert!(hit(&deduplication, 1, NOW));
    assert!(!hit(&deduplication, 1, NOW));
}

#[tokio::test]
async fn a_repeat_of_what_is_under_way_shares_its_outcome() {
    for kept in [true, false] {
        let deduplication = Arc::new(Deduplication::in_memory());
        deduplication.set_limits(Some(LIMITS), NOW);
        let mut first = deduplication.reservation(NOW);
        assert!(matches!(first.ask(key(&deduplication, 1)), Standing::New));
        let Standing::Pending(outcome) = deduplication.reservation(NOW).ask(key(&deduplication, 1)) else {
            panic!("the log has not answered yet");
        };
        let waiting = tokio::spawn(async move { outcome.is_kept().await });
        tokio::task::yield_now().await;
        if kept {
            first.confirm().await;
        } else {
            drop(first);
        }
        assert_eq!(waiting.await.unwrap(), kept);
        assert_eq!(seen(&deduplication, 1, NOW), kept);
    }
}

#[tokio::test]
async fn of_two_in_one_hit_the_second_waits_for_the_hit_itself() {
    let deduplication = Arc::new(Deduplication::in_memory());
    deduplication.set_limits(Some(LIMITS), NOW);
    let mut hit = deduplication.reservation(NOW);
    assert!(matches!(hit.ask(key(&deduplication, 1)), Standing::New));
    let Standing::Pending(outcome) = hit.ask(key(&deduplication, 1)) else {
        panic!("it is pending");
    };
    hit.confirm().await;
    assert!(outcome.is_kept().await);
}

#[test]
fn of_many_at_once_one_is_new() {
    const EVENTS: u32 = 2_000;
    let folder = TempDir::new().unwrap();
    let limits = Limits {
        max_entries: EVENTS,
        ..LIMITS
    };
    let deduplication = open(folder.path(), limits, NOW);
    let new: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..EVENTS)
                        .map(|id| u32::from(hit(&deduplication, id, NOW)))
                        .sum::<u32>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(new, EVENTS);
    drop(deduplication);
    let again = open(folder.path(), limits, NOW);
    assert!((0..EVENTS).all(|id| seen(&again, id, NOW)));
}

#[test]
fn a_restart_remembers_exactly_the_last_ones_on_a_bounded_disk() {
    const ALL: u32 = 60_000;
    let folder = TempDir::new().unwrap();
    let limits = Limits {
        max_entries: 10_000,
        ..LIMITS
    };
    let deduplication = open(folder.path(), limits, NOW);
    for id in 0..ALL {
        hit(&deduplication, id, NOW);
        if id % 500 == 0 {
            deduplication.tend(NOW);
            // 10,000, two segments of 4,096 that are partly needed, and 500 in each that came before it was looked at.
            assert!(bytes(folder.path()) < (10_000 + 2 * 4_596) * 24 + 400);
        }
    }
    drop(deduplication);
    let again = open(folder.path(), limits, NOW);
    assert!(!seen(&again, ALL - 10_001, NOW));
    assert!((ALL - 10_000..ALL).all(|id| seen(&again, id, NOW)));
}

#[test]
fn what_is_past_the_window_leaves_the_disk() {
    let folder = TempDir::new().unwrap();
    let deduplication = open(folder.path(), LIMITS, NOW);
    let minutes = |minutes: i64| NOW + minutes * 60_000;
    for minute in 0..300 {
        hit(&deduplication, u32::try_from(minute).unwrap(), minutes(minute));
        deduplication.tend(minutes(minute));
        assert!(files(folder.path()).len() <= 10, "{:?}", files(folder.path()));
    }
    assert!(seen(&deduplication, 240, minutes(300)));
    drop(deduplication);
    let again = open(folder.path(), LIMITS, minutes(300));
    assert!(!seen(&again, 239, minutes(300)));
    assert!((240..300).all(|id| seen(&again, id, minutes(300))));
    again.tend(minutes(400));
    again.tend(minutes(400));
    assert_eq!(bytes(folder.path()), 40, "one segment, begun and empty");
}

/// What a killed process leaves of a file is any beginning of it.
#[test]
fn a_journal_that_ends_anywhere_gives_every_whole_record() {
    const EVENTS: u32 = 20;
    let folder = TempDir::new().unwrap();
    let deduplication = open(folder.path(), LIMITS, NOW);
    for id in 0..EVENTS {
        hit(&deduplication, id, NOW);
    }
    let file = &files(folder.path())[0];
    let whole = fs::read(file).unwrap();
    for cut in 0..=whole.len() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(file.file_name().unwrap()), &whole[..cut]).unwrap();
        let again = open(folder.path(), LIMITS, NOW);
        let kept = u32::try_from(cut.saturating_sub(segment::HEADER) / segment::RECORD).unwrap();
        // A lost header takes the secret along: what is asked for then are other keys.
        let remembered = (0..EVENTS).filter(|id| seen(&again, *id, NOW)).count();
        assert_eq!(remembered, kept as usize, "cut at {cut}");
        assert!(hit(&again, 1_000, NOW));
        drop(again);
        let again = open(folder.path(), LIMITS, NOW);
        assert!(seen(&again, 1_000, NOW), "cut at {cut}");
        assert!((0..kept).all(|id| seen(&again, id, NOW)), "cut at {cut}");
    }
}

/// What a crash of the machine leaves of a file is anything: pages of zeros, or of another file.
#[test]
fn a_damaged_byte_costs_its_record() {
    const EVENTS: usize = 6;
    let folder = TempDir::new().unwrap();
    let deduplication = open(folder.path(), LIMITS, NOW);
    for id in 0..6 {
        hit(&deduplication, id, NOW);
    }
    let file = &files(folder.path())[0];
    let whole = fs::read(file).unwrap();
    for at in 0..whole.len() {
        let folder = TempDir::new().unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(folder.path().join(file.file_name().unwrap()), damaged).unwrap();
        let again = open(folder.path(), LIMITS, NOW);
        let remembered = (0..6).filter(|id| seen(&again, *id, NOW)).count();
        assert_eq!(remembered, if at < segment::HEADER { 0 } else { EVENTS - 1 }, "at {at}");
    }
}

/// What may happen to a gateway.
#[derive(Clone, Debug)]
enum Step {
    /// A hit with these events comes; the log keeps it or not.
    Hit { ids: Vec<u32>, kept: bool },
    /// A hit comes, and the log does not answer yet.
    Begin(u32),
    /// The log answers for the oldest of those.
    Settle { kept: bool },
    /// So many seconds pass.
    Wait(i64),
    /// The journal is looked after.
    Tend,
    /// The process is killed and comes back.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..24_u32;
    let step = prop_oneof![
        6 => (prop::collection::vec(id(), 1..4), prop::bool::weighted(0.7)).prop_map(|(ids, kept)| Step::Hit { ids, kept }),
        2 => id().prop_map(Step::Begin),
        2 => any::<bool>().prop_map(|kept| Step::Settle { kept }),
        2 => (0..9_i64).prop_map(Step::Wait),
        1 => Just(Step::Tend),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a gateway must know, in the plainest form.
#[derive(Default)]
struct Model {
    confirmed: Vec<(u32, i64)>,
    pending: BTreeMap<u32, ()>,
}

impl Model {
    fn expects(&self, id: u32, now_s: i64, limits: Limits) -> &'static str {
        let last = self.confirmed.iter().rev().take(limits.max_entries as usize);
        let oldest_s = now_s - i64::from(limits.window_s);
        if self.pending.contains_key(&id) {
            "pending"
        } else if last.clone().any(|(seen, time_s)| *seen == id && *time_s >= oldest_s) {
            "seen"
        } else {
            "new"
        }
    }
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::New => "new",
        Standing::Seen => "seen",
        Standing::Pending(_) => "pending",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// No event that was acknowledged is forgotten within the limits, and none that was not is taken for seen.
    #[test]
    fn it_knows_what_the_model_knows(steps in steps()) {
        let limits = Limits { window_s: 20, max_entries: 8 };
        let folder = TempDir::new().unwrap();
        let mut now_s = NOW / 1_000;
        let mut deduplication = open(folder.path(), limits, now_s * 1_000);
        let (mut model, mut begun) = (Model::default(), Vec::new());
        for step in steps {
            match step {
                Step::Hit { ids, kept } => {
                    let mut reservation = deduplication.reservation(now_s * 1_000);
                    let mut new = Vec::new();
                    for id in ids {
                        let expected = model.expects(id, now_s, limits);
                        prop_assert_eq!(word(&reservation.ask(key(&deduplication, id))), expected);
                        if expected == "new" {
                            model.pending.insert(id, ());
                            new.push(id);
                        }
                    }
                    for id in &new {
                        model.pending.remove(id);
                    }
                    if kept {
                        confirm(reservation);
                        model.confirmed.extend(new.into_iter().map(|id| (id, now_s)));
                    }
                }
                Step::Begin(id) => {
                    let mut reservation = deduplication.reservation(now_s * 1_000);
                    let expected = model.expects(id, now_s, limits);
                    prop_assert_eq!(word(&reservation.ask(key(&deduplication, id))), expected);
                    if expected == "new" {
                        model.pending.insert(id, ());
                        begun.push((id, now_s, reservation));
                    }
                }
                Step::Settle { kept } if !begun.is_empty() => {
                    let (id, came_s, reservation) = begun.remove(0);
                    model.pending.remove(&id);
                    if kept {
                        confirm(reservation);
                        model.confirmed.push((id, came_s));
                    }
                }
                Step::Settle { .. } => {}
                Step::Wait(seconds) => now_s += seconds,
                Step::Tend => deduplication.tend(now_s * 1_000),
                Step::Restart => {
                    begun.clear();
                    model.pending.clear();
                    drop(deduplication);
                    deduplication = open(folder.path(), limits, now_s * 1_000);
                }
            }
        }
    }
}
