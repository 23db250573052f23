//! Where a running gateway's configuration comes from: files, or files and the API server. Both give the same snapshots.

use std::{future, io, sync::Arc};

use super::{
    files::{Snapshot, Sources},
    kubernetes::{ClusterObjects, watch::ClusterWatch},
    watch::FileWatch,
};

/// Yields a snapshot after each change.
#[derive(Debug)]
pub struct Source {
    files: FileWatch,
    cluster: Option<ClusterWatch>,
    /// What the files held last.
    mounted: Snapshot,
    /// What the API server had last.
    objects: Option<Arc<ClusterObjects>>,
}

impl Source {
    /// Watches files; `known` is what was read of them before.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn files(sources: Sources, known: Snapshot) -> io::Result<Self> {
        Ok(Self {
            files: FileWatch::start(sources, known.clone())?,
            cluster: None,
            mounted: known,
            objects: None,
        })
    }

    /// Watches files and the API server.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn kubernetes(sources: Sources, known: Snapshot, namespace: &str, container: &str) -> io::Result<Self> {
        Ok(Self {
            cluster: Some(ClusterWatch::start(namespace, container)),
            ..Self::files(sources, known)?
        })
    }

    /// Waits for the next change. `None` when the files can no longer be watched. May be dropped at any time without
    /// losing a change.
    pub async fn next(&mut self) -> Option<Snapshot> {
        tokio::select! {
            mounted = self.files.next() => self.mounted = mounted?,
            objects = next_of(self.cluster.as_mut()) => match objects {
                Some(objects) => self.objects = Some(objects),
                None => {
                    tracing::error!("the API server is no longer watched; restart to take up changes from there");
                    self.cluster = None;
                }
            },
        }
        Some(Snapshot {
            cluster: self.objects.clone(),
            ..self.mounted.clone()
        })
    }
}

async fn next_of(cluster: Option<&mut ClusterWatch>) -> Option<Arc<ClusterObjects>> {
    match cluster {
        Some(cluster) => cluster.next().await,
        None => future::pending().await,
    }
}
