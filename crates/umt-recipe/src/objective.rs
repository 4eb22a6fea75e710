//! Whether a stage's objective fits its network and the stages it learns from.

use crate::problem::Problem;
use crate::recipe::{Recipe, Stage};
use crate::source::list;
use std::collections::BTreeSet;
use umt_media::Modality;
use umt_nn::NnError;

/// Teachers first: without them settings need no look.
pub(crate) fn check(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    teachers(recipe, index)?;
    fits(recipe, index)
}

/// An objective whose settings fit, on a network that it has a meaning for.
fn fits(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let Some(objective) = &stage.distill else { return Ok(()) };
    let encoder = |m: &Modality| recipe.encoder.get(m).and_then(|e| Some((*m, e.stages().ok()?.last().copied()?)));
    let widths = recipe.modalities(stage).iter().filter_map(encoder).collect();
    let head = crate::networks::asked(recipe, &recipe.modalities(stage), stage);
    let fits = objective.fits(&head, widths, stage.train.refit);
    fits.map_err(|error| {
        let key = match &error {
            NnError::Setting { key, .. } => key.as_str(),
            _ => "",
        };
        let path: Vec<&str> = ["stage", &stage.id, "distill"].into_iter().chain(key.split('.')).collect();
        Problem::new(&path, None, format!("stage `{}`: {error}", stage.id))
    })
}

/// With an objective that compares features, each modality of the student has exactly one teacher; with one that is
/// measured on finished runs, each has a run alone, and there is one of all of them.
fn teachers(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    if stage.from.is_empty() || !stage.task.is_network() {
        return Ok(());
    }
    let path = ["stage", &stage.id, "distill", "from"];
    let Some(objective) = &stage.distill else {
        return Err(Problem::new(&path, None, format!("stage `{}` names teachers but no `distill.kind`", stage.id)));
    };
    if objective.wants_courses() {
        return courses(recipe, index);
    }
    if !objective.build().needs().features {
        return Ok(());
    }
    one_teacher_each(recipe, index, &path)
}

/// Each modality of the student has exactly one teacher; `path` leads to where they are named.
fn one_teacher_each(recipe: &Recipe, index: usize, path: &[&str]) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let students: BTreeSet<Modality> = recipe.modalities(stage).into_iter().collect();
    let mut taught = BTreeSet::new();
    for teacher in recipe.needs(index) {
        let teacher = &recipe.stage[teacher];
        for modality in recipe.modalities(teacher) {
            let message = if !students.contains(&modality) {
                format!("teacher `{}` teaches {modality}, which `{}` does not have", teacher.id, stage.id)
            } else if !taught.insert(modality) {
                format!("`{}` has two teachers of {modality}", stage.id)
            } else {
                continue;
            };
            return Err(Problem::new(path, Some(&teacher.id), message));
        }
    }
    let missing: Vec<&str> = students.difference(&taught).map(|m| m.name()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` has no teacher of {}; add such a stage to `from`", stage.id, list(missing));
    Err(Problem::new(path, None, message))
}

fn courses(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let path = ["stage", &stage.id, "distill", "from"];
    let own = recipe.modalities(stage);
    let mut wanted: Vec<Vec<Modality>> = own.iter().map(|m| vec![*m]).chain([own.clone()]).collect();
    let stages: Vec<&Stage> = recipe.needs(index).into_iter().map(|i| &recipe.stage[i]).collect();
    for other in stages {
        let Some(at) = wanted.iter().position(|modalities| *modalities == recipe.modalities(other)) else {
            let message =
                format!("`{}` measures each modality of `{}` alone and all together, once each", stage.id, stage.id);
            return Err(Problem::new(&path, Some(&other.id), message));
        };
        if other.train.refit {
            let message =
                format!("`{}` reads losses on validation, which `{}` with refit = true has not", stage.id, other.id);
            return Err(Problem::new(&path, Some(&other.id), message));
        }
        wanted.remove(at);
    }
    let Some(missing) = wanted.first() else { return Ok(()) };
    let names = list(missing.iter().map(|m| m.name()));
    Err(Problem::new(
        &path,
        None,
        format!("`{}` needs a run of {names} to measure; add such a stage to `from`", stage.id),
    ))
}
