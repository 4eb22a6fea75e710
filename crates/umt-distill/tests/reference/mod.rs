//! The inputs of the reference script, and an objective run on them step by step.

use candle_core::{Device, Tensor, Var};
use serde_json::Value;
use std::collections::BTreeMap;
use umt_distill::{Objective, ObjectiveConfig, Shape, Targets, loss};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{Encoded, FusionConfig, Network, NetworkConfig, Outputs, StepResult, Weights, read_figures};
use umt_media::Modality::{self, Audio, Video};
use umt_nn::{Array, Grads, Params};
use umt_train::{EpochContext, StepContext};

pub const N: usize = 4;
pub const WIDTH: usize = 8;
pub const CLASSES: usize = 3;
pub const NAMES: [Modality; 2] = [Audio, Video];

/// The script's formula: uniform in [-0.5, 0.5).
pub fn noise(count: usize, salt: u64, scale: f64) -> Vec<f32> {
    let value = |i: u64| {
        let mut h = i.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503 + 12_345) & 0xffff_ffff;
        for _ in 0..2 {
            h = (h ^ (h >> 16)).wrapping_mul(0x045d_9f3b) & 0xffff_ffff;
        }
        (scale * ((h ^ (h >> 16)) as f64 / 4_294_967_296.0 - 0.5)) as f32
    };
    (0..count as u64).map(value).collect()
}

pub fn array(shape: &[usize], salt: u64, scale: f64) -> Array {
    Array::from_slice(shape, &noise(shape.iter().product(), salt, scale)).unwrap()
}

pub fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/objectives.json")).unwrap()
}

pub fn close(what: &str, got: &[f32], expected: &Value) {
    let one = [expected.clone()];
    let expected: Vec<f64> =
        expected.as_array().map_or(&one[..], Vec::as_slice).iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (g, e) in got.iter().zip(&expected) {
        assert!((f64::from(*g) - e).abs() <= 3e-5 * largest, "{what}: {g} for {e}");
    }
}

/// An objective over several steps, as training would run it, on features of the formula.
pub struct Run {
    pub objective: Box<dyn Objective>,
    pub fusion: FusionConfig,
    pub network: Network,
    pub total: u64,
}

/// What one step gave.
pub struct Step {
    pub result: StepResult,
    pub by_features: BTreeMap<Modality, Vec<f32>>,
}

impl Run {
    pub fn new(config: &ObjectiveConfig) -> Self {
        let objective = config.build();
        objective.check().unwrap();
        let fusion = objective.fusion(&FusionConfig::Concat).unwrap();
        let encoder = |channels| {
            EncoderConfig::Resnet18(ResNetConfig { channels, width: 1, stem: Stem::Small, ..ResNetConfig::default() })
        };
        let encoders = [(Audio, encoder(1)), (Video, encoder(3))].into();
        let mut network =
            Network::new(&NetworkConfig { encoders, head: fusion.clone().into(), classes: CLASSES }, 1).unwrap();
        let shape = Shape { widths: network.shapes().widths(), classes: CLASSES, dense: false };
        objective.init(network.params_mut(), &shape, &mut umt_random::stream(1, "test", 0, 0)).unwrap();
        for (name, param) in network.params_mut().iter_mut() {
            let index = u64::from(name.contains("video"));
            let salt = match name.as_str() {
                "head.weight" if fusion == FusionConfig::Concat => 1000,
                "head.bias" if fusion == FusionConfig::Concat => 1001,
                "head.bias" => 1020,
                n if n.ends_with(".bias") && n.starts_with("objective.head.") => 1020 + index,
                n if n.starts_with("head.") || n.starts_with("objective.head.") => 1010 + index,
                _ => continue,
            };
            param.value = array(param.value.shape(), salt, 2.0);
        }
        Self { objective, fusion, network, total: 4 }
    }

