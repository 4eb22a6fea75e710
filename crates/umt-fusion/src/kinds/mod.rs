//! The fusions, one file each, and their list.

mod bottleneck;
mod concat;
mod concat_stages;
mod cosine;
mod cross_attention;
mod film;
mod gated;
mod lmf;
mod mmtm;
mod se_add;
mod shared_head;
mod sum;
mod tensor;

pub use bottleneck::Bottleneck;
pub use concat::Concat;
pub use concat_stages::ConcatStages;
pub use cosine::Cosine;
pub use cross_attention::CrossAttention;
pub use film::Film;
pub use gated::Gated;
pub use lmf::Lmf;
pub use mmtm::Mmtm;
pub use se_add::SeAdd;
pub use shared_head::{SharedHead, Weighting};
pub use sum::Sum;
pub use tensor::TensorFusion;

use crate::Fusion;
use serde::{Deserialize, Deserializer, Serialize};

/// A fusion by name, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FusionConfig {
    /// Features side by side, one linear classifier.
    #[default]
    #[serde(deserialize_with = "no_settings")]
    Concat,
    /// One linear classifier per modality, logits added.
    #[serde(deserialize_with = "no_settings")]
    Sum,
    /// One modality's features scaled and shifted by the others.
    #[serde(deserialize_with = "no_settings")]
    Film,
    /// A learnt gate per modality and feature.
    Gated(Gated),
    /// Low-rank multi-modal fusion.
    Lmf(Lmf),
    /// Tensor fusion network.
    Tensor(TensorFusion),
    /// Squeeze and joint excitation between encoder stages.
    Mmtm(Mmtm),
    /// The means of the maps of several stages side by side, one linear classifier.
    ConcatStages(ConcatStages),
    /// Squeeze-excite per stream, streams added.
    SeAdd(SeAdd),
    /// Tokens of each modality attend to those of the others.
    CrossAttention(CrossAttention),
    /// Modalities exchange through few tokens.
    Bottleneck(Bottleneck),
    /// One classifier per modality that sees directions alone.
    Cosine(Cosine),
    /// One linear classifier for all modalities.
    SharedHead(SharedHead),
}

/// Refuses settings of a kind that has none; serde by itself would let any pass.
fn no_settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

impl FusionConfig {
    /// One of each by the name that a recipe uses, small enough for a test.
    pub fn examples() -> Vec<(&'static str, Self)> {
        vec![
            ("concat", Self::Concat),
            ("sum", Self::Sum),
            ("film", Self::Film),
            ("gated", Self::Gated(Gated { width: 8 })),
            ("lmf", Self::Lmf(Lmf { rank: 3, width: 8 })),
            ("tensor", Self::Tensor(TensorFusion { width: 4 })),
            ("mmtm", Self::Mmtm(Mmtm::default())),
            ("concat-stages", Self::ConcatStages(ConcatStages::default())),
            ("se-add", Self::SeAdd(SeAdd { reduction: 4, ..SeAdd::default() })),
            ("cross-attention", Self::CrossAttention(CrossAttention { width: 8, heads: 2, layers: 2, grid: [2; 3] })),
            (
                "bottleneck",
                Self::Bottleneck(Bottleneck { width: 8, heads: 2, layers: 2, bottlenecks: 2, grid: [2; 3] }),
            ),
            ("cosine", Self::Cosine(Cosine::default())),
            ("shared-head", Self::SharedHead(SharedHead::default())),
        ]
    }

    /// The fusion itself.
    pub fn build(&self) -> Box<dyn Fusion> {
        match self.clone() {
            Self::Concat => Box::new(Concat),
            Self::Sum => Box::new(Sum),
            Self::Film => Box::new(Film),
            Self::Gated(fusion) => Box::new(fusion),
            Self::Lmf(fusion) => Box::new(fusion),
            Self::Tensor(fusion) => Box::new(fusion),
            Self::Mmtm(fusion) => Box::new(fusion),
            Self::ConcatStages(fusion) => Box::new(fusion),
            Self::SeAdd(fusion) => Box::new(fusion),
            Self::CrossAttention(fusion) => Box::new(fusion),
            Self::Bottleneck(fusion) => Box::new(fusion),
            Self::Cosine(fusion) => Box::new(fusion),
            Self::SharedHead(fusion) => Box::new(fusion),
        }
    }
}
