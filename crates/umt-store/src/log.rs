//! Files that grow by a line at a time.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::commit::retry;
use crate::{OpenFile, Store, StoreError};

/// A log, such as the metrics of a run. A run saves [`Log::len`] in its checkpoint and opens the
/// log at that length when it resumes: lines written after the checkpoint are written anew.
pub struct Log {
    path: PathBuf,
    file: Box<dyn OpenFile>,
    len: u64,
}

impl Log {
    /// Opens `path` for adding lines after its first `keep` bytes; what follows them is cut off.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file is shorter than `keep`; [`StoreError::Io`].
    pub fn open(store: &Store, path: &Path, keep: u64) -> Result<Self, StoreError> {
        let dir = store.inside(path)?;
        store.create_dir(&dir)?;
        let found = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if found < keep {
            let reason = format!("{found} bytes, at least {keep} were written");
            return Err(StoreError::Corrupt { path: path.to_path_buf(), reason });
        }
        let mut file = retry(|| store.files().append(path)).map_err(StoreError::io("open", path))?;
        retry(|| file.truncate(keep)).map_err(StoreError::io("cut", path))?;
        store.sync_dir(&dir)?;
        Ok(Self { path: path.to_path_buf(), file, len: keep })
    }

    /// Adds a line; the newline is added here.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn line(&mut self, line: &str) -> Result<(), StoreError> {
        let bytes = format!("{line}\n");
        self.file.write_all(bytes.as_bytes()).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            written: self.len,
            source,
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Makes all lines durable. To be called before a checkpoint that relies on them.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        retry(|| self.file.sync()).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            written: self.len,
            source,
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
