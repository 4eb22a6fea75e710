//! A run under way: what the loop holds between two steps.

use std::sync::atomic::Ordering;
use std::time::Instant;

use umt_nn::optim::Optimizer;
use umt_store::tensors;

use crate::folder::Folder;
use crate::guard::Guard;
use crate::progress::{Best, Progress, Settings, Timing};
use crate::{Env, EpochReport, Kept, Outcome, Task, TrainConfig, TrainError, Validation};

/// A run under way.
pub(crate) struct Session<'a, 'e> {
    pub(crate) task: &'a mut dyn Task,
    pub(crate) config: &'a TrainConfig,
    pub(crate) env: &'a mut Env<'e>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) guard: Guard<'e>,
    pub(crate) at: Progress,
    pub(crate) timing: Timing,
    /// Updates of the whole run.
    pub(crate) total: u64,
    folder: Folder<'e>,
    /// The best weights so far, as a tensor file.
    best: Option<Vec<u8>>,
    /// Updates done before this call.
    first: u64,
    /// When the last checkpoint was saved.
    since: Instant,
}

impl<'a, 'e> Session<'a, 'e> {
    /// Begins a run, or goes on from its last checkpoint.
    pub(crate) fn open(
        task: &'a mut dyn Task,
        batches_per_epoch: u64,
        config: &'a TrainConfig,
        env: &'a mut Env<'e>,
    ) -> Result<Self, TrainError> {
        let since = Instant::now();
        let total = config.total_steps(batches_per_epoch)?;
        let settings = Settings { config: config.deciding(), seed: env.seed, batches_per_epoch };
        let mut optimizer = config.optimizer.build()?;
        let params = task.params_mut();
        let found = Folder::open(env.store, env.dir, settings, params, optimizer.as_mut())?;
        found.warnings.iter().for_each(|text| env.observer.on_warning(text));
        let guard = Guard { stage: env.stage };
        let (folder, at, timing, best) = (found.folder, found.at, found.timing, found.best);
        let first = at.step;
        guard.weights(task.params(), &[], first)?;
        Ok(Self { task, config, env, optimizer, guard, at, timing, total, folder, best, first, since })
    }

    /// The last step is taken, and its epoch's end too.
    pub(crate) fn finished(&self) -> bool {
        self.at.step == self.total && self.at.batch == 0
    }

    pub(crate) fn steps_left_in_epoch(&self) -> u64 {
        (self.at.settings.batches_per_epoch - self.at.batch).min(self.total - self.at.step)
    }

    /// Keeps the present weights as the best so far; with `refit` only their scores.
    pub(crate) fn keep_as_best(&mut self, epoch: u64, scores: Validation) -> Result<(), TrainError> {
        self.at.best = Some(Best { epoch, step: self.at.step, scores });
        if !self.config.refit {
            self.best = Some(tensors::write(&self.task.params().to_tensors())?);
        }
        Ok(())
    }

    pub(crate) fn log(&mut self, report: &EpochReport<'_>) -> Result<(), TrainError> {
        self.folder.log(report)
    }

    /// A checkpoint, never of weights that are not finite.
    pub(crate) fn save(&mut self) -> Result<(), TrainError> {
        let params = self.task.params();
        self.guard.weights(params, &[], self.at.step)?;
        self.timing.seconds += self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let (at, timing, best) = (&self.at, &self.timing, self.best.as_deref());
        self.folder.save(at, timing, best, params, self.optimizer.as_ref())
    }

    pub(crate) fn saved_long_ago(&self) -> bool {
        self.since.elapsed().as_secs_f64() >= self.config.checkpoint_seconds
    }

    pub(crate) fn stop_asked(&self) -> bool {
        self.signal() != 0
    }

    pub(crate) fn stop_if_asked(&self) -> Result<(), TrainError> {
        match i32::try_from(self.signal()).unwrap_or(i32::MAX) {
            0 => Ok(()),
            signal => Err(TrainError::Interrupted { signal, step: self.at.step }),
        }
    }

    fn signal(&self) -> usize {
        self.env.stop.load(Ordering::Relaxed)
    }

    /// For a source that yields less than it promised.
    pub(crate) fn too_few(&self) -> TrainError {
        let (epoch, done, all) = (self.at.epoch, self.at.batch, self.at.settings.batches_per_epoch);
        TrainError::Batches { reason: format!("epoch {epoch} ended after {done} of {all} batches") }
    }

    /// The kept weights go into the task.
    pub(crate) fn outcome(self) -> Result<Outcome, TrainError> {
        let Progress { epoch, step, validation, .. } = self.at;
        let mut kept = Kept { best: false, epoch, step, validation };
        if let (Some(Best { epoch, step, scores }), Some(bytes)) = (self.at.best, &self.best) {
            self.task.params_mut().load_tensors(&tensors::read(bytes)?)?;
            kept = Kept { best: true, epoch, step, validation: Some(scores) };
        }
        Ok(Outcome {
            logs: self.folder.into_logs(),
            steps: step,
            steps_now: step - self.first,
            kept,
            seconds: self.timing.seconds,
            wait_seconds: self.timing.pace.wait_seconds,
            samples_per_second: self.timing.pace.samples_per_second(),
        })
    }
}
