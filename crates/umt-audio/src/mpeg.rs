//! The frames of an mp3 file, read here: demuxers take the bit rate of the first frame for that of
//! all, and stop at the length that they estimate from it.
//!
//! Source: ISO/IEC 11172-3, 2.4.1.3; the tags of the Xing and LAME encoders.

use crate::error::{be32, convert, truncated};
use umt_media::MediaError;

/// A file's frames, and what is to be left out of their samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mp3<'a> {
    pub rate: u32,
    /// The frames that hold audio.
    pub frames: Vec<&'a [u8]>,
    /// Samples of a frame.
    pub frame_samples: usize,
    /// Samples before the audio that the encoder added.
    pub delay: usize,
    /// Samples after it; 0 for files that were joined, whose tag is that of the first.
    pub padding: usize,
}

struct Header {
    size: usize,
    samples: usize,
    rate: u32,
    mono: bool,
    mpeg1: bool,
}

/// Kbit/s of layer 3 by index.
const RATES: [[usize; 16]; 2] = [
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0],
];

/// `None` if no frame of layer 3 begins here.
fn header(bytes: &[u8]) -> Option<Header> {
    let &[0xFF, b, c, d, ..] = bytes else { return None };
    let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
    if b & 0xE0 != 0xE0 || version == 1 || layer != 1 {
        return None;
    }
    let mpeg1 = version == 3;
    let halvings = [2, 0, 1, 0][usize::from(version)];
    let rate = *[44_100u32, 48_000, 32_000].get(usize::from(c >> 2 & 3))? >> halvings;
    let bits = RATES[usize::from(mpeg1)][usize::from(c >> 4)] * 1000;
    if bits == 0 {
        return None;
    }
    let samples = if mpeg1 { 1152 } else { 576 };
    let size = samples / 8 * bits / rate as usize + usize::from(c >> 1 & 1);
    Some(Header { size, samples, rate, mono: d >> 6 == 3, mpeg1 })
}

/// Whether two frames can be of one stream.
fn alike(a: &Header, b: &Header) -> bool {
    a.rate == b.rate && a.mpeg1 == b.mpeg1
}

/// What a file of several streams may hold between its frames: its length, or `None`.
fn tag(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'T', b'A', b'G', ..] => Some(128.min(bytes.len())),
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d].iter().fold(0usize, |sum, &&x| sum << 7 | usize::from(x & 0x7F));
            Some(10 + size + if flags & 0x10 != 0 { 10 } else { 0 })
        }
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', ..] => {
            let field = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
            let (size, flags) = (field(12)? as usize, field(20)?);
            // The header announces the items and the footer; a footer alone has nothing after it.
            Some(if flags & 0x2000_0000 != 0 { 32 + size } else { 32 })
        }
        [b'L', b'Y', b'R', b'I', b'C', b'S', ..] => Some(bytes.len()),
        [0, ..] => Some(bytes.iter().take_while(|&&byte| byte == 0).count()),
        _ => None,
    }
}

/// Without the tags and zeros that audio files may begin with.
pub(crate) fn skip_tags(mut bytes: &[u8]) -> Result<&[u8], MediaError> {
    while let Some(length) = tag(bytes).filter(|_| !bytes.starts_with(b"TAG")) {
        // A container of another kind may begin with zeros.
        if bytes.starts_with(&[0]) && header(&bytes[length..]).is_none() && tag(&bytes[length..]).is_none() {
            break;
        }
        bytes = bytes.get(length..).ok_or_else(|| truncated("tag"))?;
    }
    Ok(bytes)
}

/// Reads a file that begins with a frame.
pub(crate) fn read(bytes: &[u8]) -> Result<Mp3<'_>, MediaError> {
    let first = header(bytes).ok_or_else(|| convert("MPEG audio that is not layer 3 at a listed bit rate"))?;
    let mut mp3 = Mp3 { rate: first.rate, frame_samples: first.samples, ..Mp3::default() };
    let mut declared = None;
    let mut at = 0;
    let mut streams = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(frame) = header(rest) else {
            match tag(rest) {
                Some(length) => at += length.min(rest.len()),
                None => match resume(rest, &first) {
                    // Less than a frame of leftovers is no loss.
                    None if rest.starts_with(&[0xFF]) && rest.len() < 4 => return Err(truncated("mp3 frame")),
                    None => break,
                    Some(ahead) => {
                        let reason = format!("{ahead} bytes at byte {at} of the audio are no frame");
                        return Err(MediaError::malformed("mp3 stream", reason));
                    }
                },
            }
            continue;
        };
        if !alike(&first, &frame) {
            return Err(convert("an mp3 file whose rate changes"));
        }
        let data = rest.get(..frame.size).ok_or_else(|| truncated("mp3 frame"))?;
        match info(data, &frame) {
            Some(tag) => {
                streams += 1;
                if mp3.frames.is_empty() && streams == 1 {
                    declared = tag.frames;
                    (mp3.delay, mp3.padding) = (tag.delay, tag.padding);
                }
            }
            None => mp3.frames.push(data),
        }
        at += frame.size;
    }
    if let Some(declared) = declared {
        let there = mp3.frames.len();
        if there < declared {
            return Err(MediaError::malformed("mp3 stream", format!("declares {declared} frames, {there} are there")));
        }
        if there > declared {
            mp3.padding = 0;
        }
    }
    Ok(mp3)
}

/// Where two frames in a row follow some bytes that are none.
fn resume(bytes: &[u8], first: &Header) -> Option<usize> {
    (1..bytes.len()).find(|&at| {
        let next = |at: usize| header(bytes.get(at..)?).filter(|frame| alike(first, frame));
        next(at).is_some_and(|frame| next(at + frame.size).is_some())
    })
}

/// What a frame without audio says of those after it.
#[derive(Default)]
struct Info {
    frames: Option<usize>,
    delay: usize,
    padding: usize,
}

/// `None` if the frame holds audio.
fn info(frame: &[u8], header: &Header) -> Option<Info> {
    let side = match (header.mpeg1, header.mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    if frame.get(36..40) == Some(b"VBRI") {
        return Some(Info { frames: be32(frame, 50).map(|n| n as usize), ..Info::default() });
    }
    let tag = frame.get(4 + side..)?;
    if !matches!(tag.get(..4)?, b"Xing" | b"Info") {
        return None;
    }
    let flags = be32(tag, 4)?;
    let frames = if flags & 1 != 0 { be32(tag, 8).map(|n| n as usize) } else { None };
    let lengths = [4, 4, 100, 4];
    let skipped: usize = lengths.iter().enumerate().map(|(bit, n)| if flags >> bit & 1 == 1 { *n } else { 0 }).sum();
    // The encoder's name and settings take 21 bytes, then two numbers of 12 bits.
    let lame = tag.get(8 + skipped..).filter(|lame| matches!(lame.get(..4), Some(b"LAME" | b"Lavf" | b"Lavc")));
    let Some(&[a, b, c]) = lame.and_then(|lame| lame.get(21..24)) else {
        return Some(Info { frames, ..Info::default() });
    };
    // The decoder itself adds 529 samples.
    const DECODER: usize = 529;
    let delay = usize::from(a) << 4 | usize::from(b) >> 4;
    let padding = usize::from(b & 15) << 8 | usize::from(c);
    Some(Info { frames, delay: delay + DECODER, padding: padding.saturating_sub(DECODER) })
}
