//! Figures of label maps against scikit-learn (tests/golden/make_dense.py).

use serde::Deserialize;
use std::collections::BTreeMap;
use umt_eval::Confusion;
use umt_eval::metrics::{METRICS, Reads, mean_iou};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: usize,
    truth: Vec<Vec<u8>>,
    predicted: Vec<Vec<u8>>,
    confusion: Vec<u64>,
    expected: BTreeMap<String, f64>,
    iou: Vec<Option<f64>>,
}

#[test]
fn dense_metrics_agree_with_scikit_learn() {
    let golden: Golden = serde_json::from_str(include_str!("golden/dense.json")).unwrap();
    assert_eq!(golden.cases.len(), 3);
    for case in &golden.cases {
        let mut confusion = Confusion::new(case.classes);
        for (truth, predicted) in case.truth.iter().zip(&case.predicted) {
            confusion.add_maps(truth, predicted, 255).unwrap();
        }
        assert_eq!(confusion.counts(), case.confusion, "{}", case.name);
        for metric in METRICS.iter().filter(|metric| metric.reads() == Reads::Pixels) {
            let (got, wanted) = (metric.of_pixels(&confusion).unwrap(), case.expected[metric.id()]);
            assert!((got - wanted).abs() < 1e-12, "{}, {}: {got}, not {wanted}", case.name, metric.id());
        }
        for (got, wanted) in mean_iou::class_iou(&confusion).into_iter().zip(&case.iou) {
            assert_eq!(got.is_some(), wanted.is_some(), "{}", case.name);
            assert!((got.unwrap_or(0.0) - wanted.unwrap_or(0.0)).abs() < 1e-12, "{}", case.name);
        }
    }
}
