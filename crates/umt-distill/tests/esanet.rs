//! Segmentation networks of the ESANet family against PyTorch: parameter names and shapes, outputs at four scales, loss, distance to teachers, every
//! gradient, evaluation after one update of the running statistics, and what the RGB encoder sees without depth.
//!
//! `golden/make_esanet_golden.py` made the values in f64; here everything is f32.

use serde_json::Value;
use std::collections::BTreeMap;
use umt_data::{Batch, LabelMaps};
use umt_distill::{Feature, NetworkTask, ObjectiveConfig, PixelLoss};
use umt_encoders::{Block, EncoderConfig, ResNetConfig};
use umt_fusion::{DecoderConfig, Fused, HeadConfig, Logits, Loss, Network, NetworkConfig, Outputs};
use umt_media::Modality::{self, Depth, Rgb};
use umt_nn::{Array, Device, Layout, Role};
use umt_train::{Feed, StepContext, Task};

const CLASSES: usize = 5;
const BATCH: usize = 4;

/// The script's formula: uniform in [-0.5, 0.5).
fn noise(count: usize, salt: u64) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |i| {
        let mut h = i.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503 + 12_345) & 0xffff_ffff;
        for _ in 0..2 {
            h = (h ^ (h >> 16)).wrapping_mul(0x045d_9f3b) & 0xffff_ffff;
        }
        (h ^ (h >> 16)) as f64 / 4_294_967_296.0 - 0.5
    })
}

/// Names of what is learnt, each with its number.
fn salts(network: &Network) -> BTreeMap<String, u64> {
    let weights = network.params().iter().filter(|(_, p)| p.role == Role::Weight);
    weights.zip(0..).map(|((name, _), salt)| (name.clone(), salt)).collect()
}

fn fill(network: &mut Network, first: u64) {
    let mut tensors = network.params().to_tensors();
    // The last batch-norm of each residual branch, which the script damps.
    let last = if tensors.keys().any(|name| name.contains("bn3.")) { "bn3." } else { "bn2." };
    for (name, salt) in salts(network) {
        let (shape, values) = tensors.get_mut(&name).unwrap();
        let (count, fan_in) = (values.len(), values.len() as f64 / shape[0] as f64);
        for (value, n) in values.iter_mut().zip(noise(count, first + salt)) {
            *value = match (shape.len(), name.ends_with("weight")) {
                (1, true) => (if name.contains(last) { 0.25 } else { 1.0 }) * (1.0 + 0.2 * n),
                (1, false) => 0.2 * n,
                _ => n * 12f64.sqrt() * (2.0 / fan_in).sqrt(),
            } as f32;
        }
    }
    network.params_mut().load_tensors(&tensors).unwrap();
}

/// `[n, c, h, w]` of the formula as channels last.
fn picture([c, h, w]: [usize; 3], salt: u64) -> umt_media::Array {
    let mut data = vec![0.0; BATCH * c * h * w];
    for (i, x) in noise(data.len(), salt).enumerate() {
        let (n, channel, device) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        data[(n * h * w + device) * c + channel] = (4.0 * x) as f32;
    }
    umt_media::Array { shape: vec![BATCH, h, w, c], data }
}

fn batch(modalities: &[Modality], [h, w]: [usize; 2], salt: u64) -> Batch {
    let inputs = modalities.iter().map(|&m| {
        let (channels, salt) = if m == Rgb { (3, salt + 1) } else { (1, salt) };
        (m, picture([channels, h, w], salt))
    });
    let label = |x: f64| match ((x + 0.5) * (CLASSES + 1) as f64) as u8 {
        5 => LabelMaps::VOID,
        class => class,
    };
    let data = noise(BATCH * h * w, salt + 2).map(label).collect();
    Batch {
        ids: (0..BATCH).map(|i| i.to_string()).collect(),
        indices: (0..BATCH).collect(),
        labels: Vec::new(),
        inputs: inputs.collect(),
        maps: Some(LabelMaps { shape: [BATCH, h, w], data }),
    }
}

