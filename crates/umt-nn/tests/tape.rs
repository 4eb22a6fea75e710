//! Operators of the tape against central differences.

use umt_nn::layers::{Conv2d, Upsample};
use umt_nn::{Array, ConvOptions, Grads, NnError, Param, Params, PoolOptions, Tape, Value, kernels::Resize};

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0) as f32).collect()
}

/// `sum(dy * gated_sum(x, gate))`, and its gradients to both.
fn scaled(x: &Array, gate: &Array, dy: &[f32]) -> (f64, Array, Array) {
    let mut tape = Tape::train();
    let (x, gate) = (tape.leaf(x.clone()), tape.leaf(gate.clone()));
    let y = tape.gated_sum(&[(&x, &gate)]).unwrap();
    let loss = y.array().as_slice().iter().zip(dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum();
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

type Operator = fn(&mut Tape, &Params, &Value) -> Result<Value, NnError>;

fn params() -> Params {
    let mut params = Params::default();
    let mut insert = |name: &str, shape: &[usize], seed| {
        let count = shape.iter().product();
        params.insert(name, Param::conv(Array::from_slice(shape, &values(count, seed)).unwrap()));
    };
    insert("up.weight", &[3, 3, 1, 3], 4);
    insert("up.bias", &[3], 5);
    insert("conv.weight", &[1, 3, 3, 4], 6);
    insert("conv.bias", &[4], 7);
    params
}

fn up() -> Upsample {
    Upsample::new("up.weight".into(), "up.bias".into())
}

/// `sum(dy * operator(x))`, its gradient to `x` and to the parameters.
fn pass(operator: Operator, params: &Params, x: &Array) -> (f64, Array, Grads) {
    let mut tape = Tape::train();
    let x = tape.leaf(x.clone());
    let y = operator(&mut tape, params, &x).unwrap();
    let dy = values(y.array().len(), 8);
    let loss = y.array().as_slice().iter().zip(&dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum();
    let seed = Array::from_slice(y.shape(), &dy).unwrap();
    let back = tape.backward(vec![(y, seed)]).unwrap();
    let grad = back.leaf(&x).unwrap().clone();
    (loss, grad, back.params)
}

#[test]
fn operators_on_maps_agree_with_central_differences() {
    let cases: [(&str, Operator); 10] = [
        ("nearest", |t, _, x| t.resize(x, [3, 9], Resize::Nearest)),
        ("bilinear", |t, _, x| t.resize(x, [7, 4], Resize::Bilinear)),
        ("average to a size", |t, _, x| t.resize(x, [3, 2], Resize::Average)),
        ("average", |t, _, x| t.average_pool(x, PoolOptions { kernel: 3, stride: 2, pad: 1 })),
        ("upsample", |t, p, x| up().forward(t, p, x, [7, 10], None)),
        ("upsample a sum", |t, p, x| {
            let twice = up().forward(t, p, x, [7, 10], None)?;
            up().forward(t, p, x, [7, 10], Some(&twice))
        }),
        ("concat", |t, _, x| {
            let small = t.sigmoid(x)?;
            t.concat(&[x, &small, x])
        }),
        ("sigmoid", |t, _, x| t.sigmoid(x)),
        ("mean beside the map", |t, _, x| {
            let gate = t.mean_inner(x)?;
            t.gated_sum(&[(x, &gate), (x, &gate)])
        }),
        ("convolution and relu", |t, p, x| {
            let options = ConvOptions { pad: [0, 1], relu: true, ..ConvOptions::default() };
            Conv2d::new("conv.weight".into(), Some("conv.bias".into()), options).forward(t, p, x)
        }),
    ];
    let (params, x) = (params(), Array::from_slice(&[2, 4, 5, 3], &values(120, 9)).unwrap());
    for (name, operator) in cases {
        let (_, dx, grads) = pass(operator, &params, &x);
        // Values are hundredths: a smaller step crosses no kink that they do not lie on.
        let h = 4e-3f32;
        let slope = |losses: [f64; 2]| (losses[0] - losses[1]) / f64::from(2.0 * h);
        let largest = dx.as_slice().iter().fold(1f32, |m, v| m.max(v.abs()));
        for i in 0..x.len() {
            let at = |by: f32| {
                let mut x = x.clone();
                x.make_mut()[i] += by;
                pass(operator, &params, &x).0
            };
            let (got, want) = (f64::from(dx.as_slice()[i]), slope([at(h), at(-h)]));
            let kink = name.contains("relu");
            let near_kink = kink && x.as_slice()[i].abs() < h;
            assert!(near_kink || (got - want).abs() < 1e-2 * f64::from(largest), "{name}, x {i}: {got} for {want}");
        }
        for (parameter, grad) in &grads {
            for i in 0..grad.len() {
                let at = |by: f32| {
                    let mut params = params.clone();
                    params.get_mut(parameter).unwrap().value.make_mut()[i] += by;
                    pass(operator, &params, &x).0
                };
                let (got, want) = (f64::from(grad.as_slice()[i]), slope([at(h), at(-h)]));
                assert!((got - want).abs() < 2e-2 * got.abs().max(1.0), "{name}, {parameter} {i}: {got} for {want}");
            }
        }
    }
}

#[test]
fn maps_that_do_not_fit_are_refused_by_name() {
    let (params, mut tape) = (params(), Tape::train());
    let x = tape.leaf(Array::zeros(&[1, 4, 5, 3]));
    let other = tape.leaf(Array::zeros(&[1, 4, 4, 3]));
    let refusal = |result: Result<Value, NnError>| result.map(|_| ()).unwrap_err().to_string();
    assert!(refusal(up().forward(&mut tape, &params, &x, [9, 10], None)).contains("a map of half of [9, 10]"));
    assert!(refusal(up().forward(&mut tape, &params, &x, [8, 10], Some(&other))).contains("to add"));
    assert!(refusal(tape.concat(&[&x, &other])).contains("[1, 4, 5, c]"));
    assert!(refusal(tape.resize(&x, [0, 3], Resize::Nearest)).contains("[0, 3]"));
    assert!(refusal(tape.gated_sum(&[])).contains("needs a stream"));
}
