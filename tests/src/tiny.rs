//! The smallest experiment that has every kind of stage, and what a finished one left behind.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use umt_recipe::{Loaded, Overrides, Recipe, RecipeError};
use umt_report::{Report, ReportError};
use umt_run::{Now, Options, Watch};
use umt_store::hub::HubSettings;

/// 11 rows, 7 updates per network. Also the one recipe that is broken in sixty ways: nothing in it may go unused.
pub const RECIPE: &str = r#"about = "every kind of stage, as small as it gets"
seeds = [1]

[data]
set = "synthetic-av"
on-error = "stop"
limit = 1000

[data.synthetic]
train = 80
test = 40
recordings = 4
pictures = 4

[data.audio]
seconds = 0.5
front-end = { kind = "log-mel", rate = 8000, n_fft = 256, hop = 256, bands = 16 }

[data.video]
select = { kind = "count", count = 1 }
size = [20, 20]
crop = [16, 16]

[data.augment]
crop = true
time-shift = 2

[encoder]
audio = { kind = "resnet18", channels = 1, width = 4, stem = "3x3" }
video = { kind = "resnet18", channels = 3, width = 4, stem = "3x3" }

[train]
steps = 7
batch = 16
lr = 0.02
optimizer = { kind = "sgd", momentum = 0.9 }
schedule = { kind = "cosine" }

[[stage]]
id = "teacher.audio"
task = { kind = "single", modality = "audio" }

[[stage]]
id = "teacher.video"
task = { kind = "single", modality = "video" }

[[stage]]
id = "joint"
task = { kind = "fusion", fusion = { kind = "concat" } }

[[stage]]
id = "umt"
task = { kind = "fusion", fusion = { kind = "concat" } }
distill = { kind = "feature", weight = 10.0, from = ["teacher.audio", "teacher.video"] }

[[stage]]
id = "ume"
task = { kind = "ensemble", of = ["teacher.*"] }

[[stage]]
id = "probe"
task = { kind = "linear-probe", of = ["joint", "umt"] }

[expect]
claims = ["umt.top1 > teacher.audio.top1"]

[quick]
seeds = [1]
[quick.train]
epochs = 1
"#;

pub type Outcome = Result<(), Box<dyn Error>>;

/// The tiny recipe with settings changed.
pub fn recipe(sets: &[&str]) -> Result<Loaded, RecipeError> {
    let sets = sets.iter().map(|set| set.to_string()).collect();
    Recipe::parse("tiny", "tiny.toml", RECIPE, &Overrides { sets, ..Overrides::default() })
}

/// Runs below `out`, all stages or some.
pub fn options(out: &Path, only: &[&str]) -> Options {
    Options {
        out: out.to_path_buf(),
        data: None,
        dataset: None,
        seeds: None,
        only: only.iter().map(|row| row.to_string()).collect(),
        hub: HubSettings { offline: true, ..HubSettings::new(&out.join("hub")) },
        device: umt_nn::Device::Cpu,
        threads: 1,
    }
}

/// Counts what a run does and can stop it after a step.
#[derive(Default)]
pub struct Watcher {
    /// Updates in this call.
    pub steps: usize,
    /// Rows that ran in this call.
    pub ran: Vec<String>,
    /// What it was told.
    pub warnings: Vec<String>,
    /// Raise the flag after this many updates, as SIGTERM would.
    pub stop_after: Option<usize>,
    /// The run's flag.
    pub stop: AtomicFlag,
}

/// The flag that a signal raises, shared between a run and its watcher.
pub type AtomicFlag = std::sync::Arc<AtomicUsize>;

impl Watch for Watcher {
    fn on_step(&mut self, _now: Now<'_>, _report: &umt_train::StepReport<'_>) {
        self.steps += 1;
        if self.stop_after == Some(self.steps) {
            self.stop.store(15, Ordering::SeqCst);
        }
    }

    fn on_finish(&mut self, now: Now<'_>, _record: &umt_run::Record, reused: bool) {
        if !reused {
            self.ran.push(now.stage.to_string());
        }
    }

    fn on_warning(&mut self, text: &str) {
        self.warnings.push(text.to_string());
    }
}

/// One call of `reproduce`.
pub fn run(loaded: &Loaded, options: &Options, watcher: &mut Watcher) -> Result<Report, ReportError> {
    let stop = AtomicFlag::clone(&watcher.stop);
    stop.store(0, Ordering::SeqCst);
    umt_report::write(&umt_run::run(loaded, options, watcher, &stop)?, &umt_report::Call::default())
}

/// What every finished stage in a run's folder put out, by row and seed: digests of all its files but those that
/// hold times.
pub fn outputs(folder: &Path) -> Result<BTreeMap<String, BTreeMap<String, String>>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("stages"))? {
        let path = entry?.path().join("result.json");
        let record: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let files = record["files"].as_object().ok_or("no files")?;
        let lasting = files.iter().filter(|(name, _)| *name != "timing.jsonl");
        let digests = lasting.map(|(name, digest)| (name.clone(), digest["sha256"].to_string())).collect();
        let stage = record["stage"].as_str().ok_or("no stage")?;
        found.insert(format!("{stage} seed {}", record["seed"]), digests);
    }
    Ok(found)
}

/// The digest of the trained weights of a row, seed 1.
pub fn weights(folder: &Path, stage: &str) -> Result<String, Box<dyn Error>> {
    let found = outputs(folder)?;
    let files = found.get(&format!("{stage} seed 1")).ok_or(format!("no stage {stage}"))?;
    Ok(files.get("model.safetensors").ok_or("no weights")?.clone())
}

/// Names of all files below a folder that only an interrupted write leaves.
pub fn leftovers(folder: &Path) -> Vec<String> {
    let names = crate::tidy::files(folder).into_iter().map(|path| path.display().to_string());
    names.filter(|name| name.ends_with("-tmp") || name.ends_with("run.lock")).collect()
}
