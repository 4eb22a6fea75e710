//! Checkpoints: named blobs of one step, complete and verified or not there.
//!
//! A checkpoint is a folder `NNNNNNNN` (a running number) whose `manifest.json` is written last;
//! without one the folder does not count. The manifest holds step, length and SHA-256 of every
//! blob, and a last line with its own SHA-256, so that any changed byte is noticed. The two
//! newest intact checkpoints are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commit::{list, sha256_hex};
use crate::{Digest, Store, StoreError};

/// The file that makes a checkpoint count.
pub(crate) const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;
const KEPT: usize = 2;

/// Step, blobs by name, and what was passed over.
pub type Loaded = (u64, BTreeMap<String, Vec<u8>>, Vec<Warning>);

/// A checkpoint that could not be used; an older one was taken instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fell back to an older checkpoint: {}", self.reason)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    step: u64,
    files: BTreeMap<String, Digest>,
}

/// Saves `blobs` as the newest checkpoint of `dir`, then removes all but the two newest intact
/// ones. Power may fail at any moment: what was loadable before stays loadable.
///
/// # Errors
/// [`StoreError::Name`] for a blob name that is no plain file name; [`StoreError::Write`] or
/// [`StoreError::Io`] if the disk refuses, and the older checkpoints are untouched then.
pub fn save(store: &Store, dir: &Path, step: u64, blobs: &BTreeMap<String, Vec<u8>>) -> Result<(), StoreError> {
    if let Some(name) = blobs.keys().find(|name| !is_plain(name)) {
        return Err(StoreError::Name { name: name.clone() });
    }
    store.create_dir(dir)?;
    let older = numbered(dir)?;
    let number = older.last().map_or(1, |(number, _)| number + 1);
    let folder = dir.join(format!("{number:08}"));
    let saved = write(store, &folder, step, blobs);
    if saved.is_err() {
        // Best effort: gives the space of a full disk back; the next save cleans up otherwise.
        let _ = store.remove(&folder);
    }
    saved?;
    let mut kept = 1;
    for (_, folder) in older.iter().rev() {
        if kept < KEPT && read(folder).is_ok() {
            kept += 1;
        } else {
            store.remove(folder)?;
        }
    }
    Ok(())
}

/// Loads the newest intact checkpoint of `dir`; `None` if none was ever completed.
///
/// # Errors
/// [`StoreError::NoCheckpoint`] if there are some and all are damaged, or the
/// [`StoreError::Io`] that kept the newest from being read if that was the reason.
pub fn load_latest(dir: &Path) -> Result<Option<Loaded>, StoreError> {
    let mut warnings = Vec::new();
    let mut unreadable = None;
    for (_, folder) in numbered(dir)?.into_iter().rev() {
        // Aborted before its manifest: it never was a checkpoint.
        if !folder.join(MANIFEST).exists() {
            continue;
        }
        match read(&folder) {
            Ok((step, blobs)) => return Ok(Some((step, blobs, warnings))),
            Err(error) => {
                warnings.push(Warning { path: folder, reason: error.to_string() });
                if matches!(error, StoreError::Io { .. }) {
                    unreadable.get_or_insert(error);
                }
            }
        }
    }
    match (unreadable, warnings.is_empty()) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(None),
        (None, false) => Err(StoreError::NoCheckpoint {
            dir: dir.to_path_buf(),
            reasons: warnings.into_iter().map(|warning| warning.reason).collect(),
        }),
    }
}

/// Removes all checkpoints of `dir`: for a run that is finished.
///
/// # Errors
/// [`StoreError::Io`].
pub fn clear(store: &Store, dir: &Path) -> Result<(), StoreError> {
    for (_, folder) in numbered(dir)? {
        store.remove(&folder)?;
    }
    Ok(())
}

fn write(store: &Store, folder: &Path, step: u64, blobs: &BTreeMap<String, Vec<u8>>) -> Result<(), StoreError> {
    store.create_dir(folder)?;
    let mut files = BTreeMap::new();
    for (name, bytes) in blobs {
        let path = folder.join(name);
        let digest = store.write_new(&path, &path, |out| out.write_all(bytes))?;
        files.insert(name.clone(), digest);
    }
    // The blobs' names must be on the disk before the manifest that vouches for them.
    store.sync_dir(folder)?;
    let manifest = render(&Manifest { format: FORMAT, step, files })?;
    store.commit(&folder.join(MANIFEST), manifest.as_bytes())?;
    Ok(())
}

fn read(folder: &Path) -> Result<(u64, BTreeMap<String, Vec<u8>>), StoreError> {
    let path = folder.join(MANIFEST);
    let corrupt =
        |path: &Path, reason: &str| StoreError::Corrupt { path: path.to_path_buf(), reason: reason.to_string() };
    let stored = fs::read(&path).map_err(StoreError::io("read", &path))?;
    // `{...}` newline, 64 digits, newline.
    let body = stored.len().checked_sub(66).and_then(|end| stored.get(..end)).unwrap_or_default();
    let manifest: Manifest =
        serde_json::from_slice(body).map_err(|error| corrupt(&path, &format!("not a manifest ({error})")))?;
    if render(&manifest)?.as_bytes() != stored {
        return Err(corrupt(&path, "its contents do not match its SHA-256"));
    }
    if manifest.format != FORMAT {
        let reason = format!("format {}, this version reads {FORMAT}", manifest.format);
        return Err(corrupt(&path, &reason));
    }
    let mut blobs = BTreeMap::new();
    for (name, digest) in manifest.files {
        let path = folder.join(&name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(corrupt(&path, "missing"));
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        if bytes.len() as u64 != digest.bytes {
            let reason = format!("{} bytes instead of {}", bytes.len(), digest.bytes);
            return Err(corrupt(&path, &reason));
        }
        if sha256_hex(&bytes) != digest.sha256 {
            return Err(corrupt(&path, "its contents do not match the SHA-256 in the manifest"));
        }
        blobs.insert(name, bytes);
    }
    Ok((manifest.step, blobs))
}

/// The manifest's exact bytes: one line of JSON and one line with that line's SHA-256.
fn render(manifest: &Manifest) -> Result<String, StoreError> {
    let body = serde_json::to_string(manifest).map_err(|error| StoreError::Tensors { reason: error.to_string() })?;
    let digest = sha256_hex(body.as_bytes());
    Ok(format!("{body}\n{digest}\n"))
}

/// Checkpoint folders by number, oldest first.
fn numbered(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for path in list(dir)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_number = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, true, Ok(number)) = (is_number, path.is_dir(), name.parse()) {
            folders.push((number, path));
        }
    }
    folders.sort();
    Ok(folders)
}

fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name != MANIFEST && name.bytes().all(allowed)
}
