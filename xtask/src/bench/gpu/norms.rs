//! Checks of batch-norm, losses, optimisers and sums.

use super::operators::operator;
use super::parity::{Check, Values, named, noise, noise_at};
use umt_nn::layers::{BatchNorm2d, Conv2d, ConvNorm};
use umt_nn::optim::{OptimizerConfig, clip_grad_norm};
use umt_nn::{Array, BatchNormOptions, ConvOptions, Device, Grads, Param, Params, Tape, compute};

const ROUNDING: f64 = 2e-5;

pub fn checks() -> Vec<Check> {
    let mut all = batch_norms();
    all.extend(evaluations());
    all.extend(losses());
    all.extend(optimizers());
    all.extend(sums());
    all
}

fn norm(channels: usize) -> Params {
    let mut params = Params::default();
    params.insert("bn.weight", Param::weight(noise(&[channels], 70)));
    params.insert("bn.bias", Param::weight(noise(&[channels], 71)));
    params.insert("bn.running_mean", Param::statistic(noise(&[channels], 72)));
    let mut var = noise(&[channels], 73);
    var.make_mut().iter_mut().for_each(|v| *v = 0.5 + v.abs());
    params.insert("bn.running_var", Param::statistic(var));
    params
}

/// The batch-norm over the parameters of [`norm`].
fn bn(options: BatchNormOptions) -> BatchNorm2d {
    let keys = |names: [&str; 2]| names.map(|name| format!("bn.{name}").into());
    BatchNorm2d::new(keys(["weight", "bias"]), keys(["running_mean", "running_var"]), options)
}

fn batch_norms() -> Vec<Check> {
    let mut all = Vec::new();
    for shape in [vec![3, 1, 1, 1], vec![2, 3, 5, 7], vec![4, 14, 14, 64], vec![2, 57, 55, 33], vec![8, 512]] {
        for (relu, skip) in [(false, false), (true, false), (false, true), (true, true)] {
            let channels = shape[shape.len() - 1];
            let shapes = if skip { vec![shape.clone(), shape.clone()] } else { vec![shape.clone()] };
            let then = format!("{}{}", if skip { " + skip" } else { "" }, if relu { ", relu" } else { "" });
            let options = BatchNormOptions { relu, ..BatchNormOptions::default() };
            let name = format!("batch-norm {shape:?}{then}");
            all.push(operator(name, ROUNDING, norm(channels), shapes, move |tape, params, x| {
                bn(options).forward(tape, params, x[0].clone(), x.get(1))
            }));
        }
    }
    // A large mean does not swallow a small variance.
    all.push(operator("batch-norm far from 0".into(), 1e-3, norm(16), vec![vec![2, 9, 9, 16]], |tape, params, x| {
        let mut far = x[0].array().clone();
        far.make_mut().iter_mut().for_each(|v| *v = 1000.0 + 0.01 * *v);
        let far = far.to_device(&x[0].array().device())?;
        let far = tape.leaf(far);
        bn(BatchNormOptions::default()).forward(tape, params, far, None)
    }));
    all
}

fn evaluations() -> Vec<Check> {
    let mut all = Vec::new();
    for (skip, relu) in [(false, false), (false, true), (true, true)] {
        let name = format!("convolution and batch-norm in evaluation{}{}", mark(skip, ", skip"), mark(relu, ", relu"));
        all.push(Check::new(name, ROUNDING, move |device| {
            let mut params = norm(24);
            params.insert("conv.weight", Param::conv(noise(&[3, 3, 16, 24], 74)));
            params.insert("conv.bias", Param::weight(noise(&[24], 75)));
            params.to_device(device)?;
            let mut tape = Tape::eval();
            let x = tape.input(noise_at(device, &[2, 11, 13, 16], 1)?);
            let added = tape.input(noise_at(device, &[2, 11, 13, 24], 2)?);
            let options = BatchNormOptions { relu, ..BatchNormOptions::default() };
            let conv = Conv2d::new("conv.weight".into(), Some("conv.bias".into()), ConvOptions::square(1, 1));
            let y = ConvNorm::new(conv, bn(options))?.forward(&mut tape, &params, &x, skip.then_some(&added))?;
            Ok(vec![named("output", y.array())])
        }));
    }
    all
}

fn mark(holds: bool, text: &str) -> &str {
    if holds { text } else { "" }
}

