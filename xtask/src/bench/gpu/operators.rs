//! Checks of the tape's operators: output and every gradient, over shapes with odd sizes, one pixel, and channels around vector widths.

use super::parity::{Check, Values, named, noise, noise_at};
use umt_nn::kernels::Resize;
use umt_nn::layers::{Conv2d, Upsample};
use umt_nn::{Array, ConvOptions, Device, NnError, Param, Params, PoolOptions, Tape, Value};

/// Sums of up to some thousand products in another order.
const PRODUCTS: f64 = 2e-5;
/// As many, by ways that trade products for sums (Winograd).
const CONVOLUTION: f64 = 1e-4;
/// Few operations per value.
const FEW: f64 = 2e-6;

/// Runs `forward` of leaves with the given shapes, goes back from a random gradient, and names output and gradients.
fn taped(
    device: &Device,
    params: &Params,
    shapes: &[Vec<usize>],
    forward: impl Fn(&mut Tape, &Params, &[Value]) -> Result<Value, NnError>,
) -> anyhow::Result<Values> {
    let mut params = params.clone();
    params.to_device(device)?;
    let mut tape = Tape::train();
    let mut leaves = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        leaves.push(tape.leaf(noise_at(device, shape, i as u64)?));
    }
    let y = forward(&mut tape, &params, &leaves)?;
    let mut values = vec![named("output", y.array())];
    for (name, statistics) in tape.take_statistics() {
        values.push(named(&name, &statistics));
    }
    let dy = noise_at(device, y.shape(), 99)?;
    let back = tape.backward(vec![(y, dy)])?;
    for (i, leaf) in leaves.iter().enumerate() {
        values.extend(back.leaf(leaf).map(|grad| named(&format!("gradient to input {i}"), grad)));
    }
    values.extend(back.params.iter().map(|(name, grad)| named(&format!("gradient to {name}"), grad)));
    Ok(values)
}

/// A check of an operator.
pub fn operator(
    name: String,
    tolerance: f64,
    params: Params,
    shapes: Vec<Vec<usize>>,
    forward: impl Fn(&mut Tape, &Params, &[Value]) -> Result<Value, NnError> + 'static,
) -> Check {
    Check::new(name, tolerance, move |device| taped(device, &params, &shapes, &forward))
}

/// Parameters by name; shapes of four axes are convolution weights.
fn parameters(list: &[(&str, &[usize])]) -> Params {
    let mut params = Params::default();
    for (i, (name, shape)) in list.iter().enumerate() {
        let value = noise(shape, 50 + i as u64);
        params.insert(*name, if shape.len() == 4 { Param::conv(value) } else { Param::weight(value) });
    }
    params
}

pub fn checks() -> Vec<Check> {
    let mut all = convolutions();
    all.extend(pools());
    all.extend(resizes());
    all.extend(rest());
    all.push(Check::new("arrays sent while others are computed with", 0.0, sent));
    all
}

/// Arrays of a few sizes, sent by another thread while this one works with those that came before.
fn sent(device: &Device) -> anyhow::Result<Values> {
    const SIZES: [usize; 3] = [1, 1000, 300_000];
    let (give, take) = std::sync::mpsc::sync_channel(2);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..24 {
                let values = noise(&[SIZES[i % SIZES.len()]], i as u64);
                if give.send(device.send(values.shape(), values.as_slice())).is_err() {
                    return;
                }
            }
        });
        let mut found = Vec::new();
        for (i, array) in take.into_iter().enumerate() {
            let array = array?;
            let mut sum = array.clone();
            sum.add(&array)?;
            found.push(named(&format!("array {i}"), &array));
            found.push(named(&format!("array {i} twice"), &sum));
        }
        Ok(found)
    })
}

