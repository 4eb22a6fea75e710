//! Pictures with depth and a class for every pixel: the settings, and the label maps of a batch.

use crate::{DataError, VideoNormalise};
use serde::{Deserialize, Serialize};

/// How samples with a class for every pixel are read; needed where `rgb` or `depth` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DenseInput {
    /// Width and height of what the network sees, and of the label maps in training.
    pub size: [usize; 2],
    /// Which of a set's class lists: 40 or 13 for `nyuv2`; `None` takes the set's own.
    #[serde(default)]
    pub classes: Option<usize>,
}

/// How a colour picture enters the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RgbInput {
    /// Width and height of the stored picture, reduced by a triangle filter; `None` keeps each
    /// file's own. Worth setting where the input is less than half as large as the files: what is
    /// drawn from the stored picture is interpolated between four pixels alone.
    pub stored: Option<[usize; 2]>,
    /// Shift and scale of the 8-bit values.
    pub normalise: VideoNormalise,
}

impl Default for RgbInput {
    fn default() -> Self {
        Self { stored: None, normalise: VideoNormalise::Imagenet }
    }
}

/// How depth enters the network. It is kept as whole millimetres; 0 is a hole and stays 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DepthInput {
    /// Width and height of a depth picture beside sound or video, in sets with one class per sample; `None` for depth
    /// with a class for every pixel, whose size stands in `dense.size`.
    pub size: Option<[usize; 2]>,
    /// The sensor's own depth with holes instead of the filled one, for sets that hold both.
    pub raw: bool,
    /// Millimetres per value of the files; `None` takes the set's own unit (1 where it states none).
    pub unit: Option<f64>,
    /// The values are millimetres whose bits are rotated by three, as SUN RGB-D publishes them.
    pub rotated: bool,
    /// Shift and scale.
    pub normalise: DepthNormalise,
}

impl Default for DepthInput {
    fn default() -> Self {
        Self { size: None, raw: false, unit: None, rotated: false, normalise: DepthNormalise::Train }
    }
}

/// Shift and scale of depth: `(mm - mean) / std`; holes become 0, which is the mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum DepthNormalise {
    /// Mean and standard deviation over the training samples' depths, holes apart.
    Train,
    /// Given in millimetres, such as ESANet's for NYU Depth V2: 2841.949 and 1417.259.
    Fixed {
        /// Subtracted first.
        mean: f32,
        /// Divided by.
        std: f32,
    },
}

/// Classes of the pixels of a batch.
///
/// In training the maps have the input's size. In evaluation they have the label's own size, which
/// may differ from the input's; samples whose labels differ in size are never in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMaps {
    /// Samples, height, width.
    pub shape: [usize; 3],
    /// Class of each pixel, row-major; [`LabelMaps::VOID`] for those that count nowhere.
    pub data: Vec<u8>,
}

impl LabelMaps {
    /// Marks a pixel without a class.
    pub const VOID: u8 = 255;

    /// The map of sample `i`, `[height, width]`.
    pub fn map(&self, i: usize) -> &[u8] {
        let size = self.shape[1] * self.shape[2];
        &self.data[i * size..(i + 1) * size]
    }
}

fn sized(key: &str, size: [usize; 2]) -> Result<(), DataError> {
    if size.iter().any(|&v| v == 0 || v > 8192) {
        return Err(DataError::config(key, format!("{size:?} is not within 1..=8192")));
    }
    Ok(())
}

impl DenseInput {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        sized("dense.size", self.size)
    }
}

impl RgbInput {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        self.stored.map_or(Ok(()), |size| sized("rgb.stored", size))
    }
}

impl DepthInput {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        self.size.map_or(Ok(()), |size| sized("depth.size", size))?;
        if let Some(unit) = self.unit
            && !(unit > 0.0 && unit <= 65_535.0)
        {
            return Err(DataError::config("depth.unit", format!("{unit} mm per value is not in (0, 65535]")));
        }
        if self.rotated && self.unit.is_some() {
            return Err(DataError::config("depth.rotated", "rotated values have a unit; leave depth.unit out"));
        }
        if let DepthNormalise::Fixed { mean, std } = self.normalise
            && !(mean.is_finite() && std.is_finite() && std > 0.0)
        {
            return Err(DataError::config("depth.normalise", format!("mean {mean}, std {std}: std must be above 0")));
        }
        Ok(())
    }
}