    pub fn step(&mut self, step: u64, epoch: u64, labels: &[u32], encoder_grads: Grads, apart: &Grads) -> Step {
        let context = StepContext { step, total: self.total, epoch, seed: 5 };
        let tensor = |columns: usize, salt: u64, scale: f64| {
            Tensor::from_vec(noise(N * columns, 10 * step + salt, scale), (N, columns), &Device::Cpu).unwrap()
        };
        let targets = Targets {
            teachers: NAMES.into_iter().zip([tensor(WIDTH, 3, 2.0), tensor(WIDTH, 4, 2.0)]).collect(),
            logits: vec![tensor(CLASSES, 5, 6.0), tensor(CLASSES, 6, 6.0)],
            alone: NAMES.into_iter().zip([tensor(CLASSES, 5, 6.0), tensor(CLASSES, 6, 6.0)]).collect(),
            ..Targets::of(Tensor::from_slice(labels, N, &Device::Cpu).unwrap())
        };
        let running = self.objective.encoders(&NAMES, &context);
        let variables: BTreeMap<Modality, Var> = NAMES
            .into_iter()
            .zip(0..)
            .filter(|(m, _)| running.contains(m))
            .map(|(m, i)| (m, Var::from_tensor(&tensor(WIDTH, i, 2.0)).unwrap()))
            .collect();
        let encoded = Encoded::of(variables.iter().map(|(m, v)| (*m, v.as_tensor().clone())).collect());
        let weights = Weights::of(self.network.params()).unwrap();
        let fusion = self.fusion.build();
        let outputs = Outputs::new(fusion.as_ref(), &weights, self.network.params(), encoded).unwrap();
        let loss = loss(self.objective.as_ref(), outputs, &targets, context).unwrap();

        let store = loss.value.backward().unwrap();
        let mut grads = weights.grads(&store).unwrap();
        grads.extend(encoder_grads);
        let mut others = BTreeMap::new();
        for (name, value) in &loss.apart {
            let mut own = weights.grads(&value.backward().unwrap()).unwrap();
            own.extend(apart.iter().filter(|(n, _)| n.contains(name.as_str())).map(|(n, g)| (n.clone(), g.clone())));
            others.insert(name.clone(), own);
        }
        let (value, log) = read_figures(&loss.value, loss.log, loss.figures).unwrap();
        let mut result = StepResult { loss: value, log, grads, squares: None };
        for finish in loss.finish {
            finish(&mut result, &others).unwrap();
        }
        self.network.params_mut().update(loss.buffers).unwrap();
        // The scalar and the losses apart, as far as they reach the features.
        let mut by_features = BTreeMap::new();
        for (m, variable) in &variables {
            let mut sum = vec![0.0; N * WIDTH];
            let stores: Vec<_> =
                loss.apart.values().map(|value| value.backward().unwrap()).chain([store_of(&loss.value)]).collect();
            for grad in stores.iter().filter_map(|store| store.get(variable)) {
                let values = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                sum.iter_mut().zip(values).for_each(|(s, x)| *s += x);
            }
            by_features.insert(*m, sum);
        }
        Step { result, by_features }
    }

    pub fn end_of_epoch(&mut self, epoch: u64) {
        let context = EpochContext { epoch, step: 0, total: self.total, seed: 5, validation: None, stopped: &|| false };
        let buffers = self.objective.end_of_epoch(&self.network, &context).unwrap().unwrap();
        self.network.params_mut().update(buffers).unwrap();
    }

    pub fn params(&self) -> &Params {
        self.network.params()
    }
}

pub fn store_of(value: &Tensor) -> candle_core::backprop::GradStore {
    value.backward().unwrap()
}

pub fn labels(step: u64) -> Vec<u32> {
    (0..N as u64).map(|i| ((step + i * i) % CLASSES as u64) as u32).collect()
}

/// Loss and gradients by features and heads.
pub fn check(what: &str, step: &Step, golden: &Value) {
    close(&format!("{what} loss"), &[step.result.loss], &golden["loss"]);
    for (modality, grad) in &step.by_features {
        close(&format!("{what} {modality}"), grad, &golden[format!("features.{modality}")]);
    }
    for (name, key) in [("head.weight", "head"), ("head.bias", "bias")] {
        let expected = &golden[key];
        if let Some(grad) = step.result.grads.get(name).filter(|g| g.len() == expected.as_array().unwrap().len()) {
            close(&format!("{what} {name}"), grad.as_slice(), expected);
        }
    }
    for m in NAMES {
        for name in [format!("objective.head.{m}.weight"), format!("head.{m}.weight")] {
            if let Some(grad) = step.result.grads.get(&name) {
                close(&format!("{what} {name}"), grad.as_slice(), &golden[format!("own.{m}")]);
            }
        }
    }
}

pub fn plain(key: &str, config: ObjectiveConfig) {
    let golden = &golden()[key];
    let mut run = Run::new(&config);
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        check(&format!("{key} step {t}"), &step, expected);
    }
}
