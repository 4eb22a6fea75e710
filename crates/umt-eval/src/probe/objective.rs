//! The regularised cross-entropy and its gradient over all samples.
//!
//! Parameters are one vector: weights in panels (see [`super::tile`]), then the bias padded to
//! whole panels. Padded columns have zero gradient and stay zero.

use rayon::prelude::*;

use super::tile::{self, LANES};
use crate::Features;

/// Rows whose logits are held at a time: they stay in the second-level cache.
const BLOCK: usize = 128;
/// Most shares of the samples. It and `BLOCK` alone decide how sums are split, never the number of
/// threads, so that the result does not depend on it.
const SHARES: usize = 32;

pub(super) struct Objective<'a> {
    standardised: Vec<f32>,
    labels: &'a [u32],
    width: usize,
    classes: usize,
    panels: usize,
    /// Parameters in f32, for the products.
    parameters: Vec<f32>,
    shares: Vec<Share>,
}

/// One share of the samples with room for its part of the sums.
struct Share {
    start: usize,
    end: usize,
    loss: f64,
    gradient: Vec<f64>,
    logits: Vec<f32>,
}

impl<'a> Objective<'a> {
    pub fn new(standardised: Vec<f32>, features: &Features<'a>) -> Self {
        let (samples, width) = (features.samples(), features.width());
        let panels = tile::panels(features.classes());
        let parameters = panels * LANES * (width + 1);
        let per_share = samples.div_ceil(BLOCK).div_ceil(SHARES) * BLOCK;
        let shares = (0..samples)
            .step_by(per_share)
            .map(|start| Share {
                start,
                end: (start + per_share).min(samples),
                loss: 0.0,
                gradient: vec![0.0; parameters],
                logits: vec![0.0; BLOCK * panels * LANES],
            })
            .collect();
        Self {
            standardised,
            labels: features.labels(),
            width,
            classes: features.classes(),
            panels,
            parameters: vec![0.0; parameters],
            shares,
        }
    }

    /// Number of parameters, padding included.
    pub fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// The objective at `w`; `gradient` is overwritten.
    pub fn evaluate(&mut self, w: &[f64], l2: f64, gradient: &mut [f64]) -> f64 {
        self.parameters.iter_mut().zip(w).for_each(|(p, w)| *p = *w as f32);
        let (weight, bias) = self.parameters.split_at(self.panels * LANES * self.width);
        let (x, labels, width, classes) = (&self.standardised, self.labels, self.width, self.classes);
        self.shares.par_iter_mut().for_each(|share| {
            let x = &x[share.start * width..share.end * width];
            let labels = &labels[share.start..share.end];
            share.run(x, labels, width, classes, weight, bias);
        });

        gradient.fill(0.0);
        let mut loss = 0.0;
        for share in &self.shares {
            loss += share.loss;
            gradient.iter_mut().zip(&share.gradient).for_each(|(sum, g)| *sum += g);
        }
        let samples = labels.len() as f64;
        gradient.iter_mut().for_each(|g| *g /= samples);
        let mut squares = 0.0;
        for (g, w) in gradient.iter_mut().zip(&w[..weight.len()]) {
            *g += l2 * w;
            squares += w * w;
        }
        loss / samples + 0.5 * l2 * squares
    }

    /// Weights `[classes, width]` and bias `[classes]` from a parameter vector.
    pub fn unpack(&self, w: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let at = |class: usize, k: usize| (class / LANES * self.width + k) * LANES + class % LANES;
        let weight = (0..self.classes)
            .flat_map(|class| (0..self.width).map(move |k| (class, k)))
            .map(|(class, k)| w[at(class, k)] as f32)
            .collect();
        let bias = &w[self.panels * LANES * self.width..];
        (weight, bias[..self.classes].iter().map(|b| *b as f32).collect())
    }
}

impl Share {
    fn run(&mut self, x: &[f32], labels: &[u32], width: usize, classes: usize, weight: &[f32], bias: &[f32]) {
        self.loss = 0.0;
        self.gradient.fill(0.0);
        let (weight_gradient, bias_gradient) = self.gradient.split_at_mut(weight.len());
        let mut row = vec![0.0; classes];
        for (x, labels) in x.chunks(BLOCK * width).zip(labels.chunks(BLOCK)) {
            let rows = labels.len();
            let logits = &mut self.logits[..rows * bias.len()];
            tile::forward(x, width, weight, bias, logits);
            for (r, label) in labels.iter().enumerate() {
                for (c, v) in row.iter_mut().enumerate() {
                    *v = logits[((c / LANES) * rows + r) * LANES + c % LANES];
                }
                self.loss += softmax_minus_target(&mut row, *label as usize);
                for (c, v) in row.iter().enumerate() {
                    logits[((c / LANES) * rows + r) * LANES + c % LANES] = *v;
                    bias_gradient[c] += f64::from(*v);
                }
                for c in classes..bias.len() {
                    logits[((c / LANES) * rows + r) * LANES + c % LANES] = 0.0;
                }
            }
            tile::backward(x, width, logits, weight_gradient);
        }
    }
}

/// Replaces logits by `softmax - one_hot(label)` and returns the cross-entropy.
fn softmax_minus_target(row: &mut [f32], label: usize) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let target = f64::from(row[label] - max);
    let mut sum = 0.0_f32;
    for v in row.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    let scale = 1.0 / sum;
    row.iter_mut().for_each(|v| *v *= scale);
    row[label] -= 1.0;
    f64::from(sum).ln() - target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_agrees_with_central_differences() {
        let (samples, width, classes) = (700, 6, 11);
        let mut rng = umt_random::stream(1, "test", 0, 0);
        let x: Vec<f32> = (0..samples * width).map(|_| rng.normal()).collect();
        let labels: Vec<u32> = (0..samples as u32).map(|i| i * i % classes as u32).collect();
        let features = Features::new(&x, width, &labels, classes).unwrap();
        let mut objective = Objective::new(x.clone(), &features);
        // Draw by class so that padded columns stay zero.
        let mut w = vec![0.0; objective.parameters()];
        let columns = |i: usize, n: usize| i / (n * LANES) * LANES + i % LANES < classes;
        let split = 2 * LANES * width;
        for i in 0..w.len() {
            let real = if i < split { columns(i, width) } else { i - split < classes };
            if real {
                w[i] = 0.3 * f64::from(rng.normal());
            }
        }
        let mut gradient = vec![0.0; w.len()];
        let mut scratch = vec![0.0; w.len()];
        objective.evaluate(&w, 0.01, &mut gradient);
        let direction: Vec<f64> = w.iter().map(|v| if *v == 0.0 { 0.0 } else { f64::from(rng.normal()) }).collect();
        let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let mut at = |h: f64| {
            let moved: Vec<f64> = w.iter().zip(&direction).map(|(w, d)| w + h * d).collect();
            objective.evaluate(&moved, 0.01, &mut scratch)
        };
        let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert!((along - numeric).abs() < 1e-3 * along.abs(), "{along} {numeric}");
        let padding = gradient.iter().zip(&w).filter(|(_, w)| **w == 0.0);
        assert!(padding.clone().count() > 0 && padding.clone().all(|(g, _)| *g == 0.0));
    }
}
