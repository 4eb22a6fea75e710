//! Attention bottlenecks (Nagrani et al., "Attention bottlenecks for multimodal fusion", NeurIPS
//! 2021) over the tokens of the encoders' last maps.

use crate::attention::{self, Grid};
use crate::fusion::{concatenate, no_modality};
use crate::{Encoded, Fusion, Shapes, Weights};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// In each layer `[t_m, b_m] = block_m([t_m, b])` for each modality, then `b <- mean over m of b_m`:
/// modalities exchange through the few bottleneck tokens `b` alone. `head([mean over tokens of
/// norm(t_m)])`.
///
/// `t_m = P_m x_m` `[n, count, width]` are the places of each last map, averaged down to `grid` where
/// there are more; `b` starts as learnt tokens, `bottleneck` `[bottlenecks, width]`. The first layer
/// writes into the bottleneck and the second reads it, so with several modalities there must be two.
/// The paper attends over all layers of a transformer and classifies a class token per modality; here
/// convolutions come before, and the mean of the tokens takes the class token's place. With one
/// modality its tokens attend to themselves and to `b`. Parameters: `project.<modality>`,
/// `bottleneck`, `layer.<layer>.<modality>.*`, `norm.<modality>`, `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bottleneck {
    /// Length of a token.
    pub width: usize,
    /// Heads that share it.
    pub heads: usize,
    /// Blocks in a row, at least 2.
    pub layers: usize,
    /// Number of bottleneck tokens; the paper's is 4.
    pub bottlenecks: usize,
    /// Most tokens over frames, rows and columns.
    pub grid: Grid,
}

impl Default for Bottleneck {
    fn default() -> Self {
        Self { width: 128, heads: 4, layers: 2, bottlenecks: 4, grid: [4, 4, 4] }
    }
}

/// Deviation of the first bottleneck tokens.
const DEVIATION: f32 = 0.02;

impl Fusion for Bottleneck {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        attention::check("bottleneck", self.width, self.heads, self.layers, self.grid)?;
        if self.layers < 2 || self.bottlenecks == 0 {
            let reason = "bottleneck needs at least one token, and 2 layers: the first writes it, the second reads it";
            return Err(NnError::Unsupported(reason.into()));
        }
        let widths = shapes.widths();
        for (modality, &channels) in &widths {
            init::linear(params, &format!("project.{modality}"), channels, self.width, rng);
            for layer in 0..self.layers {
                attention::init_block(params, &format!("layer.{layer}.{modality}"), self.width, rng);
            }
            attention::init_norm(params, &format!("norm.{modality}"), self.width);
        }
        init::normal(params, "bottleneck", &[self.bottlenecks, self.width], DEVIATION, rng);
        init::linear(params, "head", widths.len() * self.width, shapes.classes, rng);
        Ok(())
    }

    fn needs_maps(&self) -> bool {
        true
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let mut tokens = BTreeMap::new();
        for &modality in encoded.features.keys() {
            let places = attention::tokens(encoded.last_map(modality)?, self.grid)?;
            tokens.insert(modality, weights.linear(&format!("project.{modality}"), &places)?);
        }
        let n = tokens.values().next().ok_or_else(no_modality)?.dim(0)?;
        let learnt = weights.get("bottleneck")?;
        let mut bottleneck = learnt.unsqueeze(0)?.broadcast_as((n, self.bottlenecks, self.width))?.contiguous()?;
        for layer in 0..self.layers {
            let mut sum: Option<Tensor> = None;
            for (modality, own) in &mut tokens {
                let all = Tensor::cat(&[&*own, &bottleneck], 1)?;
                let all = attention::block(weights, &format!("layer.{layer}.{modality}"), &all, None, self.heads)?;
                let count = own.dim(1)?;
                let written = all.narrow(1, count, self.bottlenecks)?;
                *own = all.narrow(1, 0, count)?;
                sum = Some(match sum {
                    Some(sum) => (sum + written)?,
                    None => written,
                });
            }
            bottleneck = (sum.ok_or_else(no_modality)? * (1.0 / tokens.len() as f64))?;
        }
        let mut means = BTreeMap::new();
        for (modality, tokens) in tokens {
            means.insert(modality, attention::norm(weights, &format!("norm.{modality}"), &tokens)?.mean(1)?);
        }
        weights.linear("head", &concatenate(&means)?)
    }
}
