//! The types of a recipe, and how text, `[quick]` and `--set` become one.
//!
//! Order of authority: command line over `[quick]` (when asked for) over recipe over the defaults of the types.

use crate::claim::Claim;
use crate::error::RecipeError;
use crate::source::{Source, Tree, id, merge};
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeArray, DeValue};
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
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The command this recipe is meant for.
    #[serde(default)]
    pub command: String,
    /// Minutes on the machine that `source` names.
    #[serde(default)]
    pub minutes: Option<f64>,
    /// Where the expected numbers come from.
    #[serde(default)]
    pub source: String,
    /// Comparisons such as `umt.top1 > joint.top1` and `umt.top1 >= 0.9`, on the test split and the mean of seeds.
    #[serde(default)]
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
    /// Reads and checks a recipe. `file` is for messages.
    ///
    /// # Errors
    /// The first thing that does not fit, with file, line, column and the valid names.
    pub fn parse(name: &str, file: &str, text: &str, over: &Overrides) -> Result<Loaded, RecipeError> {
        let source = Source::new(file, text, &over.sets)?;
        if !over.quick {
            // `[quick]` is checked in every run, not only in the one that wants it.
            let (tree, _) = resolve(&source, true)?;
            read(&source, tree)?;
        }
        let (mut tree, _) = resolve(&source, over.quick)?;
        source.apply_sets(&mut tree)?;
        let effective = effective(&tree);
        let recipe = read(&source, tree)?;
        Ok(Loaded { name: name.into(), recipe, effective })
    }

    /// The stage with this id.
    pub fn find(&self, id: &str) -> Option<&Stage> {
        self.stage.iter().find(|s| s.id == id)
    }
}

/// The file's tree, `[quick]` taken out and, if asked for, merged in.
fn resolve(source: &Source, quick: bool) -> Result<(Tree<'_>, bool), RecipeError> {
    let mut tree = source.tree()?;
    let Some(over) = tree.remove("quick") else { return Ok((tree, false)) };
    let span = over.span();
    let DeValue::Table(over) = over.into_inner() else {
        return Err(source.invalid(span, "`quick` must be a table".into()));
    };
    if quick {
        merge(&mut tree, over).map_err(|(span, id)| {
            source.invalid(span, format!("[quick] changes the stage `{id}`, which does not exist"))
        })?;
    }
    Ok((tree, true))
}

fn effective(tree: &Tree<'_>) -> String {
    let root = Spanned::new(0..0, tree.clone());
    toml::Table::deserialize(toml::de::Deserializer::from(root))
        .ok()
        .and_then(|table| toml::to_string_pretty(&table).ok())
        .unwrap_or_default()
}

/// Rearranges the tree into the form of the types, reads it and checks what types cannot say.
fn read(source: &Source, mut tree: Tree<'_>) -> Result<Recipe, RecipeError> {
    one_name(source, &mut tree)?;
    crate::sizes::check(source, &tree)?;
    let original = tree.clone();
    lift_data(source, &mut tree)?;
    lift_pretrained(&mut tree);
    let train = tree.get("train").and_then(|t| t.get_ref().as_table()).cloned();
    if let Some(DeValue::Array(stages)) = tree.get_mut("stage").map(Spanned::get_mut) {
        for stage in stages.iter_mut() {
            if let DeValue::Table(stage) = stage.get_mut() {
                lift_from(stage);
                if let Some(train) = &train {
                    inherit(source, stage, train.clone())?;
                }
            }
        }
    }
    let recipe: Recipe = source.read(tree).map_err(name_own_keys)?;
    crate::check::check(&recipe).map_err(|problem| {
        let span = problem.span(&original);
        source.invalid(span, problem.message)
    })?;
    Ok(recipe)
}

/// Moves every key of `[data]` but `set` and `root` into `data.config`, which is the data room's own type.
fn lift_data(source: &Source, tree: &mut Tree<'_>) -> Result<(), RecipeError> {
    let Some(value) = tree.get_mut("data") else { return Ok(()) };
    let span = value.span();
    let DeValue::Table(data) = value.get_mut() else {
        return Err(source.invalid(span, "`data` must be a table".into()));
    };
    let (own, rest): (Vec<_>, Vec<_>) =
        std::mem::take(data).into_iter().partition(|(k, _)| matches!(k.get_ref().as_ref(), "set" | "root"));
    *data = own.into_iter().collect();
    let config = DeValue::Table(rest.into_iter().collect());
    data.insert(Spanned::new(span.clone(), Cow::Borrowed("config")), Spanned::new(span, config));
    Ok(())
}

