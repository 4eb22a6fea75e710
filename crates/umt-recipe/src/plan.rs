//! A checked recipe and a data digest become an ordered list of keyed stages.
//!
//! A stage's key is the hash of everything that decides its result and of nothing else: its settings, the
//! data settings of the modalities it reads, its parents' keys, the data digest, the seed and the format
//! version. Equal keys mean equal results, so a finished stage is found by key alone, and one changed
//! setting gives new keys exactly to what depends on it.

use crate::error::RecipeError;
use crate::graph::{Unit, glob};
use crate::networks::asked;
use crate::recipe::{EnsembleWeights, Missing, Recipe, Task};
use crate::source::list;
use crate::weights::Weights;
use serde_json::{Value, json};
use umt_data::DataConfig;
use umt_fusion::HeadConfig;
use umt_media::Modality;

/// Raised when the same settings would no longer give the same results.
pub const FORMAT: u32 = 3;

/// One stage of one seed.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its row, such as `probe.umt.audio`.
    pub unit: Unit,
    /// Its seed.
    pub seed: u64,
    /// The name of its folder: 24 hex digits.
    pub key: String,
    /// Indices of the nodes it reads from; all stand before it.
    pub parents: Vec<usize>,
    /// What the key is the hash of.
    pub settings: Value,
}

/// All stages of a run, parents first, one seed after the other.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In order of execution.
    pub nodes: Vec<Node>,
    /// Ids of the rows, in the order of the recipe.
    pub rows: Vec<String>,
}

impl Plan {
    /// `digest` identifies the data set after validation was cut; `only` names rows (`*` allowed; `probe` stands for
    /// `probe.*`) and brings their parents along. `digest_of` finds the SHA-256 of given weights and is asked for
    /// those that a wanted row has.
    ///
    /// # Errors
    /// A name in `only` that fits no row, and what `digest_of` gives.
    pub fn new<E: From<RecipeError>>(
        recipe: &Recipe,
        digest: &str,
        seeds: &[u64],
        only: &[String],
        digest_of: &mut dyn FnMut(&Weights) -> Result<String, E>,
    ) -> Result<Plan, E> {
        let units = recipe.units();
        let wanted = select(recipe, &units, only)?;
        let order = order(recipe, &units);
        let mut nodes: Vec<Node> = Vec::new();
        for &seed in seeds {
            let first = nodes.len();
            for &index in order.iter().filter(|&&i| wanted[i]) {
                let unit = &units[index];
                let parents: Vec<usize> = needs(recipe, unit)
                    .into_iter()
                    .filter_map(|stage| {
                        nodes[first..].iter().position(|n| n.unit.probed.is_none() && n.unit.stage == stage)
                    })
                    .map(|i| i + first)
                    .collect();
                let keys: Vec<&str> = parents.iter().map(|&p| nodes[p].key.as_str()).collect();
                let settings = settings(recipe, unit, digest, seed, &keys, digest_of)?;
                let key = umt_store::sha256_hex(canonical(&settings).as_bytes())[..24].to_owned();
                nodes.push(Node { unit: unit.clone(), seed, key, parents, settings });
            }
        }
        let rows = units.iter().zip(&wanted).filter(|(_, w)| **w).map(|(u, _)| u.id.clone()).collect();
        Ok(Plan { nodes, rows })
    }
}

/// The stages that a unit reads from.
fn needs(recipe: &Recipe, unit: &Unit) -> Vec<usize> {
    unit.probed.map_or_else(|| recipe.needs(unit.stage), |probed| vec![probed])
}

fn select(recipe: &Recipe, units: &[Unit], only: &[String]) -> Result<Vec<bool>, RecipeError> {
    if only.is_empty() {
        return Ok(vec![true; units.len()]);
    }
    let mut wanted = vec![false; units.len()];
    for pattern in only {
        let fits = |unit: &Unit| glob(pattern, &unit.id) || glob(pattern, &recipe.stage[unit.stage].id);
        let mut any = false;
        for (unit, wanted) in units.iter().zip(&mut wanted) {
            if fits(unit) {
                (any, *wanted) = (true, true);
            }
        }
        if !any {
            let rows = list(units.iter().map(|u| &u.id));
            return Err(RecipeError::Usage(format!("--only {pattern}: no such stage; stages: {rows}")));
        }
    }
    // Parents of parents: the graph has no cycle, so as many rounds as units are enough.
    for _ in 0..units.len() {
        for i in 0..units.len() {
            if wanted[i] {
                for stage in needs(recipe, &units[i]) {
                    if let Some(parent) = units.iter().position(|u| u.probed.is_none() && u.stage == stage) {
                        wanted[parent] = true;
                    }
                }
            }
        }
    }
    Ok(wanted)
}

/// Unit indices, parents before children and otherwise in the order of the recipe.
fn order(recipe: &Recipe, units: &[Unit]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut done = vec![false; recipe.stage.len()];
    while order.len() < units.len() {
        let before = order.len();
        for (i, unit) in units.iter().enumerate() {
            if !order.contains(&i) && needs(recipe, unit).iter().all(|&s| done[s]) {
                order.push(i);
                done[unit.stage] |= unit.probed.is_none();
            }
        }
        // The check refuses cycles before; this only keeps a broken promise from hanging.
        if order.len() == before {
            break;
        }
    }
    order
}

