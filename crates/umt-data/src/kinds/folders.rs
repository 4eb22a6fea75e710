//! Folders of pictures, depth and label maps with split lists: the form that RGB-D sets are commonly
//! re-encoded to.
//!
//! `rgb/NAME.jpg`, `depth/NAME.png`, `label/NAME.png`, `train.txt` and `test.txt` (and, if there is
//! one, `validation.txt`) with a NAME in each line, or paths whose file name is the NAME. Label files
//! hold 0 for none and 1, 2, ... for the classes in the order of `classes.txt`, whose first line may
//! be `void`.

use super::list;
use crate::{
    DataConfig, DataError, Dataset, Defects, DenseForm, FindingKind, LabelMaps, Split,
    dataset::Lists,
    defects::Place,
    samples::{NewSample, NewSource, Samples},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use umt_depth::DepthCode;
use umt_media::Modality;

const FORM: &str =
    "folders rgb, depth and label with NAME.jpg or NAME.png, and train.txt and test.txt with a NAME in each line";
const CLASSES_FORM: &str = "a class name in each line; the first line may be `void`, for id 0";

/// What a kind knows about a set of this form.
pub(super) struct Form<'a> {
    pub name: &'a str,
    /// Class names where the folder holds no `classes.txt`.
    pub classes: &'a [&'a str],
    /// Another list that the set's classes can be reduced to: its names, and the class of each.
    pub reduced: Option<(&'a [&'a str], &'a [u8])>,
    /// Unbroken runs of numbers in train.txt are scenes.
    pub runs: bool,
}

/// The folders' names, in the order of preference.
const RGB: [&str; 5] = ["rgb", "RGB", "image", "images", "color"];
const DEPTH: [&str; 4] = ["depth", "Depth", "depth_bfx", "depths"];
const RAW: [&str; 3] = ["depth_raw", "raw_depth", "depth-raw"];
const LABEL: [&str; 5] = ["label", "Label", "labels", "Labels", "labels_40"];

/// Reads the lists of such a folder.
pub(super) fn open(
    root: &Path,
    form: &Form<'_>,
    config: &DataConfig,
    defects: &mut Defects,
) -> Result<Dataset, DataError> {
    let raw = config.depth.as_ref().is_some_and(|depth| depth.raw);
    let rgb = Folder::find(root, &RGB);
    let depth = Folder::find(root, if raw { &RAW } else { &DEPTH });
    let label = Folder::find(root, &LABEL);
    let mut samples = Samples::default();
    let parts = [("train", Split::Train), ("validation", Split::Validation), ("test", Split::Test)];
    for (file, split) in parts {
        let path = root.join(format!("{file}.txt"));
        if split == Split::Validation && !path.is_file() {
            continue;
        }
        let names = names(&path, defects)?;
        let runs = if form.runs && split == Split::Train { runs(&names) } else { BTreeMap::new() };
        for (line, name) in &names {
            let scene = [runs.get(name).map_or("", String::as_str)];
            samples.push(NewSample {
                id: name,
                label: 0,
                split,
                line: *line,
                groups: if form.runs { &scene } else { &[] },
                sources: &[
                    (Modality::Depth, NewSource::File(&depth.file(name))),
                    (Modality::Rgb, NewSource::File(&rgb.file(name))),
                ],
                map: Some(NewSource::File(&label.file(name))),
            });
        }
    }
    let own = match read_classes(&root.join("classes.txt"), defects)? {
        Some(names) => names,
        None => form.classes.iter().map(|&name| name.to_owned()).collect(),
    };
    let (classes, ids) = reduce(&own, form.reduced, config)?;
    let mut set = Dataset {
        name: form.name.to_owned(),
        root: root.to_owned(),
        lists: Lists::PerSplit,
        classes,
        samples,
        group_names: if form.runs { vec!["scene".into()] } else { Vec::new() },
        hold_out: form.runs.then(|| "scene".into()),
        synthetic: None,
        rooms: None,
        dense: Some(DenseForm { classes: ids, depth: DepthCode::Unit(1.0) }),
    };
    set.validate(&root.join("train.txt"), defects)?;
    Ok(set)
}

