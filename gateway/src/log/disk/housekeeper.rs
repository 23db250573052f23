//! What the log does beside hits and readers, on a thread of its own so that neither waits for it: syncing cursors once
//! a second, and deleting segments that every destination has passed.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{LogError, lock},
    Destination, Shared, files,
    segment::Segment,
};

/// How long a cursor may be unsafe from a crash of the machine; of what ended since, some is delivered again.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Runs until the log is closed.
pub(super) fn run(shared: &Shared) {
    let mut synced = Instant::now();
    loop {
        shared.housekeeper.hush();
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        delete_passed_segments(shared);
        if synced.elapsed() >= SYNC_EVERY {
            sync_cursors(shared);
            synced = Instant::now();
        }
        thread::park_timeout(SYNC_EVERY.saturating_sub(synced.elapsed()));
    }
}

/// Saves the cursors that moved and makes them survive a crash of the machine. Says whether all of them do.
pub(super) fn sync_cursors(shared: &Shared) -> bool {
    let destinations = shared.all_destinations();
    let failures = destinations.iter().filter(|destination| {
        let result = sync_cursor(destination);
        if let Err(error) = &result {
            tracing::warn!(destination = destination.name, %error, "cannot save a cursor; trying again");
        }
        result.is_err()
    });
    failures.count() == 0
}

fn sync_cursor(destination: &Destination) -> Result<(), LogError> {
    let (syncing, path) = {
        let mut kept = lock(&destination.kept);
        if kept.dirty {
            kept.save()?;
        }
        (kept.file.begin_sync(), kept.file.path().to_owned())
    };
    let Some(syncing) = syncing else {
        return Ok(());
    };
    let result = syncing.sync();
    let mut kept = lock(&destination.kept);
    kept.file.end_sync(&syncing, result.is_ok());
    kept.dirty |= result.is_err();
    result.map_err(files::at(&path))
}

/// Deletes the segments that hold nothing that a destination still needs.
pub(super) fn delete_passed_segments(shared: &Shared) {
    let mut needed = lock(&shared.totals).head;
    for destination in shared.all_destinations() {
        let kept = lock(&destination.kept);
        let totals = lock(&shared.totals);
        let from = kept
            .cursor
            .needed_from(totals.tallies.get(destination.id).meant, totals.head);
        needed = needed.min(from);
    }
    let passed: Vec<Arc<Segment>> = {
        let segments = lock(&shared.segments);
        let behind = segments.iter().skip(1);
        let passed = segments
            .iter()
            .zip(behind)
            .take_while(|(_, next)| next.header.first <= needed);
        passed.map(|(segment, _)| Arc::clone(segment)).collect()
    };
    // A cursor that comes back from a crash must not miss what it needed then.
    if passed.is_empty() || !sync_cursors(shared) {
        return;
    }
    for segment in passed {
        shared.drop_segment(segment.header.sequence);
        files::remove(&segment.path);
    }
}
