//! A finished network as a folder that others can use.

use crate::error::RunError;
use crate::folder::{MODEL, load_network};
use crate::opened::Opened;
use crate::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use umt_fusion::{FusionConfig, HeadConfig, Network};
use umt_media::Modality;
use umt_recipe::{Recipe, network_config};
use umt_store::{Store, tensors};

/// What is exported.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The folder of a finished run.
    pub run: PathBuf,
    /// A network stage.
    pub stage: String,
    /// Its seed; the run's first when left out.
    pub seed: Option<u64>,
    /// One encoder of the network, without the rest.
    pub encoder: Option<Modality>,
    /// The folder to write: `model.safetensors`, `config.json` and `README.md`.
    pub out: PathBuf,
}

/// The folder's files.
pub const FILES: [&str; 3] = [MODEL, "config.json", "README.md"];

/// Writes a network's weights with the names that others know, its settings, and a model card.
///
/// A classifier of one modality, and an encoder, have torchvision's names (`conv1.weight`, `fc.weight`); a segmentation network those of the
/// published ESANet; a network with a fusion the project's own. Tensors are in PyTorch's layout, 32-bit.
///
/// # Errors
/// A folder that is no finished run; a stage that has no network, a seed or an encoder that is not there; a folder that cannot be written.
pub fn export(options: &ExportOptions) -> Result<(), RunError> {
    let opened = Opened::open(&options.run)?;
    let recipe = &opened.loaded.recipe;
    let stages = opened.stages(&options.stage);
    let Some(own) = recipe.find(&options.stage).filter(|own| own.task.is_network() && !stages.is_empty()) else {
        let networks = recipe.stage.iter().filter(|s| s.task.is_network() && !opened.stages(&s.id).is_empty());
        let known = umt_recipe::list(networks.map(|s| &s.id));
        let text = format!("`{}` is no finished network of the run; there are {known}", options.stage);
        return Err(RunError::Usage(text));
    };
    let Some(done) = stages.iter().find(|done| options.seed.is_none_or(|seed| done.record.seed == seed)) else {
        let seeds = umt_recipe::list(stages.iter().map(|done| done.record.seed.to_string()));
        return Err(RunError::Usage(format!("`{}` has no such seed; there are {seeds}", options.stage)));
    };
    let record = &done.record;
    let config = network_config(recipe, &done.node.unit.modalities, own, record.classes.len());
    let network = load_network(&record.stage, &config, record.seed, &done.read(MODEL)?)?;
    if let Some(modality) = options.encoder.filter(|m| !network.modalities().any(|own| own == *m)) {
        let known = umt_recipe::list(network.modalities().map(|m| m.name()));
        return Err(RunError::Usage(format!("`{}` has no encoder of {modality}; there are {known}", options.stage)));
    }
    let named = named(&network, options.encoder);
    let counters = umt_nn::batch_counters(named.keys(), record.steps);
    let bytes = tensors::write_with_counters(&named, &counters)?;
    let about = about(&opened, recipe, record, &network, options);
    let store = Store::shared(&options.out)?;
    store.commit(&store.path(FILES[0]), &bytes)?;
    store.commit_json(&store.path(FILES[1]), &about)?;
    store.commit(&store.path(FILES[2]), card(&about, options).as_bytes())?;
    Ok(())
}

/// The tensors under the names that others know.
fn named(network: &Network, encoder: Option<Modality>) -> tensors::Tensors {
    let all = network.params().to_tensors();
    let only = network.modalities().next().filter(|_| network.modalities().count() == 1);
    let plain = matches!(&network.config().head, HeadConfig::Fusion(FusionConfig::Concat));
    match (encoder, only) {
        (Some(modality), _) => {
            let prefix = network.prefix(modality);
            all.into_iter().filter_map(|(name, x)| Some((name.strip_prefix(&prefix)?.to_owned(), x))).collect()
        }
        (None, Some(modality)) if plain => {
            let prefix = network.prefix(modality);
            let name = |name: String| match (name.strip_prefix(&prefix), name.strip_prefix("head.")) {
                (Some(own), _) => own.to_owned(),
                (_, Some(own)) => format!("fc.{own}"),
                _ => name,
            };
            all.into_iter().map(|(own, x)| (name(own), x)).collect()
        }
        _ => all,
    }
}

/// Everything that decides what the network is given and what its outputs mean.
fn about(opened: &Opened, recipe: &Recipe, record: &Record, network: &Network, options: &ExportOptions) -> Value {
    let data = &recipe.data.config;
    let modalities: Vec<Modality> = options.encoder.map_or_else(|| network.modalities().collect(), |m| vec![m]);
    let mut inputs = BTreeMap::new();
    for modality in &modalities {
        let input = match modality {
            Modality::Audio => json!({ "settings": data.audio, "mean-std": record.audio_stats }),
            Modality::Video => json!({ "settings": data.video }),
            Modality::Rgb => json!({ "settings": data.rgb, "size": data.dense }),
            Modality::Depth => json!({ "settings": data.depth, "size": data.dense, "mean-std": record.depth_stats }),
        };
        inputs.insert(modality.name(), input);
    }
    let mut metrics: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for figure in record.figures.iter().filter(|figure| figure.given.is_none() && options.encoder.is_none()) {
        metrics.entry(&figure.split).or_default().insert(&figure.metric, figure.value);
    }
    let task = match (options.encoder.is_some(), network.is_dense()) {
        (true, _) => "encoder",
        (false, true) => "segmentation",
        (false, false) => "classification",
    };
    json!({
        "format": "umt-export/1",
        "task": task,
        "recipe": opened.loaded.name,
        "stage": record.stage,
        "seed": record.seed,
        "key": record.key,
        "labels": record.classes,
        "network": network.config(),
        "layout": "tensors as PyTorch keeps them; inputs [n, channels, height, width], video [n, frames, channels, height, width]",
        "inputs": inputs,
        "metrics": metrics,
        "samples": record.samples,
        "data-digest": opened.results.data_digest,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// The model card.
fn card(about: &Value, options: &ExportOptions) -> String {
    let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
    let mut out =
        format!("---\nlicense: other\nlibrary_name: pytorch\ntags:\n- multi-modal\n- {}\n---\n\n", text("task"));
    out += &format!("# {} of `{}`, seed {}\n\n", text("stage"), text("recipe"), about["seed"]);
    if let Some(modality) = options.encoder {
        out += &format!("The {modality} encoder alone, without a classifier.\n\n");
    }
    out += "`model.safetensors` holds the weights, `config.json` the labels, the preprocessing and the network's settings.\n\n";
    if let Some(metrics) = about["metrics"].as_object().filter(|metrics| !metrics.is_empty()) {
        out += "## Measured\n| split | metric | value |\n|---|---|---|\n";
        for (split, values) in metrics {
            for (metric, value) in values.as_object().into_iter().flatten() {
                out += &format!("| {split} | {metric} | {:.4} |\n", value.as_f64().unwrap_or(f64::NAN));
            }
        }
        out += "\nOne seed. The weights were chosen on validation; test was looked at once.\n\n";
    }
    out += &format!(
        "Data: SHA-256 {}, {} classes.\n\n",
        text("data-digest"),
        about["labels"].as_array().map_or(0, Vec::len)
    );
    out += "## To fill in before it is published\n- Licence of the weights, which depends on that of the data:\n- What the data is, and whom it shows:\n- What the model is for, and what not:\n";
    out
}
