//! h264 by `rusty_h264`, a decoder in pure Rust, with what it leaves unchecked checked before it.

mod bits;
mod headers;

use crate::{
    colour::Colour,
    decoder::{Coded, Picture, VideoDecoder},
};
use headers::{ParameterSets, Pps, Refusal, Sps};
use rusty_h264_decoder::{DecodeError, Decoder};
use umt_media::{Limits, MediaError};

const SLICE: u8 = 1;
const SLICE_IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// Decodes the samples of an `avc1` track.
pub(crate) struct H264 {
    decoder: Decoder,
    sets: ParameterSets,
    limits: Limits,
    length_size: usize,
    /// Colours that the container states.
    container: Option<(u8, bool)>,
    /// Size and colours of the pictures; they may not change within a clip.
    format: Option<(Sps, Colour)>,
    /// A sample with start codes in place of lengths, reused.
    stream: Vec<u8>,
}

impl H264 {
    /// Reads the `avcC` box: the length of NAL unit lengths and the parameter sets
    /// (ISO/IEC 14496-15, 5.3.3.1).
    pub fn new(config: &[u8], container: Option<(u8, bool)>, limits: &Limits) -> Result<Self, MediaError> {
        let short = || corrupt("box `avcC` ends too early");
        let mut this = Self {
            decoder: Decoder::new(),
            sets: ParameterSets::default(),
            limits: *limits,
            length_size: usize::from(config.get(4).ok_or_else(short)? & 3) + 1,
            container,
            format: None,
            stream: Vec::new(),
        };
        let mut rest = config.get(5..).unwrap_or(&[]);
        for mask in [31, 255] {
            let (count, mut tail) = rest.split_first().ok_or_else(short)?;
            for _ in 0..count & mask {
                let (length, nal_and_tail) = tail.split_first_chunk::<2>().ok_or_else(short)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (nal, next) = nal_and_tail.split_at_checked(length).ok_or_else(short)?;
                this.parameter_set(nal)?;
                tail = next;
            }
            rest = tail;
        }
        let mut stream = std::mem::take(&mut this.stream);
        this.decoder.decode(&stream).map_err(decode_error)?;
        stream.clear();
        this.stream = stream;
        Ok(this)
    }

    /// Checks a parameter set and appends it to the stream.
    fn parameter_set(&mut self, nal: &[u8]) -> Result<(), MediaError> {
        match nal.first().map(|header| header & 31) {
            Some(SPS) => {
                let sps = Sps::parse(nal, &self.limits).map_err(refusal)?;
                self.sets.sps.insert(sps.id, sps);
            }
            Some(PPS) => {
                let pps = Pps::parse(nal).map_err(refusal)?;
                self.sets.pps.insert(pps.id, pps);
            }
            _ => return Ok(()),
        }
        self.append(nal)
    }

    fn append(&mut self, nal: &[u8]) -> Result<(), MediaError> {
        // Else the decoder would see a unit that was not checked.
        if nal.windows(3).any(|bytes| bytes == [0, 0, 1]) {
            return Err(corrupt("a NAL unit holds a start code"));
        }
        self.stream.extend_from_slice(&[0, 0, 1]);
        self.stream.extend_from_slice(nal);
        Ok(())
    }

    fn units<'a>(&self, sample: &'a [u8]) -> Units<'a> {
        Units { rest: sample, length_size: self.length_size }
    }

    /// Size and colours of the picture whose slices use `sps`; an error if they changed.
    fn set_format(&mut self, sps: Sps) -> Result<(), MediaError> {
        if let Some((known, _)) = &self.format {
            if *known == sps {
                return Ok(());
            }
            if known.size() != sps.size() {
                return Err(unsupported("a picture size that changes within the clip"));
            }
        }
        let colour = sps.colour(self.container).map_err(refusal)?;
        self.format = Some((sps, colour));
        Ok(())
    }
}

impl VideoDecoder for H264 {
    fn inspect(&self, sample: &[u8]) -> Result<Coded, MediaError> {
        let (mut slices, mut random_access, mut reference) = (false, true, false);
        for nal in self.units(sample) {
            let header = nal?.first().copied().unwrap_or(0);
            if matches!(header & 31, 1..=5) {
                slices = true;
                random_access &= header & 31 == SLICE_IDR;
                reference |= header >> 5 & 3 != 0;
            } else {
                reference |= matches!(header & 31, SPS | PPS);
            }
        }
        Ok(Coded { random_access: slices && random_access, disposable: slices && !reference })
    }

