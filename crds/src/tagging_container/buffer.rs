//! The buffer: where accepted events wait for their destinations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Duration, SecretSource, Size},
    schema::{at_most_one_of, positive_duration},
};

/// Where accepted events wait for their destinations. At most one of `memory`, `disk` and `jetStream` is set; `disk` is the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    at_most_one_of(&["memory", "disk", "jetStream"], "kind of buffer"),
]))]
pub struct Buffer {
    /// In memory: nothing survives the end of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryBuffer>,
    /// On disk, synced before the hit is answered: survives the restart of the container, with `volume` the loss of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskBuffer>,
    /// In a NATS JetStream: survives the loss of a node, and drops duplicates across pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jet_stream: Option<JetStreamBuffer>,
    /// What happens when it is full. `ExpireLaggard`: the most lagging destination's oldest events go to its dead letters, and
    /// ingest goes on. `Refuse`: every hit is answered 503. Default: ExpireLaggard.
    #[serde(default)]
    pub when_full: WhenFull,
    /// What was refused for good, or expired, is kept here for a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
}

/// The kind of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// `memory`.
    Memory(MemoryBuffer),
    /// `disk`.
    Disk(DiskBuffer),
    /// `jetStream`.
    JetStream(JetStreamBuffer),
}

impl Buffer {
    /// The buffer's kind; `disk` with its defaults when none is set. None when more than one is set.
    #[must_use]
    pub fn kind(&self) -> Option<BufferKind> {
        let kinds = [
            self.memory.clone().map(BufferKind::Memory),
            self.disk.clone().map(BufferKind::Disk),
            self.jet_stream.clone().map(BufferKind::JetStream),
        ];
        let mut set = kinds.into_iter().flatten();
        let first = set.next().unwrap_or_else(|| BufferKind::Disk(DiskBuffer::default()));
        set.next().is_none().then_some(first)
    }

    /// How much the dead letters of all destinations may take: the field, or 512Mi.
    #[must_use]
    pub fn effective_dead_letters(&self) -> DeadLetters {
        self.dead_letters.clone().unwrap_or_default()
    }
}

/// Events in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryBuffer {
    /// The most bytes of a pod's memory. Default: 64Mi.
    #[serde(default = "MemoryBuffer::default_max_bytes")]
    pub max_bytes: Size,
}

impl MemoryBuffer {
    const fn default_max_bytes() -> Size {
        Size::from_bytes(64 << 20)
    }
}

impl Default for MemoryBuffer {
    fn default() -> Self {
        Self {
            max_bytes: Self::default_max_bytes(),
        }
    }
}

/// Events on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskBuffer {
    /// The most bytes of a pod's disk. Default: 1Gi.
    #[serde(default = "DiskBuffer::default_max_bytes")]
    pub max_bytes: Size,
    /// A persistent volume for each pod, which makes the Deployment a StatefulSet. Default: an emptyDir. No effect in file
    /// mode, where `--data-dir` names the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<DiskVolume>,
}

impl DiskBuffer {
    const fn default_max_bytes() -> Size {
        Size::from_bytes(1 << 30)
    }
}

impl Default for DiskBuffer {
    fn default() -> Self {
        Self {
            max_bytes: Self::default_max_bytes(),
            volume: None,
        }
    }
}

/// The persistent volume of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskVolume {
    /// The StorageClass. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub storage_class_name: Option<String>,
    /// The volume's size. Default: twice `maxBytes` plus the dead letters, so that the buffer is full before the disk is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// Events in a NATS JetStream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JetStreamBuffer {
    /// The NATS server: `nats://nats.messaging:4222`, or `tls://` for an encrypted connection.
    #[schemars(length(max = 2048), regex(pattern = "^(nats|tls)://[^/?#@]+$"))]
    pub url: String,
    /// A NATS credentials file (`.creds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretSource>,
    /// Copies of each event in the NATS cluster. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: Option<u32>,
    /// The most bytes of the stream. Default: 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,
    /// How long an event is kept. Default: 72h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [positive_duration("8760h")]))]
    pub max_age: Option<Duration>,
}

impl JetStreamBuffer {
    /// Copies of each event: the field, or 3.
    #[must_use]
    pub fn effective_replicas(&self) -> u32 {
        self.replicas.unwrap_or(3)
    }

    /// The most bytes of the stream: the field, or 1Gi.
    #[must_use]
    pub fn effective_max_bytes(&self) -> Size {
        self.max_bytes.unwrap_or(Size::from_bytes(1 << 30))
    }

    /// How long an event is kept: the field, or 72 hours.
    #[must_use]
    pub fn effective_max_age(&self) -> Duration {
        self.max_age.unwrap_or(Duration::from_secs(72 * 3600))
    }
}

/// What happens when the buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WhenFull {
    /// The most lagging destination's oldest events go to its dead letters; ingest goes on.
    #[default]
    ExpireLaggard,
    /// Every hit is answered 503.
    Refuse,
}

/// The bounds of the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetters {
    /// The most bytes that dead letters take. Past that, those kept stay, and what finds no room counts as `expired` and
    /// is gone. Default: 512Mi.
    #[serde(default = "DeadLetters::default_max_bytes")]
    pub max_bytes: Size,
}

impl DeadLetters {
    const fn default_max_bytes() -> Size {
        Size::from_bytes(512 << 20)
    }
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            max_bytes: Self::default_max_bytes(),
        }
    }
}
