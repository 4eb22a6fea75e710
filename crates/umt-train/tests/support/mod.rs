//! A task small enough to train in milliseconds, batches without a loader, and a folder per test.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use umt_data::{Batch, DataError};
use umt_media::{Array as Input, Modality};
use umt_nn::{Array, Grads, Param, Params};
use umt_random::{Permutation, stream};
use umt_store::Store;
use umt_train::{
    BatchSource, Batches, Env, EpochReport, Evaluation, Feed, Observer, Outcome, StepContext, StepOutput, StepReport,
    Task, TrainConfig, TrainError, train,
};

pub const CLASSES: usize = 3;
pub const WIDTH: usize = 5;

/// Gaussian clouds around one point per class.
pub struct Clouds {
    pub samples: usize,
    pub batch: usize,
    pub shuffle: bool,
    /// Ids in the order handed out, where they are recorded.
    pub seen: Mutex<Vec<String>>,
    pub watched: bool,
    /// A sample whose input holds a NaN.
    pub poisoned: Option<usize>,
}

impl Clouds {
    pub fn new(samples: usize, batch: usize, shuffle: bool) -> Self {
        Self { samples, batch, shuffle, seen: Mutex::default(), watched: true, poisoned: None }
    }

    /// Shuffled, and without a record of what was handed out.
    pub fn unwatched(samples: usize, batch: usize) -> Self {
        Self { watched: false, ..Self::new(samples, batch, true) }
    }

    fn make(&self, indices: &[usize]) -> Batch {
        let mut data = Vec::new();
        for &i in indices {
            let mut rng = stream(7, "clouds", 0, i as u64);
            let centre = |c: usize| if c == i % CLASSES { 1.5 } else { 0.0 };
            data.extend((0..WIDTH).map(|c| centre(c) + rng.normal()));
            if self.poisoned == Some(i) {
                *data.last_mut().unwrap() = f32::NAN;
            }
        }
        let shape = vec![indices.len(), WIDTH];
        Batch {
            ids: indices.iter().map(|i| format!("s{i}")).collect(),
            indices: indices.to_vec(),
            labels: indices.iter().map(|i| (i % CLASSES) as u32).collect(),
            maps: None,
            inputs: BTreeMap::from([(Modality::Audio, Input { shape, data })]),
        }
    }
}

impl BatchSource for Clouds {
    fn batches_per_epoch(&self) -> u64 {
        self.samples.div_ceil(self.batch) as u64
    }

    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_> {
        let order = Permutation::new(3, "order", epoch, self.samples);
        Box::new((start..self.batches_per_epoch()).map(move |b| {
            let places = b as usize * self.batch..self.samples.min((b as usize + 1) * self.batch);
            let indices: Vec<usize> = places.map(|p| if self.shuffle { order.at(p) } else { p }).collect();
            let batch = self.make(&indices);
            if self.watched {
                self.seen.lock().unwrap().extend(batch.ids.clone());
            }
            Ok::<_, DataError>(batch)
        }))
    }
}

/// Asks for a stop after a number of batches.
struct Interrupting<'a> {
    source: &'a Clouds,
    left: Mutex<Option<u64>>,
    stop: &'a AtomicUsize,
}

impl BatchSource for Interrupting<'_> {
    fn batches_per_epoch(&self) -> u64 {
        self.source.batches_per_epoch()
    }

    fn epoch(&self, epoch: u64, start: u64) -> Batches<'_> {
        Box::new(self.source.epoch(epoch, start).inspect(|_| {
            let mut left = self.left.lock().unwrap();
            *left = left.map(|left| left.saturating_sub(1));
            if *left == Some(0) {
                self.stop.store(2, Ordering::Relaxed);
            }
        }))
    }
}

/// What [`Softmax`] does wrong at a given step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    Loss(u64),
    Figure(u64),
    Gradient(u64),
    Weight(u64),
    Crash(u64),
}

