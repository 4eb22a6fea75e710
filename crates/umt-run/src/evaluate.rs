//! Finished stages on another set or split. Nothing of the run changes.

use crate::error::RunError;
use crate::folder::{MODEL, load_network};
use crate::opened::Opened;
use crate::pass::{self, PassError, Predicted, Shift, Subsets};
use crate::record::Record;
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use umt_data::{Cache, DataConfig, DataError, Dataset, DepthNormalise, Loader, LoaderConfig, Split};
use umt_eval::{EvalError, Predictions, Results, Row, ensemble, summary};
use umt_media::Modality;
use umt_nn::Stop;
use umt_recipe::{Task, glob, network_config, short_name};
use umt_store::{Store, StoreError};

/// What `eval` is asked for.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    /// The folder of a finished run.
    pub run: PathBuf,
    /// A folder or manifest in place of the one the recipe names.
    pub data: Option<PathBuf>,
    /// A data set in place of the recipe's.
    pub dataset: Option<String>,
    /// The split.
    pub split: Split,
    /// Stages by id, `*` allowed; all networks and ensembles when empty.
    pub only: Vec<String>,
    /// Where networks compute.
    pub device: umt_nn::Device,
}

/// What networks of a finished run reach on a split.
#[derive(Debug)]
pub struct Evaluated {
    /// Their metrics; no row where the samples have no labels.
    pub results: Results,
    /// Predicted classes of samples without labels: how many of each class, by stage and seed.
    pub predicted: BTreeMap<(String, u64), BTreeMap<String, usize>>,
    /// Where metrics and predictions are stored.
    pub folder: PathBuf,
    /// Why they were not stored, where the run's folder may not be written.
    pub unwritten: Option<StoreError>,
}

