//! What the tests of both logs share: hits, and a destination's end of the log, in few words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::{
    Accepted, AppendError, Appender, Commit, DestinationId, Ending, Ledger, Log, Position, Reader, Verdict, codec,
};
use crate::{event::Event, record::Record};

/// An event of this id, accepted then.
pub(super) fn record(id: &str, accepted_ms: i64) -> Record<'static> {
    let mut event = Event::new();
    event.set("event_name", "purchase");
    event.set("event_id", id.to_owned());
    Record {
        accepted_ms,
        event,
        ..Record::default()
    }
}

/// Waits for a commit, without a runtime of its own: as a hit does that alone is served.
pub(super) fn wait(commit: Commit) -> Result<(), AppendError> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(commit)
}

/// Stages one hit of one event.
pub(super) fn stage(
    appender: &mut dyn Appender,
    id: &str,
    accepted_ms: i64,
    verdicts: &[(DestinationId, Verdict)],
) -> Result<Commit, AppendError> {
    let record = record(id, accepted_ms);
    appender.append(&[Accepted {
        record: &record,
        verdicts,
    }])
}

/// Appends an event that is meant for these destinations.
pub(super) fn append(log: &dyn Log, id: &str, meant: &[DestinationId]) -> Result<(), AppendError> {
    let verdicts: Vec<_> = meant.iter().map(|&destination| (destination, Verdict::Meant)).collect();
    wait(stage(&mut *log.appender(), id, 1_000, &verdicts)?)
}

/// Reads to the head: positions and event ids.
pub(super) fn read_all(reader: &mut dyn Reader) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    loop {
        let chunk = reader.read(3, 100_000).unwrap();
        if chunk.events.is_empty() {
            return found;
        }
        found.extend(chunk.events.iter().map(|stored| {
            let record = codec::decode(&stored.payload).unwrap();
            (stored.position, record.event.text("event_id").unwrap().to_owned())
        }));
    }
}

pub(super) fn ids(found: &[(Position, String)]) -> Vec<&str> {
    found.iter().map(|(_, id)| id.as_str()).collect()
}

pub(super) fn deliver(reader: &mut dyn Reader, found: &[(Position, String)]) {
    let endings: Vec<_> = found
        .iter()
        .map(|(position, _)| (*position, Ending::Delivered))
        .collect();
    reader.settle(&endings).unwrap();
}

pub(super) fn ledger(log: &dyn Log, destination: DestinationId) -> Ledger {
    let ledgers = log.ledgers();
    ledgers.into_iter().find(|(_, id, _)| *id == destination).unwrap().2
}
