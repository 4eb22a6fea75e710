//! What a file is, and whether it is whole.
//!
//! Demuxers take the end of the file for the end of the audio. The declared lengths are therefore
//! compared here with the bytes that are there, before anything is decoded or allocated.

use crate::{
    aac,
    error::{be32, be64, convert, truncated},
    mp4::{self, AudioTrack},
    mpeg,
};
use umt_media::{Limits, MediaError};

/// The containers that are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Container {
    Wav,
    Flac,
    Ogg,
    Mkv {
        /// Codec delay of the first audio track that states one, nanoseconds.
        delay: u64,
        /// A live stream: a size is not known, and the file's end is that of the audio.
        open: bool,
    },
    Mp3,
    Adts,
    Mp4(Vec<AudioTrack>),
}

/// The container of `bytes`, the audio in it (without leading tags), checked for truncation.
pub(crate) fn inspect<'a>(
    bytes: &'a [u8],
    extension: Option<&str>,
    limits: &Limits,
) -> Result<(Container, &'a [u8]), MediaError> {
    let body = mpeg::skip_tags(bytes)?;
    let container = match body {
        [b'R', b'I', b'F', b'F', ..] | [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..]
            if body.get(8..12) == Some(b"WAVE") =>
        {
            Container::Wav
        }
        [b'f', b'L', b'a', b'C', ..] => {
            flac(body, limits)?;
            Container::Flac
        }
        [b'O', b'g', b'g', b'S', ..] => {
            ogg(body)?;
            Container::Ogg
        }
        [0x1A, 0x45, 0xDF, 0xA3, ..] => {
            let (delay, open) = mkv(body)?;
            Container::Mkv { delay, open }
        }
        _ if mp4::begins(body) => Container::Mp4(mp4::inspect(body)?),
        // Both begin with set bits; the layer field is zero in AAC's framing alone.
        [0xFF, second, ..] if second & 0xF6 == 0xF0 => {
            adts(body)?;
            Container::Adts
        }
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => Container::Mp3,
        [] => return Err(MediaError::malformed("audio file", "it is empty")),
        _ => {
            let name = extension.map_or(String::new(), |e| format!(" (.{e})"));
            return Err(convert(&format!(
                "this audio file{name}, whose first bytes are none of wav, flac, ogg, mp3, aac, mp4/m4a, mkv/webm,"
            )));
        }
    };
    Ok((container, body))
}

fn flac(bytes: &[u8], limits: &Limits) -> Result<(), MediaError> {
    let mut rest = &bytes[4..];
    loop {
        let header = be32(rest, 0).ok_or_else(|| truncated("flac header"))?;
        let size = (header & 0xFF_FFFF) as usize;
        let body = rest.get(4..4 + size).ok_or_else(|| truncated("flac metadata"))?;
        if header >> 24 & 0x7F == 0 {
            // 20 bits rate, 3 channels - 1, 5 bits a sample - 1, 36 length.
            let packed = be64(body, 10).ok_or_else(|| truncated("flac header"))?;
            let channels = (packed >> 41 & 7) + 1;
            Limits::check("flac channels", channels, limits.max_channels)?;
            let samples = (packed & 0xF_FFFF_FFFF) * channels;
            Limits::check(
                "the samples that the bytes of a flac file unpack to",
                samples,
                limits.samples_of(bytes.len()),
            )?;
        }
        rest = &rest[4 + size..];
        if header >> 31 == 1 {
            return Ok(());
        }
    }
}

/// Pages must follow each other to the end, and every stream must end with its last page.
fn ogg(bytes: &[u8]) -> Result<(), MediaError> {
    let mut rest = bytes;
    let mut open = std::collections::BTreeSet::new();
    while !rest.is_empty() {
        if rest.get(..4) != Some(b"OggS") || rest.len() < 27 {
            return Err(truncated("ogg page"));
        }
        let segments = usize::from(rest[26]);
        let sizes = rest.get(27..27 + segments).ok_or_else(|| truncated("ogg page"))?;
        let size = sizes.iter().map(|&s| usize::from(s)).sum::<usize>() + 27 + segments;
        if size > rest.len() {
            return Err(truncated("ogg page"));
        }
        let serial = be32(rest, 14);
        if rest[5] & 2 != 0 {
            open.insert(serial);
        }
        if rest[5] & 4 != 0 {
            open.remove(&serial);
        }
        rest = &rest[size..];
    }
    if open.is_empty() { Ok(()) } else { Err(truncated("ogg stream")) }
}

/// Element ids of matroska, marker bits included.
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_TYPE: u32 = 0x83;
const CODEC_DELAY: u32 = 0x56AA;

