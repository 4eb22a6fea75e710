//! What kind of AAC a stream is. The decoder reads AAC-LC of one or two channels and leaves spectral
//! band replication out, which halves the rate without a word: such streams are found here.
//!
//! Source: ISO/IEC 14496-3, 1.6.2.1 (configuration), 1.6.5 (signalling), 4.4.2 (raw data block).

use crate::error::convert;
use umt_media::MediaError;

/// Bits, the highest of each byte first; zeros after the end.
fn bits(data: &[u8], at: usize, count: usize) -> usize {
    (at..at + count).fold(0, |value, at| {
        let byte = data.get(at / 8).copied().unwrap_or(0);
        value << 1 | usize::from(byte >> (7 - at % 8) & 1)
    })
}

/// Rejects what the decoder would get wrong, by the stream's configuration.
///
/// # Errors
/// [`MediaError::Unsupported`] names the kind.
pub(crate) fn check_config(config: &[u8]) -> Result<(), MediaError> {
    let mut at = 0;
    let mut take = |count: usize| {
        at += count;
        bits(config, at - count, count)
    };
    let mut kind = take(5);
    if kind == 31 {
        kind = 32 + take(6);
    }
    if take(4) == 15 {
        take(24);
    }
    let channels = take(4);
    let name = match kind {
        2 => {
            // Frame length, core coder, extension.
            take(1);
            if take(1) == 1 {
                take(14);
            }
            take(1);
            let replication = channels != 0 && take(11) == 0x2B7 && take(5) == 5 && take(1) == 1;
            return if replication { Err(he_aac()) } else { check_channels(channels) };
        }
        5 | 29 => return Err(he_aac()),
        1 => "AAC Main",
        3 => "AAC SSR",
        4 => "AAC LTP",
        23 => "AAC-LD",
        36 => "MPEG-4 ALS",
        39 => "AAC-ELD",
        42 => "xHE-AAC (USAC)",
        other => return Err(convert(&format!("MPEG-4 audio of the object type {other}"))),
    };
    Err(convert(name))
}

/// By the configuration number of a header.
pub(crate) fn check_channels(configuration: usize) -> Result<(), MediaError> {
    match configuration {
        1 | 2 => Ok(()),
        0 => Err(convert("AAC whose channels are listed in the stream")),
        7 => Err(convert("AAC of 8 channels")),
        count => Err(convert(&format!("AAC of {count} channels"))),
    }
}

pub(crate) fn he_aac() -> MediaError {
    convert("HE-AAC (spectral band replication)")
}

/// Counts packets that hold replication data, for streams whose configuration does not say so.
#[derive(Default)]
pub(crate) struct Replication {
    packets: usize,
    with: usize,
}

impl Replication {
    /// Enough to tell: a packet of AAC-LC looks like one with replication by chance, 1 time in 30.
    const PACKETS: usize = 64;

    pub fn look_at(&mut self, packet: &[u8]) {
        if self.packets < Self::PACKETS {
            self.packets += 1;
            self.with += usize::from(holds_replication(packet));
        }
    }

    pub fn found(&self) -> bool {
        2 * self.with > self.packets
    }
}

/// A raw data block is a chain of elements whose lengths follow from decoding them; but the
/// replication data are in a fill element near the end, which can be found backwards.
fn holds_replication(packet: &[u8]) -> bool {
    let total = 8 * packet.len();
    (0..8).any(|padding| {
        total > padding + 3
            && bits(packet, total - padding, padding) == 0
            && bits(packet, total - padding - 3, 3) == 7
            && fill_before(packet, total - padding - 3, 1)
    })
}

/// Whether a fill element that ends at bit `end` holds replication data, or the one before it does.
fn fill_before(packet: &[u8], end: usize, more: usize) -> bool {
    (0..=269).any(|count| {
        let header = if count < 15 { 7 } else { 15 };
        let Some(start) = end.checked_sub(8 * count + header) else { return false };
        let announced = match bits(packet, start + 3, 4) {
            15 => 14 + bits(packet, start + 7, 8),
            short => short,
        };
        if bits(packet, start, 3) != 6 || announced != count {
            return false;
        }
        let replication = count > 0 && matches!(bits(packet, start + header, 4), 13 | 14);
        replication || more > 0 && fill_before(packet, start, more - 1)
    })
}
