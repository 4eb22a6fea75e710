//! The only code that writes: atomic commits, digests, checkpoints, downloads, the run lock.
//!
//! The one decision that shaped it: a file appears under its final name complete or not at all.
//! Everything is written to a temporary sibling, hashed on the way, flushed to the disk, renamed,
//! and the folder is flushed too. What consists of several files is a folder whose manifest comes
//! last. Every file operation goes through the [`Files`] trait, so that a test can make the n-th
//! one fail or lose power there.
//!
//! ```
//! use std::collections::BTreeMap;
//! use umt_store::{Store, checkpoint};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path())?;
//! let digest = store.commit(&store.path("table.md"), b"| joint | UMT |\n")?;
//! assert_eq!(digest.bytes, 16);
//! assert_eq!(digest.sha256, umt_store::sha256_hex(b"| joint | UMT |\n"));
//!
//! let run = store.path("joint");
//! let blobs = BTreeMap::from([("params".to_string(), vec![1, 2, 3])]);
//! for step in [10, 20, 30] {
//!     checkpoint::save(&store, &run, step, &blobs)?;
//! }
//! let (step, loaded, warnings) = checkpoint::load_latest(&run)?.ok_or("no checkpoint")?;
//! assert_eq!((step, loaded == blobs, warnings.len()), (30, true, 0));
//! # Ok(())
//! # }
//! ```
//!
//! Exit codes ([`StoreError::exit_code`]): 2 for a folder in use or a wrong name, 4 for damaged
//! contents, 5 for what the operating system refused.

mod error;
mod digest;
mod files;
mod lock;
mod commit;
mod log;
mod events;

pub mod checkpoint;
pub mod hub;
pub mod tensors;

pub use commit::Store;
pub use digest::{Digest, Sha256Text, digest_file, read_json, read_verified, sha256_hex};
pub use error::StoreError;
pub use events::EventLog;
pub use files::{Files, OpenFile, RealFiles};
pub use lock::holder;
pub use log::Log;
