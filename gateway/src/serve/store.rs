//! Where events are kept.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tagfleet_crds::tagging_container::{self as crd, Buffer, BufferKind};

use super::StartError;
use crate::{
    deduplication::{Deduplication, Limits},
    delivery::dead_letters::DeadLetters,
    erase::Erasures,
    log::{
        SharedLog, WhenFull,
        disk::{DiskLog, OpenOptions},
        memory::MemoryLog,
    },
};

/// Where events are kept.
pub(super) struct Store {
    pub(super) log: SharedLog,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) erasures: Arc<Erasures>,
    pub(super) deduplication: Arc<Deduplication>,
    /// Where more may be kept; none in memory.
    pub(super) folder: Option<PathBuf>,
}

impl Store {
    /// Opens all of it. `limits` are those of deduplication, if it is on.
    pub(super) fn open(
        buffer: &Buffer,
        data_dir: &Path,
        limits: Option<Limits>,
        now_ms: i64,
    ) -> Result<Self, StartError> {
        let dead_letter_bytes = buffer.effective_dead_letters().max_bytes.bytes();
        let when_full = match buffer.when_full {
            crd::WhenFull::ExpireLaggard => WhenFull::ExpireLaggard,
            crd::WhenFull::Refuse => WhenFull::Refuse,
        };
        match buffer.kind() {
            Some(BufferKind::Memory(memory)) => Ok(Self {
                log: Arc::new(MemoryLog::open(memory.max_bytes.bytes(), when_full)),
                dead_letters: Arc::new(DeadLetters::in_memory(dead_letter_bytes)),
                erasures: Arc::default(),
                deduplication: Arc::new(Deduplication::in_memory()),
                folder: None,
            }),
            Some(BufferKind::Disk(disk)) => {
                let (log, recovery) = DiskLog::open(&OpenOptions {
                    dir: data_dir.to_owned(),
                    max_bytes: disk.max_bytes.bytes(),
                    when_full,
                })?;
                // What had to be repaired the log tells itself.
                tracing::info!(
                    segments = recovery.segments,
                    events = recovery.events,
                    "the log is open"
                );
                Ok(Self {
                    log: Arc::new(log),
                    dead_letters: Arc::new(DeadLetters::open(&data_dir.join("dead-letters"), dead_letter_bytes)?),
                    erasures: Arc::new(Erasures::open(data_dir)?),
                    deduplication: Arc::new(Deduplication::open(&data_dir.join("deduplication"), limits, now_ms)),
                    folder: Some(data_dir.to_owned()),
                })
            }
            Some(BufferKind::JetStream(_)) | None => Err(StartError::Buffer),
        }
    }
}
