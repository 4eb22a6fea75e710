//! The list of objectives.

use crate::{
    Agm, AuxHeads, Cml, Combined, Dgl, Dropout, Feature, G2d, GBlend, LogitKd, Losses, Mla, MmCosine, MmPareto,
    Objective, Ogm, OgmGe, Opm, Pmr, Shape, Smp, TaskOnly, TcMax, blend,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use umt_fusion::HeadConfig;
use umt_media::Modality;
use umt_nn::{NnError, Params};

/// An objective by name, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// Cross-entropy.
    #[default]
    Task,
    /// Cross-entropy and the distance to uni-modal teachers' features (UMT).
    Feature(Feature),
    /// Cross-entropy and the divergence from teachers' softened probabilities.
    LogitKd(LogitKd),
    /// Cross-entropy of the whole and of each modality alone.
    AuxHeads(AuxHeads),
    /// The encoder that is ahead gets smaller gradients.
    Ogm(Ogm),
    /// The same, with noise on the gradients.
    OgmGe(OgmGe),
    /// Gradients scaled by each modality's share of the logits.
    Agm(Agm),
    /// The slow modality is pulled towards its class prototypes.
    Pmr(Pmr),
    /// Losses weighed by how they generalise and overfit.
    GBlend(GBlend),
    /// Multi-modal and uni-modal gradients of an encoder combined without conflict.
    #[serde(rename = "mmpareto")]
    MmPareto(MmPareto),
    /// A classifier that sees directions alone.
    #[serde(rename = "mmcosine")]
    MmCosine(MmCosine),
    /// Modalities left out by chance.
    Dropout(Dropout),
    /// One modality per step, one head for all.
    Mla(Mla),
    /// The encoder whose teacher is the least sure is trained first.
    Smp(Smp),
    /// Encoders learn from their modality alone, the fusion from all.
    Dgl(Dgl),
    /// The modality that is ahead is left out by chance.
    Opm(Opm),
    /// Right combinations of features and class against all others.
    #[serde(rename = "tcmax")]
    TcMax(TcMax),
    /// UMT, logit distillation and prioritisation (G2D).
    G2d(G2d),
    /// Confidence that does not grow where a modality is left out.
    Cml(Cml),
    /// Several of these.
    Combined(Combined),
}

impl ObjectiveConfig {
    /// One of each with its defaults, for tests that go over all objectives.
    pub fn examples() -> Vec<(&'static str, Self)> {
        let ogm_ge = OgmGe(Ogm::default());
        let all = [
            Self::Task,
            Self::Feature(Feature::new(10.0)),
            Self::LogitKd(LogitKd::default()),
            Self::AuxHeads(AuxHeads::default()),
            Self::Ogm(Ogm::default()),
            Self::OgmGe(ogm_ge.clone()),
            Self::Agm(Agm::default()),
            Self::Pmr(Pmr::default()),
            Self::GBlend(GBlend { every: Some(1), ..GBlend::default() }),
            Self::MmPareto(MmPareto::default()),
            Self::MmCosine(MmCosine::default()),
            Self::Dropout(Dropout::default()),
            Self::Mla(Mla::default()),
            // Not from the first epoch on, in which a test sees every encoder trained.
            Self::Smp(Smp { start: 1, end: Some(1) }),
            Self::Dgl(Dgl::default()),
            Self::Opm(Opm::default()),
            Self::TcMax(TcMax::default()),
            Self::G2d(G2d { start: 1, end: Some(1), ..G2d::default() }),
            Self::Cml(Cml::default()),
            Self::Combined(Combined { of: vec![Self::Feature(Feature::new(10.0)), Self::OgmGe(ogm_ge)] }),
        ];
        all.into_iter().map(|example| (example.kind(), example)).collect()
    }

