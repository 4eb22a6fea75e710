//! VGGSound's form: `id,start second,label,split` without a header, and `<id>_<start:06d>.mp4`.
//!
//! Source of the form: <https://www.robots.ox.ac.uk/~vgg/data/vggsound/>. Labels may hold commas
//! and are quoted then; ids are YouTube's and may start with `-` or `_`.

use super::{Kind, list};
use crate::{
    DataConfig, DataError, Dataset, SampleInfo, Source, Split,
    rows::{Row, Rows},
};
use std::{
    collections::{BTreeMap, HashMap},
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

    fn open(&self, root: Option<&Path>, _config: &DataConfig) -> Result<Dataset, DataError> {
        open_as(self.name(), root, None)
    }
}

/// Reads a folder of this form under another set's name, holding out groups of kind `hold_out`.
pub(super) fn open_as(name: &str, root: Option<&Path>, hold_out: Option<&str>) -> Result<Dataset, DataError> {
    let given = list::folder(name, root)?;
    let (folder, csv) = if given.is_file() {
        (given.parent().unwrap_or(Path::new("")), given.to_owned())
    } else {
        (given, find_list(given)?)
    };
    let entries = parse(&csv)?;
    let mut groups = Groups::read(folder, &csv, &entries)?;
    groups.add_source(&entries);
    let words: Vec<String> = entries.iter().map(|e| e.label.clone()).collect();
    let (classes, labels) = list::classes(&words);
    let mut samples = Vec::with_capacity(entries.len());
    for (row, (entry, label)) in entries.iter().zip(labels).enumerate() {
        let stem = format!("{}_{:06}", entry.id, entry.start);
        let clip = find_clip(folder, &stem);
        samples.push(SampleInfo {
            id: stem,
            label,
            split: entry.split,
            groups: groups.of_row(row),
            sources: BTreeMap::from([
                (Modality::Audio, Source::Path(clip.clone())),
                (Modality::Video, Source::Path(clip)),
            ]),
            map: None,
        });
    }
    let hold_out = hold_out
        .filter(|name| groups.names.iter().any(|known| known == name))
        .map(str::to_owned)
        .or_else(|| groups.names.first().cloned());
    let set = Dataset {
        name: name.to_owned(),
        root: folder.to_owned(),
        classes,
        samples,
        group_names: groups.names,
        hold_out,
        synthetic: None,
        rooms: None,
        dense: None,
    };
    set.validate(&csv, &|sample| entries[sample].line)?;
    Ok(set)
}

struct Entry {
    line: u64,
    id: String,
    start: u64,
    label: String,
    split: Split,
}

fn parse(path: &Path) -> Result<Vec<Entry>, DataError> {
    let mut rows = Rows::open(path, FORM)?;
    let error = |line, reason| DataError::List { path: path.to_owned(), line, reason, expected: FORM.to_owned() };
    let read = |row: Result<Row, DataError>| {
        let row = row?;
        let line = row.line;
        entry(row).map_err(|reason| error(line, reason))
    };
    std::iter::once(rows.first()).chain(rows).map(read).collect()
}

fn entry(row: Row) -> Result<Entry, String> {
    let (line, fields) = (row.line, row.fields.len());
    let [id, start, label, split]: [String; 4] =
        row.fields.try_into().map_err(|_| format!("{fields} fields instead of 4"))?;
    let start = start.parse().map_err(|_| format!("the start second is `{start}`, not a whole number"))?;
    let split = list::split_of(&split).ok_or_else(|| format!("the split is `{split}`"))?;
    if label.is_empty() {
        return Err("the label is empty".into());
    }
    if id.is_empty() || id.contains(['/', '\\']) || id.contains("..") {
        return Err(format!("the id is `{id}`"));
    }
    Ok(Entry { line, id, start, label, split })
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
    let first = |path: &Path| Rows::open(path, FORM).and_then(|mut rows| rows.first());
    let fits = |path: &&PathBuf| first(path).is_ok_and(|row| entry(row).is_ok());
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

/// The clip's file; where it would be if it is not there.
fn find_clip(folder: &Path, stem: &str) -> PathBuf {
    let name = format!("{stem}.mp4");
    let paths = || PLACES.iter().map(|place| folder.join(place).join(&name));
    paths().find(|path| path.is_file()).unwrap_or_else(|| folder.join("clips").join(&name))
}

/// Which samples were made from the same thing.
struct Groups {
    names: Vec<String>,
    /// Per row of the list.
    rows: Vec<Vec<String>>,
}

impl Groups {
    fn read(folder: &Path, csv: &Path, entries: &[Entry]) -> Result<Self, DataError> {
        let path = folder.join(GROUPS);
        if !path.is_file() || path == csv {
            return Ok(Self { names: Vec::new(), rows: vec![Vec::new(); entries.len()] });
        }
        let error =
            |line, reason| DataError::List { path: path.clone(), line, reason, expected: GROUPS_FORM.to_owned() };
        let mut rows = Rows::open(&path, GROUPS_FORM)?;
        let header = rows.first()?.fields;
        if header.first().is_none_or(|name| name != "id") || header.len() < 2 {
            return Err(error(1, format!("the header is `{}`", header.join(","))));
        }
        let mut by_id = HashMap::new();
        for row in rows {
            let row = row?;
            if row.fields.len() != header.len() {
                let found = format!("{} fields instead of {}", row.fields.len(), header.len());
                return Err(error(row.line, found));
            }
            let mut fields = row.fields.into_iter();
            by_id.insert(fields.next().unwrap_or_default(), fields.collect::<Vec<_>>());
        }
        let of_entry = |entry: &Entry| {
            let stem = format!("{}_{:06}", entry.id, entry.start);
            let found = by_id.get(&entry.id).or_else(|| by_id.get(&stem));
            found.cloned().ok_or_else(|| error(1, format!("no row names `{}`", entry.id)))
        };
        Ok(Self { rows: entries.iter().map(of_entry).collect::<Result<_, _>>()?, names: header[1..].to_vec() })
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

    fn of_row(&self, row: usize) -> Vec<String> {
        self.rows[row].clone()
    }
}
