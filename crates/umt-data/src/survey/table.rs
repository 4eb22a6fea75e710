//! Lists with columns of their own: by the header's names, else by what the values are.

use super::{Kind, Survey, SurveyRow, audio_of_clips, files_below, kind, pairs, split_word};
use crate::DataError;
use crate::rows::{Row, Rows};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FORM: &str = "a row for each sample: its class and its files, or an id that its files are named by";
const IDS: &[&str] =
    &["id", "clip_id", "video_id", "youtube_id", "ytid", "uid", "key", "sample", "clip", "name", "youtube id"];
const LABELS: &[&str] = &[
    "label",
    "labels",
    "class",
    "category",
    "target",
    "emotion",
    "genre",
    "word",
    "class_name",
    "label_name",
    "tag",
    "y",
];
const SPLITS: &[&str] = &["split", "set", "subset", "partition", "part", "phase", "usage", "train/test split"];
const STARTS: &[&str] = &["start", "start_seconds", "start second", "start seconds", "start_time", "onset"];
const GROUPS: &[&str] = &[
    "speaker",
    "subject",
    "actor",
    "person",
    "participant",
    "session",
    "recording",
    "scene",
    "group",
    "source",
    "user",
];
/// Files are looked for this deep below the list's folder.
const DEPTH: usize = 5;
/// So many rows say what a column is.
const ASKED: usize = 50;

/// The lists at the top of a folder; none if it holds no csv that could be one.
pub(super) fn find(root: &Path) -> Result<Option<PathBuf>, DataError> {
    let mut lists = Vec::new();
    files_below(root, 0, &mut lists)?;
    let own = ["manifest.csv", "groups.csv", "classes.csv"];
    lists.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.ends_with(".csv") && !own.contains(&name.as_str())
    });
    match lists.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let names: Vec<String> = several.iter().take(5).map(|path| path.display().to_string()).collect();
            let reason = format!("there are {} lists in it ({})", several.len(), names.join(", "));
            Err(DataError::root(root, reason, "give the one that is meant, or one list with a column `split`"))
        }
    }
}

/// A row of the list.
struct Line {
    number: u64,
    fields: Vec<String>,
}

impl Line {
    fn of(row: Row<'_>) -> Self {
        Self { number: row.line, fields: row.fields() }
    }
}

/// What each column is for.
#[derive(Default)]
struct Roles {
    by_name: BTreeMap<&'static str, usize>,
    groups: Vec<(String, usize)>,
    /// Columns whose values are files.
    files: Vec<usize>,
}

pub(super) fn read(list: &Path, given: &[(String, String)]) -> Result<Survey, DataError> {
    let mut rows = Rows::open(list, FORM)?;
    let first = rows.first().map(Line::of)?;
    let folder = list.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let files = Files::below(&folder)?;
    let named = is_header(&first.fields, &files);
    let header: Vec<String> = match named {
        true => first.fields.iter().map(|name| name.trim_start_matches('#').trim().to_owned()).collect(),
        false => (1..=first.fields.len()).map(|i| i.to_string()).collect(),
    };
    let mut table: Vec<Line> = if named { Vec::new() } else { vec![first] };
    while let Some(row) = rows.next() {
        let row = row.map(Line::of)?;
        if row.fields.len() != header.len() {
            let reason = format!("{} fields instead of {}", row.fields.len(), header.len());
            return Err(DataError::List { path: list.to_owned(), line: row.number, reason, expected: FORM.into() });
        }
        table.push(row);
    }
    let roles = roles(list, &header, &table, &files, given)?;
    let mut found = Survey { form: described(list, &header, &roles), ..Survey::default() };
    let mut absent: Vec<String> = Vec::new();
    for row in &table {
        match sample(row, &roles, &header, &files) {
            Some(sample) => found.rows.push(sample),
            None => absent.push(row.fields.join(",")),
        }
    }
    if found.rows.is_empty() {
        let reason = format!(
            "no file of its {} rows is there (the first: {})",
            table.len(),
            absent.first().cloned().unwrap_or_default()
        );
        return Err(DataError::root(
            list,
            reason,
            "put the list next to its files, or name the column with --column video=NAME",
        ));
    }
    if let Some(first) = absent.first() {
        found.notes.push(format!(
            "{} of {} rows have no file and were left out ({first}, ...)",
            absent.len(),
            table.len()
        ));
    }
    if found.rows.iter().any(|row| row.files.contains_key("label-map")) {
        found.map_classes = pairs::map_classes(&folder, &found.rows)?;
        found.rows.iter_mut().for_each(|row| row.label = None);
    } else {
        let before = found.rows.len();
        found.rows.retain(|row| row.label.as_ref().is_some_and(|label| !label.is_empty()));
        if found.rows.len() < before {
            found.notes.push(format!("{} rows have no label and were left out", before - found.rows.len()));
        }
    }
    audio_of_clips(&mut found);
    Ok(found)
}

