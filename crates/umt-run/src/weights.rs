//! Weights that are given instead of drawn or trained: the verified files.

use crate::error::RunError;
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use umt_encoders::pretrained::{pth, unwrapped};
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::Tensors;
use umt_recipe::{Stage, Weights};
use umt_store::hub::{HubSettings, fetch};
use umt_store::{Store, digest_file, sha256_hex, tensors};

/// The file of a run's folder that says which files of the Hub it was made with.
pub(crate) const GIVEN: &str = "weights.json";

/// A verified file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    path: PathBuf,
    pub sha256: String,
    /// For people: the path, or the repository with its commit.
    pub label: String,
}

impl Given {
    /// Its tensors, by the names they have there.
    pub fn tensors(&self) -> Result<Tensors, RunError> {
        let fail = |reason: String| RunError::Weights { from: self.path.display().to_string(), reason };
        let bytes = std::fs::read(&self.path).map_err(|error| fail(error.to_string()))?;
        if sha256_hex(&bytes) != self.sha256 {
            return Err(fail("it changed while the run was under way".into()));
        }
        // A zip archive, or the bare pickle that older versions of PyTorch wrote.
        if bytes.starts_with(b"PK") || bytes.starts_with(&[0x80]) {
            return pth::read(&bytes).map(unwrapped).map_err(|error| fail(error.to_string()));
        }
        tensors::read(&bytes).map(unwrapped).map_err(|error| fail(error.to_string()))
    }

    /// The error of tensors that do not fit a network.
    pub fn unfit(&self, error: &umt_nn::NnError) -> RunError {
        RunError::Weights { from: self.label.clone(), reason: error.to_string() }
    }
}

/// What a run remembers of a file of the Hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    commit: String,
    sha256: String,
}

/// The given files of a run: each is looked for once, and what the Hub gave stays what it was.
#[derive(Debug)]
pub(crate) struct GivenFiles {
    hub: HubSettings,
    found: BTreeMap<Weights, Given>,
    remembered: BTreeMap<String, Remembered>,
}

impl GivenFiles {
    /// For a run in `folder`, which need not exist.
    pub fn new(hub: &HubSettings, folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(GIVEN);
        let remembered = if path.exists() { umt_store::read_json(&path)? } else { BTreeMap::new() };
        Ok(Self { hub: hub.clone(), found: BTreeMap::new(), remembered })
    }

    /// Finds or fetches a file and verifies it.
    pub fn find(&mut self, weights: &Weights, watch: &mut dyn Watch) -> Result<&Given, RunError> {
        if !self.found.contains_key(weights) {
            let given = if weights.is_file() { local(weights)? } else { self.fetch(weights, watch)? };
            self.found.insert(weights.clone(), given);
        }
        self.get(weights)
    }

    /// A file that was found before.
    pub fn get(&self, weights: &Weights) -> Result<&Given, RunError> {
        let lost = || RunError::Weights { from: weights.from.clone(), reason: "it was not looked for".into() };
        self.found.get(weights).ok_or_else(lost)
    }

    fn fetch(&mut self, weights: &Weights, watch: &mut dyn Watch) -> Result<Given, RunError> {
        let mut wanted = weights.hub_file();
        let name = wanted.to_string();
        if let Some(before) = self.remembered.get(&name) {
            // A branch may have moved on; the run goes on with what it began with.
            wanted.revision.clone_from(&before.commit);
            match &wanted.sha256 {
                Some(sha256) if *sha256 != before.sha256 => {
                    let reason = format!(
                        "the run was made with SHA-256 {}, now {sha256} is asked for; give another --out to begin anew",
                        before.sha256
                    );
                    return Err(RunError::Weights { from: name, reason });
                }
                _ => wanted.sha256 = Some(before.sha256.clone()),
            }
        }
        let copy = fetch(&self.hub, &wanted, &mut |transfer| watch.on_download(&wanted.repo, transfer))?;
        let label = format!("{}@{}", wanted.repo, copy.commit.get(..12).unwrap_or(&copy.commit));
        self.remembered.insert(name, Remembered { commit: copy.commit, sha256: copy.sha256.clone() });
        Ok(Given { path: copy.path, sha256: copy.sha256, label })
    }

    /// Gives a network that begins the weights that its recipe names, and says so in a few words.
    pub fn give(
        &self,
        network: &mut Network,
        stage: &Stage,
        pretrained: &BTreeMap<Modality, Weights>,
    ) -> Result<String, RunError> {
        if let Some(weights) = &stage.weights {
            let given = self.get(weights)?;
            network.load(given.tensors()?).map_err(|e| given.unfit(&e))?;
            return Ok(format!("weights of {}, not trained here", given.label));
        }
        let mut note = String::new();
        let modalities: Vec<Modality> = network.modalities().collect();
        for modality in modalities {
            if let Some(weights) = pretrained.get(&modality) {
                let given = self.get(weights)?;
                let how = weights.first_conv.unwrap_or_default();
                network.load_encoder(modality, given.tensors()?, how).map_err(|e| given.unfit(&e))?;
                note += &format!(", {modality} began as {}", given.label);
            }
        }
        Ok(note)
    }

    /// Writes down what the Hub gave, before anything is made of it.
    pub fn remember(&self, store: &Store) -> Result<(), RunError> {
        if !self.remembered.is_empty() {
            store.commit_json(&store.path(GIVEN), &self.remembered)?;
        }
        Ok(())
    }
}

fn local(weights: &Weights) -> Result<Given, RunError> {
    let fail = |reason: String| RunError::Weights { from: weights.from.clone(), reason };
    let path = PathBuf::from(&weights.from);
    if !path.is_file() {
        return Err(fail("no such file".into()));
    }
    let sha256 = digest_file(&path)?.sha256;
    match &weights.sha256 {
        Some(expected) if *expected != sha256 => Err(fail(format!("its SHA-256 is {sha256}, expected {expected}"))),
        _ => Ok(Given { path, sha256, label: weights.from.clone() }),
    }
}

/// Fetches a repository's weights ahead of time; returns where they lie.
///
/// # Errors
/// [`RunError::Usage`] for what cannot be a repository, and what fetching may give.
pub fn fetch_weights(
    weights: &Weights,
    hub: &HubSettings,
    watch: &mut dyn Watch,
) -> Result<umt_store::hub::HubCopy, RunError> {
    if weights.is_file() {
        return Err(RunError::Usage(format!("{} is a file, not a repository: nothing to fetch", weights.from)));
    }
    Weights { first_conv: None, ..weights.clone() }.check(None).map_err(RunError::Usage)?;
    let wanted = weights.hub_file();
    Ok(fetch(hub, &wanted, &mut |transfer| watch.on_download(&wanted.repo, transfer))?)
}