fn convolutions() -> Vec<Check> {
    let square = ConvOptions::square;
    let grouped = |groups, options| ConvOptions { groups, ..options };
    let dilated = ConvOptions { dilation: [2, 3], pad: [2, 3], ..ConvOptions::default() };
    let uneven = ConvOptions { stride: [2, 1], pad: [0, 1], ..ConvOptions::default() };
    // n, h, w, c, k, kernel.
    let cases: [([usize; 5], [usize; 2], ConvOptions); 22] = [
        ([1, 1, 1, 1, 1], [1, 1], square(1, 0)),
        ([2, 9, 7, 3, 5], [3, 3], square(1, 1)),
        ([2, 9, 7, 16, 32], [3, 3], square(1, 1)),
        ([3, 14, 14, 64, 64], [3, 3], square(1, 1)),
        ([2, 28, 28, 32, 48], [3, 3], square(2, 1)),
        ([2, 15, 17, 24, 40], [3, 3], square(2, 0)),
        ([2, 32, 32, 3, 64], [7, 7], square(2, 3)),
        ([1, 33, 31, 1, 16], [7, 7], square(2, 3)),
        ([2, 10, 12, 64, 128], [1, 1], square(1, 0)),
        ([2, 11, 9, 64, 128], [1, 1], square(2, 0)),
        ([2, 13, 13, 8, 8], [5, 5], square(3, 2)),
        ([2, 16, 16, 8, 8], [3, 3], square(4, 1)),
        ([2, 12, 15, 16, 16], [3, 3], dilated),
        ([2, 12, 15, 6, 10], [3, 3], uneven),
        ([2, 12, 12, 16, 16], [3, 1], ConvOptions { pad: [1, 0], ..ConvOptions::default() }),
        ([2, 12, 12, 16, 16], [1, 3], ConvOptions { pad: [0, 1], ..ConvOptions::default() }),
        ([2, 9, 9, 16, 32], [3, 3], grouped(2, square(1, 1))),
        ([2, 9, 9, 12, 12], [3, 3], grouped(4, square(2, 1))),
        ([2, 9, 9, 16, 16], [3, 3], grouped(16, square(1, 1))),
        ([1, 20, 22, 33, 33], [3, 3], grouped(33, square(2, 1))),
        ([2, 8, 8, 8, 16], [3, 3], grouped(8, square(1, 1))),
        ([4, 1, 1, 512, 1000], [1, 1], square(1, 0)),
    ];
    let mut all = Vec::new();
    for ([n, h, w, c, k], [kh, kw], options) in cases {
        for (bias, relu, norm) in [
            (false, false, false),
            (true, false, false),
            (true, true, false),
            (false, true, false),
            (true, false, true),
        ] {
            let mut params = parameters(&[("conv.weight", &[kh, kw, c / options.groups, k])]);
            if bias {
                params.insert("conv.bias", Param::weight(noise(&[k], 60)));
            }
            let ConvOptions { stride, groups, dilation, .. } = options;
            let behind = match (relu, norm) {
                (true, _) => ", relu",
                (_, true) => ", norm",
                _ => "",
            };
            let name = format!(
                "conv {kh}x{kw} [{n}, {h}, {w}, {c}] -> {k}, stride {stride:?}, dilation {dilation:?}, groups {groups}{}{behind}",
                if bias { ", bias" } else { "" }
            );
            let options = ConvOptions { relu, norm, ..options };
            all.push(operator(name, CONVOLUTION, params, vec![vec![n, h, w, c]], move |tape, params, x| {
                let bias = bias.then(|| "conv.bias".into());
                Conv2d::new("conv.weight".into(), bias, options).forward(tape, params, &x[0])
            }));
        }
    }
    all
}

fn pools() -> Vec<Check> {
    let mut all = Vec::new();
    for [h, w, c] in [[1, 1, 1], [7, 5, 16], [16, 16, 33], [15, 20, 64]] {
        for (kernel, stride, pad) in [(1, 1, 0), (2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1), (5, 2, 2)] {
            if kernel > h + 2 * pad || kernel > w + 2 * pad {
                continue;
            }
            let (options, shape) = (PoolOptions { kernel, stride, pad }, vec![vec![2, h, w, c]]);
            let name = |what: &str| format!("{what} {kernel}/{stride}/{pad} [2, {h}, {w}, {c}]");
            all.push(operator(name("max-pool"), 0.0, Params::default(), shape.clone(), move |tape, _, x| {
                tape.max_pool(&x[0], options)
            }));
            all.push(operator(name("average-pool"), FEW, Params::default(), shape, move |tape, _, x| {
                tape.average_pool(&x[0], options)
            }));
        }
    }
    for shape in [vec![1, 1, 1, 1], vec![3, 7, 5, 16], vec![2, 112, 113, 24], vec![2, 4, 7, 7, 33]] {
        all.push(operator(
            format!("mean {shape:?}"),
            PRODUCTS,
            Params::default(),
            vec![shape.clone()],
            |tape, _, x| tape.mean_inner(&x[0]),
        ));
        // Its gradient joins another one.
        all.push(operator(
            format!("mean beside a sum {shape:?}"),
            PRODUCTS,
            Params::default(),
            vec![shape],
            |tape, _, x| {
                let gate = tape.mean_inner(&x[0])?;
                tape.gated_sum(&[(&x[0], &gate)])
            },
        ));
    }
    all
}

