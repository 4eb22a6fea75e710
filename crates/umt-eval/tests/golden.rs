//! Metrics and probe against scikit-learn, scipy and numpy (tests/golden/make_golden.py).

use std::collections::BTreeMap;

use serde::Deserialize;
use umt_eval::{Confusion, Features, LinearProbe, ProbeConfig, Scores, metrics};

#[derive(Deserialize)]
struct Metrics {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: usize,
    labels: Vec<u32>,
    logits: Vec<f32>,
    expected: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Probe {
    width: usize,
    classes: usize,
    train: usize,
    features: Vec<f32>,
    labels: Vec<u32>,
    fits: Vec<Fit>,
}

#[derive(Deserialize)]
struct Fit {
    l2: f64,
    weight: Vec<f32>,
    bias: Vec<f32>,
    top1: f64,
    nll: f64,
    predicted: Vec<u32>,
}

#[test]
fn metrics_agree_with_scikit_learn() {
    let golden: Metrics = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    for case in &golden.cases {
        let scores = Scores::new(&case.logits, case.classes, &case.labels).unwrap();
        for metric in metrics::METRICS.iter().filter(|metric| metric.reads() == metrics::Reads::Samples) {
            let wanted = case.expected[metric.id()].as_f64().unwrap();
            let got = metric.of_samples(&scores).unwrap();
            assert!((got - wanted).abs() < 1e-9, "{}, {}: {got}, not {wanted}", case.name, metric.id());
        }
        let confusion: Vec<u64> = serde_json::from_value(case.expected["confusion"].clone()).unwrap();
        assert_eq!(Confusion::of(&scores).counts(), confusion, "{}", case.name);
    }
}

#[test]
fn probe_agrees_with_scikit_learn() {
    let golden: Probe = serde_json::from_str(include_str!("golden/probe.json")).unwrap();
    let split = golden.train * golden.width;
    let (x, y) = (&golden.features, &golden.labels);
    let train = Features::new(&x[..split], golden.width, &y[..golden.train], golden.classes).unwrap();
    let held = &x[split..];
    let held_labels = &y[golden.train..];
    for fit in &golden.fits {
        let config = ProbeConfig { tolerance: 1e-6, ..ProbeConfig::fixed(fit.l2) };
        let fitted = LinearProbe::fit(train, None, &config).unwrap();
        assert!(fitted.candidates[0].converged, "{:?}", fitted.candidates);
        let model = &fitted.model;
        // F is flatter the weaker the penalty: the same gradient leaves more room for W.
        let tolerance = (1e-5 / fit.l2).clamp(1e-4, 1e-2) as f32;
        let mean = model.bias().iter().sum::<f32>() / golden.classes as f32;
        let pairs = model.weight().iter().copied().zip(fit.weight.iter().copied());
        let biases = model.bias().iter().map(|b| b - mean).zip(fit.bias.iter().copied());
        for (got, wanted) in pairs.chain(biases) {
            assert!((got - wanted).abs() < tolerance * wanted.abs().max(1.0), "l2 {}: {got}, not {wanted}", fit.l2);
        }
        let logits = model.predict(held).unwrap();
        let scores = Scores::new(&logits, golden.classes, held_labels).unwrap();
        assert_eq!(scores.predicted(), fit.predicted);
        assert_eq!(metrics::top_k::top_k(&scores, 1).unwrap(), fit.top1);
        let nll = metrics::by_id("nll").unwrap().of_samples(&scores).unwrap();
        assert!((nll - fit.nll).abs() < 1e-3, "l2 {}: {nll}, not {}", fit.l2, fit.nll);
    }

    // The choice on a validation set is the best of scikit-learn's fits.
    let validation = Features::new(held, golden.width, held_labels, golden.classes).unwrap();
    let l2 = golden.fits.iter().map(|f| f.l2).collect();
    let config = ProbeConfig { l2, ..ProbeConfig::default() };
    let fitted = LinearProbe::fit(train, Some(validation), &config).unwrap();
    let best = golden.fits.iter().map(|f| f.top1).fold(0.0, f64::max);
    assert_eq!(fitted.validation_top1, Some(best));
}