/// Keys that are taken out before a room's own type is read belong into its list of valid names.
fn name_own_keys(error: RecipeError) -> RecipeError {
    const OWN: [(&str, &str); 2] =
        [("expected one of `audio`, `video`", "`set`, `root`"), ("expected one of `channels`", "`pretrained`")];
    match error {
        RecipeError::Invalid { location, message } => {
            let own = OWN.iter().find(|(list, _)| message.contains(list)).map(|(_, own)| own);
            let message = match own {
                Some(own) => message.replacen("expected one of ", &format!("expected one of {own}, "), 1),
                None => message,
            };
            RecipeError::Invalid { location, message }
        }
        other => other,
    }
}

/// Moves `encoder.<modality>.pretrained` beside the encoders, which know shapes and nothing of files; `"none"` takes
/// back what stands below it: drawn weights.
fn lift_pretrained(tree: &mut Tree<'_>) {
    let Some(DeValue::Table(encoders)) = tree.get_mut("encoder").map(Spanned::get_mut) else { return };
    let mut lifted = Tree::new();
    for (modality, encoder) in encoders.iter_mut() {
        if let DeValue::Table(encoder) = encoder.get_mut()
            && let Some(pretrained) = encoder.remove("pretrained")
            && pretrained.get_ref().as_str() != Some("none")
        {
            lifted.insert(modality.clone(), pretrained);
        }
    }
    if !lifted.is_empty() {
        tree.insert(Spanned::new(0..0, Cow::Borrowed("pretrained")), Spanned::new(0..0, DeValue::Table(lifted)));
    }
}

/// `objective` is another name of `distill`: the better one where nothing is distilled.
fn one_name(source: &Source, tree: &mut Tree<'_>) -> Result<(), RecipeError> {
    let Some(DeValue::Array(stages)) = tree.get_mut("stage").map(Spanned::get_mut) else { return Ok(()) };
    for stage in stages.iter_mut() {
        let DeValue::Table(stage) = stage.get_mut() else { continue };
        if let Some((task, now)) = stage.get("task").and_then(|task| Some((task, crate::dense::renamed(task)?))) {
            return Err(source.invalid(task.span(), now.into()));
        }
        let Some((key, objective)) = stage.remove_entry("objective") else { continue };
        if stage.contains_key("distill") {
            return Err(source.invalid(key.span(), "`objective` and `distill` are the same: keep one".into()));
        }
        stage.insert(Spanned::new(key.span(), Cow::Borrowed("distill")), objective);
    }
    Ok(())
}

/// Moves `distill.from` beside `distill`, which is the objective's own type and knows nothing of stages.
fn lift_from(stage: &mut Tree<'_>) {
    if let Some(DeValue::Table(distill)) = stage.get_mut("distill").map(Spanned::get_mut)
        && let Some((key, from)) = distill.remove_entry("from")
    {
        stage.insert(key, from);
    }
}

/// Lays the stage's own `train` over the recipe's.
fn inherit<'a>(source: &Source, stage: &mut Tree<'a>, mut train: Tree<'a>) -> Result<(), RecipeError> {
    let mut span = 0..0;
    if let Some(own) = stage.remove("train") {
        span = own.span();
        let DeValue::Table(own) = own.into_inner() else {
            return Err(source.invalid(span, "`train` must be a table".into()));
        };
        merge(&mut train, own).map_err(|(span, id)| source.invalid(span, format!("unknown `{id}`")))?;
    }
    let key = Spanned::new(span.clone(), Cow::Borrowed("train"));
    stage.insert(key, Spanned::new(span, DeValue::Table(train)));
    Ok(())
}

/// The array of stages in a tree.
pub(crate) fn stages<'t, 'a>(tree: &'t Tree<'a>) -> Option<&'t DeArray<'a>> {
    tree.get("stage")?.get_ref().as_array()
}

/// The table of the stage with this id, and the place of its header.
pub(crate) fn stage_table<'t, 'a>(tree: &'t Tree<'a>, name: &str) -> Option<(&'t Tree<'a>, std::ops::Range<usize>)> {
    let stage = stages(tree)?.iter().rev().find(|s| id(s.get_ref()) == Some(name))?;
    Some((stage.get_ref().as_table()?, stage.span()))
}
