//! Borrowed values of tensors on the host.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};

/// The values of a contiguous storage, where they are.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&all[from..to]),
        None => candle_core::bail!("an operator of umt-nn takes contiguous storage, not {layout:?}"),
    }
}

/// Calls `take` with the values of a contiguous tensor on the host.
pub(super) fn read<T>(tensor: &Tensor, take: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => take(values(storage, layout)?),
        _ => candle_core::bail!(
            "an operator of umt-nn on the host was given a tensor of {:?}",
            tensor.device().location()
        ),
    }
}
