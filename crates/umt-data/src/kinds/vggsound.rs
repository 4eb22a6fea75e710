//! VGGSound's form: `id,start second,label,split` without a header, and `<id>_<start:06d>.mp4`.
//!
//! Source of the form: <https://www.robots.ox.ac.uk/~vgg/data/vggsound/>. Labels may hold commas
//! and are quoted then; ids are YouTube's and may start with `-` or `_`.

use super::{Kind, list};
use crate::{
    DataConfig, DataError, Dataset, Defects, FindingKind, Split,
    dataset::Lists,
    defects::Place,
    rows::{Row, Rows},
    samples::{NewSample, NewSource, Samples},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use umt_media::Modality;

pub(super) struct VggSound;

const FORM: &str = "rows `id,start second,label,train|test` without a header (a label with commas in quotes); for lists of another form write a manifest (csv with the header id,label,split,audio,video)";
const GROUPS: &str = "groups.csv";
const GROUPS_FORM: &str = "a header `id,NAME,...` and a row for each id of the list";
/// Where clips are looked for inside the folder.
const PLACES: [&str; 5] = ["clips", "", "video", "videos", "data"];

impl Kind for VggSound {
    fn name(&self) -> &'static str {
        "vggsound"
    }

    fn about(&self) -> &'static str {
        "clips in VGGSound's form: a csv (id,start,label,split) and clips/<id>_<start>.mp4"
    }

    fn open(&self, root: Option<&Path>, _config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
        open_as(self.name(), root, None, defects)
    }
}

/// Reads a folder of this form under another set's name, holding out groups of kind `hold_out`.
pub(super) fn open_as(
    name: &str,
    root: Option<&Path>,
    hold_out: Option<&str>,
    defects: &mut Defects,
) -> Result<Dataset, DataError> {
    let given = list::folder(name, root)?;
    let (folder, csv) = if given.is_file() {
        (given.parent().unwrap_or(Path::new("")), given.to_owned())
    } else {
        (given, find_list(given)?)
    };
    let entries = parse(&csv, defects)?;
    let mut groups = Groups::read(folder, &csv, &entries, defects)?;
    groups.add_source(&entries);
    let (mut samples, mut names) = (Samples::default(), list::Classes::default());
    for (entry, groups) in entries.iter().zip(&groups.rows) {
        let stem = entry.stem();
        let clip = find_clip(folder, &stem);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        samples.push(NewSample {
            id: &stem,
            label: names.number(&entry.label),
            split: entry.split,
            line: entry.line,
            groups: &groups,
            sources: &[(Modality::Audio, NewSource::File(&clip)), (Modality::Video, NewSource::File(&clip))],
            map: None,
        });
    }
    let classes = names.sorted(&mut samples);
    let hold_out = hold_out
        .filter(|name| groups.names.iter().any(|known| known == name))
        .map(str::to_owned)
        .or_else(|| groups.names.first().cloned());
    let mut set = Dataset {
        name: name.to_owned(),
        root: folder.to_owned(),
        lists: Lists::One(csv.clone()),
        classes,
        samples,
        group_names: groups.names,
        hold_out,
        synthetic: None,
        rooms: None,
        dense: None,
    };
    set.validate(&csv, defects)?;
    Ok(set)
}

struct Entry {
    line: u64,
    id: String,
    start: u64,
    label: String,
    split: Split,
}

impl Entry {
    /// The name of its clip without the ending.
    fn stem(&self) -> String {
        format!("{}_{:06}", self.id, self.start)
    }
}

