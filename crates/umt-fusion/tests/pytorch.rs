//! Encoders and fusions against PyTorch and torchvision: logits, loss, every gradient, and the
//! evaluation-mode logits after one update of the running statistics.
//!
//! `golden/make_golden.py` made the values in f64; here everything is f32.

mod common;

use common::{close, noise, numbers, picture};
use serde_json::Value;
use std::collections::BTreeMap;
use umt_encoders::{EncoderConfig, R2Plus1dConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Loss, Network, NetworkConfig, Outputs};
use umt_media::Modality::{self, Audio, Video};
use umt_nn::{Array, Layout, Role};

/// torchvision's name of a parameter: one encoder with its classifier has no prefix there.
fn reference_name(name: &str, single: bool) -> String {
    if !single {
        return name.to_owned();
    }
    let bare = name.trim_start_matches("encoder.audio.").trim_start_matches("encoder.video.");
    bare.replace("head.", "fc.")
}

fn salts(network: &Network, single: bool) -> BTreeMap<String, u64> {
    let weights = network.params().iter().filter(|(_, p)| p.role == Role::Weight);
    let mut names: Vec<(String, String)> =
        weights.map(|(name, _)| (reference_name(name, single), name.clone())).collect();
    names.sort();
    (0..).zip(names).map(|(salt, (_, name))| (name, salt)).collect()
}

/// Gradients and weights in PyTorch's order.
fn to_disk(array: &Array, layout: Layout) -> Vec<f32> {
    match (layout, array.shape()) {
        (Layout::Conv, &[kh, kw, i, o]) => {
            let mut out = Vec::with_capacity(array.len());
            for o_ in 0..o {
                for i_ in 0..i {
                    for tap in 0..kh * kw {
                        out.push(array.as_slice()[(tap * i + i_) * o + o_]);
                    }
                }
            }
            out
        }
        _ => array.as_slice().to_vec(),
    }
}

fn fill(network: &mut Network, salts: &BTreeMap<String, u64>) {
    let mut tensors = network.params().to_tensors();
    for (name, &salt) in salts {
        let (shape, values) = tensors.get_mut(name).unwrap();
        let fan_in = values.len() as f64 / shape[0] as f64;
        let many = shape.len() > 1;
        let count = values.len();
        for (value, n) in values.iter_mut().zip(noise(count, salt)) {
            *value = if many {
                (n * 12f64.sqrt() * (2.0 / fan_in).sqrt()) as f32
            } else if name.ends_with("weight") {
                ((if name.contains("bn3.") || name.contains("conv2.1.") { 0.25 } else { 1.0 }) * (1.0 + 0.2 * n)) as f32
            } else {
                (0.2 * n) as f32
            };
        }
    }
    network.params_mut().load_tensors(&tensors).unwrap();
}

