//! Memory of a device: what an array there holds.

use super::cudarc::driver::{CudaSlice, CudaStream};
use super::launch::launch;
use super::{Attempt, Gpu, Source};
use crate::{Array, NnError, buffer::Buffer};
use candle_core::cuda_backend::WrapErr;
use candle_core::{CudaDevice, CudaStorage, Shape, Storage, Tensor};
use std::sync::{Arc, OnceLock};

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
    pub(super) bytes: CudaSlice<u8>,
    len: usize,
    kind: Kind,
    /// A copy of the values, once somebody asked for them.
    host: OnceLock<Buffer>,
}

impl Memory {
    /// Memory whose values are unspecified until written.
    pub(super) fn uninit(gpu: &Gpu, len: usize, kind: Kind) -> Result<Self, NnError> {
        Self::on_stream(gpu, &gpu.stream(), len, kind)
    }

    /// The same of `f32`, on another stream than the one that computes.
    pub(super) fn for_copy(gpu: &Gpu, stream: &Arc<CudaStream>, len: usize) -> Result<Self, NnError> {
        Self::on_stream(gpu, stream, len, Kind::F32)
    }

    fn on_stream(gpu: &Gpu, stream: &Arc<CudaStream>, len: usize, kind: Kind) -> Result<Self, NnError> {
        let size = len.max(1) * kind.bytes();
        // SAFETY: every operator writes its whole output before anything reads it.
        let bytes = unsafe { stream.alloc::<u8>(size) }.attempt(&format!("{size} bytes on the device"))?;
        Ok(Self { gpu: gpu.clone(), bytes, len, kind, host: OnceLock::new() })
    }

    pub(super) fn zeros(gpu: &Gpu, len: usize) -> Result<Self, NnError> {
        let mut memory = Self::uninit(gpu, len, Kind::F32)?;
        gpu.stream().memset_zeros(&mut memory.bytes).attempt("zeros")?;
        Ok(memory)
    }

    pub(super) fn upload(gpu: &Gpu, values: &[f32]) -> Result<Self, NnError> {
        let mut memory = Self::uninit(gpu, values.len(), Kind::F32)?;
        if !values.is_empty() {
            gpu.stream().memcpy_htod(as_bytes(values), &mut memory.bytes).attempt("copy to the device")?;
        }
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

    pub(crate) fn forget_values(&mut self) {
        self.host = OnceLock::new();
    }

    /// A copy of the values on the host.
    pub(crate) fn fetch(&self) -> Result<Buffer, NnError> {
        if self.kind != Kind::F32 {
            return self.cast(Kind::F32)?.fetch();
        }
        let mut buffer = Buffer::uninit(self.len);
        if self.len > 0 {
            let to = as_bytes_mut(buffer.as_mut_slice());
            self.gpu.stream().memcpy_dtoh(&self.bytes, to).attempt("copy from the device")?;
            // The copy is only queued; the buffer may be read when the stream is through.
            self.gpu.finish()?;
        }
        Ok(buffer)
    }

    /// The same values stored otherwise.
    pub(super) fn cast(&self, kind: Kind) -> Result<Self, NnError> {
        let mut to = Self::uninit(&self.gpu, self.len, kind)?;
        let n = self.len as i64;
        match (self.kind, kind) {
            (from, to_kind) if from == to_kind => {
                self.gpu.stream().memcpy_dtod(&self.bytes, &mut to.bytes).attempt("copy on the device")?;
            }
            (Kind::Bf16, _) => {
                launch!(self.gpu, Source::Elementwise, Kind::Bf16, "to_float", self.len; [&self.bytes, &mut to.bytes, &n]);
            }
            (Kind::F32, _) => {
                launch!(self.gpu, Source::Elementwise, Kind::Bf16, "from_float", self.len; [&self.bytes, &mut to.bytes, &n]);
            }
        }
        Ok(to)
    }

    /// A copy of the values as candle stores `f32`, on the same device.
    pub(crate) fn to_storage(&self) -> Result<CudaStorage, NnError> {
        let converted = if self.kind == Kind::F32 { None } else { Some(self.cast(Kind::F32)?) };
        let source = converted.as_ref().unwrap_or(self);
        let stream = self.gpu.stream();
        let len = self.len.max(1);
        // SAFETY: written in whole by the copy below.
        let mut values = unsafe { stream.alloc::<f32>(len) }.attempt("memory for a tensor")?;
        {
            let mut all = values.slice_mut(0..len);
            // SAFETY: `len` floats are `4 * len` bytes.
            let bytes = unsafe { all.transmute_mut::<u8>(4 * len) };
            let Some(mut bytes) = bytes else {
                return Err(NnError::Device("a tensor's memory is too small".into()));
            };
            stream.memcpy_dtod(&source.bytes, &mut bytes).attempt("copy on the device")?;
        }
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
    let mut memory = Memory::uninit(&gpu, tensor.elem_count(), Kind::F32)?;
    if memory.len == 0 {
        return Ok(memory);
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(NnError::Device("a tensor that is not on its device".into()));
    };
    let values = storage.as_cuda_slice::<f32>()?;
    let from = layout.start_offset();
    let values = values.slice(from..from + memory.len);
    // SAFETY: `len` floats are `4 * len` bytes.
    let bytes = unsafe { values.transmute::<u8>(4 * memory.len) };
    let Some(bytes) = bytes else {
        return Err(NnError::Device("a tensor's memory is too small".into()));
    };
    gpu.stream().memcpy_dtod(&bytes, &mut memory.bytes).w()?;
    Ok(memory)
}

impl Gpu {
    /// An array's memory on this device as it is stored; uploaded if it lies on the host.
    pub(super) fn held(&self, array: &Array) -> Result<Arc<Memory>, NnError> {
        self.take(array, array.memory().map_or(Kind::F32, |memory| memory.kind))
    }

    /// An array's memory on this device and of this kind: its own if it fits, else a copy.
    pub(super) fn take(&self, array: &Array, kind: Kind) -> Result<Arc<Memory>, NnError> {
        match array.memory() {
            Some(memory) if memory.gpu.same(self) && memory.kind == kind => Ok(memory.clone()),
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
