//! Bytes on their way to the disk: resumed where they stopped, hashed, and named only when they are right.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::wire::{Failure, Wire};
use super::{HubSettings, Transfer};
use crate::commit::{Store, retry};
use crate::digest::hex;
use crate::error::StoreError;
use crate::files::OpenFile;

/// A file that grows until it is complete.
pub(super) struct Partial<'s> {
    store: &'s Store,
    path: PathBuf,
    file: Box<dyn OpenFile>,
    hasher: Sha256,
    len: u64,
}

impl<'s> Partial<'s> {
    /// Goes on with what an earlier attempt, or process, left.
    pub fn open(store: &'s Store, path: PathBuf) -> Result<Self, StoreError> {
        store.create_dir(&store.inside(&path)?)?;
        let (mut hasher, mut len) = (Sha256::new(), 0);
        let mut piece = vec![0; 1 << 18];
        if path.exists() {
            let mut file = File::open(&path).map_err(StoreError::io("open", &path))?;
            loop {
                let n = retry(|| file.read(&mut piece)).map_err(StoreError::io("read", &path))?;
                if n == 0 {
                    break;
                }
                hasher.update(&piece[..n]);
                len += n as u64;
            }
        }
        let file = retry(|| store.files().append(&path)).map_err(StoreError::io("open", &path))?;
        Ok(Self { store, path, file, hasher, len })
    }

    /// Bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Begins anew.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        retry(|| self.file.truncate(0)).map_err(StoreError::io("cut", &self.path))?;
        (self.hasher, self.len) = (Sha256::new(), 0);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            written: self.len,
            source,
        })?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The SHA-256 of what is there.
    pub fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// Gives the complete file its name.
    pub fn finish(mut self, to: &Path) -> Result<(), StoreError> {
        retry(|| self.file.sync()).map_err(StoreError::io("flush", &self.path))?;
        retry(|| self.store.files().rename(&self.path, to)).map_err(StoreError::io("rename to", to))?;
        self.store.sync_dir(&self.store.inside(to)?)
    }

    /// Removes what turned out to be wrong.
    pub fn discard(self) -> Result<(), StoreError> {
        self.store.remove(&self.path)
    }
}

/// One attempt to bring the missing bytes.
pub(super) fn receive(
    settings: &HubSettings,
    wire: &Wire<'_>,
    total: u64,
    partial: &mut Partial<'_>,
    tell: &mut dyn FnMut(Transfer),
) -> Result<(), Failure> {
    if partial.len() > total {
        partial.clear()?;
    }
    if partial.len() == total {
        return Ok(());
    }
    let (begin, body) = wire.bytes(partial.len(), total)?;
    if begin != partial.len() {
        partial.clear()?;
    }
    tell(Transfer { done: partial.len(), total });
    let mut reader = body.into_with_config().limit(u64::MAX).reader();
    let mut piece = vec![0; 1 << 16];
    let (mut since, mut before) = (Instant::now(), partial.len());
    loop {
        let n = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Again(format!("cut off after {} bytes: {error}", partial.len()))),
        };
        if partial.len() + n as u64 > total {
            partial.clear()?;
            return Err(Failure::Again(format!("more than the {total} bytes announced")));
        }
        partial.add(&piece[..n])?;
        tell(Transfer { done: partial.len(), total });
        // A server that drips keeps every read short and would take days.
        if since.elapsed() >= settings.patience && partial.len() < total {
            let came = partial.len() - before;
            if came < settings.least {
                return Err(Failure::Again(format!("only {came} bytes in {:.0?}", since.elapsed())));
            }
            (since, before) = (Instant::now(), partial.len());
        }
    }
    match partial.len() == total {
        true => Ok(()),
        false => Err(Failure::Again(format!("cut off after {} of {total} bytes", partial.len()))),
    }
}
