//! Batches on their way to a device: page-locked memory, and a stream beside the one that computes.

use super::cudarc::driver::{CudaStream, PinnedHostSlice};
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
    /// Buffers by size in bytes, the size used last in front, and of each the one used longest ago in front.
    buffers: Mutex<VecDeque<(usize, VecDeque<PinnedHostSlice<u8>>)>>,
}

impl Transfer {
    pub(super) fn new(beside: &CudaStream) -> Result<Self, NnError> {
        let stream = beside.context().new_stream().attempt("a stream for copies")?;
        Ok(Self { stream, buffers: Mutex::default() })
    }

    /// A buffer that nothing copies from any more. Only a caller that is [`DEPTH`] batches ahead waits for one.
    fn buffer(&self, bytes: usize) -> Result<PinnedHostSlice<u8>, NnError> {
        let mut buffers = lock(&self.buffers);
        let known = buffers.iter().position(|(size, _)| *size == bytes);
        let mut own = known.and_then(|at| buffers.remove(at)).unwrap_or_else(|| (bytes, VecDeque::new()));
        let waiting = if own.1.len() >= DEPTH { own.1.pop_front() } else { None };
        buffers.push_front(own);
        buffers.truncate(SIZES);
        drop(buffers);
        match waiting {
            Some(buffer) => Ok(buffer),
            None => {
                // SAFETY: `send` writes all of it before it is read.
                unsafe { self.stream.context().alloc_pinned::<u8>(bytes) }.attempt("page-locked memory")
            }
        }
    }

    fn give_back(&self, buffer: PinnedHostSlice<u8>) {
        let mut buffers = lock(&self.buffers);
        let own = buffers.iter_mut().find(|(size, _)| *size == buffer.num_bytes());
        if let Some((_, free)) = own {
            free.push_back(buffer);
        }
    }
}

impl Gpu {
    /// An array with a copy of `values`, which must fit `shape`. Memory is taken from and goes back to the stream of the copies; events that
    /// come with every piece of memory make other streams wait until the copy is done, and its reuse until they are.
    pub(crate) fn send(&self, shape: &[usize], values: &[f32]) -> Result<Array, NnError> {
        let transfer = self.transfer()?;
        let mut memory = Memory::for_copy(self, &transfer.stream, values.len())?;
        if !values.is_empty() {
            let bytes = as_bytes(values);
            let mut buffer = transfer.buffer(bytes.len())?;
            // Waits until the copy that this buffer was last used for is done.
            buffer.as_mut_slice().attempt("page-locked memory")?.copy_from_slice(bytes);
            transfer.stream.memcpy_htod(&buffer, &mut memory.bytes).attempt("copy to the device")?;
            transfer.give_back(buffer);
        }
        Ok(Array::on_device(shape, memory))
    }
}
