//! Which blocks of a device's memory are free, and how many are kept.

use std::collections::BTreeMap;

/// Sizes below this come in eighths of a power of two, larger ones in steps of [`STEP`]: at most an eighth is wasted, and sizes that differ little
/// share their blocks.
const LARGE: usize = 16 << 20;
/// What the driver itself rounds to.
const STEP: usize = 2 << 20;
/// Smallest block, and what addresses are a multiple of, as the driver's are.
const SMALLEST: usize = 512;

/// The size of the block for so many bytes.
pub(crate) fn rounded(bytes: usize) -> usize {
    let step = if bytes > LARGE { STEP } else { (bytes.next_power_of_two() / 16).max(SMALLEST) };
    bytes.max(1).next_multiple_of(step)
}

/// The blocks that are free, by their addresses, and how much memory is in use.
#[derive(Default)]
pub(crate) struct Kept {
    /// Free blocks by size.
    sizes: BTreeMap<usize, Size>,
    free: usize,
    used: usize,
    /// Most bytes in use at once.
    peak: usize,
    /// Counts the blocks given out: tells which size was wanted last.
    clock: u64,
}

#[derive(Default)]
struct Size {
    blocks: Vec<u64>,
    wanted: u64,
}

impl Kept {
    /// A free block of this size.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<u64> {
        self.clock += 1;
        let size = self.sizes.entry(bytes).or_default();
        size.wanted = self.clock;
        let at = size.blocks.pop()?;
        self.free -= bytes;
        Some(at)
    }

    /// Counts a block as in use.
    pub(crate) fn give_out(&mut self, bytes: usize) {
        self.used += bytes;
        self.peak = self.peak.max(self.used);
    }

    /// Free blocks to give up, so that `bytes` more leave no more than twice the memory that was ever in use at once: all of the size that was
    /// wanted the longest ago, then of the next.
    pub(crate) fn too_many(&mut self, bytes: usize) -> Vec<u64> {
        let most = 2 * self.peak.max(self.used + bytes);
        let mut given_up = Vec::new();
        while self.free > 0 && self.used + self.free + bytes > most {
            let oldest =
                self.sizes.iter().filter(|(_, size)| !size.blocks.is_empty()).min_by_key(|(_, size)| size.wanted);
            let Some(bytes) = oldest.map(|(&bytes, _)| bytes) else { break };
            let Some(size) = self.sizes.remove(&bytes) else { break };
            self.free -= bytes * size.blocks.len();
            given_up.extend(size.blocks);
        }
        given_up
    }

    /// A block is free again.
    pub(crate) fn put_back(&mut self, at: u64, bytes: usize) {
        self.free += bytes;
        self.sizes.entry(bytes).or_default().blocks.push(at);
    }

    /// A block is no longer in use.
    pub(crate) fn returned(&mut self, bytes: usize) {
        self.used -= bytes;
    }

    /// Every free block.
    pub(crate) fn all(&mut self) -> Vec<u64> {
        self.free = 0;
        std::mem::take(&mut self.sizes).into_values().flat_map(|size| size.blocks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, rounded};

    #[test]
    fn little_is_wasted() {
        for bytes in
            [0, 1, 511, 512, 513, 4097, 123_456, 1 << 20, (1 << 20) + 1, 15_999_999, (16 << 20) + 1, 411_041_792]
        {
            let size = rounded(bytes);
            assert!(
                size >= bytes && size.is_multiple_of(512) && size <= (bytes + bytes / 8).max(bytes + 512),
                "{bytes} to {size}"
            );
            assert_eq!(rounded(size), size);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_size_wanted_last_stays() {
        let mut kept = Kept::default();
        // Three sizes in turn, each in use alone, as for batches of three lengths.
        for (number, bytes) in [1000, 2000, 4000].into_iter().enumerate() {
            assert_eq!(kept.take(bytes), None);
            let given_up = kept.too_many(bytes);
            // With 4000 bytes in use 8000 may be held: those of 1000 and 2000 stay.
            assert!(given_up.is_empty(), "{given_up:?}");
            kept.give_out(bytes);
            kept.returned(bytes);
            kept.put_back(number as u64, bytes);
        }
        assert_eq!(kept.take(2000), Some(1));
        kept.put_back(1, 2000);
        // 7000 free and 3000 more are beyond 8000: the size that nobody asked for again goes.
        assert_eq!(kept.too_many(3000), [0, 2]);
        assert_eq!((kept.free, kept.take(2000)), (2000, Some(1)));
        assert!(kept.all().is_empty());
    }
}
