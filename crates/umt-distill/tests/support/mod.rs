//! Networks and batches small enough to train in milliseconds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use umt_data::{Batch, DataError};
use umt_distill::{JOINT, Losses, NetworkTask, ObjectiveConfig, blend};
use umt_encoders::{EncoderConfig, ResNetConfig, Stem};
use umt_fusion::{FusionConfig, Network, NetworkConfig, Weights};
use umt_media::Array as Input;
use umt_media::Modality::{self, Audio, Depth, Video};
use umt_nn::{Array, Device, NnError};
use umt_random::{Permutation, stream};
use umt_store::Store;
use umt_train::{
    BatchSource, Batches, Env, EpochContext, Feed, Observer, StepContext, StepReport, Task, TrainConfig, TrainError,
};

pub const CLASSES: usize = 3;
/// Length of a feature.
pub const WIDTH: usize = 8;
pub const BOTH: [Modality; 2] = [Audio, Video];
pub const AUDIO_ONLY: [Modality; 1] = [Audio];
pub const THREE: [Modality; 3] = [Audio, Video, Depth];
const SIDE: usize = 12;

pub fn network(modalities: &[Modality], fusion: FusionConfig, seed: u64) -> Network {
    let encoder =
        EncoderConfig::Resnet18(ResNetConfig { channels: 1, width: 1, stem: Stem::Small, ..Default::default() });
    let encoders = modalities.iter().map(|m| (*m, encoder.clone())).collect();
    Network::new(&NetworkConfig { encoders, head: fusion.into(), classes: CLASSES }, seed).unwrap()
}

/// One network per modality.
fn teachers(modalities: &[Modality]) -> Vec<Network> {
    modalities.iter().map(|m| network(&[*m], FusionConfig::Concat, 9)).collect()
}

/// A batch of samples from `first` on; a class is a place that is bright.
pub fn batch(first: usize, count: usize) -> Batch {
    make(&(first..first + count).collect::<Vec<_>>())
}

/// The same as a task takes it.
pub fn fed(first: usize, count: usize) -> Feed {
    Feed::new(batch(first, count), &Device::Cpu).unwrap()
}

fn make(indices: &[usize]) -> Batch {
    let input = |salt: u64| {
        let mut data = Vec::new();
        for &i in indices {
            let mut rng = stream(7, "objectives", salt, i as u64);
            data.extend((0..SIDE * SIDE).map(|p| rng.normal() + if p % CLASSES == i % CLASSES { 1.0 } else { 0.0 }));
        }
        Input { shape: vec![indices.len(), SIDE, SIDE, 1], data }
    };
    Batch {
        ids: indices.iter().map(|i| format!("s{i}")).collect(),
        indices: indices.to_vec(),
        labels: indices.iter().map(|i| (i % CLASSES) as u32).collect(),
        inputs: BTreeMap::from([(Audio, input(1)), (Video, input(2)), (Depth, input(3))]),
        maps: None,
    }
}

/// Twelve samples in batches of four: three steps an epoch.
struct Samples;

impl BatchSource for Samples {
    fn batches_per_epoch(&self) -> u64 {
        3
    }

    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_> {
        let order = Permutation::new(3, "order", epoch, 12);
        Box::new((start..3).map(move |b| {
            let indices: Vec<usize> = (0..4).map(|i| order.at(4 * b as usize + i)).collect();
            Ok::<_, DataError>(make(&indices))
        }))
    }
}

/// A network with an objective, and the teachers it asks for.
pub struct Student {
    config: ObjectiveConfig,
    modalities: Vec<Modality>,
    teachers: Vec<Network>,
}

impl Student {
    pub fn new(config: &ObjectiveConfig, modalities: &[Modality]) -> Self {
        let teachers = if config.build().needs().any() { teachers(modalities) } else { Vec::new() };
        Self { config: config.clone(), modalities: modalities.to_vec(), teachers }
    }

    pub fn network(&self, seed: u64) -> Network {
        network(&self.modalities, self.config.build().fusion(&FusionConfig::Concat).unwrap(), seed)
    }

    pub fn try_task(&self, seed: u64) -> Result<NetworkTask<'_>, NnError> {
        NetworkTask::new(self.network(seed), self.config.build(), self.teachers.iter().collect(), seed)
    }

    pub fn task(&self, seed: u64) -> NetworkTask<'_> {
        self.try_task(seed).unwrap()
    }
}

/// Asks for a stop after an update.
struct Stopping<'a>(Option<u64>, &'a AtomicUsize);

impl Observer for Stopping<'_> {
    fn on_step(&mut self, report: &StepReport<'_>) {
        if self.0 == Some(report.step) {
            self.1.store(2, Ordering::Relaxed);
        }
    }
}

