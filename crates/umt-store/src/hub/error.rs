//! The ways in which a file of the Hub cannot be had.

use std::path::PathBuf;

use super::HubFile;
use crate::StoreError;

/// What kept a file from being fetched, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A repository, revision or file whose name cannot be one.
    #[error("{what} `{name}` cannot be one of the Hub: {reason}")]
    Name {
        /// Repository, revision, file or sha256.
        what: &'static str,
        /// As it was given.
        name: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Reading the file needs a permission.
    #[error(
        "{endpoint} refuses {wanted} (status {status}): set HF_TOKEN to a token that may read it; \
         a repository that does not exist is answered in the same way"
    )]
    Denied {
        /// The Hub's address.
        endpoint: String,
        /// What was asked for.
        wanted: Box<HubFile>,
        /// 401 or 403.
        status: u16,
    },
    /// The Hub has no such repository, revision or file.
    #[error("{endpoint} has no {missing}: asked for {wanted}")]
    NotFound {
        /// The Hub's address.
        endpoint: String,
        /// What was asked for.
        wanted: Box<HubFile>,
        /// Which part of it is unknown, as far as the Hub says.
        missing: &'static str,
    },
    /// The Hub or its storage did not answer as it should, however often it was asked.
    #[error("cannot fetch {wanted} from {endpoint}: {reason} ({attempts} attempts; what has arrived is kept)")]
    Failed {
        /// The Hub's address.
        endpoint: String,
        /// What was asked for.
        wanted: Box<HubFile>,
        /// What the last attempt ended with.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// An answer that is not the Hub's.
    #[error("{endpoint} does not answer as the Hub does when asked for {wanted}: {reason}; check HF_ENDPOINT")]
    Protocol {
        /// The Hub's address.
        endpoint: String,
        /// What was asked for.
        wanted: Box<HubFile>,
        /// What does not fit.
        reason: String,
    },
    /// Bytes that are not the expected ones. They were removed.
    #[error("{wanted} from {endpoint} has SHA-256 {found}, expected {expected}: it is not used")]
    WrongBytes {
        /// The Hub's address.
        endpoint: String,
        /// What was asked for.
        wanted: Box<HubFile>,
        /// The digest asked for.
        expected: String,
        /// The digest of what came, or what the Hub announces.
        found: String,
    },
    /// A small file, of which the Hub does not say the SHA-256.
    #[error("the Hub does not say the SHA-256 of {wanted}; give it as `sha256` so that it can be verified")]
    Unverifiable {
        /// What was asked for.
        wanted: Box<HubFile>,
    },
    /// The network may not be used and the file is not in the cache.
    #[error(
        "{wanted} is not in {}, and HF_HUB_OFFLINE forbids the network: fetch it once without HF_HUB_OFFLINE \
         (cargo xtask data fetch-weights {})", cache.display(), wanted.repo
    )]
    Offline {
        /// What was asked for.
        wanted: Box<HubFile>,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A file of the cache is not what its name says.
    #[error("{} is damaged: its SHA-256 is {found}, expected {expected}; delete it and fetch it anew", path.display())]
    Damaged {
        /// The cached file.
        path: PathBuf,
        /// The digest it should have.
        expected: String,
        /// The digest it has.
        found: String,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl HubError {
    /// The exit code of a process that ends with this error: 2 for a request that must be changed, 4 for a damaged
    /// cache, 5 for a network that fails, 6 for bytes that are not the expected ones.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Name { .. } | Self::Denied { .. } | Self::NotFound { .. } => 2,
            Self::Unverifiable { .. } | Self::Offline { .. } => 2,
            Self::Damaged { .. } => 4,
            Self::Failed { .. } | Self::Protocol { .. } => 5,
            Self::WrongBytes { .. } => 6,
            Self::Store(error) => error.exit_code(),
        }
    }
}
