//! Memory of a device that is given out again: freed blocks are kept by size instead of going back to the driver.
//!
//! Everything that computes is queued on one stream in order, so a block may be reused as soon as the host has dropped it: whatever was queued before
//! is done with it before what is queued later begins. A training step asks for the same sizes again and again, so that a settled step asks the
//! driver for nothing.

use super::cudarc::driver::{CudaStream, DriverError, result, sys};
use super::{Attempt, Counters, lock};
use crate::NnError;
use crate::kept::{Kept, rounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Takes back the memory of a [`Block`].
pub(super) trait Home: Send + Sync {
    fn take_back(&self, at: sys::CUdeviceptr, bytes: usize);
}

/// Memory of a device, which goes back to where it came from when dropped. What is queued on the computing stream by then may still use it.
pub(super) struct Block {
    pub(super) at: sys::CUdeviceptr,
    bytes: usize,
    home: Arc<dyn Home>,
}

impl Block {
    pub(super) fn new(at: sys::CUdeviceptr, bytes: usize, home: Arc<dyn Home>) -> Self {
        Self { at, bytes, home }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.take_back(self.at, self.bytes);
    }
}

/// The blocks of a device that nobody uses at the moment.
pub(super) struct Allocator {
    stream: Arc<CudaStream>,
    counters: Arc<Counters>,
    kept: Mutex<Kept>,
    /// Whether freed blocks are kept. Without, every block is of the exact size asked for and goes back to the driver, so that a checker of the
    /// driver's memory sees each use that is too early, too late or too far.
    keeps: AtomicBool,
}

impl Allocator {
    pub(super) fn new(stream: Arc<CudaStream>, counters: Arc<Counters>) -> Self {
        Self { stream, counters, kept: Mutex::default(), keeps: AtomicBool::new(true) }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    /// Whether freed blocks are kept from now on.
    pub(super) fn keep(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
        if !keeps {
            self.free(lock(&self.kept).all());
        }
    }

    /// A block of at least so many bytes, of unspecified content, for the computing stream.
    pub(super) fn block(self: &Arc<Self>, bytes: usize) -> Result<Block, NnError> {
        let bytes = if self.keeps() { rounded(bytes) } else { bytes.max(1) };
        let mut kept = lock(&self.kept);
        let at = match kept.take(bytes) {
            Some(at) => at,
            None => {
                let given_up = kept.too_many(bytes);
                drop(kept);
                self.free(given_up);
                let at = self.from_driver(&self.stream, bytes)?;
                kept = lock(&self.kept);
                at
            }
        };
        kept.give_out(bytes);
        Ok(Block::new(at, bytes, self.clone()))
    }

    /// Memory of the driver for `stream`; when there is none, all free blocks go back to it first.
    pub(super) fn from_driver(&self, stream: &Arc<CudaStream>, bytes: usize) -> Result<sys::CUdeviceptr, NnError> {
        let context = stream.context();
        let what = || format!("{bytes} bytes on the device");
        context.bind_to_thread().attempt(&what())?;
        self.counters.allocation();
        let allocate = || {
            // SAFETY: the stream is alive; the memory is unset, and its user writes it before reading.
            unsafe {
                if context.has_async_alloc() {
                    result::malloc_async(stream.cu_stream(), bytes)
                } else {
                    result::malloc_sync(bytes)
                }
            }
        };
        match allocate() {
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                self.free(lock(&self.kept).all());
                self.stream.synchronize().attempt(&what())?;
                allocate().attempt(&what())
            }
            other => other.attempt(&what()),
        }
    }

    /// Gives memory back to the driver.
    fn free(&self, blocks: Vec<sys::CUdeviceptr>) {
        for at in blocks {
            free(&self.stream, at);
        }
    }
}

/// Gives memory back to the driver when what is queued on `stream` is done. An error leaves nothing to do: the device is lost then, and the next
/// call says so.
pub(super) fn free(stream: &CudaStream, at: sys::CUdeviceptr) {
    let context = stream.context();
    if context.bind_to_thread().is_err() {
        return;
    }
    // SAFETY: the memory came from `from_driver` and is freed once; nothing is queued on it later.
    unsafe {
        if context.has_async_alloc() {
            let _ = result::free_async(at, stream.cu_stream());
        } else {
            let _ = stream.synchronize();
            let _ = result::free_sync(at);
        }
    }
}

impl Home for Allocator {
    fn take_back(&self, at: sys::CUdeviceptr, bytes: usize) {
        let mut kept = lock(&self.kept);
        kept.returned(bytes);
        if self.keeps() {
            kept.put_back(at, bytes);
        } else {
            drop(kept);
            free(&self.stream, at);
        }
    }
}
