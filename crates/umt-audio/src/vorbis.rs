//! The setup header of Vorbis: what of it the decoder gets wrong, and one remedy.
//!
//! It undoes couplings first to last; the standard (Vorbis I, 4.3.5) says last to first. That is the
//! same for one coupling, and noise for 5.1. A header that lists them in reverse makes the two agree.
//! And where the partitions of a residue do not fill their last code word, the classes of one channel
//! overwrite those of the next: such a stream is rejected. docs/UPSTREAM.md has the reports.

use crate::error::convert;
use umt_media::MediaError;

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for bit in 0..count {
            let at = self.at + bit;
            value |= usize::from(self.data.get(at / 8)? >> (at % 8) & 1) << bit;
        }
        self.at += count;
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|&at| at <= 8 * self.data.len())?;
        Some(())
    }
}

/// Reverses the couplings in a codec's private data: identification and setup headers in a row.
/// Data that cannot be followed stay as they are; the decoder then says what is wrong with them.
///
/// # Errors
/// [`MediaError::Unsupported`] for a stream that the decoder would get wrong.
pub(crate) fn prepare(data: &mut [u8]) -> Result<(), MediaError> {
    const SETUP: &[u8] = b"\x05vorbis";
    const CHANNELS: usize = 11;
    const BLOCKS: usize = 28;
    // Matroska's private data begin with the lengths of the headers.
    let ident = data.windows(7).position(|bytes| bytes == b"\x01vorbis").unwrap_or(0);
    let field = |at: usize| data.get(ident + at).map_or(0, |&byte| usize::from(byte));
    let (channels, blocks) = (field(CHANNELS), field(BLOCKS));
    let halves = [blocks & 15, blocks >> 4].map(|exponent| (1usize << exponent) / 2);
    let Some(start) = data.windows(SETUP.len()).position(|bytes| bytes == SETUP) else { return Ok(()) };
    let header = &mut data[start + SETUP.len()..];
    let Some(setup) = Setup::read(header, channels) else { return Ok(()) };
    if halves.iter().any(|&half| setup.overwrites(half)) {
        return Err(convert(&format!("Vorbis of {channels} channels with this division of its residue")));
    }
    for (at, count, width) in setup.couplings {
        let mut bits = Bits { data: header, at };
        let steps: Option<Vec<usize>> = (0..count).map(|_| bits.take(2 * width)).collect();
        for (step, value) in steps.unwrap_or_default().into_iter().rev().enumerate() {
            for bit in 0..2 * width {
                let at = at + step * 2 * width + bit;
                header[at / 8] = header[at / 8] & !(1 << (at % 8)) | ((value >> bit & 1) as u8) << (at % 8);
            }
        }
    }
    Ok(())
}

/// What of the setup header matters here.
#[derive(Default)]
struct Setup {
    /// Partitions that a code word of each book classifies.
    dimensions: Vec<usize>,
    residues: Vec<Residue>,
    /// For each part of a mapping: its residue and how many channels it has.
    parts: Vec<(usize, usize)>,
    /// For each mapping: the first bit of its couplings, their number, and the bits of a channel.
    couplings: Vec<(usize, usize, usize)>,
}

struct Residue {
    kind: usize,
    begin: usize,
    end: usize,
    partition: usize,
    book: usize,
}

impl Setup {
    /// Whether classes of one channel would overwrite another's in blocks of `half` values.
    fn overwrites(&self, half: usize) -> bool {
        self.parts.iter().filter(|(_, channels)| *channels > 1).any(|&(residue, _)| {
            self.residues.get(residue).is_some_and(|residue| {
                let length = residue.end.min(half).saturating_sub(residue.begin.min(half));
                let word = self.dimensions.get(residue.book).map_or(1, |&dimensions| dimensions.max(1));
                residue.kind < 2 && (length / residue.partition) % word != 0
            })
        })
    }

