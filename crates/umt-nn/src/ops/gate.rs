//! Operators value by value, and channels multiplied by gates.

use crate::{NnError, Tape, Value, compute};

impl Tape {
    /// `Σ x · gate` over streams of maps `[n, ..., c]`, each with a gate `[n, ..., c]` of one value per image and channel. One stream is
    /// a squeeze-and-excitation (Hu et al., 2018), two are ESANet's SE-add.
    pub fn gated_sum(&mut self, streams: &[(&Value, &Value)]) -> Result<Value, NnError> {
        let Some(&(first, _)) = streams.first() else {
            return Err(NnError::Unsupported("a gated sum needs a stream".into()));
        };
        let (n, c) = match *first.shape() {
            [n, .., c] if c > 0 => (n, c),
            ref other => return Err(NnError::shape("gated sum", "[n, ..., c]", other)),
        };
        for (x, gate) in streams {
            if x.shape() != first.shape() {
                return Err(NnError::shape("gated sum", format!("{:?}", first.shape()), x.shape()));
            }
            if gate.value.len() != n * c || gate.shape().last() != Some(&c) {
                return Err(NnError::shape("gate", format!("[{n}, {c}]"), gate.shape()));
            }
        }
        let rows = first.value.len() / (n * c).max(1);
        let values: Vec<_> = streams.iter().map(|(x, gate)| (&x.value, &gate.value)).collect();
        let y = compute::gated_sum(rows, c, &values, first.shape())?;
        let streams: Vec<(Value, Value)> = streams.iter().map(|&(x, gate)| (x.clone(), gate.clone())).collect();
        Ok(self.push(y, move |dy, sink| {
            for (x, gate) in &streams {
                let wants = x.node.wants_grad();
                let (dx, dgate) = compute::gated_sum_backward(rows, c, &x.value, &gate.value, &dy, wants)?;
                if let Some(dx) = dx {
                    sink.add(&x.node, dx)?;
                }
                sink.add(&gate.node, dgate)?;
            }
            Ok(())
        }))
    }

    /// `1 / (1 + e^-x)`
    pub fn sigmoid(&mut self, x: &Value) -> Result<Value, NnError> {
        let y = compute::sigmoid(&x.value)?;
        let (node, output) = (x.node.clone(), y.clone());
        Ok(self.push(y, move |dy, sink| sink.add(&node, compute::sigmoid_backward(&output, &dy)?)))
    }
}
