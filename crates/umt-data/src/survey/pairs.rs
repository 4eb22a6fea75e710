//! Pairs of colour and depth with label maps, in folders of their own: `rgb/NAME.png`, `depth/NAME.png`, `label/NAME.png`.

use super::{Survey, SurveyRow, files_below, kind, split_word};
use crate::{DataError, Defects, Split};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use umt_media::{Limits, read_bounded};

const RGB: [&str; 8] = ["rgb", "image", "images", "color", "colour", "colors", "img", "pictures"];
const DEPTH: [&str; 4] = ["depth", "depths", "depth_bfx", "depth_raw"];
const LABEL: [&str; 9] =
    ["label", "labels", "labels_40", "mask", "masks", "seg", "segmentation", "annotation", "annotations"];

/// Such a folder's samples; none if it has no folder of colour next to one of depth.
pub(super) fn read(root: &Path) -> Result<Option<Survey>, DataError> {
    let mut samples: BTreeMap<String, SurveyRow> = BTreeMap::new();
    let (mut there, mut counts) = (BTreeSet::new(), BTreeMap::new());
    let entries = root.read_dir().map_err(|source| DataError::Io { path: root.to_owned(), source })?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    // Also `train/rgb`, `test/rgb`.
    let mut parts: Vec<(Option<Split>, PathBuf)> = folders.iter().map(|path| (None, path.clone())).collect();
    for folder in &folders {
        if let Some(split) = folder.file_name().and_then(|name| name.to_str()).and_then(split_word) {
            let inner = folder.read_dir().map_err(|source| DataError::Io { path: folder.clone(), source })?;
            let mut inner: Vec<PathBuf> = inner.filter_map(Result::ok).map(|entry| entry.path()).collect();
            inner.sort();
            parts.extend(inner.into_iter().filter(|path| path.is_dir()).map(|path| (Some(split), path)));
        }
    }
    for (split, folder) in parts {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let roles = [("rgb", &RGB[..]), ("depth", &DEPTH[..]), ("label-map", &LABEL[..])];
        let Some((role, _)) = roles.into_iter().find(|(_, names)| names.contains(&name.as_str())) else { continue };
        there.insert(role);
        let mut files = Vec::new();
        files_below(&folder, 4, &mut files)?;
        for path in files.into_iter().filter(|path| kind(path).is_some()) {
            let below = path.strip_prefix(&folder).unwrap_or(&path).with_extension("");
            let id = below.display().to_string();
            *counts.entry(role).or_insert(0usize) += 1;
            let row = samples.entry(id.clone()).or_insert_with(|| SurveyRow { id, ..SurveyRow::default() });
            row.split = row.split.or(split);
            row.files.insert(role, path);
        }
    }
    if !there.contains("rgb") || !there.contains("depth") {
        return Ok(None);
    }
    if !there.contains("label-map") {
        let hint = "put a picture for each pair into `label`: 0 for no class, 1, 2, ... for the lines of classes.txt";
        return Err(DataError::root(root, "there is colour and depth, but no folder of label maps", hint));
    }
    let mut found = Survey { form: "pairs of colour and depth with label maps".into(), ..Survey::default() };
    found.rows = samples.into_values().collect();
    let lacking: Vec<&str> = found.rows.iter().filter(|row| row.files.len() < 3).map(|row| row.id.as_str()).collect();
    if let Some(first) = lacking.first() {
        let counts: Vec<String> = counts.iter().map(|(role, count)| format!("{count} {role}")).collect();
        let note = format!(
            "{} samples lack a part ({first}, ...; there are {}) and were left out",
            lacking.len(),
            counts.join(", ")
        );
        found.notes.push(note);
        found.rows.retain(|row| row.files.len() == 3);
    }
    for (list, split) in [
        ("train.txt", Split::Train),
        ("validation.txt", Split::Validation),
        ("val.txt", Split::Validation),
        ("test.txt", Split::Test),
    ] {
        let Ok(text) = std::fs::read_to_string(root.join(list)) else { continue };
        let stem = |line: &str| Path::new(line.trim()).with_extension("").display().to_string();
        let named: BTreeSet<String> = text.lines().flat_map(|line| [stem(line), line.trim().to_owned()]).collect();
        found.rows.iter_mut().filter(|row| named.contains(&row.id)).for_each(|row| row.split = Some(split));
    }
    found.map_classes = map_classes(root, &found.rows)?;
    Ok(Some(found))
}

/// Names of the classes: those of `classes.txt`, or a number for each id up to the largest in the maps.
pub(super) fn map_classes(folder: &Path, rows: &[SurveyRow]) -> Result<Vec<String>, DataError> {
    if let Some(names) = crate::kinds::read_classes(&folder.join("classes.txt"), &mut Defects::stop())? {
        return Ok(names);
    }
    let mut largest = 0;
    let maps: Vec<&PathBuf> = rows.iter().filter_map(|row| row.files.get("label-map")).collect();
    for path in maps.iter().take(500) {
        let unreadable =
            |reason: String| DataError::root(path.as_path(), reason, "label maps are PNG files of class ids");
        let bytes = read_bounded(path, &Limits::default()).map_err(|error| unreadable(error.to_string()))?;
        let map = umt_depth::decode_ids(&bytes, &Limits::default()).map_err(|error| unreadable(error.to_string()))?;
        largest = largest.max(map.ids.iter().copied().filter(|&id| id != 255).max().unwrap_or(0));
    }
    Ok((1..=largest).map(|id| format!("class {id}")).collect())
}
