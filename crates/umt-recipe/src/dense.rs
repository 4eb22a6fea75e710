//! Whether a recipe's stages fit a set with a class for every pixel, or one with a class for every sample.

use crate::problem::Problem;
use crate::recipe::{Recipe, Task};
use toml::Spanned;
use toml::de::DeValue;

/// Sets with a class for every pixel have networks with a decoder and probes of their maps; settings of a decoder are for
/// such sets alone.
pub(crate) fn check(recipe: &Recipe) -> Result<(), Problem> {
    let dense = recipe.data.config.dense.is_some();
    let own = [("decoder", recipe.decoder.is_some()), ("loss", recipe.loss.is_some())];
    if let Some((key, _)) = own.iter().find(|(_, given)| *given && !dense) {
        let message =
            format!("`{key}` is for a set with a class for every pixel: name data.dense, data.rgb, data.depth");
        return Err(Problem::new(&[key], None, message));
    }
    for stage in recipe.stage.iter().filter(|_| dense) {
        let message = match &stage.task {
            Task::Fusion { fusion: Some(_), .. } => {
                "the decoder joins the maps ([decoder] fused says how): leave `fusion` out"
            }
            Task::Ensemble { .. } | Task::Auto { .. } => {
                "the set has a class for every pixel: kind must be single, fusion or linear-probe"
            }
            Task::Single { .. } | Task::Fusion { .. } | Task::LinearProbe { .. } => continue,
        };
        return Err(Problem::new(&["stage", &stage.id, "task"], None, format!("stage `{}`: {message}", stage.id)));
    }
    Ok(())
}

/// What to write in the place of a task that recipes of earlier versions had.
pub(crate) fn renamed(task: &Spanned<DeValue<'_>>) -> Option<&'static str> {
    let kind = task.get_ref().as_table()?.get("kind")?.get_ref().as_str()?;
    (kind == "segmentation").then_some(
        "task.kind `segmentation` is now `single` (with `modality`) or `fusion`; its `distance` is \
         distill = { kind = \"feature\", stages = [0, 1, 2, 3, 4], weight = 1.0, from = [...] }, and its `class-weights` \
         belongs into [loss]",
    )
}
