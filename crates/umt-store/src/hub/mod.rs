//! Files of the Hugging Face Hub: found in the shared cache, or fetched into it.
//!
//! Only bytes whose SHA-256 is the expected one get a name in the cache. Names and layout are hf-hub's, so that what
//! other libraries have fetched is found and what is fetched here is found by them. Nothing is read from the
//! environment: see [`HubSettings`].

mod error;
mod layout;
mod transfer;
mod wire;

pub use error::HubError;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::layout::{Layout, is_commit, is_sha256};
use self::transfer::{Partial, receive};
use self::wire::{Failure, Metadata, Wire};
use crate::commit::Store;
use crate::digest::digest_file;
use crate::error::StoreError;

/// The Hub's own address.
pub const ENDPOINT: &str = "https://huggingface.co";

/// Where the Hub is and how patient to be with it.
#[derive(Clone, PartialEq)]
pub struct HubSettings {
    /// Its address, or a mirror's (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The cache's folder (`$HF_HOME/hub`).
    pub cache: PathBuf,
    /// A token for private and gated repositories (`HF_TOKEN`).
    pub token: Option<String>,
    /// Use the cache alone (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// A proxy's address.
    pub proxy: Option<String>,
    /// Attempts after the first; one that brings 1 MiB or more is not counted.
    pub retries: u32,
    /// The wait before the second attempt; it doubles each time, up to a minute.
    pub wait: Duration,
    /// How long to wait for an answer or for the next bytes.
    pub patience: Duration,
    /// Bytes that must arrive within `patience`: less is a server that drips.
    pub least: u64,
}

impl HubSettings {
    /// The public Hub with a cache in `cache`.
    pub fn new(cache: &Path) -> Self {
        Self {
            endpoint: ENDPOINT.into(),
            cache: cache.to_path_buf(),
            token: None,
            offline: false,
            proxy: None,
            retries: 5,
            wait: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            least: 1 << 16,
        }
    }
}

/// The token stays out of logs.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "...");
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &token)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// A file of a model repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// Its path in the repository.
    pub file: String,
    /// What its SHA-256 must be; without it the Hub's own word counts, which it gives for large files.
    pub sha256: Option<String>,
}

impl HubFile {
    /// Whether its names can be those of a file of the Hub.
    ///
    /// # Errors
    /// [`HubError::Name`].
    pub fn check(&self) -> Result<(), HubError> {
        layout::check(self)
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}", self.file, self.repo, self.revision)
    }
}

/// A verified file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCopy {
    /// Its path there.
    pub path: PathBuf,
    /// The commit it belongs to.
    pub commit: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes there are, those of an earlier attempt included.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Finds `wanted` in the cache, or fetches it. A branch is asked for anew each time; a commit in the cache needs no
/// network.
///
/// # Errors
/// [`HubError`]. Whatever has arrived is kept and gone on with in the next call; nothing unverified gets a name.
pub fn fetch(settings: &HubSettings, wanted: &HubFile, tell: &mut dyn FnMut(Transfer)) -> Result<HubCopy, HubError> {
    let layout = Layout::new(&settings.cache, wanted)?;
    if (settings.offline || is_commit(&wanted.revision))
        && let Some(commit) = layout.commit()
        && let Some(copy) = cached(settings, &layout, wanted, commit, wanted.sha256.as_deref())?
    {
        return Ok(copy);
    }
    if settings.offline {
        return Err(HubError::Offline { wanted: Box::new(wanted.clone()), cache: settings.cache.clone() });
    }
    let wire = Wire::new(settings, wanted)?;
    let meta = insist(settings, wanted, &mut |_| wire.metadata())?;
    let expected = match (&wanted.sha256, is_sha256(&meta.etag)) {
        (Some(expected), true) if *expected != meta.etag => {
            return Err(wrong(settings, wanted, expected, meta.etag));
        }
        (Some(expected), _) => expected.clone(),
        (None, true) => meta.etag.clone(),
        (None, false) => return Err(HubError::Unverifiable { wanted: Box::new(wanted.clone()) }),
    };
    if let Some(copy) = cached(settings, &layout, wanted, meta.commit.clone(), Some(&expected))? {
        remember(&layout, wanted, &meta)?;
        return Ok(copy);
    }
    let store = lock(layout.folder())?;
    let blob = layout.blob(&meta.etag);
    // Another process may have been quicker.
    if !blob.exists() || digest_file(&blob)?.sha256 != expected {
        download(settings, wanted, &wire, &meta, &expected, &layout, &store, tell)?;
    }
    let path = layout.snapshot(&meta.commit, &wanted.file);
    // snapshots/<commit>/<file>, as many steps up as there are parts below the repository's folder.
    let up = "../".repeat(2 + wanted.file.matches('/').count());
    store.link(Path::new(&format!("{up}blobs/{}", meta.etag)), &path)?;
    remember(&layout, wanted, &meta)?;
    Ok(HubCopy { path, commit: meta.commit, sha256: expected, bytes: meta.bytes })
}

