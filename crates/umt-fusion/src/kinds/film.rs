//! Feature-wise linear modulation (Perez et al., "FiLM", 2018).

use crate::{Encoded, Fusion, Shapes, Weights, fusion::no_modality};
use candle_core::Tensor;
use umt_nn::{NnError, Params, init};
use umt_random::Rng;

/// `h = x_last; h <- (1 + gamma_m(x_m)) * h + beta_m(x_m)` for each other modality in order; `head(h)`. The 1 is in the authors' code: a
/// network begins near the identity. That of OGM-GE, which many tables use, leaves it out.
///
/// The last modality by name is modulated: with audio and video, sound modulates what is seen.
pub struct Film;

impl Fusion for Film {
    fn init(&self, shapes: &Shapes, params: &mut Params, rng: &mut Rng) -> Result<(), NnError> {
        let widths = shapes.widths();
        let (base, &base_width) = widths.last_key_value().ok_or_else(no_modality)?;
        for (modality, &width) in widths.iter().filter(|(modality, _)| *modality != base) {
            init::linear(params, &format!("film.{modality}"), width, 2 * base_width, rng);
        }
        init::linear(params, "head", base_width, shapes.classes, rng);
        Ok(())
    }

    fn forward(&self, weights: &Weights, encoded: &Encoded) -> Result<Tensor, NnError> {
        let features = &encoded.features;
        let (base, x) = features.last_key_value().ok_or_else(no_modality)?;
        let (mut h, width) = (x.clone(), x.dim(1)?);
        for (modality, x) in features.iter().filter(|(modality, _)| *modality != base) {
            let both = weights.linear(&format!("film.{modality}"), x)?;
            h = (((both.narrow(1, 0, width)? + 1.0)? * h)? + both.narrow(1, width, width)?)?;
        }
        weights.linear("head", &h)
    }
}
