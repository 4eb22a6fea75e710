//! What a data set is: classes, samples, splits, and where each sample's files lie.

use crate::{DataError, LabelMaps, SyntheticAvConfig, SyntheticRoomsConfig, files};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::{Path, PathBuf},
};
use umt_depth::DepthCode;
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
    /// One frame of a file that holds many, counted from 0.
    Frame(PathBuf, usize),
}

impl Source {
    /// The file or folder, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Frame(path, _) => Some(path),
            Self::Synthetic(_) => None,
        }
    }
}

/// One sample before it is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleInfo {
    /// Unique in the set.
    pub id: String,
    /// Index into [`Dataset::classes`]; 0 where each pixel has a class of its own.
    pub label: usize,
    /// The part it belongs to.
    pub split: Split,
    /// One entry per name in [`Dataset::group_names`]; empty: in no group of that kind.
    pub groups: Vec<String>,
    /// Where each modality comes from.
    pub sources: BTreeMap<Modality, Source>,
    /// Where the classes of its pixels come from, in sets that have them.
    pub map: Option<Source>,
}

impl SampleInfo {
    /// All that it is made of, by name: its modalities, and `label-map`.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        let map = self.map.iter().map(|source| ("label-map", source));
        self.sources.iter().map(|(modality, source)| (modality.name(), source)).chain(map)
    }
}

/// How the files of a set with a class for every pixel are read.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseForm {
    /// The class of each id that a label file may hold; [`LabelMaps::VOID`] for none. Empty where there are no label files.
    pub classes: Vec<u8>,
    /// What the values of depth files stand for.
    pub depth: DepthCode,
}

impl DenseForm {
    /// Scenes that nobody has labelled: there are no label maps to read, and every pixel is void.
    pub fn unlabelled(depth: DepthCode) -> Self {
        Self { classes: Vec::new(), depth }
    }

    /// Ids 1 to `classes` are the classes in order, 0 is none.
    pub(crate) fn in_order(classes: usize, depth: DepthCode) -> Self {
        let ids = std::iter::once(LabelMaps::VOID).chain(0..classes.min(254) as u8);
        Self { classes: ids.collect(), depth }
    }
}

/// The one class of a set whose list has no labels.
pub(crate) const UNLABELLED: &str = "?";

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
    /// The design of the embedded audio-visual set.
    pub synthetic: Option<SyntheticAvConfig>,
    /// The design of the embedded rooms.
    pub rooms: Option<SyntheticRoomsConfig>,
    /// For sets with a class for every pixel.
    pub dense: Option<DenseForm>,
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
        if self.dense.is_some() {
            text.push_str(&format!("{:?}\n{:?}\n", self.dense, self.rooms));
        }
        let whole = self.is_small();
        // A file of many frames is read once.
        let mut shared: BTreeMap<&Path, String> = BTreeMap::new();
        for sample in &self.samples {
            let SampleInfo { id, label, split, groups, .. } = sample;
            text.push_str(&format!("{id:?} {label} {} {groups:?}", split.name()));
            let mut before: Option<(&Source, String)> = None;
            for (name, source) in sample.parts() {
                // A clip that holds both sound and video is read once.
                let content = match (before.take(), source) {
                    (Some((same, content)), _) if same == source => content,
                    (_, Source::Path(path)) => files::content(path, whole),
                    (_, Source::Synthetic(number)) => number.to_string(),
                    (_, Source::Frame(path, frame)) => {
                        let content = shared.entry(path).or_insert_with(|| files::content(path, whole));
                        format!("{content}#{frame}")
                    }
                };
                text.push_str(&format!(" {name}:{content}"));
                before = Some((source, content));
            }
            text.push('\n');
        }
        umt_store::sha256_hex(text.as_bytes())
    }

    /// Whether its files are few enough bytes to be identified by all of them.
    pub(crate) fn is_small(&self) -> bool {
        let paths = self.samples.iter().flat_map(|s| s.parts()).filter_map(|(_, source)| source.path());
        let paths: BTreeSet<&Path> = paths.collect();
        paths.into_iter().map(files::size).sum::<u64>() <= files::WHOLE
    }

    /// Keeps at most `limit` samples of each split, spread evenly over the classes.
    pub(crate) fn limit(&mut self, limit: usize) {
        let mut keep = BTreeSet::new();
        for split in Split::ALL {
            if self.dense.is_some() {
                // Neighbours show the same scene: evenly over the list instead.
                let all = self.indices(split);
                let count = limit.min(all.len());
                keep.extend((0..count).map(|k| all[k * all.len() / count]));
                continue;
            }
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

    /// Whether its samples have classes, or its pixels.
    pub fn is_labelled(&self) -> bool {
        self.classes != [UNLABELLED]
    }

    /// Whether it can be trained on: its samples have classes, and there are some to train on and some to test.
    ///
    /// # Errors
    /// [`DataError::Root`] with what is absent.
    pub fn trainable(&self) -> Result<(), DataError> {
        let lacks = |reason: String, hint: &str| {
            let hint = format!("{hint}; as it is, `eval RUN --data` can use it");
            Err(DataError::root(
                if self.root.as_os_str().is_empty() { ".".into() } else { self.root.clone() },
                reason,
                hint,
            ))
        };
        if !self.is_labelled() {
            return lacks("the samples have no label".into(), "add a column `label`");
        }
        match [Split::Train, Split::Test].into_iter().find(|&split| !self.samples.iter().any(|s| s.split == split)) {
            Some(split) => lacks(format!("no sample of split `{split}`"), "name some in the column `split`"),
            None => Ok(()),
        }
    }

    /// Rejects a list without samples and repeated ids.
    pub(crate) fn validate(&self, list: &Path, line: &dyn Fn(usize) -> u64) -> Result<(), DataError> {
        let mut seen = HashMap::new();
        for (index, sample) in self.samples.iter().enumerate() {
            if let Some(before) = seen.insert(sample.id.as_str(), index) {
                return Err(DataError::List {
                    path: list.to_owned(),
                    line: line(index),
                    reason: format!("sample `{}` was named before (line {})", sample.id, line(before)),
                    expected: "each sample once, so that no sample is in two splits".into(),
                });
            }
        }
        match self.samples.is_empty() {
            true => Err(DataError::root(list, "it names no sample", "add a row for each sample")),
            false => Ok(()),
        }
    }
}
