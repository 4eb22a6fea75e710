//! What an objective is, and what it sees of a step.

use crate::scores::cross_entropy;
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use umt_fusion::{FusionConfig, Loss, Network, Outputs};
use umt_media::Modality;
use umt_nn::{Array, NnError, Params};
use umt_random::Rng;
use umt_train::{EpochContext, StepContext, TrainError};

/// What a step is measured against.
pub struct Targets {
    /// Class of each sample, `[n]`, u32.
    pub labels: Tensor,
    /// Features of the frozen teachers for the same augmented inputs, `[n, width]` by modality; outside any graph.
    pub teachers: BTreeMap<Modality, Tensor>,
    /// The teachers' maps behind the stages of [`Objective::maps`].
    pub maps: BTreeMap<Modality, BTreeMap<usize, Tensor>>,
    /// Logits of each frozen teacher for the same augmented inputs, `[n, classes]`; outside any graph.
    pub logits: Vec<Tensor>,
}

impl Targets {
    /// Labels without a teacher.
    pub fn of(labels: Tensor) -> Self {
        Self { labels, teachers: BTreeMap::new(), maps: BTreeMap::new(), logits: Vec::new() }
    }
}

/// One step of training as an objective sees it.
pub struct Pass<'a> {
    /// The network's outputs.
    pub outputs: Outputs<'a>,
    /// Cross-entropy of the outputs' logits, mean over the batch.
    pub task: Tensor,
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
}

/// What an objective asks of teachers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Features: one teacher for each modality.
    pub features: bool,
    /// Logits, of one teacher or several.
    pub logits: bool,
}

impl Needs {
    /// Whether there must be teachers at all.
    pub fn any(self) -> bool {
        self.features || self.logits
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
pub fn loss(
    objective: &dyn Objective,
    outputs: Outputs<'_>,
    targets: &Targets,
    context: StepContext,
) -> Result<Loss, NnError> {
    let task = cross_entropy(&outputs.logits, &targets.labels)?;
    let mut loss = Loss::from(task.clone());
    objective.apply(&mut Pass { outputs, task, targets, context }, &mut loss)?;
    Ok(loss)
}

impl Shape {
    /// Refuses a single modality, between which and others an objective could not decide.
    pub(crate) fn several(&self, kind: &str) -> Result<(), NnError> {
        if self.widths.len() > 1 {
            return Ok(());
        }
        Err(NnError::Unsupported(format!("`{kind}` balances modalities, so it needs two or more")))
    }
}
