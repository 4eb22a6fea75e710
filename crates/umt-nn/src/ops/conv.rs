//! Two-dimensional convolution.

use super::nhwc;
use crate::{NnError, Params, Tape, Var, compute, kernels::ConvShape, tape::Sink};

/// Stride, zero padding, dilation (each `[rows, columns]`), groups of a convolution, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Zeros on each side.
    pub pad: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether a ReLU follows, in the same pass.
    pub relu: bool,
    /// Whether a batch-norm follows: it takes every constant away again, so a bias has the gradient 0 in training, which is then not summed.
    pub norm: bool,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: [1, 1], pad: [0, 0], dilation: [1, 1], groups: 1, relu: false, norm: false }
    }
}

impl ConvOptions {
    /// The same stride and padding along both axes.
    pub fn square(stride: usize, pad: usize) -> Self {
        Self { stride: [stride; 2], pad: [pad; 2], ..Self::default() }
    }
}

impl Tape {
    /// Convolution of `x` `[n, h, w, c]` with `<name>.weight` (`[kh, kw, c / groups, k]` in memory)
    /// and, where it exists, `<name>.bias` `[k]`, then ReLU if asked for; gives `[n, h', w', k]`.
    pub fn conv2d(&mut self, params: &Params, name: &str, x: &Var, options: ConvOptions) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc(name, x)?;
        let weight = params.value(&format!("{name}.weight"))?.clone();
        let bias_name = format!("{name}.bias");
        let bias = params.get(&bias_name).map(|param| param.value.clone());
        let &[kh, kw, per_group, k] = weight.shape() else {
            return Err(NnError::shape(name, "[kh, kw, c / groups, k]", weight.shape()));
        };
        let ConvOptions { stride, pad, dilation, groups, relu, norm } = options;
        if per_group * groups != c {
            return Err(NnError::shape(name, format!("{} channels", per_group * groups), x.shape()));
        }
        let shape = ConvShape { n, h, w, c, k, kh, kw, stride, pad, dilation, groups };
        shape.check()?;
        let y = compute::conv2d(&shape, &x.value, &weight, bias.as_ref(), relu)?;

        let (x, node) = (x.value.clone(), x.node);
        let weight_name = format!("{name}.weight");
        // The ReLU's mask is its output, which the next operator keeps anyway.
        let output = relu.then(|| y.clone());
        Ok(self.push(y, move |mut dy, sink| {
            let db = match (&output, &bias) {
                (Some(output), Some(_)) => Some(compute::relu_bias_backward(k, output, &mut dy)?),
                (Some(output), None) => {
                    compute::relu_backward(output, &mut dy)?;
                    None
                }
                (None, Some(_)) if !norm => Some(compute::bias_grad(k, &dy)?),
                (None, Some(bias)) => Some(bias.device().zeros(bias.shape())?),
                (None, None) => None,
            };
            sink.add_param(weight_name.clone(), compute::conv2d_grad_weight(&shape, &x, &dy, &weight)?)?;
            if let Some(db) = db {
                sink.add_param(bias_name.clone(), db)?;
            }
            if Sink::wants(&node) {
                sink.add_to(node, compute::conv2d_grad_input(&shape, &dy, &weight)?)?;
            }
            Ok(())
        }))
    }
}
