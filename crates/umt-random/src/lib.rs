//! Named, keyed random streams: the project's only source of randomness.
//!
//! The one decision: a stream is a pure function of `(seed, name, step, id)`, so nothing about
//! randomness is ever saved. Whoever resumes at step 700 asks for the stream of step 700 and gets
//! what an uninterrupted run would have got, on any number of threads or workers.
//! The generator is ChaCha8, whose values do not change between versions of its crate.
//!
//! ```
//! let mut a = umt_random::stream(1, "augment", 7, umt_random::id_hash("clip-3"));
//! let mut b = umt_random::stream(1, "augment", 7, umt_random::id_hash("clip-3"));
//! assert_eq!(a.next_u64(), b.next_u64());
//! let order = umt_random::Permutation::new(1, "order", 0, 5);
//! let mut seen: Vec<usize> = (0..5).map(|i| order.at(i)).collect();
//! seen.sort();
//! assert_eq!(seen, [0, 1, 2, 3, 4]);
//! ```

mod permutation;

pub use permutation::Permutation;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng},
};

/// A stream of random values; see [`stream`].
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

/// The stream that belongs to `seed`, a `name` ("init", "augment", ...), a `step` and an `id`.
///
/// Streams with different arguments are independent.
pub fn stream(seed: u64, name: &str, step: u64, id: u64) -> Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&id_hash(name).to_le_bytes());
    key[16..24].copy_from_slice(&step.to_le_bytes());
    key[24..].copy_from_slice(&id.to_le_bytes());
    Rng(ChaCha8Rng::from_seed(key))
}

/// A hash of a sample's id that never changes: FNV-1a (64 bit) with a final mix.
pub fn id_hash(id: &str) -> u64 {
    let fnv = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Rng {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n` without bias (Lemire's method with rejection); 0 for `n = 0`.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let reject_below = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= reject_below {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Normal with mean 0 and standard deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform_f64()).cos()) as f32
    }

    /// True with probability `p`.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform_f64() < p
    }

    /// Fisher-Yates shuffle in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests;
