//! What the kinds with a list share: its text, class names, missing files.

use crate::rows::{MAX_LIST_BYTES, Rows};
use crate::{DataConfig, DataError, Dataset, OnError, Source, Split};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use umt_media::{Limits, Modality, read_bounded};

/// The text of a list that is no csv.
pub(super) fn text(path: &Path, expected: &str) -> Result<String, DataError> {
    let limits = Limits { max_file_bytes: MAX_LIST_BYTES, ..Limits::default() };
    let bytes = read_bounded(path, &limits)
        .map_err(|error| DataError::root(path, error.to_string(), format!("expected {expected}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        DataError::List {
            path: path.to_owned(),
            line: before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1,
            reason: "the text is not UTF-8".into(),
            expected: expected.to_owned(),
        }
    })
}

/// The manifest of a folder.
pub(super) const MANIFEST: &str = "manifest.csv";

/// Whether `path` is a csv file, or a folder with a `manifest.csv`, whose first line names the columns of a manifest: ids, and labels or files.
pub fn is_manifest(path: &Path) -> bool {
    let inside = path.join(MANIFEST);
    let list = if path.is_dir() { &inside } else { path };
    if !list.is_file() {
        return false;
    }
    let Ok(header) = Rows::open(list, "a list").and_then(|mut rows| rows.first()) else {
        return false;
    };
    let has = |name: &str| header.fields.iter().any(|field| field == name);
    has("id") && ["label", "label-map", "audio", "video", "rgb", "depth"].into_iter().any(has)
}

/// The split that a list's word names.
pub(super) fn split_of(word: &str) -> Option<Split> {
    match word {
        "train" => Some(Split::Train),
        "validation" | "val" | "valid" => Some(Split::Validation),
        "test" => Some(Split::Test),
        _ => None,
    }
}

/// Sorted class names, and the label of each word.
pub(super) fn classes(words: &[String]) -> (Vec<String>, Vec<usize>) {
    let names: BTreeSet<&String> = words.iter().collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let labels = words.iter().map(|word| names.partition_point(|name| name < word)).collect();
    (names, labels)
}

/// Under the policy `stop`, refuses a set whose list names files that are not there.
pub(super) fn require_files(set: &Dataset, config: &DataConfig) -> Result<(), DataError> {
    if config.on_error == OnError::Skip {
        return Ok(());
    }
    let wanted = |name: &str| match name.parse() {
        Ok(Modality::Audio) => config.audio.is_some(),
        Ok(Modality::Depth) => config.depth.is_some(),
        Ok(Modality::Rgb) => config.rgb.is_some(),
        Ok(Modality::Video) => config.video.is_some(),
        // The label map.
        Err(_) => true,
    };
    let mut missing: Vec<&PathBuf> = Vec::new();
    let mut samples = 0;
    for sample in &set.samples {
        let absent: Vec<&PathBuf> = sample
            .parts()
            .filter(|(name, _)| wanted(name))
            .filter_map(|(_, source)| match source {
                Source::Path(path) if !path.exists() => Some(path),
                _ => None,
            })
            .collect();
        samples += usize::from(!absent.is_empty());
        missing.extend(absent);
    }
    if samples == 0 {
        return Ok(());
    }
    missing.dedup();
    let first: Vec<String> = missing.iter().take(3).map(|path| path.display().to_string()).collect();
    Err(DataError::Missing { missing: samples, total: set.samples.len(), first: first.join(", ") })
}

/// The folder of a set, or what to do without one.
pub(super) fn folder<'a>(name: &str, root: Option<&'a Path>) -> Result<&'a Path, DataError> {
    let Some(root) = root else {
        return Err(DataError::config("root", format!("`{name}` is read from a folder; give it with --data DIR")));
    };
    if !root.exists() {
        return Err(DataError::root(root, "there is no such file or folder", "check --data"));
    }
    Ok(root)
}
