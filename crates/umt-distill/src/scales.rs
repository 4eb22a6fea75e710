//! Weighted cross-entropy at several scales, as ESANet is trained with.

use umt_data::LabelMaps;
use umt_nn::{Array, NnError, compute::cross_entropy, kernels::nearest_source};

/// The loss at each scale, and its gradients.
pub struct ScaleLosses {
    /// Weighted mean cross-entropy at each scale; the loss is their sum.
    pub values: Vec<f64>,
    /// Gradient to each scale's logits.
    pub grads: Vec<Array>,
}

/// For each of `logits` `[n, h, w, classes]`: `sum of w[y] * CE / sum of w[y]` over the pixels whose label is no void. Labels are shrunk to the
/// map's size by taking the nearest; `weights` is a weight per class; `smoothing` spreads that share of a label over all classes.
pub fn multi_scale(
    logits: &[Array],
    maps: &LabelMaps,
    weights: Option<&[f32]>,
    smoothing: f32,
) -> Result<ScaleLosses, NnError> {
    let (mut values, mut grads) = (Vec::new(), Vec::new());
    for logits in logits {
        let &[n, h, w, classes] = logits.shape() else {
            return Err(NnError::shape("logits", "[n, h, w, classes]", logits.shape()));
        };
        if maps.shape[0] != n {
            return Err(NnError::shape("label maps", format!("{n} maps"), &maps.shape));
        }
        if weights.is_some_and(|weights| weights.len() != classes) {
            let given = weights.map_or(0, <[f32]>::len);
            return Err(NnError::Unsupported(format!("{given} class weights for {classes} classes")));
        }
        let labels = labels_at(maps, [h, w]);
        check_labels(&labels, classes)?;
        let (result, grad) = cross_entropy(logits, &labels, weights, smoothing, true)?;
        values.push(result.mean());
        grads.extend(grad);
    }
    Ok(ScaleLosses { values, grads })
}

/// Refuses a label beyond the classes that is no void: it is a mistake, and would be left out in silence.
pub(crate) fn check_labels(labels: &[u8], classes: usize) -> Result<(), NnError> {
    match labels.iter().find(|&&l| l != LabelMaps::VOID && usize::from(l) >= classes) {
        Some(label) => {
            Err(NnError::Unsupported(format!("label {label} in a map, but the network has {classes} classes")))
        }
        None => Ok(()),
    }
}

/// Label maps at another size, each pixel that of the nearest source.
pub(crate) fn labels_at(maps: &LabelMaps, to: [usize; 2]) -> Vec<u8> {
    let [n, h, w] = maps.shape;
    if [h, w] == to {
        return maps.data.clone();
    }
    let columns: Vec<usize> = (0..to[1]).map(|j| nearest_source(w, to[1], j)).collect();
    let mut out = Vec::with_capacity(n * to[0] * to[1]);
    for i in 0..n {
        let map = maps.map(i);
        for row in 0..to[0] {
            let line = &map[nearest_source(h, to[0], row) * w..][..w];
            out.extend(columns.iter().map(|&column| line[column]));
        }
    }
    out
}
