//! What training must not know of validation and test: groups and files that two splits share.

use crate::{
    Dataset, Sample, Split,
    finding::{Finding, FindingKind},
};
use std::collections::BTreeMap;
use umt_media::Modality;

/// The splits that must have nothing in common, the one whose samples give themselves away first.
const PAIRS: [[Split; 2]; 3] =
    [[Split::Train, Split::Test], [Split::Train, Split::Validation], [Split::Validation, Split::Test]];

/// The first sample of each split.
type First = [Option<u32>; 3];

fn place(split: Split) -> Option<usize> {
    [Split::Train, Split::Validation, Split::Test].iter().position(|&other| other == split)
}

fn remember(first: &mut First, set: &Dataset, row: usize) {
    if let Some(place) = place(set.samples.splits()[row]) {
        first[place].get_or_insert(row as u32);
    }
}

/// A finding for each pair of splits that share something, at the sample of the later one.
fn shared(set: &Dataset, first: First, kind: FindingKind, what: &str) -> Vec<Finding> {
    let sample = |split: Split| Some(set.sample(first[place(split)?]? as usize));
    let named = |sample: Sample<'_>| match sample.line() {
        0 => format!("{} (`{}`)", sample.split(), sample.id()),
        line => format!("{} (line {line}, `{}`)", sample.split(), sample.id()),
    };
    let pair = |[one, other]: [Split; 2]| {
        let (one, other) = (sample(one)?, sample(other)?);
        let reason = format!("{what} is in {} and in {}", named(one), named(other));
        let list = set.list(other.split()).unwrap_or_default();
        Some(Finding::new(kind, reason).at(&list, other.line(), other.id()))
    };
    PAIRS.into_iter().filter_map(pair).collect()
}

/// Groups with samples in two splits.
pub(super) fn groups(set: &Dataset) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (column, name) in set.group_names.iter().enumerate() {
        let mut seen: BTreeMap<&str, First> = BTreeMap::new();
        for row in 0..set.len() {
            let group = set.samples.group(row, column);
            if !group.is_empty() {
                remember(seen.entry(group).or_default(), set, row);
            }
        }
        for (group, first) in seen {
            findings.extend(shared(set, first, FindingKind::SharedGroup, &format!("{name} `{group}`")));
        }
    }
    findings
}

/// What the inputs' files hold.
#[derive(Default)]
pub(super) struct Contents(Vec<(Modality, u128, u32)>);

impl Contents {
    pub fn see(&mut self, row: usize, contents: &[(Modality, u128)]) {
        self.0.extend(contents.iter().map(|&(modality, digest)| (modality, digest, row as u32)));
    }

    /// Files of the same bytes in two splits.
    pub fn finish(&mut self, set: &Dataset) -> Vec<Finding> {
        self.0.sort_unstable();
        let mut findings = Vec::new();
        for alike in self.0.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|alike| alike.len() > 1) {
            let mut first = First::default();
            alike.iter().for_each(|&(.., row)| remember(&mut first, set, row as usize));
            let what = format!("the same {}", alike[0].0);
            findings.extend(shared(set, first, FindingKind::EqualContent, &what));
        }
        findings
    }
}
