//! Batch normalisation.

use super::host::{read, values};
#[cfg(feature = "cuda")]
use super::tape;
use super::{elsewhere, nhwc, on_host, shown};
use crate::{BatchNormOptions, NnError, kernels};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, Var};
use std::sync::{Arc, OnceLock};

/// Running mean and (unbiased) variance `[c]` of a batch-norm.
#[derive(Clone, Debug)]
pub struct Running {
    /// Mean.
    pub mean: Var,
    /// Variance.
    pub var: Var,
}

/// Batch normalisation of `x` `[n, c, h, w]` with scale and shift `[c]`, then ReLU if the options say so.
///
/// With `train` mean and biased variance are the batch's, and `running` is updated with the unbiased variance by the options' momentum (the weight
/// of the newest batch), as in PyTorch. Without, the running statistics are used and left alone; gradients flow then too.
///
/// # Errors
/// Shapes that do not fit; another dtype than `f32`; a device that this build has no operators for.
pub fn batch_norm(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    running: &Running,
    train: bool,
    options: BatchNormOptions,
) -> std::result::Result<Tensor, NnError> {
    let all = [x, gamma, beta, running.mean.as_tensor(), running.var.as_tensor()];
    on_host(&all)?;
    let channels = gamma.elem_count();
    let x = nhwc(x)?;
    if x.dims()[3] != channels {
        return Err(NnError::shape("batch-norm", format!("{channels} channels"), x.dims()));
    }
    if let Some(other) = all[1..].iter().find(|tensor| tensor.dims() != [channels]) {
        return Err(NnError::shape("batch-norm", format!("[{channels}]"), other.dims()));
    }
    if !train {
        // One multiplication and addition per value.
        let a = (gamma / (running.var.as_tensor() + f64::from(options.eps))?.sqrt()?)?;
        let b = (beta - (running.mean.as_tensor() * &a)?)?;
        let y = x.broadcast_mul(&a)?.broadcast_add(&b)?;
        return shown(&if options.relu { y.relu()? } else { y });
    }
    elsewhere!(&all, tape::batch_norm(&x, [gamma, beta], running, options));
    let statistics = Arc::new(OnceLock::new());
    let op = Normalisation { channels, options, statistics: Arc::clone(&statistics) };
    let y = x.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    if let Some(batch) = statistics.get() {
        let rows = x.elem_count() / channels.max(1);
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        for (var, batch, factor) in [(&running.mean, &batch.mean, 1.0), (&running.var, &batch.var, unbiased)] {
            let mut next = var.as_tensor().to_vec1::<f32>()?;
            next.iter_mut().zip(batch).for_each(|(v, new)| *v += options.momentum * (new * factor - *v));
            var.set(&Tensor::from_vec(next, channels, x.device())?)?;
        }
    }
    shown(&y)
}

/// Of a batch, by channel.
struct Statistics {
    mean: Vec<f32>,
    var: Vec<f32>,
    inv_std: Vec<f32>,
    /// Normalisation as `a x + b`.
    a: Vec<f32>,
    b: Vec<f32>,
}

struct Normalisation {
    channels: usize,
    options: BatchNormOptions,
    statistics: Arc<OnceLock<Statistics>>,
}

impl Normalisation {
    fn measure(&self, x: &[f32], gamma: &[f32], beta: &[f32]) -> Statistics {
        let c = self.channels;
        let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
        kernels::batch_norm_stats(x.len() / c.max(1), c, x, &mut mean, &mut var);
        let inv_std: Vec<f32> = var.iter().map(|v| 1.0 / (v + self.options.eps).sqrt()).collect();
        let a: Vec<f32> = gamma.iter().zip(&inv_std).map(|(g, s)| g * s).collect();
        let b = beta.iter().zip(&mean).zip(&a).map(|((beta, mean), a)| beta - mean * a).collect();
        Statistics { mean, var, inv_std, a, b }
    }
}

impl CustomOp3 for Normalisation {
    fn name(&self) -> &'static str {
        "umt-nn batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, c) = (values(x, xl)?, self.channels);
        let statistics = self.measure(x, values(gamma, gl)?, values(beta, bl)?);
        let mut y = vec![0.0; x.len()];
        kernels::scale_shift(x.len() / c.max(1), c, x, &statistics.a, &statistics.b, None, self.options.relu, &mut y);
        // Forward runs once.
        let _ = self.statistics.set(statistics);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(s) = self.statistics.get() else { candle_core::bail!("a batch-norm without a forward pass") };
        let (c, device, dy) = (self.channels, x.device(), dy.contiguous()?);
        let (mut dz, mut dgamma, mut dbeta) = (vec![0.0; x.elem_count()], vec![0.0; c], vec![0.0; c]);
        let rows = x.elem_count() / c.max(1);
        read(x, |z| {
            read(&dy, |dy| {
                read(gamma, |gamma| {
                    let (dz, dgamma, dbeta) = (&mut dz, &mut dgamma, &mut dbeta);
                    match self.options.relu {
                        true => kernels::batch_norm_relu_backward(
                            rows, c, z, &s.a, &s.b, dy, gamma, &s.mean, &s.inv_std, dz, dgamma, dbeta,
                        ),
                        false => kernels::batch_norm_backward(
                            rows, c, z, None, dy, gamma, &s.mean, &s.inv_std, dz, dgamma, dbeta, None,
                        ),
                    }
                    Ok(())
                })
            })
        })?;
        let dx = Tensor::from_vec(dz, x.shape(), device)?;
        Ok((Some(dx), Some(Tensor::from_vec(dgamma, c, device)?), Some(Tensor::from_vec(dbeta, c, device)?)))
    }
}
