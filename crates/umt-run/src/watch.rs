//! Who watches a run: progress bars, plain lines, tests.

use crate::record::Record;
use std::path::Path;
use umt_recipe::{Loaded, Plan};
use umt_store::hub::Transfer;
use umt_train::{EpochReport, StepReport};

/// A stage as it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Its row.
    pub stage: &'a str,
    /// Its seed.
    pub seed: u64,
    /// Its place among all stages and seeds, from 1.
    pub position: usize,
    /// How many there are.
    pub total: usize,
}

/// Told of progress. Nothing it does can change the run.
pub trait Watch {
    /// Samples decoded so far, while the cache is made.
    fn on_decode(&mut self, _done: usize, _total: usize) {}

    /// Bytes of a file of the Hub, while it is fetched.
    fn on_download(&mut self, _repository: &str, _transfer: Transfer) {}

    /// The plan is laid, and nothing of it has run in this call.
    fn on_plan(&mut self, _loaded: &Loaded, _plan: &Plan, _folder: &Path) {}

    /// A stage begins, or goes on where it was interrupted.
    fn on_begin(&mut self, _now: Now<'_>) {}

    /// After every update.
    fn on_step(&mut self, _now: Now<'_>, _report: &StepReport<'_>) {}

    /// After every epoch.
    fn on_epoch(&mut self, _now: Now<'_>, _report: &EpochReport<'_>) {}

    /// A stage is finished; `reused` when it had been before.
    fn on_finish(&mut self, _now: Now<'_>, _record: &Record, _reused: bool) {}

    /// Something the user should know although the run goes on.
    fn on_warning(&mut self, _text: &str) {}
}

/// A watcher that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// Hands what training reports to the run's watcher.
pub(crate) struct Relay<'a, 'w> {
    pub now: Now<'a>,
    pub watch: &'w mut dyn Watch,
}

impl umt_train::Observer for Relay<'_, '_> {
    fn on_step(&mut self, report: &StepReport<'_>) {
        self.watch.on_step(self.now, report);
    }

    fn on_epoch(&mut self, report: &EpochReport<'_>) {
        self.watch.on_epoch(self.now, report);
    }

    fn on_warning(&mut self, text: &str) {
        self.watch.on_warning(text);
    }
}
