//! What is timed: a network, its input and what is done with it.

use clap::ValueEnum;
use umt_data::Batch;
use umt_train::Task;

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Forward, cross-entropy, backward, SGD with momentum.
    Train,
    /// Logits in evaluation mode.
    Infer,
}

/// A network, its input and what is done with it.
pub struct Case {
    /// Name in tables, results and the peer's script.
    pub name: &'static str,
    pub work: Work,
    /// The peer's script, under `tests/peers`.
    pub script: &'static str,
    pub(super) prepare: fn(&Case) -> anyhow::Result<Prepared>,
    pub classes: usize,
    pub batch: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// What is trained, and on which batch.
pub type Prepared = (Box<dyn Task>, Batch);
