//! The array that encoders work on.

use crate::{NnError, buffer::Buffer};
use candle_core::{DType, Device, Tensor};
use std::{fmt, sync::Arc};

/// A row-major array of `f32` in a pooled, 64-byte aligned buffer. Cloning shares the buffer.
#[derive(Clone)]
pub struct Array {
    shape: Vec<usize>,
    buffer: Arc<Buffer>,
}

impl Array {
    /// An array whose values are unspecified until written.
    pub fn unspecified(shape: &[usize]) -> Self {
        let buffer = Arc::new(Buffer::unspecified(shape.iter().product()));
        Self { shape: shape.to_vec(), buffer }
    }

    /// An array of one value.
    pub fn full(shape: &[usize], value: f32) -> Self {
        let mut array = Self::unspecified(shape);
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
        let mut array = Self::unspecified(shape);
        array.make_mut().copy_from_slice(values);
        Ok(array)
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values.
    pub fn as_slice(&self) -> &[f32] {
        self.buffer.as_slice()
    }

    /// The values for writing; copies them first if another array shares the buffer.
    pub fn make_mut(&mut self) -> &mut [f32] {
        if Arc::get_mut(&mut self.buffer).is_none() {
            let mut copy = Buffer::unspecified(self.buffer.as_slice().len());
            copy.as_mut_slice().copy_from_slice(self.buffer.as_slice());
            self.buffer = Arc::new(copy);
        }
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) => buffer.as_mut_slice(),
            None => unreachable!("the buffer was made unique above"),
        }
    }

    /// The same values under another shape, without a copy.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, NnError> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(NnError::shape("reshape", format!("{} values", self.len()), shape));
        }
        Ok(Self { shape: shape.to_vec(), buffer: self.buffer.clone() })
    }

    /// A candle tensor on the CPU with a copy of the values.
    pub fn to_tensor(&self) -> Result<Tensor, NnError> {
        Ok(Tensor::from_slice(self.as_slice(), self.shape.as_slice(), &Device::Cpu)?)
    }

    /// A copy of a candle tensor's values, as `f32`.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, NnError> {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Self::from_slice(tensor.dims(), &values)
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
