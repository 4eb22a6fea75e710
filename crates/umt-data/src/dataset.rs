//! What a data set is: classes, samples, splits, and where each sample's files lie.

use crate::{DataError, SyntheticAvConfig, files};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::{Path, PathBuf},
};
use umt_media::Modality;

/// Which part of a set a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Trained on.
    Train,
    /// Held out from train, for every choice.
    Validation,
    /// Looked at once, at the end.
    Test,
    /// Taken out of train because it shares a group or its content with validation or test.
    LeftOut,
}

impl Split {
    /// All of them, in order.
    pub const ALL: [Split; 4] = [Self::Train, Self::Validation, Self::Test, Self::LeftOut];

    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::LeftOut => "left-out",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Where one modality of a sample comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder of frames.
    Path(PathBuf),
    /// Made by code: the number of the sample.
    Synthetic(u64),
}

impl Source {
    /// The file or folder, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Synthetic(_) => None,
        }
    }
}

/// One sample before it is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleInfo {
    /// Unique in the set.
    pub id: String,
    /// Index into [`Dataset::classes`].
    pub label: usize,
    /// The part it belongs to.
    pub split: Split,
    /// One entry per name in [`Dataset::group_names`]; empty: in no group of that kind.
    pub groups: Vec<String>,
    /// Where each modality comes from.
    pub sources: BTreeMap<Modality, Source>,
}

/// A data set: what there is, not yet read.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name under which it was opened.
    pub name: String,
    /// The folder that the list's paths start from; empty for a set made by code.
    pub root: PathBuf,
    /// Class names, sorted; a label is an index into them.
    pub classes: Vec<String>,
    /// All samples in the order of the list.
    pub samples: Vec<SampleInfo>,
    /// The kinds of group that must not be torn apart (`recording`, `picture`, ...).
    pub group_names: Vec<String>,
    /// The kind of group that validation holds out unless the settings name another.
    pub hold_out: Option<String>,
    /// The design of a set made by code.
    pub synthetic: Option<SyntheticAvConfig>,
}

impl Dataset {
    /// Indices of the samples of a split, in the order of the list.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        (0..self.samples.len()).filter(|&i| self.samples[i].split == split).collect()
    }

    /// Number of samples of each class of a split.
    pub fn class_counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.samples.iter().filter(|s| s.split == split) {
            counts[sample.label] += 1;
        }
        counts
    }

    /// What defines the set, as 64 hex digits: classes, ids, labels, splits, groups and the files.
    ///
    /// It is the same for a copy of the folder elsewhere. Files count with all their bytes in sets of
    /// up to 1 GiB; in larger ones with their size and both ends, so that this stays a matter of
    /// seconds. What was decoded from them: see [`crate::Cache::digest`].
    pub fn digest(&self) -> String {
        let mut text = format!("{:?}\n{:?}\n{:?}\n", self.classes, self.group_names, self.synthetic);
        let paths = || self.samples.iter().flat_map(|s| s.sources.values()).filter_map(Source::path);
        let whole = paths().map(files::size).sum::<u64>() <= files::WHOLE;
        for sample in &self.samples {
            let SampleInfo { id, label, split, groups, sources } = sample;
            text.push_str(&format!("{id:?} {label} {} {groups:?}", split.name()));
            let mut before: Option<(&Source, String)> = None;
            for (modality, source) in sources {
                // A clip that holds both sound and video is read once.
                let content = match (before.take(), source) {
                    (Some((same, content)), _) if same == source => content,
                    (_, Source::Path(path)) => files::content(path, whole),
                    (_, Source::Synthetic(number)) => number.to_string(),
                };
                text.push_str(&format!(" {modality}:{content}"));
                before = Some((source, content));
            }
            text.push('\n');
        }
        umt_store::sha256_hex(text.as_bytes())
    }

    /// Keeps at most `limit` samples of each split, spread evenly over the classes.
    pub(crate) fn limit(&mut self, limit: usize) {
        let mut keep = BTreeSet::new();
        for split in Split::ALL {
            let mut by_class = vec![Vec::new(); self.classes.len()];
            for index in self.indices(split) {
                by_class[self.samples[index].label].push(index);
            }
            let deepest = by_class.iter().map(Vec::len).max().unwrap_or(0);
            let in_turn = (0..deepest).flat_map(|rank| by_class.iter().filter_map(move |class| class.get(rank)));
            keep.extend(in_turn.take(limit).copied());
        }
        let mut index = 0;
        self.samples.retain(|_| {
            index += 1;
            keep.contains(&(index - 1))
        });
    }

    /// Refuses a set that cannot be trained on: no samples, repeated ids, a split without samples.
    pub(crate) fn validate(&self, list: &Path) -> Result<(), DataError> {
        let mut seen = HashMap::new();
        for (index, sample) in self.samples.iter().enumerate() {
            if let Some(before) = seen.insert(sample.id.as_str(), index) {
                return Err(DataError::List {
                    path: list.to_owned(),
                    line: index as u64 + 1,
                    reason: format!("sample `{}` was named before (row {})", sample.id, before + 1),
                    expected: "each sample once, so that no sample is in two splits".into(),
                });
            }
        }
        for split in [Split::Train, Split::Test] {
            if !self.samples.iter().any(|s| s.split == split) {
                return Err(DataError::root(
                    list,
                    format!("no sample of split `{split}`"),
                    "name some in the split column",
                ));
            }
        }
        Ok(())
    }
}
