//! The linear probe: multinomial logistic regression on frozen, standardised features.
//!
//! How much of the task an encoder's features give away to a linear classifier is the diagnosis of
//! Modality Failure (Du et al., arXiv 2106.11059): the encoder of a jointly trained network is
//! probed beside the same encoder trained alone.
//!
//! Objective, for features standardised by the training mean and standard deviation:
//!
//! `F(W, b) = -1/n sum_i log softmax(W x_i + b)[y_i] + l2/2 ||W||^2`
//!
//! The intercept b is not penalised. scikit-learn's `LogisticRegression(C)` minimises the same with
//! `C = 1 / (n l2)`. F is convex; L-BFGS ([`lbfgs`]) descends from zero, so the answer depends on
//! nothing random. The strength `l2` is chosen from a grid by validation accuracy, from the
//! strongest down, each fit starting at the one before it.

pub mod lbfgs;
mod model;
mod objective;
mod tile;

pub use model::LinearModel;

use serde::{Deserialize, Serialize};

use crate::metrics::{Metric, nll, top_k};
use crate::scores::only_label;
use crate::{EvalError, Features, Scores};
use model::Scaler;
use objective::Objective;

/// Settings of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Strengths to choose from; each above 0.
    pub l2: Vec<f64>,
    /// Most L-BFGS iterations per fit.
    pub max_iterations: usize,
    /// A fit ends when no component of the gradient exceeds this.
    pub tolerance: f64,
    /// Whether the chosen strength is fitted once more on training and validation together.
    pub refit: bool,
}

impl Default for ProbeConfig {
    /// Decades from 1 to 1e-5; at most 300 iterations to a gradient of 1e-4 (the tolerance of
    /// scikit-learn); the reported fit sees the training samples alone.
    fn default() -> Self {
        let l2 = (0..6).map(|i| 10f64.powi(-i)).collect();
        Self { l2, max_iterations: 300, tolerance: 1e-4, refit: false }
    }
}

impl ProbeConfig {
    /// A probe of one fixed strength.
    pub fn fixed(l2: f64) -> Self {
        Self { l2: vec![l2], ..Self::default() }
    }

    fn grid(&self) -> Result<Vec<f64>, EvalError> {
        let setting = |name, reason: String| Err(EvalError::Setting { name, reason });
        if self.l2.is_empty() {
            return setting("l2", "the list of strengths is empty".into());
        }
        if let Some(bad) = self.l2.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
            return setting("l2", format!("{bad} is not a finite number above 0"));
        }
        if self.max_iterations == 0 {
            return setting("max_iterations", "must be at least 1".into());
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return setting("tolerance", format!("{} is not above 0", self.tolerance));
        }
        let mut grid = self.l2.clone();
        grid.sort_by(|a, b| b.total_cmp(a));
        grid.dedup();
        Ok(grid)
    }
}

/// One strength of the grid, as fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Strength.
    pub l2: f64,
    /// Validation accuracy; none where a single strength left nothing to choose.
    pub validation_top1: Option<f64>,
    /// Validation negative log-likelihood, which settles equal accuracies.
    pub validation_nll: Option<f64>,
    /// L-BFGS iterations of this fit.
    pub iterations: usize,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

impl Candidate {
    fn new(l2: f64, report: &lbfgs::Report) -> Self {
        let (iterations, converged) = (report.iterations, report.converged);
        Self { l2, validation_top1: None, validation_nll: None, iterations, converged }
    }
}

/// A fitted probe.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The chosen strength.
    pub l2: f64,
    /// Its accuracy on the given validation set (before a refit).
    pub validation_top1: Option<f64>,
    /// Every strength tried, strongest first.
    pub candidates: Vec<Candidate>,
    /// The classifier.
    pub model: LinearModel,
}

/// Fits linear probes.
pub struct LinearProbe;

