//! Batches on their way to a device: page-locked memory, and a stream alongside the one that computes.
//!
//! Three orders must hold, each by an event of its own: the computing stream reads a batch after its copy ([`Memory::arrive`]), page-locked memory is
//! written again after the copy from it, and memory of the device is copied into again after the computing stream is done with what was there.

use super::allocator::{Allocator, Block, Home, free};
use super::cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice, result, sys};
use super::memory::as_bytes;
use super::{Attempt, Gpu, Memory, lock};
use crate::{Array, NnError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Buffers of one size: one that is copied from while another is filled, for two modalities of like shape.
const DEPTH: usize = 4;
/// Sizes that are kept; an epoch has those of its whole batches and of its last one, and validation as many.
const SIZES: usize = 12;

/// What copies batches to a device.
pub(super) struct Transfer {
    stream: Arc<CudaStream>,
    computing: Arc<CudaStream>,
    allocator: Arc<Allocator>,
    pinned: Mutex<BySize<Pinned>>,
    /// Memory that the computing stream may still read, with the event after which it does not.
    released: Mutex<BySize<Released>>,
}

/// Page-locked memory, and the end of the copy it was last used for.
struct Pinned {
    memory: PinnedHostSlice<u8>,
    copied: Option<Arc<CudaEvent>>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(copied) = &self.copied {
            // The copy must not read what is freed; an error leaves nothing to do, the device is lost then.
            let _ = copied.synchronize();
        }
    }
}

/// Memory of the device that a batch is done with.
struct Released {
    at: sys::CUdeviceptr,
    event: Option<CudaEvent>,
    stream: Arc<CudaStream>,
}

impl Released {
    /// Makes the copying stream wait until the memory is free.
    fn wait(&self) -> Result<(), NnError> {
        self.event.iter().try_for_each(|event| self.stream.wait(event)).attempt("memory for a batch")
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        if self.at != 0 && self.wait().is_ok() {
            free(&self.stream, self.at);
        }
    }
}

/// Things by size in bytes, the size used last in front, and of each the one used longest ago in front.
struct BySize<T>(VecDeque<(usize, VecDeque<T>)>);

impl<T> BySize<T> {
    /// One of this size, if at least `enough` are there; sizes that were not asked for in a long time are dropped.
    fn take(&mut self, bytes: usize, enough: usize) -> Option<T> {
        let known = self.0.iter().position(|(size, _)| *size == bytes);
        let mut own = known.and_then(|at| self.0.remove(at)).unwrap_or_else(|| (bytes, VecDeque::new()));
        let taken = if own.1.len() >= enough { own.1.pop_front() } else { None };
        self.0.push_front(own);
        self.0.truncate(SIZES);
        taken
    }

    /// Keeps one of a size that is still wanted.
    fn put_back(&mut self, bytes: usize, thing: T) {
        if let Some((_, own)) = self.0.iter_mut().find(|(size, _)| *size == bytes) {
            own.push_back(thing);
        }
    }
}

impl Transfer {
    pub(super) fn new(computing: &Arc<CudaStream>, allocator: Arc<Allocator>) -> Result<Self, NnError> {
        let stream = computing.context().new_stream().attempt("a stream for copies")?;
        let (pinned, released) = (Mutex::new(BySize(VecDeque::new())), Mutex::new(BySize(VecDeque::new())));
        Ok(Self { stream, computing: computing.clone(), allocator, pinned, released })
    }

    /// Page-locked memory that nothing copies from any more. Only a caller that is [`DEPTH`] batches ahead waits for one.
    fn pinned(&self, bytes: usize) -> Result<Pinned, NnError> {
        let waiting = lock(&self.pinned).take(bytes, DEPTH);
        if let Some(mut pinned) = waiting {
            if let Some(copied) = pinned.copied.take() {
                copied.synchronize().attempt("waiting for a copy")?;
            }
            return Ok(pinned);
        }
        // SAFETY: `send` writes all of it before it is read.
        let memory = unsafe { self.stream.context().alloc_pinned::<u8>(bytes) }.attempt("page-locked memory")?;
        Ok(Pinned { memory, copied: None })
    }

    /// Memory of the device that the copying stream may write.
    fn block(self: &Arc<Self>, bytes: usize) -> Result<Block, NnError> {
        let waiting = lock(&self.released).take(bytes, 1);
        let at = match waiting {
            Some(mut released) => {
                released.wait()?;
                std::mem::take(&mut released.at)
            }
            None => self.allocator.from_driver(&self.stream, bytes)?,
        };
        Ok(Block::new(at, bytes, self.clone()))
    }
}

impl Home for Transfer {
    fn take_back(&self, at: sys::CUdeviceptr, bytes: usize) {
        // Without an event nothing tells when the memory is free; the device is lost then.
        let Ok(event) = self.computing.record_event(None) else { return };
        let released = Released { at, event: Some(event), stream: self.stream.clone() };
        if self.allocator.keeps() {
            lock(&self.released).put_back(bytes, released);
        }
    }
}

impl Gpu {
    /// An array with a copy of `values`, which must fit `shape`.
    pub(crate) fn send(&self, shape: &[usize], values: &[f32]) -> Result<Array, NnError> {
        if values.is_empty() {
            return Ok(Array::on_device(shape, Memory::upload(self, values)?));
        }
        let transfer = self.transfer()?;
        let bytes = as_bytes(values);
        let block = transfer.block(bytes.len())?;
        let mut pinned = transfer.pinned(bytes.len())?;
        let from = pinned.memory.as_mut_slice().attempt("page-locked memory")?;
        from.copy_from_slice(bytes);
        self.loaded.counters.copy();
        transfer.stream.context().bind_to_thread().attempt("copy to the device")?;
        // SAFETY: the block has these bytes, and the copying stream waits until it is free; the page-locked memory is neither written nor freed before
        // `copied` has passed.
        unsafe { result::memcpy_htod_async(block.at, from, transfer.stream.cu_stream()) }
            .attempt("copy to the device")?;
        let copied = Arc::new(transfer.stream.record_event(None).attempt("copy to the device")?);
        pinned.copied = Some(copied.clone());
        lock(&transfer.pinned).put_back(bytes.len(), pinned);
        Ok(Array::on_device(shape, Memory::arriving(self, values.len(), block, copied)))
    }
}
