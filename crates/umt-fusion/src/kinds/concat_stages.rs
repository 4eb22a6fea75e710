//! Concatenation of several stages: the control of fusions whose head sees more than the last one.

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `head([mean of map_m after each chosen stage, of each modality m])`.
///
/// [`crate::SeAdd`]'s head sees the maps of all stages, which gives the early ones a loss of their own. What that alone is worth this
/// fusion says: no gate, no sum. Nothing of another modality enters a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConcatStages {
    /// Encoder stages: 0 the stem, 1 to 4 the stages of a ResNet.
    pub stages: BTreeSet<usize>,
}

impl Default for ConcatStages {
    fn default() -> Self {
        Self { stages: (0..=4).collect() }
    }
}

impl Fusion for ConcatStages {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        if self.stages.is_empty() {
            return Err(NnError::Unsupported("concat-stages needs at least one stage".into()));
        }
        let mut length = 0;
        for &stage in &self.stages {
            length += shapes.at(stage)?.values().sum::<usize>();
        }
        init::linear(params, "head", length, shapes.classes, rng);
        Ok(())
    }

    fn stages(&self) -> BTreeSet<usize> {
        self.stages.clone()
    }

    /// Ones: the means are wanted, and the maps stay what they are.
    fn gates(
        &self,
        _weights: &Weights,
        _stage: usize,
        means: &BTreeMap<Modality, Tensor>,
    ) -> Result<BTreeMap<Modality, Tensor>, NnError> {
        means.iter().map(|(modality, mean)| Ok((*modality, mean.ones_like()?))).collect()
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let means: Vec<&Tensor> = encoded.gated.values().flat_map(BTreeMap::values).collect();
        if means.is_empty() {
            return Err(no_modality());
        }
        weights.linear("head", &Tensor::cat(&means, 1)?)
    }
}
