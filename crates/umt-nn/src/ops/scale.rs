//! Gates on the channels of a map.

use crate::{Array, NnError, Tape, Var, kernels, tape::Sink};

impl Tape {
    /// `x` `[n, ..., c]` times `gate` `[n, c]`: one factor per sample and channel, the same at each place.
    pub fn scale_channels(&mut self, x: &Var, gate: &Var) -> Result<Var, NnError> {
        let &[n, ref inner @ .., c] = x.shape() else {
            return Err(NnError::shape("scale of channels", "[n, ..., c]", x.shape()));
        };
        if gate.shape() != [n, c] {
            return Err(NnError::shape("scale of channels", format!("a gate of {:?}", [n, c]), gate.shape()));
        }
        let rows: usize = inner.iter().product();
        let mut y = Array::unspecified(x.shape());
        kernels::scale_channels(n, rows, c, x.value.as_slice(), gate.value.as_slice(), y.make_mut());
        let (x_node, gate_node) = (x.node, gate.node);
        let (x, gate) = (x.value.clone(), gate.value.clone());
        Ok(self.push(y, move |dy, sink| {
            if Sink::wants(&gate_node) {
                let mut dgate = Array::unspecified(&[n, c]);
                kernels::scale_channels_grad_gate(n, rows, c, x.as_slice(), dy.as_slice(), dgate.make_mut());
                sink.add_to(gate_node, dgate);
            }
            if Sink::wants(&x_node) {
                let mut dx = Array::unspecified(x.shape());
                kernels::scale_channels(n, rows, c, dy.as_slice(), gate.as_slice(), dx.make_mut());
                sink.add_to(x_node, dx);
            }
            Ok(())
        }))
    }
}
