//! The log on disk against a model: any sequence of hits, reads, endings, stops and crashes.
//!
//! A crash of the machine leaves of a commit that was under way any part of its bytes, some of them wrong, and of the
//! cursors what was synced last. Whatever it leaves: acknowledged events are there, in order, and the ledger closes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, fs};

use proptest::{prelude::*, sample::Index};

use super::{
    super::{Accepted, Chunk, Ending, Verdict, codec, testing},
    *,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

type Verdicts = [Verdict; 3];

/// The events of a hit, each with its verdicts.
type Hit = Vec<Verdicts>;

#[derive(Clone, Debug)]
enum Step {
    /// Hits that wait for the same commit, more or less.
    Append(Vec<Hit>),
    Read {
        who: usize,
        max_events: usize,
    },
    /// Ends those of the events given out whose bit is set.
    Settle {
        who: usize,
        which: u64,
    },
    /// All destinations but this one read and end all there is.
    CatchUp {
        but: usize,
    },
    NewReader {
        who: usize,
    },
    /// The housekeeper's work, which it does at any time.
    Delete,
    Sync,
    Stop,
    Crash(Crash),
}

/// What a crash does to a commit of these hits, which nobody was answered for.
#[derive(Clone, Debug)]
struct Crash {
    hits: Vec<Hit>,
    /// Where the file ends.
    cut: Index,
    /// Bytes that are wrong.
    wrong: Vec<Index>,
    /// Whether the cursors come back as they were synced last.
    old_cursors: bool,
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![3 => Just(Verdict::Meant), 2 => Just(Verdict::Filtered), 1 => Just(Verdict::ConsentDenied)]
}

fn hits() -> impl Strategy<Value = Vec<Hit>> {
    let hit = prop::collection::vec([verdict(), verdict(), verdict()], 1..4);
    prop::collection::vec(hit, 1..6)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = (
        hits(),
        any::<Index>(),
        prop::collection::vec(any::<Index>(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(hits, cut, wrong, old_cursors)| {
            Step::Crash(Crash {
                hits,
                cut,
                wrong,
                old_cursors,
            })
        });
    let step = prop_oneof![
        6 => hits().prop_map(Step::Append),
        5 => (0..3usize, 1..12usize).prop_map(|(who, max_events)| Step::Read { who, max_events }),
        5 => (0..3usize, any::<u64>()).prop_map(|(who, which)| Step::Settle { who, which }),
        2 => (0..6usize).prop_map(|but| Step::CatchUp { but }),
        1 => (0..3usize).prop_map(|who| Step::NewReader { who }),
        2 => Just(Step::Delete),
        1 => Just(Step::Sync),
        1 => Just(Step::Stop),
        2 => crash,
    ];
    prop::collection::vec(step, 1..40)
}

/// An event that takes a position.
#[derive(Clone, Debug)]
struct Event {
    verdicts: Verdicts,
    /// False for one that a crash took before anybody was answered.
    there: bool,
}

/// What must be true of a destination.
#[derive(Clone, Debug, Default)]
struct Expected {
    settled: BTreeSet<u64>,
    /// The same, in the order in which they were.
    settled_in_order: Vec<u64>,
    /// Given out to the living reader and not settled.
    given: Vec<u64>,
    /// Where the living reader stands.
    next: u64,
}

struct World {
    folder: tempfile::TempDir,
    log: Option<DiskLog>,
    readers: Vec<Option<Box<dyn Reader>>>,
    events: Vec<Event>,
    accepted: u64,
    expected: [Expected; 3],
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            log: None,
            readers: Vec::new(),
            events: Vec::new(),
            accepted: 0,
            expected: Default::default(),
        };
        world.open();
        world
    }

    fn log(&self) -> &DiskLog {
        self.log.as_ref().unwrap()
    }

    fn open(&mut self) {
        let options = OpenOptions {
            dir: self.folder.path().to_owned(),
            max_bytes: 8 << 10,
            when_full: WhenFull::ExpireLaggard,
        };
        self.log = Some(DiskLog::open(&options).unwrap().0);
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(self.log().register(name).unwrap(), id(number));
        }
        self.readers = (0..3).map(|_| None).collect();
        (0..3).for_each(|who| self.new_reader(who));
    }

    fn close(&mut self) {
        self.readers.clear();
        self.log = None;
    }

    fn new_reader(&mut self, who: usize) {
        self.readers[who] = Some(self.log().reader(id(who)).unwrap());
        self.expected[who].given.clear();
        self.expected[who].next = 0;
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
            .collect();
        segments.sort();
        segments
    }

    /// Ends the log's threads, so that nothing changes any more.
    fn stop_threads(&self) {
        let log = self.log();
        log.shared.closing.store(true, Ordering::Release);
        log.shared.committer.wake();
        log.shared.housekeeper.wake();
        lock(&log.threads).drain(..).for_each(|thread| thread.join().unwrap());
    }

    /// The cursors' files as they come back when nothing survives that was not synced.
    fn synced_cursors(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let destinations = self.log().shared.all_destinations();
        let files = destinations.iter().map(|destination| {
            let kept = lock(&destination.kept);
            (kept.file.path().to_owned(), kept.file.synced_content())
        });
        files.collect()
    }

    fn append(&mut self, hits: &[Hit]) {
        let mut appender = self.log().appender();
        let mut commits = Vec::new();
        for hit in hits {
            let mut staged = Vec::new();
            for verdicts in hit {
                let position = self.events.len();
                staged.push((testing::record(&position.to_string(), position as i64), named(verdicts)));
                if verdicts.contains(&Verdict::Meant) {
                    self.events.push(Event {
                        verdicts: *verdicts,
                        there: true,
                    });
                }
                self.accepted += 1;
            }
            let accepted: Vec<_> = staged
                .iter()
                .map(|(record, verdicts)| Accepted { record, verdicts })
                .collect();
            commits.push(appender.append(&accepted).unwrap());
        }
        for commit in commits {
            testing::wait(commit).unwrap();
        }
    }

    fn read(&mut self, who: usize, max_events: usize) -> Chunk {
        let chunk = self.readers[who].as_mut().unwrap().read(max_events, 1 << 20).unwrap();
        let due: Vec<u64> = self.due(who).take(max_events).collect();
        let found: Vec<u64> = chunk.events.iter().map(|stored| stored.position.0).collect();
        assert_eq!(found, due, "destination {who} reads what is due, in order");
        for stored in &chunk.events {
            let record = codec::decode(&stored.payload).unwrap();
            assert_eq!(record.event.text("event_id").unwrap(), stored.position.0.to_string());
        }
        let expected = &mut self.expected[who];
        expected.next = found.last().map_or(expected.next, |last| last + 1);
        expected.given.extend(found);
        chunk
    }

    /// The positions that the living reader is to be given next.
    fn due(&self, who: usize) -> impl Iterator<Item = u64> {
        let expected = &self.expected[who];
        self.unsettled(who).filter(|position| *position >= expected.next)
    }

    fn unsettled(&self, who: usize) -> impl Iterator<Item = u64> {
        let wanted = self.events.iter().enumerate();
        let meant = wanted.filter(move |(_, event)| event.there && event.verdicts[who] == Verdict::Meant);
        let positions = meant.map(|(position, _)| position as u64);
        positions.filter(move |position| !self.expected[who].settled.contains(position))
    }

    fn settle(&mut self, who: usize, which: u64) {
        let expected = &mut self.expected[who];
        let given = std::mem::take(&mut expected.given).into_iter().enumerate();
        let (ended, left): (Vec<_>, Vec<_>) = given.partition(|(index, _)| which >> (index % 64) & 1 == 1);
        expected.given = left.into_iter().map(|(_, position)| position).collect();
        let endings: Vec<_> = ended
            .iter()
            .map(|(index, position)| (Position(*position), ENDINGS[index % ENDINGS.len()]))
            .collect();
        expected.settled.extend(ended.iter().map(|(_, position)| position));
        expected
            .settled_in_order
            .extend(ended.iter().map(|(_, position)| position));
        self.readers[who].as_mut().unwrap().settle(&endings).unwrap();
    }

    fn catch_up(&mut self, who: usize) {
        while !self.read(who, 5).events.is_empty() {}
        self.settle(who, u64::MAX);
    }

    fn check(&self) {
        for who in 0..3 {
            let ledger = testing::ledger(self.log(), id(who));
            assert_eq!(ledger.imbalance(), 0, "{ledger:?}");
            assert_eq!(ledger.accepted, self.accepted);
            assert_eq!(ledger.in_flight, self.unsettled(who).count() as u64);
            assert_eq!(
                ledger.oldest_in_flight_ms,
                self.unsettled(who).next().map(|position| position as i64)
            );
        }
        assert_eq!(*self.log().head().borrow(), Position(self.events.len() as u64));
    }

    /// The machine goes down while `crash.hits` are committed, and comes back.
    fn crash(&mut self, crash: &Crash) {
        let acknowledged = self.events.len();
        let accepted = self.accepted;
        let before = self.segments();
        let last = before.last().unwrap().clone();
        let length = fs::metadata(&last).unwrap().len();
        self.append(&crash.hits);
        self.stop_threads();
        let synced = if crash.old_cursors {
            self.synced_cursors()
        } else {
            Vec::new()
        };
        self.close();

        let torn = self.segments().pop().unwrap();
        let mut bytes = fs::read(&torn).unwrap();
        // A new segment may be torn from its first byte on, but not once another was deleted for its sake: that is
        // done when it is safe.
        let from = match segment::Header::decode(&bytes) {
            _ if torn == last => length as usize,
            Ok((_, start)) if !last.exists() => start as usize,
            _ => 0,
        };
        let end = from + crash.cut.index(bytes.len() - from + 1);
        for wrong in &crash.wrong {
            let at = from + wrong.index(bytes.len() - from);
            bytes[at] ^= 0x41;
        }
        fs::write(&torn, &bytes[..end]).unwrap();
        for (path, content) in synced {
            fs::write(path, content).unwrap();
        }

        self.open();
        self.find_what_ended();
        self.find_survivors(acknowledged, accepted);
    }

    /// Of what ended before the crash, the latest may be forgotten; the ledger says how much.
    fn find_what_ended(&mut self) {
        for who in 0..3 {
            let ledger = testing::ledger(self.log(), id(who));
            let ended = ledger.delivered + ledger.dead_lettered + ledger.expired + ledger.erased;
            let expected = &mut self.expected[who];
            expected.settled_in_order.truncate(ended as usize);
            expected.settled = expected.settled_in_order.iter().copied().collect();
            assert_eq!(expected.settled.len() as u64, ended);
        }
    }

    /// Of the hits that nobody was answered for, any may be there; each whole or not at all is not checked here.
    fn find_survivors(&mut self, acknowledged: usize, accepted: u64) {
        let head = self.log().head().borrow().0 as usize;
        assert!((acknowledged..=self.events.len()).contains(&head));
        self.events.truncate(head);
        let mut seen = BTreeSet::new();
        for who in 0..3 {
            let found = testing::read_all(&mut **self.readers[who].as_mut().unwrap());
            seen.extend(found.iter().map(|(position, _)| position.0 as usize));
            self.new_reader(who);
        }
        for position in acknowledged..head {
            self.events[position].there = seen.contains(&position);
        }
        let all = self.accepted;
        self.accepted = testing::ledger(self.log(), id(0)).accepted;
        assert!((accepted..=all).contains(&self.accepted));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(hits) => self.append(hits),
            Step::Read { who, max_events } => drop(self.read(*who, *max_events)),
            Step::Settle { who, which } => self.settle(*who, *which),
            Step::CatchUp { but } => (0..3).filter(|who| who != but).for_each(|who| self.catch_up(who)),
            Step::NewReader { who } => self.new_reader(*who),
            Step::Delete => housekeeper::delete_passed_segments(&self.log().shared),
            Step::Sync => assert!(housekeeper::sync_cursors(&self.log().shared)),
            Step::Stop => {
                self.close();
                self.open();
            }
            Step::Crash(crash) => self.crash(crash),
        }
    }
}

const ENDINGS: [Ending; 4] = [Ending::Delivered, Ending::DeadLettered, Ending::Expired, Ending::Erased];

fn id(number: usize) -> DestinationId {
    DestinationId(number as u16)
}

fn named(verdicts: &Verdicts) -> Vec<(DestinationId, Verdict)> {
    (0..3).map(|who| (id(who), verdicts[who])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_events_reach_every_destination_through_any_crash(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.close();
        world.open();
        world.check();
        (0..3).for_each(|who| world.catch_up(who));
        world.check();
        housekeeper::delete_passed_segments(&world.log().shared);
        prop_assert_eq!(world.segments().len(), 1, "nothing is kept that nobody needs");
    }
}
