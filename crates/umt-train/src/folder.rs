//! A run's folder: `checkpoints/`, `metrics.jsonl` and `timing.jsonl`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use umt_nn::optim::Optimizer;
use umt_nn::{Array, Params};
use umt_store::{Log, Store, checkpoint, tensors};

use crate::progress::{Progress, Settings, Timing};
use crate::rows::{EpochRow, TimingRow};
use crate::{EpochReport, TrainError};

/// A run's folder, open for writing.
pub(crate) struct Folder<'a> {
    store: &'a Store,
    checkpoints: PathBuf,
    metrics: Log,
    timing: Log,
}

/// A run as its folder holds it. Weights and optimiser state are already in place.
pub(crate) struct Found<'a> {
    pub(crate) folder: Folder<'a>,
    pub(crate) at: Progress,
    pub(crate) timing: Timing,
    /// The best weights so far, as a tensor file.
    pub(crate) best: Option<Vec<u8>>,
    /// Checkpoints that were passed over.
    pub(crate) warnings: Vec<String>,
}

const PARAMS: &str = "params.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const PROGRESS: &str = "progress.json";
const TIMING: &str = "timing.json";
/// Both logs are part of a checkpoint, so that it does not matter what becomes of their files.
const METRICS_LOG: &str = "metrics.jsonl";
const TIMING_LOG: &str = "timing.jsonl";

impl<'a> Folder<'a> {
    /// Loads the latest intact checkpoint into `params` and `optimizer`, or begins at step 0.
    pub(crate) fn open(
        store: &'a Store,
        dir: &Path,
        settings: Settings,
        params: &mut Params,
        optimizer: &mut dyn Optimizer,
    ) -> Result<Found<'a>, TrainError> {
        let shown = || dir.display().to_string();
        let damaged = |reason| TrainError::Checkpoint { dir: shown(), reason };
        let checkpoints = dir.join("checkpoints");
        let (mut at, mut timing) = (Progress::new(settings), Timing::default());
        let (mut best, mut warnings) = (None, Vec::new());
        let mut logs = [Vec::new(), Vec::new()];
        if let Some((_, mut blobs, passed_over)) = checkpoint::load_latest(&checkpoints)? {
            let missing = |name: &str| damaged(format!("{name} is missing"));
            let mut take = |name: &str| blobs.remove(name).ok_or_else(|| missing(name));
            let stored: Progress = parse(&take(PROGRESS)?).map_err(damaged)?;
            if let Some([key, stored, given]) = stored.settings.difference(&at.settings) {
                return Err(TrainError::OtherRun { dir: shown(), key, stored, given });
            }
            params.load_tensors(&tensors::read(&take(PARAMS)?)?)?;
            optimizer.load_state(arrays(&tensors::read(&take(OPTIMIZER)?)?)?)?;
            if stored.best.is_some() && !stored.settings.config.refit {
                best = Some(take(BEST)?);
            }
            timing = parse(&take(TIMING)?).map_err(damaged)?;
            logs = [take(METRICS_LOG)?, take(TIMING_LOG)?];
            warnings.extend(passed_over.iter().map(ToString::to_string));
            at = stored;
        }
        let mut open = |name: &str, kept| -> Result<Log, TrainError> {
            let (log, restored) = Log::open(store, &dir.join(name), kept)?;
            if restored {
                warnings.push(format!("{}: not what the checkpoint knows of it; restored", dir.join(name).display()));
            }
            Ok(log)
        };
        let [metrics, times] = logs;
        let (metrics, times) = (open(METRICS_LOG, metrics)?, open(TIMING_LOG, times)?);
        let folder = Self { store, checkpoints, metrics, timing: times };
        Ok(Found { folder, at, timing, best, warnings })
    }

    /// Adds an epoch's lines: to the metrics, which belong to the result, and to the timing, which
    /// does not.
    pub(crate) fn log(&mut self, report: &EpochReport<'_>) -> Result<(), TrainError> {
        self.metrics.line(&render(&EpochRow::from(report))?)?;
        self.timing.line(&render(&TimingRow::from(report))?)?;
        Ok(())
    }

    /// The logs: file name and text.
    pub(crate) fn into_logs(self) -> Vec<(&'static str, Vec<u8>)> {
        vec![(METRICS_LOG, self.metrics.text().to_vec()), (TIMING_LOG, self.timing.text().to_vec())]
    }

    /// Makes the logs durable, then saves a checkpoint that holds them too.
    pub(crate) fn save(
        &mut self,
        at: &Progress,
        timing: &Timing,
        best: Option<&[u8]>,
        params: &Params,
        optimizer: &dyn Optimizer,
    ) -> Result<(), TrainError> {
        self.metrics.sync()?;
        self.timing.sync()?;
        let mut blobs = BTreeMap::new();
        let mut put = |name: &str, bytes| blobs.insert(name.to_owned(), bytes);
        put(PROGRESS, render(at)?.into_bytes());
        put(TIMING, render(timing)?.into_bytes());
        put(METRICS_LOG, self.metrics.text().to_vec());
        put(TIMING_LOG, self.timing.text().to_vec());
        put(PARAMS, tensors::write(&params.to_tensors())?);
        put(OPTIMIZER, tensors::write(&plain(&optimizer.state()))?);
        if let Some(bytes) = best {
            put(BEST, bytes.to_vec());
        }
        checkpoint::save(self.store, &self.checkpoints, at.step, &blobs)?;
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn render(value: &impl Serialize) -> Result<String, TrainError> {
    serde_json::to_string(value).map_err(|error| TrainError::Task(Box::new(error)))
}

fn plain(arrays: &BTreeMap<String, Array>) -> tensors::Tensors {
    let tensor = |array: &Array| (array.shape().to_vec(), array.as_slice().to_vec());
    arrays.iter().map(|(name, array)| (name.clone(), tensor(array))).collect()
}

fn arrays(tensors: &tensors::Tensors) -> Result<BTreeMap<String, Array>, TrainError> {
    let array = |shape: &[usize], data: &[f32]| Array::from_slice(shape, data);
    let entries = tensors.iter();
    entries.map(|(name, (shape, data))| Ok((name.clone(), array(shape, data)?))).collect()
}
