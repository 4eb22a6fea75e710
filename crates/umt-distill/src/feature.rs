//! Uni-Modal Teacher (Du et al., arXiv 2106.11059): each encoder keeps near its teacher.

use crate::scores::number;
use crate::{Needs, Objective, Pass};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use umt_fusion::Loss;
use umt_media::Modality;
use umt_nn::{Array, NnError, within};
use umt_train::StepContext;

/// `L_task + lambda * sum_m D(phi_m, phi_m^T)` over the encoders' pooled features, or over their maps after some
/// stages, added up: for classes of samples and for classes of pixels alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Feature {
    /// lambda, or with `scale = "share"` the teachers' share of the loss.
    pub weight: f64,
    /// D.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distance: Distance,
    /// What `weight` is a weight of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale: Scale,
    /// Lets the weight grow over the first steps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ramp: Option<Ramp>,
    /// Encoder stages, 0 for the stem, whose maps are compared instead of the pooled features.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stages: BTreeSet<usize>,
}

/// How far a student's features are from its teacher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Mean of the squared differences over batch, places and channels.
    #[default]
    Mse,
    /// Mean of the absolute differences over batch, places and channels.
    L1,
    /// One minus the cosine of the angle between channels, mean over batch and places.
    Cosine,
}

/// What the weight multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The distances as they are, as in the paper.
    #[default]
    Absolute,
    /// `(1 - w) L_task + w * mean_m D(phi_m, phi_m^T) / D(0, phi_m^T)`: each distance in units of the teacher's own
    /// size (1 for the cosine), so that the weight means the same whatever the features' scale.
    Share,
}

/// A weight that grows linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ramp {
    /// The weight of the first step.
    #[serde(default)]
    pub from: f64,
    /// The share of all steps after which the full weight is reached, above 0 and at most 1.
    pub over: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Feature {
    /// The paper's: squared differences, a fixed lambda.
    pub fn new(weight: f64) -> Self {
        Self { weight, distance: Distance::default(), scale: Scale::default(), ramp: None, stages: BTreeSet::new() }
    }

    /// The weight of a step.
    pub fn weight_at(&self, context: &StepContext) -> f64 {
        let Some(ramp) = self.ramp else { return self.weight };
        let done = context.step as f64 / (ramp.over * context.total as f64).max(1.0);
        ramp.from + (self.weight - ramp.from) * done.min(1.0)
    }
}

/// What is compared.
enum Pair<'p> {
    /// Pooled features of student and teacher.
    Features(&'p Tensor, &'p Tensor),
    /// The teacher's map of a modality after a stage.
    Map(Modality, usize, &'p Array),
}

impl Feature {
    /// What is compared, by name.
    fn pairs<'p>(&self, pass: &'p Pass<'_>) -> Result<Vec<(String, Pair<'p>)>, NnError> {
        let mut pairs = Vec::new();
        let lacks = |what: &dyn std::fmt::Display| {
            NnError::Unsupported(format!("a teacher for {what}, which the student lacks"))
        };
        let features = pass.outputs.features();
        for (modality, teacher) in &pass.targets.teachers {
            let student = features.get(modality).ok_or_else(|| lacks(modality))?;
            if self.stages.is_empty() {
                pairs.push((modality.to_string(), Pair::Features(student, teacher)));
            }
        }
        for (&modality, maps) in &pass.targets.maps {
            features.get(&modality).ok_or_else(|| lacks(&modality))?;
            for &stage in &self.stages {
                let name = format!("{modality}.{stage}");
                let map = maps.get(&stage).ok_or_else(|| lacks(&format!("stage {name}")))?;
                pairs.push((name, Pair::Map(modality, stage, map)));
            }
        }
        Ok(pairs)
    }

    /// D of a pair; `weight` is what it will be multiplied by.
    fn measure(&self, pass: &Pass<'_>, name: &str, pair: &Pair<'_>, weight: f64) -> Result<Tensor, NnError> {
        let between = |student: &Tensor, teacher: &Tensor| {
            if student.dims() != teacher.dims() {
                let expected = format!("{:?} as the student's {name}", student.dims());
                return Err(NnError::shape("teacher features", expected, teacher.dims()));
            }
            self.distance.between(student, teacher)
        };
        match pair {
            Pair::Features(student, teacher) => between(student, teacher),
            Pair::Map(modality, stage, teacher) if self.distance == Distance::Mse => {
                pass.outputs.squared_distance(*modality, *stage, teacher, weight)
            }
            Pair::Map(modality, stage, teacher) => {
                between(&pass.outputs.map(*modality, *stage)?, &teacher.to_tensor()?)
            }
        }
    }
}

