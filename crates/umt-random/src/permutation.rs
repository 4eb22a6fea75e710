//! A permutation that is never stored: the order of an epoch in constant memory.

use crate::{id_hash, mix};

/// A pseudo-random permutation of `0..len`, a pure function of `(seed, name, epoch)`.
///
/// A four-round Feistel network over the smallest even number of bits that holds `len`, walking
/// the cycle until it is back in range (Black and Rogaway, "Ciphers with arbitrary finite
/// domains", 2002): at most four steps on average.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Permutation {
    /// The order of `len` items for this seed, stream name and epoch.
    pub fn new(seed: u64, name: &str, epoch: u64, len: usize) -> Self {
        let len = len as u64;
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let base = mix(seed ^ mix(id_hash(name) ^ mix(epoch.wrapping_add(0x9e37_79b9_7f4a_7c15))));
        let keys = std::array::from_fn(|round| mix(base.wrapping_add(round as u64 + 1)));
        Self { len, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// The item at place `index`; `index` is taken modulo `len`, and an empty order gives 0.
    pub fn at(&self, index: usize) -> usize {
        if self.len == 0 {
            return 0;
        }
        let mut value = index as u64 % self.len;
        loop {
            value = self.encrypt(value);
            if value < self.len {
                return value as usize;
            }
        }
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}