/// The cached file of a commit, if it is there and right.
fn cached(
    settings: &HubSettings,
    layout: &Layout,
    wanted: &HubFile,
    commit: String,
    expected: Option<&str>,
) -> Result<Option<HubCopy>, HubError> {
    let path = layout.snapshot(&commit, &wanted.file);
    if !path.is_file() {
        return Ok(None);
    }
    let digest = digest_file(&path)?;
    let blob = fs::canonicalize(&path).map_err(StoreError::io("resolve", &path))?;
    let name = blob.file_name().and_then(|name| name.to_str()).filter(|name| is_sha256(name));
    match expected.or(name) {
        Some(expected) if expected == digest.sha256 => {}
        // Asked for anew, which says so if the Hub, too, has another file.
        _ if !settings.offline => return Ok(None),
        Some(expected) => {
            return Err(HubError::Damaged { path, expected: expected.into(), found: digest.sha256 });
        }
        None => return Err(HubError::Unverifiable { wanted: Box::new(wanted.clone()) }),
    }
    Ok(Some(HubCopy { path, commit, sha256: digest.sha256, bytes: digest.bytes }))
}

fn download(
    settings: &HubSettings,
    wanted: &HubFile,
    wire: &Wire<'_>,
    meta: &Metadata,
    expected: &str,
    layout: &Layout,
    store: &Store,
    tell: &mut dyn FnMut(Transfer),
) -> Result<(), HubError> {
    let mut partial = Partial::open(store, layout.partial(&meta.etag))?;
    let mut resumed = partial.len() > 0;
    loop {
        insist(settings, wanted, &mut |gained| {
            let before = partial.len();
            let result = receive(settings, wire, meta.bytes, &mut partial, tell);
            *gained = partial.len().saturating_sub(before);
            result
        })?;
        let found = partial.sha256();
        if found == expected {
            return Ok(partial.finish(&layout.blob(&meta.etag))?);
        }
        // What an earlier process left may have been damaged since; what came in one piece is the server's.
        if !resumed {
            partial.discard()?;
            return Err(wrong(settings, wanted, expected, found));
        }
        resumed = false;
        partial.clear()?;
    }
}

/// Tries until it succeeds or has failed too often.
fn insist<T>(
    settings: &HubSettings,
    wanted: &HubFile,
    attempt: &mut dyn FnMut(&mut u64) -> Result<T, Failure>,
) -> Result<T, HubError> {
    let mut failed = 0;
    let mut attempts = 0;
    loop {
        let mut gained = 0;
        attempts += 1;
        let reason = match attempt(&mut gained) {
            Ok(value) => return Ok(value),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(reason)) => reason,
        };
        failed = if gained >= 1 << 20 { 1 } else { failed + 1 };
        if failed > settings.retries {
            let (endpoint, wanted) = (settings.endpoint.clone(), Box::new(wanted.clone()));
            return Err(HubError::Failed { endpoint, wanted, reason, attempts });
        }
        std::thread::sleep((settings.wait * 2_u32.pow(failed.min(7) - 1)).min(Duration::from_secs(60)));
    }
}

/// Writes down which commit a branch is at, for those who are offline later.
fn remember(layout: &Layout, wanted: &HubFile, meta: &Metadata) -> Result<(), HubError> {
    if !is_commit(&wanted.revision) && layout.commit().as_ref() != Some(&meta.commit) {
        Store::shared(layout.folder())?.commit(&layout.reference(), meta.commit.as_bytes())?;
    }
    Ok(())
}

/// One process at a time fetches into a repository's folder; the others wait, and then find the file.
fn lock(folder: &Path) -> Result<Store, StoreError> {
    let begun = Instant::now();
    loop {
        match Store::open(folder) {
            Err(StoreError::Locked { .. }) if begun.elapsed() < Duration::from_secs(1800) => {
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

fn wrong(settings: &HubSettings, wanted: &HubFile, expected: &str, found: String) -> HubError {
    let endpoint = settings.endpoint.clone();
    HubError::WrongBytes { endpoint, wanted: Box::new(wanted.clone()), expected: expected.into(), found }
}
