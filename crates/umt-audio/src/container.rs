//! What a file is, and whether it is whole.
//!
//! Demuxers take the end of the file for the end of the sound. The declared lengths are therefore
//! compared here with the bytes that are there, before anything is decoded or allocated.

use crate::mp4::{self, SoundTrack};
use umt_media::{Limits, MediaError};

/// The containers that are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Container {
    Wav,
    Flac,
    Ogg,
    /// Codec delay of the first sound track that states one, nanoseconds.
    Mkv {
        delay: u64,
    },
    Mp3,
    Adts,
    Mp4(Vec<SoundTrack>),
}

/// The container of `bytes`, the audio in it (without leading tags), checked for truncation.
pub(crate) fn inspect<'a>(
    bytes: &'a [u8],
    extension: Option<&str>,
    limits: &Limits,
) -> Result<(Container, &'a [u8]), MediaError> {
    let body = skip_id3(bytes)?;
    let container = match body {
        [b'R', b'I', b'F', b'F', ..] if body.get(8..12) == Some(b"WAVE") => {
            wav(body, limits)?;
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
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Container::Mkv { delay: mkv(body)? },
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Container::Mp4(mp4::inspect(body)?),
        // Both begin with set bits; the layer field is zero in AAC's framing alone.
        [0xFF, second, ..] if second & 0xF6 == 0xF0 => {
            adts(body)?;
            Container::Adts
        }
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => Container::Mp3,
        [] => return Err(MediaError::malformed("audio file", "it is empty")),
        _ => {
            let name = extension.map_or(String::new(), |e| format!(" (.{e})"));
            return Err(MediaError::unsupported(
                format!("this audio file{name}"),
                "its first bytes are none of wav, flac, ogg, mp3, aac, mp4/m4a, mkv/webm",
            ));
        }
    };
    Ok((container, body))
}

/// Without the ID3v2 tag that mp3 (and sometimes flac) files begin with.
fn skip_id3(bytes: &[u8]) -> Result<&[u8], MediaError> {
    let Some([b'I', b'D', b'3', _, _, flags, a, b, c, d]) = bytes.get(..10) else {
        return Ok(bytes);
    };
    let size = [a, b, c, d].iter().fold(0usize, |sum, &&x| sum << 7 | usize::from(x & 0x7F));
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    bytes.get(10 + size + footer..).ok_or_else(|| truncated("ID3 tag"))
}

fn wav(bytes: &[u8], limits: &Limits) -> Result<(), MediaError> {
    let riff = le32(bytes, 4).unwrap_or(0);
    // A writer that cannot seek back leaves all ones: the sound then ends with the file.
    let streamed = riff == u32::MAX;
    if !streamed && u64::from(riff) + 8 > bytes.len() as u64 {
        let reason = format!("declares {} bytes, {} are there", u64::from(riff) + 8, bytes.len());
        return Err(MediaError::malformed("wav file", reason));
    }
    let mut block_align = 0;
    let mut rest = &bytes[12..];
    loop {
        let (Some(id), Some(size)) = (rest.get(..4), le32(rest, 4)) else {
            return Err(MediaError::malformed("wav file", "it has no sample data"));
        };
        let body = &rest[8..];
        if id == b"data" {
            if block_align == 0 {
                return Err(MediaError::malformed("wav file", "sample data before its format"));
            }
            let there = body.len() as u64;
            let declared = if streamed && size == u32::MAX { there } else { u64::from(size) };
            if declared > there {
                let reason = format!("declares {declared} bytes, {there} are there");
                return Err(MediaError::malformed("wav sample data", reason));
            }
            return Limits::check("wav length", declared / block_align, limits.max_samples);
        }
        if size as usize > body.len() {
            return Err(truncated("wav chunk"));
        }
        if id == b"fmt " {
            block_align = wav_format(&body[..size as usize], limits)?;
        }
        // Chunks are padded to an even length.
        rest = body.get(size as usize + (size & 1) as usize..).unwrap_or_default();
    }
}

/// Bytes of one sample of all channels.
fn wav_format(format: &[u8], limits: &Limits) -> Result<u64, MediaError> {
    let field = |at| le16(format, at).ok_or_else(|| truncated("wav format"));
    let (channels, block_align, bits) = (field(2)?, field(12)?, field(14)?);
    Limits::check("wav channels", channels.into(), limits.max_channels)?;
    if channels == 0 || block_align == 0 || bits == 0 {
        let reason = format!("{channels} channels, {block_align} bytes a sample, {bits} bits");
        return Err(MediaError::malformed("wav format", reason));
    }
    Ok(block_align.into())
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
            Limits::check("flac length", packed & 0xF_FFFF_FFFF, limits.max_samples)?;
            Limits::check("flac channels", (packed >> 41 & 7) + 1, limits.max_channels)?;
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
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_TYPE: u32 = 0x83;
const CODEC_DELAY: u32 = 0x56AA;

/// The elements must fit; a live stream of unknown size ends with the file. Returns the delay that
/// the demuxer drops.
fn mkv(bytes: &[u8]) -> Result<u64, MediaError> {
    let (_, _, mut rest) = element(bytes)?;
    let mut delay = 0;
    while !rest.is_empty() {
        let (_, mut segment, next) = element(rest)?;
        rest = next;
        while !segment.is_empty() {
            let (id, mut tracks, next) = element(segment)?;
            segment = next;
            while id == TRACKS && !tracks.is_empty() {
                let (id, entry, next) = element(tracks)?;
                tracks = next;
                if id == TRACK_ENTRY && delay == 0 {
                    delay = sound_delay(entry)?;
                }
            }
        }
    }
    Ok(delay)
}

/// The codec delay of a track of sound, or zero.
fn sound_delay(mut entry: &[u8]) -> Result<u64, MediaError> {
    let (mut sound, mut delay) = (false, 0);
    while !entry.is_empty() {
        let (id, body, next) = element(entry)?;
        entry = next;
        let value = || body.iter().take(8).fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        match id {
            TRACK_TYPE => sound = value() == 2,
            CODEC_DELAY => delay = value(),
            _ => (),
        }
    }
    Ok(if sound { delay } else { 0 })
}

/// The first element: its id, its body and what follows.
fn element(bytes: &[u8]) -> Result<(u32, &[u8], &[u8]), MediaError> {
    let cut = || truncated("matroska element");
    let id_size = bytes.first().map_or(9, |b| b.leading_zeros() as usize + 1);
    let id = bytes.get(..id_size).filter(|_| id_size <= 4).ok_or_else(cut)?;
    let id = id.iter().fold(0u32, |sum, &b| sum << 8 | u32::from(b));
    let (at, size) = ebml_size(bytes, id_size)?;
    let there = bytes.len() - at;
    let size = size.unwrap_or(there as u64);
    if size > there as u64 {
        let reason = format!("declares {size} bytes, {there} are there");
        return Err(MediaError::malformed(format!("matroska element {id:X}"), reason));
    }
    let (body, next) = bytes[at..].split_at(size as usize);
    Ok((id, body, next))
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
    while let [0xFF, second, _, a, b, c, ..] = *rest {
        let size = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5;
        if second & 0xF6 != 0xF0 || size < 7 || size > rest.len() {
            return Err(truncated("aac frame"));
        }
        rest = &rest[size..];
    }
    if rest.is_empty() || rest.starts_with(b"TAG") { Ok(()) } else { Err(truncated("aac stream")) }
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

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}
