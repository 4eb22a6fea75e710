//! What identifies contents, and reading that compares them with it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;

/// What identifies contents: their SHA-256 and their length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// SHA-256 (FIPS 180-4) in lower-case hexadecimal digits.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256_hex(bytes), bytes: bytes.len() as u64 }
    }
}

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a text that comes in pieces, so that none of it is kept.
#[derive(Debug, Clone, Default)]
pub struct Sha256Text(Sha256);

impl Sha256Text {
    /// Appends a piece.
    pub fn push(&mut self, piece: &str) {
        self.0.update(piece);
    }

    /// The digest of all pieces in lower-case hexadecimal digits.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a file, read in pieces of 1 MiB.
///
/// # Errors
/// [`StoreError::Io`] if the file cannot be read, or is a pipe or a device, which may never end.
pub fn digest_file(path: &Path) -> Result<Digest, StoreError> {
    // Asked of the path, because opening a pipe waits for its writer.
    if !path.metadata().map_err(StoreError::io("look at", path))?.is_file() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(StoreError::io("read", path)(reason));
    }
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Digest { sha256: hex(&hasher.finalize()), bytes }),
            Ok(n) => {
                hasher.update(&piece[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
    }
}

/// The bytes of a file, if they are those that `expected` identifies: what is returned is what was compared.
///
/// # Errors
/// [`StoreError::Corrupt`] if the file is missing or holds anything else, [`StoreError::Io`] if it cannot be read.
pub fn read_verified(path: &Path, expected: &Digest) -> Result<Vec<u8>, StoreError> {
    let corrupt = |reason: String| Err(StoreError::Corrupt { path: path.to_path_buf(), reason });
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return corrupt("it is missing".into()),
        opened => opened.map_err(StoreError::io("open", path))?,
    };
    let found = file.metadata().map_err(StoreError::io("look at", path))?.len();
    if found != expected.bytes {
        return corrupt(format!("{found} bytes instead of {}", expected.bytes));
    }
    // One more than expected, so that a file that grows meanwhile is noticed, and never more than that.
    let mut bytes = Vec::with_capacity(usize::try_from(found).unwrap_or(0));
    file.take(found.saturating_add(1)).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    match Digest::of(&bytes) == *expected {
        true => Ok(bytes),
        false => corrupt("it does not match its digest".into()),
    }
}

/// Reads a JSON file.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read, [`StoreError::Corrupt`] with line and column if it does not hold a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Corrupt { path: path.to_path_buf(), reason: error.to_string() })
}
