//! How much may be read, and the bounded reader.

use crate::MediaError;
use std::{fs::File, io::Read, path::Path};

/// Upper bounds that are checked before memory is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Width times height of one picture or frame.
    pub max_pixels: u64,
    /// Audio samples per channel (frames of sound).
    pub max_samples: u64,
    /// Audio channels.
    pub max_channels: u64,
    /// Video frames of one clip.
    pub max_frames: u64,
}

impl Default for Limits {
    /// One hour of 48 kHz sound, 8K pictures, an hour of video at 60 frames/s, 1 GiB a file.
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_pixels: 7680 * 4320,
            max_samples: 48_000 * 3600,
            max_channels: 32,
            max_frames: 60 * 3600,
        }
    }
}

impl Limits {
    /// Compares a declared size with its limit.
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
pub fn read_bounded(path: &Path, limits: &Limits) -> Result<Vec<u8>, MediaError> {
    let io = |source| MediaError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    Limits::check(&format!("the size of {}", path.display()), bytes.len() as u64, limits.max_file_bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_refused_and_a_missing_one_named() {
        let limits = Limits { max_file_bytes: 10, ..Limits::default() };
        let here = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert!(matches!(read_bounded(here, &limits), Err(MediaError::Limit { value: 11, .. })));
        let error = read_bounded(Path::new("no/such.wav"), &limits).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("no/such.wav"));
    }
}
