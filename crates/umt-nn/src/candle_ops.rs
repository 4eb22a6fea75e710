//! The tape's operators in candle's autograd.
//!
//! candle's custom operators take three tensors at most, return one, and see only arguments, result and gradient on the
//! way back. [`apply`] therefore makes any part of a network that runs on the tape *one* operator of two tensors: the input,
//! and all parameters laid end to end (by candle itself, so that their gradients find the way). The tape with what it
//! keeps for the way back lives in the operator. Copies are made at the seam alone: the coarser the part, the less they
//! cost.
//!
//! Pictures are `[n, h, w, c]`; a `[n, c, h, w]` tensor is brought there by `permute((0, 2, 3, 1))`. Parameters are in
//! PyTorch's layout, convolution weights `[out, in / groups, kh, kw]`.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use umt_nn::{ConvOptions, candle_ops};
//! let x = Var::from_tensor(&Tensor::from_slice(&[3f32, 4.0], (1, 1, 2, 1), &Device::Cpu)?)?;
//! let w = Var::from_tensor(&Tensor::from_slice(&[2f32], (1, 1, 1, 1), &Device::Cpu)?)?;
//! let y = candle_ops::conv2d(x.as_tensor(), w.as_tensor(), None, ConvOptions::default())?;
//! assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [6.0, 8.0]);
//! let grads = y.sum_all()?.backward()?;
//! assert_eq!(grads.get(&w).ok_or("no gradient")?.flatten_all()?.to_vec1::<f32>()?, [7.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::kernels::Resize;
use crate::{Array, ConvOptions, NnError, Param, Params, PoolOptions, Role, Tape, Value};
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Runs `part` on a training tape as one operator of candle's graph: `x` and `weights` (by the names that `part` asks
/// for) get gradients. `buffers` holds what is stored but not learnt, such as `running_mean`; statistics of the batch are
/// written there.
///
/// # Errors
/// What `part` refuses; tensors that are not of `f32`.
pub fn apply(
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
    let op = OnTape { output: output.array().clone(), state: Mutex::new(Some((tape, leaf, output))), places };
    Ok(x.contiguous()?.apply_op2(&packed, op)?)
}

/// Convolution of `x` `[n, h, w, c]` with `weight` `[k, c / groups, kh, kw]` and `bias` `[k]`; gives `[n, h', w', k]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor, NnError> {
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
pub fn max_pool(x: &Tensor, options: PoolOptions) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.max_pool(x, options))
}

/// Average over windows of `x` `[n, h, w, c]`, of any kernel, stride and padding; padding counts as zeros.
///
/// # Errors
/// Shapes that do not fit.
pub fn average_pool(x: &Tensor, options: PoolOptions) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.average_pool(x, options))
}

/// `x` `[n, h, w, c]` at another size `[h', w']`: nearest, bilinear, or averages (adaptive pooling).
///
/// # Errors
/// A size of 0.
pub fn resize(x: &Tensor, to: [usize; 2], how: Resize) -> Result<Tensor, NnError> {
    apply(x, &BTreeMap::new(), &mut Params::default(), |tape, _, x| tape.resize(x, to, how))
}

/// A tape that has run forward and waits for the way back.
struct OnTape {
    output: Array,
    state: Mutex<Option<(Tape, Value, Value)>>,
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

    #[cfg(feature = "cuda")]
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
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some((tape, leaf, output)) = state else {
            return Err(candle_core::Error::Msg("a part on the tape goes back once; run it forward again".into()));
        };
        let back = tape.backward(vec![(output, Array::from_tensor(grad).map_err(failed)?)]).map_err(failed)?;
        let dx = match back.leaf(&leaf) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var as CandleVar};

    fn noise(shape: &[usize], id: u64) -> CandleVar {
        let mut rng = umt_random::stream(7, "test.candle-ops", 0, id);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
        CandleVar::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn far(a: &Tensor, b: &Tensor) -> f32 {
        let largest = b.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        let d = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        d / largest.max(1e-6)
    }

    /// Value and both gradients are those of candle's own convolution, from a view that is not contiguous.
    /// Heights that the stride divides: candle's own way back fails on others.
    #[test]
    fn convolution_is_candles() {
        for (height, stride, pad, groups) in [(9, 1, 1, 1), (9, 2, 1, 1), (9, 2, 0, 2), (10, 3, 1, 1)] {
            let (x, w) = (noise(&[2, 4, height, 7], 1), noise(&[6, 4 / groups, 3, 3], 2));
            let theirs = x.conv2d(&w, pad, stride, 1, groups).unwrap();
            let options = ConvOptions { groups, ..ConvOptions::square(stride, pad) };
            let ours = conv2d(&x.permute((0, 2, 3, 1)).unwrap(), &w, None, options).unwrap();
            let ours = ours.permute((0, 3, 1, 2)).unwrap();
            assert!(far(&ours, &theirs) < 1e-5);
            let weigh = noise(theirs.dims(), 3);
            let back = |y: &Tensor| (y * weigh.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (back(&ours), back(&theirs));
            for var in [&x, &w] {
                assert!(far(a.get(var).unwrap(), b.get(var).unwrap()) < 1e-4);
            }
        }
    }

    /// Average pooling and averages of a map's parts are candle's own, forward and back, from a view that is not contiguous.
    #[test]
    fn averages_are_candles() {
        let x = noise(&[2, 3, 8, 12], 1);
        let pixels = x.permute((0, 2, 3, 1)).unwrap();
        let theirs = x.avg_pool2d((4, 4)).unwrap();
        let pooled = average_pool(&pixels, PoolOptions { kernel: 4, stride: 4, pad: 0 }).unwrap();
        for ours in [pooled, resize(&pixels, [2, 3], Resize::Average).unwrap()] {
            let ours = ours.permute((0, 3, 1, 2)).unwrap();
            assert!(far(&ours, &theirs) < 1e-6);
            let weigh = noise(theirs.dims(), 3);
            let back = |y: &Tensor| (y * weigh.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            assert!(far(back(&ours).get(&x).unwrap(), back(&theirs).get(&x).unwrap()) < 1e-6);
        }
    }

    /// One pixel, one channel, one window; and a batch of none.
    #[test]
    fn the_smallest_inputs_and_a_batch_of_none() {
        let w = noise(&[1, 1, 1, 1], 2);
        for n in [0, 1] {
            let x = CandleVar::from_tensor(&Tensor::ones((n, 1, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap());
            let x = x.unwrap();
            let y = conv2d(&x, &w, None, ConvOptions::default()).unwrap();
            let y = max_pool(&y, PoolOptions { kernel: 1, stride: 1, pad: 0 }).unwrap();
            let y = average_pool(&y, PoolOptions { kernel: 1, stride: 1, pad: 0 }).unwrap();
            assert_eq!(y.dims(), [n, 1, 1, 1]);
            let grads = y.sum_all().unwrap().backward().unwrap();
            let dw = grads.get(&w).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(dw, [n as f32]);
            assert_eq!(grads.get(&x).unwrap().dims(), [n, 1, 1, 1]);
        }
    }
}
