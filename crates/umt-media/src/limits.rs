//! How much may be read, and the bounded reader.

use crate::error::MediaError;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Upper bounds that are checked before memory is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Width times height of one image or frame.
    pub max_pixels: u64,
    /// Audio samples of all channels together.
    pub max_samples: u64,
    /// Audio channels.
    pub max_channels: u64,
    /// Video frames of one clip.
    pub max_frames: u64,
}

impl Default for Limits {
    /// One hour of 48 kHz stereo, 8K images, an hour of video at 60 frames/s, 1 GiB a file.
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_pixels: 7680 * 4320,
            max_samples: 2 * 48_000 * 3600,
            max_channels: 32,
            max_frames: 60 * 3600,
        }
    }
}

/// Audio samples of all channels that any file may unpack to: a minute of 48 kHz stereo.
const FREE_SAMPLES: u64 = 6_000_000;
/// Pixels that any file may unpack to.
const FREE_PIXELS: u64 = 4_200_000;
/// Beyond that, the samples or pixels that each byte of the file may stand for. The densest
/// recordings and photographs in use have 25; only a constant signal has more.
const PER_BYTE: u64 = 64;

impl Limits {
    /// The most audio samples of all channels that a file of `bytes` bytes may unpack to.
    pub fn samples_of(&self, bytes: usize) -> u64 {
        self.max_samples.min(FREE_SAMPLES.max((bytes as u64).saturating_mul(PER_BYTE)))
    }

    /// The most pixels that an image file of `bytes` bytes may unpack to.
    pub fn pixels_of(&self, bytes: usize) -> u64 {
        self.max_pixels.min(FREE_PIXELS.max((bytes as u64).saturating_mul(PER_BYTE)))
    }

    /// Compares a declared size with its limit.
    ///
    /// # Errors
    /// [`MediaError::Limit`] if `value` is over `limit`.
    pub fn check(what: &str, value: u64, limit: u64) -> Result<(), MediaError> {
        if value > limit {
            return Err(MediaError::Limit { what: what.to_owned(), value, limit });
        }
        Ok(())
    }
}

/// Reads a whole file of at most `limits.max_file_bytes` bytes.
///
/// Stops after one byte more than allowed, whatever length the file claims to have.
///
/// # Errors
/// [`MediaError::Io`] for a file that cannot be read or is no regular file (a pipe or a device
/// might never end), [`MediaError::Limit`] for one that is too large.
pub fn read_bounded(path: &Path, limits: &Limits) -> Result<Vec<u8>, MediaError> {
    let io = |source| MediaError::Io { path: path.to_owned(), source };
    let file = open_regular(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    Limits::check(&format!("the size of {}", path.display()), bytes.len() as u64, limits.max_file_bytes)?;
    Ok(bytes)
}

/// Opens a file for reading, and nothing that waits or never ends: no pipe, no device, no folder.
///
/// # Errors
/// Those of the operating system; [`io::ErrorKind::InvalidInput`] for what is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Asked of the path, because opening a pipe waits for its writer.
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_rejected_at_once() {
        let error = read_bounded(Path::new("/dev/zero"), &Limits::default()).map(drop).unwrap_err();
        assert!(error.to_string().contains("/dev/zero: it is not a regular file"), "{error}");
    }

    #[test]
    fn what_unpacks_to_more_than_recordings_do_is_over_the_limit() {
        let limits = Limits::default();
        assert_eq!(limits.samples_of(100), 6_000_000);
        assert_eq!(limits.samples_of(1_000_000), 64_000_000);
        assert_eq!(limits.samples_of(usize::MAX), limits.max_samples);
        assert_eq!(limits.pixels_of(258_000), 16_512_000);
    }

    #[test]
    fn a_file_over_the_limit_is_refused_and_a_missing_one_named() {
        let limits = Limits { max_file_bytes: 10, ..Limits::default() };
        let here = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert!(matches!(read_bounded(here, &limits), Err(MediaError::Limit { value: 11, .. })));
        let error = read_bounded(Path::new("no/such.wav"), &limits).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("no/such.wav"));
    }
}
