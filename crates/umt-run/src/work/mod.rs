//! What a stage does: train a network, average an ensemble, fit a probe. Each writes its folder and returns its record.

mod auto;
mod ensemble;
mod network;
mod probe;
mod probe_maps;

use crate::done::Done;
use crate::error::RunError;
use crate::folder::{COUNTS, MODEL, TALLIES, forget_checkpoints, load_network, predictions_file};
use crate::material::Material;
use crate::pass::{self, PassError, Predicted, Shift, Subsets};
use crate::record::{Figure, Record};
use crate::segmented::Segmented;
use crate::watch::{Now, Watch};
use crate::weights::GivenFiles;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use umt_data::{Loader, Split};
use umt_eval::{Confusion, EvalError, Predictions, metrics::Measured};
use umt_fusion::Network;
use umt_media::Modality;
use umt_nn::{Device, NnError, Params, Stop};
use umt_recipe::plan::{FORMAT, Node};
use umt_recipe::{Recipe, Task, network_config};
use umt_store::{Digest, Store};

/// Everything a stage needs besides its own settings.
pub(crate) struct Work<'a> {
    pub recipe: &'a Recipe,
    pub store: &'a Store,
    pub material: &'a mut Material,
    pub given: &'a GivenFiles,
    pub watch: &'a mut dyn Watch,
    pub stop: &'a Arc<AtomicUsize>,
    pub now: Now<'a>,
    pub node: &'a Node,
    pub dir: PathBuf,
    pub parents: Vec<&'a Done>,
    /// SHA-256 of what was read of each parent, by the parent's key and the file's name.
    pub read: RefCell<BTreeMap<String, BTreeMap<String, String>>>,
    pub device: &'a Device,
    pub threads: usize,
}

