//! Classes that training never sees.

use crate::{
    Dataset, Split,
    finding::{Finding, FindingKind},
};
use std::collections::BTreeMap;

/// Pixels of each class of the splits, where samples have label maps.
#[derive(Default)]
pub(super) struct Pixels(BTreeMap<Split, Vec<u64>>);

impl Pixels {
    pub fn see(&mut self, split: Split, pixels: &[u64]) {
        if pixels.is_empty() {
            return;
        }
        let counts = self.0.entry(split).or_default();
        counts.resize(pixels.len().max(counts.len()), 0);
        counts.iter_mut().zip(pixels).for_each(|(all, one)| *all += one);
    }

    pub fn counts(&self) -> BTreeMap<Split, Vec<u64>> {
        self.0.clone()
    }
}

/// Samples of each class of a split that a run could use.
pub(super) fn samples(set: &Dataset, usable: &[bool], split: Split) -> Vec<u64> {
    let mut counts = vec![0; set.classes.len()];
    for sample in set.iter().filter(|sample| sample.split() == split && usable[sample.row()]) {
        counts[sample.label()] += 1;
    }
    counts
}

/// Classes that are tested or validated and not trained, and those that occur nowhere.
pub(super) fn missing(set: &Dataset, usable: &[bool], pixels: &Pixels) -> Vec<Finding> {
    if set.dense.is_some() && pixels.0.is_empty() {
        return Vec::new();
    }
    let of = |split: Split| match set.dense.is_some() {
        true => pixels.0.get(&split).cloned().unwrap_or_default(),
        false => samples(set, usable, split),
    };
    let [train, validation, test] = [Split::Train, Split::Validation, Split::Test].map(of);
    // Without training samples that is what is wrong, not each class.
    if train.iter().all(|&count| count == 0) {
        return Vec::new();
    }
    let there = |counts: &[u64], class: usize| counts.get(class).is_some_and(|&count| count > 0);
    let unit = if set.dense.is_some() { "pixels" } else { "samples" };
    let mut findings = Vec::new();
    for (class, name) in set.classes.iter().enumerate().filter(|&(class, _)| !there(&train, class)) {
        let (kind, reason) = match (there(&test, class), there(&validation, class)) {
            (true, _) => (
                FindingKind::ClassInTestOnly,
                format!("class `{name}` is in test ({} {unit}) and not in train", test[class]),
            ),
            (false, true) => (
                FindingKind::ClassNotInTrain,
                format!("class `{name}` is in validation ({} {unit}) and not in train", validation[class]),
            ),
            (false, false) => (FindingKind::UnusedClass, format!("class `{name}` has no {unit}")),
        };
        findings.push(Finding::new(kind, reason));
    }
    findings
}
