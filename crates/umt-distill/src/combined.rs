//! Several objectives at once, where that has a meaning.

use crate::{Needs, Objective, ObjectiveConfig, Pass, Shape};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use umt_fusion::{FusionConfig, Loss, Network};
use umt_nn::{Array, NnError, Params};
use umt_random::Rng;
use umt_train::{EpochContext, TrainError};

/// UMT with OGM-GE, UMT with modality dropout, and so on. Whatever the order in the list, dropout comes first, then what
/// replaces the loss, then what adds to it, then what changes gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Combined {
    /// Two or more, each of another kind.
    pub of: Vec<ObjectiveConfig>,
}

/// Each decides by itself how fast which modality learns.
const BALANCING: [&str; 10] = ["agm", "dgl", "g-blend", "g2d", "mla", "mmpareto", "ogm", "ogm-ge", "pmr", "smp"];
/// Each trains a head on every modality.
const HEADS: [&str; 3] = ["aux-heads", "g-blend", "mmpareto"];
/// Each weighs modalities, or combines samples, by the loss of whole inputs.
const WHOLE: [&str; 5] = ["agm", "dgl", "g-blend", "mmpareto", "tcmax"];
/// Each puts a loss of its own in the place of the task's.
const LOSSES: [&str; 3] = ["agm", "g-blend", "tcmax"];
/// Each leaves modalities out.
const LEAVING: [&str; 2] = ["dropout", "opm"];

impl Combined {
    /// The parts in the order in which they apply.
    fn parts(&self) -> Vec<Box<dyn Objective>> {
        let rank = |part: &&ObjectiveConfig| match part.kind() {
            kind if LEAVING.contains(&kind) => 0,
            kind if WHOLE.contains(&kind) => 1,
            "ogm" | "ogm-ge" | "smp" => 3,
            _ => 2,
        };
        let mut parts: Vec<&ObjectiveConfig> = self.of.iter().collect();
        parts.sort_by_key(rank);
        parts.into_iter().map(ObjectiveConfig::build).collect()
    }
}

impl Objective for Combined {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        self.parts().iter().try_for_each(|part| part.apply(pass, loss))
    }

    fn check(&self) -> Result<(), NnError> {
        let refuse = |reason: String| Err(NnError::setting("of", reason));
        if self.of.len() < 2 {
            return refuse("a combination has two objectives or more".into());
        }
        let kinds: Vec<&str> = self.of.iter().map(ObjectiveConfig::kind).collect();
        if let Some(kind) = kinds.iter().find(|kind| matches!(**kind, "task" | "combined")) {
            return refuse(format!("`{kind}` has no meaning in a combination"));
        }
        let mut seen = BTreeSet::new();
        if let Some(kind) = kinds.iter().find(|kind| !seen.insert(**kind)) {
            return refuse(format!("`{kind}` stands there twice"));
        }
        let both = |one: &[&str], other: &[&str]| {
            let first = kinds.iter().find(|kind| one.contains(kind))?;
            let second = kinds.iter().find(|kind| *kind != first && other.contains(kind))?;
            Some(format!("`{first}` and `{second}`"))
        };
        if let Some(pair) = both(&["mla"], &kinds) {
            return refuse(format!("{pair} do not go together: `mla` trains one modality per step, by itself"));
        }
        if let Some(pair) = both(&BALANCING, &BALANCING) {
            return refuse(format!("{pair} do not go together: each decides how fast which modality learns"));
        }
        if let Some(pair) = both(&HEADS, &HEADS) {
            return refuse(format!("{pair} do not go together: each trains a head on every modality"));
        }
        if let Some(pair) = both(&LOSSES, &LOSSES) {
            return refuse(format!("{pair} do not go together: each has a loss in the place of the task's"));
        }
        if let Some(pair) = both(&LEAVING, &LEAVING) {
            return refuse(format!("{pair} do not go together: each leaves modalities out"));
        }
        if let Some(pair) = both(&LEAVING, &WHOLE) {
            return refuse(format!("{pair} do not go together: modalities would be weighed by inputs that lack some"));
        }
        self.of.iter().try_for_each(|part| {
            part.build().check().map_err(|error| NnError::setting("of", format!("`{}`: {error}", part.kind())))
        })
    }

    fn init(&self, params: &mut Params, shape: &Shape, rng: &mut Rng) -> Result<(), NnError> {
        self.parts().iter().try_for_each(|part| part.init(params, shape, rng))
    }

    fn needs(&self) -> Needs {
        self.parts().iter().map(|part| part.needs()).fold(Needs::default(), |all, needs| Needs {
            features: all.features || needs.features,
            logits: all.logits || needs.logits,
            alone: all.alone || needs.alone,
        })
    }

    fn maps(&self) -> BTreeSet<usize> {
        self.parts().iter().flat_map(|part| part.maps()).collect()
    }

    fn fusion(&self, asked: &FusionConfig) -> Result<FusionConfig, NnError> {
        self.parts().iter().try_fold(asked.clone(), |fusion, part| part.fusion(&fusion))
    }

    fn end_of_epoch(
        &self,
        network: &Network,
        context: &EpochContext<'_>,
    ) -> Result<Option<Vec<(String, Array)>>, TrainError> {
        let mut all = Vec::new();
        for part in self.parts() {
            match part.end_of_epoch(network, context)? {
                Some(buffers) => all.extend(buffers),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }
}
