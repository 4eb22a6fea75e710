//! The commit path: a file appears under its final name complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, hex};
use crate::error::StoreError;
use crate::files::{Files, OpenFile, RealFiles};
use crate::lock::Held;

/// The file that makes a folder of several files count: written last and removed first.
pub(crate) const MANIFEST: &str = "manifest.json";

/// A folder opened for writing. Clones share it, and the lock ends with the last of them.
///
/// Paths are ordinary ones, as for `std::fs`, and must be inside the folder; [`Store::path`] makes them from names.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    absolute_root: PathBuf,
    files: Arc<dyn Files>,
    held: Arc<Held>,
}

impl Store {
    /// Opens `root` as its only writer, creating it if absent, and then removes what a killed process left half-written.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the holder's process number, and nothing has changed then; [`StoreError::Io`] if the
    /// folder cannot be created, locked or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::with_files(root, Arc::new(RealFiles))
    }

    /// [`Store::open`] with other file operations: for tests.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_files(root: &Path, files: Arc<dyn Files>) -> Result<Self, StoreError> {
        let store = Self::opened(root, files, Held::take)?;
        store.remove_leftovers(root)?;
        Ok(store)
    }

    /// Opens `root` next to whoever holds it: for files that are complete by themselves. Nothing is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be created or opened.
    pub fn shared(root: &Path) -> Result<Self, StoreError> {
        Self::opened(root, Arc::new(RealFiles), Held::share)
    }

    fn opened(
        root: &Path,
        files: Arc<dyn Files>,
        hold: impl FnOnce(&Path) -> Result<Held, StoreError>,
    ) -> Result<Self, StoreError> {
        let absolute_root = std::path::absolute(root).map_err(StoreError::io("resolve", root))?;
        ensure_dir(&*files, root)?;
        let held = Arc::new(hold(&absolute_root).map_err(|error| error.of(root))?);
        Ok(Self { root: root.to_path_buf(), absolute_root, files, held })
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
        let (temporary, file) = loop {
            let temporary = temporary_sibling(path);
            match retry(|| self.files.create(&temporary)) {
                // Removed by a cleaner before it was locked: another name.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(source) => return Err(StoreError::Write { path: path.to_path_buf(), written: 0, source }),
                Ok(file) => break (temporary, file),
            }
        };
        // The open file is its lock, which keeps cleaners away until it has its name.
        let committed = fill(file, path, write).and_then(|(digest, _locked)| {
            // Writing may have taken long.
            self.still_there()?;
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

    /// Writes a file that must not exist yet and flushes it.
    pub(crate) fn write_new(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Digest, StoreError> {
        self.inside(path)?;
        let file = retry(|| self.files.create(path)).map_err(|source| StoreError::Write {
            path: path.to_path_buf(),
            written: 0,
            source,
        })?;
        Ok(fill(file, path, write)?.0)
    }

    /// The folder above `path`, which must be inside the root, and the root still where it was opened.
    pub(crate) fn inside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let absolute = std::path::absolute(path).map_err(StoreError::io("resolve", path))?;
        // The way to the root may climb, what follows it may not.
        let below = |rest: &Path| rest.components().all(|part| part != std::path::Component::ParentDir);
        match path.parent() {
            Some(dir) if absolute.strip_prefix(&self.absolute_root).is_ok_and(below) => {
                self.still_there()?;
                Ok(if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_path_buf() })
            }
            _ => Err(StoreError::Outside { path: path.to_path_buf(), root: self.root.clone() }),
        }
    }

    fn still_there(&self) -> Result<(), StoreError> {
        self.held.check().map_err(|error| error.of(&self.root))
    }

    fn ensure_dir(&self, dir: &Path) -> Result<(), StoreError> {
        ensure_dir(&*self.files, dir)
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
        let manifest = path.join(MANIFEST);
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

/// Creates a folder and those above it, each durably.
fn ensure_dir(files: &dyn Files, dir: &Path) -> Result<(), StoreError> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(Path::new(""));
    ensure_dir(files, above)?;
    match retry(|| files.create_dir(dir)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
            Err(StoreError::io("create", dir)(error))
        }
        _ => {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            retry(|| files.sync_dir(above)).map_err(StoreError::io("flush", above))
        }
    }
}

/// Writes and flushes what `write` produces; an error names `path`. Returns the open file too, which is still locked.
fn fill(
    file: Box<dyn OpenFile>,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(Digest, Box<dyn OpenFile>), StoreError> {
    let mut out = BufWriter::with_capacity(1 << 18, Hashing { file, hasher: Sha256::new(), bytes: 0 });
    let result = write(&mut out).and_then(|()| out.flush());
    // `into_parts` drops the buffer without writing it once more.
    let (mut hashing, _) = out.into_parts();
    let written = hashing.bytes;
    result.and_then(|()| retry(|| hashing.file.sync())).map_err(|source| StoreError::Write {
        path: path.to_path_buf(),
        written,
        source,
    })?;
    Ok((Digest { sha256: hex(&hashing.hasher.finalize()), bytes: written }, hashing.file))
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

/// A name next to `path` that no other writer uses: on the same file system, so that renaming
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

/// Hashes and counts what the file accepted.
struct Hashing {
    file: Box<dyn OpenFile>,
    hasher: Sha256,
    bytes: u64,
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
