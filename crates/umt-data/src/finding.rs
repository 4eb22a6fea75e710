//! What a look at a set finds: problems and notes, each with its place and what to do about it.

use crate::Problem;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::Path};

/// The kinds of [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum FindingKind {
    /// The header of a list lacks a column, or has one twice or of no meaning.
    Header,
    /// A row of a list that cannot be read.
    Row,
    /// A word in the split column that is no split.
    UnknownSplit,
    /// A cell without the text that it needs.
    EmptyCell,
    /// An id that an earlier row has.
    RepeatedId,
    /// A list without a sample.
    NoSample,
    /// Something that the recipe asks for and the set does not have.
    Recipe,
    /// Something about one sample.
    Sample(Problem),
    /// A group with samples in two splits.
    SharedGroup,
    /// Files of the same bytes in two splits.
    EqualContent,
    /// A class that is tested and never trained.
    ClassInTestOnly,
    /// A class that is validated and never trained.
    ClassNotInTrain,
    /// Depths that are no depths in the unit that they are read with.
    DepthRange,
    /// A colour image whose EXIF tag asks for a rotation that its depth and label map do not get.
    Orientation,
    /// Frames that are rotated as their EXIF tag asks.
    Rotated,
    /// Audio that only the installed `ffmpeg` decodes.
    ThroughFfmpeg,
    /// A list that begins with a byte-order mark.
    ByteOrderMark,
    /// An empty cell in a group column.
    NoGroup,
    /// A set that can be evaluated, and has nothing to train on or to test.
    NotTrainable,
    /// A class of the list that occurs nowhere.
    UnusedClass,
    /// A hidden file next to the samples' files.
    HiddenFile,
    /// A file next to the samples' files that no row names.
    UnlistedFile,
}

use FindingKind::Sample;

/// Every kind with its name and what to do.
const KINDS: [(FindingKind, &str, &str); 30] = [
    (FindingKind::Header, "header", "correct the first line of the list"),
    (FindingKind::Row, "row", "correct the row; a field that holds a comma or a quote is written in quotes"),
    (FindingKind::UnknownSplit, "unknown-split", "write train, validation or test"),
    (FindingKind::EmptyCell, "empty-cell", "fill the cell, or remove the row"),
    (FindingKind::RepeatedId, "repeated-id", "give every row an id of its own, or remove the row"),
    (FindingKind::NoSample, "no-sample", "add a row for each sample"),
    (FindingKind::Recipe, "recipe", "change the recipe's data keys, or the list"),
    (Sample(Problem::Missing), "missing", "put the file there, or correct the path: it starts from the list's folder"),
    (Sample(Problem::Corrupt), "corrupt", "replace the file, or remove its row"),
    (Sample(Problem::Unsupported), "unsupported", "convert the file as the reason says (docs/FORMATS.md)"),
    (Sample(Problem::NoAudio), "no-audio", "name a file with audio in the audio column, or remove the row"),
    (Sample(Problem::NoVideo), "no-video", "name a clip, an image or a folder of frames, or remove the row"),
    (Sample(Problem::Silent), "silent", "replace the file, or use it as it is: data.tolerate = [\"silent\"]"),
    (
        Sample(Problem::Short),
        "short",
        "replace the file, set data.audio.min-seconds, or use it as it is: data.tolerate = [\"short\"]",
    ),
    (Sample(Problem::SizeMismatch), "size-mismatch", "store colours, depth and label map of a sample at one size"),
    (Sample(Problem::LabelRange), "label-range", "correct the ids, or name all classes in classes.txt"),
    (FindingKind::SharedGroup, "shared-group", "move all samples of the group to one split"),
    (FindingKind::EqualContent, "equal-content", "keep the file in one split"),
    (FindingKind::ClassInTestOnly, "class-in-test-only", "add training samples of the class, or remove it from test"),
    (
        FindingKind::ClassNotInTrain,
        "class-not-in-train",
        "add training samples of the class, or remove it from validation",
    ),
    (
        FindingKind::DepthRange,
        "depth-range",
        "set data.depth.unit to the millimetres that a value of the files stands for: 1000 for metres, 10 for centimetres",
    ),
    (
        FindingKind::Orientation,
        "orientation",
        "colours, depth and labels are read as stored, the tag is ignored: remove it if depth and labels fit the stored pixels, store the image rotated if not",
    ),
    (FindingKind::Rotated, "rotated", "frames are rotated as their EXIF tag asks; nothing needs to be done"),
    (
        FindingKind::ThroughFfmpeg,
        "through-ffmpeg",
        "it is read, and needs `ffmpeg` on every machine; ffmpeg -i IN OUT.flac converts it once",
    ),
    (FindingKind::ByteOrderMark, "byte-order-mark", "it is dropped; other programs may take it for a part of a name"),
    (FindingKind::NoGroup, "no-group", "the sample is in no group of this kind, and is held out by itself"),
    (FindingKind::NotTrainable, "not-trainable", "nothing needs to be done for `eval` and `predict`"),
    (FindingKind::UnusedClass, "unused-class", "remove the class, unless it is meant to be there"),
    (FindingKind::HiddenFile, "hidden-file", "it is passed over; remove it if it is a leftover"),
    (FindingKind::UnlistedFile, "unlisted-file", "no row that can be read names it; add one if it belongs to the set"),
];

