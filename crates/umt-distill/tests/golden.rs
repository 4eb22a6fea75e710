//! Every formula against a reference of a few lines: losses, gradients, what is remembered, and what becomes of the
//! encoders' gradients. `golden/make_golden.py` made the values in f64 from the same inputs; here everything is f32.

use candle_core::{Device, Tensor, Var};
use serde_json::Value;
use std::collections::BTreeMap;
use umt_distill::{
    Agm, AuxHeads, Dgl, LogitKd, Mla, MmCosine, MmPareto, Objective, Opm, Shape, Smp, TcMax, blend, loss,
};
use umt_distill::{
    Combined, Distance, Feature, GBlend, Losses, ObjectiveConfig, Ogm, OgmGe, Pmr, Ramp, Scale, Targets,
};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{Encoded, FusionConfig, Network, NetworkConfig, Outputs, StepResult, Weights, read_figures};
use umt_media::Modality::{self, Audio, Video};
use umt_nn::{Array, Grads, Params};
use umt_train::{EpochContext, StepContext};

const N: usize = 4;
const WIDTH: usize = 8;
const CLASSES: usize = 3;
const NAMES: [Modality; 2] = [Audio, Video];

/// The script's formula: uniform in [-0.5, 0.5).
fn noise(count: usize, salt: u64, scale: f64) -> Vec<f32> {
    let value = |i: u64| {
        let mut h = i.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503 + 12_345) & 0xffff_ffff;
        for _ in 0..2 {
            h = (h ^ (h >> 16)).wrapping_mul(0x045d_9f3b) & 0xffff_ffff;
        }
        (scale * ((h ^ (h >> 16)) as f64 / 4_294_967_296.0 - 0.5)) as f32
    };
    (0..count as u64).map(value).collect()
}

fn array(shape: &[usize], salt: u64, scale: f64) -> Array {
    Array::from_slice(shape, &noise(shape.iter().product(), salt, scale)).unwrap()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/objectives.json")).unwrap()
}

