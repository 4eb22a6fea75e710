//! Uni-Modal Teacher (Du et al., arXiv 2106.11059): each encoder keeps near its teacher.

use crate::{Objective, Targets, TaskOnly};
use umt_fusion::{Loss, Outputs};
use umt_nn::NnError;

/// `L_task + weight * sum_m mean((phi_m - phi_m^T)^2)`, the mean over batch and feature.
pub struct Feature {
    /// lambda.
    pub weight: f64,
}

impl Objective for Feature {
    fn loss(&self, outputs: &Outputs, targets: &Targets) -> Result<Loss, NnError> {
        let Loss { value: task, mut log } = TaskOnly.loss(outputs, targets)?;
        let mut value = task.clone();
        let mut total = 0.0;
        for (modality, teacher) in &targets.teachers {
            let Some(student) = outputs.features.get(modality) else {
                return Err(NnError::Setting(format!("a teacher for {modality}, which the student lacks")));
            };
            if student.dims() != teacher.dims() {
                let expected = format!("{:?} as the student's {modality}", student.dims());
                return Err(NnError::shape("teacher features", expected, teacher.dims()));
            }
            let distance = (student - teacher)?.sqr()?.mean_all()?;
            let measured = distance.to_scalar::<f32>()?;
            log.insert(format!("distance.{modality}"), measured);
            total += measured;
            // With lambda 0 the term is left out, not added as zero: the graph is then the
            // baseline's own, and so is every bit of the gradient.
            if self.weight != 0.0 {
                value = (value + (distance * self.weight)?)?;
            }
        }
        let task = task.to_scalar::<f32>()?;
        log.insert("task".into(), task);
        log.insert("distill-share".into(), self.weight as f32 * total / task.max(f32::MIN_POSITIVE));
        Ok(Loss { value, log })
    }

    fn needs_teachers(&self) -> bool {
        true
    }
}
