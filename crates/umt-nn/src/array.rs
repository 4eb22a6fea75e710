//! The array that encoders work on.

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::{Device, NnError, buffer::Buffer};
use candle_core::{DType, Storage, Tensor, Var};
use std::{fmt, sync::Arc};

/// A row-major array of `f32`. Cloning shares its memory: a pooled, 64-byte aligned buffer of the host, or memory of a device.
#[derive(Clone)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Host(Arc<Buffer>),
    #[cfg(feature = "cuda")]
    Cuda(Arc<cuda::Memory>),
}

impl Array {
    /// An array of the host whose values are unspecified until written.
    pub fn uninit(shape: &[usize]) -> Self {
        let buffer = Arc::new(Buffer::uninit(shape.iter().product()));
        Self { shape: shape.to_vec(), data: Data::Host(buffer) }
    }

    /// An array of one value.
    pub fn full(shape: &[usize], value: f32) -> Self {
        let mut array = Self::uninit(shape);
        array.make_mut().fill(value);
        array
    }

    /// An array of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::full(shape, 0.0)
    }

    /// A copy of `values`; an error if their number does not fit `shape`.
    pub fn from_slice(shape: &[usize], values: &[f32]) -> Result<Self, NnError> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(NnError::shape("array", format!("{} values", values.len()), shape));
        }
        let mut array = Self::uninit(shape);
        array.make_mut().copy_from_slice(values);
        Ok(array)
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Host(buffer) => buffer.as_slice().len(),
            #[cfg(feature = "cuda")]
            Data::Cuda(memory) => memory.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values. Of an array on a device a copy is fetched, which waits for the device, and kept until the array changes: for results,
    /// parameters and tests, not for operators.
    ///
    /// # Panics
    /// When the device fails; it can then do no further work for this process.
    pub fn as_slice(&self) -> &[f32] {
        match &self.data {
            Data::Host(buffer) => buffer.as_slice(),
            #[cfg(feature = "cuda")]
            Data::Cuda(memory) => memory.values(),
        }
    }

    /// The values for writing; copies them first if another array shares the buffer. An array on a device is fetched, and lies on the host from
    /// then on: operators bring it back where they need it.
    ///
    /// # Panics
    /// As [`Array::as_slice`].
    pub fn make_mut(&mut self) -> &mut [f32] {
        let unique = match &mut self.data {
            Data::Host(buffer) => Arc::get_mut(buffer).is_some(),
            #[cfg(feature = "cuda")]
            Data::Cuda(_) => false,
        };
        if !unique {
            let values = self.as_slice();
            let mut copy = Buffer::uninit(values.len());
            copy.as_mut_slice().copy_from_slice(values);
            self.data = Data::Host(Arc::new(copy));
        }
        let unique = match &mut self.data {
            Data::Host(buffer) => Arc::get_mut(buffer),
            #[cfg(feature = "cuda")]
            Data::Cuda(_) => None,
        };
        match unique {
            Some(buffer) => buffer.as_mut_slice(),
            None => unreachable!("the buffer was made unique above"),
        }
    }

    /// The same values under another shape, without a copy.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, NnError> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(NnError::shape("reshape", format!("{} values", self.len()), shape));
        }
        Ok(Self { shape: shape.to_vec(), data: self.data.clone() })
    }

    /// Where the values lie.
    pub fn device(&self) -> Device {
        match &self.data {
            Data::Host(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            Data::Cuda(memory) => Device::Cuda(memory.gpu().clone()),
        }
    }

    /// The same values as `f32` on another device; shared if they are there already.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_device(&self, device: &Device) -> Result<Self, NnError> {
        let data = match (device, &self.data) {
            (Device::Cpu, Data::Host(_)) => self.data.clone(),
            #[cfg(feature = "cuda")]
            (Device::Cpu, Data::Cuda(memory)) => Data::Host(Arc::new(memory.fetch()?)),
            #[cfg(feature = "cuda")]
            (Device::Cuda(gpu), _) => Data::Cuda(gpu.settle(self)?),
        };
        Ok(Self { shape: self.shape.clone(), data })
    }

    /// `self += other`, of the same number of values, where `self` lies.
    ///
    /// # Errors
    /// When a device fails.
    pub fn add(&mut self, other: &Self) -> Result<(), NnError> {
        crate::compute::add_assign(self, other)
    }

    /// A candle tensor of `f32` at the same device, with a copy of the values.
    pub fn to_tensor(&self) -> Result<Tensor, NnError> {
        match &self.data {
            Data::Host(buffer) => {
                Ok(Tensor::from_slice(buffer.as_slice(), self.shape.as_slice(), &candle_core::Device::Cpu)?)
            }
            #[cfg(feature = "cuda")]
            Data::Cuda(memory) => memory.to_tensor(&self.shape),
        }
    }

    /// A candle variable of `f32` on the same device, with a copy of the values.
    ///
    /// # Errors
    /// When candle or the device fails.
    pub fn to_var(&self) -> Result<Var, NnError> {
        match &self.data {
            Data::Host(buffer) => {
                Ok(Var::from_slice(buffer.as_slice(), self.shape.as_slice(), &candle_core::Device::Cpu)?)
            }
            #[cfg(feature = "cuda")]
            Data::Cuda(_) => Ok(Var::from_tensor(&self.to_tensor()?)?),
        }
    }

    /// A copy of a candle tensor's values, as `f32`, on the tensor's device.
    ///
    /// # Errors
    /// When candle or the device fails.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, NnError> {
        let tensor = tensor.to_dtype(DType::F32)?;
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = tensor.device() {
            return Ok(Self::on_device(tensor.dims(), cuda::from_tensor(device, &tensor)?));
        }
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Err(NnError::Device(format!("a tensor on {:?}", tensor.device().location())));
        };
        let values = storage.as_slice::<f32>()?;
        if let Some((from, to)) = layout.contiguous_offsets() {
            return Self::from_slice(tensor.dims(), &values[from..to]);
        }
        let mut array = Self::uninit(tensor.dims());
        let (mut index, mut at) = (vec![0; layout.dims().len()], layout.start_offset());
        for value in array.make_mut() {
            *value = values[at];
            // The next position: the last axis turns fastest.
            for ((i, &len), &stride) in index.iter_mut().zip(layout.dims()).zip(layout.stride()).rev() {
                (*i, at) = (*i + 1, at + stride);
                if *i < len {
                    break;
                }
                (*i, at) = (0, at - stride * len);
            }
        }
        Ok(array)
    }
}

