//! Files that are not there, and files that no row names.

use crate::{
    DataConfig, Dataset, Problem, Sample, Source, files,
    finding::{Finding, FindingKind},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The first file of a sample that is not there, with what its path gives away.
pub(super) fn missing(sample: Sample<'_>, config: &DataConfig) -> Option<Finding> {
    let parts = sample.parts().filter(|(name, _)| config.reads(name));
    let path = parts.filter_map(|(_, source)| source.path().map(Path::to_owned)).find(|path| !path.exists())?;
    let finding = Finding::new(Problem::Missing.into(), format!("{} is not there", path.display()));
    Some(match hint(&sample.set().root, &path) {
        Some(remedy) => Finding { remedy, ..finding },
        None => finding,
    })
}

fn hint(root: &Path, path: &Path) -> Option<String> {
    let written = path.strip_prefix(root).unwrap_or(path).to_str()?;
    if written.starts_with('~') {
        return Some("`~` is a name like any other here: write the path of the home folder out".into());
    }
    if written.contains('\\') {
        let slashes = written.replace('\\', "/");
        let found = if root.join(&slashes).exists() { format!(" ({slashes} is there)") } else { String::new() };
        return Some(format!("write / between folders in place of \\{found}"));
    }
    (written.starts_with("file://") || written.starts_with("http"))
        .then(|| "write the path of a file on this machine: addresses are not opened".into())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn ends_in(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| known.iter().any(|other| extension.eq_ignore_ascii_case(other)))
}

const IMAGES: [&str; 3] = ["png", "jpg", "jpeg"];
const CLIPS: [&str; 13] =
    ["mp4", "mkv", "webm", "avi", "mov", "wav", "mp3", "flac", "ogg", "m4a", "png", "jpg", "jpeg"];

fn entries(folder: &Path) -> Vec<PathBuf> {
    // A list that is named without a folder lies in the current one.
    let read = if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.read_dir();
    let mut found: Vec<PathBuf> =
        read.ok().into_iter().flatten().filter_map(|entry| Some(folder.join(entry.ok()?.file_name()))).collect();
    found.sort();
    found
}

/// The files of a source: itself, or the images of a folder that are not hidden.
pub(super) fn visible(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut found = entries(path);
    found.retain(|file| ends_in(file, &IMAGES) && !is_hidden(file));
    found
}

/// Hidden files among the samples' files, and files next to them that no row names.
pub(super) fn unnamed(set: &Dataset) -> Vec<Finding> {
    let (mut named, mut parents, mut frames) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for source in set.iter().flat_map(|sample| sample.parts().map(|(_, source)| source)) {
        let Source::Path(path) = source else { continue };
        named.insert(files::hash(&path));
        if path.is_dir() {
            frames.insert(path.clone());
        }
        if let Some(parent) = path.parent().filter(|parent| !parents.contains(*parent)) {
            parents.insert(parent.to_owned());
        }
    }
    let known: &[&str] = if set.dense.is_some() { &IMAGES } else { &CLIPS };
    let hidden = |path: &Path| Finding::new(FindingKind::HiddenFile, format!("{} is hidden", path.display()));
    let mut findings = Vec::new();
    for path in parents.iter().flat_map(|folder| entries(folder)).filter(|path| !named.contains(&files::hash(path))) {
        if ends_in(&path, known) {
            findings.push(match is_hidden(&path) {
                true => hidden(&path),
                false => Finding::new(FindingKind::UnlistedFile, format!("{} is in no list", path.display())),
            });
        }
    }
    for path in frames.iter().filter(|folder| !parents.contains(*folder)).flat_map(|folder| entries(folder)) {
        if ends_in(&path, &IMAGES) && is_hidden(&path) {
            findings.push(hidden(&path));
        }
    }
    findings
}
