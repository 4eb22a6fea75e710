//! Memory of a device: what an array there holds.

use super::allocator::Block;
use super::cudarc::driver::{CudaEvent, DevicePtr, DevicePtrMut, result, sys};
use super::launch::{launch, packs};
use super::{Attempt, Gpu, Source, lock};
use crate::{Array, NnError, buffer::Buffer};
use candle_core::{CudaDevice, CudaStorage, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, OnceLock};

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    F32,
    Bf16,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// `len` values on a device. Held as bytes, so that a launch does not depend on how they are stored.
pub(crate) struct Memory {
    gpu: Gpu,
    pub(super) bytes: Block,
    len: usize,
    kind: Kind,
    /// A copy of the values, once somebody asked for them.
    host: OnceLock<Buffer>,
    /// The values in another form, once an operator made it.
    derived: OnceLock<Arc<Memory>>,
    /// Of what is copied on another stream: the end of the copy, until the computing stream was told to wait for it.
    arrival: Mutex<Option<Arc<CudaEvent>>>,
}

impl Memory {
    /// Memory whose values are unspecified until written.
    pub(super) fn uninit(gpu: &Gpu, len: usize, kind: Kind) -> Result<Self, NnError> {
        let bytes = gpu.block(len * kind.bytes())?;
        let (host, derived, arrival) = Default::default();
        Ok(Self { gpu: gpu.clone(), bytes, len, kind, host, derived, arrival })
    }

    /// `f32` values that are there when `arrival` has passed.
    pub(super) fn arriving(gpu: &Gpu, len: usize, bytes: Block, arrival: Arc<CudaEvent>) -> Self {
        let (arrival, host, derived) = (Mutex::new(Some(arrival)), OnceLock::new(), OnceLock::new());
        Self { gpu: gpu.clone(), bytes, len, kind: Kind::F32, host, derived, arrival }
    }

    /// Makes the computing stream wait for the copy that brings the values, before anything reads or writes them there.
    pub(crate) fn arrive(&self) -> Result<(), NnError> {
        let mut arrival = lock(&self.arrival);
        if let Some(event) = &*arrival {
            self.gpu.stream().wait(event).attempt("waiting for a copy")?;
            *arrival = None;
        }
        Ok(())
    }

    pub(super) fn zeros(gpu: &Gpu, len: usize) -> Result<Self, NnError> {
        let memory = Self::uninit(gpu, len, Kind::F32)?;
        let stream = gpu.stream();
        stream.context().bind_to_thread().attempt("zeros")?;
        // SAFETY: the memory has at least so many bytes; zero bytes are a zero.
        unsafe { result::memset_d8_async(memory.bytes.at, 0, memory.bytes.bytes(), stream.cu_stream()) }
            .attempt("zeros")?;
        Ok(memory)
    }

