//! What only the log on disk must keep to: crashes, damage, failing devices, and folders that cannot be used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::VecDeque, fs, fs::File, io, path::Path};

use proptest::prelude::*;

use super::{
    super::{
        AppendError, Verdict,
        testing::{append, deliver, ids, ledger, read_all, stage, wait},
    },
    *,
};

fn options(dir: &Path, max_bytes: u64) -> OpenOptions {
    OpenOptions {
        dir: dir.to_owned(),
        max_bytes,
        when_full: WhenFull::ExpireLaggard,
    }
}

/// Opens a log of small segments: 2 KiB.
fn open(dir: &Path) -> (DiskLog, Recovery) {
    DiskLog::open(&options(dir, 16 << 10)).unwrap()
}

/// The segments' files, oldest first.
fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn cut_to(path: &Path, length: usize) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length as u64).unwrap();
}

fn length(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

#[test]
fn a_stopped_log_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let (log, recovery) = open(folder.path());
    assert_eq!(recovery, Recovery::default());
    let (a, b) = (log.register("a").unwrap(), log.register("b").unwrap());
    for number in 0..100 {
        append(&log, &number.to_string(), &[a, b]).unwrap();
    }
    let mut reader = log.reader(a).unwrap();
    let found = read_all(&mut *reader);
    deliver(&mut *reader, &found[..40]);
    deliver(&mut *reader, &found[50..60]);
    drop((reader, log));

    let (log, recovery) = open(folder.path());
    assert!(recovery.segments > 3 && recovery.events == 100, "{recovery:?}");
    assert_eq!((log.register("b").unwrap(), log.register("a").unwrap()), (b, a));
    let left = read_all(&mut *log.reader(a).unwrap());
    assert_eq!(left, [&found[40..50], &found[60..]].concat());
    let now = ledger(&log, a);
    assert_eq!(
        (now.accepted, now.delivered, now.in_flight, now.imbalance()),
        (100, 50, 50, 0)
    );
    append(&log, "next", &[b]).unwrap();
    assert_eq!(*log.head().borrow(), Position(101));
}

#[test]
fn segments_are_deleted_once_every_destination_has_passed_them() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let (a, b) = (log.register("a").unwrap(), log.register("b").unwrap());
    log.register("nothing is meant for this one").unwrap();
    for number in 0..100 {
        append(&log, &number.to_string(), &[a, b]).unwrap();
    }
    let (mut reader_a, mut reader_b) = (log.reader(a).unwrap(), log.reader(b).unwrap());
    let (found_a, found_b) = (read_all(&mut *reader_a), read_all(&mut *reader_b));
    let all = segment_files(folder.path()).len();
    deliver(&mut *reader_a, &found_a);
    housekeeper::delete_passed_segments(&log.shared);
    assert_eq!(segment_files(folder.path()).len(), all);
    deliver(&mut *reader_b, &found_b[..50]);
    housekeeper::delete_passed_segments(&log.shared);
    let left = segment_files(folder.path()).len();
    assert!(left < all && left > 1, "{left} of {all}");
    deliver(&mut *reader_b, &found_b[50..]);
    housekeeper::delete_passed_segments(&log.shared);
    assert_eq!(segment_files(folder.path()).len(), 1);
    let size: usize = segment_files(folder.path()).iter().map(|path| length(path)).sum();
    assert_eq!(log.usage().bytes, size as u64);
    drop((reader_a, reader_b, log));
    let (log, _) = open(folder.path());
    assert_eq!((ledger(&log, a).imbalance(), ledger(&log, b).delivered), (0, 100));
}

