//! What a stage does: train a network, average an ensemble, fit a probe. Each writes its folder and returns its record.

use crate::error::RecipeError;
use crate::folder::{MODEL, features_file, forget_checkpoints, load_network, predictions_file, read, read_predictions};
use crate::material::Material;
use crate::pass::{self, Features, PassError, Shift};
use crate::plan::{FORMAT, Node};
use crate::recipe::{Recipe, Task};
use crate::record::{Figure, Record};
use crate::watch::{Now, Relay, Watch};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use umt_data::{Loader, LoaderConfig, Split};
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_eval::{Confusion, EvalError, LinearProbe, Predictions, ProbeConfig, ensemble, metrics};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::Modality;
use umt_nn::NnError;
use umt_store::{Digest, Store, tensors};

/// A finished stage that others read.
pub(crate) struct Parent<'a> {
    pub node: &'a Node,
    pub dir: PathBuf,
    pub record: &'a Record,
}

/// Everything a stage needs besides its own settings.
pub(crate) struct Work<'a> {
    pub recipe: &'a Recipe,
    pub store: &'a Store,
    pub material: &'a mut Material,
    pub watch: &'a mut dyn Watch,
    pub stop: &'a AtomicUsize,
    pub now: Now<'a>,
    pub node: &'a Node,
    pub dir: PathBuf,
    pub parents: Vec<Parent<'a>>,
    pub device: &'a str,
    pub threads: usize,
}

