//! The ways in which storing can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, with the path and the numbers that help to find out why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Writing a file's contents failed: a full disk, a broken one, a quota.
    #[error("cannot write {}: {source} (after {written} bytes)", path.display())]
    Write {
        /// The file's final name.
        path: PathBuf,
        /// Bytes accepted before the failure.
        written: u64,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Any other file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A stored file is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Checkpoints exist, but none of them can be used.
    #[error("no usable checkpoint is left in {}: {}; delete the folder to start anew", dir.display(), reasons.join("; "))]
    NoCheckpoint {
        /// The folder of checkpoints.
        dir: PathBuf,
        /// One reason per checkpoint, newest first.
        reasons: Vec<String>,
    },
    /// Another process works in the folder.
    #[error("{} is in use by process {}; wait for it or choose another folder with --out", dir.display(), pid.map_or("unknown".to_string(), |pid| pid.to_string()))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process that holds it; `None` when it has not written its number yet.
        pid: Option<u32>,
    },
    /// The folder was moved, removed or replaced while this process wrote to it.
    #[error(
        "{} was moved, removed or replaced while this process worked in it: nothing more is written; the same command goes on in the folder that is there then",
        dir.display()
    )]
    Moved {
        /// The path it was opened under.
        dir: PathBuf,
    },
    /// A path outside the folder that was opened.
    #[error("{} is outside {}, the folder opened for writing", path.display(), root.display())]
    Outside {
        /// The path asked for.
        path: PathBuf,
        /// The store's folder.
        root: PathBuf,
    },
    /// A name that cannot be a file name inside a checkpoint.
    #[error(
        "\"{name}\" cannot be a file name in a checkpoint: letters, digits, '.', '-' and '_' can, \"manifest.json\" is taken"
    )]
    Name {
        /// The name asked for.
        name: String,
    },
    /// Bytes that are not a tensor file, or tensors that cannot be written as one.
    #[error("tensor file: {reason}")]
    Tensors {
        /// What does not fit.
        reason: String,
    },
}

impl StoreError {
    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Corrupt { .. } | Self::NoCheckpoint { .. } | Self::Tensors { .. } => 4,
            Self::Write { .. } | Self::Io { .. } | Self::Moved { .. } => 5,
            Self::Locked { .. } | Self::Outside { .. } | Self::Name { .. } => 2,
        }
    }

    /// Whether this process may not write there, by permissions or on a file system that is read-only.
    pub fn is_denied(&self) -> bool {
        let (Self::Write { source, .. } | Self::Io { source, .. }) = self else { return false };
        matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
    }

    /// An error about a store's folder, under the name that the folder was opened by.
    pub(crate) fn of(self, root: &Path) -> Self {
        match self {
            Self::Locked { pid, .. } => Self::Locked { dir: root.to_path_buf(), pid },
            Self::Moved { .. } => Self::Moved { dir: root.to_path_buf() },
            other => other,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
