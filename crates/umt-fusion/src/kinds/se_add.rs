//! Squeeze-excite and add (Seichter et al., "Efficient RGB-D semantic segmentation for indoor scene
//! analysis", ICRA 2021; squeeze-excite of Hu et al., CVPR 2018), for classification.

use crate::fusion::no_modality;
use crate::{Encoded, Fusion, Shapes, Weights, weights::sigmoid};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// Behind each chosen stage, with `s_m` the global mean of modality m's map: `gate_m = sigmoid(U_m
/// relu(D_m s_m))`, and the map of m is multiplied by its own gate. What is added are the streams'
/// gated maps: `f = sum_m P_m mean(gate_m * map_m)`, and `head([f of each stage])`.
///
/// A spectrogram's map and a clip's differ in time and space, so they cannot be added place by place.
/// The head sees the fused map through its global mean alone; the mean of a sum is the sum of the
/// means, so adding the means gives exactly what adding the maps would where their sizes agree. `P_m`
/// is nothing where all modalities have the same number of channels at that stage, else a linear map
/// without bias to the widest's (a 1x1 convolution, which changes places with the mean as well).
///
/// Nothing of another modality enters a stream: the encoders stay uni-modal, and so do probes of their
/// features. With one modality it is a squeeze-excite network whose head sees several stages.
/// Parameters: `se.<stage>.<modality>.down` and `.up`, `se.<stage>.<modality>.project.weight`, `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeAdd {
    /// Encoder stages: 0 the stem, 1 to 4 the stages of a ResNet. All of them, as published.
    pub stages: BTreeSet<usize>,
    /// How many times fewer channels there are between `D` and `U`.
    pub reduction: usize,
}

impl Default for SeAdd {
    fn default() -> Self {
        Self { stages: (0..=4).collect(), reduction: 16 }
    }
}

fn name(stage: usize, modality: Modality) -> String {
    format!("se.{stage}.{modality}")
}

impl Fusion for SeAdd {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        if self.reduction == 0 || self.stages.is_empty() {
            return Err(NnError::Unsupported("se-add needs at least one stage, and a reduction above 0".into()));
        }
        let mut fused = 0;
        for &stage in &self.stages {
            let channels = shapes.at(stage)?;
            let widest = channels.values().copied().max().unwrap_or(0);
            for (modality, &channels) in &channels {
                let (name, inner) = (name(stage, *modality), (channels / self.reduction).max(1));
                init::linear(params, &format!("{name}.down"), channels, inner, rng);
                init::linear(params, &format!("{name}.up"), inner, channels, rng);
                if channels != widest {
                    let bound = 1.0 / (channels.max(1) as f32).sqrt();
                    init::uniform(params, &format!("{name}.project.weight"), &[widest, channels], bound, rng);
                }
            }
            fused += widest;
        }
        init::linear(params, "head", fused, shapes.classes, rng);
        Ok(())
    }

    fn stages(&self) -> BTreeSet<usize> {
        self.stages.clone()
    }

    fn gates(
        &self,
        weights: &Weights,
        stage: usize,
        means: &BTreeMap<Modality, Tensor>,
    ) -> Result<BTreeMap<Modality, Tensor>, NnError> {
        let gate = |(modality, mean): (&Modality, &Tensor)| {
            let name = name(stage, *modality);
            let inner = weights.linear(&format!("{name}.down"), mean)?.relu()?;
            Ok((*modality, sigmoid(&weights.linear(&format!("{name}.up"), &inner)?)?))
        };
        means.iter().map(gate).collect()
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut stages = Vec::new();
        for (stage, means) in &encoded.gated {
            let mut sum: Option<Tensor> = None;
            let widest = means.values().filter_map(|mean| mean.dim(1).ok()).max().unwrap_or(0);
            for (modality, mean) in means {
                let own = if mean.dim(1)? == widest {
                    mean.clone()
                } else {
                    mean.matmul(&weights.get(&format!("{}.project.weight", name(*stage, *modality)))?.t()?)?
                };
                sum = Some(match sum {
                    Some(sum) => (sum + own)?,
                    None => own,
                });
            }
            stages.push(sum.ok_or_else(no_modality)?);
        }
        weights.linear("head", &Tensor::cat(&stages, 1)?)
    }
}
