//! Operators on a device: a tape of one operator inside one operator of candle.
//!
//! candle's custom operators take three tensors at most and see only storage. A part that runs on the tape is therefore *one* operator of two
//! tensors: the input, and all parameters one after the other (by candle itself, so that their gradients find the way).

use super::Running;
use crate::kernels::Resize;
use crate::layers::BatchNorm2d;
use crate::{Array, BatchNormOptions, ConvOptions, NnError, Param, Params, PoolOptions, Role, Tape, Value};
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Runs `part` on a training tape as one operator of candle's graph: `x` and `weights` (by the names that `part` asks
/// for) get gradients. `buffers` holds what is stored but not learnt, such as `running_mean`; statistics of the batch are
/// written there.
///
/// # Errors
/// What `part` refuses; tensors that are not of `f32`.
pub(super) fn apply(
    x: &Tensor,
    weights: &BTreeMap<String, Tensor>,
    buffers: &mut Params,
    part: impl FnOnce(&mut Tape, &Params, &Value) -> Result<Value, NnError>,
) -> Result<Tensor, NnError> {
    let mut params = buffers.clone();
    let (mut flat, mut places) = (Vec::new(), Vec::new());
    for (name, tensor) in weights {
        // Convolution weights lie as [kh, kw, in, out] in memory.
        let (tensor, conv) = match tensor.rank() {
            4 => (tensor.permute((2, 3, 1, 0))?.contiguous()?, true),
            _ => (tensor.contiguous()?, false),
        };
        let value = Array::from_tensor(&tensor)?;
        places.push((name.clone(), value.len()));
        params.insert(name.clone(), if conv { Param::conv(value) } else { Param::weight(value) });
        flat.push(tensor.flatten_all()?);
    }
    let packed = match flat.is_empty() {
        true => Tensor::zeros(1, candle_core::DType::F32, x.device())?,
        false => Tensor::cat(&flat, 0)?,
    };
    let mut tape = Tape::train();
    let leaf = tape.leaf(Array::from_tensor(x)?);
    let output = part(&mut tape, &params, &leaf)?;
    buffers.update(
        tape.take_statistics()
            .into_iter()
            .filter(|(name, _)| buffers.get(name).is_some_and(|p| p.role == Role::Statistic))
            .collect::<Vec<_>>(),
    )?;
    let op = OnTape { output: output.array().clone(), state: Mutex::new((tape, leaf, output)), places };
    Ok(x.contiguous()?.apply_op2(&packed, op)?)
}

/// Convolution of `x` `[n, h, w, c]` with `weight` `[k, c / groups, kh, kw]` and `bias` `[k]`; gives `[n, h', w', k]`.
///
/// # Errors
/// Shapes that do not fit.
pub(super) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvOptions,
) -> Result<Tensor, NnError> {
    let mut weights = BTreeMap::from([("conv.weight".to_owned(), weight.clone())]);
    weights.extend(bias.map(|bias| ("conv.bias".to_owned(), bias.clone())));
    apply(x, &weights, &mut Params::default(), |tape, params, x| {
        let bias = params.get("conv.bias").map(|_| "conv.bias".into());
        crate::layers::Conv2d::new("conv.weight".into(), bias, options).forward(tape, params, x)
    })
}

/// Maximum over windows of `x` `[n, h, w, c]`, of any kernel, stride and padding.
///
/// # Errors
/// Shapes that do not fit.
pub(super) fn max_pool(x: &Tensor, options: PoolOptions) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.max_pool(x, options))
}

/// Average over windows of `x` `[n, h, w, c]`, of any kernel, stride and padding; padding counts as zeros.
///
/// # Errors
/// Shapes that do not fit.
pub(super) fn average_pool(x: &Tensor, options: PoolOptions) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.average_pool(x, options))
}

/// `x` `[n, h, w, c]` at another size `[h', w']`: nearest, bilinear, or averages (adaptive pooling).
///
/// # Errors
/// A size of 0.
pub(super) fn resize(x: &Tensor, to: [usize; 2], how: Resize) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.resize(x, to, how))
}

/// A tape that has run forward and waits for the way back.
struct OnTape {
    output: Array,
    state: Mutex<(Tape, Value, Value)>,
    /// Name and number of values of each parameter, in the order in which they are packed.
    places: Vec<(String, usize)>,
}

impl CustomOp2 for OnTape {
    fn name(&self) -> &'static str {
        "umt-nn tape"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.output.as_slice().to_vec()), self.output.shape().into()))
    }

    fn cuda_fwd(
        &self,
        _: &candle_core::CudaStorage,
        _: &Layout,
        _: &candle_core::CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let output = self.output.memory().ok_or_else(|| candle_core::Error::Msg("the part left its device".into()))?;
        let storage = output.to_storage().map_err(|e| candle_core::Error::Msg(e.to_string()))?;
        Ok((storage, self.output.shape().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let failed = |e: NnError| candle_core::Error::Msg(e.to_string());
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tape, leaf, output) = &*state;
        let seed = Array::from_tensor(grad).map_err(failed)?;
        let back = tape.backward_again(vec![(output.clone(), seed)]).map_err(failed)?;
        let dx = match back.leaf(leaf) {
            Some(dx) => dx.to_tensor().map_err(failed)?,
            None => x.zeros_like()?,
        };
        let mut parts = Vec::with_capacity(self.places.len());
        for (name, len) in &self.places {
            parts.push(match back.params.get(name) {
                Some(grad) => grad.to_tensor().and_then(|grad| Ok(grad.flatten_all()?)).map_err(failed)?,
                None => Tensor::zeros(*len, candle_core::DType::F32, packed.device())?,
            });
        }
        let grads = if parts.is_empty() { packed.zeros_like()? } else { Tensor::cat(&parts, 0)? };
        Ok((Some(dx), Some(grads)))
    }
}

/// Batch-norm of `x` `[n, h, w, c]` in training; updates the running statistics.
pub(super) fn batch_norm(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    running: &Running,
    options: BatchNormOptions,
) -> Result<Tensor, NnError> {
    let weights = BTreeMap::from([("weight".to_owned(), gamma.clone()), ("bias".to_owned(), beta.clone())]);
    let mut buffers = Params::default();
    for (name, var) in [("running_mean", &running.mean), ("running_var", &running.var)] {
        buffers.insert(name, Param::statistic(Array::from_tensor(var.as_tensor())?));
    }
    let keys = |names: [&str; 2]| names.map(|name| name.into());
    let layer = BatchNorm2d::new(keys(["weight", "bias"]), keys(["running_mean", "running_var"]), options);
    let y = apply(x, &weights, &mut buffers, |tape, params, x| layer.forward(tape, params, x.clone(), None))?;
    for (name, var) in [("running_mean", &running.mean), ("running_var", &running.var)] {
        var.set(&buffers.value(name)?.to_tensor()?)?;
    }
    Ok(y)
}
