//! The samples of a set by columns: a list of millions of rows takes little more memory than its text.
//!
//! A struct of strings and maps for each row took 700 bytes; columns take the row's text and 4 bytes a cell.

use crate::{Dataset, Source, Split};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    path::{Path, PathBuf},
    sync::Arc,
};
use umt_media::Modality;

/// Texts one after another in one piece of memory.
///
/// A list holds at most 256 MiB, so that offsets of 32 bits suffice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends.get(row - 1).map_or(0, |&end| end as usize) };
        self.ends.get(row).map_or("", |&end| &self.text[start..end as usize])
    }

    fn select(&self, rows: &[usize]) -> Self {
        let mut texts = Self::default();
        rows.iter().for_each(|&row| texts.push(self.get(row)));
        texts
    }
}

/// Where one modality of every sample comes from.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    /// Paths from the set's root; empty for none.
    Files(Texts),
    /// Paths as they were given, for samples of no list.
    Paths(Vec<PathBuf>),
    /// Frames of one file.
    Frames(PathBuf, Vec<u32>),
    /// Numbers of samples that are made by code.
    Made(Vec<u64>),
}

impl Column {
    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Files(texts) => Self::Files(texts.select(rows)),
            Self::Paths(paths) => Self::Paths(rows.iter().map(|&row| paths[row].clone()).collect()),
            Self::Frames(file, frames) => Self::Frames(file.clone(), rows.iter().map(|&row| frames[row]).collect()),
            Self::Made(numbers) => Self::Made(rows.iter().map(|&row| numbers[row]).collect()),
        }
    }
}

/// What does not change once a list is read.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    ids: Texts,
    labels: Vec<u32>,
    lines: Vec<u32>,
    groups: Vec<Texts>,
    sources: BTreeMap<Modality, Column>,
    map: Option<Column>,
}

/// The samples of a set; clones share all but the splits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    table: Arc<Table>,
    splits: Vec<Split>,
}

/// The label of a sample that has none.
pub(crate) const NO_LABEL: u32 = u32::MAX;

/// A sample to be added.
pub(crate) struct NewSample<'a> {
    pub id: &'a str,
    pub label: u32,
    pub split: Split,
    /// The line of the list, counted from 1; 0 without a list.
    pub line: u64,
    pub groups: &'a [&'a str],
    pub sources: &'a [(Modality, NewSource<'a>)],
    pub map: Option<NewSource<'a>>,
}

/// Where a modality of a new sample comes from.
#[derive(Clone, Copy)]
pub(crate) enum NewSource<'a> {
    /// A path from the set's root; empty for none.
    File(&'a str),
    /// A path as it was given.
    Path(&'a Path),
    /// A frame of the set's one file.
    Frame(&'a Path, usize),
    /// Made by code.
    Made(u64),
}

impl NewSource<'_> {
    fn column(self) -> Column {
        match self {
            Self::File(_) => Column::Files(Texts::default()),
            Self::Path(_) => Column::Paths(Vec::new()),
            Self::Frame(file, _) => Column::Frames(file.to_owned(), Vec::new()),
            Self::Made(_) => Column::Made(Vec::new()),
        }
    }

    fn push(self, column: &mut Column, row: usize) {
        match (column, self) {
            (Column::Files(texts), Self::File(path)) => {
                while texts.ends.len() < row {
                    texts.push("");
                }
                texts.push(path);
            }
            (Column::Paths(paths), Self::Path(path)) => {
                paths.resize(row, PathBuf::new());
                paths.push(path.to_owned());
            }
            (Column::Frames(_, frames), Self::Frame(_, frame)) => frames.push(frame as u32),
            (Column::Made(numbers), Self::Made(number)) => numbers.push(number),
            // A kind of set has one kind of source.
            _ => {}
        }
    }
}

impl Samples {
    pub(crate) fn push(&mut self, sample: NewSample<'_>) {
        let row = self.splits.len();
        self.splits.push(sample.split);
        let table = Arc::make_mut(&mut self.table);
        table.ids.push(sample.id);
        table.labels.push(sample.label);
        table.lines.push(u32::try_from(sample.line).unwrap_or(u32::MAX));
        table.groups.resize_with(sample.groups.len().max(table.groups.len()), Texts::default);
        table.groups.iter_mut().zip(sample.groups).for_each(|(column, group)| column.push(group));
        for &(modality, source) in sample.sources {
            source.push(table.sources.entry(modality).or_insert_with(|| source.column()), row);
        }
        if let Some(source) = sample.map {
            source.push(table.map.get_or_insert_with(|| source.column()), row);
        }
    }

    /// Gives each label the place that `order` has for it.
    pub(crate) fn relabel(&mut self, order: &[u32]) {
        let table = Arc::make_mut(&mut self.table);
        table.labels.iter_mut().for_each(|label| *label = order.get(*label as usize).copied().unwrap_or(*label));
    }

    /// Keeps these rows alone, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let table = &self.table;
        let selected = Table {
            ids: table.ids.select(rows),
            labels: rows.iter().map(|&row| table.labels[row]).collect(),
            lines: rows.iter().map(|&row| table.lines[row]).collect(),
            groups: table.groups.iter().map(|column| column.select(rows)).collect(),
            sources: table.sources.iter().map(|(&modality, column)| (modality, column.select(rows))).collect(),
            map: table.map.as_ref().map(|column| column.select(rows)),
        };
        Self { table: Arc::new(selected), splits: rows.iter().map(|&row| self.splits[row]).collect() }
    }

    /// Rows whose id an earlier row has, each with the row before it of the same id, in order.
    pub(crate) fn repeated(&self) -> Vec<(usize, usize)> {
        let hash = |row: usize| {
            let mut hasher = DefaultHasher::new();
            self.table.ids.get(row).hash(&mut hasher);
            hasher.finish()
        };
        // 16 bytes a row, where a map of the ids takes 50.
        let mut hashed: Vec<(u64, u32)> = (0..self.len()).map(|row| (hash(row), row as u32)).collect();
        hashed.sort_unstable();
        let mut repeated = Vec::new();
        for alike in hashed.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            for (at, &(_, row)) in alike.iter().enumerate() {
                let id = self.table.ids.get(row as usize);
                let before = alike[..at].iter().rev().find(|&&(_, other)| self.table.ids.get(other as usize) == id);
                repeated.extend(before.map(|&(_, before)| (row as usize, before as usize)));
            }
        }
        repeated.sort_unstable();
        repeated
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.splits.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.splits.is_empty()
    }

    /// The part that each sample belongs to.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// Moves a sample to another part; one that is not there is nowhere.
    pub fn set_split(&mut self, row: usize, split: Split) {
        if let Some(place) = self.splits.get_mut(row) {
            *place = split;
        }
    }

    /// The class of a sample.
    pub(crate) fn label(&self, row: usize) -> usize {
        self.table.labels.get(row).filter(|&&label| label != NO_LABEL).map_or(0, |&label| label as usize)
    }

    /// The samples without a label.
    pub(crate) fn unlabelled(&self) -> Vec<usize> {
        (0..self.len()).filter(|&row| self.table.labels[row] == NO_LABEL).collect()
    }

    /// The group of a sample in a column of [`Dataset::group_names`]; empty for none.
    pub(crate) fn group(&self, row: usize, column: usize) -> &str {
        self.table.groups.get(column).map_or("", |column| column.get(row))
    }

    /// The modalities that some sample has.
    pub(crate) fn modalities(&self) -> impl Iterator<Item = Modality> {
        self.table.sources.keys().copied()
    }
}

