//! The embedded rooms: made by code, so that a first run needs no download.

use super::Kind;
use crate::{DataConfig, DataError, Dataset, Defects};
use std::path::Path;

pub(super) struct SyntheticRooms;

impl Kind for SyntheticRooms {
    fn name(&self) -> &'static str {
        "synthetic-rooms"
    }

    fn about(&self) -> &'static str {
        "made by code: indoor scenes as colour, depth and a class per pixel, 12 classes; needs no data"
    }

    fn open(&self, root: Option<&Path>, config: &DataConfig, _defects: &mut Defects) -> Result<Dataset, DataError> {
        if let Some(root) = root {
            return Err(DataError::root(
                root,
                "`synthetic-rooms` is made by code and reads no folder",
                "leave --data out, or name the set with --dataset",
            ));
        }
        crate::rooms::dataset(&config.rooms)
    }
}
