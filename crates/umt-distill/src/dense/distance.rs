//! Uni-Modal Teacher on maps (Du et al., arXiv 2106.11059, section on segmentation): each stage of each encoder keeps near its teacher's.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_fusion::segmenter::FUSION_POINTS;
use umt_media::Modality;
use umt_nn::{Array, NnError, compute::squared_distance};

/// `weight * sum over modalities and stages of stages[s] * mean((map - teacher's map)^2)`; the mean is over batch, places and channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapDistance {
    /// lambda.
    pub weight: f64,
    /// Weight of each stage before its fusion point, the stem's first; 0 leaves a stage out.
    #[serde(default = "all_stages")]
    pub stages: [f64; FUSION_POINTS],
}

fn all_stages() -> [f64; FUSION_POINTS] {
    [1.0; FUSION_POINTS]
}

/// Maps of one network by modality, the stem's first.
pub(super) type Maps = BTreeMap<Modality, Vec<Array>>;

/// A term of the loss.
pub(super) struct Distance {
    /// Weighted by lambda and the stages.
    pub value: f64,
    /// `distance.<modality>`: the sum of each modality's stages, weighted by the stages alone.
    pub log: BTreeMap<String, f32>,
    /// Gradients to the student's maps.
    pub grads: Vec<(Modality, usize, Array)>,
}

impl MapDistance {
    /// The distance of the student's maps to the teachers', for the modalities that have a teacher.
    pub(super) fn measure(&self, students: &Maps, teachers: &Maps) -> Result<Distance, NnError> {
        let mut all = Distance { value: 0.0, log: BTreeMap::new(), grads: Vec::new() };
        for (&modality, teacher) in teachers {
            let Some(student) = students.get(&modality) else {
                return Err(NnError::Unsupported(format!("a teacher for {modality}, which the student lacks")));
            };
            let mut sum = 0.0;
            for (stage, (own, target)) in student.iter().zip(teacher).enumerate() {
                let share = self.stages.get(stage).copied().unwrap_or(0.0);
                if share == 0.0 {
                    continue;
                }
                if own.shape() != target.shape() {
                    let expected = format!("{:?} as the student's {modality}, stage {stage}", own.shape());
                    return Err(NnError::shape("teacher map", expected, target.shape()));
                }
                let factor = share / own.len().max(1) as f64;
                let scale = (2.0 * self.weight * factor) as f32;
                let (distance, grad) = squared_distance(own, target, scale)?;
                sum += factor * distance;
                // With lambda 0 the term is left out, not added as zero: every bit of the gradient is then the baseline's.
                if self.weight != 0.0 {
                    all.grads.push((modality, stage, grad));
                }
            }
            all.log.insert(format!("distance.{modality}"), sum as f32);
            all.value += self.weight * sum;
        }
        Ok(all)
    }
}
