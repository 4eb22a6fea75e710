//! What a data set is: classes, samples, splits, and where each sample's files lie.

use crate::{
    DataError, Defects, FindingKind, LabelMaps, SyntheticAvConfig, SyntheticRoomsConfig,
    defects::Place,
    files,
    samples::{NewSample, NewSource, Sample, Samples},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};
use umt_depth::DepthCode;
use umt_media::Modality;
use umt_store::Sha256Text;

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

/// The files of one sample that is in no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Unique among the inputs.
    pub id: String,
    /// A file, or a folder of frames, for each modality.
    pub files: BTreeMap<Modality, PathBuf>,
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

/// Which files name the samples of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lists {
    /// None: the samples are made by code, or numbered.
    None,
    /// One for all.
    One(PathBuf),
    /// `train.txt`, `validation.txt` and `test.txt` in the root.
    PerSplit,
}

/// A data set: what there is, not yet read.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name under which it was opened.
    pub name: String,
    /// The folder that the list's paths start from; empty for a set made by code.
    pub root: PathBuf,
    /// Which files name the samples.
    pub lists: Lists,
    /// Class names, sorted; a label is an index into them.
    pub classes: Vec<String>,
    /// All samples in the order of the list.
    pub samples: Samples,
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
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// A sample by its place in the list.
    pub fn sample(&self, row: usize) -> Sample<'_> {
        Sample::new(self, row)
    }

    /// All samples in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = Sample<'_>> {
        (0..self.len()).map(|row| self.sample(row))
    }

    /// The list that names the samples of a split.
    pub fn list(&self, split: Split) -> Option<PathBuf> {
        match &self.lists {
            Lists::None => None,
            Lists::One(path) => Some(path.clone()),
            Lists::PerSplit => Some(self.root.join(format!("{split}.txt"))),
        }
    }

    /// Indices of the samples of a split, in the order of the list.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&row| self.samples.splits()[row] == split).collect()
    }

    /// Number of samples of each class of a split.
    pub fn class_counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.iter().filter(|sample| sample.split() == split) {
            counts[sample.label()] += 1;
        }
        counts
    }

    /// What defines the set, as 64 hex digits: classes, ids, labels, splits, groups and the files.
    ///
    /// It is the same for a copy of the folder elsewhere. Files count with all their bytes in sets of
    /// up to 1 GiB; in larger ones with their size and both ends, so that this stays a matter of
    /// seconds. What was decoded from them: see [`crate::Cache::digest`].
    pub fn digest(&self) -> String {
        let mut text = Sha256Text::default();
        text.push(&format!("{:?}\n{:?}\n{:?}\n", self.classes, self.group_names, self.synthetic));
        if self.dense.is_some() {
            text.push(&format!("{:?}\n{:?}\n", self.dense, self.rooms));
        }
        let whole = self.is_small();
        // A file of many frames is read once.
        let mut shared: BTreeMap<PathBuf, String> = BTreeMap::new();
        for sample in self.iter() {
            let (id, groups) = (sample.id(), sample.groups());
            text.push(&format!("{id:?} {} {} {groups:?}", sample.label(), sample.split().name()));
            let mut before: Option<(Source, String)> = None;
            for (name, source) in sample.parts() {
                // A clip that holds both sound and video is read once.
                let content = match (before.take(), &source) {
                    (Some((same, content)), _) if same == source => content,
                    (_, Source::Path(path)) => files::content(path, whole),
                    (_, Source::Synthetic(number)) => number.to_string(),
                    (_, Source::Frame(path, frame)) => {
                        let content = shared.entry(path.clone()).or_insert_with(|| files::content(path, whole));
                        format!("{content}#{frame}")
                    }
                };
                text.push(&format!(" {name}:{content}"));
                before = Some((source, content));
            }
            text.push("\n");
        }
        text.hex()
    }

    /// Whether its files are few enough bytes to be identified by all of them.
    pub(crate) fn is_small(&self) -> bool {
        // A file that several parts or samples share counts once.
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        for source in self.iter().flat_map(|sample| sample.parts().map(|(_, source)| source)) {
            let Some(path) = source.path().filter(|path| seen.insert(files::hash(path))) else { continue };
            bytes += files::size(path);
            if bytes > files::WHOLE {
                return false;
            }
        }
        true
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
                by_class[self.samples.label(index)].push(index);
            }
            let deepest = by_class.iter().map(Vec::len).max().unwrap_or(0);
            let in_turn = (0..deepest).flat_map(|rank| by_class.iter().filter_map(move |class| class.get(rank)));
            keep.extend(in_turn.take(limit).copied());
        }
        let keep: Vec<usize> = keep.into_iter().collect();
        self.samples = self.samples.select(&keep);
    }

    /// Whether its samples have classes, or its pixels.
    pub fn is_labelled(&self) -> bool {
        self.classes != [UNLABELLED]
    }

    /// The folder as it is shown.
    pub(crate) fn shown_root(&self) -> PathBuf {
        if self.root.as_os_str().is_empty() { ".".into() } else { self.root.clone() }
    }

    /// Whether it can be trained on: its samples have classes, and there are some to train on and some to test.
    ///
    /// # Errors
    /// [`DataError::Root`] with what is absent.
    pub fn trainable(&self) -> Result<(), DataError> {
        let lacks = |reason: String, hint: &str| {
            let hint = format!("{hint}; as it is, `eval RUN --data` can use it");
            Err(DataError::root(self.shown_root(), reason, hint))
        };
        if !self.is_labelled() {
            return lacks("the samples have no label".into(), "add a column `label`");
        }
        match [Split::Train, Split::Test].into_iter().find(|split| !self.samples.splits().contains(split)) {
            Some(split) => lacks(format!("no sample of split `{split}`"), "name some in the column `split`"),
            None => Ok(()),
        }
    }

    /// Files that are in no list, as test samples without labels.
    pub fn of_inputs(name: &str, classes: Vec<String>, dense: Option<DenseForm>, inputs: &[Input]) -> Self {
        let mut samples = Samples::default();
        for Input { id, files } in inputs {
            let sources: Vec<_> = files.iter().map(|(&modality, path)| (modality, NewSource::Path(path))).collect();
            let (label, split, line) = (0, Split::Test, 0);
            samples.push(NewSample { id, label, split, line, groups: &[], sources: &sources, map: None });
        }
        Self {
            name: name.to_owned(),
            root: PathBuf::new(),
            lists: Lists::None,
            classes,
            samples,
            group_names: Vec::new(),
            hold_out: None,
            synthetic: None,
            rooms: None,
            dense,
        }
    }

    /// Rejects samples without a label where others have one, or leaves them out.
    pub(crate) fn require_labels(&mut self, list: &Path, defects: &mut Defects) -> Result<(), DataError> {
        let unlabelled = self.samples.unlabelled();
        for &row in &unlabelled {
            let sample = self.sample(row);
            let at = Place { list, line: sample.line(), id: sample.id(), form: "a label in every row, or in none" };
            defects.defect(FindingKind::EmptyCell, at, "the label is empty, and others are not".into())?;
        }
        self.leave_out(&unlabelled);
        Ok(())
    }

    /// Takes rows out, which are sorted.
    fn leave_out(&mut self, rows: &[usize]) {
        if !rows.is_empty() {
            let kept: Vec<usize> = (0..self.len()).filter(|row| rows.binary_search(row).is_err()).collect();
            self.samples = self.samples.select(&kept);
        }
    }

    /// Rejects a list without samples and repeated ids. Where defects are collected, the rows of repeated ids are left out.
    pub(crate) fn validate(&mut self, list: &Path, defects: &mut Defects) -> Result<(), DataError> {
        let repeated = self.samples.repeated();
        let form = "each sample once, so that no sample is in two splits";
        for &(row, before) in &repeated {
            let (sample, before) = (self.sample(row), self.sample(before));
            let own = self.list(sample.split());
            let at = Place { list: own.as_deref().unwrap_or(list), line: sample.line(), id: sample.id(), form };
            let other = match &self.lists {
                Lists::PerSplit => format!("{}.txt, line {}", before.split(), before.line()),
                _ => format!("line {}", before.line()),
            };
            let reason = format!("sample `{}` was named before ({other})", sample.id());
            defects.defect(FindingKind::RepeatedId, at, reason)?;
        }
        self.leave_out(&repeated.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
        match self.is_empty() {
            true => defects.set(FindingKind::NoSample, list, "it names no sample".into()),
            false => Ok(()),
        }
    }
}