/// Everything that decides a unit's result.
fn settings<E>(
    recipe: &Recipe,
    unit: &Unit,
    digest: &str,
    seed: u64,
    parents: &[&str],
    digest_of: &mut dyn FnMut(&Weights) -> Result<String, E>,
) -> Result<Value, E> {
    let stage = &recipe.stage[unit.stage];
    let own = match &stage.task {
        Task::Ensemble { weights: EnsembleWeights::Equal, .. } => json!({ "kind": "ensemble" }),
        Task::Ensemble { weights, .. } => json!({ "kind": "ensemble", "weights": weights }),
        Task::Auto { .. } => json!({ "kind": "auto" }),
        Task::LinearProbe { probe, .. } => json!({ "kind": "linear-probe", "probe": probe }),
        Task::Single { .. } | Task::Fusion { .. } => {
            let fusion = match (asked(recipe, &unit.modalities, stage), &stage.task) {
                (HeadConfig::Decoder(decoder), _) => json!({
                    "decoder": decoder,
                    "loss": recipe.loss.clone().unwrap_or_default(),
                }),
                (HeadConfig::Fusion(fusion), Task::Fusion { .. }) => json!(fusion),
                _ => Value::Null,
            };
            let encoders: Value = unit
                .modalities
                .iter()
                .filter_map(|m| recipe.encoder.get(m).map(|e| (m.name().to_owned(), json!(e))))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let mut train = json!(stage.train);
            if let Some(train) = train.as_object_mut() {
                // These decide how the result is reached, not what it is.
                for key in ["workers", "prefetch", "checkpoint-every", "checkpoint-seconds"] {
                    train.remove(key);
                }
            }
            let mut own = json!({
                "kind": "network",
                "encoders": encoders,
                "fusion": fusion,
                "objective": stage.distill,
                "train": train,
                "data": data(&recipe.data.config, &unit.modalities),
            });
            if recipe.missing == Missing::Mean && unit.modalities.len() > 1 {
                own["missing"] = json!(recipe.missing);
            }
            // Of given weights their bytes decide, not where they come from.
            match &stage.weights {
                Some(weights) => {
                    own["weights"] = json!(digest_of(weights)?);
                    // Of training it matters only which samples give the statistics of the sound.
                    own["train"] = json!({ "refit": stage.train.refit });
                }
                None => {
                    let mut begin = serde_json::Map::new();
                    for modality in &unit.modalities {
                        if let Some(weights) = recipe.pretrained.get(modality) {
                            let how = weights.first_conv.unwrap_or_default();
                            let entry = json!({ "sha256": digest_of(weights)?, "first-conv": how });
                            begin.insert(modality.name().to_owned(), entry);
                        }
                    }
                    if !begin.is_empty() {
                        own["pretrained"] = begin.into();
                    }
                }
            }
            own
        }
    };
    Ok(json!({
        "format": FORMAT,
        "task": own,
        "modalities": unit.modalities,
        "data-digest": digest,
        "seed": seed,
        "parents": parents,
    }))
}

/// The data settings that reach these modalities. What decides which samples there are is in the digest.
fn data(config: &DataConfig, modalities: &[Modality]) -> Value {
    let has = |m: Modality| modalities.contains(&m);
    let mut config = config.clone();
    let default = DataConfig::default();
    if !has(Modality::Audio) {
        config.audio = None;
        let (own, none) = (&mut config.augment, &default.augment);
        own.time_shift = none.time_shift;
        own.time_masks = none.time_masks;
        own.time_mask_width = none.time_mask_width;
        own.band_masks = none.band_masks;
        own.band_mask_width = none.band_mask_width;
    }
    if !has(Modality::Rgb) {
        config.rgb = None;
        config.augment.hsv = default.augment.hsv;
    }
    if !has(Modality::Depth) {
        config.depth = None;
    }
    let scene = has(Modality::Rgb) || has(Modality::Depth);
    if !scene {
        config.dense = None;
        config.augment.scale = default.augment.scale;
    }
    if !has(Modality::Video) {
        config.video = None;
    }
    if !scene && !has(Modality::Video) {
        config.augment.crop = default.augment.crop;
        config.augment.flip = default.augment.flip;
        config.augment.resized_crop = default.augment.resized_crop;
    }
    config.decode_threads = default.decode_threads;
    config.synthetic = default.synthetic;
    config.rooms = default.rooms;
    config.limit = default.limit;
    config.validation = default.validation;
    json!(config)
}

/// The modalities that `[data]` reads.
pub fn inputs(config: &DataConfig) -> Vec<Modality> {
    let all = [
        (Modality::Audio, config.audio.is_some()),
        (Modality::Depth, config.depth.is_some()),
        (Modality::Rgb, config.rgb.is_some()),
        (Modality::Video, config.video.is_some()),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(m, _)| m).collect()
}

/// JSON with sorted keys and no spaces, whatever order the map was built in: the text that keys and digests hash.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<String> =
                entries.into_iter().map(|(k, v)| format!("{}:{}", json!(k), canonical(v))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(array) => format!("[{}]", array.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
