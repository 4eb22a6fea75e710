//! Which folder a store writes to, and that it is the only one: held by the folder itself, not by its path.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

const NAME: &str = "run.lock";

/// Device and inode: the same file or folder under whatever name.
type Identity = (u64, u64);

/// A folder that a store writes to.
///
/// The lock is on the folder (flock on its open inode), so that it moves with the folder, cannot be removed from it, and
/// is given back by the operating system however its holder ends. `run.lock` names the holder to those who are rejected,
/// and is locked too: on file systems that lock files only, such as NFS, it is the lock.
#[derive(Debug)]
pub(crate) struct Held {
    root: PathBuf,
    identity: Identity,
    /// Open as long as it is held: its inode is not given to another folder meanwhile, and the lock stays.
    _folder: File,
    lock: Option<LockFile>,
}

/// `run.lock`, removed with its holder's end if it is still the holder's.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    identity: Identity,
    _file: File,
    /// Whether the folder could not be locked.
    alone: bool,
}

impl Held {
    /// The folder without a lock: others may hold it.
    pub(crate) fn share(root: &Path) -> Result<Self, StoreError> {
        let folder = File::open(root).map_err(StoreError::io("open", root))?;
        let identity = identity(&folder.metadata().map_err(StoreError::io("look at", root))?);
        Ok(Self { root: root.to_path_buf(), identity, _folder: folder, lock: None })
    }

    /// Takes the folder, which must exist, without waiting. Nothing in it changes if another holds it.
    pub(crate) fn take(root: &Path) -> Result<Self, StoreError> {
        loop {
            let mut held = Self::share(root)?;
            let alone = match held._folder.try_lock() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => return Err(in_use(root)),
                Err(TryLockError::Error(_)) => true,
            };
            // Renamed or removed between opening and locking.
            if held.check().is_err() {
                continue;
            }
            held.lock = Some(LockFile::take(root, alone)?);
            return Ok(held);
        }
    }

    /// Whether the path still leads to the folder that was opened: what is written by path must not end in another's.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let moved = || Err(StoreError::Moved { dir: self.root.clone() });
        match fs::metadata(&self.root) {
            Ok(found) if identity(&found) != self.identity => return moved(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return moved(),
            Err(error) => return Err(StoreError::io("look at", &self.root)(error)),
        }
        match &self.lock {
            Some(lock) if lock.alone && !lock.is_named() => moved(),
            _ => Ok(()),
        }
    }
}

impl LockFile {
    fn take(dir: &Path, alone: bool) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        loop {
            let Some(mut file) = open(&path)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(dir)),
                // The folder's lock holds where files have none.
                Err(TryLockError::Error(_)) if !alone => {}
                Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path)(source)),
            }
            let identity = identity(&file.metadata().map_err(StoreError::io("look at", &path))?);
            let write = |file: &mut File| {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(format!("{}\n", std::process::id()).as_bytes())
            };
            // A holder removes the file as it ends: the lock may be on a file without a name, which means nothing.
            if named(&path) == Some(identity) {
                write(&mut file).map_err(StoreError::io("write", &path))?;
                return Ok(Self { path, identity, _file: file, alone });
            }
        }
    }

    fn is_named(&self) -> bool {
        named(&self.path) == Some(self.identity)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // In a folder that was moved away it stays: the next holder takes it over.
        if self.is_named() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The lock file, made or found, and never anything that its name merely leads to. `None` if it changed meanwhile.
fn open(path: &Path) -> Result<Option<File>, StoreError> {
    // With `create_new` a link is not followed.
    match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(Some).map_err(StoreError::io("create", path)),
    }
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(None) };
    if !found.is_file() {
        let reason = io::Error::other("it is no ordinary file; remove it");
        return Err(StoreError::io("lock", path)(reason));
    }
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            let file = opened.map_err(StoreError::io("open", path))?;
            let same = file.metadata().is_ok_and(|opened| identity(&opened) == identity(&found));
            Ok(same.then_some(file))
        }
    }
}

fn in_use(dir: &Path) -> StoreError {
    StoreError::Locked { dir: dir.to_path_buf(), pid: holder(dir) }
}

/// The process that writes to a folder, as `run.lock` names it; it may have been killed since. Takes no lock.
pub fn holder(dir: &Path) -> Option<u32> {
    let path = dir.join(NAME);
    let mut holder = String::new();
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())
        && let Ok(file) = File::open(&path)
    {
        let _ = file.take(32).read_to_string(&mut holder);
    }
    holder.trim().parse().ok()
}

fn named(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|metadata| identity(&metadata))
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
