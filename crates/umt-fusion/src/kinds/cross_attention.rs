//! Cross-attention between the tokens of the encoders' last maps (Vaswani et al. 2017; between
//! modalities: Tsai et al., "Multimodal transformer for unaligned multimodal language sequences", 2019).

use crate::attention::{self, Grid};
use crate::fusion::concatenate;
use crate::{Encoded, Fusion, Shapes, Weights};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// Tokens `t_m = P_m x_m` `[n, count, width]` of each last map; in each layer and for each modality
/// `t_m <- block(t_m, context = norm([t_k for k != m]))`, all from the layer before; then
/// `head([mean over tokens of norm(t_m)])`.
///
/// The tokens are the map's places, averaged down to `grid` where there are more. One block looks at
/// all other modalities at once, where Tsai et al. have one per pair. With one modality its tokens
/// attend to themselves. Parameters: `project.<modality>`, `cross.<layer>.<modality>.*` with
/// `context_norm`, `norm.<modality>`, `head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossAttention {
    /// Length of a token.
    pub width: usize,
    /// Heads that share it.
    pub heads: usize,
    /// Blocks in a row.
    pub layers: usize,
    /// Most tokens over frames, rows and columns.
    pub grid: Grid,
}

impl Default for CrossAttention {
    fn default() -> Self {
        Self { width: 128, heads: 4, layers: 1, grid: [4, 4, 4] }
    }
}

/// The tokens that `modality` looks at: those of all others, its own where there are none.
fn context(tokens: &BTreeMap<Modality, Tensor>, modality: Modality) -> Result<Tensor, NnError> {
    let others: Vec<&Tensor> =
        tokens.iter().filter(|(m, _)| tokens.len() == 1 || **m != modality).map(|(_, tokens)| tokens).collect();
    Ok(Tensor::cat(&others, 1)?)
}

impl Fusion for CrossAttention {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        attention::check("cross-attention", self.width, self.heads, self.layers, self.grid)?;
        let widths = shapes.widths();
        for (modality, &channels) in &widths {
            init::linear(params, &format!("project.{modality}"), channels, self.width, rng);
            for layer in 0..self.layers {
                let name = format!("cross.{layer}.{modality}");
                attention::init_norm(params, &format!("{name}.context_norm"), self.width);
                attention::init_block(params, &name, self.width, rng);
            }
            attention::init_norm(params, &format!("norm.{modality}"), self.width);
        }
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
        for layer in 0..self.layers {
            let mut next = BTreeMap::new();
            for (&modality, own) in &tokens {
                let name = format!("cross.{layer}.{modality}");
                let context = context(&tokens, modality)?;
                let context = attention::norm(weights, &format!("{name}.context_norm"), &context)?;
                next.insert(modality, attention::block(weights, &name, own, Some(&context), self.heads)?);
            }
            tokens = next;
        }
        let mut means = BTreeMap::new();
        for (modality, tokens) in tokens {
            means.insert(modality, attention::norm(weights, &format!("norm.{modality}"), &tokens)?.mean(1)?);
        }
        weights.linear("head", &concatenate(&means)?)
    }
}