impl Work<'_> {
    /// Does the stage, going on where an interrupted process left it.
    pub fn run(mut self) -> Result<Record, RunError> {
        self.store.create_dir(&self.dir)?;
        crate::memory::forget_peak();
        let started = Instant::now();
        let mut record = match &self.recipe.stage[self.node.unit.stage].task {
            Task::Ensemble { weights, .. } => self.ensemble(*weights)?,
            Task::Auto { .. } => self.auto()?,
            Task::LinearProbe { probe, .. } if self.recipe.data.config.dense.is_some() => {
                self.probe_maps(&probe.clone())?
            }
            Task::LinearProbe { probe, .. } => self.probe(&probe.clone())?,
            Task::Single { .. } | Task::Fusion { .. } => self.network()?,
        };
        if record.steps == 0 {
            record.wall_seconds = started.elapsed().as_secs_f64();
        }
        record.peak_bytes = crate::memory::peak();
        let record = record.commit(self.store, &self.dir)?;
        forget_checkpoints(self.store, &self.dir)?;
        Ok(record)
    }

    /// A file of a parent, as the parent's record vouches for it; that it was read is part of this stage's record.
    fn read(&self, parent: &Done, name: &str) -> Result<Vec<u8>, RunError> {
        let bytes = parent.read(name)?;
        self.has_read(parent, name);
        Ok(bytes)
    }

    fn has_read(&self, parent: &Done, name: &str) {
        let mut read = self.read.borrow_mut();
        read.entry(parent.node.key.clone()).or_default().extend(parent.vouches(name).map(|sha| (name.to_owned(), sha)));
    }

    /// A parent's predictions of a split.
    fn predictions_of(&self, parent: &Done, split: Split) -> Result<Predictions, RunError> {
        parent.parse_predictions(&self.read(parent, &predictions_file(split))?)
    }

    /// The trained network of a finished stage.
    fn teacher(&self, parent: &Done) -> Result<Network, RunError> {
        let stage = &self.recipe.stage[parent.node.unit.stage];
        let classes = self.material.classes().len();
        let config = network_config(self.recipe, &parent.node.unit.modalities, stage, classes);
        let mut network = load_network(&self.node.unit.id, &config, parent.node.seed, &self.read(parent, MODEL)?)?;
        self.place(network.params_mut())?;
        Ok(network)
    }

    fn pass(&self, network: &Network, loader: &Loader, subsets: &Subsets) -> Result<pass::Pass, RunError> {
        let own: Vec<u32> = (0..network.shapes().classes as u32).collect();
        let stopped = || self.stop.load(Ordering::Relaxed) != 0;
        pass::run(network, loader, &Shift::default(), subsets, &own, &stopped).map_err(|error| self.passed(error))
    }

    /// The error of a pass over a split.
    fn passed(&self, error: PassError) -> RunError {
        match error {
            PassError::Data(error) => error.into(),
            PassError::Nn(error) => self.nn(error),
            PassError::Eval(error) => self.eval(error),
            PassError::Train(error) => {
                RunError::Train { stage: self.node.unit.id.clone(), seed: self.node.seed, source: Box::new(error) }
            }
            PassError::Stopped => self.stopped(),
        }
    }

    fn loader(&mut self, split: Split, refit: bool, train: bool) -> Result<Loader, RunError> {
        let settings = &self.recipe.stage[self.node.unit.stage].train;
        let indices = self.material.indices(split, refit && train, self.store, self.watch)?;
        let config = settings.loader(self.node.seed, train, indices.len());
        Ok(Loader::new(self.material.cache(refit, self.store, self.watch)?, indices, config)?)
    }

    /// The loader of a split in evaluation; none where the split has no sample.
    fn optional_loader(&mut self, split: Split, refit: bool) -> Result<Option<Loader>, RunError> {
        match self.material.indices(split, false, self.store, self.watch)?.is_empty() {
            true => Ok(None),
            false => self.loader(split, refit, false).map(Some),
        }
    }

    /// Stores what a network predicts of a split; returns the digest of the file that stages read, if one was stored.
    fn predicted(
        &self,
        files: &mut BTreeMap<String, Digest>,
        figures: &mut Vec<Figure>,
        split: Split,
        predicted: &Predicted,
    ) -> Result<String, RunError> {
        match predicted {
            Predicted::Samples(predictions) => self.predictions(files, figures, split, predictions),
            Predicted::Pixels(segmented) => self.pixels(files, figures, split, segmented, None),
        }
    }

    /// As [`Self::predicted`], of counted pixels; those of test are stored, unless they are of some modalities alone.
    fn pixels(
        &self,
        files: &mut BTreeMap<String, Digest>,
        figures: &mut Vec<Figure>,
        split: Split,
        segmented: &Segmented,
        given: Option<Vec<Modality>>,
    ) -> Result<String, RunError> {
        let values = Measured::Pixels(&segmented.confusion).reported().map_err(|e| self.eval(e))?;
        let figure = |(id, value)| Figure { given: given.clone(), ..Figure::whole(split.name(), id, value) };
        figures.extend(values.into_iter().map(figure));
        if split != Split::Test || given.is_some() {
            return Ok(String::new());
        }
        let names = self.material.classes().to_vec();
        let matrix = segmented.confusion.to_csv(&names).map_err(|e| self.eval(e))?;
        self.file(files, "confusion.test.csv", matrix.as_bytes())?;
        let json = |counts: &[u64]| serde_json::to_vec(counts).unwrap_or_default();
        self.file(files, TALLIES, &json(segmented.tallies.counts()))?;
        self.file(files, COUNTS, &json(segmented.confusion.counts()))
    }

    /// Stores predictions and what people read of them; returns the digest of the file that stages read.
    fn predictions(
        &self,
        files: &mut BTreeMap<String, Digest>,
        figures: &mut Vec<Figure>,
        split: Split,
        predictions: &Predictions,
    ) -> Result<String, RunError> {
        let scores = predictions.scores().map_err(|e| self.eval(e))?;
        let values = Measured::Samples(&scores).reported().map_err(|e| self.eval(e))?;
        figures.extend(values.into_iter().map(|(id, value)| Figure::whole(split.name(), id, value)));
        let names = self.material.classes().to_vec();
        let table = predictions.to_csv(&names, true).map_err(|e| self.eval(e))?;
        self.file(files, &format!("predictions.{split}.csv"), table.as_bytes())?;
        if split == Split::Test {
            let matrix = Confusion::of(&scores).to_csv(&names).map_err(|e| self.eval(e))?;
            self.file(files, "confusion.test.csv", matrix.as_bytes())?;
        }
        let bytes = predictions.to_bytes().map_err(|e| self.eval(e))?;
        self.file(files, &predictions_file(split), &bytes)
    }

    fn file(&self, files: &mut BTreeMap<String, Digest>, name: &str, bytes: &[u8]) -> Result<String, RunError> {
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
            depth_stats: None,
            steps: 0,
            note: String::new(),
            mix: BTreeMap::new(),
            wall_seconds: 0.0,
            samples_per_second: None,
            peak_bytes: None,
            device: self.device.name(),
            isa: umt_nn::kernels::isa().as_str().to_owned(),
            threads: self.threads,
            parents: self.read.borrow().clone(),
            output,
            files,
            digest: String::new(),
        }
    }

    fn stop_if_asked(&self) -> Result<(), RunError> {
        if self.stop.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(self.stopped()) }
    }

    fn stopped(&self) -> RunError {
        let signal = i32::try_from(self.stop.load(Ordering::Relaxed)).unwrap_or(0);
        RunError::Interrupted { signal, stage: self.node.unit.id.clone() }
    }

    /// Brings a network to the device, and lets its passes be given up when a stop is asked for.
    fn place(&self, params: &mut Params) -> Result<(), RunError> {
        params.stop_on(Stop::on(self.stop));
        params.to_device(self.device).map_err(|e| self.nn(e))
    }

    fn nn(&self, source: NnError) -> RunError {
        if matches!(source, NnError::Stopped) {
            return self.stopped();
        }
        RunError::Network { stage: self.node.unit.id.clone(), source }
    }

    fn eval(&self, source: EvalError) -> RunError {
        RunError::Eval { stage: self.node.unit.id.clone(), source }
    }
}
