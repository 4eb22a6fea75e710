//! The list of data sets: each kind is one file behind a small trait.

mod av_digits;
mod folders;
mod list;
mod manifest;
mod nyuv2;
mod sunrgbd;
mod synthetic_av;
mod synthetic_rooms;
mod vggsound;

pub(crate) use folders::read_classes;
pub use list::is_manifest;
pub use manifest::listed;

use crate::{DataConfig, DataError, Dataset, Defects};
use std::path::Path;

/// One kind of data set.
pub trait Kind: Sync {
    /// The name for `--dataset` and `data.set`.
    fn name(&self) -> &'static str;

    /// One line for help and documentation.
    fn about(&self) -> &'static str;

    /// Reads the list, not the media. `root` is a folder or a list file; a set made by code needs
    /// none. What becomes of defects of the list is for `defects` to say.
    ///
    /// # Errors
    /// A folder or list that is not of the set's form, and settings that it cannot follow.
    fn open(&self, root: Option<&Path>, config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError>;
}

/// All kinds. A new one is a file here, a `mod` line and an entry.
pub const KINDS: &[&dyn Kind] = &[
    &av_digits::AvDigits,
    &manifest::Manifest,
    &nyuv2::NyuV2,
    &sunrgbd::SunRgbd,
    &synthetic_av::SyntheticAv,
    &synthetic_rooms::SyntheticRooms,
    &vggsound::VggSound,
];

/// Opens a data set by name.
///
/// A `root` that is a manifest (a csv file, or a folder with a `manifest.csv`, whose header names `id`, and labels or files) is read as
/// one whatever the name is, so that own data can stand wherever a set can.
///
/// # Errors
/// An unknown name, a missing folder, a list of another form, files that are not there (policy
/// `stop`), or settings that cannot be.
pub fn open(dataset: &str, root: Option<&Path>, config: &DataConfig) -> Result<Dataset, DataError> {
    config.validate()?;
    let mut set = read_list(dataset, root, config, &mut Defects::stop())?;
    if let Some(limit) = config.limit {
        set.limit(limit);
    }
    has_parts(&set, config)?;
    list::require_files(&set, config)?;
    Ok(set)
}

/// Refuses inputs that the set does not hold: sound of scenes, pictures with depth of clips.
pub(crate) fn has_parts(set: &Dataset, config: &DataConfig) -> Result<(), DataError> {
    let dense = set.dense.is_some();
    let beside = config.depth.as_ref().is_some_and(|depth| depth.size.is_some());
    if dense && (config.audio.is_some() || config.video.is_some() || beside) {
        let reason = format!("`{}` has a class for every pixel, and neither sound nor clips", set.name);
        return Err(DataError::config("audio, video, depth.size", reason));
    }
    if !dense && config.dense.is_some() {
        return Err(DataError::config("dense", format!("`{}` has one class per sample, not per pixel", set.name)));
    }
    if beside && set.synthetic.is_none() {
        return Err(DataError::config("depth.size", format!("`{}` has no depth beside its clips", set.name)));
    }
    Ok(())
}

/// [`open`] without a look at the media files.
pub(crate) fn read_list(
    dataset: &str,
    root: Option<&Path>,
    config: &DataConfig,
    defects: &mut Defects,
) -> Result<Dataset, DataError> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.name() == dataset)
        .ok_or_else(|| DataError::UnknownDataset { name: dataset.to_owned(), known: KINDS.map_names() })?;
    if let Some(path) = root.filter(|path| is_manifest(path)) {
        return manifest::Manifest.open(Some(path), config, defects);
    }
    kind.open(root, config, defects)
}

trait Names {
    fn map_names(&self) -> String;
}

impl Names for [&dyn Kind] {
    fn map_names(&self) -> String {
        let names: Vec<_> = self.iter().map(|kind| kind.name()).collect();
        names.join(", ")
    }
}
