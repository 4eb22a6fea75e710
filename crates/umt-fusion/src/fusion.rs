//! What a fusion is: encoders' outputs in, logits out, and gates between the stages if it wants them.

use crate::Weights;
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use umt_media::Modality;
use umt_nn::{NnError, Params};
use umt_random::Rng;

/// From what the encoders say to logits; the classifier is part of it.
///
/// Works for any number of modalities, one included, always in the order of [`Modality`]. A late
/// fusion is `init` and `forward`; one in the middle of the encoders also names stages and computes
/// gates; one over tokens asks for maps.
pub trait Fusion: Send + Sync {
    /// Adds freshly drawn parameters; none of their names starts with `encoder.`.
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError>;

    /// Logits `[n, classes]`.
    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError>;

    /// The part of the logits that one modality has by itself, `[n, classes]`: by default the logits where all that the
    /// other encoders say is zero. A fusion that adds up one part per modality gives that part. What gates exchanged
    /// between the stages before stays.
    fn alone(&self, weights: &Weights, encoded: &Encoded, modality: Modality) -> Result<Tensor, NnError> {
        let zero = |m: Modality, x: &Tensor| Ok(if m == modality { x.clone() } else { x.zeros_like()? });
        self.forward(weights, &encoded.map(zero)?)
    }

    /// The encoder stages behind which [`Fusion::gates`] is asked.
    fn stages(&self) -> BTreeSet<usize> {
        BTreeSet::new()
    }

    /// A gate `[n, channels]` on each modality's map behind `stage`, from the maps' global means
    /// `[n, channels]`.
    ///
    /// The next stage sees the gated maps. Behind the last stage the gates do not change the feature,
    /// which stays what the encoder said: they reach [`Fusion::forward`] through [`Encoded::gated`].
    fn gates(
        &self,
        _weights: &Weights,
        stage: usize,
        _means: &BTreeMap<Modality, Tensor>,
    ) -> Result<BTreeMap<Modality, Tensor>, NnError> {
        Err(NnError::Unsupported(format!("this fusion has no gates, and was asked for those of stage {stage}")))
    }

    /// Whether [`Fusion::forward`] reads the maps of the encoders' last stage.
    fn needs_maps(&self) -> bool {
        false
    }
}

/// What a fusion is built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Channels of the map behind each encoder stage, the stem's first; the last is the feature's length.
    pub stages: BTreeMap<Modality, Vec<usize>>,
    /// Number of classes.
    pub classes: usize,
}

impl Shapes {
    /// Length of each modality's feature.
    pub fn widths(&self) -> BTreeMap<Modality, usize> {
        self.stages.iter().map(|(m, stages)| (*m, stages.last().copied().unwrap_or(0))).collect()
    }

    /// Channels of each modality's map behind `stage`; an error names a stage that an encoder lacks.
    pub fn at(&self, stage: usize) -> Result<BTreeMap<Modality, usize>, NnError> {
        let channels = |(m, stages): (&Modality, &Vec<usize>)| match stages.get(stage) {
            Some(&channels) => Ok((*m, channels)),
            None => Err(NnError::Unsupported(format!(
                "a fusion at stage {stage}: the {m} encoder's stages are 0 to {}",
                stages.len().saturating_sub(1)
            ))),
        };
        self.stages.iter().map(channels).collect()
    }
}

/// What the encoders say about a batch, as candle tensors.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// Each encoder's output: the global mean of its last map, `[n, width]`.
    pub features: BTreeMap<Modality, Tensor>,
    /// Maps `[n, h, w, channels]`, or `[n, t, h, w, channels]`, by modality and stage, before any gate; those
    /// that were asked for.
    pub maps: BTreeMap<Modality, BTreeMap<usize, Tensor>>,
    /// For each of the fusion's [`Fusion::stages`] the global means `[n, channels]` of the gated maps.
    pub gated: BTreeMap<usize, BTreeMap<Modality, Tensor>>,
    /// Global means `[n, channels]` of the maps behind the stages of [`Fusion::stages`] and the last, before any gate.
    pub means: BTreeMap<usize, BTreeMap<Modality, Tensor>>,
    /// What the head of a network sees of each encoder, `[n, width]`: its feature, times the gate behind the last
    /// stage if the fusion has one there.
    pub outputs: BTreeMap<Modality, Tensor>,
}

impl Encoded {
    /// Features alone, as a late fusion sees them.
    pub fn of(features: BTreeMap<Modality, Tensor>) -> Self {
        Self { outputs: features.clone(), features, ..Self::default() }
    }

    /// Every tensor, `[n, ...]`, with what `change` makes of it: zeroed, masked or replaced in the same shape.
    pub fn map(&self, change: impl Fn(Modality, &Tensor) -> Result<Tensor, NnError>) -> Result<Self, NnError> {
        let each = |all: &BTreeMap<Modality, Tensor>| -> Result<BTreeMap<Modality, Tensor>, NnError> {
            all.iter().map(|(m, x)| Ok((*m, change(*m, x)?))).collect()
        };
        let maps = self.maps.iter().map(|(m, stages)| {
            let own: Result<_, NnError> = stages.iter().map(|(stage, x)| Ok((*stage, change(*m, x)?))).collect();
            Ok((*m, own?))
        });
        Ok(Self {
            features: each(&self.features)?,
            maps: maps.collect::<Result<_, NnError>>()?,
            gated: self.gated.iter().map(|(stage, all)| Ok((*stage, each(all)?))).collect::<Result<_, NnError>>()?,
            means: self.means.iter().map(|(stage, all)| Ok((*stage, each(all)?))).collect::<Result<_, NnError>>()?,
            outputs: each(&self.outputs)?,
        })
    }

    /// What one encoder says, without the others: for fusions that take any subset.
    pub(crate) fn only(&self, modality: Modality) -> Self {
        let mut only = self.clone();
        only.features.retain(|m, _| *m == modality);
        only.maps.retain(|m, _| *m == modality);
        only.gated.values_mut().for_each(|means| means.retain(|m, _| *m == modality));
        only.outputs.retain(|m, _| *m == modality);
        only
    }

    /// The map of an encoder's last stage.
    pub fn last_map(&self, modality: Modality) -> Result<&Tensor, NnError> {
        let last = self.maps.get(&modality).and_then(|maps| maps.last_key_value());
        let missing = || NnError::Unsupported(format!("the map of {modality} was not kept"));
        last.map(|(_, map)| map).ok_or_else(missing)
    }

    /// Every modality's feature side by side, `[n, sum of widths]`.
    pub fn concatenated(&self) -> Result<Tensor, NnError> {
        concatenate(&self.features)
    }
}

/// Rows of each modality side by side.
pub(crate) fn concatenate(rows: &BTreeMap<Modality, Tensor>) -> Result<Tensor, NnError> {
    if rows.is_empty() {
        return Err(no_modality());
    }
    let columns: Vec<&Tensor> = rows.values().collect();
    Ok(Tensor::cat(&columns, 1)?)
}

/// What every fusion says without an input.
pub(crate) fn no_modality() -> NnError {
    NnError::Unsupported("a fusion needs at least one modality".into())
}
