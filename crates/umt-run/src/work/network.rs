//! A stage with a network: trained, or with given weights.

use super::Work;
use crate::course::courses;
use crate::error::RunError;
use crate::folder::{METRICS, MODEL, features_file};
use crate::pass::{Subsets, proper_subsets};
use crate::record::{Figure, Record};
use crate::watch::Relay;
use std::collections::BTreeMap;
use std::time::Instant;
use umt_data::Split;
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_eval::metrics::Measured;
use umt_fusion::Network;
use umt_recipe::{Missing, Stage, network_config};
use umt_store::{Digest, tensors};
use umt_train::Outcome;

/// How a stage with a network came to its end.
pub(super) struct End {
    pub(super) refit: bool,
    /// None for given weights.
    pub(super) outcome: Option<Outcome>,
    /// What there is to say about given weights.
    pub(super) begin: String,
    /// When its evaluation began.
    pub(super) evaluating: Instant,
}

impl Work<'_> {
    pub(super) fn network(&mut self) -> Result<Record, RunError> {
        let recipe = self.recipe;
        let stage = &recipe.stage[self.node.unit.stage];
        let refit = stage.train.refit;
        let (mut network, begin) = self.begin(stage)?;
        let (network, outcome) = match stage.weights {
            Some(_) => {
                self.place(network.params_mut())?;
                (network, None)
            }
            None => self.train(stage, network).map(|(network, outcome)| (network, Some(outcome)))?,
        };
        let steps = outcome.as_ref().map_or(0, |o| o.steps);

        let started = Instant::now();
        let mut files = BTreeMap::new();
        let bytes =
            tensors::write_with_counters(&network.params().to_tensors(), &network.params().batch_counters(steps))?;
        let output = self.file(&mut files, MODEL, &bytes)?;
        let mut figures = Vec::new();
        let probed = self.probed();
        let several = network.modalities().count() > 1;
        let mut standing = network.tokens();
        let needs_means = several && standing.is_none() && self.recipe.missing == Missing::Mean;
        for split in [Split::Train, Split::Validation, Split::Test] {
            let wanted = match split {
                Split::Test => true,
                Split::Validation => probed || !refit,
                _ => probed || needs_means,
            };
            // Under refit the network has seen validation: its figures there would say nothing.
            let reported = split == Split::Test || (split == Split::Validation && !refit);
            let Some(loader) = self.optional_loader(split, refit)?.filter(|_| wanted) else { continue };
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
                self.predictions(&mut files, &mut figures, split, &pass.predictions)?;
            }
            for (given, said) in &pass.given {
                let scores = said.scores().map_err(|e| self.eval(e))?;
                let values = Measured::Samples(&scores).values(&["top1", "macro-f1"]).map_err(|e| self.eval(e))?;
                let figure =
                    |(id, value)| Figure { given: Some(given.clone()), ..Figure::whole(split.name(), id, value) };
                figures.extend(values.into_iter().map(figure));
            }
        }
        let end = End { refit, outcome, begin, evaluating: started };
        self.trained(end, figures, files, output)
    }

    /// The record of a stage with a network: with the logs of its training, and what readers of its weights need besides them.
    pub(super) fn trained(
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

    fn train(&mut self, stage: &Stage, network: Network) -> Result<(Network, Outcome), RunError> {
        let objective = stage.distill.clone().unwrap_or(ObjectiveConfig::Task);
        let (objective, teachers) = match objective.wants_courses() {
            true => {
                let courses =
                    courses(&self.parents, self.material.classes().len(), &|parent| self.read(parent, METRICS))?;
                (objective.measured(&courses).map_err(|e| self.nn(e))?, Vec::new())
            }
            false => (objective, self.parents.iter().map(|p| self.teacher(p)).collect::<Result<_, _>>()?),
        };
        let borrowed = teachers.iter().collect();
        let mut task =
            NetworkTask::new(network, objective.build(), borrowed, self.node.seed).map_err(|e| self.nn(e))?;
        let outcome = self.fit(stage, &mut task)?;
        Ok((task.into_network(), outcome))
    }

    /// Trains the task of a stage, whatever it is.
    pub(super) fn fit(&mut self, stage: &Stage, task: &mut dyn umt_train::Task) -> Result<Outcome, RunError> {
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
