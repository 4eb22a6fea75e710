//! Wav and its 64-bit form, decoded here: the samples are not compressed, and writers differ in
//! everything around them.
//!
//! Source: Multimedia Programming Interface 1.0 (IBM, Microsoft, 1991), "Multiple Channel Audio
//! Data and WAVE Files" (Microsoft), EBU Tech 3306 (RF64), ITU-T G.711.

use crate::{error::convert, resample::check_rate, waveform::Waveform};
use umt_media::{Limits, MediaError};

/// What the format chunk says.
#[derive(Clone, Copy)]
struct Format {
    rate: u32,
    channels: usize,
    coding: Coding,
    /// Bytes of one sample of one channel.
    width: usize,
    /// Bits of it that are used.
    bits: usize,
    /// The extensible form, which asks for unused bits to be the low ones.
    extensible: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Integer,
    Float,
    ALaw,
    MuLaw,
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Waveform, MediaError> {
    let mut format = None;
    let mut wide_size = None;
    let mut data: Vec<&[u8]> = Vec::new();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let (Some(id), Some(size)) = (rest.get(..4), le32(rest, 4)) {
        let body = &rest[8..];
        let declared = match (id, size) {
            (b"data", u32::MAX) if wide_size.is_some() => wide_size.unwrap_or(0),
            (b"data", _) if is_streamed(size, body) => body.len() as u64,
            _ => u64::from(size),
        };
        let Some(chunk) = usize::try_from(declared).ok().and_then(|size| body.get(..size)) else {
            let name = String::from_utf8_lossy(id);
            let reason = format!("declares {declared} bytes, {} are there: the file ends early", body.len());
            return Err(MediaError::malformed(format!("wav chunk `{name}`"), reason));
        };
        match id {
            b"fmt " => format = Some(read_format(chunk, limits)?),
            // Sizes of the file and of the samples, which the 32-bit fields cannot hold.
            b"ds64" => wide_size = le64(chunk, 8),
            // Some recorders write several; the samples go on, as ffmpeg has it.
            b"data" => data.push(chunk),
            _ => (),
        }
        // Chunks are padded to an even length.
        rest = body.get(chunk.len() + (chunk.len() & 1)..).unwrap_or_default();
    }
    let format = format.ok_or_else(|| MediaError::malformed("wav file", "it has no format chunk"))?;
    if data.is_empty() {
        return Err(MediaError::malformed("wav file", "it has no sample data"));
    }
    let total = data.iter().map(|chunk| chunk.len() / format.width).sum::<usize>() as u64;
    Limits::check("audio length in samples", total, limits.max_samples)?;
    Ok(samples(&format, &data))
}

/// A writer to a pipe cannot come back to fill in the size: it leaves ones (ffmpeg), a size near
/// 2 GiB (SoX, arecord), or 0. The samples then end with the file.
fn is_streamed(size: u32, body: &[u8]) -> bool {
    match size {
        u32::MAX | 0x7FFF_F000..=0x8000_0000 => true,
        // Really empty if chunks follow to the end.
        0 => {
            let mut rest = body;
            while let (Some(_), Some(size)) = (rest.get(..4), le32(rest, 4)) {
                match rest.get(8 + size as usize + (size & 1) as usize..) {
                    Some(after) => rest = after,
                    None => return true,
                }
            }
            !rest.is_empty()
        }
        _ => false,
    }
}

fn read_format(format: &[u8], limits: &Limits) -> Result<Format, MediaError> {
    let field = |at| le16(format, at).ok_or_else(|| MediaError::malformed("wav format", "it is cut short"));
    let (mut tag, channels, align, bits) = (field(0)?, field(2)?, field(12)?, field(14)?);
    let rate = le32(format, 4).unwrap_or(0);
    let extensible = tag == 0xFFFE;
    if extensible {
        // The first two bytes of the sub-format are the tag that the short form would have.
        tag = field(24)?;
    }
    Limits::check("wav channels", channels.into(), limits.max_channels)?;
    let coding = match tag {
        1 => Coding::Integer,
        3 => Coding::Float,
        6 => Coding::ALaw,
        7 => Coding::MuLaw,
        other => return Err(convert(&format!("wav with {}", codec_name(other)))),
    };
    check_rate(rate)?;
    let width = usize::from(align.checked_div(channels).unwrap_or(0));
    let fits = match coding {
        Coding::Integer => (1..=8).contains(&width) && (1..=8 * width).contains(&usize::from(bits)),
        Coding::Float => matches!((width, bits), (4, 32) | (8, 64)),
        Coding::ALaw | Coding::MuLaw => width == 1,
    };
    if channels == 0 || align % channels.max(1) != 0 || !fits {
        let reason = format!("{channels} channels, {align} bytes a sample of all, {bits} bits");
        return Err(MediaError::malformed("wav format", reason));
    }
    Ok(Format { rate, channels: channels.into(), coding, width, bits: bits.into(), extensible })
}

fn codec_name(tag: u16) -> String {
    let name = match tag {
        0x02 | 0x11 => "ADPCM",
        0x31 => "GSM 6.10",
        0x50 => "MPEG layer 1 or 2",
        0x55 => "mp3",
        0xFF | 0x1610 => "AAC",
        0x161..=0x163 => "Windows Media Audio",
        0x2000 => "AC-3",
        0xF1AC => "FLAC",
        _ => return format!("the codec {tag:#06x}"),
    };
    name.to_owned()
}

fn samples(format: &Format, data: &[&[u8]]) -> Waveform {
    let low = format.bits < 8 * format.width && format.width > 1 && low_aligned(format, data);
    let used = if low { format.bits } else { 8 * format.width };
    let scale = 1.0 / 2f64.powi(used as i32 - 1);
    let frame = format.width * format.channels;
    let frames = data.iter().map(|chunk| chunk.len() / frame).sum();
    let mut channels = Vec::with_capacity(format.channels);
    for channel in 0..format.channels {
        let mut out = Vec::with_capacity(frames);
        for chunk in data {
            let each = chunk.chunks_exact(frame).map(|frame| &frame[channel * format.width..][..format.width]);
            match (format.coding, format.width) {
                // Bytes have no sign.
                (Coding::Integer, 1) => out.extend(each.map(|x| (f32::from(x[0]) - 128.0) / 128.0)),
                (Coding::Integer, 2) if !low => {
                    out.extend(each.map(|x| f32::from(i16::from_le_bytes([x[0], x[1]])) / 32768.0));
                }
                (Coding::Integer, _) => out.extend(each.map(|x| (integer(x) as f64 * scale) as f32)),
                (Coding::Float, 4) => out.extend(each.map(|x| f32::from_bits(integer(x) as u32))),
                (Coding::Float, _) => out.extend(each.map(|x| f64::from_bits(integer(x) as u64) as f32)),
                (Coding::ALaw, _) => out.extend(each.map(|x| a_law(x[0]))),
                (Coding::MuLaw, _) => out.extend(each.map(|x| mu_law(x[0]))),
            }
        }
        channels.push(out);
    }
    Waveform { rate: format.rate, channels, by_ffmpeg: false }
}

/// A little-endian number with a sign, of up to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let value = bytes.iter().rev().fold(0i64, |sum, &byte| sum << 8 | i64::from(byte));
    let unused = 64 - 8 * bytes.len() as u32;
    value << unused >> unused
}

