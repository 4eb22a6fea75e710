//! Classes of pixels: label maps of a batch, and predictions at their size.

use crate::scales::check_labels;
use std::borrow::Cow;
use umt_data::LabelMaps;
use umt_eval::Confusion;
use umt_nn::{
    Array, NnError,
    kernels::{Resize, all_finite, cross_entropy, resize},
};
use umt_train::{Feed, TrainError};

/// The label maps of a batch.
pub(crate) fn maps_of(batch: &Feed) -> Result<&LabelMaps, NnError> {
    let missing = || NnError::Unsupported("the batch has no label maps, which segmentation needs".into());
    let maps = batch.maps.as_ref().ok_or_else(missing)?;
    if maps.shape[0] != batch.ids.len() || maps.data.len() != maps.shape.iter().product::<usize>() {
        return Err(NnError::shape("label maps", format!("{} maps", batch.ids.len()), &maps.shape));
    }
    Ok(maps)
}

/// Counts of a batch's pixels, and their summed cross-entropy.
pub(crate) fn confusion(logits: &Array, labels: &LabelMaps, ids: &[String]) -> Result<(Confusion, f64), TrainError> {
    let &[n, h, w, classes] = logits.shape() else {
        return Err(NnError::shape("logits", "[n, h, w, classes]", logits.shape()).into());
    };
    check_labels(&labels.data, classes)?;
    let [_, height, width] = labels.shape;
    let (mut counts, mut total) = (Confusion::new(classes), 0.0);
    for i in 0..n {
        let own = &logits.as_slice()[i * h * w * classes..][..h * w * classes];
        if !all_finite(own) {
            let value = own.iter().copied().find(|x| !x.is_finite()).unwrap_or(f32::NAN);
            let (stage, what, ids) = ("evaluation".into(), "a logit".into(), ids[i..=i].to_vec());
            return Err(TrainError::NonFinite { stage, step: 0, what, value, ids });
        }
        let own = resized(logits, i, [height, width])?;
        let predicted: Vec<u8> = own.chunks_exact(classes).map(largest).collect();
        let loss = cross_entropy(classes, &own, labels.map(i), None, 0.0, None).loss;
        let added = counts.add_maps(labels.map(i), &predicted, LabelMaps::VOID);
        added.map_err(|error| TrainError::Batches { reason: error.to_string() })?;
        total += loss;
    }
    Ok((counts, total))
}

/// Logits of picture `i` at another size, bilinearly.
fn resized(logits: &Array, i: usize, [height, width]: [usize; 2]) -> Result<Cow<'_, [f32]>, NnError> {
    let &[_, h, w, classes] = logits.shape() else {
        return Err(NnError::shape("logits", "[n, h, w, classes]", logits.shape()));
    };
    let own = &logits.as_slice()[i * h * w * classes..][..h * w * classes];
    if [h, w] == [height, width] {
        return Ok(Cow::Borrowed(own));
    }
    let mut out = vec![0.0; height * width * classes];
    resize(Resize::Bilinear, 1, [h, w], [height, width], classes, own, &mut out);
    Ok(Cow::Owned(out))
}

/// The predicted class of each pixel of picture `i` of `logits` `[n, h, w, classes]` at the size of its label, `[height, width]`.
pub fn predicted_map(logits: &Array, i: usize, size: [usize; 2]) -> Result<Vec<u8>, NnError> {
    let classes = logits.shape().last().copied().unwrap_or(1);
    Ok(resized(logits, i, size)?.chunks_exact(classes).map(largest).collect())
}

/// The class of the largest logit; of equal ones the first.
fn largest(row: &[f32]) -> u8 {
    let best = (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
    best as u8
}
