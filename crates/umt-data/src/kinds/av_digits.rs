//! Audio-visual digits: spoken and written digits in noise, in VGGSound's form.

use super::{Kind, vggsound};
use crate::{DataConfig, DataError, Dataset, Defects};
use std::path::Path;

pub(super) struct AvDigits;

impl Kind for AvDigits {
    fn name(&self) -> &'static str {
        "av-digits"
    }

    fn about(&self) -> &'static str {
        "written and spoken digits in VGGSound's form, with groups.csv (validation holds out recordings)"
    }

    /// Few recordings serve many clips, so a random validation share would hear the same ones.
    fn open(&self, root: Option<&Path>, _config: &DataConfig, defects: &mut Defects) -> Result<Dataset, DataError> {
        vggsound::open_as(self.name(), root, Some("recording"), defects)
    }
}