/// The elements must fit; one of unknown size ends with the file, or where an element of a higher
/// level begins. Returns the delay, which the demuxer drops, and whether a size is unknown.
fn mkv(bytes: &[u8]) -> Result<(u64, bool), MediaError> {
    let (_, _, mut rest, _) = element(bytes)?;
    let (mut delay, mut open) = (0, false);
    while !rest.is_empty() {
        let (id, mut segment, next, unknown) = element(rest)?;
        rest = next;
        open |= unknown;
        while !segment.is_empty() && id == SEGMENT {
            let (id, mut body, next, unknown) = element(segment)?;
            segment = next;
            if unknown {
                open = true;
                segment = after_children(body)?;
            }
            while id == TRACKS && !body.is_empty() {
                let (id, entry, next, _) = element(body)?;
                body = next;
                if id == TRACK_ENTRY && delay == 0 {
                    delay = audio_delay(entry)?;
                }
            }
        }
    }
    Ok((delay, open))
}

/// What follows the children of an element of unknown size.
fn after_children(mut bytes: &[u8]) -> Result<&[u8], MediaError> {
    while !bytes.is_empty() {
        let (id, _, next, _) = element(bytes)?;
        // All ids of four bytes belong to the level of clusters, or above.
        if id > 0xFF_FFFF {
            return Ok(bytes);
        }
        bytes = next;
    }
    Ok(bytes)
}

/// The codec delay of an audio track, or zero.
fn audio_delay(mut entry: &[u8]) -> Result<u64, MediaError> {
    let (mut audio, mut delay) = (false, 0);
    while !entry.is_empty() {
        let (id, body, next, _) = element(entry)?;
        entry = next;
        let value = || body.iter().take(8).fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        match id {
            TRACK_TYPE => audio = value() == 2,
            CODEC_DELAY => delay = value(),
            _ => (),
        }
    }
    Ok(if audio { delay } else { 0 })
}

/// An element: its id, its body, what follows it, and whether its size is unknown.
type Element<'a> = (u32, &'a [u8], &'a [u8], bool);

/// The first element.
fn element(bytes: &[u8]) -> Result<Element<'_>, MediaError> {
    let cut = || truncated("matroska element");
    let id_size = bytes.first().map_or(9, |b| b.leading_zeros() as usize + 1);
    let id = bytes.get(..id_size).filter(|_| id_size <= 4).ok_or_else(cut)?;
    let id = id.iter().fold(0u32, |sum, &b| sum << 8 | u32::from(b));
    let (at, size) = ebml_size(bytes, id_size)?;
    let there = bytes.len() - at;
    let unknown = size.is_none();
    let size = size.unwrap_or(there as u64);
    if size > there as u64 {
        let reason = format!("declares {size} bytes, {there} are there");
        return Err(MediaError::malformed(format!("matroska element {id:X}"), reason));
    }
    let (body, next) = bytes[at..].split_at(size as usize);
    Ok((id, body, next, unknown))
}

/// Reads the variable-length size at `at`: where the body begins, and its length if known.
fn ebml_size(bytes: &[u8], at: usize) -> Result<(usize, Option<u64>), MediaError> {
    let first = *bytes.get(at).ok_or_else(|| truncated("matroska element"))?;
    let length = first.leading_zeros() as usize + 1;
    let raw = bytes.get(at..at + length).filter(|_| length <= 8);
    let raw = raw.ok_or_else(|| truncated("matroska element"))?;
    let mask = (1u64 << (7 * length)) - 1;
    let size = raw.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b)) & mask;
    Ok((at + length, (size != mask).then_some(size)))
}

/// AAC frames must follow each other to the end.
fn adts(bytes: &[u8]) -> Result<(), MediaError> {
    let mut rest = bytes;
    while let [0xFF, second, third, a, b, c, d, ..] = *rest {
        let size = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5;
        if second & 0xF6 != 0xF0 || size < 7 || size > rest.len() {
            return Err(truncated("aac frame"));
        }
        match third >> 6 {
            1 => aac::check_channels(usize::from(third & 1) << 2 | usize::from(a >> 6))?,
            0 => return Err(convert("AAC Main")),
            2 => return Err(convert("AAC SSR")),
            _ => return Err(convert("AAC LTP")),
        }
        if d & 3 != 0 {
            return Err(convert("AAC with several blocks a frame"));
        }
        rest = &rest[size..];
    }
    if rest.is_empty() || rest.starts_with(b"TAG") { Ok(()) } else { Err(truncated("aac stream")) }
}
