//! Training objectives: the task alone, and Uni-Modal Teachers.
//!
//! The one decision: an objective is a function of a forward pass ([`umt_fusion::Outputs`]) and its
//! [`Targets`] to one scalar in candle's graph. It never sees parameters, optimisers or files, so a
//! method is a few lines, and [`NetworkTask`] makes any of them trainable by the one loop. Segmentation
//! has tasks of its own ([`DenseTask`]), whose terms bring their gradients along: maps are large.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use std::collections::BTreeMap;
//! use umt_distill::{ObjectiveConfig, Targets};
//! use umt_fusion::Outputs;
//! use umt_media::Modality;
//! let tensor = |values: &[f32]| Tensor::from_slice(values, (1, 2), &Device::Cpu);
//! let outputs = Outputs {
//!     features: BTreeMap::from([(Modality::Audio, tensor(&[1.0, 3.0])?)]),
//!     logits: tensor(&[0.0, 0.0])?,
//! };
//! let targets = Targets {
//!     labels: Tensor::from_slice(&[0u32], 1, &Device::Cpu)?,
//!     teachers: BTreeMap::from([(Modality::Audio, tensor(&[1.0, 1.0])?)]),
//! };
//! let umt = ObjectiveConfig::Feature { weight: 10.0 }.build();
//! let loss = umt.loss(&outputs, &targets)?;
//! // Cross-entropy ln 2, and 10 times the mean of (0, 4).
//! assert!((loss.value.to_scalar::<f32>()? - (2f32.ln() + 20.0)).abs() < 1e-5);
//! assert_eq!(loss.log["distance.audio"], 2.0);
//! # Ok::<(), umt_nn::NnError>(())
//! ```

mod dense;
mod feature;
mod network_task;
mod task;

pub use dense::{DenseLossConfig, DenseTask, MapDistance, ScaleLosses, multi_scale};
pub use feature::Feature;
pub use network_task::NetworkTask;
pub use task::TaskOnly;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_fusion::{Loss, Outputs};
use umt_media::Modality;
use umt_nn::NnError;

/// What a step is measured against.
pub struct Targets {
    /// Class of each sample, `[n]`, u32.
    pub labels: Tensor,
    /// Features of the frozen teachers for the same augmented inputs, `[n, width]` by modality;
    /// outside any graph.
    pub teachers: BTreeMap<Modality, Tensor>,
}

/// A training objective.
pub trait Objective: Send + Sync {
    /// The loss of one batch, and what is worth logging.
    fn loss(&self, outputs: &Outputs, targets: &Targets) -> Result<Loss, NnError>;

    /// Whether it looks at teachers.
    fn needs_teachers(&self) -> bool;
}

/// An objective by name, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// Cross-entropy.
    #[default]
    Task,
    /// Cross-entropy and the distance to uni-modal teachers' features (UMT).
    Feature {
        /// lambda: the weight of the summed distances.
        weight: f64,
    },
}

impl ObjectiveConfig {
    /// One of each, for tests that go over all objectives.
    pub fn examples() -> Vec<(&'static str, Self)> {
        vec![("task", Self::Task), ("feature", Self::Feature { weight: 10.0 })]
    }

    /// The objective itself.
    pub fn build(&self) -> Box<dyn Objective> {
        match *self {
            Self::Task => Box::new(TaskOnly),
            Self::Feature { weight } => Box::new(Feature { weight }),
        }
    }
}
