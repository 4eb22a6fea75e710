//! RGB-D files to depth in millimetres, label maps and class lists.
//!
//! The one decision: depth is whole millimetres in 16 bit, with 0 for "not measured", whatever the
//! file's unit was. Nothing is filled, smoothed or scaled here, so a hole stays a hole. Images are
//! pure functions of bytes and [`umt_media::Limits`]; NYU Depth V2's 2.8 GB file is read frame by
//! frame from its place. Whatever a header declares is compared with the limits before memory is
//! set aside.
//!
//! ```
//! use umt_depth::{classes, DepthCode};
//! // NYU Depth V2's class lists: 40 classes, and the 13 that they are often reduced to.
//! assert_eq!(classes::NYU40[4], "chair");
//! assert_eq!(classes::NYU13[usize::from(classes::NYU40_TO_13[4])], "chair");
//! // A value of SUN RGB-D's files, whose bits are rotated by three, in millimetres.
//! assert_eq!(DepthCode::Rotated.millimetres(16_000), Some(2_000));
//! ```

mod image;
mod mat5;
mod nyu;

pub mod classes;

pub use image::{DepthCode, DepthMap, IdMap, decode_depth, decode_ids, encode_depth, encode_ids};
pub use mat5::{Mat5, Value};
pub use nyu::{ClassMapping, NyuMat, Splits};
