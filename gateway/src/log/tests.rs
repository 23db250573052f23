//! What every log keeps to, whichever it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::{
    AppendError, Ending, Ledger, Log, Position, Verdict, WhenFull,
    disk::{DiskLog, OpenOptions},
    memory::MemoryLog,
    testing::{append, deliver, ids, ledger, read_all, stage, wait},
};

/// Runs a test on an empty log of each kind.
fn on_each_log(max_bytes: u64, when_full: WhenFull, test: impl Fn(&dyn Log)) {
    test(&MemoryLog::open(max_bytes, when_full));
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        dir: folder.path().to_owned(),
        max_bytes,
        when_full,
    };
    test(&DiskLog::open(&options).unwrap().0);
}

fn on_each(test: impl Fn(&dyn Log)) {
    on_each_log(1 << 20, WhenFull::ExpireLaggard, test);
}

#[test]
fn a_destination_reads_in_order_what_is_meant_for_it() {
    on_each(|log| {
        let (a, b) = (log.register("a").unwrap(), log.register("b").unwrap());
        append(log, "1", &[a]).unwrap();
        append(log, "2", &[a, b]).unwrap();
        append(log, "3", &[b]).unwrap();
        append(log, "4", &[a]).unwrap();
        let found = read_all(&mut *log.reader(a).unwrap());
        assert_eq!(
            found,
            [
                (Position(0), "1".to_owned()),
                (Position(1), "2".to_owned()),
                (Position(3), "4".to_owned())
            ]
        );
        assert_eq!(ids(&read_all(&mut *log.reader(b).unwrap())), ["2", "3"]);
        assert_eq!(*log.head().borrow(), Position(4));
    });
}

#[test]
fn a_name_keeps_its_number_and_a_later_destination_gets_no_older_events() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        append(log, "1", &[a]).unwrap();
        let late = log.register("late").unwrap();
        assert_eq!(log.register("a").unwrap(), a);
        assert_ne!(late, a);
        append(log, "2", &[a, late]).unwrap();
        assert_eq!(ids(&read_all(&mut *log.reader(late).unwrap())), ["2"]);
    });
}

#[test]
fn an_event_for_nobody_is_counted_and_takes_no_position() {
    on_each(|log| {
        let (a, b) = (log.register("a").unwrap(), log.register("b").unwrap());
        let verdicts = [(a, Verdict::Filtered), (b, Verdict::ConsentDenied)];
        wait(stage(&mut *log.appender(), "1", 0, &verdicts).unwrap()).unwrap();
        assert_eq!(*log.head().borrow(), Position(0));
        let counted = |filtered, consent_denied| Ledger {
            accepted: 1,
            filtered,
            consent_denied,
            ..Ledger::default()
        };
        assert_eq!(ledger(log, a), counted(1, 0));
        assert_eq!(ledger(log, b), counted(0, 1));
    });
}

#[test]
fn the_ledger_counts_each_ending_and_closes() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        for (id, accepted_ms) in [("1", 10), ("2", 20), ("3", 30), ("4", 40), ("5", 50), ("6", 60)] {
            wait(stage(&mut *log.appender(), id, accepted_ms, &[(a, Verdict::Meant)]).unwrap()).unwrap();
        }
        assert_eq!(ledger(log, a).oldest_in_flight_ms, Some(10), "not read yet");
        let mut reader = log.reader(a).unwrap();
        assert_eq!(reader.read(5, 1 << 20).unwrap().events.len(), 5);
        let settle = |position, ending| (Position(position), ending);
        reader
            .settle(&[settle(3, Ending::Erased), settle(1, Ending::DeadLettered)])
            .unwrap();
        assert_eq!(ledger(log, a).oldest_in_flight_ms, Some(10), "settled out of order");
        reader
            .settle(&[settle(0, Ending::Delivered), settle(2, Ending::Expired)])
            .unwrap();
        let now = ledger(log, a);
        let expected = Ledger {
            accepted: 6,
            delivered: 1,
            dead_lettered: 1,
            expired: 1,
            erased: 1,
            in_flight: 2,
            oldest_in_flight_ms: Some(50),
            ..Ledger::default()
        };
        assert_eq!((now, now.imbalance()), (expected, 0));
        reader.settle(&[settle(4, Ending::Delivered)]).unwrap();
        assert_eq!(ledger(log, a).oldest_in_flight_ms, Some(60), "given to nobody yet");
    });
}

#[test]
fn a_clock_set_back_changes_no_order() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        for (id, accepted_ms) in [("1", 5_000), ("2", 4_000), ("3", -7)] {
            wait(stage(&mut *log.appender(), id, accepted_ms, &[(a, Verdict::Meant)]).unwrap()).unwrap();
        }
        assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["1", "2", "3"]);
        assert_eq!(ledger(log, a).oldest_in_flight_ms, Some(5_000));
    });
}

