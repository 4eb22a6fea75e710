//! The fitted classifier: standardisation and a linear map.

use std::collections::BTreeMap;

use crate::scores::check_rows;
use crate::{EvalError, Features};

use super::tile::{self, LANES};

/// Mean and scale of each feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scaler {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    /// Mean and population standard deviation of each column (two passes, f64). A constant column,
    /// such as a dead unit's, gets scale 1 and becomes zero.
    pub fn fit(features: &Features) -> Self {
        let (width, samples) = (features.width(), features.samples() as f64);
        let sum = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; width];
            for row in features.values().chunks_exact(width) {
                for (k, v) in row.iter().enumerate() {
                    sums[k] += term(k, f64::from(*v));
                }
            }
            sums.iter_mut().for_each(|s| *s /= samples);
            sums
        };
        let mean = sum(&|_, v| v);
        let variance = sum(&|k, v| (v - mean[k]) * (v - mean[k]));
        let scale = |(m, v): (&f64, &f64)| {
            // Rounding alone leaves a spread of a few units in the last place of the mean.
            let constant = v.sqrt() <= 1e-7 * m.abs();
            if constant { 1.0 } else { v.sqrt() as f32 }
        };
        let scale = mean.iter().zip(&variance).map(scale).collect();
        Self { mean: mean.iter().map(|m| *m as f32).collect(), scale }
    }

    /// Standardised copy.
    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        let mut out = values.to_vec();
        for row in out.chunks_exact_mut(self.mean.len()) {
            for ((v, m), s) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *v = (*v - m) / s;
            }
        }
        out
    }
}

/// `logits = weight ((x - mean) / scale) + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearModel {
    scaler: Scaler,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LinearModel {
    pub(super) fn new(scaler: Scaler, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { scaler, weight, bias }
    }

    /// Features per sample.
    pub fn width(&self) -> usize {
        self.scaler.mean.len()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Weights `[classes, width]`, for standardised features.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// Intercepts `[classes]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Logits `[samples, classes]` of features `[samples, width]`.
    ///
    /// # Errors
    /// [`EvalError::Shape`] when rows are not whole, [`EvalError::Empty`] without samples,
    /// [`EvalError::NonFinite`] for NaN or infinity.
    pub fn predict(&self, features: &[f32]) -> Result<Vec<f32>, EvalError> {
        let (width, classes) = (self.width(), self.classes());
        check_rows("features", features, width, features.len() / width)?;
        let panels = tile::panels(classes);
        let mut weight = vec![0.0; panels * width * LANES];
        let mut bias = vec![0.0; panels * LANES];
        bias[..classes].copy_from_slice(&self.bias);
        for (c, row) in self.weight.chunks_exact(width).enumerate() {
            for (k, w) in row.iter().enumerate() {
                weight[(c / LANES * width + k) * LANES + c % LANES] = *w;
            }
        }
        let mut out = Vec::with_capacity(features.len() / width * classes);
        for block in features.chunks(128 * width) {
            let rows = block.len() / width;
            let mut logits = vec![0.0; rows * bias.len()];
            tile::forward(&self.scaler.apply(block), width, &weight, &bias, &mut logits);
            for r in 0..rows {
                out.extend((0..classes).map(|c| logits[(c / LANES * rows + r) * LANES + c % LANES]));
            }
        }
        Ok(out)
    }

    /// The model as named arrays (shape, values): `mean`, `scale`, `weight`, `bias`.
    pub fn to_tensors(&self) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let (width, classes) = (self.width(), self.classes());
        BTreeMap::from([
            ("mean".into(), (vec![width], self.scaler.mean.clone())),
            ("scale".into(), (vec![width], self.scaler.scale.clone())),
            ("weight".into(), (vec![classes, width], self.weight.clone())),
            ("bias".into(), (vec![classes], self.bias.clone())),
        ])
    }

    /// The model from what [`LinearModel::to_tensors`] gave.
    ///
    /// # Errors
    /// [`EvalError::Malformed`] when an array is missing, unexpected or ill-shaped, or a scale is
    /// not above zero.
    pub fn from_tensors(mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Result<Self, EvalError> {
        let malformed = |reason: String| EvalError::Malformed { what: "linear probe", reason };
        let mut take = |name: &str| {
            let found = tensors.remove(name).ok_or_else(|| malformed(format!("no \"{name}\"")))?;
            match found.1.iter().all(|v| v.is_finite()) {
                true => Ok(found),
                false => Err(malformed(format!("\"{name}\" holds NaN or infinity"))),
            }
        };
        let (mean, scale, weight, bias) = (take("mean")?, take("scale")?, take("weight")?, take("bias")?);
        if let Some(name) = tensors.keys().next() {
            return Err(malformed(format!("unexpected \"{name}\"")));
        }
        let (width, classes) = (mean.1.len(), bias.1.len());
        let shapes = [
            ("mean", &mean, vec![width]),
            ("scale", &scale, vec![width]),
            ("weight", &weight, vec![classes, width]),
            ("bias", &bias, vec![classes]),
        ];
        for (name, (shape, values), wanted) in shapes {
            if *shape != wanted || values.is_empty() || values.len() != wanted.iter().product::<usize>() {
                return Err(malformed(format!("\"{name}\" has shape {shape:?}, not {wanted:?}")));
            }
        }
        if scale.1.iter().any(|s| *s <= 0.0) {
            return Err(malformed("\"scale\" holds a value that is not above 0".into()));
        }
        let scaler = Scaler { mean: mean.1, scale: scale.1 };
        Ok(Self { scaler, weight: weight.1, bias: bias.1 })
    }
}
