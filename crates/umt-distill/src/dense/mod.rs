//! Objectives of segmentation networks: cross-entropy at several scales, and Uni-Modal Teachers on encoder maps.
//!
//! Maps are large, so nothing here goes through candle: each term comes with its gradient from one pass over the values.

mod distance;
mod scales;
mod task;

pub use distance::MapDistance;
pub use scales::{ScaleLosses, multi_scale};
pub use task::{DenseLossConfig, DenseTask, predicted_map};
