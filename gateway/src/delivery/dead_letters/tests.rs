#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use proptest::prelude::*;

use super::*;

fn letter(text: &str) -> Letter {
    Letter {
        time_ms: 1_767_225_600_000,
        reason: Reason::Refused,
        message: "400: unknown field".to_owned(),
        code: "400".to_owned(),
        attempts: 1,
        payload: text.as_bytes().to_vec(),
    }
}

fn letters(count: usize) -> Vec<Letter> {
    (0..count).map(|number| letter(&format!("event {number}"))).collect()
}

fn payloads(store: &DeadLetters, destination: &str) -> Vec<String> {
    let shown = store.show(destination, 0, usize::MAX).unwrap();
    shown
        .into_iter()
        .map(|dead| String::from_utf8(dead.letter.payload).unwrap())
        .collect()
}

/// The one letter file of a destination.
fn only_file(folder: &Path, destination: &str) -> PathBuf {
    let mut files = fs::read_dir(folder.join(destination))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

fn in_order(kept: &[String]) -> bool {
    kept.iter()
        .enumerate()
        .all(|(number, text)| *text == format!("event {number}"))
}

fn stores() -> Vec<(DeadLetters, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    vec![
        (DeadLetters::in_memory(1_000_000), None),
        (DeadLetters::open(folder.path(), 1_000_000).unwrap(), Some(folder)),
    ]
}

#[test]
fn letters_are_shown_as_they_were_kept() {
    for (store, _folder) in stores() {
        assert_eq!(store.append("orders", &letters(3)).unwrap(), 3);
        assert_eq!(store.append("meta", &letters(1)).unwrap(), 1);
        let shown = store.show("orders", 1, 1).unwrap();
        assert_eq!(
            shown,
            [DeadLetter {
                id: 1,
                letter: letter("event 1")
            }]
        );
        let counts: Vec<_> = store
            .list()
            .into_iter()
            .map(|shelved| (shelved.destination, shelved.letters))
            .collect();
        assert_eq!(counts, [("meta".to_owned(), 1), ("orders".to_owned(), 3)]);
        assert_eq!(store.count("orders"), 3);
        assert_eq!(store.count("nobody"), 0);
    }
}

#[test]
fn letters_survive_a_restart_and_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
        store.append("orders", &letters(2)).unwrap();
    }
    let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
    store.append("orders", &[letter("event 2")]).unwrap();
    assert_eq!(payloads(&store, "orders"), ["event 0", "event 1", "event 2"]);
    let ids: Vec<u64> = store.show("orders", 0, 9).unwrap().iter().map(|dead| dead.id).collect();
    assert_eq!(ids, [0, 1, 2]);
}

#[test]
fn what_finds_no_room_is_not_kept() {
    for (store, _folder) in stores() {
        let large = Letter {
            payload: vec![b'x'; 400_000],
            ..letter("")
        };
        assert_eq!(
            store
                .append("orders", &[large.clone(), large.clone(), large.clone()])
                .unwrap(),
            2
        );
        assert_eq!(
            store.append("meta", std::slice::from_ref(&large)).unwrap(),
            0,
            "the bound is over all shelves"
        );
        store.purge("orders").unwrap();
        assert_eq!(store.append("meta", &[large]).unwrap(), 1);
    }
}

#[test]
fn replay_removes_what_the_sink_took() {
    for (store, _folder) in stores() {
        store.append("orders", &letters(1000)).unwrap();
        let mut seen = Vec::new();
        let taken: Result<u64, DeadLetterError> = store.replay("orders", |chunk| {
            if seen.len() >= 512 {
                return Err(DeadLetterError::Name("the sink is full".into()));
            }
            seen.extend(chunk.iter().map(|dead| dead.id));
            // What arrives meanwhile is for the next replay.
            store.append("orders", &[letter("late")])?;
            Ok(())
        });
        assert!(taken.is_err());
        assert_eq!(seen, (0..512).collect::<Vec<u64>>());
        assert_eq!(store.count("orders"), 1000 - 512 + 2);

        let mut rest = 0;
        let taken = store
            .replay("orders", |chunk| {
                rest += chunk.len() as u64;
                Ok::<_, DeadLetterError>(())
            })
            .unwrap();
        assert_eq!((taken, rest, store.count("orders")), (490, 490, 0));
        assert_eq!(store.list(), []);
    }
}

#[test]
fn what_was_removed_stays_removed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
        store.append("orders", &letters(300)).unwrap();
        let mut first = true;
        let enough = store.replay("orders", |_| {
            let room = std::mem::take(&mut first);
            room.then_some(()).ok_or_else(|| DeadLetterError::Name("enough".into()))
        });
        assert!(enough.is_err());
    }
    let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
    assert_eq!(payloads(&store, "orders").first().unwrap(), "event 256");
    assert_eq!(store.purge("orders").unwrap(), 44);
    assert_eq!(store.append("orders", &[letter("after")]).unwrap(), 1);
    assert_eq!(payloads(&store, "orders"), ["after"]);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = DeadLetters::open(folder.path(), 1_000_000).unwrap();
    let second = DeadLetters::open(folder.path(), 1_000_000).err().unwrap();
    assert!(matches!(second, DeadLetterError::InUse { .. }), "{second}");
}

#[test]
fn a_name_that_is_no_name_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
    for name in ["..", "../x", "a/b", "", "A", "-a"] {
        assert!(store.append(name, &letters(1)).is_err(), "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A crash leaves any prefix of what was being written: whole letters stay, the torn one goes, new ones follow.
    #[test]
    fn any_torn_end_costs_only_the_torn_letter(count in 1_usize..20, cut in 0.0..1.0_f64) {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
            store.append("orders", &letters(count)).unwrap();
        }
        let file = only_file(folder.path(), "orders");
        let length = fs::metadata(&file).unwrap().len();
        let left = (length as f64 * cut) as u64;
        File::options().write(true).open(&file).unwrap().set_len(left).unwrap();

        let whole = count * usize::try_from(left).unwrap() / usize::try_from(length).unwrap();
        let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
        let kept = payloads(&store, "orders");
        // Letters differ by a digit in length, hence the tolerance of one.
        prop_assert!(kept.len() >= whole.saturating_sub(1) && kept.len() <= whole + 1);
        prop_assert!(in_order(&kept));
        store.append("orders", &[letter("new")]).unwrap();
        drop(store);
        let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
        prop_assert_eq!(payloads(&store, "orders").len(), kept.len() + 1);
    }

    /// Damaged bytes are left out, and never read as something else.
    #[test]
    fn damage_is_noticed(at in 0.0..1.0_f64, flip in 1_u8..) {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
            store.append("orders", &letters(10)).unwrap();
        }
        let file = only_file(folder.path(), "orders");
        let mut content = fs::read(&file).unwrap();
        let at = ((content.len() - 1) as f64 * at) as usize;
        content[at] ^= flip;
        fs::write(&file, content).unwrap();
        let store = DeadLetters::open(folder.path(), 1_000_000).unwrap();
        let kept = payloads(&store, "orders");
        prop_assert!(kept.len() < 10);
        prop_assert!(in_order(&kept));
    }
}
