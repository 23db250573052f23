//! Watches the files of the configuration, and tells when what they hold has changed.
//!
//! The system's own notices (inotify) wake a thread that waits until they pause and then reads everything again: so a
//! write, an editor's rename and the swapped symlink of a mounted ConfigMap all come out alike. Where notices do not
//! come (network file systems, symlinks to elsewhere) a slow poll finds the change.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc as async_mpsc;

use super::files::{Snapshot, Sources};

/// The pause after a notice before files are read: an editor writes in several steps.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that a stream of notices delays the reading.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often files are read without a notice.
const POLL: Duration = Duration::from_secs(5);
/// How often they are read when the system gives no notices.
const POLL_WITHOUT_NOTICES: Duration = Duration::from_millis(500);

/// Yields a snapshot after each change. Dropping it ends the watch.
#[derive(Debug)]
pub struct FileWatch {
    snapshots: async_mpsc::Receiver<Snapshot>,
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug)]
enum Wake {
    Changed,
    Stop,
}

impl FileWatch {
    /// Starts to watch. `known` is what was read before: a change since then is told at once.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(sources: Sources, known: Snapshot) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::channel();
        let (send, snapshots) = async_mpsc::channel(1);
        let notices = wake.clone();
        let thread = thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || watch(&sources, known, &notices, &woken, &send))?;
        Ok(Self {
            snapshots,
            wake,
            thread: Some(thread),
        })
    }

    /// Waits for the next change. `None` when the watch has ended, which it does not do by itself.
    pub async fn next(&mut self) -> Option<Snapshot> {
        self.snapshots.recv().await
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.snapshots.close();
        let told = self.wake.send(Wake::Stop).is_ok();
        if let Some(thread) = self.thread.take()
            && told
            && thread.join().is_err()
        {
            tracing::warn!("the thread that watched the configuration's files had failed");
        }
    }
}

