//! The file operations that change something, behind a trait.
//!
//! Reading is not here: it cannot leave a half-written state behind.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Changes to a file system, one operating system call each.
pub trait Files: Debug + Send + Sync {
    /// Creates a new file, locked as long as it is open; an error if the name is taken, `ResourceBusy` if the file was
    /// removed before it was locked.
    ///
    /// # Errors
    /// The operating system\'s.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;
    /// Opens a file for adding to its end; creates it if it is absent. An error for anything but an ordinary file.
    ///
    /// # Errors
    /// The operating system\'s.
    fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;
    /// Gives a file another name, replacing what had it, in one step.
    ///
    /// # Errors
    /// The operating system\'s.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a symbolic link; an error if the name is taken.
    ///
    /// # Errors
    /// The operating system\'s.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Makes the names inside a folder durable.
    ///
    /// # Errors
    /// The operating system\'s.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates one folder.
    ///
    /// # Errors
    /// The operating system\'s.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes one file.
    ///
    /// # Errors
    /// The operating system\'s.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes one empty folder.
    ///
    /// # Errors
    /// The operating system\'s.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub trait OpenFile: Write + Send {
    /// Makes the contents durable.
    ///
    /// # Errors
    /// The operating system\'s.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// The operating system\'s.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // The lock shows a cleaner that somebody is still writing. One that came between the two calls removes the file.
        // File systems without locks lose only this courtesy, not the atomic commit.
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            _ if !is_named(&file, path)? => Err(io::ErrorKind::ResourceBusy.into()),
            _ => Ok(Box::new(file)),
        }
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        // With `create_new` a link is not followed.
        match OpenOptions::new().append(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok(Box::new(made?)),
        }
        let plain = fs::symlink_metadata(path)?.is_file();
        let file = OpenOptions::new().append(true).open(path)?;
        match plain && is_named(&file, path)? {
            true => Ok(Box::new(file)),
            false => Err(io::Error::other("it is no ordinary file; remove it")),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// Whether the name leads to this open file, and not by way of a link.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl OpenFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
