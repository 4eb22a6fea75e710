//! Convolution.

use super::host::{read, values};
#[cfg(feature = "cuda")]
use super::tape;
use super::{elsewhere, nhwc, shown};
use crate::kernels::{self, ConvShape};
use crate::{ConvOptions, NnError};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

/// Convolution of `x` `[n, c, h, w]` with `weight` `[k, c / groups, kh, kw]` and `bias` `[k]`, then ReLU if asked for; outputs `[n, k, h', w']`.
///
/// # Errors
/// Shapes that do not fit; another dtype than `f32`; a device that this build has no operators for.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: ConvOptions,
) -> std::result::Result<Tensor, NnError> {
    let given: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    elsewhere!(&given, tape::conv2d(&nhwc(x)?, weight, bias, options));
    let x = nhwc(x)?;
    let &[n, h, w, c] = x.dims() else { return Err(NnError::shape("conv2d", "[n, c, h, w]", x.dims())) };
    let &[k, per_group, kh, kw] = weight.dims() else {
        return Err(NnError::shape("conv2d", "weights [k, c / groups, kh, kw]", weight.dims()));
    };
    let ConvOptions { stride, pad, dilation, groups, relu, .. } = options;
    if per_group * groups != c {
        return Err(NnError::shape("conv2d", format!("{} channels", per_group * groups), &[n, c, h, w]));
    }
    if let Some(bias) = bias.filter(|bias| bias.dims() != [k]) {
        return Err(NnError::shape("conv2d", format!("a bias [{k}]"), bias.dims()));
    }
    let shape = ConvShape { n, h, w, c, k, kh, kw, stride, pad, dilation, groups };
    shape.check()?;
    // The kernels' order of weights; small next to the maps.
    let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
    let op = Convolution { shape, relu };
    shown(&match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op)?,
        None => x.apply_op2(&weight, op)?,
    })
}

struct Convolution {
    shape: ConvShape,
    relu: bool,
}

impl Convolution {
    fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> (CpuStorage, Shape) {
        let ConvShape { n, k, .. } = self.shape;
        let (h, w_out) = (self.shape.out_h(), self.shape.out_w());
        let mut y = vec![0.0; n * h * w_out * k];
        let run = if self.relu { kernels::conv2d_relu } else { kernels::conv2d };
        run(&self.shape, x, w, bias, &mut y);
        (CpuStorage::F32(y), (n, h, w_out, k).into())
    }

    /// Gradients to the input, where it is tracked, to the weights and to a bias.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        output: &Tensor,
        dy: &Tensor,
        with_bias: bool,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (s, device) = (&self.shape, x.device());
        // The mask of the ReLU is its output.
        let dy = match self.relu {
            true => (dy.contiguous()? * output.gt(0f32)?.to_dtype(candle_core::DType::F32)?)?,
            false => dy.contiguous()?,
        };
        read(&dy, |dy| {
            let dx = match x.track_op() {
                true => {
                    let mut dx = vec![0.0; s.x_len()];
                    read(weight, |w| {
                        kernels::conv2d_grad_input(s, dy, w, &mut dx);
                        Ok(())
                    })?;
                    Some(Tensor::from_vec(dx, x.shape(), device)?)
                }
                false => None,
            };
            let mut dw = vec![0.0; weight.elem_count()];
            read(x, |x| {
                kernels::conv2d_grad_weight(s, x, dy, &mut dw);
                Ok(())
            })?;
            let db = match with_bias {
                true => {
                    let mut db = vec![0.0; s.k];
                    kernels::bias_grad(dy.len() / s.k.max(1), s.k, dy, &mut db);
                    Some(Tensor::from_vec(db, s.k, device)?)
                }
                false => None,
            };
            Ok((dx, Some(Tensor::from_vec(dw, weight.shape(), device)?), db))
        })
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "umt-nn conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(values(x, xl)?, values(w, wl)?, None))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, _) = self.backward(x, w, y, dy, false)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "umt-nn conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(values(x, xl)?, values(w, wl)?, Some(values(b, bl)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, y, dy, true)
    }
}