    /// Its name in recipes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Feature(_) => "feature",
            Self::LogitKd(_) => "logit-kd",
            Self::AuxHeads(_) => "aux-heads",
            Self::Ogm(_) => "ogm",
            Self::OgmGe(_) => "ogm-ge",
            Self::Agm(_) => "agm",
            Self::Pmr(_) => "pmr",
            Self::GBlend(_) => "g-blend",
            Self::MmPareto(_) => "mmpareto",
            Self::MmCosine(_) => "mmcosine",
            Self::Dropout(_) => "dropout",
            Self::Mla(_) => "mla",
            Self::Smp(_) => "smp",
            Self::Dgl(_) => "dgl",
            Self::Opm(_) => "opm",
            Self::TcMax(_) => "tcmax",
            Self::G2d(_) => "g2d",
            Self::Cml(_) => "cml",
            Self::Combined(_) => "combined",
        }
    }

    /// The objective itself.
    pub fn build(&self) -> Box<dyn Objective> {
        match self.clone() {
            Self::Task => Box::new(TaskOnly),
            Self::Feature(objective) => Box::new(objective),
            Self::LogitKd(objective) => Box::new(objective),
            Self::AuxHeads(objective) => Box::new(objective),
            Self::Ogm(objective) => Box::new(objective),
            Self::OgmGe(objective) => Box::new(objective),
            Self::Agm(objective) => Box::new(objective),
            Self::Pmr(objective) => Box::new(objective),
            Self::GBlend(objective) => Box::new(objective),
            Self::MmPareto(objective) => Box::new(objective),
            Self::MmCosine(objective) => Box::new(objective),
            Self::Dropout(objective) => Box::new(objective),
            Self::Mla(objective) => Box::new(objective),
            Self::Smp(objective) => Box::new(objective),
            Self::Dgl(objective) => Box::new(objective),
            Self::Opm(objective) => Box::new(objective),
            Self::TcMax(objective) => Box::new(objective),
            Self::G2d(objective) => Box::new(objective),
            Self::Cml(objective) => Box::new(objective),
            Self::Combined(objective) => Box::new(objective),
        }
    }

    /// Refuses settings outside their range, and a network that it has no meaning for: one that joins features of these
    /// lengths by `head`, trained with or without a validation split.
    ///
    /// # Errors
    /// [`NnError::Setting`] with the key, [`NnError::Unsupported`] with the reason.
    pub fn fits(&self, head: &HeadConfig, widths: BTreeMap<Modality, usize>, refit: bool) -> Result<(), NnError> {
        let objective = self.build();
        objective.check()?;
        let shape = match head {
            HeadConfig::Fusion(fusion) => {
                objective.fusion(fusion)?;
                Shape { widths, classes: 1, dense: false }
            }
            HeadConfig::Decoder(_) => Shape { widths, classes: 1, dense: true },
        };
        if self.wants_courses() {
            shape.samples(self.kind(), "its weights are estimated from the losses of samples")?;
            return shape.several(self.kind());
        }
        if refit && matches!(self, Self::GBlend(GBlend { every: Some(_), .. })) {
            let reason = "`g-blend` estimates its weights on validation, and refit = true leaves none";
            return Err(NnError::setting("every", reason));
        }
        // A trial run of what training begins with.
        let mut rng = umt_random::stream(0, "init.objective", 0, 0);
        objective.init(&mut Params::default(), &shape, &mut rng)
    }

    /// Whether its weights are to be measured on finished runs first: `g-blend` with neither `weights` nor `every`.
    pub fn wants_courses(&self) -> bool {
        matches!(self, Self::GBlend(GBlend { weights: None, every: None }))
    }

    /// The same with its weights measured, where it wants that: by the losses at the beginning and at the end of a run
    /// of each modality alone, under its name, and of all together, under [`crate::JOINT`]. Where the validation loss of no run fell there is
    /// nothing to weigh by: weights are equal, as before any estimate, and the second value says so.
    pub fn measured(&self, courses: &BTreeMap<String, [Losses; 2]>) -> (Self, Option<&'static str>) {
        if !self.wants_courses() {
            return (self.clone(), None);
        }
        let all: Vec<[Losses; 2]> = courses.values().copied().collect();
        let (weights, note) = match blend(&all) {
            Some(weights) => (weights, None),
            None => {
                let note = "equal weights, because in none of the measured runs the validation loss fell";
                (vec![1.0 / all.len().max(1) as f64; all.len()], Some(note))
            }
        };
        let weights = courses.keys().cloned().zip(weights).collect();
        (Self::GBlend(GBlend { weights: Some(weights), every: None }), note)
    }
}