impl FindingKind {
    fn entry(self) -> &'static (Self, &'static str, &'static str) {
        KINDS.iter().find(|(kind, ..)| *kind == self).unwrap_or(&KINDS[0])
    }

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.entry().2
    }

    /// Whether it harms nothing, and is only worth knowing.
    pub fn is_note(self) -> bool {
        use FindingKind::*;
        let harmless =
            [Rotated, ThroughFfmpeg, ByteOrderMark, NoGroup, NotTrainable, UnusedClass, HiddenFile, UnlistedFile];
        harmless.contains(&self)
    }
}

impl From<FindingKind> for &'static str {
    fn from(kind: FindingKind) -> Self {
        kind.name()
    }
}

impl TryFrom<String> for FindingKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let found = KINDS.iter().find(|(_, known, _)| *known == name);
        found.map(|(kind, ..)| *kind).ok_or_else(|| format!("no kind of finding is called `{name}`"))
    }
}

impl From<Problem> for FindingKind {
    fn from(problem: Problem) -> Self {
        Sample(problem)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The name of the list's file; empty where no list names it.
    pub list: String,
    /// The line of the list, as an editor counts; 0 where there is none.
    pub line: u64,
    /// The sample's id; empty where it is about no one sample.
    pub id: String,
    /// What was found.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// A finding that is about no line of a list.
    pub(crate) fn new(kind: FindingKind, reason: String) -> Self {
        let remedy = kind.remedy().to_owned();
        Self { kind, list: String::new(), line: 0, id: String::new(), reason, remedy }
    }

    /// The finding at a line of a list.
    pub(crate) fn at(self, list: &Path, line: u64, id: &str) -> Self {
        let list = list.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self { list, line, id: id.to_owned(), ..self }
    }

    /// Its line in the list and its id, as far as there are any.
    pub(crate) fn place(&self) -> String {
        match (self.line, self.id.as_str()) {
            (0, "") => String::new(),
            (0, id) => format!("`{id}`: "),
            (line, "") => format!("{}:{line}: ", self.list),
            (line, id) => format!("{}:{line} `{id}`: ", self.list),
        }
    }
}

/// All that was found: how many of each kind, and each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    counts: BTreeMap<FindingKind, usize>,
    list: Vec<Finding>,
}

/// More findings than this are counted and not listed: a file of another kind has one in every row.
const LISTED: usize = 1_000_000;

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        *self.counts.entry(finding.kind).or_default() += 1;
        if self.list.len() < LISTED {
            self.list.push(finding);
        }
    }

    pub(crate) fn extend(&mut self, others: Vec<Finding>) {
        others.into_iter().for_each(|finding| self.push(finding));
    }

    /// Each of them, up to a million.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many there are of each kind that occurs.
    pub fn counts(&self) -> &BTreeMap<FindingKind, usize> {
        &self.counts
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: impl Into<FindingKind>) -> usize {
        self.counts.get(&kind.into()).copied().unwrap_or(0)
    }
}