/// Two epochs by the loop, stopped after a step and resumed in a new task if asked: all values bit by bit, what the
/// objective remembers included.
pub fn train(student: &Student, seed: u64, stop_after: Option<u64>) -> BTreeMap<String, Vec<u32>> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let config: TrainConfig = serde_json::from_str(r#"{ "epochs": 2, "batch": 4, "lr": 0.05 }"#).unwrap();
    let run = |stop_after: Option<u64>| {
        let stop = AtomicUsize::new(0);
        let mut task = student.task(seed);
        let mut observer = Stopping(stop_after, &stop);
        let dir = folder.path().join("stage");
        let mut env = Env { stage: "test", dir: &dir, store: &store, seed, observer: &mut observer, stop: &stop };
        let result = umt_train::train(&mut task, &Samples, Some(&Samples), &config, &mut env);
        let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect();
        let values = task.params().iter().map(|(name, p)| (name.clone(), bits(p.value.as_slice()))).collect();
        result.map(|_| values)
    };
    if stop_after.is_some() {
        let interrupted = run(stop_after);
        assert!(matches!(interrupted, Err(TrainError::Interrupted { .. })), "{interrupted:?}");
    }
    run(None).unwrap()
}

/// Runs two epochs by hand and computes the weights after the second anew.
pub fn check_g_blend(student: &Student) {
    let mut task = student.task(1);
    let mut measured: Vec<Vec<Losses>> = Vec::new();
    for epoch in 0..2 {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for step in 0..3 {
            let context = StepContext { step: 3 * epoch + step, total: 6, epoch, seed: 1 };
            let output = task.step(&fed(4 * step as usize, 4), &context).unwrap();
            for (name, value) in output.log.iter().filter(|(name, _)| name.starts_with("head.")) {
                *sums.entry(name.clone()).or_default() += f64::from(*value) / 3.0;
            }
            for (name, grad) in output.grads {
                let value = task.params_mut().get_mut(&name).unwrap().value.make_mut();
                value.iter_mut().zip(grad.as_slice()).for_each(|(v, g)| *v -= 0.02 * g);
            }
        }
        let context = EpochContext {
            epoch,
            step: 3 * epoch + 3,
            total: 6,
            seed: 1,
            validation: Some(&Samples),
            stopped: &|| false,
        };
        let validation = by_hand(&task, student);
        let names = ["audio", "video", JOINT];
        measured.push(names.map(|n| Losses { train: sums[&format!("head.{n}")], validation: validation[n] }).into());
        let buffers = task.end_of_epoch(&context).unwrap().unwrap();
        task.params_mut().update(buffers).unwrap();
        let stopping = EpochContext { stopped: &|| true, ..context };
        assert!(task.end_of_epoch(&stopping).unwrap().is_none(), "a stop is not heard");
    }
    let courses: Vec<[Losses; 2]> = measured[0].iter().zip(&measured[1]).map(|(a, b)| [*a, *b]).collect();
    let expected = blend(&courses).unwrap_or_else(|| vec![1.0 / 3.0; 3]);
    let weights = task.params().value("objective.g-blend.weights").unwrap();
    for (got, expected) in weights.as_slice().iter().zip(&expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-3, "{weights:?} {:?} for {expected:?}", weights.as_slice());
    }
}

/// Mean losses of each head and of the whole over all samples, row by row.
fn by_hand(task: &NetworkTask<'_>, student: &Student) -> BTreeMap<&'static str, f64> {
    let mut network = student.network(1);
    for (name, param) in network.params_mut().iter_mut() {
        param.value = task.params().value(name).unwrap().clone();
    }
    let heads = Weights::of(task.params()).unwrap();
    let all = batch(0, 12);
    let inputs = all.inputs.iter().map(|(m, x)| (*m, Array::from_slice(&x.shape, &x.data).unwrap())).collect();
    let loss = |logits: &[f32]| {
        let row = |(i, z): (usize, &[f32])| {
            let sum: f64 = z.iter().map(|z| f64::from(*z).exp()).sum();
            sum.ln() - f64::from(z[all.labels[i] as usize])
        };
        logits.chunks(CLASSES).enumerate().map(row).sum::<f64>() / 12.0
    };
    let mut losses = BTreeMap::from([(JOINT, loss(network.logits(&inputs).unwrap().as_slice()))]);
    for (modality, x) in network.encode(&inputs).unwrap().features {
        let logits = heads.linear(&format!("objective.head.{modality}"), &x).unwrap();
        losses.insert(modality.name(), loss(&logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()));
    }
    losses
}
