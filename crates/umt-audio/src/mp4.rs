//! The boxes of an mp4 file that the demuxer drops: edit lists.
//!
//! An AAC encoder starts 1,024 samples before the audio; the edit list says so. Without it, audio
//! and video are 23 to 64 ms apart.

use crate::error::{be32, be64, convert, truncated};
use umt_media::MediaError;

/// Samples an AAC encoder puts before the audio, for files whose edit list is missing.
pub(crate) const AAC_PRIMING: u64 = 1024;

/// What the movie box says about one audio track.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AudioTrack {
    /// Track id.
    pub id: u32,
    /// How the audio is coded: `mp4a`, `alac`, ...
    pub codec: [u8; 4],
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

/// Whether the bytes begin like an mp4 or mov file; early QuickTime has no `ftyp`.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|kind| {
        [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"].iter().any(|known| kind == *known)
    })
}

/// Checks that every top-level box is whole and lists the audio tracks.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Vec<AudioTrack>, MediaError> {
    let mut tracks = Vec::new();
    let mut movie = false;
    // Every sample takes a byte of the file at least.
    let mut samples = bytes.len() as u64;
    for item in Boxes(bytes) {
        let (kind, body) = item?;
        if &kind == b"moov" {
            movie = true;
            tracks = read_movie(body)?;
        }
        if &kind == b"moof" {
            count_fragment(body, &mut samples)?;
        }
    }
    if !movie {
        return Err(MediaError::malformed("mp4", "there is no movie box (`moov`)"));
    }
    Ok(tracks)
}

/// Takes the samples that a movie fragment declares from those that the file can still hold: a run
/// without sizes of its own may declare 2^32, and the demuxer goes through them one by one.
fn count_fragment(fragment: &[u8], left: &mut u64) -> Result<(), MediaError> {
    for item in Boxes(fragment) {
        let (kind, track) = item?;
        for item in Boxes(if &kind == b"traf" { track } else { &[] }) {
            let (kind, run) = item?;
            if &kind == b"trun" {
                let count = be32(run, 4).unwrap_or(0);
                *left = left.checked_sub(u64::from(count)).ok_or_else(|| {
                    let reason = format!("declares {count} samples, more than the file has bytes for");
                    MediaError::malformed("mp4 box `trun`", reason)
                })?;
            }
        }
    }
    Ok(())
}

fn read_movie(movie: &[u8]) -> Result<Vec<AudioTrack>, MediaError> {
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

/// `None` for a track that is not audio.
fn read_track(track: &[u8], movie_scale: u32) -> Result<Option<AudioTrack>, MediaError> {
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
    let entries = find(track, &[*b"mdia", *b"minf", *b"stbl", *b"stsd"])?.unwrap_or_default();
    let codec = entries.get(12..16).and_then(|codec| codec.try_into().ok()).unwrap_or(*b"none");
    let timescale = timescale.filter(|&t| t > 0);
    let timescale = timescale.ok_or_else(|| MediaError::malformed("mp4", "a track has no time scale"))?;
    Ok(Some(AudioTrack { id: id.unwrap_or(0), codec, timescale, edits }))
}

/// A codec that is not read, by its four characters.
pub(crate) fn unread(codec: &[u8; 4]) -> MediaError {
    let name = match codec {
        b"alac" => "ALAC",
        b"Opus" => "Opus",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b".mp3" | b"ms\0\x55" => "mp3 in mp4",
        b"enca" => "encrypted audio",
        b"samr" | b"sawb" => "AMR",
        _ => return convert(&format!("the audio codec `{}`", codec.escape_ascii())),
    };
    convert(name)
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
