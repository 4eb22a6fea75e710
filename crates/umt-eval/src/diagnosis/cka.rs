//! How alike two sets of features are.

use crate::EvalError;
use rayon::prelude::*;

/// Linear centred kernel alignment (Kornblith et al., "Similarity of neural network representations revisited", 2019):
/// `||YᵀX||² / (||XᵀX|| ||YᵀY||)` of column-centred features of the same samples, in the Frobenius norm; 1 for features
/// that differ by a rotation and a scale, near 0 for unrelated ones. `x` is `[samples, width]`, row-major, `y` likewise
/// with a width of its own.
///
/// # Errors
/// [`EvalError::Shape`] when samples differ or rows are not whole; [`EvalError::Empty`] without samples or when a side
/// does not vary at all.
pub fn linear_cka(x: &[f32], x_width: usize, y: &[f32], y_width: usize) -> Result<f64, EvalError> {
    if x_width == 0 || y_width == 0 || x.is_empty() {
        return Err(EvalError::Empty { what: "features" });
    }
    let n = x.len() / x_width;
    if n * x_width != x.len() || n * y_width != y.len() {
        return Err(EvalError::Shape { what: "features of the same samples", expected: n * y_width, got: y.len() });
    }
    let (x, y) = (columns(x, x_width), columns(y, y_width));
    let (xx, yy, xy) = (square(&x, &x), square(&y, &y), square(&x, &y));
    if xx <= 0.0 || yy <= 0.0 {
        return Err(EvalError::Empty { what: "variation of features" });
    }
    Ok(xy / (xx.sqrt() * yy.sqrt()))
}

/// Centred columns.
fn columns(values: &[f32], width: usize) -> Vec<Vec<f64>> {
    (0..width)
        .into_par_iter()
        .map(|c| {
            let column: Vec<f64> = values.iter().skip(c).step_by(width).map(|&v| f64::from(v)).collect();
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            column.into_iter().map(|v| v - mean).collect()
        })
        .collect()
}

/// `||AᵀB||²`: each column's part is summed by itself, so the result does not depend on threads.
fn square(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let part = |column: &Vec<f64>| {
        let dot = |other: &Vec<f64>| column.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        b.iter().map(|other| dot(other).powi(2)).sum::<f64>()
    };
    let parts: Vec<f64> = a.par_iter().map(part).collect();
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, id: u64) -> Vec<f32> {
        let mut rng = umt_random::stream(3, "test.cka", 0, id);
        (0..n).map(|_| rng.normal()).collect()
    }

    #[test]
    fn rotation_and_scale_do_not_matter_and_unrelated_features_are_far() {
        let x = noise(400 * 2, 1);
        let (s, c) = (0.6f32, 0.8f32);
        let turned: Vec<f32> =
            x.chunks(2).flat_map(|p| [3.0 * (c * p[0] - s * p[1]) + 5.0, 3.0 * (s * p[0] + c * p[1]) - 1.0]).collect();
        assert!((linear_cka(&x, 2, &turned, 2).unwrap() - 1.0).abs() < 1e-6);
        assert!(linear_cka(&x, 2, &noise(400 * 3, 2), 3).unwrap() < 0.05);
        assert!(linear_cka(&x, 2, &x[2..], 2).is_err());
        assert!(linear_cka(&[1.0; 8], 2, &x[..8], 2).is_err());
    }

    /// numpy: X = arange-like integers below; K = Xc Xcᵀ, L = Yc Ycᵀ; sum(K L) / (norm(K) norm(L)).
    #[test]
    fn equals_the_form_with_gram_matrices() {
        let x = [1.0f32, 2.0, 0.0, -1.0, 3.0, 1.0, 2.0, -2.0];
        let y = [0.5f32, 1.0, 2.0, -1.0, 0.0, 3.0, 1.0, 1.0, -2.0, 2.0, 2.0, 0.0];
        let gram = |v: &[f32], w: usize| -> Vec<f64> {
            let c = columns(v, w);
            (0..16).map(|i| c.iter().map(|col| col[i / 4] * col[i % 4]).sum()).collect()
        };
        let (k, l) = (gram(&x, 2), gram(&y, 3));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let expected = dot(&k, &l) / (dot(&k, &k).sqrt() * dot(&l, &l).sqrt());
        assert!((linear_cka(&x, 2, &y, 3).unwrap() - expected).abs() < 1e-12);
    }
}
