//! Arrays by name: a folder of `.npy` files, one `.npz`, one `.safetensors`.

use crate::{ArrayError, Values, npy};
use flate2::{Crc, read::DeflateDecoder};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// One array: the length of each axis, values row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Values,
}

/// Reads every array of a folder of `.npy` files, of a `.npz` or of a `.safetensors` file, by name without the ending.
///
/// # Errors
/// [`ArrayError::Io`] for what cannot be read, [`ArrayError::Malformed`] and [`ArrayError::Unsupported`] for what is no
/// such file, each with its name.
pub fn read_arrays(path: &Path) -> Result<BTreeMap<String, NamedArray>, ArrayError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ArrayError::Io { path, source }
    };
    if path.is_dir() {
        let mut arrays = BTreeMap::new();
        for entry in std::fs::read_dir(path).map_err(io(path))? {
            let file = entry.map_err(io(path))?.path();
            let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || file.extension().is_none_or(|end| end != "npy") {
                continue;
            }
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(&file).map_err(io(&file))?;
            let (shape, values) = npy::parse(&format!("{name}.npy"), &bytes)?;
            arrays.insert(name, NamedArray { shape, values });
        }
        return Ok(arrays);
    }
    let bytes = std::fs::read(path).map_err(io(path))?;
    let file = path.display().to_string();
    match path.extension().and_then(|end| end.to_str()) {
        Some("npz") => npz(&file, bytes),
        Some("safetensors") => safetensors(&file, &bytes),
        _ => Err(ArrayError::Unsupported {
            name: file,
            reason: "give a folder of .npy files, a .npz or a .safetensors file".into(),
        }),
    }
}

fn npz(file: &str, bytes: Vec<u8>) -> Result<BTreeMap<String, NamedArray>, ArrayError> {
    let malformed = |name: &str, reason: String| ArrayError::Malformed { name: name.into(), reason };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| malformed(file, e.to_string()))?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        // Raw entries, so that one decoder of deflate serves the whole project.
        let mut entry = archive.by_index_raw(index).map_err(|e| malformed(file, e.to_string()))?;
        let name = entry.name().map_err(|e| malformed(file, e.to_string()))?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let (method, size, crc) = (entry.compression(), entry.size(), entry.crc32());
        let mut bytes = Vec::new();
        // The declared size is a limit to what is unpacked, never an allocation.
        let unpacked = match method {
            CompressionMethod::STORE => entry.by_ref().take(size + 1).read_to_end(&mut bytes),
            CompressionMethod::DEFLATE => DeflateDecoder::new(&mut entry).take(size + 1).read_to_end(&mut bytes),
            other => {
                let reason = format!("{other} compression; numpy.savez and savez_compressed write what is read");
                return Err(ArrayError::Unsupported { name: format!("{name} in {file}"), reason });
            }
        };
        unpacked.map_err(|e| malformed(&format!("{name} in {file}"), e.to_string()))?;
        let mut sum = Crc::new();
        sum.update(&bytes);
        if bytes.len() as u64 != size || sum.sum() != crc {
            return Err(malformed(&format!("{name} in {file}"), "its size or checksum does not match".into()));
        }
        let (shape, values) = npy::parse(&format!("{name} in {file}"), &bytes)?;
        arrays.insert(name, NamedArray { shape, values });
    }
    Ok(arrays)
}

fn safetensors(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, NamedArray>, ArrayError> {
    let malformed = |reason: String| ArrayError::Malformed { name: file.into(), reason };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
    let mut arrays = BTreeMap::new();
    for (name, view) in tensors.tensors() {
        let (data, dtype) = (view.data(), view.dtype());
        let values = match dtype {
            Dtype::F16 => Values::Float(words(data, |b| half::f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Values::Float(words(data, |b| half::bf16::from_le_bytes(b).to_f32())),
            Dtype::F32 => Values::Float(words(data, f32::from_le_bytes)),
            Dtype::F64 => Values::Float(words(data, |b| f64::from_le_bytes(b) as f32)),
            Dtype::BOOL | Dtype::U8 => Values::Int(data.iter().map(|b| i64::from(*b)).collect()),
            Dtype::I8 => Values::Int(words(data, |b| i64::from(i8::from_le_bytes(b)))),
            Dtype::I16 => Values::Int(words(data, |b| i64::from(i16::from_le_bytes(b)))),
            Dtype::U16 => Values::Int(words(data, |b| i64::from(u16::from_le_bytes(b)))),
            Dtype::I32 => Values::Int(words(data, |b| i64::from(i32::from_le_bytes(b)))),
            Dtype::U32 => Values::Int(words(data, |b| i64::from(u32::from_le_bytes(b)))),
            Dtype::I64 => Values::Int(words(data, i64::from_le_bytes)),
            other => {
                let reason = format!("\"{name}\" has values of type {other:?}; save it as float32 or int64");
                return Err(ArrayError::Unsupported { name: file.into(), reason });
            }
        };
        arrays.insert(name, NamedArray { shape: view.shape().to_vec(), values });
    }
    Ok(arrays)
}

/// Each `N` bytes as a value.
fn words<const N: usize, T>(data: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
}