/// Linear softmax classifier with input noise drawn by step, and a running mean as batch-norm would have.
pub struct Softmax {
    pub params: Params,
    pub classes: usize,
    pub width: usize,
    pub fault: Fault,
}

impl Softmax {
    pub fn new() -> Self {
        Self::sized(CLASSES, WIDTH)
    }

    pub fn sized(classes: usize, width: usize) -> Self {
        let mut rng = stream(1, "init", 0, 0);
        let weight: Vec<f32> = (0..classes * width).map(|_| 0.1 * rng.normal()).collect();
        let mut params = Params::default();
        params.insert("fc.weight", Param::weight(Array::from_slice(&[classes, width], &weight).unwrap()));
        params.insert("fc.bias", Param::weight(Array::zeros(&[classes])));
        params.insert("norm.running_mean", Param::buffer(Array::zeros(&[width])));
        Self { params, classes, width, fault: Fault::None }
    }

    pub fn with(fault: Fault) -> Self {
        Self { fault, ..Self::new() }
    }

    fn logits(&self, input: &[f32], mean: &[f32]) -> Vec<f32> {
        let (classes, width) = (self.classes, self.width);
        let weight = self.params.value("fc.weight").unwrap().as_slice();
        let bias = self.params.value("fc.bias").unwrap().as_slice();
        let row = |x: &[f32], c: usize| -> f32 {
            (0..width).fold(bias[c], |sum, i| sum + (x[i] - mean[i]) * weight[c * width + i])
        };
        input.chunks(width).flat_map(|x| (0..classes).map(move |c| row(x, c))).collect()
    }
}

impl Task for Softmax {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn step(&mut self, batch: &Feed, context: &StepContext) -> Result<StepOutput, TrainError> {
        let at = |fault: fn(u64) -> Fault| self.fault == fault(context.step);
        let (crash, figure) = (at(Fault::Crash), at(Fault::Figure));
        let (bad_loss, bad_gradient, bad_weight) = (at(Fault::Loss), at(Fault::Gradient), at(Fault::Weight));
        if crash {
            return Err(TrainError::Task("the machine caught fire".into()));
        }
        let (classes, width) = (self.classes, self.width);
        let mut input = batch.inputs()[&Modality::Audio].as_slice().to_vec();
        let mut rng = stream(context.seed, "noise", context.step, 0);
        input.iter_mut().for_each(|x| *x += 0.1 * rng.normal());
        let count = batch.len() as f32;
        let mean: Vec<f32> = (0..width).map(|i| input.iter().skip(i).step_by(width).sum::<f32>() / count).collect();
        let running = self.params.get_mut("norm.running_mean").unwrap().value.make_mut();
        running.iter_mut().zip(&mean).for_each(|(r, m)| *r = 0.9 * *r + 0.1 * m);

        let logits = self.logits(&input, &mean);
        let (mut loss, mut weight, mut bias) = (0.0, vec![0.0; classes * width], vec![0.0; classes]);
        for (n, row) in logits.chunks(classes).enumerate() {
            let sum: f32 = row.iter().map(|z| z.exp()).sum();
            let label = batch.labels[n] as usize;
            loss += (sum.ln() - row[label]) / count;
            for c in 0..classes {
                let delta = (row[c].exp() / sum - if c == label { 1.0 } else { 0.0 }) / count;
                bias[c] += delta;
                for i in 0..width {
                    weight[c * width + i] += delta * (input[n * width + i] - mean[i]);
                }
            }
        }
        if bad_gradient {
            weight[4] = f32::INFINITY;
        }
        if bad_weight {
            self.params.get_mut("fc.bias").unwrap().value.make_mut()[1] = f32::NAN;
        }
        let log = BTreeMap::from([("task-loss".to_owned(), if figure { f32::NAN } else { loss })]);
        let grads = Grads::from([
            ("fc.weight".to_owned(), Array::from_slice(&[classes, width], &weight)?),
            ("fc.bias".to_owned(), Array::from_slice(&[classes], &bias)?),
        ]);
        Ok(StepOutput { loss: if bad_loss || bad_weight { f32::NAN } else { loss }, log, grads, squares: None })
    }