fn parse(path: &Path, defects: &mut Defects) -> Result<Vec<Entry>, DataError> {
    let mut rows = Rows::open(path, FORM)?;
    let top = Place { list: path, line: 1, id: "", form: FORM };
    if rows.marked() {
        defects.note(FindingKind::ByteOrderMark, top, list::marked);
    }
    let mut entries = Vec::new();
    let mut row = Some(rows.first());
    while let Some(read) = row {
        match read {
            Ok(row) => match entry(&row) {
                Ok(entry) => entries.push(entry),
                Err((kind, reason)) => {
                    defects.defect(kind, Place { line: row.line, id: row.field(0), ..top }, reason)?;
                }
            },
            Err(error) => defects.row(path, error)?,
        }
        row = rows.next();
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<Entry, (FindingKind, String)> {
    let wrong = |reason: String| (FindingKind::Row, reason);
    if row.len() != 4 {
        return Err(wrong(format!("{} fields instead of 4", row.len())));
    }
    let [id, start, label, split] = [0, 1, 2, 3].map(|index| row.field(index));
    let start = start.parse().map_err(|_| wrong(format!("the start second is `{start}`, not a whole number")))?;
    let split = list::split_of(split).ok_or_else(|| (FindingKind::UnknownSplit, format!("the split is `{split}`")))?;
    if label.is_empty() {
        return Err((FindingKind::EmptyCell, "the label is empty".into()));
    }
    if id.is_empty() || id.contains(['/', '\\']) || id.contains("..") {
        return Err(wrong(format!("the id is `{id}`")));
    }
    Ok(Entry { line: row.line, id: id.to_owned(), start, label: label.to_owned(), split })
}

/// The one csv of this form in the folder, or the one with the folder's name.
fn find_list(folder: &Path) -> Result<PathBuf, DataError> {
    let entries = folder.read_dir().map_err(|source| DataError::Io { path: folder.to_owned(), source })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "csv") && path.is_file())
        .filter(|path| path.file_name().is_some_and(|name| name != GROUPS))
        .collect();
    found.sort();
    if let Some(name) = folder.canonicalize().ok().as_deref().and_then(Path::file_name) {
        let named = folder.join(name).with_extension("csv");
        if found.contains(&named) {
            return Ok(named);
        }
    }
    let fits = |path: &&PathBuf| {
        let Ok(mut rows) = Rows::open(path, FORM) else { return false };
        rows.first().is_ok_and(|row| entry(&row).is_ok())
    };
    let of_form: Vec<&PathBuf> = found.iter().filter(fits).collect();
    match (of_form.as_slice(), found.as_slice()) {
        ([one], _) => Ok((*one).clone()),
        ([], [one]) => Ok(one.clone()),
        ([], []) => {
            Err(DataError::root(folder, "there is no csv list in the folder", format!("expected one of {FORM}")))
        }
        ([], _) => Err(DataError::root(
            folder,
            format!("none of {} has the form of the list", names(&found)),
            format!("expected one of {FORM}"),
        )),
        (several, _) => Err(DataError::root(
            folder,
            format!("{} lists have the form: {}", several.len(), names(&found)),
            "give the list itself with --data LIST.csv",
        )),
    }
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> =
        paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    names.join(", ")
}

/// The path of a clip from the folder; where it would be if it is not there.
fn find_clip(folder: &Path, stem: &str) -> String {
    let path = |place: &str| if place.is_empty() { format!("{stem}.mp4") } else { format!("{place}/{stem}.mp4") };
    let there = PLACES.iter().map(|place| path(place)).find(|path| folder.join(path).is_file());
    there.unwrap_or_else(|| path(PLACES[0]))
}

/// Which samples were made from the same thing.
struct Groups {
    names: Vec<String>,
    /// Per row of the list.
    rows: Vec<Vec<String>>,
}

impl Groups {
    fn read(folder: &Path, csv: &Path, entries: &[Entry], defects: &mut Defects) -> Result<Self, DataError> {
        let path = folder.join(GROUPS);
        if !path.is_file() || path == csv {
            return Ok(Self { names: Vec::new(), rows: vec![Vec::new(); entries.len()] });
        }
        let top = Place { list: &path, line: 1, id: "", form: GROUPS_FORM };
        let mut rows = Rows::open(&path, GROUPS_FORM)?;
        let header = rows.first()?.fields();
        if header.first().is_none_or(|name| name != "id") || header.len() < 2 {
            return Err(top.error(format!("the header is `{}`", header.join(","))));
        }
        let mut by_id = HashMap::new();
        while let Some(row) = rows.next() {
            match row {
                Ok(row) if row.len() != header.len() => {
                    let found = format!("{} fields instead of {}", row.len(), header.len());
                    defects.defect(FindingKind::Row, Place { line: row.line, id: row.field(0), ..top }, found)?;
                }
                Ok(row) => {
                    let mut fields = row.fields().into_iter();
                    by_id.insert(fields.next().unwrap_or_default(), fields.collect::<Vec<_>>());
                }
                Err(error) => defects.row(&path, error)?,
            }
        }
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let found = by_id.get(&entry.id).or_else(|| by_id.get(&entry.stem()));
            if found.is_none() {
                let at = Place { id: &entry.id, ..top };
                defects.defect(FindingKind::Row, at, format!("no row names `{}`", entry.id))?;
            }
            rows.push(found.cloned().unwrap_or_else(|| vec![String::new(); header.len() - 1]));
        }
        Ok(Self { rows, names: header[1..].to_vec() })
    }

    /// Clips cut from one video are a group of their own kind; most sets have none.
    fn add_source(&mut self, entries: &[Entry]) {
        let mut clips: HashMap<&str, usize> = HashMap::new();
        for entry in entries {
            *clips.entry(&entry.id).or_default() += 1;
        }
        if clips.len() == entries.len() {
            return;
        }
        self.names.push("source".into());
        for (row, entry) in self.rows.iter_mut().zip(entries) {
            let shared = clips.get(entry.id.as_str()).is_some_and(|&n| n > 1);
            row.push(if shared { entry.id.clone() } else { String::new() });
        }
    }
}
