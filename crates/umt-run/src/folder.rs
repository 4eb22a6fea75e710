//! A stage's folder and the names of its files.

use crate::error::RunError;
use std::path::{Path, PathBuf};
use umt_data::Split;
use umt_fusion::{Network, NetworkConfig};
use umt_store::{Store, tensors};

/// A line for each epoch of training.
pub const METRICS: &str = "metrics.jsonl";
/// What each epoch took; no part of the result.
pub(crate) const TIMES: &str = "timing.jsonl";
/// The kept weights.
pub const MODEL: &str = "model.safetensors";
/// The file of a stage's confusion matrix on test: counts `[true class, predicted class]`.
pub const COUNTS: &str = "confusion.test.json";
/// The file of what each test picture adds to it: `[pictures, 3, classes]`, hits, support and predictions.
pub const TALLIES: &str = "tallies.test.json";
/// The file of a stage's shown frames.
pub const FRAMES: &str = "frames.test.safetensors";
const CHECKPOINTS: &str = "checkpoints";

/// The file of a split's predictions.
pub fn predictions_file(split: Split) -> String {
    format!("predictions.{split}.safetensors")
}

/// The file of a split's features.
pub fn features_file(split: Split) -> String {
    format!("features.{split}.safetensors")
}

/// The model of a finished stage has its own file: what only served to resume may go.
pub(crate) fn forget_checkpoints(store: &Store, dir: &Path) -> Result<(), RunError> {
    Ok(store.remove(&dir.join(CHECKPOINTS))?)
}

/// A name for people, and enough of the key that no two stages share a folder.
pub(crate) fn folder_of(root: &Path, stage: &str, seed: u64, key: &str) -> PathBuf {
    root.join("stages").join(format!("{stage}.seed{seed}.{}", key.get(..12).unwrap_or(key)))
}

/// A network with the weights of a finished stage's model file.
pub(crate) fn load_network(stage: &str, config: &NetworkConfig, seed: u64, model: &[u8]) -> Result<Network, RunError> {
    let failed = |source| RunError::Network { stage: stage.to_owned(), source };
    let mut network = Network::new(config, seed).map_err(failed)?;
    let tensors = tensors::read(model)?;
    if tensors.keys().any(|name| name.starts_with("token.")) {
        network.add_tokens();
    }
    network.load(tensors).map_err(failed)?;
    Ok(network)
}
