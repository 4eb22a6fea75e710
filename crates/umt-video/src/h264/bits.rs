//! Bits of a NAL unit's payload: fixed-length and Exp-Golomb codes (ITU-T H.264, 7.2 and 9.1).

/// The payload ended before the field that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Short;

/// Reads bits, most significant first.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    pub fn bit(&mut self) -> Result<bool, Short> {
        let byte = self.data.get(self.position / 8).ok_or(Short)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// `count` bits, at most 32.
    pub fn bits(&mut self, count: u32) -> Result<u32, Short> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Ok(value)
    }

    /// ue(v).
    pub fn ue(&mut self) -> Result<u32, Short> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Short);
            }
        }
        Ok(((1u64 << zeros) - 1) as u32 + self.bits(zeros)?)
    }

    /// se(v).
    pub fn se(&mut self) -> Result<i32, Short> {
        let code = i64::from(self.ue()?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 } as i32)
    }

    /// Whether more than the trailing bits (a 1 and zeros) is left.
    pub fn more_data(&self) -> bool {
        let Some(last) = self.data.iter().rposition(|byte| *byte != 0) else {
            return false;
        };
        let stop = last * 8 + 7 - self.data[last].trailing_zeros() as usize;
        self.position < stop
    }
}

/// The payload of a NAL unit without its header byte and emulation-prevention bytes, at most
/// `limit` bytes of it.
pub(super) fn payload(nal: &[u8], limit: usize) -> Vec<u8> {
    let coded = nal.get(1..).unwrap_or(&[]);
    let mut out = Vec::with_capacity(coded.len().min(limit));
    let mut zeros = 0;
    for &byte in coded {
        if out.len() == limit {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_of_the_standards_table() {
        // 1, 010, 011, 00100, 00101 are 0, 1, 2, 3, 4; signed: 0, 1, -1, 2, -2.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&data);
        let codes: Vec<u32> = (0..5).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = Bits::new(&data);
        let codes: Vec<i32> = (0..5).map(|_| bits.se().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
        assert_eq!(Bits::new(&[0; 4]).ue(), Err(Short));
        assert_eq!(Bits::new(&[0, 0, 0, 1, 255, 255, 255, 255]).ue(), Ok(u32::MAX - 1));
    }

    #[test]
    fn emulation_prevention_bytes_are_dropped() {
        assert_eq!(payload(&[0x67, 0, 0, 3, 1, 0, 0, 3, 0], 99), [0, 0, 1, 0, 0, 0]);
        assert_eq!(payload(&[0x67, 1, 2, 3], 2), [1, 2]);
        assert!(payload(&[], 2).is_empty());
    }
}
