//! Weights that are given instead of drawn or trained: where a recipe says they come from, and the verified file.

use crate::error::RecipeError;
use crate::recipe::{Recipe, Stage};
use crate::watch::Watch;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use umt_encoders::pretrained::{FirstConv, known, pth};
use umt_encoders::{Block, EncoderConfig};
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::Tensors;
use umt_store::hub::{HubFile, HubSettings, fetch};
use umt_store::{Store, digest_file, sha256_hex, tensors};

/// The file of a run's folder that says which files of the Hub it was made with.
pub(crate) const GIVEN: &str = "weights.json";

/// A file with weights: in a recipe a name, or a table that says more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Weights {
    /// A repository of the Hub (`owner/name`), or a path to a `.safetensors`, `.pth`, `.pt` or `.bin` file.
    pub from: String,
    /// A commit, tag or branch of the repository; the known list's commit, else `main`, when left out.
    pub revision: Option<String>,
    /// The file in the repository; `model.safetensors` when left out.
    pub file: Option<String>,
    /// What the file's SHA-256 must be.
    pub sha256: Option<String>,
    /// How three colours become one channel; of encoders alone.
    pub first_conv: Option<FirstConv>,
}

/// The long form of [`Weights`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    from: String,
    revision: Option<String>,
    file: Option<String>,
    sha256: Option<String>,
    first_conv: Option<FirstConv>,
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Weights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("owner/name of a repository, a path to a file, or a table with `from`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Weights, E> {
                Ok(Weights { from: text.into(), revision: None, file: None, sha256: None, first_conv: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Weights, A::Error> {
                let Table { from, revision, file, sha256, first_conv } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Weights { from, revision, file, sha256, first_conv })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Weights {
    /// Whether it names a file of this machine.
    pub fn is_file(&self) -> bool {
        let path = Path::new(&self.from);
        let extension = path.extension().and_then(|end| end.to_str());
        path.is_absolute() || extension.is_some_and(|end| ["safetensors", "pth", "pt", "bin"].contains(&end))
    }

    /// The file of the Hub that is meant.
    pub(crate) fn hub_file(&self) -> HubFile {
        let known = known::repository(&self.from);
        let pinned = known.as_ref().map(|known| known.commit.clone());
        let revision = self.revision.clone().or_else(|| pinned.clone()).unwrap_or_else(|| "main".into());
        let listed = known.filter(|known| known.commit == revision);
        let file = self.file.clone().or_else(|| listed.as_ref().map(|known| known.file.clone()));
        let file = file.unwrap_or_else(|| "model.safetensors".into());
        let sha256 = listed.filter(|known| known.file == file).and_then(|known| known.sha256);
        HubFile { repo: self.from.clone(), revision, file, sha256: self.sha256.clone().or(sha256) }
    }

    /// What cannot be, by the text alone: for an encoder, or for a whole network.
    pub(crate) fn check(&self, encoder: Option<&EncoderConfig>) -> Result<(), String> {
        if encoder.is_none() && self.first_conv.is_some() {
            return Err("`first-conv` belongs to an encoder's `pretrained`: a whole network is taken as it is".into());
        }
        if let Some(sha256) = &self.sha256
            && (sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        {
            return Err(format!("`sha256` is {sha256}: expected 64 hex digits in lower case"));
        }
        if self.is_file() {
            return match self.revision.is_some() || self.file.is_some() {
                true => Err(format!("{} is a file: `revision` and `file` belong to a repository", self.from)),
                false => Ok(()),
            };
        }
        self.hub_file()
            .check()
            .map_err(|error| format!("{error}; a file of your own ends in .safetensors, .pth, .pt or .bin"))?;
        let (Some(known), Some(encoder)) = (known::repository(&self.from), encoder) else { return Ok(()) };
        match (encoder.kind(), encoder.block()) {
            (kind, _) if known.kind != kind => {
                Err(format!("{} is a {}, the encoder is a {kind}", self.from, known.kind))
            }
            (_, Some(Block::NonBottleneck1d)) => Err(format!(
                "{} is made of basic blocks, the encoder of non-bottleneck-1d ones, for which the Hub has no weights: \
                 give a file of such an encoder, or \"none\"",
                self.from
            )),
            _ => Ok(()),
        }
    }
}

impl Recipe {
    /// Everything of the Hub that its encoders and stages name, each once.
    pub fn hub_weights(&self) -> Vec<&Weights> {
        let given = self.stage.iter().filter_map(|stage| stage.weights.as_ref());
        let all = self.pretrained.values().chain(given).filter(|weights| !weights.is_file());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

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
    pub fn tensors(&self) -> Result<Tensors, RecipeError> {
        let fail = |reason: String| RecipeError::Weights { from: self.path.display().to_string(), reason };
        let bytes = std::fs::read(&self.path).map_err(|error| fail(error.to_string()))?;
        if sha256_hex(&bytes) != self.sha256 {
            return Err(fail("it changed while the run was under way".into()));
        }
        // A zip archive, or the bare pickle that older versions of PyTorch wrote.
        if bytes.starts_with(b"PK") || bytes.starts_with(&[0x80]) {
            return pth::read(&bytes).map_err(|error| fail(error.to_string()));
        }
        tensors::read(&bytes).map_err(|error| fail(error.to_string()))
    }

    /// The error of tensors that do not fit a network.
    pub fn unfit(&self, error: &umt_nn::NnError) -> RecipeError {
        RecipeError::Weights { from: self.label.clone(), reason: error.to_string() }
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
    pub fn new(hub: &HubSettings, folder: &Path) -> Result<Self, RecipeError> {
        let path = folder.join(GIVEN);
        let remembered = if path.exists() { umt_store::read_json(&path)? } else { BTreeMap::new() };
        Ok(Self { hub: hub.clone(), found: BTreeMap::new(), remembered })
    }

    /// Finds or fetches a file and verifies it.
    pub fn find(&mut self, weights: &Weights, watch: &mut dyn Watch) -> Result<&Given, RecipeError> {
        if !self.found.contains_key(weights) {
            let given = if weights.is_file() { local(weights)? } else { self.fetch(weights, watch)? };
            self.found.insert(weights.clone(), given);
        }
        self.get(weights)
    }

    /// A file that was found before.
    pub fn get(&self, weights: &Weights) -> Result<&Given, RecipeError> {
        let lost = || RecipeError::Weights { from: weights.from.clone(), reason: "it was not looked for".into() };
        self.found.get(weights).ok_or_else(lost)
    }

    fn fetch(&mut self, weights: &Weights, watch: &mut dyn Watch) -> Result<Given, RecipeError> {
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
                    return Err(RecipeError::Weights { from: name, reason });
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
    ) -> Result<String, RecipeError> {
        if let Some(weights) = &stage.weights {
            return self.give_whole(weights, &mut |tensors| network.load(tensors));
        }
        let modalities: Vec<Modality> = network.modalities().collect();
        self.give_encoders(&modalities, pretrained, &mut |m, tensors, how| network.load_encoder(m, tensors, how))
    }

    /// Gives a network that is not trained all its weights, by `load`, and says so in a few words.
    pub fn give_whole(
        &self,
        weights: &Weights,
        load: &mut dyn FnMut(Tensors) -> Result<(), umt_nn::NnError>,
    ) -> Result<String, RecipeError> {
        let given = self.get(weights)?;
        load(given.tensors()?).map_err(|e| given.unfit(&e))?;
        Ok(format!("weights of {}, not trained here", given.label))
    }

    /// Gives each encoder the weights that its recipe names, by `load`, and says so in a few words.
    pub fn give_encoders(
        &self,
        modalities: &[Modality],
        pretrained: &BTreeMap<Modality, Weights>,
        load: &mut dyn FnMut(Modality, Tensors, FirstConv) -> Result<(), umt_nn::NnError>,
    ) -> Result<String, RecipeError> {
        let mut note = String::new();
        for &modality in modalities {
            if let Some(weights) = pretrained.get(&modality) {
                let given = self.get(weights)?;
                let how = weights.first_conv.unwrap_or_default();
                load(modality, given.tensors()?, how).map_err(|e| given.unfit(&e))?;
                note += &format!(", {modality} began as {}", given.label);
            }
        }
        Ok(note)
    }

    /// Writes down what the Hub gave, before anything is made of it.
    pub fn remember(&self, store: &Store) -> Result<(), RecipeError> {
        if !self.remembered.is_empty() {
            store.commit_json(&store.path(GIVEN), &self.remembered)?;
        }
        Ok(())
    }
}

fn local(weights: &Weights) -> Result<Given, RecipeError> {
    let fail = |reason: String| RecipeError::Weights { from: weights.from.clone(), reason };
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
/// [`RecipeError::Usage`] for what cannot be a repository, and what fetching may give.
pub fn fetch_weights(
    weights: &Weights,
    hub: &HubSettings,
    watch: &mut dyn Watch,
) -> Result<umt_store::hub::HubCopy, RecipeError> {
    if weights.is_file() {
        return Err(RecipeError::Usage(format!("{} is a file, not a repository: nothing to fetch", weights.from)));
    }
    Weights { first_conv: None, ..weights.clone() }.check(None).map_err(RecipeError::Usage)?;
    let wanted = weights.hub_file();
    Ok(fetch(hub, &wanted, &mut |transfer| watch.on_download(&wanted.repo, transfer))?)
}
