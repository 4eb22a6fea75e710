//! The types of a recipe.

use crate::claim::Claim;
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use umt_data::DataConfig;
use umt_distill::ObjectiveConfig;
use umt_encoders::EncoderConfig;
use umt_eval::ProbeConfig;
use umt_fusion::{DecoderConfig, FusionConfig};
use umt_media::Modality;
use umt_train::TrainConfig;

/// An experiment, read and checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it shows, in a sentence.
    pub about: String,
    /// Each stage runs once per seed.
    pub seeds: Vec<u64>,
    /// The data set and how it is read.
    pub data: Data,
    /// One encoder per modality, shared in shape by teachers and students.
    pub encoder: BTreeMap<Modality, EncoderConfig>,
    /// The weights that encoders begin with (`encoder.<modality>.pretrained`).
    #[serde(default)]
    pub pretrained: BTreeMap<Modality, Weights>,
    /// What follows the encoders where each pixel has a class; when left out, ESANet's sizes for the encoders' width.
    #[serde(default)]
    pub decoder: Option<DecoderConfig>,
    /// How pixels count in the loss.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// Training of every network stage, unless the stage says otherwise.
    pub train: TrainConfig,
    /// What stands for a modality that is missing at test time, in every network of several.
    #[serde(default)]
    pub missing: Missing,
    /// The difference of a metric, as a fraction, that is too small to matter: smaller ones may be called equivalent.
    #[serde(default = "one_point")]
    pub margin: f64,
    /// The stages in the order of the table.
    pub stage: Vec<Stage>,
    /// What the run should show, where that number comes from, and how long it takes.
    #[serde(default)]
    pub expect: Expect,
}

fn one_point() -> f64 {
    0.01
}

/// What stands for a missing modality. A network trained by dropout with tokens has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Features of zeros.
    #[default]
    Zero,
    /// The mean of the features on train.
    Mean,
}

/// `[data]`: which set, where, and how it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// A data set's name; `--dataset` replaces it.
    pub set: String,
    /// Its folder or manifest; `--data` replaces it. Sets made by code have none.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Every other key of `[data]`.
    pub config: DataConfig,
}

/// `[[stage]]`: one row of the table, or the probes of several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The name in tables and in other stages' references.
    pub id: String,
    /// What is trained.
    pub task: Task,
    /// What is added to the task's loss or takes its place: `distill` or, by another name, `objective`.
    #[serde(default)]
    pub distill: Option<ObjectiveConfig>,
    /// The stages that teach, or that it is measured on (`distill.from`).
    #[serde(default)]
    pub from: Vec<String>,
    /// A file whose weights the network has; it is not trained then.
    #[serde(default)]
    pub weights: Option<Weights>,
    /// `[train]` with the stage's own keys over it.
    pub train: TrainConfig,
}

/// What a stage trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// One modality alone: encoder and linear head or, where each pixel has a class, decoder.
    Single {
        /// Which.
        modality: Modality,
    },
    /// Several modalities, joined by a fusion or, where each pixel has a class, by the decoder.
    Fusion {
        /// How features are joined: concatenation when left out.
        #[serde(default)]
        fusion: Option<FusionConfig>,
        /// Which modalities; all that have an encoder when left out.
        #[serde(default)]
        modalities: Option<Vec<Modality>>,
    },
    /// The mean of the softmax of finished stages; trains nothing.
    Ensemble {
        /// Stage ids, `*` for any run of characters.
        of: Vec<String>,
        /// How much each member counts.
        #[serde(default)]
        weights: EnsembleWeights,
    },
    /// The best of finished stages by validation top-1: the choice among joint training, UMT and UME that the follow-up
    /// paper (arXiv 2305.01233) leaves to validation.
    Auto {
        /// Stage ids, `*` for any run of characters; of equals the first wins.
        of: Vec<String>,
    },
    /// A linear classifier on the frozen features of each encoder of each named stage.
    LinearProbe {
        /// Stage ids, `*` for any run of characters.
        of: Vec<String>,
        /// How it is fitted.
        #[serde(default)]
        probe: ProbeConfig,
    },
}

/// How much each member of an ensemble counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnsembleWeights {
    /// All the same, as in UME.
    #[default]
    Equal,
    /// The mixture weights under which validation is most likely.
    Validation,
}

/// `[loss]`: how pixels count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Loss {
    /// How classes count.
    pub class_weights: ClassWeights,
    /// Share of each label that is spread over all classes, at least 0 and below 1.
    pub label_smoothing: f32,
}

/// How classes of pixels count in the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// By the median frequency over the training samples: rare classes count more.
    #[default]
    MedianFrequency,
    /// All the same.
    Equal,
}

impl Task {
    /// Whether it has a network, trained or given.
    pub fn is_network(&self) -> bool {
        matches!(self, Self::Single { .. } | Self::Fusion { .. })
    }
}

/// `[expect]`: reported beside the result; enforced with `--strict` alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Expect {
    /// The command this recipe is meant for.
    pub command: String,
    /// Minutes on the machine that `source` names.
    pub minutes: Option<f64>,
    /// Memory of the largest stage there, in MiB.
    pub memory_mib: Option<f64>,
    /// Where the expected numbers come from.
    pub source: String,
    /// Comparisons such as `umt.top1 > joint.top1` and `umt.top1 >= 0.9`, on the test split and the mean of seeds.
    pub claims: Vec<Claim>,
}

/// What the command line changes.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Merge `[quick]`.
    pub quick: bool,
    /// `key=value` pairs, applied in order.
    pub sets: Vec<String>,
}

/// A recipe with its name and the text that says what ran.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The name of the folder of its runs.
    pub name: String,
    /// The settings.
    pub recipe: Recipe,
    /// The recipe as run: TOML with `[quick]` and `--set` merged in.
    pub effective: String,
}

impl Recipe {
    /// The stage with this id.
    pub fn find(&self, id: &str) -> Option<&Stage> {
        self.stage.iter().find(|s| s.id == id)
    }
}
