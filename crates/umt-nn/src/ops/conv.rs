//! Two-dimensional convolution.

use super::nhwc;
use crate::{
    Array, NnError, Params, Tape, Var,
    kernels::{self, ConvShape},
    tape::Sink,
};

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
        let mut y = Array::unspecified(&[n, shape.out_h(), shape.out_w(), k]);
        let bias_values = bias.as_ref().map(Array::as_slice);
        let (x_values, w_values) = (x.value.as_slice(), weight.as_slice());
        if relu {
            kernels::conv2d_relu(&shape, x_values, w_values, bias_values, y.make_mut());
        } else {
            kernels::conv2d(&shape, x_values, w_values, bias_values, y.make_mut());
        }

        let (x, node) = (x.value.clone(), x.node);
        let weight_name = format!("{name}.weight");
        // The ReLU's mask is its output, which the next operator keeps anyway.
        let output = relu.then(|| y.clone());
        Ok(self.push(y, move |mut dy, sink| {
            let rows = dy.len() / k.max(1);
            let mut db = bias.as_ref().map(|bias| Array::zeros(bias.shape()));
            match (&output, &mut db) {
                (Some(output), Some(db)) => {
                    kernels::relu_bias_backward_in_place(rows, k, output.as_slice(), dy.make_mut(), db.make_mut());
                }
                (Some(output), None) => kernels::relu_backward_in_place(output.as_slice(), dy.make_mut()),
                (None, Some(db)) if !norm => kernels::bias_grad(rows, k, dy.as_slice(), db.make_mut()),
                (None, _) => {}
            }
            let mut dw = Array::unspecified(weight.shape());
            kernels::conv2d_grad_weight(&shape, x.as_slice(), dy.as_slice(), dw.make_mut());
            sink.add_param(weight_name.clone(), dw);
            if let Some(db) = db {
                sink.add_param(bias_name.clone(), db);
            }
            if Sink::wants(&node) {
                let mut dx = Array::unspecified(x.shape());
                kernels::conv2d_grad_input(&shape, dy.as_slice(), weight.as_slice(), dx.make_mut());
                sink.add_to(node, dx);
            }
            Ok(())
        }))
    }
}
