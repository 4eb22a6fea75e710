//! A stage's folder: the names of its files, and how other stages read them.

use crate::error::RecipeError;
use std::path::Path;
use umt_data::Split;
use umt_eval::Predictions;
use umt_fusion::{Network, NetworkConfig};
use umt_nn::NnError;
use umt_store::{Store, tensors};

/// The kept weights.
pub(crate) const MODEL: &str = "model.safetensors";
const CHECKPOINTS: &str = "checkpoints";

/// The file of a split's predictions.
pub(crate) fn predictions_file(split: Split) -> String {
    format!("predictions.{split}.safetensors")
}

/// The file of a split's features.
pub(crate) fn features_file(split: Split) -> String {
    format!("features.{split}.safetensors")
}

/// Of a finished stage the model stands in its own file: what only served to resume may go.
pub(crate) fn forget_checkpoints(store: &Store, dir: &Path) -> Result<(), RecipeError> {
    Ok(store.remove(&dir.join(CHECKPOINTS))?)
}

/// A network with the weights of a finished stage's folder.
pub(crate) fn load_network(
    config: &NetworkConfig,
    seed: u64,
    dir: &Path,
) -> Result<Network, Result<RecipeError, NnError>> {
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
pub(crate) fn read_predictions(dir: &Path, split: Split, stage: &str) -> Result<Predictions, RecipeError> {
    let bytes = read(&dir.join(predictions_file(split)))?;
    Predictions::from_bytes(&bytes).map_err(|source| RecipeError::Eval { stage: stage.to_owned(), source })
}

/// A file's bytes; the error names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, RecipeError> {
    std::fs::read(path).map_err(|source| RecipeError::Io { path: path.to_owned(), source })
}