/// One sample before it is decoded.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    set: &'a Dataset,
    row: usize,
}

impl<'a> Sample<'a> {
    pub(crate) fn new(set: &'a Dataset, row: usize) -> Self {
        Self { set, row }
    }

    fn table(self) -> &'a Table {
        &self.set.samples.table
    }

    pub(crate) fn set(self) -> &'a Dataset {
        self.set
    }

    /// Its place in the list, counted from 0.
    pub fn row(self) -> usize {
        self.row
    }

    /// Unique in the set.
    pub fn id(self) -> &'a str {
        self.table().ids.get(self.row)
    }

    /// Index into [`Dataset::classes`]; 0 where each pixel has a class of its own.
    pub fn label(self) -> usize {
        self.set.samples.label(self.row)
    }

    /// The part it belongs to.
    pub fn split(self) -> Split {
        self.set.samples.splits[self.row]
    }

    /// The line of the list that names it, as an editor counts; 0 without a list.
    pub fn line(self) -> u64 {
        self.table().lines.get(self.row).map_or(0, |&line| u64::from(line))
    }

    /// Its group in a column of [`Dataset::group_names`]; empty for none.
    pub fn group(self, column: usize) -> &'a str {
        self.set.samples.group(self.row, column)
    }

    /// Its groups, one per name in [`Dataset::group_names`].
    pub fn groups(self) -> Vec<&'a str> {
        (0..self.set.group_names.len()).map(|column| self.group(column)).collect()
    }

    fn cell(self, column: &Column) -> Option<Source> {
        match column {
            Column::Files(paths) => {
                let path = paths.get(self.row);
                (!path.is_empty()).then(|| Source::Path(self.set.root.join(path)))
            }
            Column::Paths(paths) => {
                paths.get(self.row).filter(|path| !path.as_os_str().is_empty()).cloned().map(Source::Path)
            }
            Column::Frames(file, frames) => {
                frames.get(self.row).map(|&frame| Source::Frame(file.clone(), frame as usize))
            }
            Column::Made(numbers) => numbers.get(self.row).map(|&number| Source::Synthetic(number)),
        }
    }

    /// Where a modality comes from.
    pub fn source(self, modality: Modality) -> Option<Source> {
        self.cell(self.table().sources.get(&modality)?)
    }

    /// Where each modality comes from.
    pub fn sources(self) -> impl Iterator<Item = (Modality, Source)> + 'a {
        self.table().sources.iter().filter_map(move |(&modality, column)| Some((modality, self.cell(column)?)))
    }

    /// Where the classes of its pixels come from, in sets that have them.
    pub fn map(self) -> Option<Source> {
        self.cell(self.table().map.as_ref()?)
    }

    /// Where a part comes from, by its name in [`Sample::parts`].
    pub(crate) fn part(self, name: &str) -> Option<Source> {
        match name.parse() {
            Ok(modality) => self.source(modality),
            Err(_) => self.map(),
        }
    }

    /// All that it is made of, by name: its modalities, and `label-map`.
    pub(crate) fn parts(self) -> impl Iterator<Item = (&'static str, Source)> + 'a {
        let map = iter::once_with(move || self.map()).flatten().map(|source| ("label-map", source));
        self.sources().map(|(modality, source)| (modality.name(), source)).chain(map)
    }
}
