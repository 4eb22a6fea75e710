//! Carries out a plan: finished stages are reused, damaged ones repeated, unfinished ones resumed.

use crate::done::Done;
use crate::error::RunError;
use crate::folder::{TIMES, folder_of, forget_checkpoints};
use crate::material::Material;
use crate::record::{Found, Record, look};
use crate::watch::{Now, Watch};
use crate::weights::GivenFiles;
use crate::work::Work;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use umt_eval::FailedRow;
use umt_nn::Device;
use umt_recipe::plan::{Node, Plan, canonical};
use umt_recipe::{Loaded, Weights};
use umt_store::hub::HubSettings;
use umt_store::{Store, sha256_hex};

/// What the command line says about a run besides the recipe.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds `<recipe>/`.
    pub out: PathBuf,
    /// A folder or manifest in place of the recipe's `data.root`.
    pub data: Option<PathBuf>,
    /// A data set in place of the recipe's `data.set`.
    pub dataset: Option<String>,
    /// Seeds in place of the recipe's.
    pub seeds: Option<Vec<u64>>,
    /// Rows to run with what they need; all when empty.
    pub only: Vec<String>,
    /// Where pretrained weights come from.
    pub hub: HubSettings,
    /// Where networks compute; no part of a stage's key, so that a run may go on elsewhere.
    pub device: Device,
    /// Threads of the kernels, for the record.
    pub threads: usize,
}

/// A run that came to its end. Its folder stays locked until this is dropped, so that a report of it is of one state.
#[derive(Debug)]
pub struct Finished {
    /// The recipe as it ran: on the data that it ran on.
    pub loaded: Loaded,
    /// What was done.
    pub stages: Stages,
    /// The run's folder.
    pub store: Store,
}

/// A stage that could not be done; the others went on.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Its row, seed and reason.
    pub row: FailedRow,
    /// The exit code of its error, or of the one that it needed.
    pub exit_code: u8,
}

/// The stages of a plan, finished or failed.
#[derive(Debug)]
pub struct Stages {
    /// Every finished stage of the plan.
    pub done: Vec<Done>,
    /// Every other, in the order of the plan.
    pub failed: Vec<Failed>,
    /// Rows in the order of the recipe.
    pub rows: Vec<String>,
    /// Stages that ran in this call.
    pub ran: usize,
    /// The data set's digest.
    pub data_digest: String,
    /// Class names.
    pub classes: Vec<String>,
    /// The files of each test sample, by id; none for what is made by code.
    pub test_files: BTreeMap<String, Vec<PathBuf>>,
}

impl Stages {
    /// Those of a row, one a seed.
    pub fn of(&self, id: &str) -> Vec<&Done> {
        self.done.iter().filter(|d| d.record.stage == id).collect()
    }

    /// The digest of the run: SHA-256 over the data's digest and, by row and seed, each stage's key, metrics and files.
    ///
    /// Equal runs have equal digests: times, threads and the names of machines are no part of it.
    pub fn digest(&self) -> String {
        let stage = |done: &Done| {
            let Record { stage, seed, key, figures, files, .. } = &done.record;
            let lasting = files.iter().filter(|(name, _)| *name != TIMES);
            let files: BTreeMap<&String, &String> = lasting.map(|(name, digest)| (name, &digest.sha256)).collect();
            let value = json!({ "stage": stage, "seed": seed, "key": key, "metrics": figures, "files": files });
            ((stage.clone(), *seed), value)
        };
        let stages: BTreeMap<(String, u64), Value> = self.done.iter().map(stage).collect();
        let stages: Vec<Value> = stages.into_values().collect();
        sha256_hex(canonical(&json!({ "data": self.data_digest, "stages": stages })).as_bytes())
    }
}

