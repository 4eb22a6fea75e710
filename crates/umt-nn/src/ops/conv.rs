//! Two-dimensional convolution.

use super::nhwc;
use crate::{NnError, Tape, Value, compute, kernels::ConvShape};

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
    /// Whether a batch-norm follows. It subtracts the mean, so in training the gradient of a bias is 0, which is then not computed.
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
    /// Convolution of `x` `[n, h, w, c]` with `weight` `[kh, kw, c / groups, k]` and `bias` `[k]`, then ReLU if asked for; outputs
    /// `[n, h', w', k]`.
    ///
    /// # Errors
    /// Shapes that do not fit; when a device fails.
    pub fn conv2d(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        options: ConvOptions,
    ) -> Result<Value, NnError> {
        let shape = conv_shape(x, weight.shape(), options)?;
        let ConvOptions { relu, norm, .. } = options;
        let y = compute::conv2d(&shape, &x.value, &weight.value, bias.map(|bias| &bias.value), relu)?;

        let (x, weight, bias) = (x.clone(), weight.clone(), bias.cloned());
        // The ReLU's mask is its output, which the next operator saves anyway.
        let output = relu.then(|| y.clone());
        Ok(self.push(y, move |mut dy, sink| {
            let db = match (&output, &bias) {
                (Some(output), Some(_)) => Some(compute::relu_bias_backward(shape.k, output, &mut dy)?),
                (Some(output), None) => {
                    compute::relu_backward(output, &mut dy)?;
                    None
                }
                (None, Some(_)) if !norm => Some(compute::bias_grad(shape.k, &dy)?),
                (None, Some(bias)) => Some(bias.value.device().zeros(bias.shape())?),
                (None, None) => None,
            };
            if weight.node.wants_grad() {
                sink.add(&weight.node, compute::conv2d_grad_weight(&shape, &x.value, &dy, &weight.value)?)?;
            }
            if let (Some(db), Some(bias)) = (db, &bias) {
                sink.add(&bias.node, db)?;
            }
            if x.node.wants_grad() {
                sink.add(&x.node, compute::conv2d_grad_input(&shape, &dy, &weight.value)?)?;
            }
            Ok(())
        }))
    }
}

/// Sizes of a convolution of `x` with weights `[kh, kw, c / groups, k]`.
pub(crate) fn conv_shape(x: &Value, weight: &[usize], options: ConvOptions) -> Result<ConvShape, NnError> {
    let [n, h, w, c] = nhwc("conv2d", x)?;
    let &[kh, kw, per_group, k] = weight else {
        return Err(NnError::shape("conv2d", "weights [kh, kw, c / groups, k]", weight));
    };
    let ConvOptions { stride, pad, dilation, groups, .. } = options;
    if per_group * groups != c {
        return Err(NnError::shape("conv2d", format!("{} channels", per_group * groups), x.shape()));
    }
    let shape = ConvShape { n, h, w, c, k, kh, kw, stride, pad, dilation, groups };
    shape.check()?;
    Ok(shape)
}
