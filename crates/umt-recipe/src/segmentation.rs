//! Whether a stage with a class for every pixel fits the data, the encoders and its teachers.

use crate::check::Problem;
use crate::networks::segmenter_config;
use crate::objective::one_teacher_each;
use crate::recipe::{Recipe, Task};

/// Sets with a class for every pixel are for segmentation networks and their probes, and those for such sets alone.
pub(crate) fn check(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let refuse = |key: &str, message: &str| {
        Err(Problem::new(&["stage", &stage.id, key], None, format!("stage `{}`: {message}", stage.id)))
    };
    let pixels = recipe.data.config.dense.is_some();
    let Task::Segmentation { distance, .. } = &stage.task else {
        let fits = !pixels || matches!(stage.task, Task::LinearProbe { .. });
        return match fits {
            true => Ok(()),
            false => refuse("task", "the set has a class for every pixel: kind must be segmentation or linear-probe"),
        };
    };
    if !pixels {
        return refuse("task", "segmentation needs a class for every pixel: name data.dense, data.rgb, data.depth");
    }
    if stage.distill.is_some() {
        return refuse(
            "distill",
            "segmentation keeps maps near its teachers': task.distance = { weight = 1.0 } and from",
        );
    }
    if stage.weights.is_some() && (distance.is_some() || !stage.from.is_empty()) {
        return refuse(
            "weights",
            "with weights it is not trained, so it keeps near no teacher: leave distance and from out",
        );
    }
    if distance.is_some() == stage.from.is_empty() {
        return refuse("task", "distance and from, which names the teachers, come together or not at all");
    }
    if let Err(error) = segmenter_config(recipe, &recipe.modalities(stage), 2).check() {
        return refuse("task", &error.to_string());
    }
    if stage.from.is_empty() {
        return Ok(());
    }
    if recipe.needs(index).into_iter().any(|teacher| recipe.modalities(&recipe.stage[teacher]).len() != 1) {
        return refuse("from", "a teacher has one modality");
    }
    one_teacher_each(recipe, index, &["stage", &stage.id, "from"])
}