fn arrays(batch: &Batch) -> BTreeMap<Modality, Array> {
    batch.inputs.iter().map(|(m, x)| (*m, Array::from_slice(&x.shape, &x.data).unwrap())).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The script keeps at most 150 values of a map.
fn close(what: &str, got: &Array, expected: &Value, tolerance: f64) {
    let expected = numbers(expected);
    let got = got.as_slice();
    assert_eq!(got.len().min(150), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (i, e) in expected.iter().enumerate() {
        let g = f64::from(got[i * (got.len() - 1) / (expected.len() - 1)]);
        assert!((g - e).abs() <= tolerance * largest, "{what}, value {i}: {g} for {e}");
    }
}

/// Gradients in PyTorch's order.
fn to_disk(array: &Array, layout: Layout) -> Vec<f32> {
    match (layout, array.shape()) {
        (Layout::Conv, &[kh, kw, i, o]) => {
            let at = |n: usize| {
                let (o_, i_, tap) = (n / (i * kh * kw), n / (kh * kw) % i, n % (kh * kw));
                (tap * i + i_) * o + o_
            };
            (0..array.len()).map(|n| array.as_slice()[at(n)]).collect()
        }
        _ => array.as_slice().to_vec(),
    }
}

/// Every stage of an encoder.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

struct Case {
    name: &'static str,
    config: NetworkConfig,
    size: [usize; 2],
    salt: u64,
    smoothing: f32,
    distill: Option<Feature>,
}

fn config(modalities: &[Modality], encoder: impl Fn(usize) -> EncoderConfig, decoder: DecoderConfig) -> NetworkConfig {
    let channels = |m: Modality| if m == Rgb { 3 } else { 1 };
    let encoders = modalities.iter().map(|&m| (m, encoder(channels(m)))).collect();
    NetworkConfig { encoders, head: decoder.into(), classes: CLASSES }
}

fn resnet(channels: usize, width: usize) -> ResNetConfig {
    ResNetConfig { channels, width, ..ResNetConfig::default() }
}

fn cases() -> Vec<Case> {
    let basic = |channels| EncoderConfig::Resnet18(resnet(channels, 8));
    let flat =
        |channels| EncoderConfig::Resnet18(ResNetConfig { block: Block::NonBottleneck1d, ..resnet(channels, 8) });
    let bottleneck = |channels| EncoderConfig::Resnet50(resnet(channels, 4));
    let small = DecoderConfig { widths: [24, 16, 12], blocks: 1, ..DecoderConfig::default() };
    let decoder = DecoderConfig { fused: Fused::Decoder, widths: [32, 16, 8], blocks: 2, ..DecoderConfig::default() };
    let excited = DecoderConfig { squeeze_excite: true, ..small.clone() };
    let distill = Some(Feature { stages: [0, 1, 3, 4].into(), ..Feature::new(0.7) });
    let case = |name, config, size, salt, smoothing, distill| Case { name, config, size, salt, smoothing, distill };
    vec![
        case("basic-rgb", config(&[Depth, Rgb], basic, small), [96, 128], 5, 0.0, distill),
        case("flat-decoder", config(&[Depth, Rgb], flat, decoder), [70, 99], 27, 0.1, None),
        case("bottleneck-depth", config(&[Depth], bottleneck, excited), [97, 64], 19, 0.0, None),
    ]
}

fn check(golden: &Value, case: &Case) {
    let Case { name, ref config, size, salt, smoothing, ref distill } = *case;
    let mut network = Network::new(config, 1).unwrap();
    fill(&mut network, 0);
    let modalities: Vec<Modality> = network.modalities().collect();
    let batch = batch(&modalities, size, salt);
    let inputs = arrays(&batch);

    // Outputs of training, seen by an objective that wants nothing.
    let mut seen = Vec::new();
    let mut watched = Network::new(config, 1).unwrap();
    fill(&mut watched, 0);
    let mut watch = |outputs: Outputs<'_>| {
        let Logits::Maps(maps) = &outputs.logits else { panic!("a class for every pixel") };
        seen = maps.iter().map(|map| map.array().clone()).collect();
        let zeros = maps.iter().map(|map| (map.clone(), Array::zeros(map.shape()))).collect();
        Ok(Loss::from(outputs.term(0.0, zeros)?))
    };
    watched.train_step(&inputs, &mut watch).unwrap();
    for (scale, (got, expected)) in seen.iter().zip(golden["outputs"].as_array().unwrap()).enumerate() {
        close(&format!("{name} output {scale}"), got, expected, 1e-4);
    }

    let teachers: Vec<Network> = match distill {
        None => Vec::new(),
        Some(_) => (modalities.iter().zip([2000, 3000]))
            .map(|(&m, first)| {
                let encoders = BTreeMap::from([(m, config.encoders[&m].clone())]);
                let mut teacher = Network::new(&NetworkConfig { encoders, ..config.clone() }, 1).unwrap();
                fill(&mut teacher, first);
                teacher
            })
            .collect(),
    };
    let loss = PixelLoss { class_weights: Some(vec![0.5, 1.0, 1.5, 0.25, 2.0]), label_smoothing: smoothing };
    let borrowed = teachers.iter().collect();
    let salts = salts(&network);
    let objective = distill.clone().map_or(ObjectiveConfig::Task, ObjectiveConfig::Feature).build();
    let mut task = NetworkTask::new(network, objective, borrowed, 1).unwrap().with_pixel_loss(loss).unwrap();
    let step = task
        .step(&Feed::new(batch, &Device::Cpu).unwrap(), &StepContext { step: 0, total: 1, epoch: 0, seed: 1 })
        .unwrap();
    for (scale, value) in ["1", "1/8", "1/16", "1/32"].iter().zip(numbers(&golden["values"])) {
        let got = f64::from(step.log[&format!("task.{scale}")]);
        assert!((got - value).abs() < 1e-5 * value, "{name}: loss at {scale} is {got}, expected {value}");
    }
    let value = golden["loss"].as_f64().unwrap();
    assert!((f64::from(step.loss) - value).abs() < 1e-5 * value, "{name}: loss {} for {value}", step.loss);

    let expected_grads = golden["grads"].as_object().unwrap();
    assert_eq!(expected_grads.len(), step.grads.len(), "{name}");
    let all: f64 = expected_grads.values().map(|v| numbers(v)[0].powi(2)).sum::<f64>().sqrt();
    let (mut error, mut worst) = (0.0, (0.0, ""));
    for (parameter, grad) in &step.grads {
        let expected = numbers(&expected_grads[parameter]);
        let values = to_disk(grad, task.params().get(parameter).unwrap().layout);
        let length = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let along: f64 =
            values.iter().zip(noise(values.len(), salts[parameter] + 1000)).map(|(g, d)| f64::from(*g) * d).sum();
        // The direction's own length is about sqrt(n / 12).
        let unit = (values.len() as f64 / 12.0).sqrt();
        let off = ((length - expected[0]).powi(2) + ((along - expected[1]) / unit).powi(2)).sqrt();
        error += off * off;
        // Biases in front of a batch-norm have no gradient but rounding, so the whole gradient is a measure too.
        let relative = off / (expected[0] + 1e-4 * all);
        if relative > worst.0 {
            worst = (relative, parameter);
        }
    }
    assert!(worst.0 < 2e-3, "{name}: gradient of {} off by {}", worst.1, worst.0);
    assert!(error.sqrt() < 1e-4 * all, "{name}: gradients off by {}", error.sqrt() / all);

    let network = task.into_network();
    close(&format!("{name} evaluation"), &network.logits(&inputs).unwrap(), &golden["eval_logits"], 1e-4);
    for (modality, maps) in network.maps(&inputs, &ALL.into()).unwrap() {
        for (stage, map) in &maps {
            let expected = &golden["eval_maps"][modality.name()][*stage];
            close(&format!("{name} {modality}, stage {stage}"), map, expected, 1e-4);
        }
    }
    if let Some(expected) = golden["alone"].as_object().filter(|maps| !maps.is_empty()) {
        for (stage, map) in &network.maps_alone(Rgb, &inputs[&Rgb], &ALL.into()).unwrap() {
            close(&format!("{name} rgb alone, stage {stage}"), map, &expected[&stage.to_string()], 1e-4);
        }
    }
}

#[test]
fn networks_losses_and_teachers_agree_with_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("golden/esanet.json")).unwrap();
    for case in cases() {
        check(&golden[case.name], &case);
    }
}

