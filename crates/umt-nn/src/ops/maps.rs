//! Operators on feature maps: resizing, pooling to a size, learned upsampling, channels side by side.

use super::nhwc;
use crate::{
    Array, NnError, PoolOptions, Tape, Value, compute,
    kernels::{PoolShape, Resize},
    tape::Node,
};

impl Tape {
    /// `x` `[n, h, w, c]` at another size `[h', w']`.
    pub fn resize(&mut self, x: &Value, to: [usize; 2], how: Resize) -> Result<Value, NnError> {
        let [_, h, w, _] = nhwc("resize", x)?;
        if to.contains(&0) || h * w == 0 {
            return Err(NnError::shape("resize", format!("a map that {to:?} can be made from"), x.shape()));
        }
        if to == [h, w] {
            return Ok(x.clone());
        }
        let (y, node) = (compute::resize(&x.value, to, how)?, x.node.clone());
        Ok(self.push(y, move |dy, sink| sink.add(&node, compute::resize_backward(&dy, [h, w], how)?)))
    }

    /// Average over windows of `x` `[n, h, w, c]`; padding counts as zeros.
    pub fn average_pool(&mut self, x: &Value, options: PoolOptions) -> Result<Value, NnError> {
        let [n, h, w, c] = nhwc("average-pool", x)?;
        let PoolOptions { kernel, stride, pad } = options;
        let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        shape.check()?;
        let (y, node) = (compute::average_pool(&shape, &x.value)?, x.node.clone());
        Ok(self.push(y, move |dy, sink| sink.add(&node, compute::average_pool_backward(&shape, &dy)?)))
    }

    /// Learned upsampling of `x` `[n, h, w, c]` to `[h', w']` (each twice as long, or one less), `+ skip`: nearest, then the depth-wise 3x3
    /// convolution `weight` `[3, 3, 1, c]`, `bias` `[c]`, see [`crate::kernels::upsample`].
    ///
    /// # Errors
    /// Shapes that do not fit; when a device fails.
    pub fn upsample(
        &mut self,
        x: &Value,
        [weight, bias]: [&Value; 2],
        to: [usize; 2],
        skip: Option<&Value>,
    ) -> Result<Value, NnError> {
        let name = "upsample";
        let [n, h, w, c] = nhwc(name, x)?;
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
        let filter = [&weight.value, &bias.value];
        let y = compute::upsample(&x.value, [n, h, w, c], to, filter, skip.map(|skip| &skip.value))?;
        let (x, weight, bias, skip) =
            (x.clone(), weight.clone(), bias.node.clone(), skip.map(|skip| skip.node.clone()));
        Ok(self.push(y, move |dy, sink| {
            let wants = x.node.wants_grad();
            let (dx, dw) = compute::upsample_backward(&x.value, [n, h, w, c], to, &weight.value, &dy, wants)?;
            sink.add(&weight.node, dw)?;
            sink.add(&bias, compute::bias_grad(c, &dy)?)?;
            if let Some(dx) = dx {
                sink.add(&x.node, dx)?;
            }
            match &skip {
                Some(skip) => sink.add(skip, dy),
                None => Ok(()),
            }
        }))
    }

    /// Maps `[n, h, w, c_i]` with their channels side by side: `[n, h, w, Σ c_i]`.
    pub fn concat(&mut self, parts: &[&Value]) -> Result<Value, NnError> {
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
        let nodes: Vec<Node> = parts.iter().map(|part| part.node.clone()).collect();
        Ok(self.push(y, move |dy, sink| {
            let mut at = 0;
            for (node, &c) in nodes.iter().zip(&widths) {
                if node.wants_grad() {
                    sink.add(node, compute::split_columns(&dy, at, &[n, h, w, c])?)?;
                }
                at += c;
            }
            Ok(())
        }))
    }
}