fn watch(
    sources: &Sources,
    mut known: Snapshot,
    notices: &Sender<Wake>,
    woken: &Receiver<Wake>,
    send: &async_mpsc::Sender<Snapshot>,
) {
    let mut watcher = watch_folders(sources, notices);
    loop {
        let snapshot = sources.read();
        if snapshot != known {
            known = snapshot.clone();
            if send.blocking_send(snapshot).is_err() {
                return;
            }
            // A folder may have been replaced by another of its name, which is not the one that is watched. What
            // changed until the new watch began is seen by reading again.
            watcher = watch_folders(sources, notices);
            continue;
        }
        let poll = if watcher.is_some() { POLL } else { POLL_WITHOUT_NOTICES };
        match woken.recv_timeout(poll) {
            Ok(Wake::Changed) if wait_for_pause(woken) => {}
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits until no notice came for a while. Whether to go on.
fn wait_for_pause(woken: &Receiver<Wake>) -> bool {
    let started = Instant::now();
    while started.elapsed() < LONGEST_PAUSE {
        match woken.recv_timeout(PAUSE) {
            Ok(Wake::Changed) => {}
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
    true
}

/// Asks the system for notices about the folders given and those of the files given. `None` when it gives none.
fn watch_folders(sources: &Sources, notices: &Sender<Wake>) -> Option<RecommendedWatcher> {
    let notices = notices.clone();
    let notify = move |event: notify::Result<notify::Event>| {
        // Reading is an event too, and must not wake the reader.
        if !matches!(event, Ok(ref event) if matches!(event.kind, EventKind::Access(_))) {
            let _ended = notices.send(Wake::Changed);
        }
    };
    let watcher = notify::recommended_watcher(notify).and_then(|mut watcher| {
        for (folder, mode) in folders(sources) {
            watcher.watch(&folder, mode)?;
        }
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the system gives no notices of changed files; they are read every 500 ms");
            None
        }
    }
}

fn folders(sources: &Sources) -> Vec<(PathBuf, RecursiveMode)> {
    let of_file = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut folders: Vec<_> = sources
        .paths
        .iter()
        .map(|path| match path.is_dir() {
            true => (path.clone(), RecursiveMode::Recursive),
            false => (of_file(path), RecursiveMode::NonRecursive),
        })
        .collect();
    let secrets = sources.secrets_dir.clone();
    folders.extend(secrets.map(|folder| (folder, RecursiveMode::NonRecursive)));
    folders
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// What is waited for at most; a change is told within a fraction of it.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Folder {
        root: tempfile::TempDir,
        runtime: tokio::runtime::Runtime,
    }

    impl Folder {
        fn new() -> Self {
            Self {
                root: tempfile::tempdir().unwrap(),
                runtime: tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn watch(&self, path: &Path) -> FileWatch {
            let sources = Sources {
                paths: vec![path.to_path_buf()],
                secrets_dir: None,
            };
            let known = sources.read();
            FileWatch::start(sources, known).unwrap()
        }

        /// Waits until the file holds this text by the watch's account.
        fn wait(&self, watch: &mut FileWatch, name: &str, text: Option<&str>) {
            let name = self.path(name).display().to_string();
            let seen = async {
                while let Some(snapshot) = watch.next().await {
                    if snapshot.files.get(name.as_str()).map(Vec::as_slice) == text.map(str::as_bytes) {
                        return true;
                    }
                }
                false
            };
            let seen = self
                .runtime
                .block_on(async { tokio::time::timeout(PATIENCE, seen).await });
            assert_eq!(seen, Ok(true));
        }
    }

    #[test]
    fn an_edited_a_renamed_and_a_deleted_file_are_told() {
        let folder = Folder::new();
        folder.write("a.yaml", "a: 1");
        let mut watch = folder.watch(folder.root.path());
        folder.write("a.yaml", "a: 2");
        folder.wait(&mut watch, "a.yaml", Some("a: 2"));
        folder.write(".a.yaml.swp", "a: 3");
        fs::rename(folder.path(".a.yaml.swp"), folder.path("a.yaml")).unwrap();
        folder.wait(&mut watch, "a.yaml", Some("a: 3"));
        fs::remove_file(folder.path("a.yaml")).unwrap();
        folder.wait(&mut watch, "a.yaml", None);
        fs::create_dir(folder.path("more")).unwrap();
        folder.write("more/b.yaml", "b: 1");
        folder.wait(&mut watch, "more/b.yaml", Some("b: 1"));
    }

    #[test]
    fn a_file_named_by_itself_is_watched_through_its_folder() {
        let folder = Folder::new();
        folder.write("a.yaml", "a: 1");
        let mut watch = folder.watch(&folder.path("a.yaml"));
        folder.write("new", "a: 2");
        fs::rename(folder.path("new"), folder.path("a.yaml")).unwrap();
        folder.wait(&mut watch, "a.yaml", Some("a: 2"));
    }

    #[test]
    fn the_swapped_symlink_of_a_mounted_config_map_is_told() {
        let folder = Folder::new();
        let publish = |version: &str, text: &str| {
            fs::create_dir(folder.path(version)).unwrap();
            folder.write(&format!("{version}/shop.yaml"), text);
            symlink(version, folder.path("..data_tmp")).unwrap();
            fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
        };
        publish("..1", "a: 1");
        symlink("..data/shop.yaml", folder.path("shop.yaml")).unwrap();
        let mut watch = folder.watch(folder.root.path());
        publish("..2", "a: 2");
        folder.wait(&mut watch, "shop.yaml", Some("a: 2"));
    }

    #[test]
    fn a_folder_replaced_by_another_of_its_name_is_found_by_the_poll() {
        let folder = Folder::new();
        fs::create_dir(folder.path("live")).unwrap();
        folder.write("live/a.yaml", "a: 1");
        let mut watch = folder.watch(&folder.path("live"));
        fs::create_dir(folder.path("next")).unwrap();
        folder.write("next/a.yaml", "a: 2");
        fs::rename(folder.path("live"), folder.path("old")).unwrap();
        fs::rename(folder.path("next"), folder.path("live")).unwrap();
        folder.wait(&mut watch, "live/a.yaml", Some("a: 2"));
        folder.write("live/a.yaml", "a: 3");
        folder.wait(&mut watch, "live/a.yaml", Some("a: 3"));
    }
}