impl Work<'_> {
    /// Does the stage, going on where an interrupted process left it.
    pub fn run(mut self) -> Result<Record, RecipeError> {
        self.store.create_dir(&self.dir)?;
        let started = Instant::now();
        let mut record = match &self.recipe.stage[self.node.unit.stage].task {
            Task::Ensemble { .. } => self.ensemble()?,
            Task::LinearProbe { probe, .. } => self.probe(&probe.clone())?,
            Task::Single { .. } | Task::Fusion { .. } => self.network()?,
        };
        if record.steps == 0 {
            record.wall_seconds = started.elapsed().as_secs_f64();
        }
        let record = record.commit(self.store, &self.dir)?;
        forget_checkpoints(self.store, &self.dir)?;
        Ok(record)
    }

    fn network(&mut self) -> Result<Record, RecipeError> {
        let stage = &self.recipe.stage[self.node.unit.stage];
        let config =
            network_config(self.recipe, &self.node.unit.modalities, &stage.task, self.material.classes().len());
        let network = Network::new(&config, self.node.seed).map_err(|e| self.nn(e))?;
        let mut teachers = BTreeMap::new();
        for parent in &self.parents {
            for &modality in &parent.node.unit.modalities {
                teachers.insert(modality, self.teacher(parent)?);
            }
        }
        let objective = stage.distill.clone().unwrap_or(ObjectiveConfig::Task).build();
        let borrowed = teachers.iter().map(|(m, n)| (*m, n)).collect();
        let mut task = NetworkTask::new(network, objective, borrowed).map_err(|e| self.nn(e))?;

        let refit = stage.train.refit;
        let train = self.loader(Split::Train, refit, true)?;
        let validation = match refit {
            true => None,
            false => self.optional_loader(Split::Validation, refit)?,
        };
        let outcome = {
            let mut relay = Relay { now: self.now, watch: &mut *self.watch };
            let mut env = umt_train::Env {
                stage: &self.node.unit.id,
                dir: &self.dir,
                store: self.store,
                seed: self.node.seed,
                observer: &mut relay,
                stop: self.stop,
            };
            let validation = validation.as_ref().map(|v| v as &dyn umt_train::BatchSource);
            umt_train::train(&mut task, &train, validation, &stage.train, &mut env)
        };
        let outcome = outcome.map_err(|source| RecipeError::Train {
            stage: self.node.unit.id.clone(),
            seed: self.node.seed,
            source: Box::new(source),
        })?;
        let network = task.into_network();

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes = tensors::write(&network.params().to_tensors())?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        let probed = self.probed();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let wanted = match split {
                Split::Test => true,
                Split::Validation => probed || !refit,
                _ => probed,
            };
            // Under refit the network has seen validation: its figures there would say nothing.
            let reported = split == Split::Test || (split == Split::Validation && !refit);
            let Some(loader) = self.optional_loader(split, refit)?.filter(|_| wanted) else { continue };
            let pass = self.pass(&network, &loader)?;
            if probed {
                self.file(&mut files, &features_file(split), &pass.features.to_bytes()?)?;
            }
            if reported {
                self.predictions(&mut files, &mut figures, split, &pass.predictions)?;
            }
        }
        for name in ["metrics.jsonl", "timing.jsonl"] {
            let path = self.dir.join(name);
            if path.exists() {
                files.insert(name.to_owned(), umt_store::digest_file(&path)?);
            }
        }
        let samples = self.material.samples(refit, self.store, self.watch)?;
        let which = if outcome.kept.best { "best by validation" } else { "last" };
        let on = if refit { ", trained on train and validation" } else { "" };
        Ok(Record {
            steps: outcome.steps,
            note: format!("{which} weights, epoch {}{on}", outcome.kept.epoch),
            wall_seconds: outcome.seconds + started.elapsed().as_secs_f64(),
            samples_per_second: Some(outcome.samples_per_second),
            samples: Some(samples),
            classes: self.material.classes().to_vec(),
            audio_stats: self.material.cache(refit, self.store, self.watch)?.audio_stats(),
            ..self.record(figures, files, output)
        })
    }

    fn ensemble(&mut self) -> Result<Record, RecipeError> {
        let (mut files, mut figures, mut output) = (BTreeMap::new(), Vec::new(), String::new());
        for split in [Split::Validation, Split::Test] {
            let name = predictions_file(split);
            let members: Vec<&Parent<'_>> =
                self.parents.iter().filter(|p| p.record.files.contains_key(&name)).collect();
            if members.len() < self.parents.len() {
                continue;
            }
            let read: Vec<Predictions> =
                members.iter().map(|p| read_predictions(&p.dir, split, &p.node.unit.id)).collect::<Result<_, _>>()?;
            let Some(first) = read.first() else { continue };
            if let Some(other) = read.iter().find(|p| p.ids() != first.ids()) {
                let (expected, got) = (first.ids().len(), other.ids().len());
                return Err(self.eval(EvalError::Shape { what: "samples of the ensemble's members", expected, got }));
            }
            let logits: Vec<&[f32]> = read.iter().map(Predictions::logits).collect();
            let mean = ensemble::log_probabilities(&logits, first.classes()).map_err(|e| self.eval(e))?;
            let all = Predictions::new(first.ids().to_vec(), first.labels().to_vec(), first.classes(), mean)
                .map_err(|e| self.eval(e))?;
            output = self.predictions(&mut files, &mut figures, split, &all)?;
        }
        let names: Vec<&str> = self.parents.iter().map(|p| p.node.unit.id.as_str()).collect();
        let note = format!("mean of the probabilities of {}", names.join(", "));
        Ok(Record { note, ..self.record(figures, files, output) })
    }

    fn probe(&mut self, config: &ProbeConfig) -> Result<Record, RecipeError> {
        let Some(&modality) = self.node.unit.modalities.first() else {
            return Err(RecipeError::Usage(format!("`{}` has no modality to probe", self.node.unit.id)));
        };
        let train = self.features(Split::Train)?;
        let validation = self.features(Split::Validation)?;
        let test = self.features(Split::Test)?;
        let classes = self.material.classes().len();
        let (Some(train), Some(test)) = (view(&train, modality, classes), view(&test, modality, classes)) else {
            return Err(self.eval(EvalError::Empty { what: "features" }));
        };
        let (train, test) = (train.map_err(|e| self.eval(e))?, test.map_err(|e| self.eval(e))?);
        let held = view(&validation, modality, classes).transpose().map_err(|e| self.eval(e))?;
        self.stop_if_asked()?;
        let fitted = LinearProbe::fit(train, held, config).map_err(|e| self.eval(e))?;

        let ids = read_predictions(&self.parents[0].dir, Split::Test, &self.node.unit.id)?.ids().to_vec();
        let logits = fitted.model.predict(test.values()).map_err(|e| self.eval(e))?;
        let predictions = Predictions::new(ids, test.labels().to_vec(), classes, logits).map_err(|e| self.eval(e))?;
        let (mut files, mut figures) = (BTreeMap::new(), Vec::new());
        let output = self.predictions(&mut files, &mut figures, Split::Test, &predictions)?;
        if let Some(value) = fitted.validation_top1 {
            figures.push(Figure { split: "validation".into(), metric: "top1".into(), value });
        }
        let tried = serde_json::to_vec_pretty(&fitted.candidates).unwrap_or_default();
        self.file(&mut files, "strengths.json", &tried)?;
        let chosen = if held.is_some() { ", chosen on validation" } else { "" };
        let note = format!("l2 {:e}{chosen}", fitted.l2);
        Ok(Record { note, ..self.record(figures, files, output) })
    }

    /// Features of the probed stage: stored with it when its recipe already had the probe, else computed now.
    fn features(&mut self, split: Split) -> Result<Features, RecipeError> {
        let name = features_file(split);
        let parent = &self.parents[0];
        if parent.record.files.contains_key(&name) {
            return Ok(Features::from_bytes(&read(&parent.dir.join(name))?)?);
        }
        if parent.record.files.keys().any(|f| f.starts_with("features.")) {
            return Ok(Features::default());
        }
        let network = self.teacher(parent)?;
        let refit = self.recipe.stage[parent.node.unit.stage].train.refit;
        match self.optional_loader(split, refit)? {
            Some(loader) => Ok(self.pass(&network, &loader)?.features),
            None => Ok(Features::default()),
        }
    }

    /// Whether some probe of the recipe reads this stage's features.
    fn probed(&self) -> bool {
        self.recipe.units().iter().any(|u| u.probed == Some(self.node.unit.stage))
    }

    /// The trained network of a finished stage.
    fn teacher(&self, parent: &Parent<'_>) -> Result<Network, RecipeError> {
        let stage = &self.recipe.stage[parent.node.unit.stage];
        let classes = self.material.classes().len();
        let config = network_config(self.recipe, &parent.node.unit.modalities, &stage.task, classes);
        load_network(&config, parent.node.seed, &parent.dir).map_err(|e| e.unwrap_or_else(|source| self.nn(source)))
    }

    fn pass(&self, network: &Network, loader: &Loader) -> Result<pass::Pass, RecipeError> {
        pass::run(network, loader, &Shift::default(), &|| self.stop.load(Ordering::Relaxed) != 0).map_err(|error| {
            match error {
                PassError::Data(error) => error.into(),
                PassError::Nn(error) => self.nn(error),
                PassError::Eval(error) => self.eval(error),
                PassError::Stopped => self.stopped(),
            }
        })
    }

    fn loader(&mut self, split: Split, refit: bool, train: bool) -> Result<Loader, RecipeError> {
        let settings = &self.recipe.stage[self.node.unit.stage].train;
        let indices = self.material.indices(split, refit && train, self.store, self.watch)?;
        let config = LoaderConfig {
            batch: settings.batch,
            seed: self.node.seed,
            workers: settings.workers,
            prefetch: settings.prefetch,
            train,
            // A last small batch would disturb batch-norm's statistics; a set smaller than a batch has only that one.
            drop_last: train && indices.len() >= settings.batch,
        };
        Ok(Loader::new(self.material.cache(refit, self.store, self.watch)?, indices, config)?)
    }

    /// The loader of a split in evaluation; none where the split has no sample.
    fn optional_loader(&mut self, split: Split, refit: bool) -> Result<Option<Loader>, RecipeError> {
        match self.material.indices(split, false, self.store, self.watch)?.is_empty() {
            true => Ok(None),
            false => self.loader(split, refit, false).map(Some),
        }
    }

    /// Stores predictions and what people read of them; returns the digest of the file that stages read.
    fn predictions(
        &self,
        files: &mut BTreeMap<String, Digest>,
        figures: &mut Vec<Figure>,
        split: Split,
        predictions: &Predictions,
    ) -> Result<String, RecipeError> {
        let scores = predictions.scores().map_err(|e| self.eval(e))?;
        for id in metrics::REPORTED {
            match metrics::by_id(id).and_then(|m| m.value(&scores)) {
                Ok(value) => figures.push(Figure { split: split.to_string(), metric: (*id).into(), value }),
                // Not every figure is defined for every set: five classes for top-5, two labels for the rankings.
                Err(EvalError::TopK { .. } | EvalError::OneClass { .. }) => {}
                Err(error) => return Err(self.eval(error)),
            }
        }
        let names = self.material.classes().to_vec();
        let table = predictions.to_csv(&names).map_err(|e| self.eval(e))?;
        self.file(files, &format!("predictions.{split}.csv"), table.as_bytes())?;
        if split == Split::Test {
            let matrix = Confusion::of(&scores).to_csv(&names).map_err(|e| self.eval(e))?;
            self.file(files, "confusion.test.csv", matrix.as_bytes())?;
        }
        let bytes = predictions.to_bytes().map_err(|e| self.eval(e))?;
        self.file(files, &predictions_file(split), &bytes)
    }

    fn file(&self, files: &mut BTreeMap<String, Digest>, name: &str, bytes: &[u8]) -> Result<String, RecipeError> {
        let digest = self.store.commit(&self.dir.join(name), bytes)?;
        let sha = digest.sha256.clone();
        files.insert(name.to_owned(), digest);
        Ok(sha)
    }

    fn record(&self, figures: Vec<Figure>, files: BTreeMap<String, Digest>, output: String) -> Record {
        Record {
            format: FORMAT,
            key: self.node.key.clone(),
            stage: self.node.unit.id.clone(),
            seed: self.node.seed,
            settings: self.node.settings.clone(),
            figures,
            samples: None,
            classes: Vec::new(),
            audio_stats: None,
            steps: 0,
            note: String::new(),
            wall_seconds: 0.0,
            samples_per_second: None,
            device: self.device.to_owned(),
            isa: umt_nn::kernels::isa().as_str().to_owned(),
            threads: self.threads,
            parents: self.parents.iter().map(|p| (p.node.key.clone(), p.record.output.clone())).collect(),
            output,
            files,
            digest: String::new(),
        }
    }

    fn stop_if_asked(&self) -> Result<(), RecipeError> {
        if self.stop.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(self.stopped()) }
    }

    fn stopped(&self) -> RecipeError {
        let signal = i32::try_from(self.stop.load(Ordering::Relaxed)).unwrap_or(0);
        RecipeError::Interrupted { signal, stage: self.node.unit.id.clone() }
    }

    fn nn(&self, source: NnError) -> RecipeError {
        RecipeError::Network { stage: self.node.unit.id.clone(), source }
    }

    fn eval(&self, source: EvalError) -> RecipeError {
        RecipeError::Eval { stage: self.node.unit.id.clone(), source }
    }
}

/// The network of a stage.
pub(crate) fn network_config(recipe: &Recipe, modalities: &[Modality], task: &Task, classes: usize) -> NetworkConfig {
    let fusion = match task {
        Task::Fusion { fusion, .. } => fusion.clone(),
        // One modality: its features and a linear classifier.
        _ => FusionConfig::Concat,
    };
    let encoders = modalities.iter().filter_map(|m| recipe.encoder.get(m).map(|e| (*m, e.clone()))).collect();
    NetworkConfig { encoders, fusion, classes }
}

fn view(features: &Features, modality: Modality, classes: usize) -> Option<Result<umt_eval::Features<'_>, EvalError>> {
    let (width, values) = features.values.get(&modality)?;
    Some(umt_eval::Features::new(values, *width, &features.labels, classes))
}