/// Whether the used bits are the low ones of their bytes. The standard wants the high ones; writers
/// of 24 bits in four bytes do both, so the samples decide, and the form where they do not.
fn low_aligned(format: &Format, data: &[&[u8]]) -> bool {
    let padding = 8 * format.width - format.bits;
    let (mut high, mut low) = (true, true);
    for sample in data.iter().flat_map(|chunk| chunk.chunks_exact(format.width)) {
        let value = integer(sample);
        high &= value & ((1 << padding) - 1) == 0;
        let shift = 64 - format.bits as u32;
        low &= value << shift >> shift == value;
    }
    low && (!high || !format.extensible)
}

/// ITU-T G.711, table 1: the sign, a 3-bit exponent and a 4-bit step.
fn a_law(code: u8) -> f32 {
    let code = code ^ 0x55;
    let (exponent, step) = (code >> 4 & 7, i32::from(code & 15));
    let size = match exponent {
        0 => step * 16 + 8,
        exponent => (step * 16 + 264) << (exponent - 1),
    };
    (if code & 0x80 != 0 { size } else { -size }) as f32 / 32768.0
}

/// ITU-T G.711, table 2.
fn mu_law(code: u8) -> f32 {
    let code = !code;
    let size = ((i32::from(code & 15) * 8 + 132) << (code >> 4 & 7)) - 132;
    (if code & 0x80 != 0 { -size } else { size }) as f32 / 32768.0
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}
