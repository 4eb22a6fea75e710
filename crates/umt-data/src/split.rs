//! The validation share: seeded, stratified by class, torn along no group.

use crate::{DataError, Dataset, Split, ValidationConfig};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// How many samples each part has after the cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Trained on.
    pub train: usize,
    /// Held out.
    pub validation: usize,
    /// The official test part.
    pub test: usize,
    /// In no part: they share a group or their content with a held-out sample.
    pub left_out: usize,
}

/// The seed of a run's validation share: the same for every seed of a run, so that seeds differ in training alone.
pub const SPLIT_SEED: u64 = 0;

/// The name of [`ValidationConfig::group_by`] that takes a set's own groups away: every sample by itself.
pub const NO_GROUPS: &str = "none";

impl ValidationConfig {
    /// This rule for a set that it was not written for: groups that the set does not have are replaced by the set's own choice, or by none; the
    /// second value says so.
    pub fn for_set(&self, set: &Dataset) -> (Self, Option<String>) {
        let there = |name: &String| name == NO_GROUPS || set.group_names.contains(name);
        let Some(asked) = self.group_by.as_ref().filter(|name| !there(name)) else { return (self.clone(), None) };
        let instead = match &set.hold_out {
            Some(own) => format!("whole groups of `{own}` are held out instead"),
            None => "single samples of each class are held out instead; if samples belong together (takes of a speaker, frames of a scene), \
                     say so in a column `group:NAME`"
                .to_owned(),
        };
        let text = format!(
            "validation: the recipe holds out groups of `{asked}`, which {} does not have; {instead}",
            set.name
        );
        (Self { group_by: None, ..self.clone() }, Some(text))
    }
}

impl Dataset {
    /// Number of samples in each part.
    pub fn counts(&self) -> SplitCounts {
        let count = |split| self.samples.splits().iter().filter(|&&other| other == split).count();
        SplitCounts {
            train: count(Split::Train),
            validation: count(Split::Validation),
            test: count(Split::Test),
            left_out: count(Split::LeftOut),
        }
    }

    /// Cuts validation from train (never from test).
    ///
    /// Groups of the held-out kind go over whole, in a seeded order, as long as each brings the
    /// class counts nearer to the share of every class; samples without such a group stand for
    /// themselves. A training sample that shares a group of any other kind with validation leaves
    /// train. A set that names its own validation samples keeps them, and so does a share of 0.
    ///
    /// # Errors
    /// [`DataError::Config`] for a kind of group that the set does not have, and a share that leaves a part empty.
    pub fn split_validation(&mut self, seed: u64, config: &ValidationConfig) -> Result<SplitCounts, DataError> {
        config.validate()?;
        let column = self.hold_out_column(config)?;
        if config.share == 0.0 || self.samples.splits().contains(&Split::Validation) {
            return Ok(self.counts());
        }
        let groups = self.shuffled_groups(seed, column);
        for index in choose(&groups, self, config.share) {
            self.samples.set_split(index, Split::Validation);
        }
        if config.group_by.as_deref() != Some(NO_GROUPS) {
            self.leave_out_related();
        }
        let counts = self.counts();
        if counts.validation == 0 || counts.train == 0 {
            return Err(DataError::config(
                "validation",
                format!(
                    "a share of {} of {} groups leaves {} training and {} validation samples; choose another share or group-by, or share = 0",
                    config.share,
                    groups.len(),
                    counts.train,
                    counts.validation
                ),
            ));
        }
        Ok(counts)
    }

    fn hold_out_column(&self, config: &ValidationConfig) -> Result<Option<usize>, DataError> {
        let Some(name) = config.group_by.as_ref().or(self.hold_out.as_ref()).filter(|name| *name != NO_GROUPS) else {
            return Ok(None);
        };
        let found = self.group_names.iter().position(|known| known == name);
        found.map(Some).ok_or_else(|| {
            DataError::config(
                "validation.group-by",
                format!(
                    "no group `{name}` in {}; it has: {}; `none` holds out single samples",
                    self.name,
                    if self.group_names.is_empty() { "none".to_owned() } else { self.group_names.join(", ") }
                ),
            )
        })
    }

    /// The training samples by group, groups in a seeded order that no row order changes.
    fn shuffled_groups(&self, seed: u64, column: Option<usize>) -> Vec<Vec<usize>> {
        let mut by_key: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
        for index in self.indices(Split::Train) {
            let sample = self.sample(index);
            let group = column.map_or("", |column| sample.group(column));
            let key = if group.is_empty() { (false, sample.id()) } else { (true, group) };
            by_key.entry(key).or_default().push(index);
        }
        // Sorted by key: no order of rows or hashes decides what the shuffle starts from.
        let mut keyed: Vec<_> = by_key.into_iter().collect();
        umt_random::stream(seed, "validation", 0, 0).shuffle(&mut keyed);
        keyed.into_iter().map(|(_, members)| members).collect()
    }

    fn leave_out_related(&mut self) {
        let groups = |row: usize| self.sample(row).groups().into_iter().enumerate();
        let held: HashSet<(usize, &str)> = self
            .indices(Split::Validation)
            .into_iter()
            .flat_map(groups)
            .filter(|(_, group)| !group.is_empty())
            .collect();
        let mut related = self.indices(Split::Train);
        related.retain(|&row| groups(row).any(|group| held.contains(&group)));
        for row in related {
            self.samples.set_split(row, Split::LeftOut);
        }
    }
}

/// The samples of the groups that are held out.
fn choose(groups: &[Vec<usize>], set: &Dataset, share: f64) -> Vec<usize> {
    let targets: Vec<f64> = set.class_counts(Split::Train).iter().map(|&count| count as f64 * share).collect();
    let total = targets.iter().sum::<f64>().round() as usize;
    let mut held = vec![0.0; targets.len()];
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    for members in groups {
        let mut with = held.clone();
        for &index in members {
            with[set.samples.label(index)] += 1.0;
        }
        if distance(&with, &targets) < distance(&held, &targets) {
            held = with;
            taken.extend_from_slice(members);
        } else {
            rest.push(members);
        }
    }
    // Classes too small for a sample of their own still fill the share together.
    for members in rest {
        if taken.len() + members.len() <= total {
            taken.extend_from_slice(members);
        }
    }
    taken
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}
