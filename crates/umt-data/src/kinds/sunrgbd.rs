//! SUN RGB-D, re-encoded to folders as [`folders`] says, with the 37 classes.
//!
//! Depth is in millimetres by `depth.unit`, or, with `depth.rotated`, as the set publishes it: with
//! its bits rotated by three. Pictures differ in size; each part of one has the same.

use super::{Kind, folders, list};
use crate::{DataConfig, DataError, Dataset, Defects};
use std::path::Path;
use umt_depth::classes::sun37;

pub(super) struct SunRgbd;

impl Kind for SunRgbd {
    fn name(&self) -> &'static str {
        "sunrgbd"
    }

    fn about(&self) -> &'static str {
        "SUN RGB-D, 37 classes: folders rgb, depth, label with train.txt and test.txt; it contains NYU Depth V2"
    }

    fn open(&self, root: Option<&Path>, config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
        let root = list::folder(self.name(), root)?;
        let form = folders::Form { name: self.name(), classes: sun37(), reduced: None, runs: false };
        folders::open(root, &form, config, defects)
    }
}