/// Class names, and the class of each id, for the number of classes that the settings ask for.
pub(super) fn reduce(
    own: &[String],
    reduced: Option<(&[&str], &[u8])>,
    config: &DataConfig,
) -> Result<(Vec<String>, Vec<u8>), DataError> {
    let in_order = || (own.to_vec(), DenseForm::in_order(own.len(), DepthCode::Unit(1.0)).classes);
    let Some(wanted) = config.dense.as_ref().and_then(|dense| dense.classes) else {
        return Ok(in_order());
    };
    match reduced {
        _ if wanted == own.len() => Ok(in_order()),
        Some((names, table)) if wanted == names.len() && table.len() == own.len() => {
            let ids = std::iter::once(LabelMaps::VOID).chain(table.iter().copied());
            Ok((names.iter().map(|&name| name.to_owned()).collect(), ids.collect()))
        }
        _ => {
            let other = reduced.map_or(String::new(), |(names, _)| format!(" or {}", names.len()));
            Err(DataError::config("dense.classes", format!("{wanted}, but the set offers {}{other}", own.len())))
        }
    }
}

/// One of the folders, and the names of the files in it without and with their endings.
struct Folder<'a> {
    name: &'a str,
    files: BTreeMap<String, String>,
}

impl<'a> Folder<'a> {
    fn find(root: &Path, names: &[&'a str]) -> Self {
        let name = names.iter().find(|name| root.join(name).is_dir()).unwrap_or(&names[0]);
        let entries = root.join(name).read_dir().ok().into_iter().flatten();
        let files = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let extension = path.extension()?.to_str()?.to_ascii_lowercase();
            let picture = ["png", "jpg", "jpeg"].contains(&extension.as_str());
            let names = (path.file_stem()?.to_str()?.to_owned(), path.file_name()?.to_str()?.to_owned());
            Some(names).filter(|_| picture)
        });
        let files = files.collect();
        Self { name, files }
    }

    /// The path of a sample's file from the root; where it would be if it is not there.
    fn file(&self, name: &str) -> String {
        let found = self.files.get(name).map(|file| format!("{}/{file}", self.name));
        found.unwrap_or_else(|| format!("{}/{name}.png", self.name))
    }
}

/// The names in a list with their lines: the stem of the first path of each line.
fn names(path: &Path, defects: &mut Defects) -> Result<Vec<(u64, String)>, DataError> {
    let text = list::text(path, FORM, defects)?;
    let mut names = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        let Some(word) = words.split_whitespace().next() else { continue };
        let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
        let stem = name.rsplit_once('.').filter(|(_, end)| ["png", "jpg", "jpeg", "npy"].contains(end));
        let name = stem.map_or(name, |(stem, _)| stem);
        if name.is_empty() || name == ".." || name == "." {
            let at = Place { list: path, line, id: "", form: FORM };
            defects.defect(FindingKind::Row, at, format!("`{word}` names no file"))?;
            continue;
        }
        names.push((line, name.to_owned()));
    }
    Ok(names)
}

/// The scene of each name that is a number: unbroken runs, whatever the order of the lines.
fn runs(names: &[(u64, String)]) -> BTreeMap<String, String> {
    let numbers: BTreeSet<(u64, &String)> =
        names.iter().filter_map(|(_, name)| Some((name.parse::<u64>().ok()?, name))).collect();
    let (mut scene, mut before) = (0, None);
    let mut scenes = BTreeMap::new();
    for (number, name) in numbers {
        if before != Some(number.wrapping_sub(1)) {
            scene += 1;
        }
        before = Some(number);
        scenes.insert(name.clone(), format!("run-{scene:03}"));
    }
    scenes
}

/// Class names from a file; `None` if there is none.
pub(crate) fn read_classes(path: &Path, defects: &mut Defects) -> Result<Option<Vec<String>>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = list::text(path, CLASSES_FORM, defects)?;
    let mut names: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.first().is_some_and(|name| ["void", "unlabeled", "unlabelled"].contains(&name.as_str())) {
        names.remove(0);
    }
    if (1..=254).contains(&names.len()) {
        return Ok(Some(names));
    }
    Err(DataError::List {
        path: path.to_owned(),
        line: 1,
        reason: format!("{} classes, not 1 to 254", names.len()),
        expected: CLASSES_FORM.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbroken_runs_are_scenes() {
        let names = ["0007", "0002", "0003", "0005", "0006", "x", "0010"].map(|name| (1, name.to_owned()));
        let scenes = runs(&names);
        let of = |name: &str| scenes.get(name).map(String::as_str);
        assert_eq!([of("0002"), of("0003")], [Some("run-001"); 2]);
        assert_eq!([of("0005"), of("0006"), of("0007")], [Some("run-002"); 3]);
        assert_eq!([of("0010"), of("x")], [Some("run-003"), None]);
    }
}