/// A first row that names columns: no split, no number and no file is in it.
fn is_header(fields: &[String], files: &Files) -> bool {
    fields.first().is_some_and(|name| name.starts_with('#'))
        || !fields.iter().any(|field| {
            split_word(field).is_some() || field.parse::<f64>().is_ok() || !files.of(field, None).is_empty()
        })
}

fn roles(
    list: &Path,
    header: &[String],
    table: &[Line],
    files: &Files,
    given: &[(String, String)],
) -> Result<Roles, DataError> {
    let mut roles = Roles::default();
    let column = |name: &str| header.iter().position(|known| known == name);
    let mut taken = BTreeSet::new();
    for (role, name) in given {
        let Some(at) = column(name) else {
            let reason = format!("--column {role}={name}: there is no such column");
            return Err(DataError::root(list, reason, format!("it has {}", header.join(", "))));
        };
        taken.insert(at);
        let known = ["id", "label", "split", "start", "audio", "video", "rgb", "depth", "label-map"];
        match (known.into_iter().find(|known| known == role), role.strip_prefix("group:")) {
            (Some(role), _) => drop(roles.by_name.insert(role, at)),
            (None, Some(group)) => roles.groups.push((group.to_owned(), at)),
            (None, None) => {
                let reason = format!("--column {role}={name}: `{role}` is no role");
                return Err(DataError::root(list, reason, format!("roles are {}, group:NAME", known.join(", "))));
            }
        }
    }
    let dense = header.iter().any(|name| name.to_lowercase().contains("depth"));
    for (at, name) in header.iter().enumerate() {
        let lower = name.to_lowercase();
        let scene = [
            ("depth", "depth"),
            ("map", "label-map"),
            ("mask", "label-map"),
            ("seg", "label-map"),
            ("rgb", "rgb"),
            ("colo", "rgb"),
            ("image", "rgb"),
        ];
        let scene = scene.into_iter().find(|(part, _)| dense && lower.contains(part)).map(|(_, role)| role);
        let named = [("id", IDS), ("label", LABELS), ("split", SPLITS), ("start", STARTS)];
        let named = named.into_iter().find(|(_, names)| names.contains(&lower.as_str())).map(|(role, _)| role);
        let group = lower.strip_prefix("group:").or(GROUPS.contains(&lower.as_str()).then_some(lower.as_str()));
        if taken.contains(&at) {
            continue;
        }
        if let Some(role) = scene.or(named).filter(|role| !roles.by_name.contains_key(role)) {
            roles.by_name.insert(role, at);
            taken.insert(at);
        } else if let Some(group) = group {
            roles.groups.push((group.to_owned(), at));
            taken.insert(at);
        }
    }
    by_values(list, header, table, files, &mut roles, &mut taken)?;
    Ok(roles)
}

/// What the names did not say.
fn by_values(
    list: &Path,
    header: &[String],
    table: &[Line],
    files: &Files,
    roles: &mut Roles,
    taken: &mut BTreeSet<usize>,
) -> Result<(), DataError> {
    let some: Vec<&Line> =
        (0..table.len().min(ASKED)).map(|i| &table[i * table.len() / table.len().min(ASKED)]).collect();
    let most = |test: &dyn Fn(&str) -> bool, at: usize| {
        let values = some.iter().map(|row| row.fields[at].as_str()).filter(|value| !value.is_empty());
        let (mut hits, mut all) = (0, 0);
        values.for_each(|value| (hits, all) = (hits + usize::from(test(value)), all + 1));
        all > 0 && 2 * hits > all
    };
    for at in 0..header.len() {
        if !taken.contains(&at)
            && !roles.by_name.contains_key("split")
            && most(&|value| split_word(value).is_some(), at)
        {
            roles.by_name.insert("split", at);
            taken.insert(at);
        }
    }
    // Paths first; a name without a folder or an ending may be an id.
    for at in 0..header.len() {
        if !taken.contains(&at) && most(&|value| files.is_path(value), at) {
            roles.files.push(at);
            taken.insert(at);
        }
    }
    if roles.files.is_empty() && !roles.by_name.keys().any(|role| ["audio", "video", "rgb"].contains(role)) {
        let numbers = (0..header.len()).filter(|&at| !taken.contains(&at));
        let number = numbers.into_iter().find(|&at| most(&|value| value.parse::<u64>().is_ok(), at));
        if let (Some(at), false) = (number, roles.by_name.contains_key("start")) {
            roles.by_name.insert("start", at);
            taken.insert(at);
        }
        let start = roles.by_name.get("start").copied();
        let hits = |at: usize| {
            let found = |row: &&&Line| !files.of(&row.fields[at], start.map(|at| row.fields[at].as_str())).is_empty();
            some.iter().filter(found).count()
        };
        if !roles.by_name.contains_key("id")
            && let Some(at) = (0..header.len())
                .filter(|&at| !taken.contains(&at))
                .max_by_key(|&at| hits(at))
                .filter(|&at| hits(at) > 0)
        {
            roles.by_name.insert("id", at);
            taken.insert(at);
        }
        if roles.by_name.get("id").is_none_or(|&at| hits(at) == 0) {
            let reason = format!("none of its columns ({}) names files that are there", header.join(", "));
            return Err(DataError::root(
                list,
                reason,
                "put the list next to its files, or name the column: --column video=NAME",
            ));
        }
    }
    if !roles.by_name.contains_key("label") && !roles.by_name.contains_key("label-map") {
        let classes = |at: usize| table.iter().map(|row| &row.fields[at]).collect::<BTreeSet<_>>().len();
        let fits = |at: &usize| !taken.contains(at) && classes(*at) > 1 && 2 * classes(*at) <= table.len();
        let candidates: Vec<usize> = (0..header.len()).filter(fits).collect();
        let [one] = candidates.as_slice() else {
            let reason = format!("which of its columns is the class? It has {}", header.join(", "));
            return Err(DataError::root(
                list,
                reason,
                "say it: --column label=NAME (columns without a header have the names 1, 2, ...)",
            ));
        };
        roles.by_name.insert("label", *one);
    }
    Ok(())
}

