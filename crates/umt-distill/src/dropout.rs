//! Modality dropout (Neverova, Wolf, Taylor and Nebout, "ModDrop: Adaptive Multi-Modal Gesture Recognition", 2016).

use crate::objective::within;
use crate::scores::cross_entropy;
use crate::{Objective, Pass};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_media::Modality;
use umt_nn::NnError;

/// Sample by sample, the features of each modality are left out with probability `p`, never all of them: the fusion
/// learns not to need any one. Where chance would leave out all, one of them, drawn evenly, stays. What is left out
/// is zero; what stays is not scaled. Other terms of a combination see the features whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dropout {
    /// Probability of each modality to be left out.
    pub p: f64,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.3 }
    }
}

impl Objective for Dropout {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let samples = pass.targets.labels.dim(0)?;
        let modalities = pass.outputs.features().len();
        let mut rng = umt_random::stream(pass.context.seed, "objective.dropout", pass.context.step, 0);
        let mut kept = vec![vec![0f32; samples]; modalities];
        for sample in 0..samples {
            let mut any = false;
            for row in &mut kept {
                row[sample] = if rng.bernoulli(self.p) { 0.0 } else { 1.0 };
                any |= row[sample] == 1.0;
            }
            let spared = rng.below(modalities as u64) as usize;
            if !any {
                kept[spared][sample] = 1.0;
            }
        }
        let all: Vec<Modality> = pass.outputs.features().keys().copied().collect();
        let masked = pass.outputs.encoded.map(|modality, x| {
            let place = all.iter().position(|m| *m == modality).unwrap_or_default();
            let shape: Vec<usize> = (0..x.rank()).map(|axis| if axis == 0 { samples } else { 1 }).collect();
            Ok(x.broadcast_mul(&Tensor::from_slice(&kept[place], shape, x.device())?)?)
        })?;
        pass.outputs.logits = pass.outputs.classify(&masked)?;
        pass.task = cross_entropy(&pass.outputs.logits, &pass.targets.labels)?;
        loss.value = pass.task.clone();
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("p", self.p, (0.0..1.0).contains(&self.p), "at least 0 and below 1")
    }
}