    fn decode(&mut self, sample: &[u8]) -> Result<Picture, MediaError> {
        self.stream.clear();
        let mut macroblock = None;
        let mut format = None;
        let mut slice_kind = None;
        for nal in self.units(sample) {
            let nal = nal?;
            plausible(nal)?;
            match nal.first().map(|header| header & 31) {
                Some(SPS | PPS) => self.parameter_set(nal)?,
                Some(SLICE | SLICE_IDR) => {
                    let (first, sps) = self.sets.check_slice(nal).map_err(refusal)?;
                    // Slices come in order, the first of them at the first macroblock.
                    if macroblock.map_or(first != 0, |last| first <= last) {
                        return Err(corrupt(format!("a slice begins at macroblock {first}")));
                    }
                    macroblock = Some(first);
                    if format.is_none() {
                        format = Some(sps.clone());
                    }
                    // Slices of one picture are of one kind (7.4.1.2.4).
                    let header = nal.first().copied().unwrap_or(0);
                    let kind = (header & 31, header & 0x60 != 0);
                    if *slice_kind.get_or_insert(kind) != kind {
                        return Err(corrupt("slices of different pictures in one sample"));
                    }
                    self.append(nal)?;
                }
                Some(2..=4) => return Err(unsupported("data partitioning")),
                _ => {}
            }
        }
        self.set_format(format.ok_or_else(|| corrupt("no slice"))?)?;
        let decoded = self.decoder.decode(&self.stream).map_err(decode_error)?;
        let frame = decoded.ok_or_else(|| corrupt("the picture is incomplete"))?;
        let Some((sps, colour)) = &self.format else {
            return Err(corrupt("no slice"));
        };
        let [left, _, top, _] = sps.crop;
        let (width, height) = sps.size();
        // The decoder has cut off the right and the bottom.
        Picture::new(frame.y, [frame.u, frame.v], frame.width, [left, top], width, height, *colour)
            .ok_or_else(|| corrupt("the decoder gave a picture of another size"))
    }
}

/// NAL units of a sample, each behind its length.
struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((length, tail)) = rest.split_at_checked(self.length_size) else {
            return Some(Err(corrupt("ends within a NAL unit's length")));
        };
        let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let Some((nal, next)) = tail.split_at_checked(length) else {
            let reason = format!("a NAL unit of {length} bytes, of which {} are there", tail.len());
            return Some(Err(corrupt(reason)));
        };
        self.rest = next;
        Some(Ok(nal))
    }
}

/// Refuses what can only be a damaged header byte: were it passed over, a slice might be missing
/// from the picture without notice.
fn plausible(nal: &[u8]) -> Result<(), MediaError> {
    /// Types that the standard leaves open, or gives to depth and other layers (table 7-1).
    const LAST_KNOWN: u8 = 20;
    const DELIMITER: u8 = 9;
    let Some(header) = nal.first() else { return Err(corrupt("an empty NAL unit")) };
    let kind = header & 31;
    let known = (1..=LAST_KNOWN).contains(&kind) && !(16..=18).contains(&kind);
    if header & 0x80 != 0 || !known || (kind == DELIMITER && nal.len() > 8) {
        return Err(corrupt(format!("a NAL unit with the header byte {header:#04x}")));
    }
    Ok(())
}

fn corrupt(reason: impl Into<String>) -> MediaError {
    MediaError::malformed("the h264 stream", reason)
}

fn unsupported(tool: &str) -> MediaError {
    MediaError::unsupported(
        format!("h264 with {tool}"),
        "re-encode the clip: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4",
    )
}

fn refusal(refusal: Refusal) -> MediaError {
    match refusal {
        Refusal::Corrupt(reason) => corrupt(reason),
        Refusal::Unsupported(tool) => unsupported(tool),
        Refusal::Limit(error) => error,
    }
}

fn decode_error(error: DecodeError) -> MediaError {
    match error {
        DecodeError::Unsupported(tool) => unsupported(tool),
        error => corrupt(error.to_string()),
    }
}
