//! What is wrong with a multi-modal network, in figures and in words.
//!
//! Each encoder is held against its uni-modal teacher by the linear probe of both; an encoder fails when its probe is
//! below the teacher's by more than a margin and the interval of the difference leaves out 0. A modality whose teacher is
//! no better than always naming the most frequent class is noise, and says nothing about failure. The advice follows the
//! two papers: distil from the teachers (UMT, arXiv 2106.11059) where encoders fail; average the uni-modal networks
//! (UME, arXiv 2305.01233) where that alone is better than joint training; else leave the network as it is.

mod cka;
mod classes;
mod shapley;
mod verdict;

pub use cka::linear_cka;
pub use classes::{ClassLoss, lost_classes};
pub use shapley::shapley;
pub use verdict::{Advice, Finding, Verdict, judge};

use crate::difference::Difference;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of one encoder inside a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderFigures {
    /// Its modality.
    pub modality: String,
    /// Top-1 of the probe of its uni-modal teacher.
    pub alone: f64,
    /// Top-1 of its own probe.
    pub inside: f64,
    /// inside - alone, by bootstrap over test samples.
    pub gap: Interval,
    /// alone - share of the most frequent class.
    pub signal: Interval,
    /// Its part in the network's top-1: the Shapley value over subsets of modalities.
    pub shapley: Option<f64>,
    /// Its share of the gradient's norm by epoch, 0..1.
    pub gradient_share: Vec<f64>,
    /// Linear CKA of its test features with its teacher's, 0..1.
    pub cka: Option<f64>,
    /// Classes on which it is worse than its teacher, the worst first.
    pub lost: Vec<ClassLoss>,
}

/// What is known of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkFigures {
    /// Its stage.
    pub stage: String,
    /// Test top-1.
    pub top1: f64,
    /// Expected calibration error on test.
    pub ece: Option<f64>,
    /// Share of the most frequent class of test.
    pub chance: f64,
    /// Mean of the teachers' probabilities (UME) minus this network, top-1 on test.
    pub ensemble: Option<Interval>,
    /// A network of the same run trained with UMT minus this one, top-1 on test.
    pub umt: Option<Interval>,
    /// Top-1 with only some modalities present, by their names joined with `+`.
    pub given: BTreeMap<String, f64>,
    /// Its encoders.
    pub encoders: Vec<EncoderFigures>,
}

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// 2.5 % quantile.
    pub low: f64,
    /// 97.5 % quantile.
    pub high: f64,
}

impl From<Difference> for Interval {
    fn from(d: Difference) -> Self {
        Self { mean: d.mean, low: d.low, high: d.high }
    }
}