impl LinearProbe {
    /// Fits on `train`, choosing the strength on `validation`: best accuracy, then the lower
    /// negative log-likelihood, then the stronger penalty.
    ///
    /// Without a validation set and with several strengths, every fifth training sample of each
    /// class is held out for the choice, and the model is then fitted on all of `train`.
    ///
    /// ```
    /// use umt_eval::{Features, LinearProbe, ProbeConfig};
    /// // The label is the sign of the second feature.
    /// let x: Vec<f32> = (0..200).flat_map(|i| [(i * 7 % 13) as f32, (i % 5) as f32 - 2.5]).collect();
    /// let y: Vec<u32> = (0..200).map(|i| u32::from(i % 5 > 2)).collect();
    /// let train = Features::new(&x[..300], 2, &y[..150], 2)?;
    /// let validation = Features::new(&x[300..], 2, &y[150..], 2)?;
    /// let fitted = LinearProbe::fit(train, Some(validation), &ProbeConfig::default())?;
    /// assert_eq!(fitted.validation_top1, Some(1.0));
    /// assert_eq!(fitted.model.predict(&[6.0, -1.5, 6.0, 1.5])?.len(), 2 * 2);
    /// # Ok::<(), umt_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    /// [`EvalError::OneClass`] when the training labels are all equal, [`EvalError::Shape`] when
    /// the two sets differ in width or classes, [`EvalError::Setting`] for settings outside their
    /// range, or when nothing can be held out of `train`.
    pub fn fit(train: Features, validation: Option<Features>, config: &ProbeConfig) -> Result<Fitted, EvalError> {
        let grid = config.grid()?;
        if let Some(label) = only_label(train.labels()) {
            return Err(EvalError::OneClass { what: "linear probe", label });
        }
        let Some(v) = validation else {
            return match grid.as_slice() {
                [l2] => Ok(fit_one(train, *l2, config)),
                _ => fit_held_out(train, config),
            };
        };
        same("validation width", train.width(), v.width())?;
        same("validation classes", train.classes(), v.classes())?;

        let mut problem = Problem::new(train);
        let mut candidates = Vec::with_capacity(grid.len());
        let mut best: Option<(Candidate, Vec<f64>)> = None;
        for l2 in grid {
            let report = problem.solve(l2, config);
            let logits = problem.model().predict(v.values())?;
            let scores = Scores::new(&logits, v.classes(), v.labels())?;
            let candidate = Candidate {
                validation_top1: Some(top_k::top_k(&scores, 1)?),
                validation_nll: Some(nll::NegativeLogLikelihood.of_samples(&scores)?),
                ..Candidate::new(l2, &report)
            };
            candidates.push(candidate.clone());
            if best.as_ref().is_none_or(|(b, _)| better(&candidate, b)) {
                best = Some((candidate, problem.weights.clone()));
            }
        }
        let (chosen, weights) = best.ok_or(EvalError::Empty { what: "l2" })?;
        problem.weights = weights;

        let model = if config.refit {
            let values = [train.values(), v.values()].concat();
            let labels = [train.labels(), v.labels()].concat();
            let all = Features::new(&values, train.width(), &labels, train.classes())?;
            let mut together = Problem { weights: problem.weights, ..Problem::new(all) };
            together.solve(chosen.l2, config);
            together.model()
        } else {
            problem.model()
        };
        Ok(Fitted { l2: chosen.l2, validation_top1: chosen.validation_top1, candidates, model })
    }
}

/// A fit of one strength on all samples.
fn fit_one(train: Features, l2: f64, config: &ProbeConfig) -> Fitted {
    let mut problem = Problem::new(train);
    let report = problem.solve(l2, config);
    let candidates = vec![Candidate::new(l2, &report)];
    Fitted { l2, validation_top1: None, candidates, model: problem.model() }
}

/// Chooses the strength on a part of `train`, then fits it on all of it.
fn fit_held_out(train: Features, config: &ProbeConfig) -> Result<Fitted, EvalError> {
    let mut seen = vec![0usize; train.classes()];
    // Fitted on, held out: values and labels.
    let mut parts = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for (row, label) in train.values().chunks_exact(train.width()).zip(train.labels()) {
        let count = &mut seen[*label as usize];
        *count += 1;
        let part = &mut parts[usize::from(count.is_multiple_of(5))];
        part.0.extend_from_slice(row);
        part.1.push(*label);
    }
    let [(x, y), (held_x, held_y)] = &parts;
    if held_y.is_empty() {
        let reason = "no class has five samples, so none can be held out to choose on: give one \
                      strength, or a validation set";
        return Err(EvalError::Setting { name: "l2", reason: reason.into() });
    }
    let rest = Features::new(x, train.width(), y, train.classes())?;
    let held = Features::new(held_x, train.width(), held_y, train.classes())?;
    let choice = ProbeConfig { refit: false, ..config.clone() };
    let chosen = LinearProbe::fit(rest, Some(held), &choice)?;
    let fitted = fit_one(train, chosen.l2, config);
    Ok(Fitted { candidates: chosen.candidates, ..fitted })
}

/// Whether `a` is to be preferred to `b`, which came earlier and so has the stronger penalty.
fn better(a: &Candidate, b: &Candidate) -> bool {
    match (a.validation_top1, b.validation_top1, a.validation_nll, b.validation_nll) {
        (Some(at), Some(bt), Some(an), Some(bn)) => at > bt || (at == bt && an < bn),
        _ => false,
    }
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), EvalError> {
    if expected == got { Ok(()) } else { Err(EvalError::Shape { what, expected, got }) }
}

/// Standardised samples and the weights reached so far.
struct Problem<'a> {
    scaler: Scaler,
    objective: Objective<'a>,
    weights: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(features: Features<'a>) -> Self {
        let scaler = Scaler::fit(&features);
        let standardised = scaler.apply(features.values());
        let objective = Objective::new(standardised, &features);
        let weights = vec![0.0; objective.parameters()];
        Self { scaler, objective, weights }
    }

    fn solve(&mut self, l2: f64, config: &ProbeConfig) -> lbfgs::Report {
        let objective = &mut self.objective;
        let options = lbfgs::Options {
            max_iterations: config.max_iterations,
            tolerance: config.tolerance,
            ..lbfgs::Options::default()
        };
        lbfgs::minimise(|w, g| objective.evaluate(w, l2, g), &mut self.weights, &options)
    }

    fn model(&self) -> LinearModel {
        let (weight, bias) = self.objective.unpack(&self.weights);
        LinearModel::new(self.scaler.clone(), weight, bias)
    }
}

#[cfg(test)]
mod tests;