/// Each entry of the published list, and no other; then the same tensors with the published counters load.
#[test]
fn published_checkpoints_fit() {
    let mut lists: Vec<Vec<(String, String)>> = Vec::new();
    for line in include_str!("golden/esanet-parameters.txt").lines() {
        match (line.starts_with('#'), line.split_once(' '), lists.last_mut()) {
            (true, ..) => lists.push(Vec::new()),
            (false, Some((name, shape)), Some(list)) => list.push((name.to_owned(), shape.to_owned())),
            _ => {}
        }
    }
    let published = |block, encoder: fn(ResNetConfig) -> EncoderConfig| {
        let encoders = [(Rgb, 3), (Depth, 1)].map(|(m, c)| (m, encoder(ResNetConfig { block, ..resnet(c, 64) })));
        NetworkConfig { encoders: encoders.into(), head: HeadConfig::Decoder(DecoderConfig::default()), classes: 40 }
    };
    let configs =
        [published(Block::Basic, EncoderConfig::Resnet18), published(Block::NonBottleneck1d, EncoderConfig::Resnet34)];
    assert_eq!(lists.len(), configs.len());
    for (mut list, config) in lists.into_iter().zip(configs) {
        let mut network = Network::new(&config, 1).unwrap();
        let mut tensors = network.params().to_tensors();
        let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let own: Vec<(String, String)> = tensors.iter().map(|(name, (s, _))| (name.clone(), shape(s))).collect();
        list.sort();
        assert_eq!(own, list);
        for (name, _) in list.iter().filter(|(name, _)| name.ends_with("running_var")) {
            tensors.insert(name.replace("running_var", "num_batches_tracked"), (Vec::new(), vec![7.0]));
        }
        network.load(tensors.clone()).unwrap();
        tensors.remove("decoder.conv_out.bias");
        let message = network.load(tensors.clone()).unwrap_err().to_string();
        assert!(message.contains("missing [decoder.conv_out.bias]"), "{message}");
    }
}
