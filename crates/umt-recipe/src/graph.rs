//! Which stages there are once patterns are expanded, and what each needs.

use crate::recipe::{Recipe, Stage, Task};
use crate::weights::Weights;
use std::collections::BTreeSet;
use umt_media::Modality;

/// A stage after expansion: one per row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The row's id, such as `probe.umt.audio`.
    pub id: String,
    /// The index of its `[[stage]]`.
    pub stage: usize,
    /// The modalities whose inputs and encoders it uses.
    pub modalities: Vec<Modality>,
    /// For a probe: the index of the probed `[[stage]]`, which has exactly one unit.
    pub probed: Option<usize>,
}

impl Recipe {
    /// The modalities of a network stage, in order; none for stages that train no network.
    pub fn modalities(&self, stage: &Stage) -> Vec<Modality> {
        match &stage.task {
            Task::Single { modality } => vec![*modality],
            Task::Fusion { modalities: Some(some), .. } => {
                let mut some = some.clone();
                some.sort();
                some.dedup();
                some
            }
            Task::Fusion { modalities: None, .. } => self.encoder.keys().copied().collect(),
            Task::Ensemble { .. } | Task::Auto { .. } | Task::LinearProbe { .. } => Vec::new(),
        }
    }

    /// The stages a pattern names, in the order of the recipe.
    pub fn matching(&self, pattern: &str) -> Vec<usize> {
        (0..self.stage.len()).filter(|&i| glob(pattern, &self.stage[i].id)).collect()
    }

    /// The stages that stage `index` reads from: teachers, members, probed stages.
    pub fn needs(&self, index: usize) -> Vec<usize> {
        let stage = &self.stage[index];
        let patterns = match &stage.task {
            Task::Ensemble { of, .. } | Task::Auto { of } | Task::LinearProbe { of, .. } => of,
            Task::Single { .. } | Task::Fusion { .. } => &stage.from,
        };
        let mut needs: Vec<usize> = patterns.iter().flat_map(|p| self.matching(p)).collect();
        let mut seen = BTreeSet::new();
        needs.retain(|i| seen.insert(*i));
        needs
    }

    /// The modalities of the networks that a stage without one of its own goes back to.
    fn reached(&self, index: usize) -> Vec<Modality> {
        let mut all = self.modalities(&self.stage[index]);
        // The check refuses cycles before units are asked for.
        all.extend(self.needs(index).into_iter().filter(|&i| i != index).flat_map(|i| self.reached(i)));
        all.sort();
        all.dedup();
        all
    }

    /// Everything of the Hub that its encoders and stages name, each once.
    pub fn hub_weights(&self) -> Vec<&Weights> {
        let given = self.stage.iter().filter_map(|stage| stage.weights.as_ref());
        let all = self.pretrained.values().chain(given).filter(|weights| !weights.is_file());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The rows of the table, in order.
    pub fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for (index, stage) in self.stage.iter().enumerate() {
            if !matches!(stage.task, Task::LinearProbe { .. }) {
                let modalities = match &stage.task {
                    Task::Ensemble { .. } | Task::Auto { .. } => self.reached(index),
                    _ => self.modalities(stage),
                };
                units.push(Unit { id: stage.id.clone(), stage: index, modalities, probed: None });
                continue;
            }
            for probed in self.needs(index) {
                let of = &self.stage[probed];
                for modality in self.modalities(of) {
                    let suffix = format!(".{modality}");
                    // `teacher.audio` already names its modality.
                    let name = of.id.strip_suffix(&suffix).filter(|_| self.modalities(of).len() == 1);
                    units.push(Unit {
                        id: format!("{}.{}{suffix}", stage.id, name.unwrap_or(&of.id)),
                        stage: index,
                        modalities: vec![modality],
                        probed: Some(probed),
                    });
                }
            }
        }
        units
    }
}

/// Whether `name` fits `pattern`, where `*` stands for any run of characters.
pub fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|i| rest.is_char_boundary(i) && glob(tail, &rest[i..]))),
    }
}
