//! Disentangled gradient learning (Wei, Luo and Luo, "Boosting Multimodal Learning via Disentangled Gradient Learning", ICCV 2025).

use crate::{Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::{Kept, Loss};
use umt_media::Modality;
use umt_nn::{NnError, Params, within};
use umt_random::Rng;

/// Encoders learn from their modality alone, the fusion from all of them.
///
/// Each encoder's gradient is that of `alpha * CE(f(phi_m, 0), y)`, the network's own head with the other features zero (of pixels: the
/// decoder with its maps alone), and none of the multi-modal loss; the head's is that of the multi-modal loss, and none of the uni-modal ones. As in the
/// authors' code for concatenation, where one head has both parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dgl {
    /// Weight of the uni-modal losses.
    pub alpha: f64,
}

impl Default for Dgl {
    fn default() -> Self {
        Self { alpha: 4.0 }
    }
}

impl Objective for Dgl {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let (outputs, samples) = (&pass.outputs, pass.outputs.samples()?);
        let all: Vec<Modality> = outputs.features().keys().copied().collect();
        for &modality in &all {
            let kept: Kept = all.iter().map(|&m| (m, vec![f32::from(u8::from(m == modality)); samples])).collect();
            let logits = outputs.tensor(&outputs.given(&kept)?)?;
            let own = pass.targets.labels.cross_entropy(&logits)?;
            loss.record(format!("alone.{modality}"), &own);
            loss.apart.insert(modality.name().to_owned(), (own * self.alpha)?);
        }
        loss.finish.push(Box::new(move |result, apart| {
            for modality in all {
                let Some(own) = apart.get(modality.name()) else { continue };
                let encoder = |name: &String| crate::scores::modality_of(name) == Some(modality);
                for (name, grad) in result.grads.iter_mut().filter(|(name, _)| encoder(name)) {
                    if let Some(own) = own.get(name) {
                        *grad = own.clone();
                    }
                }
            }
            Ok(())
        }));
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("alpha", self.alpha, self.alpha > 0.0 && self.alpha.is_finite(), "above 0")
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("dgl")
    }
}