fn losses() -> Vec<Check> {
    let mut all = Vec::new();
    for (rows, classes) in [(1, 2), (7, 5), (2000, 13), (4097, 40), (64, 255)] {
        for (weighted, smoothing) in [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.2)] {
            let name =
                format!("cross-entropy [{rows}, {classes}]{}, smoothing {smoothing}", mark(weighted, ", weighted"));
            all.push(Check::new(name, ROUNDING, move |device| {
                let logits = noise_at(device, &[rows, classes], 1)?;
                // Every ninth row is void, the first is not.
                let label = |i: usize| if i % 9 == 8 { 255 } else { (i * 7 % classes) as u8 };
                let labels: Vec<u8> = (0..rows).map(label).collect();
                let weights: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32 / classes as f32).collect();
                let weights = weighted.then_some(&weights[..]);
                let (result, grad) = compute::cross_entropy(&logits, &labels, weights, smoothing, true)?;
                let (alone, _) = compute::cross_entropy(&logits, &labels, weights, smoothing, false)?;
                let mut values: Values = grad.iter().map(|grad| named("gradient", grad)).collect();
                values.push(("loss".into(), vec![result.mean() as f32, alone.mean() as f32]));
                Ok(values)
            }));
        }
    }
    for len in [1, 1000, 100_003] {
        all.push(Check::new(format!("squared distance of {len}"), ROUNDING, move |device| {
            let (a, b) = (noise_at(device, &[len], 1)?, noise_at(device, &[len], 2)?);
            let (sum, grad) = compute::squared_distance(&a, &b, 0.25)?;
            Ok(vec![("sum".into(), vec![sum as f32]), named("gradient", &grad)])
        }));
    }
    all
}

fn optimizers() -> Vec<Check> {
    let sgd = |momentum, nesterov| OptimizerConfig::Sgd { momentum, nesterov, weight_decay: 1e-2 };
    let adamw = OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 1e-2 };
    let all = [("SGD", sgd(0.0, false)), ("momentum", sgd(0.9, false)), ("Nesterov", sgd(0.9, true)), ("AdamW", adamw)];
    let check = |(name, config): (&str, OptimizerConfig)| {
        Check::new(format!("five steps of {name}"), ROUNDING, move |device| steps(device, &config))
    };
    all.into_iter().map(check).collect()
}

/// Five steps with clipped gradients, the state saved and put back after the second.
fn steps(device: &Device, config: &OptimizerConfig) -> anyhow::Result<Values> {
    let shapes: [(&str, &[usize]); 3] = [("a", &[1]), ("b", &[33, 17]), ("c", &[3, 3, 16, 31])];
    let mut params = Params::default();
    for (i, (name, shape)) in shapes.iter().enumerate() {
        params.insert(*name, Param::weight(noise(shape, i as u64)));
    }
    params.to_device(device)?;
    let (mut optimizer, mut norms) = (config.build()?, Vec::new());
    for step in 0..5 {
        let mut grads = Grads::new();
        for (i, (name, shape)) in shapes.iter().enumerate() {
            grads.insert((*name).into(), noise_at(device, shape, 10 * (step + 1) + i as u64)?);
        }
        norms.push(clip_grad_norm(&mut grads, 20.0)?);
        optimizer.step(&mut params, &grads, 0.05)?;
        if step == 1 {
            let state = optimizer.state();
            optimizer = config.build()?;
            optimizer.load_state(state)?;
        }
    }
    let mut values: Values = params.iter().map(|(name, param)| named(name, &param.value)).collect();
    values.extend(optimizer.state().iter().map(|(name, array)| named(name, array)));
    values.push(("norms".into(), norms));
    Ok(values)
}

fn sums() -> Vec<Check> {
    let squares = Check::new("sums of squares", 1e-6, |device| {
        let lengths = [1, 31, 4096, 1_000_003];
        let arrays: Vec<Array> = lengths.iter().map(|&n| noise_at(device, &[n], n as u64)).collect::<Result<_, _>>()?;
        let sums = compute::Sums::of_squares(&arrays.iter().collect::<Vec<_>>())?.read()?;
        Ok(sums.iter().enumerate().map(|(i, sum)| (format!("sum {i}"), vec![*sum as f32])).collect())
    });
    let finite = Check::new("what is not finite", 0.0, |device| {
        let mut all = Vec::new();
        for (i, bad) in [None, Some(f32::NAN), Some(f32::INFINITY), Some(f32::NEG_INFINITY)].into_iter().enumerate() {
            let mut array = noise(&[10_001], i as u64);
            array.make_mut()[if i == 1 { 0 } else { 10_000 }] = bad.unwrap_or(f32::MAX);
            all.push(array.to_device(device)?);
        }
        let finite = compute::all_finite(&all.iter().collect::<Vec<_>>())?;
        Ok(vec![("finite".into(), finite.into_iter().map(|f| f32::from(u8::from(f)) + 1.0).collect())])
    });
    vec![squares, finite]
}
