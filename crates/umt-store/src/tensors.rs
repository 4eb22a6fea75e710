//! Tensor files in the safetensors format.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View};

use crate::StoreError;

/// Tensors by name: shape and row-major values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The bytes of a safetensors file: names sorted, metadata `format: pt`, so that equal tensors
/// give equal files and Python libraries accept them.
///
/// # Errors
/// [`StoreError::Tensors`] if a shape does not fit its values.
pub fn write(tensors: &Tensors) -> Result<Vec<u8>, StoreError> {
    write_with_counters(tensors, &BTreeMap::new())
}

/// [`write`], with integers by name, each an I64 scalar: for counters that PyTorch keeps in a module's state dict.
///
/// # Errors
/// As [`write`].
pub fn write_with_counters(tensors: &Tensors, counters: &BTreeMap<String, i64>) -> Result<Vec<u8>, StoreError> {
    let values = tensors.iter().map(|(name, (shape, values))| (name.clone(), Values::F32 { shape, values }));
    serialize(tensors, values.chain(counters.iter().map(|(name, &count)| (name.clone(), Values::I64(count)))).collect())
}

fn serialize(tensors: &Tensors, views: Vec<(String, Values<'_>)>) -> Result<Vec<u8>, StoreError> {
    for (name, (shape, values)) in tensors {
        if count(shape) != Some(values.len()) {
            let reason = format!("\"{name}\" has shape {shape:?} and {} values", values.len());
            return Err(StoreError::Tensors { reason });
        }
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(unreadable)
}

/// The most that a file's header, names and shapes as JSON, may take: 40,000 tensors fit. Without a limit a header of 87 MB
/// with 1.5 million names costs ten seconds and 1.3 GB.
const HEADER: u64 = 4 << 20;

/// Reads a safetensors file as F32: values of type F16 and BF16 exactly, F64 and I64 (PyTorch's
/// `num_batches_tracked`) rounded.
///
/// # Errors
/// [`StoreError::Tensors`] if the bytes are no safetensors file, or hold another type, by name.
pub fn read(bytes: &[u8]) -> Result<Tensors, StoreError> {
    let declared = bytes.first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
    if declared > HEADER {
        let reason = format!("it declares a header of {declared} bytes; at most {HEADER} are read");
        return Err(StoreError::Tensors { reason });
    }
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|two| f16::from_le_bytes(*two).to_f32()).collect(),
            Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|two| bf16::from_le_bytes(*two).to_f32()).collect(),
            Dtype::F64 => data.as_chunks::<8>().0.iter().map(|eight| f64::from_le_bytes(*eight) as f32).collect(),
            Dtype::I64 => data.as_chunks::<8>().0.iter().map(|eight| i64::from_le_bytes(*eight) as f32).collect(),
            other => {
                let reason = format!("\"{name}\" is of type {other:?}; F32, F16, BF16, F64 and I64 can be read");
                return Err(StoreError::Tensors { reason });
            }
        };
        tensors.insert(name.to_string(), (view.shape().to_vec(), values));
    }
    Ok(tensors)
}

fn unreadable(error: safetensors::SafeTensorError) -> StoreError {
    StoreError::Tensors { reason: error.to_string() }
}

fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

enum Values<'a> {
    F32 { shape: &'a [usize], values: &'a [f32] },
    I64(i64),
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F32 { .. } => Dtype::F32,
            Self::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::F32 { shape, .. } => shape,
            Self::I64(_) => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::F32 { values, .. } => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::I64(value) => Cow::Owned(value.to_le_bytes().to_vec()),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Self::F32 { values, .. } => size_of_val(*values),
            Self::I64(_) => 8,
        }
    }
}
