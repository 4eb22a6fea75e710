//! The boxes of an mp4 file that the demuxer drops: edit lists.
//!
//! An AAC encoder starts 1,024 samples before the sound; the edit list says so. Without it, sound
//! and picture are 23 to 64 ms apart.

use crate::container::{be32, be64, truncated};
use umt_media::MediaError;

/// Samples an AAC encoder puts before the sound, for files whose edit list is missing.
pub(crate) const AAC_PRIMING: u64 = 1024;

/// What the movie box says about one sound track.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SoundTrack {
    /// Track id.
    pub id: u32,
    /// Ticks per second of the media's own time.
    pub timescale: u32,
    /// The parts that are played: start in media ticks, length in seconds (none: to the end).
    pub edits: Option<Vec<Edit>>,
}

/// One played part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edit {
    /// Start, media ticks.
    pub start: u64,
    /// Length as a fraction: movie ticks over ticks per second; zero ticks mean to the end.
    pub length: (u64, u32),
}

/// Checks that every top-level box is whole and lists the sound tracks.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Vec<SoundTrack>, MediaError> {
    let mut tracks = Vec::new();
    let mut movie = false;
    for item in Boxes(bytes) {
        let (kind, body) = item?;
        if &kind == b"moov" {
            movie = true;
            tracks = read_movie(body)?;
        }
    }
    if !movie {
        return Err(MediaError::malformed("mp4", "there is no movie box (`moov`)"));
    }
    Ok(tracks)
}

fn read_movie(movie: &[u8]) -> Result<Vec<SoundTrack>, MediaError> {
    let timescale = match find(movie, &[*b"mvhd"])? {
        Some(header) => time_scale(header),
        None => None,
    };
    let mut tracks = Vec::new();
    for item in Boxes(movie) {
        let (kind, body) = item?;
        if &kind == b"trak" {
            tracks.extend(read_track(body, timescale.unwrap_or(1))?);
        }
    }
    Ok(tracks)
}

/// `None` for a track that is not sound.
fn read_track(track: &[u8], movie_scale: u32) -> Result<Option<SoundTrack>, MediaError> {
    let Some(handler) = find(track, &[*b"mdia", *b"hdlr"])? else {
        return Ok(None);
    };
    if handler.get(8..12) != Some(b"soun".as_slice()) {
        return Ok(None);
    }
    let id = match find(track, &[*b"tkhd"])? {
        // Version 1 has 64-bit times before the id.
        Some(header) if header.first() == Some(&1) => be32(header, 20),
        Some(header) => be32(header, 12),
        None => None,
    };
    let timescale = match find(track, &[*b"mdia", *b"mdhd"])? {
        Some(header) => time_scale(header),
        None => None,
    };
    let edits = match find(track, &[*b"edts", *b"elst"])? {
        Some(list) => Some(read_edits(list, movie_scale)?),
        None => None,
    };
    let timescale = timescale.filter(|&t| t > 0);
    let timescale = timescale.ok_or_else(|| MediaError::malformed("mp4", "a track has no time scale"))?;
    Ok(Some(SoundTrack { id: id.unwrap_or(0), timescale, edits }))
}

fn read_edits(list: &[u8], movie_scale: u32) -> Result<Vec<Edit>, MediaError> {
    let wide = list.first() == Some(&1);
    let size = if wide { 20 } else { 12 };
    let count = be32(list, 4).ok_or_else(|| truncated("mp4 edit list"))? as usize;
    let entries = list.get(8..).unwrap_or_default();
    // The division keeps the declared count from being multiplied past the end.
    if entries.len() / size < count {
        return Err(truncated("mp4 edit list"));
    }
    let mut edits = Vec::new();
    for entry in entries.chunks_exact(size).take(count) {
        let (length, start) = if wide {
            (be64(entry, 0), be64(entry, 8).map(|t| t as i64))
        } else {
            (be32(entry, 0).map(u64::from), be32(entry, 4).map(|t| i64::from(t as i32)))
        };
        let (Some(length), Some(start)) = (length, start) else {
            continue;
        };
        // A start of -1 is a wait before the track; nothing of the media is played in it.
        if let Ok(start) = u64::try_from(start) {
            edits.push(Edit { start, length: (length, movie_scale.max(1)) });
        }
    }
    Ok(edits)
}

/// The time scale of `mvhd` and `mdhd`, whose layout begins alike.
fn time_scale(header: &[u8]) -> Option<u32> {
    if header.first() == Some(&1) { be32(header, 20) } else { be32(header, 12) }
}

/// The body of the first box at `path`.
fn find<'a>(bytes: &'a [u8], path: &[[u8; 4]]) -> Result<Option<&'a [u8]>, MediaError> {
    let mut inside = bytes;
    for wanted in path {
        let mut found = None;
        for item in Boxes(inside) {
            let (kind, body) = item?;
            if kind == *wanted {
                found = Some(body);
                break;
            }
        }
        match found {
            Some(body) => inside = body,
            None => return Ok(None),
        }
    }
    Ok(Some(inside))
}

/// Boxes one after the other; an error where one runs past the end.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<([u8; 4], &'a [u8]), MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        if bytes.is_empty() {
            return None;
        }
        self.0 = &[];
        let Some(kind) = bytes.get(4..8).and_then(|k| <[u8; 4]>::try_from(k).ok()) else {
            // QuickTime ends some containers with four zero bytes; no cut of a box looks so.
            return if bytes == [0; 4] { None } else { Some(Err(truncated("mp4 box"))) };
        };
        let (header, size) = match be32(bytes, 0).unwrap_or(0) {
            0 => (8, bytes.len() as u64),
            1 => match be64(bytes, 8) {
                Some(size) => (16, size),
                None => return Some(Err(truncated("mp4 box"))),
            },
            size => (8, u64::from(size)),
        };
        if size < header || size > bytes.len() as u64 {
            let name = String::from_utf8_lossy(&kind).into_owned();
            let reason = format!("declares {size} bytes, {} are there", bytes.len());
            return Some(Err(MediaError::malformed(format!("mp4 box `{name}`"), reason)));
        }
        let (this, rest) = bytes.split_at(size as usize);
        self.0 = rest;
        Some(Ok((kind, &this[header as usize..])))
    }
}