/// What only operators on a device see.
#[cfg(feature = "cuda")]
impl Array {
    pub(crate) fn on_device(shape: &[usize], memory: cuda::Memory) -> Self {
        Self { shape: shape.to_vec(), data: Data::Cuda(Arc::new(memory)) }
    }

    pub(crate) fn gpu(&self) -> Option<&cuda::Gpu> {
        self.memory().map(|memory| memory.gpu())
    }

    pub(crate) fn memory(&self) -> Option<&Arc<cuda::Memory>> {
        match &self.data {
            Data::Host(_) => None,
            Data::Cuda(memory) => Some(memory),
        }
    }

    /// The memory for writing: brought to the device, and copied if another array shares it.
    pub(crate) fn memory_mut(&mut self, gpu: &cuda::Gpu) -> Result<&mut cuda::Memory, NnError> {
        let unique = match &mut self.data {
            Data::Host(_) => false,
            Data::Cuda(memory) => Arc::get_mut(memory).is_some(),
        };
        if !unique {
            self.data = Data::Cuda(Arc::new(gpu.copy(self)?));
        }
        let unique = match &mut self.data {
            Data::Host(_) => None,
            Data::Cuda(memory) => Arc::get_mut(memory),
        };
        match unique {
            Some(memory) => {
                memory.arrive()?;
                memory.forget_values();
                Ok(memory)
            }
            None => unreachable!("the memory was made unique above"),
        }
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Array{:?}", self.shape)
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.as_slice() == other.as_slice()
    }
}
