//! What the kinds with a list share: its text, class names, missing files.

use crate::{
    DataConfig, DataError, Dataset, Defects, OnError, Source, Split,
    defects::Place,
    finding::FindingKind,
    rows::{BYTE_ORDER_MARK, MAX_LIST_BYTES, Rows},
    samples::Samples,
};
use std::{collections::BTreeMap, path::Path};
use umt_media::{Limits, read_bounded};

/// The text of a list that is no csv, without the byte-order mark that some editors write.
pub(super) fn text(path: &Path, expected: &str, defects: &mut Defects) -> Result<String, DataError> {
    let limits = Limits { max_file_bytes: MAX_LIST_BYTES, ..Limits::default() };
    let mut bytes = read_bounded(path, &limits)
        .map_err(|error| DataError::root(path, error.to_string(), format!("expected {expected}")))?;
    if bytes.starts_with(&BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
        defects.note(FindingKind::ByteOrderMark, Place { list: path, line: 1, id: "", form: expected }, marked);
    }
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

/// What is said of a byte-order mark.
pub(super) fn marked() -> String {
    "the list begins with a byte-order mark".into()
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
    let Ok(mut rows) = Rows::open(list, "a list") else { return false };
    let Ok(header) = rows.first() else { return false };
    let has = |name: &str| (0..header.len()).any(|index| header.field(index) == name);
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

/// Class names as they are met, each once.
#[derive(Default)]
pub(super) struct Classes(BTreeMap<String, u32>);

impl Classes {
    /// The number of a name, in the order in which they are met.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.0.get(name) {
            return number;
        }
        let number = self.0.len() as u32;
        self.0.insert(name.to_owned(), number);
        number
    }

    /// Sorted class names, with the labels of `samples` as places among them.
    pub fn sorted(self, samples: &mut Samples) -> Vec<String> {
        let mut order = vec![0; self.0.len()];
        for (place, &number) in self.0.values().enumerate() {
            order[number as usize] = place as u32;
        }
        samples.relabel(&order);
        self.0.into_keys().collect()
    }
}

/// Under the policy `stop`, refuses a set whose list names files that are not there.
pub(super) fn require_files(set: &Dataset, config: &DataConfig) -> Result<(), DataError> {
    if config.on_error == OnError::Skip {
        return Ok(());
    }
    let (mut samples, mut first) = (0, Vec::new());
    for sample in set.iter() {
        let absent = sample.parts().filter(|(name, _)| config.reads(name)).filter_map(|(_, source)| match source {
            Source::Path(path) => (!path.exists()).then_some(path),
            _ => None,
        });
        let mut absent = absent.peekable();
        samples += usize::from(absent.peek().is_some());
        if first.len() < 3 {
            first.extend(absent);
            first.dedup();
        }
    }
    if samples == 0 {
        return Ok(());
    }
    let first: Vec<String> = first.iter().take(3).map(|path| path.display().to_string()).collect();
    Err(DataError::Missing { missing: samples, total: set.len(), first: first.join(", ") })
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
