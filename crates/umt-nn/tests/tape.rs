//! Operators of the tape against central differences.

use umt_nn::{Array, Tape};

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0) as f32).collect()
}

/// `sum(dy * gated_sum(x, gate))`, and its gradients to both.
fn scaled(x: &Array, gate: &Array, dy: &[f32]) -> (f64, Array, Array) {
    let mut tape = Tape::train();
    let (x, gate) = (tape.leaf(x.clone()), tape.leaf(gate.clone()));
    let y = tape.gated_sum(&[(&x, &gate)]).unwrap();
    let loss = y.value().as_slice().iter().zip(dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum();
    let seed = Array::from_slice(y.shape(), dy).unwrap();
    let back = tape.backward(vec![(y, seed)]).unwrap();
    (loss, back.leaf(&x).unwrap().clone(), back.leaf(&gate).unwrap().clone())
}

#[test]
fn gates_on_channels_agree_with_central_differences() {
    for shape in [vec![2, 3, 2, 5], vec![2, 2, 3, 1, 4], vec![3, 6], vec![1, 1, 1, 1]] {
        let (n, c) = (shape[0], shape[shape.len() - 1]);
        let count: usize = shape.iter().product();
        let x = Array::from_slice(&shape, &values(count, 1)).unwrap();
        let gate = Array::from_slice(&[n, c], &values(n * c, 2)).unwrap();
        let dy = values(count, 3);
        let (_, dx, dgate) = scaled(&x, &gate, &dy);
        let moved = |array: &Array, i: usize, by: f32| {
            let mut array = array.clone();
            array.make_mut()[i] += by;
            array
        };
        // The product is linear in each factor: the step may be large.
        let h = 0.5;
        for i in 0..count {
            let slope = scaled(&moved(&x, i, h), &gate, &dy).0 - scaled(&moved(&x, i, -h), &gate, &dy).0;
            assert!((slope / f64::from(2.0 * h) - f64::from(dx.as_slice()[i])).abs() < 1e-5, "{shape:?} x {i}");
        }
        for i in 0..n * c {
            let slope = scaled(&x, &moved(&gate, i, h), &dy).0 - scaled(&x, &moved(&gate, i, -h), &dy).0;
            assert!((slope / f64::from(2.0 * h) - f64::from(dgate.as_slice()[i])).abs() < 1e-5, "{shape:?} gate {i}");
        }
    }
}

#[test]
fn a_gate_of_another_shape_is_refused() {
    let mut tape = Tape::train();
    let x = tape.leaf(Array::zeros(&[2, 3, 3, 4]));
    let gate = tape.leaf(Array::zeros(&[2, 3]));
    let message = tape.gated_sum(&[(&x, &gate)]).unwrap_err().to_string();
    assert!(message.contains("[2, 4]") && message.contains("[2, 3]"), "{message}");
}