#[test]
fn a_reader_survives_the_deletion_of_the_segment_that_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let (a, idle) = (log.register("a").unwrap(), log.register("idle").unwrap());
    let mut idle_reader = log.reader(idle).unwrap();
    append(&log, "0", &[a]).unwrap();
    assert!(read_all(&mut *idle_reader).is_empty());
    let mut reader = log.reader(a).unwrap();
    for number in 1..100 {
        append(&log, &number.to_string(), &[a]).unwrap();
    }
    let found = read_all(&mut *reader);
    deliver(&mut *reader, &found);
    housekeeper::delete_passed_segments(&log.shared);
    append(&log, "last", &[idle]).unwrap();
    assert_eq!(ids(&read_all(&mut *idle_reader)), ["last"]);
    assert_eq!(ledger(&log, idle).imbalance(), 0);
}

#[test]
fn one_folder_serves_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let error = DiskLog::open(&options(folder.path(), 1 << 20)).err().unwrap();
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()));
    drop(log);
    open(folder.path());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("data");
    let error = DiskLog::open(&options(&below_a_file, 1 << 20))
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with(&below_a_file.display().to_string()), "{error}");
}

#[test]
fn a_log_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = &segment_files(folder.path())[0];
    let (header, _) = segment::Header::decode(&fs::read(path).unwrap()).unwrap();
    let bytes = header.encode_as(77);
    fs::write(path, &bytes).unwrap();
    let error = DiskLog::open(&options(folder.path(), 1 << 20))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("log version 77"), "{error}");
    assert_eq!(fs::read(path).unwrap(), bytes);
}

#[test]
fn segments_without_their_registry_are_not_guessed_at() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::remove_file(folder.path().join("log/registry.json")).unwrap();
    let error = DiskLog::open(&options(folder.path(), 1 << 20))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("registry.json: missing beside segments"), "{error}");
}

#[test]
fn a_torn_hit_is_cut_off_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (log, _) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
    let a = log.register("a").unwrap();
    append(&log, "1", &[a]).unwrap();
    append(&log, "2", &[a]).unwrap();
    let path = segment_files(dir)[0].clone();
    let whole = length(&path);
    append(&log, "torn", &[a]).unwrap();
    drop(log);
    let longer = length(&path);
    for torn in (whole + 1..longer).rev() {
        cut_to(&path, torn);
        let (log, recovery) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
        assert_eq!((recovery.cut_bytes, recovery.damaged_bytes), ((torn - whole) as u64, 0));
        assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["1", "2"]);
        assert_eq!(ledger(&log, a).imbalance(), 0);
        drop(log);
        assert_eq!(length(&path), whole);
        let mut bytes = fs::read(&path).unwrap();
        bytes.resize(torn - 1, 0);
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn damage_takes_the_hit_that_it_is_in_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (log, _) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
    let a = log.register("a").unwrap();
    append(&log, "1", &[a]).unwrap();
    let path = segment_files(dir)[0].clone();
    let before = length(&path);
    append(&log, "2", &[a]).unwrap();
    let behind = length(&path);
    append(&log, "3", &[a]).unwrap();
    drop(log);
    let bytes = fs::read(&path).unwrap();
    let cursor = fs::read(dir.join("log/cursors/0")).unwrap();
    for at in before..behind {
        for file in segment_files(dir) {
            fs::remove_file(file).unwrap();
        }
        fs::write(&path, &bytes).unwrap();
        fs::write(dir.join("log/cursors/0"), &cursor).unwrap();
        flip(&path, at);
        let (log, recovery) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
        assert_eq!(recovery.damaged_bytes, (behind - before) as u64);
        append(&log, "4", &[a]).unwrap();
        let mut reader = log.reader(a).unwrap();
        let found = read_all(&mut *reader);
        assert_eq!(ids(&found), ["1", "3", "4"]);
        deliver(&mut *reader, &found);
        assert_eq!(ledger(&log, a).imbalance(), 0);
    }
}