    pub(super) fn upload(gpu: &Gpu, values: &[f32]) -> Result<Self, NnError> {
        let mut memory = Self::uninit(gpu, values.len(), Kind::F32)?;
        gpu.copy_in(as_bytes(values), &mut memory.bytes)?;
        Ok(memory)
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The values, fetched when first asked for.
    pub(crate) fn values(&self) -> &[f32] {
        let fetched = self.host.get_or_init(|| match self.fetch() {
            Ok(buffer) => buffer,
            Err(error) => panic!("the device can no longer be used: {error}"),
        });
        fetched.as_slice()
    }

    /// The values are about to change.
    pub(crate) fn forget_values(&mut self) {
        (self.host, self.derived) = Default::default();
    }

    /// The values as `make` lays them out in `kind`, made once until they change. An operator asks for one form of a parameter only.
    #[cfg(feature = "cudnn")]
    pub(super) fn derived(
        &self,
        kind: Kind,
        make: impl FnOnce() -> Result<Self, NnError>,
    ) -> Result<Arc<Self>, NnError> {
        if let Some(known) = self.derived.get().filter(|known| known.kind == kind) {
            return Ok(known.clone());
        }
        let made = Arc::new(make()?);
        // Another thread may have been first, with the same values.
        let _ = self.derived.set(made.clone());
        Ok(made)
    }

    /// A copy of the values on the host.
    pub(crate) fn fetch(&self) -> Result<Buffer, NnError> {
        if self.kind != Kind::F32 {
            return self.cast(Kind::F32)?.fetch();
        }
        self.arrive()?;
        let mut buffer = Buffer::uninit(self.len);
        self.gpu.copy_out(&self.bytes, as_bytes_mut(buffer.as_mut_slice()))?;
        Ok(buffer)
    }

    /// The same values stored otherwise.
    pub(super) fn cast(&self, kind: Kind) -> Result<Self, NnError> {
        self.arrive()?;
        let mut to = Self::uninit(&self.gpu, self.len, kind)?;
        let n = self.len as i64;
        match (self.kind, kind) {
            (from, to_kind) if from == to_kind => {
                self.gpu.copy_along(self.bytes.at, to.bytes.at, self.len * kind.bytes())?;
            }
            (Kind::Bf16, _) => {
                launch!(self.gpu, Source::Elementwise, Kind::Bf16, "to_float", packs(Kind::Bf16, self.len), self.len; [&self.bytes, &mut to.bytes, &n]);
            }
            (Kind::F32, _) => {
                launch!(self.gpu, Source::Elementwise, Kind::Bf16, "from_float", packs(Kind::Bf16, self.len), self.len; [&self.bytes, &mut to.bytes, &n]);
            }
        }
        Ok(to)
    }

    /// A copy of the values as candle stores `f32`, on the same device.
    pub(crate) fn to_storage(&self) -> Result<CudaStorage, NnError> {
        let converted = if self.kind == Kind::F32 { None } else { Some(self.cast(Kind::F32)?) };
        let source = converted.as_ref().unwrap_or(self);
        source.arrive()?;
        let stream = self.gpu.stream();
        // SAFETY: written in whole by the copy below.
        let mut values = unsafe { stream.alloc::<f32>(self.len.max(1)) }.attempt("memory for a tensor")?;
        self.gpu.loaded.counters.allocation();
        self.gpu.copy_along(source.bytes.at, values.device_ptr_mut(&stream).0, 4 * self.len)?;
        Ok(CudaStorage::wrap_cuda_slice(values, self.gpu.device().clone()))
    }

    /// A tensor of `f32` with a copy of the values, on the same device.
    pub(crate) fn to_tensor(&self, shape: &[usize]) -> Result<Tensor, NnError> {
        let storage = Storage::Cuda(self.to_storage()?);
        Ok(Tensor::from_storage(storage, Shape::from(shape), candle_core::op::BackpropOp::none(), false))
    }
}

/// A copy of a tensor of `f32`, on its device.
pub(crate) fn from_tensor(device: &CudaDevice, tensor: &Tensor) -> Result<Memory, NnError> {
    let tensor = tensor.contiguous()?;
    let gpu = Gpu::of(device)?;
    let memory = Memory::uninit(&gpu, tensor.elem_count(), Kind::F32)?;
    if memory.len == 0 {
        return Ok(memory);
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(NnError::Device("a tensor that is not on its device".into()));
    };
    let from = layout.start_offset();
    let Some(values) = storage.as_cuda_slice::<f32>()?.try_slice(from..from + memory.len) else {
        return Err(NnError::Device("a tensor's memory is too small".into()));
    };
    let stream = gpu.stream();
    let (at, _reading) = values.device_ptr(&stream);
    gpu.copy_along(at, memory.bytes.at, 4 * memory.len)?;
    drop(_reading);
    Ok(memory)
}

impl Gpu {
    /// Queues a copy from the host; `values` have been read when this returns.
    pub(super) fn copy_in(&self, values: &[u8], to: &mut Block) -> Result<(), NnError> {
        if values.is_empty() {
            return Ok(());
        }
        let stream = self.stream();
        stream.context().bind_to_thread().attempt("copy to the device")?;
        self.loaded.counters.copy();
        // SAFETY: the caller made the memory for these values; the driver reads pageable memory before it returns.
        unsafe { result::memcpy_htod_async(to.at, values, stream.cu_stream()) }.attempt("copy to the device")
    }

