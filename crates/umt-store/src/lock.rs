//! One process per run folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// Holds a folder until it is dropped. The operating system gives the lock back when the process
/// dies, however it dies, so that a dead holder needs no detection.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Takes `dir`, which must exist, without waiting.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the holder's process number; [`StoreError::Io`] if the file
    /// system refuses.
    pub fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("run.lock");
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(StoreError::io("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    let pid = holder.trim().parse().ok();
                    return Err(StoreError::Locked { dir: dir.to_path_buf(), pid });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::io("lock", &path)(source));
                }
            }
            // A holder removes the file as it ends. If that happened between opening and locking,
            // the lock is on a file without a name and means nothing.
            let same = |opened: fs::Metadata| {
                fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()))
            };
            if !file.metadata().is_ok_and(same) {
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
                .map_err(StoreError::io("write", &path))?;
            return Ok(Self { path, _file: file });
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while the lock is held; if it cannot be, the next holder takes the file over.
        let _ = fs::remove_file(&self.path);
    }
}
