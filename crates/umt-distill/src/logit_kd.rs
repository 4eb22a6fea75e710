//! Distillation of logits (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015).

use crate::{Needs, Objective, Pass};
use candle_core::{D, Tensor};
use candle_nn::ops::{log_softmax, softmax};
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_nn::{NnError, within};

/// `(1 - w) L_task + w T^2 KL(p^T || p)`, where `p = softmax(z / T)` is the student's softened distribution and `p^T`
/// the mean of the teachers': of one multi-modal teacher, or of several uni-modal ones. Where each pixel has a class, the
/// mean of the divergence over all pixels at full size, with a label or without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogitKd {
    /// w, the teachers' share of the loss.
    pub weight: f64,
    /// T.
    pub temperature: f64,
}

impl Default for LogitKd {
    fn default() -> Self {
        Self { weight: 0.5, temperature: 4.0 }
    }
}

impl Objective for LogitKd {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let teachers = &pass.targets.logits;
        let own = pass.outputs.tensor(&pass.outputs.logits)?;
        let mut sum: Option<Tensor> = None;
        for logits in teachers {
            let soft = soften(logits, &own, self.temperature)?;
            sum = Some(match sum {
                Some(sum) => (sum + soft)?,
                None => soft,
            });
        }
        let sum = sum.ok_or_else(|| NnError::Unsupported("`logit-kd` needs a teacher".into()))?;
        let teacher = (sum / teachers.len() as f64)?.detach();
        let divergence = divergence(&teacher, &own, self.temperature)?;
        loss.record("task", &pass.task);
        loss.record("divergence", &divergence);
        loss.value = ((&loss.value * (1.0 - self.weight))? + (divergence * self.weight)?)?;
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        within("weight", self.weight, (0.0..=1.0).contains(&self.weight), "between 0 and 1")?;
        let fits = self.temperature > 0.0 && self.temperature.is_finite();
        within("temperature", self.temperature, fits, "above 0")
    }

    fn needs(&self) -> Needs {
        Needs { logits: true, ..Needs::default() }
    }
}

/// A teacher's distribution at temperature `t`, if its logits fit the student's.
pub(crate) fn soften(teacher: &Tensor, student: &Tensor, t: f64) -> Result<Tensor, NnError> {
    if teacher.dims() != student.dims() {
        let expected = format!("{:?} as the student's", student.dims());
        return Err(NnError::shape("teacher logits", expected, teacher.dims()));
    }
    Ok(softmax(&(teacher / t)?, D::Minus1)?)
}

/// `t^2` times the divergence of the student's softened distribution from the teacher's, mean over samples or pixels.
pub(crate) fn divergence(teacher: &Tensor, student: &Tensor, t: f64) -> Result<Tensor, NnError> {
    let student = log_softmax(&(student / t)?, D::Minus1)?;
    // p ln p is 0 where p is: the floor only keeps its logarithm finite.
    let difference = (teacher.maximum(f32::MIN_POSITIVE)?.log()? - student)?;
    Ok(((teacher * difference)?.sum(D::Minus1)?.mean_all()? * t.powi(2))?)
}
