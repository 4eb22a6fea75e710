//! Carries out a plan: finished stages are reused, damaged ones repeated, unfinished ones resumed.

use crate::error::RunError;
use crate::folder::forget_checkpoints;
use crate::material::Material;
use crate::record::{Found, Record, look};
use crate::watch::{Now, Watch};
use crate::weights::GivenFiles;
use crate::work::{Parent, Work};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use umt_nn::Device;
use umt_recipe::plan::{Node, Plan};
use umt_recipe::{Loaded, Weights};
use umt_store::Store;
use umt_store::hub::HubSettings;

/// The recipe as run, in the run's folder.
pub(crate) const RECIPE: &str = "recipe.toml";

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

/// A stage that is done, with its folder.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its position in the plan.
    pub node: Node,
    /// Its folder.
    pub dir: PathBuf,
    /// What it says of itself.
    pub record: Record,
}

/// A run that came to its end. Its folder stays locked until this is dropped, so that a report of it is of one state.
#[derive(Debug)]
pub struct Finished {
    /// What was done.
    pub stages: Stages,
    /// The run's folder.
    pub store: Store,
}

/// The stages of a plan, all finished.
#[derive(Debug)]
pub struct Stages {
    /// Every stage of the plan.
    pub done: Vec<Done>,
    /// Rows in the order of the recipe.
    pub rows: Vec<String>,
    /// Stages that ran in this call.
    pub ran: usize,
    /// The data set's digest.
    pub digest: String,
    /// Class names.
    pub classes: Vec<String>,
}

impl Stages {
    /// Those of a row, one a seed.
    pub fn of(&self, id: &str) -> Vec<&Done> {
        self.done.iter().filter(|d| d.record.stage == id).collect()
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
    stop: &AtomicUsize,
) -> Result<Finished, RunError> {
    // Whatever the data or the plan may refuse is refused before a folder is made.
    let prepared = prepare(loaded, options, watch)?;
    let folder = options.out.join(&loaded.name);
    let store = Store::open(&folder)?;
    let stages = execute(loaded, prepared, options, &store, watch, stop)?;
    store.commit(&store.path(RECIPE), loaded.effective.as_bytes())?;
    Ok(Finished { stages, store })
}

/// Data and plan of a run that has not begun.
pub(crate) struct Prepared {
    material: Material,
    digest: String,
    plan: Plan,
    given: GivenFiles,
}

/// Opens the data's list, finds or fetches given weights and lays the plan; writes nothing but the Hub's cache.
pub(crate) fn prepare(loaded: &Loaded, options: &Options, watch: &mut dyn Watch) -> Result<Prepared, RunError> {
    let recipe = &loaded.recipe;
    if let Some(seeds) = &options.seeds
        && (1..seeds.len()).any(|i| seeds[..i].contains(&seeds[i]))
    {
        return Err(RunError::Usage("--seeds: a seed is given twice".into()));
    }
    let set = options.dataset.as_deref().unwrap_or(&recipe.data.set);
    // A recipe's own root belongs to its own set.
    let root = options.data.as_deref().or(recipe.data.root.as_deref().filter(|_| options.dataset.is_none()));
    let material = Material::open(set, root, &recipe.data.config)?;
    let digest = material.digest();
    let seeds = options.seeds.as_deref().unwrap_or(&recipe.seeds);
    let mut given = GivenFiles::new(&options.hub, &options.out.join(&loaded.name))?;
    let mut digest_of = |weights: &Weights| Ok::<_, RunError>(given.find(weights, watch)?.sha256.clone());
    let plan = Plan::new(recipe, &digest, seeds, &options.only, &mut digest_of)?;
    Ok(Prepared { material, digest, plan, given })
}

/// Runs the stages of a plan in a store that the caller has locked.
pub(crate) fn execute(
    loaded: &Loaded,
    prepared: Prepared,
    options: &Options,
    store: &Store,
    watch: &mut dyn Watch,
    stop: &AtomicUsize,
) -> Result<Stages, RunError> {
    let recipe = &loaded.recipe;
    let Prepared { mut material, digest, plan, given } = prepared;
    given.remember(store)?;
    let mut done: Vec<Done> = Vec::with_capacity(plan.nodes.len());
    let mut ran = 0;
    for (i, node) in plan.nodes.iter().enumerate() {
        let now = Now { stage: &node.unit.id, seed: node.seed, position: i + 1, total: plan.nodes.len() };
        let dir = folder_of(store.root(), &node.unit.id, node.seed, &node.key);
        if let Some(record) = reusable(&dir, node, &done, store, watch)? {
            watch.on_finish(now, &record, true);
            done.push(Done { node: node.clone(), dir, record });
            continue;
        }
        let signal = i32::try_from(stop.load(Ordering::Relaxed)).unwrap_or(0);
        if signal != 0 {
            return Err(RunError::Interrupted { signal, stage: node.unit.id.clone() });
        }
        watch.on_begin(now);
        let parents = node
            .parents
            .iter()
            .map(|&p| Parent { node: &plan.nodes[p], dir: done[p].dir.clone(), record: &done[p].record })
            .collect();
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
            parents,
            device: &options.device,
            threads: options.threads,
        };
        let record = work.run()?;
        ran += 1;
        watch.on_finish(now, &record, false);
        done.push(Done { node: node.clone(), dir, record });
    }
    let classes = material.classes().to_vec();
    Ok(Stages { done, rows: plan.rows, ran, digest, classes })
}

/// A name for people, and enough of the key that no two stages share a folder.
pub(crate) fn folder_of(root: &Path, stage: &str, seed: u64, key: &str) -> PathBuf {
    root.join("stages").join(format!("{stage}.seed{seed}.{}", key.get(..12).unwrap_or(key)))
}

/// The record of a finished stage whose parents still say what they said when it ran.
fn reusable(
    dir: &Path,
    node: &Node,
    done: &[Done],
    store: &Store,
    watch: &mut dyn Watch,
) -> Result<Option<Record>, RunError> {
    let reason = match look(dir, &node.key)? {
        Found::Unfinished => return Ok(None),
        Found::Damaged(reason) => reason,
        Found::Finished(record) => {
            let same =
                node.parents.iter().all(|&p| record.parents.get(&done[p].node.key) == Some(&done[p].record.output));
            if same {
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