/// Metrics of the finished networks and ensembles of a run on a split of a set, and what they predict of each sample; stored
/// in a folder of the run that is named by set and split, if they may be.
///
/// # Errors
/// A folder that is no finished run, classes the networks do not know, and what reading data may give.
pub fn evaluate(options: &EvalOptions, watch: &mut dyn Watch, stop: &Arc<AtomicUsize>) -> Result<Evaluated, RunError> {
    let opened = Opened::open(&options.run)?;
    let recipe = &opened.loaded.recipe;

    let store = Store::shared(&options.run)?;
    let set = options.dataset.as_deref().unwrap_or(&recipe.data.set);
    let root = options.data.as_deref().or(recipe.data.root.as_deref().filter(|_| options.dataset.is_none()));
    let mut dataset = umt_data::open(set, root, &recipe.data.config)?;
    if options.split != Split::Test && !dataset.indices(Split::Train).is_empty() {
        let mut validation = recipe.data.config.validation.clone();
        if options.data.is_some() || dataset.name != recipe.data.set {
            let (fitted, text) = validation.for_set(&dataset);
            validation = fitted;
            text.iter().for_each(|text| watch.on_warning(text));
        }
        dataset.split_validation(umt_data::SPLIT_SEED, &validation)?;
    }
    // Before anything is decoded.
    if dataset.indices(options.split).is_empty() {
        let there = |split: &Split| !dataset.indices(*split).is_empty();
        let there = umt_recipe::list(Split::ALL.into_iter().filter(there).map(Split::name));
        return Err(RunError::Usage(format!("no sample of split `{}`; --split names one of {there}", options.split)));
    }
    let classes = opened.classes();
    let digest = dataset.digest();
    let known = known_classes(&dataset, &classes)?;
    let mut caches =
        Caches { set: &dataset, config: &recipe.data.config, store: &store, kept: BTreeMap::new(), elsewhere: None };
    let stopped = || stop.load(Ordering::Relaxed) != 0;

    let mut rows = Vec::new();
    let mut predicted = BTreeMap::new();
    let mut said: BTreeMap<(String, u64), Predictions> = BTreeMap::new();
    for unit in recipe.units().iter().filter(|u| u.probed.is_none()) {
        let wanted = options.only.is_empty() || options.only.iter().any(|p| glob(p, &unit.id));
        for done in opened.stages(&unit.id) {
            let Record { stage, seed, key, .. } = &done.record;
            let fail = |source| RunError::Eval { stage: stage.clone(), source };
            let own = &recipe.stage[unit.stage];
            let found = match &own.task {
                Task::Ensemble { .. } | Task::Auto { .. } => {
                    let mix = &done.record.mix;
                    let members: Vec<(&Predictions, f64)> =
                        mix.iter().filter_map(|(id, w)| Some((said.get(&(id.clone(), *seed))?, *w))).collect();
                    Predicted::Samples(average(&members).map_err(fail)?)
                }
                // Pixels are no member of anything.
                _ if recipe.data.config.dense.is_some() && !wanted => continue,
                _ => {
                    let record = &done.record;
                    let config = network_config(recipe, &unit.modalities, own, record.classes.len());
                    let mut network = load_network(stage, &config, *seed, &done.read(MODEL)?)?;
                    network.params_mut().stop_on(Stop::on(stop));
                    let placed = network.params_mut().to_device(&options.device);
                    placed.map_err(|source| RunError::Network { stage: stage.clone(), source })?;
                    let loader = caches.loader(record, options.split, own.train.batch, watch)?;
                    let shift = shift(record, loader.cache());
                    let pass = pass::run(&network, &loader, &shift, &Subsets::default(), &known, &stopped)
                        .map_err(|e| stage_error(e, stage, *seed, stop))?;
                    pass.predicted
                }
            };
            if let (true, Predicted::Samples(predictions)) = (wanted && !dataset.is_labelled(), &found) {
                let mut counts = BTreeMap::new();
                for class in predictions.scores().map_err(fail)?.predicted() {
                    *counts.entry(classes[class as usize].clone()).or_default() += 1;
                }
                predicted.insert((stage.clone(), *seed), counts);
            } else if wanted {
                let values = found.values(None).map_err(fail)?;
                rows.extend(values.into_iter().map(|(id, value)| row(stage, *seed, options.split, id, value, key)));
            }
            if let Predicted::Samples(predictions) = found {
                said.insert((stage.clone(), *seed), predictions);
            }
        }
    }
    if rows.is_empty() && predicted.is_empty() {
        let known = umt_recipe::list(opened.done.iter().map(|d| &d.record.stage).collect::<BTreeSet<_>>());
        return Err(RunError::Usage(format!("no finished network stage fits; stages of the run: {known}")));
    }
    let results = Results {
        data_digest: digest,
        summary: summary::of_rows(&rows),
        rows,
        paired: Vec::new(),
        failed: Vec::new(),
        expect: Vec::new(),
        ..opened.results
    };
    let folder = store.path("eval").join(format!("{}.{}", short_name(&dataset.name, root), options.split));
    let failed = |source| RunError::Eval { stage: "eval".into(), source };
    let mut files = vec![("eval.json".to_owned(), results.to_json().map_err(failed)?)];
    for ((stage, seed), predictions) in &said {
        if options.only.is_empty() || options.only.iter().any(|p| glob(p, stage)) {
            let table = predictions.to_csv(&classes, dataset.is_labelled()).map_err(failed)?;
            files.push((format!("predictions.{stage}.seed{seed}.csv"), table));
        }
    }
    let stored = files.iter().try_for_each(|(name, text)| store.commit(&folder.join(name), text.as_bytes()).map(drop));
    let unwritten = match stored {
        Err(error) if error.is_denied() => Some(error),
        stored => stored.map(|()| None)?,
    };
    Ok(Evaluated { results, predicted, folder, unwritten })
}

/// The decoded set, once for each way in which the stages were given their depth.
struct Caches<'a> {
    set: &'a Dataset,
    config: &'a DataConfig,
    store: &'a Store,
    kept: BTreeMap<Option<[u32; 2]>, Arc<Cache>>,
    /// A folder of its own, where samples that are not yet decoded may not be stored in the run's.
    elsewhere: Option<tempfile::TempDir>,
}

