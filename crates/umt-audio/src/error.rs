//! Errors that several files share.

use umt_media::MediaError;

/// A codec that is read by the installed `ffmpeg` command alone.
pub(crate) fn convert(what: &str) -> MediaError {
    let reason = "it may be whole; install the `ffmpeg` command, or convert the audio once: ffmpeg -i IN OUT.flac";
    MediaError::unsupported(what, reason)
}

pub(crate) fn truncated(what: &str) -> MediaError {
    MediaError::malformed(what, "the file ends early, or its sizes are wrong")
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}
