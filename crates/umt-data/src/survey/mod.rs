//! Data as people have it, a folder of clips by class, a list with columns of its own, folders of colour and depth, becomes
//! the rows of a manifest. Nothing is written, and nothing of the data changes.

mod pairs;
mod table;
mod tree;

use crate::{DataError, Split};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use umt_media::Limits;

/// The share of samples that become test where a set names none.
const TEST_SHARE: f64 = 0.2;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// What the data look like, in words.
    pub form: String,
    /// The samples.
    pub rows: Vec<SurveyRow>,
    /// Names of the classes of label maps, for `classes.txt`; empty where a sample has a class.
    pub map_classes: Vec<String>,
    /// What was passed over or decided, in sentences.
    pub notes: Vec<String>,
}

/// A row of the manifest to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurveyRow {
    /// Unique.
    pub id: String,
    /// The class; none where each pixel has one.
    pub label: Option<String>,
    /// The split, where the data name it.
    pub split: Option<Split>,
    /// Groups by kind.
    pub groups: BTreeMap<String, String>,
    /// Files by column of the manifest: `audio`, `video`, `rgb`, `depth`, `label-map`.
    pub files: BTreeMap<&'static str, PathBuf>,
}

/// Looks at a folder or a list and makes rows of what is there. `columns` names columns of a list: `label=emotion`.
///
/// # Errors
/// [`DataError::Root`] for data in none of the forms, with what was looked for; what reading files gives.
pub fn survey(root: &Path, columns: &[(String, String)]) -> Result<Survey, DataError> {
    if !root.exists() {
        return Err(DataError::root(root, "there is no such file or folder", "give the folder that holds the data"));
    }
    let mut found = if root.is_file() {
        table::read(root, columns)?
    } else if let Some(pairs) = pairs::read(root)? {
        pairs
    } else if let Some(list) = table::find(root)? {
        table::read(&list, columns)?
    } else {
        tree::read(root)?
    };
    if found.rows.is_empty() {
        return Err(DataError::root(root, "there is no sample in it", "give a folder of clips by class, or a csv"));
    }
    unique(&mut found)?;
    assign_test(&mut found);
    Ok(found)
}

impl Survey {
    /// The manifest's text; paths are relative to `folder`, where it will be, if they are inside it.
    pub fn to_csv(&self, folder: &Path) -> String {
        let kinds: BTreeSet<&str> = self.rows.iter().flat_map(|row| row.groups.keys().map(String::as_str)).collect();
        let files: BTreeSet<&str> = self.rows.iter().flat_map(|row| row.files.keys().copied()).collect();
        let labelled = self.map_classes.is_empty();
        let mut header = vec!["id".to_owned()];
        header.extend(labelled.then(|| "label".to_owned()));
        header.push("split".into());
        header.extend(files.iter().map(|name| (*name).to_owned()));
        header.extend(kinds.iter().map(|kind| format!("group:{kind}")));
        let mut out = line(&header);
        for row in &self.rows {
            let mut fields = vec![row.id.clone()];
            fields.extend(labelled.then(|| row.label.clone().unwrap_or_default()));
            fields.push(row.split.unwrap_or(Split::Train).name().to_owned());
            fields.extend(
                files.iter().map(|name| row.files.get(name).map_or(String::new(), |path| seen_from(folder, path))),
            );
            fields.extend(kinds.iter().map(|kind| row.groups.get(*kind).cloned().unwrap_or_default()));
            out += &line(&fields);
        }
        out
    }
}

/// A path from a folder that it is inside of; any other as it is from the root of the file system.
fn seen_from(folder: &Path, path: &Path) -> String {
    let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_owned());
    let (folder, path) = (absolute(folder), absolute(path));
    path.strip_prefix(&folder).unwrap_or(&path).display().to_string()
}

fn line(fields: &[String]) -> String {
    let quoted = |field: &String| match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.clone(),
    };
    format!("{}\n", fields.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// Two files of one name in two places are two samples: a row that repeats an id gets the number of its repetition.
fn unique(found: &mut Survey) -> Result<(), DataError> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeated = 0;
    for row in &mut found.rows {
        let count = seen.entry(row.id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            repeated += 1;
            row.id = format!("{}#{count}", row.id);
        }
    }
    if repeated > 0 {
        found.notes.push(format!("{repeated} rows repeat an id; they were numbered"));
    }
    Ok(())
}

