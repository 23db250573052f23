//! What the buffer of a fleet takes of memory and disk.

use tagfleet_crds::{
    Size,
    tagging_container::{Buffer, BufferKind, DiskBuffer, DiskVolume},
};

const MIB: u64 = 1 << 20;
/// Beside buffer and dead letters: the index of deduplication, cursors, and what is being rewritten.
const HEADROOM: u64 = 256 * MIB;
/// What a pod takes of its node's disk beside its data folder: the logs that the kubelet keeps.
const POD_LOGS: u64 = 64 * MIB;

/// Where a pod keeps its data, and what that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Where the data folder is.
    pub(super) place: Place,
    /// Memory beside what a gateway takes in any case.
    pub(super) memory: u64,
}

/// Where the data folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the node's disk, up to this size.
    EmptyDir(Size),
    /// On a persistent volume of its own, of this size and this class.
    Volume {
        /// The volume's size.
        size: Size,
        /// The StorageClass; the cluster's default where there is none.
        class: Option<String>,
    },
}

impl Storage {
    /// Of a buffer.
    pub(super) fn of(buffer: &Buffer) -> Self {
        let dead_letters = buffer.effective_dead_letters().max_bytes.bytes();
        let empty_dir = |bytes: u64| Place::EmptyDir(Size::from_bytes(bytes.saturating_add(HEADROOM)));
        match buffer.kind() {
            Some(BufferKind::Memory(memory)) => Self {
                place: empty_dir(0),
                memory: memory.max_bytes.bytes(),
            },
            Some(BufferKind::JetStream(_)) => Self {
                place: empty_dir(dead_letters),
                memory: 0,
            },
            Some(BufferKind::Disk(DiskBuffer {
                max_bytes,
                volume: Some(volume),
            })) => Self {
                place: on_volume(max_bytes, dead_letters, volume),
                memory: 0,
            },
            Some(BufferKind::Disk(DiskBuffer { max_bytes, .. })) => Self {
                place: empty_dir(with_overshoot(max_bytes.bytes()).saturating_add(dead_letters)),
                memory: 0,
            },
            None => Self::of(&Buffer::default()),
        }
    }

    /// What is asked for of the node's disk: more than the data folder may take, so that a node does not run out of it.
    pub(super) fn ephemeral_bytes(&self) -> u64 {
        match &self.place {
            Place::EmptyDir(limit) => limit.bytes().saturating_add(POD_LOGS),
            Place::Volume { .. } => POD_LOGS,
        }
    }
}

/// While the most lagging destination's events are being moved away, a full log may go past its bound by a quarter, and by
/// 32 MiB in any case. A pod whose data folder outgrows its limit is evicted, so the limit is above that.
fn with_overshoot(max_bytes: u64) -> u64 {
    max_bytes.saturating_add((max_bytes / 4).max(32 * MIB))
}

/// A volume of twice the bound and the dead letters, unless a size is given: the buffer is full before the disk is.
fn on_volume(max_bytes: Size, dead_letters: u64, volume: DiskVolume) -> Place {
    let usual = max_bytes.bytes().saturating_mul(2).saturating_add(dead_letters);
    Place::Volume {
        size: volume.size.unwrap_or(Size::from_bytes(usual)),
        class: volume.storage_class_name,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    fn of(buffer: serde_json::Value) -> Storage {
        Storage::of(&serde_json::from_value(buffer).unwrap())
    }

    #[test]
    fn an_empty_dir_holds_the_buffer_its_overshoot_and_the_dead_letters() {
        let storage = of(json!({"disk": {"maxBytes": "2Gi"}, "deadLetters": {"maxBytes": "1Gi"}}));
        let limit = 2048 + 512 + 1024 + 256;
        assert_eq!(storage.place, Place::EmptyDir(Size::from_bytes(limit * MIB)));
        assert_eq!(storage.ephemeral_bytes(), (limit + 64) * MIB);
        assert_eq!(storage.memory, 0);
    }

    #[test]
    fn a_volume_is_twice_the_buffer_and_the_dead_letters() {
        let storage = of(json!({"disk": {"maxBytes": "1Gi", "volume": {}}}));
        let size = Size::from_bytes((2048 + 512) * MIB);
        assert_eq!(storage.place, Place::Volume { size, class: None });
        assert_eq!(storage.ephemeral_bytes(), 64 * MIB);
    }

    #[test]
    fn a_buffer_in_memory_takes_memory() {
        assert_eq!(of(json!({"memory": {"maxBytes": "96Mi"}})).memory, 96 * MIB);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let storage = of(json!({"disk": {"maxBytes": "16000Pi"}, "deadLetters": {"maxBytes": "16000Pi"}}));
        assert_eq!(storage.ephemeral_bytes(), u64::MAX);
    }
}
