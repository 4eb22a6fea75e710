//! Errors with the file's name and the way out.

use std::path::Path;
use umt_media::MediaError;

/// What to do with a clip that is not read.
pub(crate) const CONVERT: &str = "it may be whole; install the `ffmpeg` command, or convert the clip once: \
     ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4";

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