    /// A block with these bytes.
    pub(super) fn upload(&self, values: &[u8]) -> Result<Block, NnError> {
        let mut block = self.block(values.len())?;
        self.copy_in(values, &mut block)?;
        Ok(block)
    }

    /// Copies to the host, and waits until that is done.
    pub(super) fn copy_out(&self, from: &Block, to: &mut [u8]) -> Result<(), NnError> {
        if to.is_empty() {
            return Ok(());
        }
        let stream = self.stream();
        stream.context().bind_to_thread().attempt("copy from the device")?;
        self.loaded.counters.copy();
        self.waiting(|| {
            // SAFETY: the caller asks for no more bytes than the memory has; the slice is borrowed until the stream is through.
            unsafe { result::memcpy_dtoh_async(to, from.at, stream.cu_stream()) }.attempt("copy from the device")?;
            stream.synchronize().attempt("copy from the device")
        })
    }

    /// Queues a copy of bytes on the device.
    fn copy_along(&self, from: sys::CUdeviceptr, to: sys::CUdeviceptr, bytes: usize) -> Result<(), NnError> {
        if bytes == 0 {
            return Ok(());
        }
        let stream = self.stream();
        stream.context().bind_to_thread().attempt("copy on the device")?;
        // SAFETY: the callers name memory of at least so many bytes, which this stream may use.
        unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }.attempt("copy on the device")
    }

    /// An array's memory on this device as it is stored; uploaded if it lies on the host.
    pub(super) fn held(&self, array: &Array) -> Result<Arc<Memory>, NnError> {
        self.take(array, array.memory().map_or(Kind::F32, |memory| memory.kind))
    }

    /// An array's memory on this device and of this kind: its own if it fits, else a copy.
    pub(super) fn take(&self, array: &Array, kind: Kind) -> Result<Arc<Memory>, NnError> {
        match array.memory() {
            Some(memory) if memory.gpu.same(self) && memory.kind == kind => {
                memory.arrive()?;
                Ok(memory.clone())
            }
            Some(memory) if memory.gpu.same(self) => Ok(Arc::new(memory.cast(kind)?)),
            Some(memory) => self.uploaded(memory.fetch()?.as_slice(), kind),
            None => self.uploaded(array.as_slice(), kind),
        }
    }

    /// As [`Gpu::take`] of `f32`, with this device's precision.
    pub(crate) fn settle(&self, array: &Array) -> Result<Arc<Memory>, NnError> {
        let memory = self.take(array, Kind::F32)?;
        if memory.gpu.precision() == self.precision() {
            return Ok(memory);
        }
        let mut copy = memory.cast(Kind::F32)?;
        copy.gpu = self.clone();
        Ok(Arc::new(copy))
    }

    fn uploaded(&self, values: &[f32], kind: Kind) -> Result<Arc<Memory>, NnError> {
        let memory = Memory::upload(self, values)?;
        Ok(Arc::new(if kind == Kind::F32 { memory } else { memory.cast(kind)? }))
    }

    /// A copy of an array for writing.
    pub(crate) fn copy(&self, array: &Array) -> Result<Memory, NnError> {
        match array.memory() {
            Some(memory) if memory.gpu.same(self) => memory.cast(memory.kind),
            Some(memory) => Memory::upload(self, memory.fetch()?.as_slice()),
            None => Memory::upload(self, array.as_slice()),
        }
    }
}

pub(super) fn as_bytes(values: &[f32]) -> &[u8] {
    // SAFETY: any float is four bytes, and u8 needs no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn as_bytes_mut(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: as above; any four bytes are a float.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
