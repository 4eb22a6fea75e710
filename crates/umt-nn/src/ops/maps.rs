//! Operators on feature maps: resizing, pooling to a size, learned upsampling, channels side by side.

use super::nhwc;
use crate::{
    Array, NnError, Params, PoolOptions, Tape, Var,
    kernels::{self, PoolShape, Resize},
    tape::Sink,
};

impl Tape {
    /// `x` `[n, h, w, c]` at another size `[h', w']`.
    pub fn resize(&mut self, x: &Var, to: [usize; 2], how: Resize) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc("resize", x)?;
        if to.contains(&0) || h * w == 0 {
            return Err(NnError::shape("resize", format!("a map that {to:?} can be made from"), x.shape()));
        }
        if to == [h, w] {
            return Ok(x.clone());
        }
        let mut y = Array::unspecified(&[n, to[0], to[1], c]);
        kernels::resize(how, n, [h, w], to, c, x.value.as_slice(), y.make_mut());
        let node = x.node;
        Ok(self.push(y, move |dy, sink| {
            let mut dx = Array::unspecified(&[n, h, w, c]);
            kernels::resize_backward(how, n, [h, w], to, c, dy.as_slice(), dx.make_mut());
            sink.add_to(node, dx);
            Ok(())
        }))
    }

    /// Average over windows of `x` `[n, h, w, c]`; padding counts as zeros.
    pub fn average_pool(&mut self, x: &Var, options: PoolOptions) -> Result<Var, NnError> {
        let [n, h, w, c] = nhwc("average-pool", x)?;
        let PoolOptions { kernel, stride, pad } = options;
        let shape = PoolShape { n, h, w, c, window: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        shape.check()?;
        let mut y = Array::unspecified(&[n, shape.out_h(), shape.out_w(), c]);
        kernels::average_pool(&shape, x.value.as_slice(), y.make_mut());
        let node = x.node;
        Ok(self.push(y, move |dy, sink| {
            let mut dx = Array::unspecified(&[n, h, w, c]);
            kernels::average_pool_backward(&shape, dy.as_slice(), dx.make_mut());
            sink.add_to(node, dx);
            Ok(())
        }))
    }

    /// Learned upsampling of `x` `[n, h, w, c]` to `[h', w']` (each twice as long, or one less), `+ skip`: nearest, then the depth-wise 3x3
    /// convolution `<name>.weight`, `<name>.bias`, see [`kernels::upsample`].
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
        let mut y = Array::unspecified(&[n, to[0], to[1], c]);
        if let Some(skip) = skip
            && skip.shape() != y.shape()
        {
            return Err(NnError::shape(name, format!("{:?} to add", y.shape()), skip.shape()));
        }
        let skip_values = skip.map(|skip| skip.value.as_slice());
        let values = (x.value.as_slice(), weight.as_slice());
        kernels::upsample(n, [h, w], to, c, values.0, values.1, bias.as_slice(), skip_values, y.make_mut());
        let (x, node, skip_node) = (x.value.clone(), x.node, skip.and_then(|skip| skip.node));
        let name = name.to_owned();
        Ok(self.push(y, move |dy, sink| {
            let (mut dw, mut db) = (Array::unspecified(&[3, 3, 1, c]), Array::unspecified(&[c]));
            let mut dx = Sink::wants(&node).then(|| Array::unspecified(&[n, h, w, c]));
            let (xs, ws, dys) = (x.as_slice(), weight.as_slice(), dy.as_slice());
            let dx_values = dx.as_mut().map(Array::make_mut);
            kernels::upsample_backward(n, [h, w], to, c, xs, ws, dys, dx_values, dw.make_mut());
            kernels::bias_grad(dys.len() / c.max(1), c, dys, db.make_mut());
            sink.add_param(format!("{name}.weight"), dw);
            sink.add_param(format!("{name}.bias"), db);
            if let Some(dx) = dx {
                sink.add_to(node, dx);
            }
            sink.add_to(skip_node, dy);
            Ok(())
        }))
    }

    /// Maps `[n, h, w, c_i]` with their channels side by side: `[n, h, w, Σ c_i]`.
    pub fn concat(&mut self, parts: &[&Var]) -> Result<Var, NnError> {
        let Some((&first, rest)) = parts.split_first() else {
            return Err(NnError::Setting("there is nothing to put side by side".into()));
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
        let mut y = Array::unspecified(&[n, h, w, all]);
        let mut at = 0;
        for (part, &c) in parts.iter().zip(&widths) {
            for (to, from) in y.make_mut().chunks_exact_mut(all).zip(part.value.as_slice().chunks_exact(c)) {
                to[at..at + c].copy_from_slice(from);
            }
            at += c;
        }
        let nodes: Vec<Option<usize>> = parts.iter().map(|part| part.node).collect();
        Ok(self.push(y, move |dy, sink| {
            let mut at = 0;
            for (&node, &c) in nodes.iter().zip(&widths) {
                if Sink::wants(&node) {
                    let mut dx = Array::unspecified(&[n, h, w, c]);
                    for (to, from) in dx.make_mut().chunks_exact_mut(c).zip(dy.as_slice().chunks_exact(all)) {
                        to.copy_from_slice(&from[at..at + c]);
                    }
                    sink.add_to(node, dx);
                }
                at += c;
            }
            Ok(())
        }))
    }
}
