//! Aligned buffers that are kept between steps.
//!
//! A training step asks for the same sizes again and again. Fresh memory of that size comes from
//! the system page by page and zeroed, which costs as much as a pass over it; kept memory does not.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Values in one unit of alignment: a cache line, and the widest vector register.
const LANE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lane([f32; LANE]);

/// Free buffers by their number of lanes. Which buffer is handed out has no influence on results:
/// every operator writes its whole output.
static POOL: Mutex<BTreeMap<usize, Vec<Vec<Lane>>>> = Mutex::new(BTreeMap::new());

fn pool() -> MutexGuard<'static, BTreeMap<usize, Vec<Vec<Lane>>>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `len` values on a 64-byte boundary; returned to the pool when dropped.
pub(crate) struct Buffer {
    lanes: Vec<Lane>,
    len: usize,
}

impl Buffer {
    /// A buffer whose contents are whatever was there before.
    pub(crate) fn uninit(len: usize) -> Self {
        let needed = size_class(len.div_ceil(LANE));
        let kept = pool().get_mut(&needed).and_then(Vec::pop);
        let lanes = kept.unwrap_or_else(|| vec![Lane([0.0; LANE]); needed]);
        Self { lanes, len }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a `Lane` is exactly `LANE` consecutive f32, and `len` fits the lanes held.
        unsafe { std::slice::from_raw_parts(self.lanes.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above; the buffer is borrowed mutably for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.lanes.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lanes = mem::take(&mut self.lanes);
        if !lanes.is_empty() {
            pool().entry(lanes.len()).or_default().push(lanes);
        }
    }
}

/// Rounds up to one of eight sizes per power of two, so that near sizes share buffers.
fn size_class(lanes: usize) -> usize {
    let step = (lanes.next_power_of_two() / 16).max(1);
    lanes.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_reused() {
        for len in [0, 1, 15, 16, 17, 1000, 4097] {
            let mut buffer = Buffer::uninit(len);
            assert_eq!(buffer.as_mut_slice().len(), len);
            assert_eq!(buffer.as_slice().as_ptr() as usize % 64, 0);
        }
        assert!((1..5000).all(|n| size_class(n) >= n && size_class(n) <= n + n / 7 + 1));
    }
}