fn check(name: &str, golden: &Value, config: &NetworkConfig, inputs: &BTreeMap<Modality, Array>, single: bool) {
    let mut network = Network::new(config, 1).unwrap();
    let salts = salts(&network, single);
    fill(&mut network, &salts);
    let labels = candle_core::Tensor::from_slice(&[0u32, 3, 4], 3, &candle_core::Device::Cpu).unwrap();
    let mut logits = Vec::new();
    let mut objective = |outputs: Outputs| {
        let rows = outputs.tensor(&outputs.logits)?;
        logits = rows.flatten_all()?.to_vec1::<f32>()?;
        let value = candle_nn::loss::cross_entropy(&rows, &labels)?;
        Ok(Loss::from(value))
    };
    let step = network.train_step(inputs, &mut objective).unwrap();
    close(&format!("{name} logits"), &logits, &numbers(&golden["logits"]), 2e-4);
    let loss = golden["loss"].as_f64().unwrap();
    assert!((f64::from(step.loss) - loss).abs() < 1e-4 * loss, "{name}: loss {} for {loss}", step.loss);

    let golden_grads = golden["grads"].as_object().unwrap();
    assert_eq!(golden_grads.len(), step.grads.len(), "{name}");
    // All gradients together: what a step of descent would move.
    let (mut error, mut norm, mut wrong) = (0.0, 0.0, Vec::new());
    for (parameter, grad) in &step.grads {
        let expected = numbers(&golden_grads[&reference_name(parameter, single)]);
        let values = to_disk(grad, network.params().get(parameter).unwrap().layout);
        let length = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let along: f64 =
            values.iter().zip(noise(values.len(), salts[parameter] + 1000)).map(|(g, d)| f64::from(*g) * d).sum();
        // The direction's own length is about sqrt(n / 12).
        let unit = (values.len() as f64 / 12.0).sqrt();
        let off = ((length - expected[0]).powi(2) + ((along - expected[1]) / unit).powi(2)).sqrt();
        // A ReLU that rounding switches would show here; the inputs are such that none does.
        if off > 2e-3 * expected[0] + 1e-7 {
            wrong.push(format!("{parameter}: {length}, {along} for {expected:?}"));
        }
        error += off * off;
        norm += expected[0] * expected[0];
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    let error = (error / norm).sqrt();
    assert!(error < 1e-4, "{name}: gradients off by {error}");
    let after = network.logits(inputs).unwrap();
    close(&format!("{name} evaluation"), after.as_slice(), &numbers(&golden["eval_logits"]), 2e-4);
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/networks.json")).unwrap()
}

#[test]
fn encoders_agree_with_torchvision() {
    let golden = golden();
    let large = |channels, width| ResNetConfig { channels, width, stem: Stem::Large, ..ResNetConfig::default() };
    let cases: Vec<(&str, EncoderConfig, Array)> = vec![
        ("resnet18", EncoderConfig::Resnet18(large(3, 64)), picture(&[3, 3, 70, 66], 7)),
        ("resnet34", EncoderConfig::Resnet34(large(2, 8)), picture(&[3, 2, 66, 64], 7)),
        ("resnet50", EncoderConfig::Resnet50(large(1, 8)), picture(&[3, 1, 64, 70], 17)),
        (
            "resnet18-3x3",
            EncoderConfig::Resnet18(ResNetConfig {
                channels: 1,
                width: 64,
                stem: Stem::Small,
                ..ResNetConfig::default()
            }),
            picture(&[3, 1, 33, 40], 7),
        ),
        ("resnet18-frames", EncoderConfig::Resnet18(large(3, 8)), picture(&[3, 2, 3, 64, 60], 18)),
        ("r2plus1d18", EncoderConfig::R2plus1d18(R2Plus1dConfig::default()), time_second(&[3, 3, 5, 24, 24], 9)),
    ];
    for (name, encoder, input) in cases {
        let config = NetworkConfig {
            encoders: BTreeMap::from([(Video, encoder)]),
            head: FusionConfig::Concat.into(),
            classes: 5,
        };
        check(name, &golden["encoders"][name], &config, &BTreeMap::from([(Video, input)]), true);
    }
}

/// PyTorch's video order `[n, c, t, h, w]` as `[n, t, h, w, c]`.
fn time_second(shape: &[usize; 5], salt: u64) -> Array {
    let [n, c, t, h, w] = *shape;
    let values: Vec<f32> = noise(n * c * t * h * w, salt).map(|x| (4.0 * x) as f32).collect();
    let mut out = vec![0.0; values.len()];
    for (i, value) in values.into_iter().enumerate() {
        let (device, time, channel) = (i % (h * w), i / (h * w) % t, i / (h * w * t) % c);
        let sample = i / (h * w * t * c);
        out[((sample * t + time) * h * w + device) * c + channel] = value;
    }
    Array::from_slice(&[n, t, h, w, c], &out).unwrap()
}

#[test]
fn fusions_agree_with_pytorch() {
    let golden = golden();
    let small = |channels| {
        EncoderConfig::Resnet18(ResNetConfig { channels, width: 4, stem: Stem::Small, ..ResNetConfig::default() })
    };
    for (name, fusion) in FusionConfig::examples() {
        let salt = if name == "cross-attention" { 20 } else { 10 };
        let inputs =
            BTreeMap::from([(Audio, picture(&[3, 1, 32, 36], salt)), (Video, picture(&[3, 2, 3, 32, 32], salt + 1))]);
        let config = NetworkConfig {
            encoders: BTreeMap::from([(Audio, small(1)), (Video, small(3))]),
            head: fusion.into(),
            classes: 5,
        };
        let values = &golden["fusions"][name];
        assert!(values.is_object(), "golden/make_golden.py has no reference for {name}");
        check(name, values, &config, &inputs, false);
    }
}