fn close(what: &str, got: &[f32], expected: &Value) {
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
struct Run {
    objective: Box<dyn Objective>,
    fusion: FusionConfig,
    network: Network,
    total: u64,
}

/// What one step gave.
struct Step {
    result: StepResult,
    by_features: BTreeMap<Modality, Vec<f32>>,
}

impl Run {
    fn new(config: &ObjectiveConfig) -> Self {
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

    fn step(&mut self, step: u64, epoch: u64, labels: &[u32], encoder_grads: Grads, apart: &Grads) -> Step {
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
        let mut result = StepResult { loss: value, log, grads };
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

    fn end_of_epoch(&mut self, epoch: u64) {
        let context = EpochContext { epoch, step: 0, total: self.total, seed: 5, validation: None, stopped: &|| false };
        let buffers = self.objective.end_of_epoch(&self.network, &context).unwrap().unwrap();
        self.network.params_mut().update(buffers).unwrap();
    }

    fn params(&self) -> &Params {
        self.network.params()
    }
}

fn store_of(value: &Tensor) -> candle_core::backprop::GradStore {
    value.backward().unwrap()
}

fn labels(step: u64) -> Vec<u32> {
    (0..N as u64).map(|i| ((step + i * i) % CLASSES as u64) as u32).collect()
}

/// Loss and gradients by features and heads.
fn check(what: &str, step: &Step, golden: &Value) {
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

fn plain(key: &str, config: ObjectiveConfig) {
    let golden = &golden()[key];
    let mut run = Run::new(&config);
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        check(&format!("{key} step {t}"), &step, expected);
    }
}

#[test]
fn features_logits_and_heads_agree_with_the_reference() {
    let feature = |distance, weight| Feature { distance, ..Feature::new(weight) };
    plain("feature-mse", ObjectiveConfig::Feature(Feature::new(10.0)));
    plain("feature-l1", ObjectiveConfig::Feature(feature(Distance::L1, 2.0)));
    plain("feature-cosine", ObjectiveConfig::Feature(feature(Distance::Cosine, 3.0)));
    let ramp = Some(Ramp { from: 1.0, over: 0.5 });
    plain("feature-ramp", ObjectiveConfig::Feature(Feature { ramp, ..Feature::new(5.0) }));
    plain("feature-share", ObjectiveConfig::Feature(Feature { scale: Scale::Share, ..feature(Distance::L1, 0.3) }));
    plain("logit-kd", ObjectiveConfig::LogitKd(LogitKd { weight: 0.4, temperature: 3.0 }));
    plain("aux-heads", ObjectiveConfig::AuxHeads(AuxHeads { weight: 0.7 }));
    plain("mmcosine", ObjectiveConfig::MmCosine(MmCosine { scale: 7.0 }));
}

fn conv(m: Modality) -> String {
    format!("encoder.{m}.conv1.weight")
}

fn norm(m: Modality) -> String {
    format!("encoder.{m}.bn1.weight")
}

/// Gradients of one convolution and one normalisation per encoder.
fn encoder_grads(step: u64) -> Grads {
    let of = |(m, i): (Modality, u64)| {
        [(conv(m), array(&[3, 3, 2, 4], 2000 + 10 * step + i, 1.0)), (norm(m), array(&[5], 2100 + 10 * step + i, 1.0))]
    };
    NAMES.into_iter().zip(0..).flat_map(of).collect()
}

#[test]
fn gradient_modulation_agrees_with_the_reference() {
    let golden = golden();
    let ogm = Ogm { alpha: 0.4, end: Some(u64::MAX), ..Ogm::default() };
    for noisy in [false, true] {
        let config = if noisy { ObjectiveConfig::OgmGe(OgmGe(ogm.clone())) } else { ObjectiveConfig::Ogm(ogm.clone()) };
        let mut run = Run::new(&config);
        for (t, expected) in (0..).zip(golden["ogm"].as_array().unwrap()) {
            let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
            check("ogm", &step, expected);
            for m in NAMES {
                close("ogm norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
                let mut grad = step.result.grads[&conv(m)].as_slice().to_vec();
                if noisy {
                    // What remains without the drawn noise, of the reference's deviation, is the modulated gradient.
                    let deviation = expected[format!("deviation.{m}")].as_f64().unwrap() as f32;
                    let mut rng = umt_random::stream(5, "objective.ogm-ge", t, umt_random::id_hash(&conv(m)));
                    grad.iter_mut().for_each(|g| *g -= deviation * rng.normal());
                }
                close("ogm conv", &grad, &expected[format!("conv.{m}")]);
            }
        }
    }
    // Outside its epochs nothing is modulated.
    let mut late = Run::new(&ObjectiveConfig::Ogm(Ogm { start: 1, end: Some(1), ..ogm }));
    for (epoch, untouched) in [(0, true), (1, false), (2, true)] {
        let step = late.step(0, epoch, &labels(0), encoder_grads(0), &Grads::new());
        assert_eq!(NAMES.iter().all(|m| step.result.grads[&conv(*m)] == encoder_grads(0)[&conv(*m)]), untouched);
    }
}

#[test]
fn prioritisation_disentangling_and_total_correlation_agree_with_the_reference() {
    let golden = golden();
    let mut run = Run::new(&ObjectiveConfig::Smp(Smp { start: 0, end: Some(u64::MAX) }));
    for (t, expected) in (0..).zip(golden["smp"].as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
        check("smp", &step, expected);
        for m in NAMES {
            close("smp norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
            close("smp conv", step.result.grads[&conv(m)].as_slice(), &expected[format!("conv.{m}")]);
        }
    }
    let mut run = Run::new(&ObjectiveConfig::Dgl(Dgl::default()));
    for (t, expected) in (0..).zip(golden["dgl"].as_array().unwrap()) {
        let own = encoder_grads(t + 7);
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &own);
        close("dgl loss", &[step.result.loss], &expected["loss"]);
        close("dgl head", step.result.grads["head.weight"].as_slice(), &expected["head"]);
        close("dgl bias", step.result.grads["head.bias"].as_slice(), &expected["bias"]);
        for m in NAMES {
            close("dgl alone", &[step.result.log[&format!("alone.{m}")]], &expected[format!("alone.{m}")]);
            assert_eq!(step.result.grads[&conv(m)], own[&conv(m)], "the encoder's own loss alone");
            assert_eq!(step.result.grads[&norm(m)], own[&norm(m)], "the encoder's own loss alone");
        }
    }
    plain("tcmax", ObjectiveConfig::TcMax(TcMax::default()));
    let opm = |q, lambda| ObjectiveConfig::Opm(Opm { q, lambda, p: 1.0, warmup: 0.0 });
    plain("opm", opm(1.0, 0.0));
    let mut run = Run::new(&opm(0.5, 0.5));
    for (t, expected) in (0..).zip(golden["opm"].as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        for m in NAMES {
            close("opm q", &[step.result.log[&format!("left-out.{m}")]], &expected[format!("q.{m}")]);
        }
    }
}

/// By default the first half of the run is modulated: steps 0 and 1 of 4.
#[test]
fn modulation_ends_with_half_of_the_run() {
    for config in [ObjectiveConfig::Ogm(Ogm::default()), ObjectiveConfig::OgmGe(OgmGe::default())] {
        let mut run = Run::new(&config);
        for t in 0..4 {
            let step = run.step(t, t, &labels(0), encoder_grads(t), &Grads::new());
            let untouched = NAMES.iter().all(|m| step.result.grads[&conv(*m)] == encoder_grads(t)[&conv(*m)]);
            assert_eq!(untouched, t >= 2, "step {t} of {}", config.kind());
        }
    }
}

#[test]
fn agm_agrees_with_the_reference() {
    let golden = &golden()["agm"];
    let mut run = Run::new(&ObjectiveConfig::Agm(Agm { alpha: 0.8, end: Some(u64::MAX), ..Agm::default() }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        check(&format!("agm step {t}"), &step, expected);
        close("agm scores", run.params().value("objective.agm.scores").unwrap().as_slice(), &expected["scores"]);
    }
}

#[test]
fn pmr_agrees_with_the_reference() {
    let golden = &golden()["pmr"];
    let pmr = Pmr { alpha: 0.9, momentum: 0.2, entropy_weight: 0.05, entropy_epochs: 2 };
    let mut run = Run::new(&ObjectiveConfig::Pmr(pmr));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        if t > 0 && t % 2 == 0 {
            run.end_of_epoch(t / 2 - 1);
        }
        // The third class comes late.
        let labels = labels(t).into_iter().map(|y| if t < 2 { y % 2 } else { y }).collect::<Vec<_>>();
        let step = run.step(t, t / 2, &labels, Grads::new(), &Grads::new());
        check(&format!("pmr step {t}"), &step, expected);
        for m in NAMES.into_iter().filter(|_| t >= 2) {
            let prototypes = run.params().value(&format!("objective.pmr.prototypes.{m}")).unwrap();
            close("pmr prototypes", prototypes.as_slice(), &expected[format!("prototypes.{m}")]);
        }
    }
}

#[test]
fn g_blend_agrees_with_the_reference() {
    let golden = &golden()["g-blend"];
    let given = [("audio", 0.2), ("video", 0.3), ("joint", 0.5)].map(|(n, w)| (n.to_owned(), w));
    let mut run = Run::new(&ObjectiveConfig::GBlend(GBlend { weights: Some(given.into()), every: None }));
    for (t, expected) in (0..).zip(golden["steps"].as_array().unwrap()) {
        check("g-blend", &run.step(t, 0, &labels(t), Grads::new(), &Grads::new()), expected);
    }
    let losses = |value: &Value| Losses { train: value[0].as_f64().unwrap(), validation: value[1].as_f64().unwrap() };
    let pairs = golden["before"].as_array().unwrap().iter().zip(golden["after"].as_array().unwrap());
    let weights = blend(&pairs.map(|(before, after)| [losses(before), losses(after)]).collect::<Vec<_>>()).unwrap();
    close("weights", &weights.iter().map(|w| *w as f32).collect::<Vec<_>>(), &golden["weights"]);
    let risen = [Losses { train: 0.5, validation: 0.5 }, Losses { train: 0.4, validation: 0.6 }];
    assert_eq!(blend(&[risen, risen]), None);
}

#[test]
fn mmpareto_agrees_with_the_reference() {
    let golden = &golden()["mmpareto"];
    let mut run = Run::new(&ObjectiveConfig::MmPareto(MmPareto { gamma: 1.5 }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let sign = if t == 0 { 1.0 } else { -1.0 };
        let sum = |a: &Array, factor: f32, b: &Array| {
            let values: Vec<f32> = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| factor * a + b).collect();
            Array::from_slice(a.shape(), &values).unwrap()
        };
        let own = encoder_grads(t);
        let apart = NAMES.into_iter().zip(0..).flat_map(|(m, i)| {
            [
                (conv(m), sum(&own[&conv(m)], sign, &array(&[3, 3, 2, 4], 2300 + i, 0.3))),
                (norm(m), sum(&own[&norm(m)], 2.0 * sign, &array(&[5], 2310 + i, 0.3))),
            ]
        });
        let apart = apart.collect();
        let step = run.step(t, 0, &labels(t), own.clone(), &apart);
        check(&format!("mmpareto step {t}"), &step, expected);
        for m in NAMES {
            close("weight", &[step.result.log[&format!("weight.{m}")]], &expected[format!("weight.{m}")]);
            close("conv", step.result.grads[&conv(m)].as_slice(), &expected[format!("conv.{m}")]);
            close("norm", step.result.grads[&norm(m)].as_slice(), &expected[format!("norm.{m}")]);
        }
    }
}

#[test]
fn mla_agrees_with_the_reference() {
    let golden = &golden()["mla"];
    let mut run = Run::new(&ObjectiveConfig::Mla(Mla { alpha: 0.1, ..Mla::default() }));
    for (t, expected) in (0..).zip(golden.as_array().unwrap()) {
        let step = run.step(t, 0, &labels(t), Grads::new(), &Grads::new());
        let modality = NAMES[(t % 2) as usize];
        assert_eq!(step.by_features.keys().collect::<Vec<_>>(), [&modality]);
        close("mla loss", &[step.result.loss], &expected["loss"]);
        close("mla features", &step.by_features[&modality], &expected[format!("features.{modality}")]);
        close("mla head", step.result.grads["head.weight"].as_slice(), &expected["projected"]);
        close("mla P", run.params().value("objective.mla.projection").unwrap().as_slice(), &expected["projection"]);
    }
}

/// A combination is the sum of what its parts do.
#[test]
fn umt_with_ogm_ge_has_the_loss_of_one_and_the_gradients_of_the_other() {
    let golden = golden();
    let ogm = ObjectiveConfig::Ogm(Ogm { alpha: 0.4, end: Some(u64::MAX), ..Ogm::default() });
    // The order in the list does not count.
    let of = vec![ogm, ObjectiveConfig::Feature(Feature::new(10.0))];
    let mut run = Run::new(&ObjectiveConfig::Combined(Combined { of }));
    for t in 0..3 {
        let step = run.step(t, 0, &labels(t), encoder_grads(t), &Grads::new());
        check("combined", &step, &golden["feature-mse"][t as usize]);
        for m in NAMES {
            close("conv", step.result.grads[&conv(m)].as_slice(), &golden["ogm"][t as usize][format!("conv.{m}")]);
        }
    }
}
