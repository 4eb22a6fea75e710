//! Limited-memory BFGS (Nocedal & Wright, "Numerical Optimization", 2nd ed., algorithms 7.4, 7.5)
//! with a bracketing line search for the weak Wolfe conditions (Lewis & Overton, "Nonsmooth
//! optimization via quasi-Newton methods", Math. Program. 141, 2013, algorithm 2.6).

use std::collections::VecDeque;

/// Settings of a minimisation.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most iterations.
    pub max_iterations: usize,
    /// Ends when the largest gradient component is at most this.
    pub tolerance: f64,
    /// Pairs of steps and gradient changes kept.
    pub memory: usize,
    /// Relative error of the function's values (its sums run in f32): a step counts as a decrease
    /// when it is one within this.
    pub noise: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_iterations: 300, tolerance: 1e-4, memory: 10, noise: 1e-7 }
    }
}

/// How a minimisation ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Iterations taken.
    pub iterations: usize,
    /// Function evaluations.
    pub evaluations: usize,
    /// Value at the end.
    pub value: f64,
    /// Largest gradient component at the end.
    pub gradient: f64,
    /// Whether `gradient` is within the tolerance.
    pub converged: bool,
}

/// A past step `s`, its gradient change `y` and `1 / s.y`.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// Minimises `f(x, gradient)` from `x`, which holds the best point found on return. Deterministic.
pub fn minimise(mut f: impl FnMut(&[f64], &mut [f64]) -> f64, x: &mut [f64], options: &Options) -> Report {
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(x, &mut gradient);
    let mut report = Report { iterations: 0, evaluations: 1, value, gradient: largest(&gradient), converged: false };
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let (mut trial, mut trial_gradient) = (x.to_vec(), gradient.clone());
    while report.gradient > options.tolerance && report.iterations < options.max_iterations {
        let direction = direction(&gradient, &pairs);
        let slope = dot(&direction, &gradient);
        // Without curvature yet, the first trial moves by at most one unit in length.
        let first = if pairs.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let slack = options.noise * value.abs();
        let accepted = search(first, value, slope, slack, |step| {
            for ((t, x), d) in trial.iter_mut().zip(&*x).zip(&direction) {
                *t = x + step * d;
            }
            report.evaluations += 1;
            let value = f(&trial, &mut trial_gradient);
            (value, dot(&trial_gradient, &direction))
        });
        let Some(accepted) = accepted else {
            // No decrease along this direction: forget the curvature once, then the noise of the
            // values is the limit and the point is as good as it gets.
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        report.iterations += 1;
        let s: Vec<f64> = trial.iter().zip(&*x).map(|(t, x)| t - x).collect();
        let y: Vec<f64> = trial_gradient.iter().zip(&gradient).map(|(t, g)| t - g).collect();
        let curvature = dot(&s, &y);
        if curvature > f64::EPSILON * dot(&y, &y) {
            if pairs.len() == options.memory {
                pairs.pop_front();
            }
            pairs.push_back(Pair { s, y, rho: 1.0 / curvature });
        }
        x.copy_from_slice(&trial);
        gradient.copy_from_slice(&trial_gradient);
        value = accepted;
        report.gradient = largest(&gradient);
    }
    report.value = value;
    report.converged = report.gradient <= options.tolerance;
    report
}

/// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let alpha = pair.rho * dot(&pair.s, &d);
        add_scaled(&mut d, -alpha, &pair.y);
        alphas.push(alpha);
    }
    if let Some(last) = pairs.back() {
        let scale = 1.0 / (last.rho * dot(&last.y, &last.y));
        d.iter_mut().for_each(|v| *v *= scale);
    }
    for (pair, alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.rho * dot(&pair.y, &d);
        add_scaled(&mut d, alpha - beta, &pair.s);
    }
    d
}

/// Finds a step of sufficient decrease and curvature, and returns the value there; the last call
/// of `at` (value, slope) was made with that step. None when there is no such step in reach.
fn search(first: f64, value: f64, slope: f64, slack: f64, mut at: impl FnMut(f64) -> (f64, f64)) -> Option<f64> {
    if slope >= 0.0 || slope.is_nan() {
        return None;
    }
    let (mut low, mut high, mut step) = (0.0, f64::INFINITY, first);
    for _ in 0..40 {
        let (v, s) = at(step);
        // NaN and infinity count as too far.
        let decreased = v <= value + 1e-4 * step * slope + slack;
        if !decreased {
            high = step;
            // The minimum of the parabola through both values and the first slope, when low is 0.
            let rise = v - value - step * slope;
            let parabola = -0.5 * slope * step * step / rise;
            let inside = low + 0.1 * (high - low)..low + 0.5 * (high - low);
            step = if low == 0.0 && inside.contains(&parabola) { parabola } else { 0.5 * (low + high) };
        } else if s < 0.9 * slope {
            // Where the slope would vanish if it went on changing at this rate.
            let secant = step * slope / (slope - s);
            low = step;
            step = if high.is_finite() {
                0.5 * (low + high)
            } else if secant > 2.0 * step {
                secant.min(10.0 * step)
            } else {
                2.0 * step
            };
        } else {
            return Some(v);
        }
    }
    None
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// A dot product over eight running sums, which vectorises; the order is fixed by the length.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn add_scaled(a: &mut [f64], scale: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += scale * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_rosenbrock() {
        let f = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let mut x = [-1.2, 1.0];
        let options = Options { tolerance: 1e-8, noise: 0.0, ..Options::default() };
        let report = minimise(f, &mut x, &options);
        assert!(report.converged && report.iterations < 60, "{report:?}");
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn survives_infinite_values_and_flat_functions() {
        // 1/x + x, infinite from x = 0 on: the first steps overshoot.
        let f = |x: &[f64], g: &mut [f64]| {
            g[0] = 1.0 - 1.0 / (x[0] * x[0]);
            if x[0] > 0.0 { x[0] + 1.0 / x[0] } else { f64::INFINITY }
        };
        let mut x = [20.0];
        let report = minimise(f, &mut x, &Options { tolerance: 1e-6, ..Options::default() });
        assert!((x[0] - 1.0).abs() < 1e-5, "{x:?} {report:?}");
        let flat = minimise(
            |_, g| {
                g.fill(0.0);
                1.0
            },
            &mut x,
            &Options::default(),
        );
        assert!(flat.converged && flat.iterations == 0);
    }
}
