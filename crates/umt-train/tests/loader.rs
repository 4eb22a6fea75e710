//! The loop over the real loader and the synthetic set: threads decide nothing, a stop changes nothing.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::Softmax;
use umt_data::{Cache, DataConfig, Loader, Split, open};
use umt_store::Store;
use umt_train::{Env, Observer, Outcome, StepReport, TrainConfig, TrainError, train};

struct StopAt<'a>(u64, &'a AtomicUsize);

impl Observer for StopAt<'_> {
    fn on_step(&mut self, report: &StepReport<'_>) {
        if report.step == self.0 {
            self.1.store(15, Ordering::Relaxed);
        }
    }
}

struct Setting {
    cache: Arc<Cache>,
    folder: tempfile::TempDir,
}

fn setting() -> Setting {
    let folder = support::folder();
    let store = Store::open(folder.path()).unwrap();
    let mut config = DataConfig::synthetic_av();
    (config.synthetic.train, config.synthetic.test, config.video) = (300, 10, None);
    let mut set = open("synthetic-av", None, &config).unwrap();
    set.split_validation(1, &config.validation).unwrap();
    let cache = Cache::build(&set, &config, &folder.path().join("cache"), &mut |_| {}, &store).unwrap();
    Setting { cache: Arc::new(cache), folder }
}

type Files = BTreeMap<String, Vec<u8>>;

impl Setting {
    fn run(&self, name: &str, config: &TrainConfig, stop_at: u64) -> (Result<Outcome, TrainError>, Files) {
        let store = Store::open(self.folder.path()).unwrap();
        let dir = self.folder.path().join(name);
        let loader = |split, train| {
            let indices = self.cache.indices(split);
            Loader::new(Arc::clone(&self.cache), indices.clone(), config.loader(5, train, indices.len())).unwrap()
        };
        let stop = AtomicUsize::new(0);
        let observer = &mut StopAt(stop_at, &stop);
        let mut env = Env { stage: "audio", dir: &dir, store: &store, seed: 5, observer, stop: &stop };
        let width = self.cache.input_shapes().unwrap().values().flatten().product();
        let mut task = Softmax::sized(self.cache.dataset().classes.len(), width);
        let (source, validation) = (loader(Split::Train, true), loader(Split::Validation, false));
        let outcome = train(&mut task, &source, Some(&validation), config, &mut env);
        (outcome, files(&dir))
    }
}

fn files(dir: &Path) -> Files {
    let latest = umt_store::checkpoint::load_latest(&dir.join("checkpoints")).unwrap();
    let mut files: Files = latest.map(|(_, blobs, _)| blobs).unwrap_or_default();
    files.retain(|name, _| !name.starts_with("timing."));
    files.insert("metrics".into(), std::fs::read(dir.join("metrics.jsonl")).unwrap());
    files
}

#[test]
fn threads_and_stops_change_no_byte_over_the_real_loader() {
    let setting = setting();
    let with = |workers, prefetch| TrainConfig {
        epochs: Some(2),
        batch: 32,
        lr: 0.002,
        workers,
        prefetch,
        ..TrainConfig::default()
    };
    let (outcome, expected) = setting.run("whole", &with(0, 1), u64::MAX);
    let outcome = outcome.unwrap();
    assert!(outcome.steps > 12 && outcome.samples_per_second > 0.0, "{outcome:?}");
    assert!(outcome.wait_seconds > 0.0, "a loader without threads is waited for");
    for (workers, prefetch) in [(1, 1), (2, 4), (8, 4)] {
        let name = format!("{workers}-{prefetch}");
        let (again, files) = setting.run(&name, &with(workers, prefetch), u64::MAX);
        assert_eq!(again.unwrap().kept, outcome.kept);
        assert!(files == expected, "{workers} workers, {prefetch} ahead");
    }
    for stop_at in [1, 8, outcome.steps] {
        let name = format!("stopped-{stop_at}");
        let (stopped, _) = setting.run(&name, &with(2, 2), stop_at);
        assert_eq!(stopped.unwrap_err().exit_code(), 143);
        let (finished, files) = setting.run(&name, &with(1, 4), u64::MAX);
        assert_eq!(finished.unwrap().kept, outcome.kept);
        assert!(files == expected, "stopped at {stop_at}");
    }
}