impl Pair<'_> {
    /// The teacher's own size in a distance.
    fn size(&self, distance: Distance) -> Result<f64, NnError> {
        match self {
            Self::Features(_, teacher) => distance.size(teacher),
            Self::Map(_, _, teacher) => distance.size(&teacher.to_tensor()?),
        }
    }
}

impl Distance {
    /// The distance, a scalar.
    pub fn between(self, student: &Tensor, teacher: &Tensor) -> Result<Tensor, NnError> {
        Ok(match self {
            Self::Mse => (student - teacher)?.sqr()?.mean_all()?,
            Self::L1 => (student - teacher)?.abs()?.mean_all()?,
            Self::Cosine => {
                let product = (student * teacher)?.sum(D::Minus1)?;
                // The small number keeps the derivative of the root finite where all features are zero.
                let length = |x: &Tensor| (x.sqr()?.sum(D::Minus1)? + 1e-12)?.sqrt();
                let cosine = (product / (length(student)? * length(teacher)?)?)?;
                (1.0 - cosine.mean_all()?)?
            }
        })
    }

    /// The teacher's own size in this distance.
    fn size(self, teacher: &Tensor) -> Result<f64, NnError> {
        match self {
            Self::Cosine => Ok(1.0),
            _ => Ok(f64::from(number(&self.between(&teacher.zeros_like()?, teacher)?)?).max(1e-12)),
        }
    }
}

impl Objective for Feature {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let weight = self.weight_at(&pass.context);
        let share = self.scale == Scale::Share;
        let mut value = match share && weight != 0.0 {
            true => (&loss.value * (1.0 - weight))?,
            false => loss.value.clone(),
        };
        let pairs = self.pairs(pass)?;
        let mut total: Option<Tensor> = None;
        for (name, pair) in &pairs {
            let unit = if share { pair.size(self.distance)? * pairs.len() as f64 } else { 1.0 };
            let mut distance = self.measure(pass, name, pair, weight / unit)?;
            if share {
                distance = (distance / unit)?;
            }
            loss.record(format!("distance.{name}"), &distance);
            let measured = distance.detach();
            total = Some(match total {
                Some(sum) => (sum + measured)?,
                None => measured,
            });
            // With lambda 0 the term is left out, not added as zero: the graph is then the
            // baseline's own, and so is every bit of the gradient.
            if weight != 0.0 {
                value = (value + (distance * weight)?)?;
            }
        }
        loss.record("task", &pass.task);
        if let Some(total) = total {
            let share = ((total * weight)? / pass.task.detach().maximum(f32::MIN_POSITIVE)?)?;
            loss.record("distill-share", &share);
        }
        loss.value = value;
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        let most = if self.scale == Scale::Share { 1.0 } else { f64::MAX };
        let range = |w: f64| (0.0..=most).contains(&w);
        let allowed = if most == 1.0 { "between 0 and 1, as a share is" } else { "0 or more" };
        within("weight", self.weight, range(self.weight), allowed)?;
        let Some(ramp) = self.ramp else { return Ok(()) };
        within("ramp.from", ramp.from, range(ramp.from), allowed)?;
        within("ramp.over", ramp.over, ramp.over > 0.0 && ramp.over <= 1.0, "above 0 and at most 1")
    }

    fn maps(&self) -> BTreeSet<usize> {
        self.stages.clone()
    }

    fn needs(&self) -> Needs {
        Needs { features: true, ..Needs::default() }
    }
}
