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
mod error;
mod decoder;
mod ffmpeg;
mod frame;
mod h264;
mod jpeg;
mod mp4;
mod still;

pub use clip::decode_clip;
pub use folder::decode_folder;
pub use frame::Frame;
pub use select::{Pick, Select, Timeline};
pub use still::{decode_image, decode_stored_image, encode_jpeg, exif_orientation};

use error::named;
use std::path::Path;
use umt_media::{Ffmpeg, Limits, MediaError, read_bounded};

/// The selected frames of a clip, of a folder of frames ([`decode_folder`]), or of a still image,
/// which is a clip of one frame.
///
/// What [`decode_clip`] does not support goes to the `ffmpeg` command.
///
/// # Errors
/// Those of [`decode_clip`] with the file's name. [`MediaError::Unsupported`] names the codec and
/// the command that converts the clip, where `ffmpeg` would be needed and is not installed.
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
    decode_file(path, &bytes, select, pick, size, limits)
}

/// [`decode_path`] for a file whose bytes are at hand.
///
/// # Errors
/// As [`decode_path`].
pub fn decode_file(
    path: &Path,
    bytes: &[u8],
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    if still::is_still(bytes) {
        return folder::still(bytes, select, pick, size, limits).map_err(|error| named(path, error));
    }
    match decode_clip(bytes, select, pick, size, limits) {
        Err(error @ MediaError::Unsupported { .. }) => {
            let frames = ffmpeg::decode(&Ffmpeg::default(), path, select, pick, size, limits)?;
            frames.ok_or_else(|| named(path, error))
        }
        result => result.map_err(|error| named(path, error)),
    }
}
