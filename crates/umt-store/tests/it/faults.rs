//! File operations that fail on demand: for tests of everything that writes.
//!
//! [`FaultyFiles`] counts operations and lets one of them fail, once or from then on. A failing
//! write has accepted half of its bytes before. After [`Fault::Crash`] call
//! [`FaultyFiles::lose_power`]: what was never flushed is lost then, as on a real machine, and
//! the folder is in the state a restarted process would find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umt_store::{Files, OpenFile, RealFiles};

/// How the chosen operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It and all after it fail: the process has died there.
    Crash,
    /// It alone fails with this operating system error number (28 is ENOSPC, 5 EIO, 4 EINTR).
    Once(i32),
    /// It and all later writes fail with this number, as on a full disk; removing still works.
    Writes(i32),
    /// Nothing fails, but each write accepts at most this many bytes.
    Short(usize),
}

/// Real files with one fault.
#[derive(Debug, Clone)]
pub struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    at: u64,
    count: u64,
    /// Files with contents not flushed, and how many bytes of them are; `None` for a new file.
    unsynced: BTreeMap<PathBuf, Option<u64>>,
    /// Renames whose folder is not flushed, with what they replaced.
    renames: Vec<Rename>,
    /// New files and folders whose folder is not flushed.
    created: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Rename {
    from: PathBuf,
    to: PathBuf,
    replaced: Option<Vec<u8>>,
}

impl FaultyFiles {
    /// The operation number `at`, counted from 1, fails by `fault`.
    pub fn new(fault: Fault, at: u64) -> Self {
        let state =
            State { fault, at, count: 0, unsynced: BTreeMap::new(), renames: Vec::new(), created: BTreeSet::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Drops everything that was not flushed: new contents to half their length, added contents
    /// altogether, renames undone, new names gone.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn lose_power(&self) -> io::Result<()> {
        let mut state = self.lock();
        for (path, flushed) in std::mem::take(&mut state.unsynced) {
            if let Ok(metadata) = fs::metadata(&path) {
                let len = flushed.unwrap_or(metadata.len() / 2);
                fs::OpenOptions::new().write(true).open(&path)?.set_len(len)?;
            }
        }
        for rename in std::mem::take(&mut state.renames).into_iter().rev() {
            if rename.to.exists() {
                fs::rename(&rename.to, &rename.from)?;
            }
            if let Some(bytes) = rename.replaced {
                fs::write(&rename.to, bytes)?;
            }
        }
        for path in std::mem::take(&mut state.created) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path)?,
                Ok(_) => fs::remove_file(&path)?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; the error it must fail with, if any.
    fn next(&self, writes: bool) -> io::Result<()> {
        let mut state = self.lock();
        state.count += 1;
        let (count, at) = (state.count, state.at);
        match state.fault {
            Fault::Crash if count >= at => Err(io::Error::other("the process died")),
            Fault::Once(number) if count == at => Err(io::Error::from_raw_os_error(number)),
            Fault::Writes(number) if count >= at && writes => Err(io::Error::from_raw_os_error(number)),
            _ => Ok(()),
        }
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.next(true)?;
        let file = RealFiles.create(path)?;
        let mut state = self.lock();
        state.unsynced.insert(path.to_path_buf(), None);
        state.created.insert(path.to_path_buf());
        Ok(Box::new(FaultyFile { files: self.clone(), path: path.to_path_buf(), file, appends: false }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.next(true)?;
        let found = fs::metadata(path).ok().map(|metadata| metadata.len());
        let file = RealFiles.append(path)?;
        let mut state = self.lock();
        state.unsynced.insert(path.to_path_buf(), found);
        if found.is_none() {
            state.created.insert(path.to_path_buf());
        }
        Ok(Box::new(FaultyFile { files: self.clone(), path: path.to_path_buf(), file, appends: true }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.next(false)?;
        let replaced = fs::read(to).ok();
        RealFiles.rename(from, to)?;
        let mut state = self.lock();
        if let Some(flushed) = state.unsynced.remove(from) {
            state.unsynced.insert(to.to_path_buf(), flushed);
        }
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        state.renames.push(Rename { from, to, replaced });
        Ok(())
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.next(true)?;
        RealFiles.symlink(target, path)?;
        self.lock().created.insert(path.to_path_buf());
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.next(false)?;
        let mut state = self.lock();
        state.renames.retain(|rename| rename.to.parent() != Some(path));
        state.created.retain(|created| created.parent() != Some(path));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.next(true)?;
        RealFiles.create_dir(path)?;
        self.lock().created.insert(path.to_path_buf());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.next(false)?;
        RealFiles.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.next(false)?;
        RealFiles.remove_dir(path)
    }
}

struct FaultyFile {
    files: FaultyFiles,
    path: PathBuf,
    file: Box<dyn OpenFile>,
    appends: bool,
}

impl Write for FaultyFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let fault = self.files.lock().fault;
        if let Err(error) = self.files.next(true) {
            if error.kind() != io::ErrorKind::Interrupted {
                self.file.write_all(&buffer[..buffer.len() / 2])?;
            }
            return Err(error);
        }
        match fault {
            Fault::Short(most) => self.file.write(&buffer[..buffer.len().min(most)]),
            _ => self.file.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OpenFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.files.next(true)?;
        let mut state = self.files.lock();
        if self.appends {
            let len = fs::metadata(&self.path)?.len();
            state.unsynced.insert(self.path.clone(), Some(len));
        } else {
            state.unsynced.remove(&self.path);
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.files.next(true)?;
        self.file.truncate(len)
    }
}