#[test]
fn damage_behind_what_was_delivered_keeps_the_ledger_closed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (log, _) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
    let a = log.register("a").unwrap();
    let path = segment_files(dir)[0].clone();
    let first = length(&path);
    for id in ["1", "2", "3", "4"] {
        append(&log, id, &[a]).unwrap();
    }
    let mut reader = log.reader(a).unwrap();
    let found = read_all(&mut *reader);
    deliver(&mut *reader, &found[..3]);
    drop((reader, log));
    flip(&path, first + 30);
    for _ in 0..2 {
        let (log, _) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
        let now = ledger(&log, a);
        assert_eq!(
            (now.accepted, now.delivered, now.in_flight, now.imbalance()),
            (4, 3, 1, 0)
        );
        assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["4"]);
    }
    // All of it gone, delivered events too: no position is given out again.
    for file in segment_files(dir) {
        cut_to(&file, first);
    }
    let (log, _) = DiskLog::open(&options(dir, 1 << 20)).unwrap();
    append(&log, "5", &[a]).unwrap();
    assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["5"]);
}

#[test]
fn what_a_deleted_segment_held_shows_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let a = log.register("a").unwrap();
    for number in 0..100 {
        append(&log, &number.to_string(), &[a]).unwrap();
    }
    drop(log);
    fs::remove_file(&segment_files(folder.path())[1]).unwrap();
    let (log, _) = open(folder.path());
    let found = read_all(&mut *log.reader(a).unwrap());
    let now = ledger(&log, a);
    assert_eq!(now.in_flight, found.len() as u64);
    assert_eq!(now.imbalance(), 100 - found.len() as i64);
    assert!(now.imbalance() > 0);
}

#[test]
fn a_segment_without_a_header_is_set_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let a = log.register("a").unwrap();
    for number in 0..100 {
        append(&log, &number.to_string(), &[a]).unwrap();
    }
    drop(log);
    let last = segment_files(folder.path()).pop().unwrap();
    flip(&last, 20);
    let (log, recovery) = open(folder.path());
    assert_eq!(
        recovery.set_aside,
        [last.with_extension("damaged").display().to_string()]
    );
    assert!(last.with_extension("damaged").exists());
    assert!(!read_all(&mut *log.reader(a).unwrap()).is_empty());
    append(&log, "more", &[a]).unwrap();
    assert_eq!(ledger(&log, a).imbalance(), 0);
}

#[test]
fn a_lost_cursor_means_that_all_is_delivered_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let a = log.register("a").unwrap();
    append(&log, "1", &[a]).unwrap();
    let mut reader = log.reader(a).unwrap();
    let found = read_all(&mut *reader);
    deliver(&mut *reader, &found);
    drop((reader, log));
    fs::remove_file(folder.path().join("log/cursors/0")).unwrap();
    let (log, recovery) = open(folder.path());
    assert_eq!(recovery.reset_cursors, ["a"]);
    assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["1"]);
    assert_eq!(ledger(&log, a).imbalance(), 0);
}

#[test]
fn hits_of_many_workers_share_commits_and_get_dense_positions() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = DiskLog::open(&options(folder.path(), 1 << 20)).unwrap();
    let a = log.register("a").unwrap();
    thread::scope(|scope| {
        for worker in 0..4 {
            let log = &log;
            scope.spawn(move || {
                let mut appender = log.appender();
                for number in 0..100 {
                    let id = format!("{worker}-{number}");
                    wait(stage(&mut *appender, &id, 0, &[(a, Verdict::Meant)]).unwrap()).unwrap();
                }
            });
        }
    });
    let found = read_all(&mut *log.reader(a).unwrap());
    assert!(found.iter().map(|(position, _)| position.0).eq(0..400));
    for worker in 0..4 {
        let of_worker = found.iter().filter(|(_, id)| id.starts_with(&format!("{worker}-")));
        assert!(
            of_worker
                .map(|(_, id)| id.clone())
                .eq((0..100).map(|number| format!("{worker}-{number}")))
        );
    }
}

/// Fails as it is told, step by step, and works when there is nothing more to fail.
#[derive(Default)]
struct FailingDevice(Mutex<VecDeque<Fault>>);

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// Takes so many bytes, then has no room.
    Full(usize),
    SyncFails,
}

