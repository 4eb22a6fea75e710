//! Where a file of the Hub lies on this machine: the cache that all of Hugging Face's libraries share.
//!
//! ```text
//! models--<owner>--<name>/refs/<branch>               the branch's commit
//! models--<owner>--<name>/blobs/<etag>                the bytes
//! models--<owner>--<name>/snapshots/<commit>/<file>   a link to them
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::{HubError, HubFile};

/// One repository at one revision in the cache.
pub(super) struct Layout {
    cached: CacheRepo,
    folder: PathBuf,
    revision: String,
}

impl Layout {
    /// Checks the names, which become parts of paths and addresses.
    pub fn new(cache: &Path, wanted: &HubFile) -> Result<Self, HubError> {
        let repo = repo(wanted)?;
        let folder = cache.join(repo.folder_name());
        let revision = wanted.revision.clone();
        Ok(Self { cached: Cache::new(cache.to_path_buf()).repo(repo), folder, revision })
    }

    /// The repository's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit of the revision, if the revision is one or the cache knows it.
    pub fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let commit = fs::read_to_string(self.reference()).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The file that holds the revision's commit.
    pub fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.revision)
    }

    /// The name under which people find a file of a commit.
    pub fn snapshot(&self, commit: &str, file: &str) -> PathBuf {
        self.cached.pointer_path(commit).join(file)
    }

    /// The name under which its bytes lie.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.cached.blob_path(etag)
    }

    /// Where bytes gather until they are verified. The Hub's own libraries do not use this name.
    pub fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.umt-part"))
    }
}

/// The address of a file at the Hub.
pub(super) fn address(endpoint: &str, wanted: &HubFile) -> Result<String, HubError> {
    let repo = repo(wanted)?;
    Ok(format!("{}/{}/resolve/{}/{}", endpoint.trim_end_matches('/'), repo.url(), repo.url_revision(), wanted.file))
}

fn repo(wanted: &HubFile) -> Result<Repo, HubError> {
    check(wanted)?;
    Ok(Repo::with_revision(wanted.repo.clone(), RepoType::Model, wanted.revision.clone()))
}

/// Whether the names, which become parts of paths and addresses, lead nowhere else.
pub(super) fn check(wanted: &HubFile) -> Result<(), HubError> {
    let fail = |what, name: &str, reason| Err(HubError::Name { what, name: name.to_owned(), reason });
    if wanted.repo.split('/').count() != 2 || !wanted.repo.split('/').all(is_part) {
        return fail("the repository", &wanted.repo, "expected owner/name of letters, digits, `.`, `-` and `_`");
    }
    if !wanted.revision.split('/').all(is_part) {
        return fail("the revision", &wanted.revision, "expected a branch, a tag or a commit of 40 hex digits");
    }
    if !wanted.file.split('/').all(is_part) {
        return fail("the file", &wanted.file, "expected a name such as model.safetensors");
    }
    if let Some(sha256) = wanted.sha256.as_deref().filter(|digest| !is_sha256(digest)) {
        return fail("the sha256", sha256, "expected 64 hex digits in lower case");
    }
    Ok(())
}

/// A name that leads nowhere else as a part of a path or an address.
fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
}

/// Whether an etag can be a file's name.
pub(super) fn is_etag(etag: &str) -> bool {
    is_part(etag)
}

/// A full commit: 40 hex digits.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_hex(revision)
}

/// A SHA-256 in lower-case hex digits; of large files it is the Hub's etag.
pub(super) fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && is_hex(digest)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
