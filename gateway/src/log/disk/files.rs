//! The few things that the log does to files beyond reading: what it takes to be sure that they are there after a crash.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::super::LogError;

/// Where a test may make the device fail: the writes and syncs that a hit's answer waits for.
pub(super) trait Device: Send + Sync {
    /// Writes all of `bytes` at `offset`, or fails having written any part of them.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when the file's content is as safe as the device makes it.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The device itself.
pub(super) struct RealDevice;

impl Device for RealDevice {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// For `map_err`: names the file that an error is about.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> LogError + '_ {
    |source| LogError::File {
        path: path.display().to_string(),
        source,
    }
}

pub(super) fn corrupt(path: &Path, reason: impl Into<String>) -> LogError {
    LogError::Corrupt {
        path: path.display().to_string(),
        reason: reason.into(),
    }
}

/// The right to write in a data folder; one process has it, until this is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the data folder, and makes it if it is not there.
    ///
    /// # Errors
    /// When another process has it, or when it cannot be written.
    pub fn take(folder: &Path) -> Result<Self, LogError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse {
                path: folder.display().to_string(),
            }),
            Err(TryLockError::Error(error)) => Err(at(&path)(error)),
        }
    }
}

/// Replaces a file's content so that after a crash it is the old or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), LogError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(at(path))?;
    sync_folder_of(path)
}

/// Makes sure that a file's name is in its folder after a crash. Files are removed without this: one that comes back
/// is removed again.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), LogError> {
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(path))
}

/// Removes a file that nobody needs any more. A failure costs room only, so it is told and not returned.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the log that is not needed any more");
    }
}