impl FailingDevice {
    fn next(&self) -> Fault {
        lock(&self.0).pop_front().unwrap_or(Fault::None)
    }
}

impl Device for FailingDevice {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Fault::Full(room) = self.next() {
            RealDevice.write_at(file, &bytes[..room.min(bytes.len())], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDevice.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        match self.next() {
            Fault::SyncFails => Err(io::Error::from_raw_os_error(5)),
            _ => RealDevice.sync(file),
        }
    }
}

#[test]
fn a_full_device_refuses_hits_and_takes_them_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let device = Arc::new(FailingDevice::default());
    let (log, _) = DiskLog::open_on(&options(folder.path(), 1 << 20), Arc::clone(&device) as _).unwrap();
    let a = log.register("a").unwrap();
    append(&log, "1", &[a]).unwrap();
    let size = log.usage().bytes;
    lock(&device.0).extend([Fault::Full(7), Fault::Full(0)]);
    for id in ["2", "3"] {
        let error = append(&log, id, &[a]).unwrap_err();
        assert!(
            matches!(&error, AppendError::Device(reason) if reason.contains("no storage space")),
            "{error}"
        );
    }
    assert_eq!(
        length(&segment_files(folder.path())[0]) as u64,
        size,
        "what was half written is cut off"
    );
    append(&log, "4", &[a]).unwrap();
    assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["1", "4"]);
    assert_eq!((ledger(&log, a).accepted, ledger(&log, a).imbalance()), (2, 0));
}

#[test]
fn after_a_failed_sync_the_segment_is_not_written_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let device = Arc::new(FailingDevice::default());
    let (log, _) = DiskLog::open_on(&options(folder.path(), 1 << 20), Arc::clone(&device) as _).unwrap();
    let a = log.register("a").unwrap();
    append(&log, "1", &[a]).unwrap();
    lock(&device.0).extend([Fault::None, Fault::SyncFails]);
    assert!(matches!(append(&log, "2", &[a]), Err(AppendError::Device(_))));
    append(&log, "3", &[a]).unwrap();
    assert_eq!(segment_files(folder.path()).len(), 2);
    let mut reader = log.reader(a).unwrap();
    assert_eq!(ids(&read_all(&mut *reader)), ["1", "3"]);
    drop((reader, log));
    let (log, _) = open(folder.path());
    assert_eq!(ids(&read_all(&mut *log.reader(a).unwrap())), ["1", "3"]);
    assert_eq!(ledger(&log, a).imbalance(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_device_refuses_acknowledged_events_are_kept_and_others_are_not(
        faults in prop::collection::vec(
            prop_oneof![3 => Just(Fault::None), 1 => (0usize..200).prop_map(Fault::Full), 1 => Just(Fault::SyncFails)],
            0..60,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let device = Arc::new(FailingDevice::default());
        let (log, _) = DiskLog::open_on(&options(folder.path(), 16 << 10), Arc::clone(&device) as _).unwrap();
        let a = log.register("a").unwrap();
        let mut reader = log.reader(a).unwrap();
        let (mut acknowledged, mut read) = (Vec::new(), Vec::new());
        lock(&device.0).extend(faults);
        for number in 0..60 {
            let id = number.to_string();
            if append(&log, &id, &[a]).is_ok() {
                acknowledged.push(id);
            }
            if number % 7 == 0 {
                read.extend(read_all(&mut *reader));
            }
        }
        read.extend(read_all(&mut *reader));
        prop_assert_eq!(ids(&read), acknowledged.clone());
        prop_assert!(read.iter().map(|(position, _)| position.0).eq(0..acknowledged.len() as u64));
        prop_assert_eq!(ledger(&log, a).imbalance(), 0);
        drop((reader, log));
        let (log, _) = open(folder.path());
        let again = read_all(&mut *log.reader(a).unwrap());
        prop_assert_eq!(ids(&again), acknowledged);
        prop_assert_eq!(ledger(&log, a).imbalance(), 0);
    }
}
