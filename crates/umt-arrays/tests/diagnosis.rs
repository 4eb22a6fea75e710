//! The diagnosis of made models whose truth is known.

use std::collections::BTreeMap;
use umt_arrays::{ArrayError, ModelArrays, NamedArray, Options, Values, diagnose};
use umt_eval::diagnosis::{Advice, Finding};

const CLASSES: usize = 4;

fn floats(rows: usize, values: Vec<f32>) -> NamedArray {
    NamedArray { shape: vec![rows, values.len() / rows], values: Values::Float(values) }
}

/// Features that show the label at a strength, in noise of size 1.
fn features(split: u64, labels: &[u32], strength: f32, id: u64) -> NamedArray {
    let mut rng = umt_random::stream(11, "test.arrays", split, id);
    let row = |label: &u32| (0..8).map(|k| rng.normal() + if k == *label as usize { strength } else { 0.0 }).collect();
    let rows: Vec<Vec<f32>> = labels.iter().map(row).collect();
    floats(labels.len(), rows.concat())
}

/// A model whose video encoder is worse than alone; `teachers` and `logits` as asked for.
fn model(teachers: bool, logits: bool) -> BTreeMap<String, NamedArray> {
    let mut arrays = BTreeMap::new();
    for (split, n, id) in [("train", 800, 1), ("validation", 300, 2), ("test", 1000, 3)] {
        let labels: Vec<u32> = (0..n).map(|i| (i % CLASSES) as u32).collect();
        let ints = labels.iter().map(|l| i64::from(*l)).collect();
        arrays.insert(format!("labels.{split}"), NamedArray { shape: vec![n], values: Values::Int(ints) });
        for (m, (modality, inside, alone)) in [("sound", 2.0, 2.0), ("image", 0.7, 2.0)].into_iter().enumerate() {
            let m = m as u64;
            arrays.insert(format!("features.{modality}.{split}"), features(id, &labels, inside, m));
            if teachers {
                arrays.insert(format!("teacher.{modality}.{split}"), features(id, &labels, alone, 10 + m));
            }
            if logits {
                arrays.insert(
                    format!("logits.{modality}.{split}"),
                    narrow(&arrays[&format!("features.{modality}.{split}")]),
                );
            }
        }
        if logits {
            arrays.insert(format!("logits.{split}"), narrow(&features(id, &labels, 2.5, 20)));
        }
    }
    arrays
}

/// The first columns: they show the classes.
fn narrow(x: &NamedArray) -> NamedArray {
    let Values::Float(values) = &x.values else { panic!("floats") };
    let rows = x.shape[0];
    floats(rows, values.chunks(8).flat_map(|row| row[..CLASSES].to_vec()).collect())
}

fn options() -> Options {
    Options { name: "mine".into(), margin: 0.02, probe: umt_eval::ProbeConfig::default() }
}

#[test]
fn the_encoder_that_fails_is_named_and_the_other_is_not() {
    let found = diagnose(&ModelArrays::new(model(true, true)).unwrap(), &options()).unwrap();
    assert_eq!(found.verdict.findings["image"], Finding::Fails, "{:?}", found.verdict.words);
    assert_ne!(found.verdict.findings["sound"], Finding::Fails, "{:?}", found.verdict.words);
    assert!(matches!(found.verdict.advice, Advice::Umt | Advice::Ume));
    assert!(found.absent.is_empty(), "{:?}", found.absent);
    assert_eq!((found.classes, found.samples["test"]), (CLASSES, 1000));
    // Contributions share the gain over the most frequent class.
    let total: f64 = found.figures.encoders.iter().map(|e| e.shapley.unwrap()).sum();
    assert!((total - (found.figures.top1 - found.figures.chance)).abs() < 1e-12);
    assert!(found.figures.ece.is_some() && found.figures.ensemble.is_some());
    let again = diagnose(&ModelArrays::new(model(true, true)).unwrap(), &options()).unwrap();
    assert_eq!(found.figures, again.figures);
}

#[test]
fn without_teachers_or_logits_it_says_what_is_absent() {
    let found = diagnose(&ModelArrays::new(model(false, false)).unwrap(), &options()).unwrap();
    assert!(found.probes["sound"] > found.probes["image"] + 0.1, "{:?}", found.probes);
    assert!(found.figures.top1 > found.probes["image"]);
    let absent = found.absent.join("\n");
    for name in ["teacher.sound.train", "teacher.image.train", "logits.test", "logits.<modality>.test"] {
        assert!(absent.contains(name), "{name} in {absent}");
    }
    assert!(found.figures.encoders.is_empty() && found.figures.ece.is_none());
}

#[test]
fn groups_widen_the_interval_of_alike_samples() {
    let plain = diagnose(&ModelArrays::new(model(true, true)).unwrap(), &options()).unwrap();
    let mut arrays = model(true, true);
    let groups = (0..1000).map(|i| if i < 900 { 0 } else { i }).collect();
    arrays.insert("groups.test".into(), NamedArray { shape: vec![1000], values: Values::Int(groups) });
    let grouped = diagnose(&ModelArrays::new(arrays).unwrap(), &options()).unwrap();
    let width = |d: &umt_arrays::Diagnosis| d.figures.encoders[0].gap.high - d.figures.encoders[0].gap.low;
    assert_eq!((plain.groups, grouped.groups), (0, 101));
    assert!(width(&grouped) > 1.5 * width(&plain));
}

#[test]
fn what_does_not_fit_together_is_named() {
    let broken = |change: &dyn Fn(&mut BTreeMap<String, NamedArray>)| {
        let mut arrays = model(true, true);
        change(&mut arrays);
        ModelArrays::new(arrays).map(drop).unwrap_err()
    };
    type Arrays = BTreeMap<String, NamedArray>;
    type Change<'a> = &'a dyn Fn(&mut Arrays);
    let cases: [(Change, &str); 6] = [
        (&|a| drop(a.remove("labels.test")), "labels.test"),
        (&|a| drop(a.insert("features.sound.test".into(), floats(2, vec![0.0; 16]))), "2 rows for 1000 labels"),
        (&|a| drop(a.insert("teacher.sound.test".into(), floats(1000, vec![0.0; 1000]))), "8 columns, 1 in another"),
        (&|a| drop(a.insert("logits.train".into(), floats(800, vec![0.0; 1600]))), "columns"),
        (&|a| drop(a.insert("features.sound.dev".into(), floats(1, vec![0.0]))), "no split \"dev\""),
        (&|a| drop(a.insert("features.sound.test".into(), floats(1000, vec![f32::NAN; 8000]))), "NaN at row 0"),
    ];
    for (change, word) in cases {
        let error = broken(change);
        assert!(matches!(error, ArrayError::Mismatch { .. }));
        assert!(error.to_string().contains(word), "{error} lacks {word}");
    }
    let mut arrays = model(true, true);
    arrays.insert("notes".into(), floats(1, vec![1.0]));
    assert_eq!(ModelArrays::new(arrays).unwrap().ignored, ["notes"]);
}
