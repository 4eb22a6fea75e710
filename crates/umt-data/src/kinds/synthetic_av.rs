//! The embedded audio-visual set: made by code, so that a first run needs no download.

use super::Kind;
use crate::{DataConfig, DataError, Dataset, Defects};
use std::path::Path;

pub(super) struct SyntheticAv;

impl Kind for SyntheticAv {
    fn name(&self) -> &'static str {
        "synthetic-av"
    }

    fn about(&self) -> &'static str {
        "made by code: moving glyphs and melodies in noise, 10 classes; needs no data"
    }

    fn open(&self, root: Option<&Path>, config: &DataConfig, _defects: &mut Defects) -> Result<Dataset, DataError> {
        if let Some(root) = root {
            return Err(DataError::root(
                root,
                "`synthetic-av` is made by code and reads no folder",
                "leave --data out, or name the set with --dataset",
            ));
        }
        crate::synth::dataset(&config.synthetic)
    }
}
