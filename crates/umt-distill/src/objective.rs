//! What an objective is, and what it sees of a step.

use crate::Labels;
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use umt_fusion::{FusionConfig, Logits, Loss, Network, Outputs};
use umt_media::Modality;
use umt_nn::{Array, NnError, Params};
use umt_random::Rng;
use umt_train::{EpochContext, StepContext, TrainError};

/// What a step is measured against.
pub struct Targets {
    /// The class of each sample, or of each pixel.
    pub labels: Labels,
    /// Features of the frozen teachers for the same augmented inputs, `[n, width]` by modality; outside any graph.
    pub teachers: BTreeMap<Modality, Tensor>,
    /// The teachers' maps after the stages of [`Objective::maps`].
    pub maps: BTreeMap<Modality, BTreeMap<usize, Array>>,
    /// Logits of each frozen teacher for the same augmented inputs, `[n, classes]` or `[n, h, w, classes]`; outside any graph.
    pub logits: Vec<Tensor>,
    /// Logits of the teachers that have one modality, by it; where an objective asks for them.
    pub alone: BTreeMap<Modality, Tensor>,
}

impl Targets {
    /// The class of each sample, `[n]`, u32, without a teacher.
    pub fn of(labels: Tensor) -> Self {
        Self::without_teacher(Labels::Samples(labels))
    }

    /// Labels without a teacher.
    pub fn without_teacher(labels: Labels) -> Self {
        Self { labels, teachers: BTreeMap::new(), maps: BTreeMap::new(), logits: Vec::new(), alone: BTreeMap::new() }
    }
}

/// One step of training as an objective sees it.
pub struct Pass<'a> {
    /// The network's outputs.
    pub outputs: Outputs<'a>,
    /// Cross-entropy of the outputs' logits, mean over the samples; over the pixels, the sum of all scales.
    pub task: Tensor,
    /// The part of `task` that is not that of the logits at full size: other scales, where there are any.
    pub sides: Option<Tensor>,
    /// Labels and what teachers say.
    pub targets: &'a Targets,
    /// Where in the run this step is.
    pub context: StepContext,
}

/// What a network is made of, for an objective that has parameters of its own.
pub struct Shape {
    /// Length of each encoder's features.
    pub widths: BTreeMap<Modality, usize>,
    /// Number of classes.
    pub classes: usize,
    /// Whether each pixel has a class, and not each sample.
    pub dense: bool,
}

/// What an objective asks of teachers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Features: one teacher for each modality.
    pub features: bool,
    /// Logits, of one teacher or several.
    pub logits: bool,
    /// Logits of one teacher for each modality, which has no other.
    pub alone: bool,
}

impl Needs {
    /// Whether there must be teachers at all.
    pub fn any(self) -> bool {
        self.features || self.logits || self.alone
    }
}

/// A training objective: what it adds to, or puts in place of, the task's loss.
///
/// All that it learns or remembers lies in the network's parameters under names that begin with [`PREFIX`]; it is in
/// every checkpoint and in no finished model.
pub trait Objective: Send + Sync {
    /// Changes `loss`, which begins as the task's.
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError>;

    /// Refuses settings outside their range.
    fn check(&self) -> Result<(), NnError> {
        Ok(())
    }

    /// Adds freshly drawn parameters and empty buffers; refuses a network that it has no meaning for.
    fn init(&self, _params: &mut Params, _shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        Ok(())
    }

    /// What it asks of teachers.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The encoder stages whose maps it looks at, besides the features.
    fn maps(&self) -> BTreeSet<usize> {
        BTreeSet::new()
    }

    /// The fusion it trains, for an objective with a classifier of its own; refuses one that it cannot replace.
    fn fusion(&self, asked: &FusionConfig) -> Result<FusionConfig, NnError> {
        Ok(asked.clone())
    }

    /// The encoders that take part in a step.
    fn encoders(&self, all: &[Modality], _context: &StepContext) -> Vec<Modality> {
        all.to_vec()
    }

    /// Buffers as they are from the next epoch on; see [`umt_train::Task::end_of_epoch`].
    fn end_of_epoch(
        &self,
        _network: &Network,
        _context: &EpochContext<'_>,
    ) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        Ok(Some(Vec::new()))
    }
}

/// What the names of an objective's parameters and buffers begin with.
pub const PREFIX: &str = "objective.";

/// The loss of one step.
///
/// # Errors
/// Labels that do not fit the outputs; what the objective refuses.
pub fn loss(
    objective: &dyn Objective,
    outputs: Outputs<'_>,
    targets: &Targets,
    context: StepContext,
) -> Result<Loss, NnError> {
    let (terms, task, sides) = task_loss(&outputs, &outputs.logits, targets)?;
    let mut loss = Loss::from(task.clone());
    for (name, term) in terms.iter().filter(|_| terms.len() > 1) {
        loss.record(*name, term);
    }
    objective.apply(&mut Pass { outputs, task, sides, targets, context }, &mut loss)?;
    Ok(loss)
}

/// The terms of the task's loss, their sum, and the sum of all but the first.
#[expect(clippy::type_complexity, reason = "three values that only this file takes apart")]
fn task_loss(
    outputs: &Outputs<'_>,
    logits: &Logits,
    targets: &Targets,
) -> Result<(Vec<(&'static str, Tensor)>, Tensor, Option<Tensor>), NnError> {
    let terms = targets.labels.losses(outputs, logits)?;
    let mut rest = terms.iter().map(|(_, term)| term.clone());
    let first = rest.next().ok_or_else(|| NnError::Unsupported("no logits".into()))?;
    let mut sides: Option<Tensor> = None;
    for term in rest {
        sides = Some(match sides {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    let task = match &sides {
        Some(sides) => (first + sides)?,
        None => first,
    };
    Ok((terms, task, sides))
}

impl Pass<'_> {
    /// Puts other logits in the place of the network's, with their loss.
    ///
    /// # Errors
    /// Labels that do not fit; when a device fails.
    pub fn replace(&mut self, logits: Logits) -> Result<(), NnError> {
        (_, self.task, self.sides) = task_loss(&self.outputs, &logits, self.targets)?;
        self.outputs.logits = logits;
        Ok(())
    }

    /// The task's loss with that of other logits at full size, `[n, classes]` or `[n, h, w, classes]`.
    ///
    /// # Errors
    /// Labels that do not fit; when a device fails.
    pub fn task_of(&self, logits: &Tensor) -> Result<Tensor, NnError> {
        let own = self.targets.labels.cross_entropy(logits)?;
        Ok(match &self.sides {
            Some(sides) => (own + sides)?,
            None => own,
        })
    }
}

impl Shape {
    /// Refuses a network whose pixels have classes, by the name of an objective and the reason why that has no meaning there.
    ///
    /// # Errors
    /// [`NnError::Unsupported`].
    pub fn samples(&self, kind: &str, reason: &str) -> Result<(), NnError> {
        match self.dense {
            false => Ok(()),
            true => {
                Err(NnError::Unsupported(format!("`{kind}` has no meaning where each pixel has a class: {reason}")))
            }
        }
    }

    /// Refuses a single modality, between which and others an objective could not decide.
    pub(crate) fn several(&self, kind: &str) -> Result<(), NnError> {
        if self.widths.len() > 1 {
            return Ok(());
        }
        Err(NnError::Unsupported(format!("`{kind}` balances modalities, so it needs two or more")))
    }
}
