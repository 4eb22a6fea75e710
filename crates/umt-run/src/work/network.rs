//! A stage with a network: trained, or with given weights.

use super::Work;
use crate::course::courses;
use crate::error::RunError;
use crate::folder::{FRAMES, METRICS, MODEL, features_file};
use crate::frames;
use crate::pass::{Predicted, Subsets, proper_subsets};
use crate::record::{Figure, Record};
use crate::watch::Relay;
use std::collections::BTreeMap;
use std::time::Instant;
use umt_data::{Loader, LoaderConfig, Split};
use umt_distill::{NetworkTask, ObjectiveConfig, PixelLoss, predicted_map};
use umt_fusion::Network;
use umt_recipe::{ClassWeights, Loss, Missing, Stage, network_config};
use umt_store::{Digest, tensors};
use umt_train::{Feed, Outcome};

/// How a stage with a network came to its end.
struct End {
    refit: bool,
    /// None for given weights.
    outcome: Option<Outcome>,
    /// What there is to say about given weights.
    begin: String,
    /// When its evaluation began.
    evaluating: Instant,
}

impl Work<'_> {
    pub(super) fn network(&mut self) -> Result<Record, RunError> {
        let recipe = self.recipe;
        let stage = &recipe.stage[self.node.unit.stage];
        let refit = stage.train.refit;
        let (mut network, mut begin) = self.begin(stage)?;
        let (network, outcome) = match stage.weights {
            Some(_) => {
                self.place(network.params_mut())?;
                (network, None)
            }
            None => {
                let (network, outcome, note) = self.train(stage, network)?;
                begin += &note;
                (network, Some(outcome))
            }
        };
        let steps = outcome.as_ref().map_or(0, |o| o.steps);

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes =
            tensors::write_with_counters(&network.params().to_tensors(), &network.params().batch_counters(steps))?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        // Probes of maps read the maps themselves: features of samples are what is kept for a probe.
        let probed = self.probed() && !network.is_dense();
        let several = network.modalities().count() > 1;
        let mut standing = network.tokens();
        let needs_means = several && standing.is_none() && !network.is_dense() && self.recipe.missing == Missing::Mean;
        for split in [Split::Train, Split::Validation, Split::Test] {
            let wanted = match split {
                Split::Test => true,
                Split::Validation => probed || !refit,
                _ => probed || needs_means,
            };
            // Under refit the network has seen validation: its metrics there would say nothing.
            let reported = split == Split::Test || (split == Split::Validation && !refit);
            if !wanted {
                continue;
            }
            let Some(loader) = self.optional_loader(split, refit)? else { continue };
            let given = match split {
                Split::Test if several => proper_subsets(&network.modalities().collect::<Vec<_>>()),
                _ => Vec::new(),
            };
            let subsets = Subsets { given, standing: standing.clone().unwrap_or_default() };
            let pass = self.pass(&network, &loader, &subsets)?;
            if split == Split::Train && needs_means {
                standing = Some(pass.means);
            }
            if probed {
                self.file(&mut files, &features_file(split), &pass.features.to_bytes()?)?;
            }
            if reported {
                self.predicted(&mut files, &mut figures, split, &pass.predicted)?;
            }
            for (given, predicted) in &pass.given {
                let names = match predicted {
                    Predicted::Samples(_) => ["top1", "macro-f1"].as_slice(),
                    Predicted::Pixels(_) => ["miou", "pixel-accuracy"].as_slice(),
                };
                let values = predicted.values(Some(names)).map_err(|e| self.eval(e))?;
                let figure =
                    |(id, value)| Figure { given: Some(given.clone()), ..Figure::whole(split.name(), id, value) };
                figures.extend(values.into_iter().map(figure));
            }
            if split == Split::Test && network.is_dense() {
                let frames = self.frames(&network, &loader)?;
                self.file(&mut files, FRAMES, &tensors::write(&frames)?)?;
            }
        }
        let end = End { refit, outcome, begin, evaluating: started };
        self.trained(end, figures, files, output)
    }

    /// Some test frames, evenly over the list, with what the network predicts of them.
    fn frames(&self, network: &Network, loader: &Loader) -> Result<tensors::Tensors, RunError> {
        let (cache, samples) = (loader.cache(), loader.samples());
        let mut kept = tensors::Tensors::new();
        let count = frames::COUNT.min(samples.len());
        for k in 0..count {
            let index = samples[k * samples.len() / count];
            let settings = LoaderConfig { batch: 1, workers: 0, ..loader.config().clone() };
            let one = Loader::new(cache.clone(), vec![index], settings)?;
            let Some(batch) = one.epoch(0, 0).next().transpose()? else { continue };
            let Some(scene) = cache.get(index)?.scene else { continue };
            let batch = Feed::new(batch, &network.params().device()).map_err(|e| self.nn(e))?;
            let logits = network.logits(batch.inputs()).map_err(|e| self.nn(e))?;
            let predicted = predicted_map(&logits, 0, scene.map.shape).map_err(|e| self.nn(e))?;
            frames::keep(&mut kept, k, &scene, &predicted);
        }
        Ok(kept)
    }

    /// The record of a stage with a network: with the logs of its training, and what readers of its weights need besides them.
    fn trained(
        &mut self,
        end: End,
        figures: Vec<Figure>,
        mut files: BTreeMap<String, Digest>,
        output: String,
    ) -> Result<Record, RunError> {
        let End { refit, outcome, begin, evaluating } = end;
        // Whatever became of the files meanwhile: a finished stage has its logs.
        for (name, text) in outcome.iter().flat_map(|outcome| &outcome.logs) {
            self.file(&mut files, name, text)?;
        }
        let note = match &outcome {
            None => begin,
            Some(outcome) => {
                let which = if outcome.kept.best { "best by validation" } else { "last" };
                let on = if refit { ", trained on train and validation" } else { "" };
                format!("{which} weights, epoch {}{on}{begin}", outcome.kept.epoch)
            }
        };
        let cache = self.material.cache(refit, self.store, self.watch)?;
        Ok(Record {
            steps: outcome.as_ref().map_or(0, |o| o.steps),
            note,
            wall_seconds: outcome.as_ref().map_or(0.0, |o| o.seconds) + evaluating.elapsed().as_secs_f64(),
            // A clock that stood still has measured nothing.
            samples_per_second: outcome.map(|o| o.samples_per_second).filter(|&speed| speed > 0.0 && speed.is_finite()),
            samples: Some(self.material.samples(refit, self.store, self.watch)?),
            classes: self.material.classes().to_vec(),
            audio_stats: cache.audio_stats(),
            depth_stats: cache.depth_stats(),
            ..self.record(figures, files, output)
        })
    }

    /// The stage's network as it begins, and what there is to say about given weights.
    fn begin(&self, stage: &Stage) -> Result<(Network, String), RunError> {
        let modalities = &self.node.unit.modalities;
        let config = network_config(self.recipe, modalities, stage, self.material.classes().len());
        let mut network = Network::new(&config, self.node.seed).map_err(|e| self.nn(e))?;
        let note = self.given.give(&mut network, stage, &self.recipe.pretrained)?;
        Ok((network, note))
    }

    fn train(&mut self, stage: &Stage, network: Network) -> Result<(Network, Outcome, String), RunError> {
        let mut note = String::new();
        let objective = stage.distill.clone().unwrap_or(ObjectiveConfig::Task);
        let (objective, teachers) = match objective.wants_courses() {
            true => {
                let courses =
                    courses(&self.parents, self.material.classes().len(), &|parent| self.read(parent, METRICS))?;
                let (objective, fallback) = objective.measured(&courses);
                note = fallback.map(|text| format!(", {text}")).unwrap_or_default();
                (objective, Vec::new())
            }
            false => (objective, self.parents.iter().map(|p| self.teacher(p)).collect::<Result<_, _>>()?),
        };
        let borrowed = teachers.iter().collect();
        let pixels = self.pixel_loss(stage.train.refit)?;
        let mut task = NetworkTask::new(network, objective.build(), borrowed, self.node.seed)
            .and_then(|task| task.with_pixel_loss(pixels))
            .map_err(|e| self.nn(e))?;
        let outcome = self.fit(stage, &mut task)?;
        Ok((task.into_network(), outcome, note))
    }

    /// How pixels count in the loss, where they have classes.
    fn pixel_loss(&mut self, refit: bool) -> Result<PixelLoss, RunError> {
        if self.recipe.data.config.dense.is_none() {
            return Ok(PixelLoss::default());
        }
        let Loss { class_weights, label_smoothing } = self.recipe.loss.clone().unwrap_or_default();
        let cache = self.material.cache(refit, self.store, self.watch)?;
        let class_weights = (class_weights == ClassWeights::MedianFrequency).then(|| cache.class_weights());
        Ok(PixelLoss { class_weights, label_smoothing })
    }

    fn fit(&mut self, stage: &Stage, task: &mut dyn umt_train::Task) -> Result<Outcome, RunError> {
        let refit = stage.train.refit;
        self.place(task.params_mut())?;
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
            umt_train::train(task, &train, validation, &stage.train, &mut env)
        };
        outcome.map_err(|source| RunError::Train {
            stage: self.node.unit.id.clone(),
            seed: self.node.seed,
            source: Box::new(source),
        })
    }

    /// Whether some probe of the recipe reads this stage's features.
    fn probed(&self) -> bool {
        self.recipe.units().iter().any(|u| u.probed == Some(self.node.unit.stage))
    }
}