/// Runs a recipe: every stage of its plan, finished ones reused.
///
/// # Errors
/// See [`RunError`]. What was finished before stays finished, and the same call goes on from there.
pub fn run(
    loaded: &Loaded,
    options: &Options,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Finished, RunError> {
    // Whatever the data or the plan may refuse is refused before a folder is made.
    let prepared = prepare(loaded, options, watch)?;
    let store = Store::open(&options.out.join(&prepared.loaded.name))?;
    finish(prepared, store, options, watch, stop)
}

/// [`run`] in a store that is already open: for whoever opens it in a way of their own.
///
/// # Errors
/// As [`run`].
pub fn run_in(
    store: Store,
    loaded: &Loaded,
    options: &Options,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Finished, RunError> {
    finish(prepare(loaded, options, watch)?, store, options, watch, stop)
}

fn finish(
    prepared: Prepared,
    store: Store,
    options: &Options,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Finished, RunError> {
    let loaded = prepared.loaded.clone();
    let stages = execute(prepared, options, &store, watch, stop)?;
    Ok(Finished { loaded, stages, store })
}

/// Data and plan of a run that has not begun.
pub(crate) struct Prepared {
    /// The recipe on the data that it runs on.
    pub(crate) loaded: Loaded,
    material: Material,
    digest: String,
    plan: Plan,
    given: GivenFiles,
}

/// Opens the data's list, finds or fetches given weights and lays the plan; writes nothing but the Hub's cache.
pub(crate) fn prepare(loaded: &Loaded, options: &Options, watch: &mut dyn Watch) -> Result<Prepared, RunError> {
    if let Some(seeds) = &options.seeds
        && (1..seeds.len()).any(|i| seeds[..i].contains(&seeds[i]))
    {
        return Err(RunError::Usage("--seeds: a seed is given twice".into()));
    }
    let mut warn = |text: &str| watch.on_warning(text);
    let (material, loaded) = Material::open(loaded, options.dataset.as_deref(), options.data.as_deref(), &mut warn)?;
    let recipe = &loaded.recipe;
    let digest = material.digest();
    let seeds = options.seeds.as_deref().unwrap_or(&recipe.seeds);
    let mut given = GivenFiles::new(&options.hub, &options.out.join(&loaded.name))?;
    let mut digest_of = |weights: &Weights| Ok::<_, RunError>(given.find(weights, watch)?.sha256.clone());
    let plan = Plan::new(recipe, &digest, seeds, &options.only, &mut digest_of)?;
    Ok(Prepared { loaded, material, digest, plan, given })
}

/// Runs the stages of a plan in a store that the caller has locked.
pub(crate) fn execute(
    prepared: Prepared,
    options: &Options,
    store: &Store,
    watch: &mut dyn Watch,
    stop: &Arc<AtomicUsize>,
) -> Result<Stages, RunError> {
    let Prepared { loaded, mut material, digest, plan, given } = prepared;
    let recipe = &loaded.recipe;
    watch.on_plan(&loaded, &plan, store.root());
    given.remember(store)?;
    let mut done: Vec<Done> = Vec::with_capacity(plan.nodes.len());
    // Where each stage of the plan is in `done`, or why it is not there.
    let mut places: Vec<Result<usize, Failed>> = Vec::with_capacity(plan.nodes.len());
    let (mut ran, mut first) = (0, None);
    for (i, node) in plan.nodes.iter().enumerate() {
        let now = Now { stage: &node.unit.id, seed: node.seed, position: i + 1, total: plan.nodes.len() };
        let dir = folder_of(store.root(), &node.unit.id, node.seed, &node.key);
        let failed = |reason, exit_code| Failed {
            row: FailedRow { stage: node.unit.id.clone(), seed: node.seed, reason },
            exit_code,
        };
        let parents: Result<Vec<usize>, &Failed> = node.parents.iter().map(|&p| places[p].as_ref().copied()).collect();
        let parents = match parents {
            Ok(parents) => parents,
            Err(Failed { row, exit_code }) => {
                let failed = failed(format!("it needs `{}`, which failed", row.stage), *exit_code);
                watch.on_warning(&format!("stage {}, seed {}: {}", node.unit.id, node.seed, failed.row.reason));
                places.push(Err(failed));
                continue;
            }
        };
        if let Some(record) = reusable(&dir, node, &parents, &done, store, watch)? {
            watch.on_finish(now, &record, true);
            places.push(Ok(done.len()));
            done.push(Done { node: node.clone(), dir, record });
            continue;
        }
        let signal = i32::try_from(stop.load(Ordering::Relaxed)).unwrap_or(0);
        if signal != 0 {
            return Err(RunError::Interrupted { signal, stage: node.unit.id.clone() });
        }
        watch.on_begin(now);
        let work = Work {
            recipe,
            store,
            material: &mut material,
            given: &given,
            watch: &mut *watch,
            stop,
            now,
            node,
            dir: dir.clone(),
            parents: parents.iter().map(|&p| &done[p]).collect(),
            read: RefCell::default(),
            device: &options.device,
            threads: options.threads,
        };
        let record = match work.run() {
            Ok(record) => record,
            Err(error) if error.is_of_stage() => {
                let text = error.to_string();
                watch.on_warning(&format!("{text}; the other stages go on"));
                places.push(Err(failed(text, error.exit_code())));
                first.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        ran += 1;
        watch.on_finish(now, &record, false);
        places.push(Ok(done.len()));
        done.push(Done { node: node.clone(), dir, record });
    }
    let failed = places.into_iter().filter_map(Result::err).collect();
    if let (true, Some(error)) = (done.is_empty(), first) {
        return Err(error);
    }
    let (classes, test_files) = (material.classes().to_vec(), material.test_files());
    Ok(Stages { done, failed, rows: plan.rows, ran, data_digest: digest, classes, test_files })
}

/// The record of a finished stage whose parents still say what they said when it ran.
fn reusable(
    dir: &Path,
    node: &Node,
    parents: &[usize],
    done: &[Done],
    store: &Store,
    watch: &mut dyn Watch,
) -> Result<Option<Record>, RunError> {
    let reason = match look(dir, &node.key)? {
        Found::Unfinished => return Ok(None),
        Found::Damaged(reason) => reason,
        Found::Finished(record) => {
            // What it read of each parent is what the parent's record vouches for.
            let same = |parent: &Done| {
                let read = record.parents.get(&parent.node.key);
                read.is_some_and(|read| read.iter().all(|(name, sha256)| parent.vouches(name).as_ref() == Some(sha256)))
            };
            if parents.iter().all(|&p| same(&done[p])) {
                // Left by a process that ended right after it finished the stage.
                forget_checkpoints(store, dir)?;
                return Ok(Some(*record));
            }
            "it was made from another result of a stage it depends on".to_owned()
        }
    };
    watch.on_warning(&format!("stage {}, seed {}: {reason}; it runs again", node.unit.id, node.seed));
    store.remove(dir)?;
    Ok(None)
}
