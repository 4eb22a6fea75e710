//! NYU Depth V2's labelled part: the original files, or the folders that they are re-encoded to.
//!
//! Original: `nyu_depth_v2_labeled.mat`, `splits.mat` and `classMapping40.mat` in one folder.
//! Folders: as [`folders`] says, with the numbers of the original as names; frames of one scene are
//! consecutive there, so unbroken runs in train.txt are whole scenes.

use super::{Kind, folders, list};
use crate::{
    DataConfig, DataError, Dataset, Defects, DenseForm, LabelMaps, Split,
    dataset::Lists,
    samples::{NewSample, NewSource, Samples},
};
use std::path::{Path, PathBuf};
use umt_depth::{
    ClassMapping, DepthCode, NyuMat, Splits,
    classes::{NYU13, NYU40, NYU40_TO_13},
};
use umt_media::{Limits, MediaError, Modality, read_bounded};

pub(super) struct NyuV2;

const LABELED: &str = "nyu_depth_v2_labeled.mat";
const HINT: &str = "give the folder with nyu_depth_v2_labeled.mat, splits.mat and classMapping40.mat, or one with rgb, depth, label, train.txt and test.txt";

impl Kind for NyuV2 {
    fn name(&self) -> &'static str {
        "nyuv2"
    }

    fn about(&self) -> &'static str {
        "NYU Depth V2, labelled part: the original .mat files, or folders rgb, depth, label with train.txt and test.txt"
    }

    fn open(&self, root: Option<&Path>, config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
        let root = list::folder(self.name(), root)?;
        let (folder, labeled) = match root.is_file() {
            true => (root.parent().unwrap_or(Path::new("")), root.to_owned()),
            false => (root, root.join(LABELED)),
        };
        if labeled.is_file() {
            return original(self.name(), folder, &labeled, config, defects);
        }
        if !root.join("train.txt").is_file() {
            return Err(DataError::root(root, format!("neither {LABELED} nor train.txt is there"), HINT));
        }
        let form =
            folders::Form { name: self.name(), classes: &NYU40, reduced: Some((&NYU13, &NYU40_TO_13)), runs: true };
        folders::open(root, &form, config, defects)
    }
}

fn original(
    name: &str,
    folder: &Path,
    labeled: &Path,
    config: &DataConfig,
    defects: &mut Defects,
) -> Result<Dataset, DataError> {
    let of = |path: &Path, error: MediaError| DataError::root(path, error.to_string(), HINT);
    let file = NyuMat::open(labeled, &Limits::default()).map_err(|error| of(labeled, error))?;
    let (splits, mapping) = (folder.join("splits.mat"), folder.join("classMapping40.mat"));
    let read = |path: &PathBuf| read_bounded(path, &Limits::default()).map_err(|error| of(path, error));
    let divided = Splits::read(&read(&splits)?, file.frames()).map_err(|error| of(&splits, error))?;
    let mapped = ClassMapping::read(&read(&mapping)?).map_err(|error| of(&mapping, error))?;
    let names = file.names().map_err(|error| of(labeled, error))?;
    if names.len() != mapped.classes.len() {
        let reason = format!("it maps {} labels, but {} has {}", mapped.classes.len(), LABELED, names.len());
        return Err(DataError::root(mapping, reason, "take the files of one release"));
    }
    let forty: Vec<String> = NYU40.map(str::to_owned).to_vec();
    let (classes, of_forty) = folders::reduce(&forty, Some((&NYU13, &NYU40_TO_13)), config)?;
    let of_label = mapped.classes.iter().map(|&class| of_forty[usize::from(class)]);
    let ids = std::iter::once(LabelMaps::VOID).chain(of_label).collect();
    let scenes = file.scenes().map_err(|error| of(labeled, error))?;
    let mut split = vec![Split::LeftOut; file.frames()];
    divided.train.iter().for_each(|&frame| split[frame] = Split::Train);
    divided.test.iter().for_each(|&frame| split[frame] = Split::Test);
    let mut samples = Samples::default();
    for (i, (split, scene)) in split.into_iter().zip(scenes).enumerate() {
        let frame = NewSource::Frame(labeled, i);
        samples.push(NewSample {
            id: &format!("{:04}", i + 1),
            label: 0,
            split,
            line: 0,
            groups: &[&scene],
            sources: &[(Modality::Depth, frame), (Modality::Rgb, frame)],
            map: Some(frame),
        });
    }
    let mut set = Dataset {
        name: name.to_owned(),
        root: folder.to_owned(),
        lists: Lists::None,
        classes,
        samples,
        group_names: vec!["scene".into()],
        hold_out: Some("scene".into()),
        synthetic: None,
        rooms: None,
        dense: Some(DenseForm { classes: ids, depth: DepthCode::Unit(1.0) }),
    };
    set.validate(labeled, defects)?;
    Ok(set)
}
