//! Modality dropout (Neverova, Wolf, Taylor and Nebout, "ModDrop: Adaptive Multi-Modal Gesture Recognition", 2016).

use crate::{Objective, Pass, Shape};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use umt_fusion::{Kept, Logits, Loss, Outputs, token};
use umt_nn::{Array, NnError, Param, Params, within};
use umt_random::Rng;

/// Sample by sample, the features of each modality are left out with probability `p`, never all of them: the fusion
/// learns not to need any one. Where chance would leave out all, one of them, drawn evenly, stays. What is left out
/// is zero or a learnt token; what stays is not scaled. Other terms of a combination see the features whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dropout {
    /// Probability of each modality to be left out.
    pub p: f64,
    /// What stands for what is left out.
    #[serde(skip_serializing_if = "Fill::is_zero")]
    pub fill: Fill,
}

/// What stands for a modality that is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Zeros.
    #[default]
    Zero,
    /// A learnt vector per modality, which stays in the model for inputs that lack it ([`umt_fusion::Network::tokens`]).
    Token,
}

impl Fill {
    fn is_zero(&self) -> bool {
        *self == Self::Zero
    }
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.3, fill: Fill::Zero }
    }
}

impl Objective for Dropout {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let samples = pass.outputs.samples()?;
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
        let kept: Kept = pass.outputs.features().keys().copied().zip(kept).collect();
        let logits = match self.fill {
            Fill::Zero => pass.outputs.given(&kept)?,
            Fill::Token => with_tokens(&pass.outputs, &kept)?,
        };
        pass.replace(logits)?;
        loss.value = pass.task.clone();
        Ok(())
    }

    fn init(&self, params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        if self.fill == Fill::Token {
            shape.samples("dropout with fill = \"token\"", "a token stands for a feature, and a decoder reads maps")?;
            for (&modality, &width) in &shape.widths {
                params.insert(token(modality), Param::weight(Array::zeros(&[width])));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("p", self.p, (0.0..1.0).contains(&self.p), "at least 0 and below 1")
    }
}

/// Logits where a learnt token stands for each feature that is left out.
fn with_tokens(outputs: &Outputs<'_>, kept: &Kept) -> Result<Logits, NnError> {
    let masked = outputs.encoded.map(|modality, x| {
        let Some(rows) = kept.get(&modality) else { return Ok(x.clone()) };
        let shape: Vec<usize> = (0..x.rank()).map(|axis| if axis == 0 { rows.len() } else { 1 }).collect();
        let mask = Tensor::from_slice(rows, shape.as_slice(), x.device())?;
        let left = x.broadcast_mul(&mask)?;
        let token = outputs.weights().get(&token(modality))?;
        // Maps of other stages than the last have other channels: there zeros stand for them.
        let [.., channels] = x.dims() else { return Ok(left) };
        if *channels != token.dim(0)? {
            return Ok(left);
        }
        let shape: Vec<usize> = shape.iter().skip(1).map(|_| 1).chain([*channels]).collect();
        Ok(left.broadcast_add(&token.reshape(shape)?.broadcast_mul(&(1.0 - mask)?)?)?)
    })?;
    Ok(Logits::Rows(outputs.classify(&masked)?))
}
