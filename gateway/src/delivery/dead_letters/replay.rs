//! Replay: dead letters go back into the log, for their own destination alone.

use tokio::runtime::Handle;

use super::{DeadLetter, DeadLetterError, DeadLetters};
use crate::{
    log::{Accepted, AppendError, Log, Verdict, codec},
    record::Record,
};

/// Events that go into the log at once.
const AT_ONCE: usize = 64;

/// Why dead letters could not be replayed. Those that were taken before are gone from the shelf; all others are there.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The shelf cannot be read or changed.
    #[error("{0}")]
    Shelf(#[from] DeadLetterError),
    /// The log does not take them.
    #[error("the log does not take them: {0}")]
    Log(#[from] AppendError),
    /// The log knows no destination of this name.
    #[error("there is no destination {0}: apply it again, or purge its dead letters")]
    Unknown(String),
}

/// Puts the dead letters of a destination back into the log, as accepted now: their age counts from `now_ms`. What the
/// vendor refuses again becomes a dead letter again. Letters whose event cannot be read stay on the shelf.
///
/// Blocks; `runtime` is where the log's commits are waited for. Returns how many were put back.
///
/// # Errors
/// When the destination is unknown, or shelf or log refuse.
pub fn replay(
    letters: &DeadLetters,
    log: &dyn Log,
    destination: &str,
    now_ms: i64,
    runtime: &Handle,
) -> Result<u64, ReplayError> {
    let ledgers = log.ledgers();
    let known = ledgers.iter().find(|(name, _, _)| name == destination);
    let (_, id, _) = known.ok_or_else(|| ReplayError::Unknown(destination.to_owned()))?;
    let verdicts = [(*id, Verdict::Meant)];
    let mut appender = log.appender();
    let mut replayed = 0;
    letters.replay(destination, |chunk| {
        let (records, unreadable) = decode(chunk, now_ms);
        for records in records.chunks(AT_ONCE) {
            let events: Vec<Accepted<'_, '_>> = records
                .iter()
                .map(|record| Accepted {
                    record,
                    verdicts: &verdicts,
                })
                .collect();
            let commit = appender.append(&events)?;
            runtime.block_on(commit)?;
        }
        replayed += records.len() as u64;
        let unreadable: Vec<_> = unreadable.into_iter().map(|dead| dead.letter.clone()).collect();
        letters.append(destination, &unreadable)?;
        Ok::<(), ReplayError>(())
    })?;
    Ok(replayed)
}

fn decode(chunk: &[DeadLetter], now_ms: i64) -> (Vec<Record<'_>>, Vec<&DeadLetter>) {
    let (mut records, mut unreadable) = (Vec::with_capacity(chunk.len()), Vec::new());
    for dead in chunk {
        match codec::decode(&dead.letter.payload) {
            Ok(mut record) => {
                record.accepted_ms = now_ms;
                // Somebody has decided to send it.
                record.rejected = None;
                records.push(record);
            }
            Err(_) => unreadable.push(dead),
        }
    }
    (records, unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::{
        delivery::dead_letters::{Letter, Reason},
        event::Event,
        log::{Ending, WhenFull, memory::MemoryLog},
    };

    fn letter(id: &str) -> Letter {
        let mut event = Event::new();
        event.set("event_id", id.to_owned());
        let record = Record {
            accepted_ms: 1_000,
            event,
            ..Record::default()
        };
        let mut payload = Vec::new();
        codec::encode(&record, &mut payload);
        Letter {
            time_ms: 2_000,
            reason: Reason::TooOld,
            message: String::new(),
            code: String::new(),
            attempts: 3,
            payload,
        }
    }

    /// A runtime whose handle may be blocked on, as the log's own commits do.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    }

    #[test]
    fn letters_go_to_their_destination_alone_as_accepted_now() {
        let (log, store, runtime) = (
            MemoryLog::open(1 << 20, WhenFull::Refuse),
            DeadLetters::in_memory(1 << 20),
            runtime(),
        );
        let (orders, meta) = (log.register("orders").unwrap(), log.register("meta").unwrap());
        let letters: Vec<Letter> = (0..300).map(|number| letter(&format!("e{number}"))).collect();
        store.append("orders", &letters).unwrap();
        assert_eq!(replay(&store, &log, "orders", 9_000, runtime.handle()).unwrap(), 300);
        assert_eq!(store.count("orders"), 0);

        let mut reader = log.reader(orders).unwrap();
        let chunk = reader.read(1_000, 1 << 20).unwrap();
        assert_eq!(chunk.events.len(), 300);
        let first = chunk.events.first().unwrap();
        assert_eq!(codec::decode(&first.payload).unwrap().accepted_ms, 9_000);
        assert!(log.reader(meta).unwrap().read(10, 1_000).unwrap().events.is_empty());
        let endings: Vec<_> = chunk
            .events
            .iter()
            .map(|event| (event.position, Ending::Delivered))
            .collect();
        reader.settle(&endings).unwrap();
        for (name, _, ledger) in log.ledgers() {
            assert_eq!(ledger.imbalance(), 0, "{name}: {ledger:?}");
        }
    }

    #[test]
    fn what_broke_the_tracking_plan_is_sent_when_it_is_replayed() {
        let mut dead = letter("e0");
        let mut record = codec::decode(&dead.payload).unwrap().clone();
        record.rejected = Some("/value: type".into());
        let mut payload = Vec::new();
        codec::encode(&record, &mut payload);
        dead.payload = payload;
        let dead = DeadLetter { id: 0, letter: dead };
        let (records, _) = decode(std::slice::from_ref(&dead), 9_000);
        assert_eq!(records.first().unwrap().rejected, None);
    }

    #[test]
    fn what_cannot_be_read_stays() {
        let (log, store, runtime) = (
            MemoryLog::open(1 << 20, WhenFull::Refuse),
            DeadLetters::in_memory(1 << 20),
            runtime(),
        );
        log.register("orders").unwrap();
        let broken = Letter {
            payload: b"\xff".to_vec(),
            ..letter("broken")
        };
        store.append("orders", &[letter("e0"), broken, letter("e1")]).unwrap();
        assert_eq!(replay(&store, &log, "orders", 9_000, runtime.handle()).unwrap(), 2);
        assert_eq!(store.count("orders"), 1);
    }

    #[test]
    fn a_destination_that_is_gone_is_named() {
        let (log, store, runtime) = (
            MemoryLog::open(1 << 20, WhenFull::Refuse),
            DeadLetters::in_memory(1 << 20),
            runtime(),
        );
        store.append("orders", &[letter("e0")]).unwrap();
        let error = replay(&store, &log, "orders", 9_000, runtime.handle()).unwrap_err();
        assert!(matches!(error, ReplayError::Unknown(_)), "{error}");
        assert_eq!(store.count("orders"), 1);
    }

    #[test]
    fn a_full_log_leaves_them_on_the_shelf() {
        let (log, store, runtime) = (
            MemoryLog::open(100, WhenFull::Refuse),
            DeadLetters::in_memory(1 << 20),
            runtime(),
        );
        log.register("orders").unwrap();
        let letters: Vec<Letter> = (0..300).map(|number| letter(&format!("e{number}"))).collect();
        store.append("orders", &letters).unwrap();
        let error = replay(&store, &log, "orders", 9_000, runtime.handle()).unwrap_err();
        assert!(matches!(error, ReplayError::Log(AppendError::Full { .. })), "{error}");
        assert_eq!(store.count("orders"), 300, "an event may come twice, never not at all");
    }
}