fn resizes() -> Vec<Check> {
    let mut all = Vec::new();
    let sizes = [
        ([1, 1], [3, 4]),
        ([7, 5], [14, 10]),
        ([7, 5], [3, 2]),
        ([15, 20], [30, 39]),
        ([9, 9], [1, 5]),
        ([6, 8], [5, 7]),
    ];
    for (from, to) in sizes {
        for how in [Resize::Nearest, Resize::Bilinear, Resize::Average] {
            for c in [1, 24] {
                let name = format!("resize {how:?} {from:?} -> {to:?}, {c} channels");
                let shape = vec![vec![2, from[0], from[1], c]];
                all.push(operator(name, FEW, Params::default(), shape, move |tape, _, x| tape.resize(&x[0], to, how)));
            }
        }
    }
    for ([h, w], to) in [([1, 1], [2, 2]), ([1, 1], [1, 1]), ([4, 3], [8, 6]), ([4, 5], [7, 9]), ([15, 20], [30, 40])] {
        for (c, skip) in [(1, false), (13, true), (40, true)] {
            let mut shapes = vec![vec![2, h, w, c]];
            if skip {
                shapes.push(vec![2, to[0], to[1], c]);
            }
            let params = parameters(&[("up.weight", &[3, 3, 1, c]), ("up.bias", &[c])]);
            let name = format!("upsample [2, {h}, {w}, {c}] -> {to:?}{}", if skip { ", skip" } else { "" });
            all.push(operator(name, PRODUCTS, params, shapes, move |tape, params, x| {
                Upsample::new("up.weight".into(), "up.bias".into()).forward(tape, params, &x[0], to, x.get(1))
            }));
        }
    }
    all
}

fn rest() -> Vec<Check> {
    let mut all = Vec::new();
    for shape in [vec![1, 1, 1, 1], vec![2, 7, 5, 16], vec![3, 17, 19, 33]] {
        let (none, one) = (Params::default(), vec![shape.clone()]);
        let gate = vec![shape[0], 1, 1, shape[3]];
        let name = |what: &str| format!("{what} {shape:?}");
        all.push(operator(name("sigmoid"), FEW, none.clone(), one.clone(), |tape, _, x| tape.sigmoid(&x[0])));
        // One value used twice: its gradients are added.
        all.push(operator(name("twice"), FEW, none.clone(), one.clone(), |tape, _, x| {
            let y = tape.sigmoid(&x[0])?;
            tape.concat(&[&x[0], &y])
        }));
        all.push(operator(name("gate"), PRODUCTS, none.clone(), vec![shape.clone(), gate.clone()], |tape, _, x| {
            tape.gated_sum(&[(&x[0], &x[1])])
        }));
        let streams = vec![shape.clone(), gate.clone(), shape.clone(), gate];
        all.push(operator(name("two gates"), PRODUCTS, none.clone(), streams, |tape, _, x| {
            tape.gated_sum(&[(&x[0], &x[1]), (&x[2], &x[3])])
        }));
        let wider = [&shape[..3], &[shape[3] + 3]].concat();
        all.push(operator(name("side by side"), 0.0, none.clone(), vec![shape.clone(), wider], |tape, _, x| {
            tape.concat(&[&x[0], &x[1]])
        }));
        for stride in [1, 2, 3] {
            let name = format!("every {stride} of the second axis {shape:?}");
            all.push(operator(name, 0.0, none.clone(), one.clone(), move |tape, _, x| {
                tape.stride_axis1(&x[0], stride)
            }));
        }
        let flat: usize = shape.iter().product();
        all.push(operator(name("reshape"), 0.0, none, one, move |tape, _, x| tape.reshape(&x[0], &[flat])));
    }
    all.push(Check::new("to a tensor and back", 0.0, |device| {
        let x = noise_at(device, &[3, 4, 5], 1)?;
        let tensor = x.to_tensor()?;
        let moved = Array::from_tensor(&tensor.permute((2, 0, 1)).map_err(NnError::from)?)?;
        Ok(vec![named("same", &Array::from_tensor(&tensor)?), named("permuted", &moved)])
    }));
    all
}