/// Holds out test samples of each class, whole groups where there are any, if the data name no test split.
fn assign_test(found: &mut Survey) {
    let named = found.rows.iter().any(|row| row.split == Some(Split::Test));
    let open = |row: &SurveyRow| row.split.is_none() || (!named && row.split == Some(Split::Train));
    if named {
        let without = found.rows.iter_mut().filter(|row| row.split.is_none());
        let count = without.map(|row| row.split = Some(Split::Train)).count();
        if count > 0 {
            found.notes.push(format!("{count} samples name no split and were put into train"));
        }
        return;
    }
    // A group, or a sample without one, is in one split; classes in turn, so that each has its share.
    let mut units: BTreeMap<(Option<String>, String), Vec<usize>> = BTreeMap::new();
    for (i, row) in found.rows.iter().enumerate().filter(|(_, row)| open(row)) {
        let group = row.groups.values().next().filter(|group| !group.is_empty());
        let key = match group {
            Some(group) => (None, group.clone()),
            None => (Some(row.label.clone().unwrap_or_default()), row.id.clone()),
        };
        units.entry(key).or_default().push(i);
    }
    let mut by_class: BTreeMap<Option<String>, Vec<Vec<usize>>> = BTreeMap::new();
    for ((class, _), members) in units {
        by_class.entry(class).or_default().push(members);
    }
    for mut of_class in by_class.into_values() {
        umt_random::stream(0, "test split", 0, 0).shuffle(&mut of_class);
        let all: usize = of_class.iter().map(Vec::len).sum();
        let wanted = (all as f64 * TEST_SHARE).round() as usize;
        let (mut taken, several) = (0, of_class.len() > 1);
        for members in of_class {
            // A group may be larger than the share: the first one goes over whatever its size.
            let test = taken + members.len() <= wanted || (taken == 0 && several);
            taken += if test { members.len() } else { 0 };
            for i in members {
                found.rows[i].split = Some(if test { Split::Test } else { Split::Train });
            }
        }
    }
    let test = found.rows.iter().filter(|row| row.split == Some(Split::Test)).count();
    found.notes.push(format!(
        "no test split is named: {test} samples, about {:.0} %, were drawn for it; if samples belong together (takes \
         of a speaker, frames of a scene), say so in a column `group:NAME` and run this again",
        100.0 * TEST_SHARE
    ));
}

/// What a file is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    Video,
    Image,
}

fn kind(path: &Path) -> Option<Kind> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "wav" | "mp3" | "flac" | "ogg" | "oga" | "m4a" | "aac" | "opus" => Some(Kind::Audio),
        "mp4" | "mkv" | "webm" | "avi" | "mov" | "m4v" | "mpg" | "mpeg" | "flv" => Some(Kind::Video),
        "png" | "jpg" | "jpeg" => Some(Kind::Image),
        _ => None,
    }
}

/// The split that a word names, in the words of many sets.
fn split_word(word: &str) -> Option<Split> {
    match word.trim().to_ascii_lowercase().as_str() {
        "train" | "training" | "tr" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" | "development" => Some(Split::Validation),
        "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
        _ => None,
    }
}

/// Whether most of some clips have an audio track: a few spread over all are opened.
fn have_audio(clips: &[&PathBuf]) -> bool {
    let limits = Limits::default();
    let asked = clips.len().min(9);
    let heard = (0..asked).map(|i| clips[i * clips.len() / asked]).filter(|path| {
        let bytes = umt_media::read_bounded(path, &limits);
        bytes.is_ok_and(|bytes| umt_audio::decode_file(path, &bytes, &limits).is_ok())
    });
    2 * heard.count() > asked
}

/// Where a row has a clip and no audio of its own, the clip's track serves, if the clips have one.
fn audio_of_clips(found: &mut Survey) {
    let silent = |row: &&SurveyRow| !row.files.contains_key("audio");
    let clip = |row: &SurveyRow| row.files.get("video").filter(|path| kind(path) == Some(Kind::Video)).cloned();
    let clips: Vec<PathBuf> = found.rows.iter().filter(silent).filter_map(clip).collect();
    if clips.is_empty() {
        return;
    }
    if !have_audio(&clips.iter().collect::<Vec<_>>()) {
        found.notes.push("the clips have no audio track: video alone is read".into());
        return;
    }
    for row in &mut found.rows {
        if let (false, Some(path)) = (row.files.contains_key("audio"), clip(row)) {
            row.files.insert("audio", path);
        }
    }
}

/// Every file below a folder, sorted; hidden ones and links to folders are passed over.
fn files_below(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Io { path: folder.to_owned(), source };
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.is_symlink() && path.is_dir() {
            continue;
        }
        match path.is_dir() {
            true if depth > 0 => files_below(&path, depth - 1, into)?,
            true => {}
            false => into.push(path),
        }
    }
    Ok(())
}

/// The names of a path's parts.
fn parts(path: &Path) -> Vec<String> {
    let name = |part: Component<'_>| part.as_os_str().to_string_lossy().into_owned();
    path.components().map(name).collect()
}
