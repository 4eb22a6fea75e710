//! Files that grow by a line at a time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::commit::{Store, retry};
use crate::error::StoreError;
use crate::files::OpenFile;

/// A log, such as the metrics of a run: a line per epoch, so small that it is held in memory too.
///
/// A run stores [`Log::text`] in its checkpoint and gives it back when it resumes. What the file held beyond it is written
/// again, and what the file no longer holds is restored: nobody needs to trust the file.
pub struct Log {
    path: PathBuf,
    file: Box<dyn OpenFile>,
    text: Vec<u8>,
}

impl Log {
    /// Opens `path` for adding lines after `kept`. Also returns whether the file had to be restored to begin with it.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Write`] if the file cannot be read or written.
    pub fn open(store: &Store, path: &Path, kept: Vec<u8>) -> Result<(Self, bool), StoreError> {
        let dir = store.inside(path)?;
        store.create_dir(&dir)?;
        let restored = !begins_with(path, &kept)?;
        if restored {
            store.commit(path, &kept)?;
        }
        let mut file = retry(|| store.files().append(path)).map_err(StoreError::io("open", path))?;
        retry(|| file.truncate(kept.len() as u64)).map_err(StoreError::io("cut", path))?;
        store.sync_dir(&dir)?;
        Ok((Self { path: path.to_path_buf(), file, text: kept }, restored))
    }

    /// Adds a line; the newline is added here.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn line(&mut self, line: &str) -> Result<(), StoreError> {
        self.append(format!("{line}\n").as_bytes())
    }

    /// Adds bytes, which are complete by themselves.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|source| self.failed(source))?;
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes all lines durable. To be called before a checkpoint that relies on them.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        retry(|| self.file.sync()).map_err(|source| self.failed(source))
    }

    /// All lines.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), written: self.text.len() as u64, source }
    }
}

/// Whether the file begins with `kept`; a file that is not there begins with nothing.
fn begins_with(path: &Path, kept: &[u8]) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept.is_empty()),
        Err(error) => return Err(StoreError::io("look at", path)(error)),
        // A link is replaced, not followed.
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
    }
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let mut found = Vec::with_capacity(kept.len());
    file.take(kept.len() as u64).read_to_end(&mut found).map_err(StoreError::io("read", path))?;
    Ok(found == kept)
}
