//! Many arrays in one launch: a step has dozens of parameters, most of them small, and a launch for each costs more than its work.

use super::allocator::Block;
use super::cudarc::driver::{CudaEvent, PinnedHostSlice, result};
use super::launch::{BLOCK, launch, plain_arguments};
use super::memory::Kind;
use super::reduce::numbers;
use super::{Attempt, Gpu, Memory, Source, lock};
use crate::{Array, NnError};
use std::sync::Arc;

/// Arrays of one launch. The kernels' arguments have 4 KiB.
pub(super) const MOST: usize = 96;

/// `Many` of `kernels/many.cu`: up to four arrays of each of up to [`MOST`] lengths, by their addresses, and the first block of threads of each.
#[repr(C)]
pub(super) struct Many {
    at: [[u64; MOST]; 4],
    len: [u32; MOST],
    first: [u32; MOST + 1],
    count: u32,
}

plain_arguments!(Many);

impl Many {
    /// A table, where `blocks` says how many blocks of threads an array of a length has.
    pub(super) fn new(entries: &[([u64; 4], usize)], blocks: impl Fn(usize) -> usize) -> Result<Self, NnError> {
        let mut this = Self { at: [[0; MOST]; 4], len: [0; MOST], first: [0; MOST + 1], count: 0 };
        let mut first = 0;
        for (i, (at, len)) in entries.iter().take(MOST).enumerate() {
            at.iter().zip(&mut this.at).for_each(|(at, of)| of[i] = *at);
            let number = |n: usize| {
                i32::try_from(n)
                    .map(|n| n as u32)
                    .map_err(|_| NnError::Unsupported(format!("an array of {n} values on a device")))
            };
            this.len[i] = number(*len)?;
            first += blocks(*len);
            this.first[i + 1] = number(first)?;
            this.count += 1;
        }
        Ok(this)
    }

    /// Threads of the launch.
    pub(super) fn threads(&self) -> usize {
        self.first[self.count as usize] as usize * BLOCK
    }
}

/// Blocks of threads for a pass over an array: 16 values for each thread.
pub(super) fn sweep(len: usize) -> usize {
    len.div_ceil(16 * BLOCK)
}

/// Shares that the sum of an array is fetched in.
const SHARES: usize = 64;

/// Blocks of threads that sum an array: 64 values for each thread, more where there would be too many threads to add up.
fn summing(len: usize) -> usize {
    len.div_ceil(64 * BLOCK).clamp(1, 64)
}

/// `x *= factor` for each array.
pub(crate) fn scale_all(gpu: &Gpu, arrays: &mut [&mut Array], factor: f32) -> Result<(), NnError> {
    for some in arrays.chunks_mut(MOST) {
        let mut entries = Vec::new();
        for array in some {
            let memory = array.memory_mut(gpu)?;
            if memory.kind() != Kind::F32 {
                *memory = memory.cast(Kind::F32)?;
            }
            entries.push(([memory.bytes.at, 0, 0, 0], memory.len()));
        }
        let many = Many::new(&entries, sweep)?;
        launch!(gpu, Source::Many, Kind::F32, "scale_all", many.threads(); [&many, &factor]);
    }
    Ok(())
}

/// Σx² of arrays on their way to the host.
#[derive(Debug)]
pub(crate) struct Fetched {
    gpu: Gpu,
    memory: Option<PinnedHostSlice<u8>>,
    done: CudaEvent,
    arrays: usize,
}

/// Queues Σx² of each array in f64. The sum is finite exactly when all values are: no `f32` is large enough for it to overflow.
pub(crate) fn sums_of_squares(gpu: &Gpu, arrays: &[&Array]) -> Result<Fetched, NnError> {
    let mut shares = gpu.block(8 * SHARES * arrays.len())?;
    for (group, some) in arrays.chunks(MOST).enumerate() {
        let held: Vec<Arc<Memory>> = some.iter().map(|array| gpu.parameter(array)).collect::<Result<_, _>>()?;
        let entries: Vec<_> = held.iter().map(|memory| ([memory.bytes.at, 0, 0, 0], memory.len())).collect();
        let many = Many::new(&entries, summing)?;
        let mut sums = gpu.block(8 * many.threads())?;
        let at = (group * MOST * SHARES) as i64;
        launch!(gpu, Source::Many, Kind::F32, "squares", many.threads(); [&many, &mut sums]);
        launch!(gpu, Source::Many, Kind::F32, "add_shares", SHARES * some.len(); [&many, &sums, &mut shares, &at]);
    }
    Fetched::new(gpu, &shares, arrays.len())
}

impl Fetched {
    fn new(gpu: &Gpu, shares: &Block, arrays: usize) -> Result<Self, NnError> {
        let bytes = 8 * SHARES * arrays;
        let what = "copy from the device";
        let mut memory = gpu.result_memory(bytes)?;
        let stream = gpu.stream();
        gpu.loaded.counters.copy();
        let to = &mut memory.as_mut_slice().attempt(what)?[..bytes];
        // SAFETY: `shares` has these bytes; the page-locked memory is neither read nor given to anybody else before `done` has passed.
        unsafe { result::memcpy_dtoh_async(to, shares.at, stream.cu_stream()) }.attempt(what)?;
        let done = stream.record_event(None).attempt(what)?;
        Ok(Self { gpu: gpu.clone(), memory: Some(memory), done, arrays })
    }

    /// The sums; waits for the device if it is not that far.
    pub(crate) fn read(mut self) -> Result<Vec<f64>, NnError> {
        self.settle()?;
        let Some(memory) = &mut self.memory else { return Ok(Vec::new()) };
        let shares = memory.as_mut_slice().attempt("sums from the device")?;
        let sum = |shares: &[u8]| numbers(shares).sum();
        Ok(shares.chunks_exact(8 * SHARES).take(self.arrays).map(sum).collect())
    }

    /// Waits until the copy is done.
    fn settle(&self) -> Result<(), NnError> {
        if self.done.is_complete() {
            return Ok(());
        }
        self.gpu.waiting(|| self.done.synchronize()).attempt("waiting for the device")
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let settled = self.settle();
        match self.memory.take() {
            Some(memory) if settled.is_ok() => lock(&self.gpu.loaded.results).push(memory),
            // What may still be copied to is lost rather than freed.
            unsettled => std::mem::forget(unsettled),
        }
    }
}

impl Gpu {
    /// Page-locked memory of the host for at least so many bytes.
    fn result_memory(&self, bytes: usize) -> Result<PinnedHostSlice<u8>, NnError> {
        let mut free = lock(&self.loaded.results);
        if let Some(at) = free.iter().position(|memory| memory.num_bytes() >= bytes) {
            return Ok(free.swap_remove(at));
        }
        // Too small for what is asked for: larger ones take their place.
        free.clear();
        // SAFETY: read only where a copy has written.
        unsafe { self.stream().context().alloc_pinned_with_flags::<u8>(bytes.next_power_of_two().max(4096), 0) }
            .attempt("page-locked memory")
    }
}
