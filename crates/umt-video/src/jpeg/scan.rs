//! The entropy-coded data of one scan.

use umt_media::MediaError;

/// A code table, looked up by length (T.81, F.2.2.3).
pub(super) struct Huffman {
    /// Of each length from 1 to 16: first code, one after the last, index of the first symbol.
    lengths: [(u32, u32, usize); 16],
    symbols: Vec<u8>,
    /// Symbol and length of the codes of up to eight bits, by the next eight bits.
    short: Vec<(u8, u8)>,
}

impl Huffman {
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, MediaError> {
        let mut lengths = [(0, 0, 0); 16];
        let mut short = vec![(0, 0); 256];
        let (mut code, mut index) = (0u32, 0);
        for (length, (&count, slot)) in counts.iter().zip(&mut lengths).enumerate() {
            let count = u32::from(count);
            *slot = (code, code + count, index);
            for (i, &symbol) in symbols.iter().skip(index).take(count as usize).enumerate().filter(|_| length < 8) {
                let first = ((code + i as u32) as usize) << (7 - length);
                let last = (first + (1 << (7 - length))).min(256);
                short.get_mut(first..last).unwrap_or_default().fill((symbol, length as u8 + 1));
            }
            index += count as usize;
            code += count;
            if code > 1 << (length + 1) {
                return Err(malformed("a Huffman table has more codes than there can be"));
            }
            code <<= 1;
        }
        Ok(Self { lengths, symbols: symbols.to_vec(), short })
    }
}

/// Why a block could not be walked.
pub(super) enum Fault {
    /// The data end before it does.
    Cut,
    Wrong(&'static str),
}

/// Bits of the coded data, with stuffed zeros taken out; ends at the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, held: 0, count: 0 }
    }

    /// Bytes taken, up to the marker after them at most.
    pub fn position(&self) -> usize {
        // Whole bytes that were taken ahead hold no marker: searching on from here finds the same one.
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.data.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some(&[byte, ..]) if byte != 0xff => {
                    self.at += 1;
                    byte
                }
                _ => return,
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn skip(&mut self, bits: u32) -> Result<(), Fault> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits).ok_or(Fault::Cut)?;
        Ok(())
    }

    fn take(&mut self, bits: u32) -> Result<u32, Fault> {
        self.skip(bits)?;
        Ok((self.held >> self.count) as u32 & ((1u32 << bits) - 1))
    }

    fn symbol(&mut self, table: Option<&Huffman>) -> Result<u8, Fault> {
        let table = table.ok_or(Fault::Wrong("a scan uses a Huffman table that is not there"))?;
        if self.count < 16 {
            self.fill();
        }
        if self.count >= 8 {
            let next = (self.held >> (self.count - 8)) as u8;
            let (symbol, length) = table.short[usize::from(next)];
            if length > 0 {
                self.count -= u32::from(length);
                return Ok(symbol);
            }
        }
        let mut code = 0;
        for &(first, end, index) in &table.lengths {
            code = code << 1 | self.take(1)?;
            if code >= first && code < end {
                let symbol = table.symbols.get(index + (code - first) as usize);
                return symbol.copied().ok_or(Fault::Wrong("a code has no symbol"));
            }
        }
        Err(Fault::Wrong("its data hold a code that is in no Huffman table"))
    }

    /// Goes on after the restart marker.
    pub fn restart(&mut self) -> Result<(), MediaError> {
        (self.held, self.count) = (0, 0);
        match next_marker(self.data, &mut self.at) {
            Ok(0xd0..=0xd7) => (),
            _ => return Err(malformed("part of its data is missing: a restart marker is not there")),
        }
        Ok(())
    }
}

/// The header of a scan.
pub(super) struct Scan {
    /// Index of the component, its DC and AC tables.
    pub components: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    pub from: usize,
    pub to: usize,
    /// Successive approximation: the bit before (0: none), and the lowest bit of this scan.
    pub high: u8,
    pub low: u8,
}

