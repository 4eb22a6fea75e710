//! Weights that are given instead of drawn or trained: where a recipe says they come from.

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::Path;
use umt_encoders::pretrained::{FirstConv, known};
use umt_encoders::{Block, EncoderConfig};
use umt_store::hub::HubFile;

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
    pub fn hub_file(&self) -> HubFile {
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
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, encoder: Option<&EncoderConfig>) -> Result<(), String> {
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