fn described(list: &Path, header: &[String], roles: &Roles) -> String {
    let named = roles.by_name.iter().map(|(role, &at)| format!("{role} = {}", header[at]));
    let groups = roles.groups.iter().map(|(group, at)| format!("group:{group} = {}", header[*at]));
    let files = roles.files.iter().map(|&at| format!("files = {}", header[at]));
    let all: Vec<String> = named.chain(files).chain(groups).collect();
    format!("a list, {}, with the columns {}", list.display(), all.join(", "))
}

/// A row as a sample; none if no file of it is there.
fn sample(row: &Line, roles: &Roles, header: &[String], files: &Files) -> Option<SurveyRow> {
    let value =
        |role: &str| roles.by_name.get(role).map(|&at| row.fields[at].as_str()).filter(|value| !value.is_empty());
    let mut sample = SurveyRow { label: value("label").map(str::to_owned), ..SurveyRow::default() };
    sample.split = value("split").and_then(split_word);
    for (group, at) in &roles.groups {
        sample.groups.insert(group.clone(), row.fields[*at].clone());
    }
    for role in ["audio", "video", "rgb", "depth", "label-map"] {
        if let Some(name) = value(role) {
            sample.files.insert(role, files.of(name, None).into_iter().next()?.1);
        }
    }
    let own = roles.files.iter().flat_map(|&at| files.of(&row.fields[at], None));
    let by_id = value("id").filter(|_| roles.files.is_empty() && sample.files.is_empty());
    let by_id = by_id.map(|id| files.of(id, value("start"))).unwrap_or_default();
    for (kind, path) in own.chain(by_id) {
        let column = if kind == Some(Kind::Audio) { "audio" } else { "video" };
        sample.files.entry(column).or_insert(path);
    }
    let first = sample.files.values().next()?;
    let stem = || first.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
    sample.id = match (value("id"), value("start")) {
        (Some(id), Some(start)) if header.len() > 1 => format!("{id}_{start}"),
        (Some(id), _) => id.to_owned(),
        _ => stem(),
    };
    Some(sample)
}

/// Files below the list's folder, by name.
struct Files {
    folder: PathBuf,
    by_name: BTreeMap<String, PathBuf>,
    by_stem: BTreeMap<String, Vec<PathBuf>>,
}

impl Files {
    fn below(folder: &Path) -> Result<Self, DataError> {
        let mut all = Vec::new();
        files_below(folder, DEPTH, &mut all)?;
        let mut files = Files { folder: folder.to_owned(), by_name: BTreeMap::new(), by_stem: BTreeMap::new() };
        for path in all.into_iter().filter(|path| kind(path).is_some()) {
            let text = |name: Option<&std::ffi::OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
            files.by_stem.entry(text(path.file_stem())).or_default().push(path.clone());
            files.by_name.entry(text(path.file_name())).or_insert(path);
        }
        Ok(files)
    }

    /// Whether a value is a path, not merely a name that files have.
    fn is_path(&self, value: &str) -> bool {
        !value.is_empty() && (self.folder.join(value).exists() || self.by_name.contains_key(last(value)))
    }

    /// The files that a value names: a path from the list's folder, a file's name anywhere below it, or a name without ending,
    /// as it is or with a start second as VGGSound writes it.
    fn of(&self, value: &str, start: Option<&str>) -> Vec<(Option<Kind>, PathBuf)> {
        let direct = self.folder.join(value);
        if !value.is_empty() && direct.exists() && direct != self.folder {
            return vec![(kind(&direct), direct)];
        }
        if let Some(path) = self.by_name.get(last(value)) {
            return vec![(kind(path), path.clone())];
        }
        let second = start.and_then(|start| start.parse::<f64>().ok()).map(|second| second as u64);
        let numbered = second.map(|second| [format!("{value}_{second:06}"), format!("{value}_{second}")]);
        let names = numbered.into_iter().flatten().chain([last(value).to_owned()]);
        let found = names.into_iter().find_map(|name| self.by_stem.get(&name));
        found.into_iter().flatten().map(|path| (kind(path), path.clone())).collect()
    }
}

fn last(value: &str) -> &str {
    value.rsplit(['/', '\\']).next().unwrap_or(value)
}
