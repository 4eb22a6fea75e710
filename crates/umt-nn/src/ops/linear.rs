//! The linear layer of a classifier.

use crate::{Array, NnError, Params, Tape, Var, kernels};

impl Tape {
    /// `x weight^T + bias` with `x` `[n, d]` and `<name>.weight` `[k, d]`, `<name>.bias` `[k]`.
    pub fn linear(&mut self, params: &Params, name: &str, x: &Var) -> Result<Var, NnError> {
        let weight = params.value(&format!("{name}.weight"))?.clone();
        let bias = params.value(&format!("{name}.bias"))?.clone();
        let (&[n, d], &[k, d_weight]) = (x.shape(), weight.shape()) else {
            return Err(NnError::shape(name, "[n, d]", x.shape()));
        };
        if d != d_weight {
            return Err(NnError::shape(name, format!("[n, {d_weight}]"), x.shape()));
        }
        let mut y = Array::unspecified(&[n, k]);
        for row in y.make_mut().chunks_exact_mut(k.max(1)) {
            row.copy_from_slice(bias.as_slice());
        }
        kernels::gemm(n, k, d, x.value.as_slice(), [d, 1], weight.as_slice(), [1, d], y.make_mut(), true);
        let (x, node, name) = (x.value.clone(), x.node, name.to_owned());
        Ok(self.push(y, move |dy, sink| {
            let mut dw = Array::unspecified(&[k, d]);
            let mut db = Array::unspecified(&[k]);
            let mut dx = Array::unspecified(&[n, d]);
            kernels::gemm(k, d, n, dy.as_slice(), [1, k], x.as_slice(), [d, 1], dw.make_mut(), false);
            kernels::bias_grad(n, k, dy.as_slice(), db.make_mut());
            kernels::gemm(n, d, k, dy.as_slice(), [k, 1], weight.as_slice(), [d, 1], dx.make_mut(), false);
            sink.add_param(format!("{name}.weight"), dw);
            sink.add_param(format!("{name}.bias"), db);
            sink.add_to(node, dx);
            Ok(())
        }))
    }
}