impl Caches<'_> {
    /// A split for a stage: depth is normalised as it was when the stage was trained, whatever this set's own depths are.
    fn loader(
        &mut self,
        record: &Record,
        split: Split,
        batch: usize,
        watch: &mut dyn Watch,
    ) -> Result<Loader, RunError> {
        let mut config = self.config.clone();
        if let (Some(depth), Some([mean, std])) = (&mut config.depth, record.depth_stats) {
            depth.normalise = DepthNormalise::Fixed { mean, std: std.max(1e-6) };
        }
        let key = record.depth_stats.map(|stats| stats.map(f32::to_bits));
        if !self.kept.contains_key(&key) {
            let mut tell = |p: umt_data::Progress| watch.on_decode(p.done, p.total);
            let cache = match Cache::build(self.set, &config, &self.store.path("cache"), &mut tell, self.store) {
                Err(DataError::Store(error)) if error.is_denied() => {
                    let folder = match self.elsewhere.take() {
                        Some(folder) => folder,
                        None => {
                            tempfile::tempdir().map_err(|source| RunError::Io { path: std::env::temp_dir(), source })?
                        }
                    };
                    let store = Store::shared(folder.path())?;
                    self.elsewhere = Some(folder);
                    Cache::build(self.set, &config, store.root(), &mut tell, &store)?
                }
                built => built?,
            };
            if let Some(text) = cache.rebuilt() {
                watch.on_warning(&crate::material::rebuilt(text));
            }
            self.kept.insert(key, Arc::new(cache));
        }
        let cache = &self.kept[&key];
        Ok(Loader::new(Arc::clone(cache), cache.indices(split), LoaderConfig { batch, ..LoaderConfig::default() })?)
    }
}

/// Another set has other statistics; the network wants its input as it was trained.
pub(crate) fn shift(record: &Record, cache: &Cache) -> Shift {
    match (record.audio_stats, cache.audio_stats()) {
        (Some([mean, std]), Some([own_mean, own_std])) if [mean, std] != [own_mean, own_std] => {
            let std = std.max(1e-6);
            Shift(BTreeMap::from([(Modality::Audio, (own_std.max(1e-6) / std, (own_mean - mean) / std))]))
        }
        _ => Shift::default(),
    }
}

/// For each class of the set its number in the network.
fn known_classes(set: &Dataset, classes: &[String]) -> Result<Vec<u32>, RunError> {
    let of = |name: &String| classes.iter().position(|c| c == name).map(|i| i as u32);
    if !set.is_labelled() {
        return Ok(vec![0]);
    }
    let strange: Vec<&String> = set.classes.iter().filter(|c| of(c).is_none()).take(5).collect();
    if strange.is_empty() {
        return Ok(set.classes.iter().filter_map(of).collect());
    }
    let message = format!("the set has classes that the run was not trained on, such as {}", umt_recipe::list(strange));
    Err(RunError::Usage(message))
}

fn average(members: &[(&Predictions, f64)]) -> Result<Predictions, EvalError> {
    let (first, _) = members.first().ok_or(EvalError::Empty { what: "ensemble" })?;
    let logits: Vec<&[f32]> = members.iter().map(|(m, _)| m.logits()).collect();
    let weights: Vec<f64> = members.iter().map(|(_, w)| *w).collect();
    let mean = ensemble::log_probabilities(&logits, first.classes(), &weights)?;
    Predictions::new(first.ids().to_vec(), first.labels().to_vec(), first.classes(), mean)
}

fn row(stage: &str, seed: u64, split: Split, metric: &str, value: f64, key: &str) -> Row {
    Row {
        stage: stage.into(),
        seed,
        split: split.to_string(),
        metric: metric.into(),
        value,
        given: None,
        key: key.into(),
    }
}

pub(crate) fn stage_error(error: PassError, stage: &str, seed: u64, stop: &Arc<AtomicUsize>) -> RunError {
    let stage = stage.to_owned();
    match error {
        PassError::Data(error) => error.into(),
        PassError::Nn(source) => RunError::Network { stage, source },
        PassError::Eval(source) => RunError::Eval { stage, source },
        PassError::Train(source) => RunError::Train { stage, seed, source: Box::new(source) },
        PassError::Stopped => {
            RunError::Interrupted { signal: i32::try_from(stop.load(Ordering::Relaxed)).unwrap_or(0), stage }
        }
    }
}
