//! Clips and frame folders to frames.
//!
//! The one decision: h264 in mp4, which is nearly all of the field's video, is read without any
//! system package: our own reader of mp4 tables, a decoder in pure Rust behind a trait of two
//! methods, our own colour conversion. Everything is a pure function of bytes and
//! [`umt_media::Limits`]; what is declared is compared with what is there before memory is set
//! aside. Other codecs go to an installed `ffmpeg` command, and only [`decode_path`] does that.
//!
//! ```
//! use umt_media::Limits;
//! use umt_video::{Pick, Select, Timeline};
//! // 15 frames at 10 frames/s; the middle frame of each third, and one frame per half second.
//! let clip = Timeline { starts: (0..15).collect(), end: 15, timescale: 10 };
//! let thirds = Select::Count { count: 3 }.indices(&clip, Pick::Middle, &Limits::default())?;
//! assert_eq!(thirds, [2, 7, 12]);
//! let halves = Select::Rate { fps: 2.0, count: 5 }.indices(&clip, Pick::Middle, &Limits::default())?;
//! assert_eq!(halves, [2, 7, 12, 14, 14]);
//! # Ok::<(), umt_media::MediaError>(())
//! ```

mod clip;
mod folder;
mod select;

mod colour;
mod decoder;
mod frame;
mod h264;
mod mp4;

pub use clip::{ClipInfo, decode_clip, probe};
pub use folder::{decode_folder, decode_picture};
pub use frame::Frame;
pub use select::{Pick, Select, Timeline};

use std::path::Path;
use umt_media::{Limits, MediaError, read_bounded};

/// What to do with a clip that is not read.
pub(crate) const CONVERT: &str = "install the `ffmpeg` command, or convert the clip once: \
     ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4";

/// The selected frames of a clip or of a folder of frames: [`decode_clip`] or [`decode_folder`].
pub fn decode_path(
    path: &Path,
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    if path.is_dir() {
        return decode_folder(path, select, pick, size, limits);
    }
    let bytes = read_bounded(path, limits)?;
    decode_clip(&bytes, select, pick, size, limits)
}
