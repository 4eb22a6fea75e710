//! A stage's folder: the names of its files, and how other stages read them.

use crate::error::RunError;
use std::path::Path;
use umt_data::Split;
use umt_eval::Predictions;
use umt_fusion::{Network, NetworkConfig};
use umt_nn::NnError;
use umt_store::{Store, tensors};

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

/// Of a finished stage the model stands in its own file: what only served to resume may go.
pub(crate) fn forget_checkpoints(store: &Store, dir: &Path) -> Result<(), RunError> {
    Ok(store.remove(&dir.join(CHECKPOINTS))?)
}

/// A network with the weights of a finished stage's folder.
pub(crate) fn load_network(
    config: &NetworkConfig,
    seed: u64,
    dir: &Path,
) -> Result<Network, Result<RunError, NnError>> {
    let mut network = Network::new(config, seed).map_err(Err)?;
    let bytes = read(&dir.join(MODEL)).map_err(Ok)?;
    let tensors = tensors::read(&bytes).map_err(|e| Ok(e.into()))?;
    if tensors.keys().any(|name| name.starts_with("token.")) {
        network.add_tokens();
    }
    network.load(tensors).map_err(Err)?;
    Ok(network)
}

/// The stored predictions of a split.
///
/// # Errors
/// A file that cannot be read or is damaged.
pub fn read_predictions(dir: &Path, split: Split, stage: &str) -> Result<Predictions, RunError> {
    let bytes = read(&dir.join(predictions_file(split)))?;
    Predictions::from_bytes(&bytes).map_err(|source| RunError::Eval { stage: stage.to_owned(), source })
}

/// A file's bytes.
///
/// # Errors
/// A file that cannot be read; the error names it.
pub fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::Io { path: path.to_owned(), source })
}
