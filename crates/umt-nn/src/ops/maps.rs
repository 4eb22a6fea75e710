//! Operators on feature maps: resizing, pooling to a size, learned upsampling, channels side by side.

use super::nhwc;
use crate::{
    Array, NnError, Params, PoolOptions, Tape, Var, compute,
    kernels::{PoolShape, Resize},
    tape::Sink,
};

impl Tape {
    /// `x` `[n, h, w, c]` at another size `[h', w']`.
    pub fn resize(&mut self, x: &Var, to: [usize; 2], how: Resize) -> Result<Var, NnError> {
        let [_, h, w, _] = nhwc("resize", x)?;
        if to.contains(&0) || h * w == 0 {
            return Err(NnError::shape("resize", format!("a map that {to:?} can be made from"), x.shape()));
        }
        if to == [h, w] {
            return Ok(x.clone());
        }
        let (y, node) = (compute::resize(&x.value, to, how)?, x.node);
        Ok(self.push(y, move |dy, sink| sink.add_to(node, compute::resize_backward(&dy, [h, w], how)?)))
    }

    /// Average over windows of `x` `[n, h, w, c]`; padding counts as zeros.
    pub fn average_pool(&mut self, x: &Var, options: PoolOptions) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc("average-pool", x)?;
        let PoolOptions { kernel, stride, pad } = options;
        let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        shape.check()?;
        let (y, node) = (compute::average_pool(&shape, &x.value)?, x.node);
        Ok(self.push(y, move |dy, sink| sink.add_to(node, compute::average_pool_backward(&shape, &dy)?)))
    }

    /// Learned upsampling of `x` `[n, h, w, c]` to `[h', w']` (each twice as long, or one less), `+ skip`: nearest, then the depth-wise 3x3
    /// convolution `<name>.weight`, `<name>.bias`, see [`crate::kernels::upsample`].
    pub fn upsample(
        &mut self,
        params: &Params,
        name: &str,
        x: &Var,
        to: [usize; 2],
        skip: Option<&Var>,
    ) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc(name, x)?;
        let weight = params.value(&format!("{name}.weight"))?.clone();
        let bias = params.value(&format!("{name}.bias"))?;
        if weight.shape() != [3, 3, 1, c] || bias.shape() != [c] {
            return Err(NnError::shape(name, format!("[3, 3, 1, {c}]"), weight.shape()));
        }
        let doubles = |from: usize, to: usize| from > 0 && (to == 2 * from || to + 1 == 2 * from);
        if !(doubles(h, to[0]) && doubles(w, to[1])) {
            return Err(NnError::shape(name, format!("a map of half of {to:?}"), x.shape()));
        }
        let shape = [n, to[0], to[1], c];
        if let Some(skip) = skip
            && skip.shape() != shape
        {
            return Err(NnError::shape(name, format!("{shape:?} to add"), skip.shape()));
        }
        let y = compute::upsample(&x.value, [n, h, w, c], to, [&weight, bias], skip.map(|skip| &skip.value))?;
        let (x, node, skip_node) = (x.value.clone(), x.node, skip.and_then(|skip| skip.node));
        let name = name.to_owned();
        Ok(self.push(y, move |dy, sink| {
            let wants = Sink::wants(&node);
            let (dx, dw) = compute::upsample_backward(&x, [n, h, w, c], to, &weight, &dy, wants)?;
            sink.add_param(format!("{name}.weight"), dw)?;
            sink.add_param(format!("{name}.bias"), compute::bias_grad(c, &dy)?)?;
            if let Some(dx) = dx {
                sink.add_to(node, dx)?;
            }
            sink.add_to(skip_node, dy)
        }))
    }

    /// Maps `[n, h, w, c_i]` with their channels side by side: `[n, h, w, Σ c_i]`.
    pub fn concat(&mut self, parts: &[&Var]) -> Result<Var, NnError> {
        let Some((&first, rest)) = parts.split_first() else {
            return Err(NnError::Unsupported("there is nothing to put side by side".into()));
        };
        let [n, h, w, _] = nhwc("concat", first)?;
        for part in rest {
            let [a, b, d, _] = nhwc("concat", part)?;
            if [a, b, d] != [n, h, w] {
                return Err(NnError::shape("concat", format!("[{n}, {h}, {w}, c]"), part.shape()));
            }
        }
        let widths: Vec<usize> = parts.iter().filter_map(|part| part.shape().last().copied()).collect();
        let all: usize = widths.iter().sum();
        let values: Vec<&Array> = parts.iter().map(|part| &part.value).collect();
        let y = compute::join_columns(&values, &[n, h, w, all])?;
        let nodes: Vec<Option<usize>> = parts.iter().map(|part| part.node).collect();
        Ok(self.push(y, move |dy, sink| {
            let mut at = 0;
            for (&node, &c) in nodes.iter().zip(&widths) {
                if Sink::wants(&node) {
                    sink.add_to(node, compute::split_columns(&dy, at, &[n, h, w, c])?)?;
                }
                at += c;
            }
            Ok(())
        }))
    }
}
