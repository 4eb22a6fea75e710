//! Small functions over logits and features that several objectives share.

use candle_core::{D, Tensor};
use candle_nn::ops::{log_softmax, softmax};
use std::collections::BTreeMap;
use umt_media::Modality;
use umt_nn::NnError;

/// A figure for each modality.
pub(crate) type Figures = BTreeMap<Modality, f64>;

/// Softmax cross-entropy, mean over the batch.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor, NnError> {
    Ok(candle_nn::loss::cross_entropy(logits, labels)?)
}

/// Entropy of each sample's distribution in nats, `[n]`.
pub(crate) fn entropy(logits: &Tensor) -> Result<Tensor, NnError> {
    let product = (softmax(logits, D::Minus1)? * log_softmax(logits, D::Minus1)?)?;
    Ok(product.sum(D::Minus1)?.neg()?)
}

/// Each score over the mean of the others'. A score of zero counts as 1e-30, so that every ratio is finite.
pub(crate) fn ratios(scores: &Figures) -> Figures {
    let floor = |x: f64| x.max(1e-30);
    let others = (scores.len().max(2) - 1) as f64;
    let ratio = |(m, own): (&Modality, &f64)| {
        let rest: f64 = scores.iter().filter(|(other, _)| *other != m).map(|(_, s)| floor(*s)).sum();
        (*m, floor(*own) / (rest / others))
    };
    scores.iter().map(ratio).collect()
}

/// A scalar's value.
pub(crate) fn number(scalar: &Tensor) -> Result<f32, NnError> {
    Ok(scalar.to_scalar::<f32>()?)
}

/// The modality that an encoder's parameter belongs to: `encoder.<modality>.*`, or `encoder_<modality>.*` with a decoder.
pub(crate) fn modality_of(parameter: &str) -> Option<Modality> {
    parameter.strip_prefix("encoder")?.strip_prefix(['.', '_'])?.split('.').next()?.parse().ok()
}
