//! Checkpoints: named blobs of one step, complete and verified or not there.
//!
//! A checkpoint is a folder `NNNNNNNN` (a running number) whose `manifest.json` is written last;
//! without one the folder does not count. The manifest holds step, length and SHA-256 of every
//! blob, and a last line with its own SHA-256, so that any changed byte is noticed. The two
//! newest intact checkpoints are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commit::{MANIFEST, Store, list};
use crate::digest::{Digest, read_verified, sha256_hex};
use crate::error::StoreError;

const FORMAT: u32 = 2;
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
    /// The folder's number, so that a renamed folder is not taken for a newer one.
    number: u64,
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
    // The next after the newest; a folder that somebody gave the last number of all is no reason to end.
    let next = older.iter().rev().find_map(|(number, _)| number.checked_add(1)).unwrap_or(1);
    let folder = dir.join(format!("{next:08}"));
    let saved = write(store, &folder, next, step, blobs);
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
        match read(&folder) {
            // Aborted before its manifest: it never was a checkpoint.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
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

fn write(
    store: &Store,
    folder: &Path,
    number: u64,
    step: u64,
    blobs: &BTreeMap<String, Vec<u8>>,
) -> Result<(), StoreError> {
    store.create_dir(folder)?;
    let mut files = BTreeMap::new();
    for (name, bytes) in blobs {
        let path = folder.join(name);
        let digest = store.write_new(&path, |out| out.write_all(bytes))?;
        files.insert(name.clone(), digest);
    }
    // The blobs' names must be on the disk before the manifest that vouches for them.
    store.sync_dir(folder)?;
    let manifest = render(&Manifest { format: FORMAT, number, step, files })?;
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
    if folder.file_name().and_then(|name| name.to_str()) != Some(&format!("{:08}", manifest.number)) {
        return Err(corrupt(&path, &format!("it belongs to the folder {:08}", manifest.number)));
    }
    let blob = |(name, digest): (String, Digest)| Ok((name.clone(), read_verified(&folder.join(name), &digest)?));
    let blobs: Result<_, StoreError> = manifest.files.into_iter().map(blob).collect();
    Ok((manifest.step, blobs?))
}

/// The manifest's exact bytes: one line of JSON and one line with that line's SHA-256.
fn render(manifest: &Manifest) -> Result<String, StoreError> {
    let body = serde_json::to_string(manifest).map_err(|error| StoreError::Tensors { reason: error.to_string() })?;
    let digest = sha256_hex(body.as_bytes());
    Ok(format!("{body}\n{digest}\n"))
}

/// Checkpoint folders by number, oldest first.
fn numbered(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let paths = match list(dir) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut folders = Vec::new();
    for path in paths {
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
