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
mod ffmpeg;
mod frame;
mod h264;
mod mp4;

pub use clip::{ClipInfo, decode_clip, probe};
pub use folder::{decode_folder, decode_picture, encode_jpeg};
pub use frame::Frame;
pub use select::{Pick, Select, Timeline};

use ffmpeg::Ffmpeg;
use std::path::Path;
use umt_media::{Limits, MediaError, read_bounded};

/// What to do with a clip that is not read.
pub(crate) const CONVERT: &str = "install the `ffmpeg` command, or convert the clip once: \
     ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4";

/// The selected frames of a clip or of a folder of frames: [`decode_clip`] or [`decode_folder`].
///
/// What [`decode_clip`] does not support goes to the `ffmpeg` command. Where that is not installed,
/// the error is [`MediaError::Unsupported`] and says so. Errors name the file.
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
    match decode_clip(&bytes, select, pick, size, limits) {
        Err(error @ MediaError::Unsupported { .. }) => {
            let frames = Ffmpeg::default().decode(path, select, pick, size, limits)?;
            frames.ok_or_else(|| named(path, error))
        }
        result => result.map_err(|error| named(path, error)),
    }
}

/// What a clip or a folder of frames is; [`probe`] for files. A folder has no clock: its rate and
/// duration are 0.
pub fn probe_path(path: &Path, limits: &Limits) -> Result<ClipInfo, MediaError> {
    if path.is_dir() {
        return folder::probe_folder(path, limits);
    }
    let bytes = read_bounded(path, limits)?;
    match probe(&bytes, limits) {
        Err(error @ MediaError::Unsupported { .. }) => {
            Ffmpeg::default().probe(path, limits)?.ok_or_else(|| named(path, error))
        }
        result => result.map_err(|error| named(path, error)),
    }
}

/// Adds the file to an error.
pub(crate) fn named(path: &Path, error: MediaError) -> MediaError {
    let name = |what: String| format!("{}: {what}", path.display());
    match error {
        MediaError::Malformed { what, reason } => MediaError::Malformed { what: name(what), reason },
        MediaError::Unsupported { what, reason } => MediaError::Unsupported { what: name(what), reason },
        MediaError::Limit { what, value, limit } => MediaError::Limit { what: name(what), value, limit },
        MediaError::Missing { what } => MediaError::Missing { what: format!("{what} ({})", path.display()) },
        error @ MediaError::Io { .. } => error,
    }
}