    fn evaluate(&self, batch: &Feed) -> Result<Evaluation, TrainError> {
        let mean = self.params.value("norm.running_mean")?.as_slice();
        let logits = self.logits(batch.inputs()[&Modality::Audio].as_slice(), mean);
        Ok(Evaluation::Logits(Array::from_slice(&[batch.len(), self.classes], &logits)?))
    }
}

/// Passes what it is told to a log and asks for a stop after a given number of updates.
struct Watching<'a> {
    log: &'a mut Log,
    stop: &'a AtomicUsize,
    stop_after: Option<(u64, usize)>,
}

/// What an observer was told.
#[derive(Default)]
pub struct Log {
    pub steps: Vec<(u64, f32)>,
    pub epochs: Vec<(u64, Option<f64>, bool)>,
    pub warnings: Vec<String>,
}

impl Observer for Watching<'_> {
    fn on_step(&mut self, report: &StepReport<'_>) {
        self.log.steps.push((report.step, report.lr));
        if let Some((_, signal)) = self.stop_after.filter(|(step, _)| *step == report.step) {
            self.stop.store(signal, Ordering::Relaxed);
        }
    }

    fn on_epoch(&mut self, report: &EpochReport<'_>) {
        self.log.epochs.push((report.epoch, report.validation.map(|s| s.top1), report.best));
    }

    fn on_warning(&mut self, text: &str) {
        self.log.warnings.push(text.to_owned());
    }
}

/// A run in a folder of its own.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub config: TrainConfig,
    pub train: Clouds,
    pub validation: Option<Clouds>,
    pub seed: u64,
    /// Validation batches after which a stop is asked for.
    pub stop_in_validation: Option<u64>,
}

/// In memory where the system has such a place: these tests are about bytes, not about the disk's patience.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Bench {
    /// 22 samples in batches of 5: five steps an epoch, the last of two samples.
    pub fn new(settings: &str) -> Self {
        Self {
            folder: folder(),
            config: serde_json::from_str(settings).unwrap(),
            train: Clouds::new(22, 5, true),
            validation: Some(Clouds::new(31, 4, false)),
            seed: 11,
            stop_in_validation: None,
        }
    }

    /// Trains `task`, with a stop asked for after a step.
    pub fn run(&self, task: &mut Softmax, stop_after: Option<(u64, usize)>) -> (Result<Outcome, TrainError>, Log) {
        let stop = AtomicUsize::new(0);
        let mut log = Log::default();
        let store = Store::open(self.folder.path()).unwrap();
        let mut observer = Watching { log: &mut log, stop: &stop, stop_after };
        let dir = self.folder.path().join("stage");
        let mut env =
            Env { stage: "joint", dir: &dir, store: &store, seed: self.seed, observer: &mut observer, stop: &stop };
        let left = || Mutex::new(self.stop_in_validation);
        let validation = self.validation.as_ref().map(|source| Interrupting { source, left: left(), stop: &stop });
        let validation = validation.as_ref().map(|v| v as &dyn BatchSource);
        let result = train(task, &self.train, validation, &self.config, &mut env);
        (result, log)
    }

    /// Every file of the newest checkpoint but the timing, the metrics, and the weights in the task.
    pub fn state(&self, task: &Softmax) -> BTreeMap<String, Vec<u8>> {
        let stage = self.folder.path().join("stage");
        let mut files = BTreeMap::new();
        if let Some((_, blobs, _)) = umt_store::checkpoint::load_latest(&stage.join("checkpoints")).unwrap() {
            files.extend(blobs.into_iter().filter(|(name, _)| !name.starts_with("timing.")));
        }
        files.insert("metrics".into(), std::fs::read(stage.join("metrics.jsonl")).unwrap());
        let bits = |(name, p): (&String, &Param)| {
            (format!("task {name}"), p.value.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect())
        };
        files.extend(task.params.iter().map(bits));
        files
    }
}