#[test]
fn reading_keeps_to_its_bounds_even_within_a_hit() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        let records: Vec<_> = (0..10)
            .map(|number| super::testing::record(&number.to_string(), number))
            .collect();
        let verdicts = [(a, Verdict::Meant)];
        let hit: Vec<_> = records
            .iter()
            .map(|record| super::Accepted {
                record,
                verdicts: &verdicts,
            })
            .collect();
        wait(log.appender().append(&hit).unwrap()).unwrap();
        let mut reader = log.reader(a).unwrap();
        let first = reader.read(4, 1 << 20).unwrap();
        assert_eq!((first.events.len(), first.next), (4, Position(4)));
        assert_eq!(
            reader.read(100, 1).unwrap().events.len(),
            1,
            "one event however small the room"
        );
        assert_eq!(reader.read(100, 1 << 20).unwrap().events.len(), 5);
        assert_eq!(ledger(log, a).in_flight, 10);
    });
}

#[test]
fn a_new_reader_is_given_what_the_old_one_did_not_settle() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        for id in ["1", "2", "3", "4"] {
            append(log, id, &[a]).unwrap();
        }
        let mut old = log.reader(a).unwrap();
        let found = read_all(&mut *old);
        deliver(&mut *old, &found[1..3]);
        let mut new = log.reader(a).unwrap();
        assert_eq!(ids(&read_all(&mut *new)), ["1", "4"]);
        deliver(&mut *old, &found[..1]);
        assert!(read_all(&mut *old).is_empty());
        assert_eq!(ledger(log, a).in_flight, 2, "the old reader is not listened to");
        assert_eq!(ledger(log, a).imbalance(), 0);
    });
}

#[test]
fn a_forgotten_destination_holds_nothing_back_and_begins_anew() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        append(log, "1", &[a]).unwrap();
        let mut reader = log.reader(a).unwrap();
        let found = read_all(&mut *reader);
        log.forget(a).unwrap();
        deliver(&mut *reader, &found);
        assert!(read_all(&mut *reader).is_empty() && log.ledgers().is_empty());
        let again = log.register("a").unwrap();
        assert_ne!(again, a);
        append(log, "2", &[again]).unwrap();
        assert_eq!(ids(&read_all(&mut *log.reader(again).unwrap())), ["2"]);
        assert_eq!(ledger(log, again).accepted, 1);
    });
}

#[test]
fn refuse_answers_full_until_destinations_catch_up() {
    on_each_log(16 << 10, WhenFull::Refuse, |log| {
        let a = log.register("a").unwrap();
        let mut reader = log.reader(a).unwrap();
        for _round in 0..3 {
            let refused = (0..1_000).find_map(|_| append(log, "x", &[a]).err());
            assert!(
                matches!(refused, Some(AppendError::Full { max_bytes: 16_384, .. })),
                "{refused:?}"
            );
            let usage = log.usage();
            assert!(
                usage.bytes <= usage.max_bytes && usage.bytes > usage.max_bytes / 2,
                "{usage:?}"
            );
            let found = read_all(&mut *reader);
            deliver(&mut *reader, &found);
            wait_until(|| append(log, "y", &[a]).is_ok());
        }
        assert_eq!(ledger(log, a).imbalance(), 0);
    });
}

#[test]
fn expire_laggard_goes_on_and_says_what_must_go() {
    on_each_log(16 << 10, WhenFull::ExpireLaggard, |log| {
        let (quick, lags) = (log.register("quick").unwrap(), log.register("lags").unwrap());
        let (mut quick_reader, mut lagging) = (log.reader(quick).unwrap(), log.reader(lags).unwrap());
        assert_eq!(log.expire_before(), None);
        for number in 0..500 {
            append(log, &number.to_string(), &[quick, lags]).unwrap();
        }
        let found = read_all(&mut *quick_reader);
        deliver(&mut *quick_reader, &found);
        let over = log.usage().bytes;
        assert!(over > 16 << 10);

        let mut held = Vec::new();
        wait_until(|| {
            let Some(before) = log.expire_before() else {
                return true;
            };
            held.extend(
                lagging
                    .read(10, 1 << 20)
                    .unwrap()
                    .events
                    .into_iter()
                    .map(|stored| stored.position),
            );
            let (expired, kept): (Vec<_>, Vec<_>) = held.iter().partition(|position| **position < before);
            let endings: Vec<_> = expired
                .into_iter()
                .map(|position| (position, Ending::Expired))
                .collect();
            lagging.settle(&endings).unwrap();
            held = kept;
            false
        });
        assert!(log.usage().bytes <= 16 << 10);
        let ledger = ledger(log, lags);
        assert!(ledger.expired > 0 && ledger.in_flight > 0);
        assert_eq!(ledger.imbalance(), 0);
    });
}

#[test]
fn a_closed_log_refuses_hits() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        let mut appender = log.appender();
        let commit = stage(&mut *appender, "1", 0, &[(a, Verdict::Meant)]).unwrap();
        log.close();
        assert_eq!(wait(commit), Ok(()), "what was staged is committed");
        assert_eq!(stage(&mut *appender, "2", 0, &[]).err(), Some(AppendError::Closed));
        assert_eq!(append(log, "3", &[a]), Err(AppendError::Closed));
    });
}

#[test]
fn the_head_tells_of_new_events() {
    on_each(|log| {
        let a = log.register("a").unwrap();
        let mut head = log.head();
        head.mark_unchanged();
        append(log, "1", &[a]).unwrap();
        assert!(head.has_changed().unwrap());
        assert_eq!(*head.borrow_and_update(), Position(1));
    });
}

/// Waits for what another thread does; gives up after ten seconds.
fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("waited for ten seconds");
}
