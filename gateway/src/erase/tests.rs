//! A request to erase, with log and dead letters on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

use serde_json::json;

use super::*;
use crate::{
    delivery::dead_letters::{DeadLetters, Letter, Reason},
    log::{
        Accepted, Ending, Verdict, WhenFull, codec,
        disk::{DiskLog, OpenOptions},
    },
    testing,
};

const NOW_MS: i64 = 1_767_225_600_000;

fn jane() -> Visitor {
    Visitor::ClientId("jane".to_owned())
}

fn open_log(folder: &Path) -> DiskLog {
    let options = OpenOptions {
        dir: folder.to_owned(),
        max_bytes: 1 << 20,
        when_full: WhenFull::Refuse,
    };
    DiskLog::open(&options).unwrap().0
}

fn letter(client_id: &str, accepted_ms: i64) -> Letter {
    let record = testing::record(json!({"client_id": client_id, "timestamp_ms": accepted_ms}));
    let mut payload = Vec::new();
    codec::encode(&record, &mut payload);
    Letter {
        time_ms: accepted_ms,
        reason: Reason::Refused,
        message: "400: no".to_owned(),
        code: "400".to_owned(),
        attempts: 1,
        payload,
    }
}

/// The visitors of a shelf.
fn shelved(letters: &DeadLetters, destination: &str) -> Vec<String> {
    let found = letters.show(destination, 0, 100).unwrap().into_iter();
    found
        .map(|dead| {
            let record = codec::decode(&dead.letter.payload).unwrap();
            record.event.text("client_id").unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn the_answer_says_what_was_removed_what_waits_and_who_received_something() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_log(folder.path());
    let (meta, orders) = (log.register("meta").unwrap(), log.register("orders").unwrap());
    let record = testing::record(json!({"client_id": "jane", "timestamp_ms": NOW_MS}));
    let verdicts = [(meta, Verdict::Meant), (orders, Verdict::Meant)];
    let events = [Accepted {
        record: &record,
        verdicts: &verdicts,
    }];
    log.appender().append(&events).unwrap().await.unwrap();
    let mut reader = log.reader(meta).unwrap();
    let read = reader.read(10, 1 << 20).unwrap();
    reader.settle(&[(read.events[0].position, Ending::Delivered)]).unwrap();
    let letters = Arc::new(DeadLetters::open(&folder.path().join("dead-letters"), 1 << 20).unwrap());
    letters
        .append("orders", &[letter("jane", NOW_MS - 1), letter("john", NOW_MS)])
        .unwrap();
    let erasures = Erasures::open(folder.path()).unwrap();

    let erased = erase(&jane(), &erasures, &log, &[Arc::clone(&letters) as _], NOW_MS).unwrap();
    assert_eq!(
        erased,
        Erased {
            removed: BTreeMap::from([("dead letters".to_owned(), 1)]),
            waiting: BTreeMap::from([("orders".to_owned(), 1)]),
            received: vec!["meta".to_owned()],
        }
    );
    assert_eq!(shelved(&letters, "orders"), ["john"]);
}

#[test]
fn letters_go_from_every_shelf_and_stay_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead-letters");
    let erasures = Erasures::default();
    let letters = DeadLetters::open(&path, 1 << 20).unwrap();
    let of = |names: &[&str]| names.iter().map(|name| letter(name, NOW_MS)).collect::<Vec<_>>();
    letters
        .append("orders", &of(&["jane", "john", "jane", "mary"]))
        .unwrap();
    letters.append("meta", &of(&["jane"])).unwrap();
    erasures.add(&jane(), NOW_MS).unwrap();
    assert_eq!(letters.remove_erased(&erasures).unwrap(), 3);
    assert_eq!(letters.remove_erased(&erasures).unwrap(), 0);
    // Whatever comes later goes on behind them.
    letters.append("orders", &of(&["anna"])).unwrap();
    letters.append("meta", &of(&["anna"])).unwrap();
    drop(letters);
    let again = DeadLetters::open(&path, 1 << 20).unwrap();
    assert_eq!(shelved(&again, "orders"), ["john", "mary", "anna"]);
    assert_eq!(shelved(&again, "meta"), ["anna"]);
    let bytes = again.list().iter().map(|shelf| shelf.bytes).sum::<u64>();
    assert!(bytes > 0 && again.count("orders") == 3);
    for entry in walk(&path) {
        let content = std::fs::read(&entry).unwrap();
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("jane"), "{}", entry.display());
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}
