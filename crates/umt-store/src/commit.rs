//! The commit path: a file appears under its final name complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files::{Files, OpenFile, RealFiles};
use crate::{StoreError, checkpoint};

/// What identifies contents: their SHA-256 and their length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// SHA-256 (FIPS 180-4) in lower-case hexadecimal digits.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of a file, read in pieces of 1 MiB.
///
/// # Errors
/// [`StoreError::Io`] if the file cannot be read.
pub fn digest_file(path: &Path) -> Result<Digest, StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&piece[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
    }
    Ok(Digest { sha256: hex(&hasher.finalize()), bytes })
}

/// Reads a JSON file.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read, [`StoreError::Corrupt`] with line and column if it
/// does not hold a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Corrupt { path: path.to_path_buf(), reason: error.to_string() })
}

/// A folder opened for writing. Clones share it.
///
/// Paths are ordinary ones, as for `std::fs`, and must lie inside the folder;
/// [`Store::path`] makes them from names.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    absolute_root: PathBuf,
    files: Arc<dyn Files>,
}

impl Store {
    /// Opens `root`, creating it if absent, and removes what a killed process left half-written.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be created or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::with_files(root, Arc::new(RealFiles))
    }

    /// [`Store::open`] with other file operations: for tests.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_files(root: &Path, files: Arc<dyn Files>) -> Result<Self, StoreError> {
        let absolute_root = std::path::absolute(root).map_err(StoreError::io("resolve", root))?;
        let store = Self { root: root.to_path_buf(), absolute_root, files };
        store.ensure_dir(root)?;
        store.remove_leftovers(root)?;
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `name` inside the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Writes `bytes` under `path`, replacing what was there, in one step. Missing folders are
    /// created.
    ///
    /// # Errors
    /// [`StoreError::Write`] names path and bytes; the old file is untouched then.
    pub fn commit(&self, path: &Path, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.commit_with(path, |out| out.write_all(bytes))
    }

    /// [`Store::commit`] of what `write` produces, without holding it in memory.
    ///
    /// # Errors
    /// As [`Store::commit`]; an error of `write` itself arrives as [`StoreError::Write`].
    pub fn commit_with(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Digest, StoreError> {
        let dir = self.inside(path)?;
        self.ensure_dir(&dir)?;
        let temporary = temporary_sibling(path);
        let committed = self.write_new(&temporary, path, write).and_then(|digest| {
            retry(|| self.files.rename(&temporary, path)).map_err(StoreError::io("rename to", path))?;
            Ok(digest)
        });
        if committed.is_err() {
            // Best effort: the disk may be full or gone; opening the store cleans up later.
            let _ = self.files.remove_file(&temporary);
        } else {
            self.sync_dir(&dir)?;
        }
        committed
    }

    /// Writes `value` as indented JSON with a final newline, in one step.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_json<T: Serialize + ?Sized>(&self, path: &Path, value: &T) -> Result<Digest, StoreError> {
        self.commit_with(path, |out| {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    /// Makes `path` a symbolic link to `target`, which is seen from the link's own folder.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn link(&self, target: &Path, path: &Path) -> Result<(), StoreError> {
        let dir = self.inside(path)?;
        self.ensure_dir(&dir)?;
        if fs::read_link(path).is_ok_and(|there| there == target) {
            return Ok(());
        }
        self.remove_inside(path)?;
        // One call: the link is there or not.
        retry(|| self.files.symlink(target, path)).map_err(StoreError::io("link", path))?;
        self.sync_dir(&dir)
    }

    /// Removes a file or a folder with all it holds; nothing happens if it is absent. A
    /// checkpoint's manifest goes first, so that a half-removed one never looks usable.
    ///
    /// # Errors
    /// [`StoreError::Io`] names what could not be removed.
    pub fn remove(&self, path: &Path) -> Result<(), StoreError> {
        let dir = self.inside(path)?;
        self.remove_inside(path)?;
        if dir.is_dir() { self.sync_dir(&dir) } else { Ok(()) }
    }

    /// Creates a folder and those above it, durably.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.inside(path)?;
        self.ensure_dir(path)
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        retry(|| self.files.sync_dir(dir)).map_err(StoreError::io("flush", dir))
    }

    /// Writes a file that must not exist yet and flushes it. `named` stands in the error.
    pub(crate) fn write_new(
        &self,
        path: &Path,
        named: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Digest, StoreError> {
        let failed = |written| {
            let path = named.to_path_buf();
            move |source| StoreError::Write { path, written, source }
        };
        let file = retry(|| self.files.create(path)).map_err(failed(0))?;
        let mut out = BufWriter::with_capacity(1 << 18, Hashing::new(file));
        let result = write(&mut out).and_then(|()| out.flush());
        // `into_parts` drops the buffer without writing it once more.
        let (mut hashing, _) = out.into_parts();
        let written = hashing.bytes;
        result.map_err(failed(written))?;
        retry(|| hashing.file.sync()).map_err(failed(written))?;
        Ok(Digest { sha256: hex(&hashing.hasher.finalize()), bytes: written })
    }

    /// The folder above `path`, which must lie inside the root.
    pub(crate) fn inside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let absolute = std::path::absolute(path).map_err(StoreError::io("resolve", path))?;
        let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
        match path.parent() {
            Some(dir) if absolute.starts_with(&self.absolute_root) && !climbs => {
                Ok(if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_path_buf() })
            }
            _ => Err(StoreError::Outside { path: path.to_path_buf(), root: self.root.clone() }),
        }
    }

    fn ensure_dir(&self, dir: &Path) -> Result<(), StoreError> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let above = dir.parent().unwrap_or(Path::new(""));
        self.ensure_dir(above)?;
        match retry(|| self.files.create_dir(dir)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
                Err(StoreError::io("create", dir)(error))
            }
            _ => self.sync_dir(if above.as_os_str().is_empty() { Path::new(".") } else { above }),
        }
    }

    fn remove_inside(&self, path: &Path) -> Result<(), StoreError> {
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("look at", path)(error)),
        };
        if !kind.is_dir() {
            return retry(|| self.files.remove_file(path)).map_err(StoreError::io("remove", path));
        }
        let manifest = path.join(checkpoint::MANIFEST);
        if manifest.is_file() {
            retry(|| self.files.remove_file(&manifest)).map_err(StoreError::io("remove", &manifest))?;
            self.sync_dir(path)?;
        }
        for entry in list(path)? {
            self.remove_inside(&entry)?;
        }
        retry(|| self.files.remove_dir(path)).map_err(StoreError::io("remove", path))
    }

    fn remove_leftovers(&self, dir: &Path) -> Result<(), StoreError> {
        for entry in list(dir)? {
            let kind = fs::symlink_metadata(&entry).map(|metadata| metadata.file_type());
            match kind {
                Ok(kind) if kind.is_dir() => self.remove_leftovers(&entry)?,
                Ok(kind) if kind.is_file() && is_temporary(&entry) => {
                    // A file that can be locked has no living writer. The lock is kept until
                    // the file is gone, so that no second cleaner meets it.
                    let Ok(file) = File::open(&entry) else {
                        continue;
                    };
                    if file.try_lock().is_ok() {
                        let removed = retry(|| self.files.remove_file(&entry));
                        removed.map_err(StoreError::io("remove", &entry))?;
                    }
                }
                // Gone meanwhile, or not ours.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Paths in a folder, sorted by name.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(StoreError::io("list", dir))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(StoreError::io("list", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Repeats what a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

const TEMPORARY: &str = ".umt-tmp";

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == &TEMPORARY[1..])
}

/// A name beside `path` that no other writer uses: on the same file system, so that renaming
/// is one step.
fn temporary_sibling(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanoseconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{count}-{nanoseconds}{TEMPORARY}", std::process::id()));
    path.with_file_name(name)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes and counts what the file accepted.
struct Hashing {
    file: Box<dyn OpenFile>,
    hasher: Sha256,
    bytes: u64,
}

impl Hashing {
    fn new(file: Box<dyn OpenFile>) -> Self {
        Self { file, hasher: Sha256::new(), bytes: 0 }
    }
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let accepted = self.file.write(buffer)?;
        self.hasher.update(&buffer[..accepted]);
        self.bytes += accepted as u64;
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
