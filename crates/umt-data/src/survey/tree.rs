//! A folder of clips by class: `CLASS/clip.mp4`, also below `train/` and `test/`, or one tree for each modality.

use super::{Kind, Survey, SurveyRow, audio_of_clips, files_below, kind, parts, split_word};
use crate::{DataError, Split};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders that name a modality and no class.
const MODALITIES: [&str; 15] = [
    "audio", "audios", "sound", "sounds", "wav", "wavs", "video", "videos", "clips", "frames", "image", "images",
    "visual", "data", "rgb",
];
/// Folders below a class are entered this far.
const DEPTH: usize = 6;

/// What the place of a file says.
struct Place {
    split: Option<Split>,
    class: String,
    /// The path below the class, without the extension.
    rest: String,
}

pub(super) fn read(root: &Path) -> Result<Survey, DataError> {
    let mut files = Vec::new();
    files_below(root, DEPTH, &mut files)?;
    let (media, others): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|path| kind(path).is_some());
    let mut found = Survey { form: "a folder of samples by class".into(), ..Survey::default() };
    let mut loose = Vec::new();
    let mut odd = 0;
    let mut samples: BTreeMap<(Option<Split>, String, String), SurveyRow> = BTreeMap::new();
    let frames = frame_folders(root, &media);
    let mut seen = BTreeSet::new();
    for path in &media {
        // A folder of frames is one sample, a clip.
        let source = path.parent().filter(|parent| frames.contains(*parent)).unwrap_or(path);
        if !seen.insert(source.to_owned()) {
            continue;
        }
        let Some(below) = source.strip_prefix(root).ok().filter(|below| below.to_str().is_some_and(plain)) else {
            odd += 1;
            continue;
        };
        let Some(place) = place(below, frames.contains(source)) else {
            loose.push(below.display().to_string());
            continue;
        };
        let column = match kind(source) {
            Some(Kind::Audio) => "audio",
            Some(Kind::Video | Kind::Image) | None => "video",
        };
        let id = format!("{}/{}", place.class, place.rest);
        let row = samples.entry((place.split, place.class.clone(), place.rest)).or_insert_with(|| SurveyRow {
            id,
            label: Some(place.class),
            split: place.split,
            ..SurveyRow::default()
        });
        // Of a clip and a picture of one name the clip is the sample, and the picture its preview.
        let clip = row.files.get(column).is_some_and(|path| kind(path) == Some(Kind::Video));
        if !clip {
            row.files.insert(column, source.to_owned());
        }
    }
    found.rows = samples.into_values().collect();
    if found.rows.is_empty() && !loose.is_empty() {
        return Err(DataError::root(
            root,
            format!("{} files ({}, ...) are in no folder that names a class", loose.len(), loose[0]),
            "put them into a folder for each class, or give a csv that names their classes",
        ));
    }
    if !loose.is_empty() {
        found.notes.push(format!("{} files in no class folder were passed over ({}, ...)", loose.len(), loose[0]));
    }
    if odd > 0 {
        found
            .notes
            .push(format!("{odd} files were passed over: their names are not UTF-8 or begin or end with a space"));
    }
    if let Some(first) = others.first() {
        let count = others.len();
        found.notes.push(format!("{count} files of other kinds were passed over ({}, ...)", first.display()));
    }
    empty_classes(root, &mut found)?;
    audio_of_clips(&mut found);
    partners(&mut found);
    Ok(found)
}

/// Names that a csv gives back as they are.
fn plain(name: &str) -> bool {
    name.trim() == name && !name.contains(['\n', '\r'])
}

/// Split, class and name, from the outermost folder inwards.
fn place(below: &Path, folder: bool) -> Option<Place> {
    let names = if folder { parts(below) } else { parts(&below.with_extension("")) };
    let (mut split, mut at) = (None, 0);
    while names.len() - at > 1 {
        let name = &names[at];
        if split.is_none() && split_word(name).is_some() {
            split = split_word(name);
        } else if !MODALITIES.contains(&name.to_lowercase().as_str()) {
            break;
        }
        at += 1;
    }
    match &names[at..] {
        [class, rest @ ..] if !rest.is_empty() => Some(Place { split, class: class.clone(), rest: rest.join("/") }),
        _ => None,
    }
}

/// Folders below a class whose pictures are numbered: frames of one clip.
fn frame_folders(root: &Path, media: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut folders: BTreeMap<&Path, (usize, bool)> = BTreeMap::new();
    for path in media {
        let Some(folder) = path.parent() else { continue };
        let numbered =
            path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(|c: char| c.is_ascii_digit()));
        let entry = folders.entry(folder).or_insert((0, true));
        entry.0 += 1;
        entry.1 &= numbered && kind(path) == Some(Kind::Image);
    }
    // The class's own folder holds samples.
    let below_class = |folder: &Path| folder.strip_prefix(root).is_ok_and(|below| place(below, true).is_some());
    let frames = folders.into_iter().filter(|(folder, (count, all))| *all && *count > 1 && below_class(folder));
    frames.map(|(folder, _)| folder.to_owned()).collect()
}

fn empty_classes(root: &Path, found: &mut Survey) -> Result<(), DataError> {
    let known: BTreeSet<&str> = found.rows.iter().filter_map(|row| row.label.as_deref()).collect();
    let entries = root.read_dir().map_err(|source| DataError::Io { path: root.to_owned(), source })?;
    let mut empty = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let class = split_word(name).is_none() && !MODALITIES.contains(&name.to_lowercase().as_str());
        if class && !name.starts_with('.') && !known.contains(name) {
            empty.push(format!("`{name}`"));
        }
    }
    empty.sort();
    if !empty.is_empty() {
        found.notes.push(format!("no sample in {}", empty.join(", ")));
    }
    Ok(())
}

/// Samples that lack a modality that others have.
fn partners(found: &mut Survey) {
    for column in ["audio", "video"] {
        let lacking: Vec<&str> =
            found.rows.iter().filter(|row| !row.files.contains_key(column)).map(|row| row.id.as_str()).collect();
        if 2 * lacking.len() > found.rows.len() && lacking.len() < found.rows.len() {
            let note = format!("{} of {} samples have no {column}: it is not read", lacking.len(), found.rows.len());
            found.notes.push(note);
            found.rows.iter_mut().for_each(|row| drop(row.files.remove(column)));
            found.rows.retain(|row| !row.files.is_empty());
        } else if !lacking.is_empty() && lacking.len() < found.rows.len() {
            let note = format!("{} samples have no {column} ({}, ...) and were left out", lacking.len(), lacking[0]);
            found.notes.push(note);
            found.rows.retain(|row| row.files.contains_key(column));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_file_names_its_split_and_class() {
        let told = |path: &str, folder| {
            let place = place(Path::new(path), folder)?;
            Some((place.split, place.class, place.rest))
        };
        let expected = |split, class: &str, rest: &str| Some((split, class.to_owned(), rest.to_owned()));
        assert_eq!(told("cat/a.1.wav", false), expected(None, "cat", "a.1"));
        assert_eq!(told("train/cat/a.wav", false), expected(Some(Split::Train), "cat", "a"));
        assert_eq!(told("audio/val/cat/x/a.wav", false), expected(Some(Split::Validation), "cat", "x/a"));
        // Images of a class are samples; numbered ones below it are frames of a clip.
        assert_eq!(told("train/cat", true), None);
        assert_eq!(told("train/cat/clip.1", true), expected(Some(Split::Train), "cat", "clip.1"));
        assert_eq!(told("train/a.wav", false), None);
    }
}
