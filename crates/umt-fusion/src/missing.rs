//! A network whose input lacks modalities.

use crate::Network;
use candle_core::Tensor;
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::{Array, NnError, Param};

/// What stands for a missing modality: the global mean `[channels]` of its encoder's map behind a stage, by stage; a
/// vector of zeros where there is none. The stages are those of [`crate::Encoded::means`].
pub type Standing = BTreeMap<Modality, BTreeMap<usize, Array>>;

impl Network {
    /// A learnt vector for each modality that may be missing, `token.<modality>`: part of the model.
    pub fn add_tokens(&mut self) {
        for (modality, width) in self.shapes.widths() {
            self.params.insert(token(modality), Param::weight(Array::zeros(&[width])));
        }
    }

    /// What a network with tokens has learnt to take for a missing modality.
    pub fn tokens(&self) -> Option<Standing> {
        let end = self.shapes.stages.values().map(Vec::len).max()?.checked_sub(1)?;
        let own = |m: &Modality| Some((*m, BTreeMap::from([(end, self.params.get(&token(*m))?.value.clone())])));
        self.shapes.stages.keys().map(own).collect()
    }
}

/// The name of a modality's token.
pub fn token(modality: Modality) -> String {
    format!("token.{modality}")
}

/// What stands for a modality behind a stage, `[n, channels]`.
pub(crate) fn stand_in(
    standing: &Standing,
    modality: Modality,
    stage: usize,
    [samples, channels]: [usize; 2],
) -> Result<Tensor, NnError> {
    let told = standing.get(&modality).and_then(|stages| stages.get(&stage)).cloned();
    let vector = told.unwrap_or_else(|| Array::zeros(&[channels]));
    if vector.shape() != [channels] {
        let what = format!("what stands for {modality} behind stage {stage}");
        return Err(NnError::shape(what, format!("[{channels}]"), vector.shape()));
    }
    Ok(vector.to_tensor()?.broadcast_as((samples, channels))?.contiguous()?)
}