impl Scan {
    pub fn read(body: &[u8], index_of: impl Fn(u8) -> Option<usize>) -> Result<Self, MediaError> {
        let wrong = || malformed("a scan header is wrong");
        let (&count, rest) = body.split_first().ok_or_else(wrong)?;
        let (list, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(wrong)?;
        let &[from, to, approximation, ..] = rest else { return Err(wrong()) };
        let component = |pair: &[u8]| {
            let (dc, ac) = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            index_of(pair[0]).filter(|_| dc < 4 && ac < 4).map(|index| (index, dc, ac))
        };
        let components: Option<Vec<_>> = list.chunks_exact(2).map(component).collect();
        let components = components.filter(|c| !c.is_empty() && c.len() <= 4).ok_or_else(wrong)?;
        let (from, to) = (usize::from(from), usize::from(to));
        if from > to || to > 63 {
            return Err(wrong());
        }
        Ok(Self { components, from, to, high: approximation >> 4, low: approximation & 15 })
    }

    /// One block of a progressive scan (T.81, G.1.2 and figure G.7). `nonzero` holds the
    /// coefficients that were coded before; `run` blocks to come are empty.
    pub fn progressive_block(
        &self,
        bits: &mut Bits<'_>,
        tables: (Option<&Huffman>, Option<&Huffman>),
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), Fault> {
        if self.from == 0 {
            if self.high > 0 {
                return bits.skip(1);
            }
            let size = u32::from(bits.symbol(tables.0)?);
            return if size > 16 { Err(Fault::Wrong("a coefficient is too large")) } else { bits.skip(size) };
        }
        let refine = self.high > 0;
        let mut k = self.from;
        if *run > 0 {
            *run -= 1;
            return if refine { self.corrections(bits, *nonzero, k, 64).map(drop) } else { Ok(()) };
        }
        while k <= self.to {
            let symbol = bits.symbol(tables.1)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && zeros < 15 {
                *run = (1 << zeros) - 1 + bits.take(zeros)?;
                return if refine { self.corrections(bits, *nonzero, k, 64).map(drop) } else { Ok(()) };
            }
            bits.skip(size)?;
            if refine {
                k = self.corrections(bits, *nonzero, k, zeros)?;
            } else {
                k += zeros as usize;
            }
            if size > 0 {
                if k > self.to {
                    return Err(Fault::Wrong("a coefficient lies outside of its block"));
                }
                *nonzero |= 1 << k;
            }
            k += 1;
        }
        Ok(())
    }

    /// Reads a bit for each coefficient that is not zero, until `zeros` that are were passed and one
    /// more is met. Returns where that one is.
    fn corrections(&self, bits: &mut Bits<'_>, nonzero: u64, from: usize, zeros: u32) -> Result<usize, Fault> {
        let mut left = zeros;
        for k in from..=self.to {
            if nonzero >> k & 1 == 1 {
                bits.skip(1)?;
            } else if left == 0 {
                return Ok(k);
            } else {
                left -= 1;
            }
        }
        Ok(self.to + 1)
    }
}

/// One block of a sequential scan (T.81, F.2.2).
pub(super) fn sequential_block(bits: &mut Bits<'_>, tables: (Option<&Huffman>, Option<&Huffman>)) -> Result<(), Fault> {
    let size = u32::from(bits.symbol(tables.0)?);
    if size > 16 {
        return Err(Fault::Wrong("a coefficient is too large"));
    }
    bits.skip(size)?;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(tables.1)?;
        match (symbol >> 4, u32::from(symbol & 15)) {
            (15, 0) => k += 16,
            (_, 0) => return Ok(()),
            (zeros, size) => {
                bits.skip(size)?;
                k += usize::from(zeros) + 1;
            }
        }
    }
    if k > 64 { Err(Fault::Wrong("a coefficient lies outside of its block")) } else { Ok(()) }
}

/// The code of the next marker; `at` is then after it.
pub(super) fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8, MediaError> {
    let cut = || malformed("it has no end: it is cut short");
    while let Some(ahead) = bytes.get(*at..).and_then(|rest| rest.iter().position(|&b| b == 0xff)) {
        *at += ahead + 1;
        match bytes.get(*at) {
            Some(0xff) => (),
            Some(0) => *at += 1,
            Some(&marker) => {
                *at += 1;
                return Ok(marker);
            }
            None => return Err(cut()),
        }
    }
    Err(cut())
}

pub(super) fn malformed(reason: impl Into<String>) -> MediaError {
    MediaError::malformed("the jpeg image", reason)
}