    fn read(header: &[u8], channels: usize) -> Option<Self> {
        let mut bits = Bits { data: header, at: 0 };
        let mut setup = Self::default();
        for _ in 0..bits.take(8)? + 1 {
            setup.dimensions.push(codebook(&mut bits)?);
        }
        let times = bits.take(6)? + 1;
        bits.skip(16 * times)?;
        for _ in 0..bits.take(6)? + 1 {
            floor(&mut bits)?;
        }
        for _ in 0..bits.take(6)? + 1 {
            setup.residues.push(residue(&mut bits)?);
        }
        let width = length(channels.saturating_sub(1));
        for _ in 0..bits.take(6)? + 1 {
            bits.skip(16)?;
            let submaps = if bits.take(1)? == 1 { bits.take(4)? + 1 } else { 1 };
            if bits.take(1)? == 1 {
                let count = bits.take(8)? + 1;
                setup.couplings.push((bits.at, count, width));
                bits.skip(2 * width * count)?;
            }
            bits.skip(2)?;
            let mut of = vec![0; submaps];
            for _ in 0..channels {
                let submap = if submaps > 1 { bits.take(4)? } else { 0 };
                *of.get_mut(submap)? += 1;
            }
            for channels in of {
                bits.skip(16)?;
                setup.parts.push((bits.take(8)?, channels));
            }
        }
        Some(setup)
    }
}

/// Bits that a number needs.
fn length(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()) as usize
}

/// Vorbis I, 3.2.1; its dimensions.
fn codebook(bits: &mut Bits<'_>) -> Option<usize> {
    (bits.take(24)? == 0x56_4342).then_some(())?;
    let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
    if bits.take(1)? == 1 {
        bits.skip(5)?;
        let mut current = 0;
        while current < entries {
            // A run of no entries is allowed and only makes the codes longer, of which there are 32.
            current += bits.take(length(entries - current))?;
        }
    } else if bits.take(1)? == 1 {
        for _ in 0..entries {
            if bits.take(1)? == 1 {
                bits.skip(5)?;
            }
        }
    } else {
        bits.skip(5 * entries)?;
    }
    let lookup = bits.take(4)?;
    if lookup == 0 {
        return Some(dimensions);
    }
    // No root of the order 0; the decoder rejects it too.
    (dimensions > 0).then_some(())?;
    bits.skip(64)?;
    let width = bits.take(4)? + 1;
    bits.skip(1)?;
    let values = match lookup {
        1 => {
            let fits = |root: &usize| (root + 1).checked_pow(dimensions as u32).is_some_and(|all| all <= entries);
            (0..).take_while(fits).count()
        }
        _ => entries * dimensions,
    };
    bits.skip(width * values)?;
    Some(dimensions)
}

/// Vorbis I, 6.2.1 and 7.2.2.
fn floor(bits: &mut Bits<'_>) -> Option<()> {
    if bits.take(16)? == 0 {
        bits.skip(8 + 16 + 16 + 6 + 8)?;
        let books = bits.take(4)? + 1;
        return bits.skip(8 * books);
    }
    let partitions = bits.take(5)?;
    let classes: Vec<usize> = (0..partitions).map(|_| bits.take(4)).collect::<Option<_>>()?;
    let mut dimensions = Vec::new();
    for _ in 0..classes.iter().max().map_or(0, |most| most + 1) {
        dimensions.push(bits.take(3)? + 1);
        let subclasses = bits.take(2)?;
        bits.skip(if subclasses > 0 { 8 } else { 0 } + (8 << subclasses))?;
    }
    bits.skip(2)?;
    let width = bits.take(4)?;
    let points: usize = classes.iter().filter_map(|&class| dimensions.get(class)).sum();
    bits.skip(width * points)
}

/// Vorbis I, 8.6.1.
fn residue(bits: &mut Bits<'_>) -> Option<Residue> {
    let (kind, begin, end, partition) = (bits.take(16)?, bits.take(24)?, bits.take(24)?, bits.take(24)? + 1);
    let classes = bits.take(6)? + 1;
    let book = bits.take(8)?;
    let mut books = 0;
    for _ in 0..classes {
        let low = bits.take(3)?;
        let high = if bits.take(1)? == 1 { bits.take(5)? } else { 0 };
        books += low.count_ones() + high.count_ones();
    }
    bits.skip(8 * books as usize)?;
    Some(Residue { kind, begin, end, partition, book })
}
