//! What types cannot say about a recipe: references, modalities, duplicates, cycles.

use crate::dense;
use crate::networks::network_config;
use crate::objective;
use crate::problem::Problem;
use crate::recipe::{Recipe, Task};
use crate::source::{distance, list};
use std::collections::BTreeSet;
use umt_data::DataError;
use umt_train::TrainError;

/// Checks everything that needs no data.
pub(crate) fn check(recipe: &Recipe) -> Result<(), Problem> {
    seeds(recipe)?;
    ids(recipe)?;
    settings(recipe)?;
    weights(recipe)?;
    for (index, _) in recipe.stage.iter().enumerate() {
        references(recipe, index)?;
    }
    order(recipe)?;
    if let Some(loss) = recipe.loss.as_ref().filter(|loss| !(0.0..1.0).contains(&loss.label_smoothing)) {
        let message = format!("label-smoothing: {} is not in [0, 1)", loss.label_smoothing);
        return Err(Problem::new(&["loss", "label-smoothing"], None, message));
    }
    dense::check(recipe)?;
    for (index, _) in recipe.stage.iter().enumerate() {
        modalities(recipe, index)?;
        objective::check(recipe, index)?;
    }
    networks(recipe)?;
    rows(recipe)
}

fn seeds(recipe: &Recipe) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    if recipe.seeds.is_empty() {
        return Err(Problem::new(&["seeds"], None, "`seeds` is empty: give at least one".into()));
    }
    match recipe.seeds.iter().find(|s| !seen.insert(**s)) {
        Some(seed) => Err(Problem::new(&["seeds"], None, format!("seed {seed} is given twice"))),
        None => Ok(()),
    }
}

fn ids(recipe: &Recipe) -> Result<(), Problem> {
    if recipe.stage.is_empty() {
        return Err(Problem::new(&["stage"], None, "a recipe needs at least one [[stage]]".into()));
    }
    let mut seen = BTreeSet::new();
    for stage in &recipe.stage {
        let at = ["stage", &stage.id, "id"];
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        if stage.id.is_empty() || !stage.id.chars().all(allowed) || stage.id.starts_with(['.', '-']) {
            let message = format!("stage id `{}`: use letters, digits, `.`, `-`, `_` and `+`", stage.id);
            return Err(Problem::new(&at, None, message));
        }
        if !seen.insert(&stage.id) {
            return Err(Problem::new(&at, None, format!("two stages have the id `{}`", stage.id)));
        }
    }
    Ok(())
}

/// What the data and training rooms refuse of their own settings.
fn settings(recipe: &Recipe) -> Result<(), Problem> {
    if let Err(error) = recipe.data.config.validate() {
        let key = match &error {
            DataError::Config { key, .. } => key.clone(),
            _ => String::new(),
        };
        let path: Vec<&str> = ["data"].into_iter().chain(key.split('.')).collect();
        return Err(Problem::new(&path, None, error.to_string()));
    }
    for stage in recipe.stage.iter().filter(|s| s.task.is_network()) {
        if let Err(error) = stage.train.check() {
            let key = match &error {
                TrainError::Config { key, .. } => key.clone(),
                _ => String::new(),
            };
            let path: Vec<&str> = ["stage", &stage.id, "train"].into_iter().chain(key.split('.')).collect();
            return Err(Problem::new(&path, None, format!("stage `{}`: {error}", stage.id)));
        }
    }
    Ok(())
}

/// What the encoders and the fusion refuse of their settings: now, and not when the stage's turn comes.
fn networks(recipe: &Recipe) -> Result<(), Problem> {
    for unit in recipe.units().iter().filter(|unit| unit.probed.is_none()) {
        let stage = &recipe.stage[unit.stage];
        if !stage.task.is_network() {
            continue;
        }
        // The data alone knows the classes; settings do not depend on their number.
        if let Err(error) = network_config(recipe, &unit.modalities, stage, 1).check() {
            let path = ["stage", &stage.id, "task"];
            return Err(Problem::new(&path, None, format!("stage `{}`: {error}", stage.id)));
        }
    }
    Ok(())
}

/// What is given instead of drawn or trained.
fn weights(recipe: &Recipe) -> Result<(), Problem> {
    for (modality, weights) in &recipe.pretrained {
        let encoder = recipe.encoder.get(modality);
        weights.check(encoder).map_err(|message| {
            Problem::new(&["encoder", modality.name(), "pretrained"], None, format!("encoder of {modality}: {message}"))
        })?;
    }
    for stage in &recipe.stage {
        let Some(weights) = &stage.weights else { continue };
        let at = ["stage", &stage.id, "weights"];
        let fail = |message: String| Problem::new(&at, None, format!("stage `{}`: {message}", stage.id));
        if !stage.task.is_network() {
            return Err(fail("it has no network that could have `weights`".into()));
        }
        if stage.distill.is_some() {
            return Err(fail("with `weights` it is not trained, so nothing can be distilled into it".into()));
        }
        weights.check(None).map_err(fail)?;
    }
    Ok(())
}

fn references(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let (path, patterns) = match &stage.task {
        Task::Ensemble { of, .. } | Task::Auto { of } | Task::LinearProbe { of, .. } => {
            (["stage", &stage.id, "task", "of"], of)
        }
        _ => (["stage", &stage.id, "distill", "from"], &stage.from),
    };
    if !stage.task.is_network() && stage.distill.is_some() {
        let message = format!("`{}` trains no network, so nothing can be distilled into it", stage.id);
        return Err(Problem::new(&["stage", &stage.id, "distill"], None, message));
    }
    let objective = stage.distill.as_ref();
    let asks = objective.is_some_and(|o| o.wants_courses() || o.build().needs().any());
    if patterns.is_empty() && (path[3] == "of" || asks) {
        return Err(Problem::new(&path, None, format!("`{}` names no stage", path[3])));
    }
    if let Some(objective) = objective.filter(|_| !asks && !patterns.is_empty()) {
        let message = format!("`{}` has no teachers, so `from` must not name any", objective.kind());
        return Err(Problem::new(&path, None, message));
    }
    let alone = objective.is_some_and(|o| o.build().needs().features);
    let ids: Vec<&String> = recipe.stage.iter().map(|s| &s.id).collect();
    for pattern in patterns {
        let found = recipe.matching(pattern);
        if found.is_empty() {
            let near = ids.iter().filter(|id| distance(id, pattern) <= 2).min_by_key(|id| distance(id, pattern));
            let hint = near.map_or(String::new(), |id| format!("; did you mean `{id}`?"));
            let message = format!("unknown stage `{pattern}`; stages: {}{hint}", list(ids));
            return Err(Problem::new(&path, Some(pattern), message));
        }
        let probe = matches!(stage.task, Task::LinearProbe { .. });
        for other in found.into_iter().map(|i| &recipe.stage[i]) {
            if matches!(stage.task, Task::Auto { .. }) {
                if matches!(other.task, Task::LinearProbe { .. }) {
                    let message = format!("stage `{}` makes no predictions that `{}` could choose", other.id, stage.id);
                    return Err(Problem::new(&path, Some(pattern), message));
                }
                continue;
            }
            let network = other.task.is_network();
            if !network || (!probe && !matches!(other.task, Task::Single { .. }) && alone) {
                let what = if probe { "an encoder to probe" } else { "a single modality" };
                let message = format!("stage `{}` does not have {what}, which `{}` needs", other.id, stage.id);
                return Err(Problem::new(&path, Some(pattern), message));
            }
        }
    }
    Ok(())
}

fn order(recipe: &Recipe) -> Result<(), Problem> {
    fn visit(recipe: &Recipe, at: usize, path: &mut Vec<usize>, done: &mut BTreeSet<usize>) -> Result<(), Problem> {
        if let Some(start) = path.iter().position(|&p| p == at) {
            let names: Vec<&str> = path[start..].iter().chain([&at]).map(|&i| recipe.stage[i].id.as_str()).collect();
            let message = format!("these stages need each other: {}", names.join(" -> "));
            return Err(Problem::new(&["stage", names[0]], None, message));
        }
        if done.contains(&at) {
            return Ok(());
        }
        path.push(at);
        for need in recipe.needs(at) {
            visit(recipe, need, path, done)?;
        }
        path.pop();
        done.insert(at);
        Ok(())
    }
    let mut done = BTreeSet::new();
    (0..recipe.stage.len()).try_for_each(|i| visit(recipe, i, &mut Vec::new(), &mut done))
}

fn modalities(recipe: &Recipe, index: usize) -> Result<(), Problem> {
    let stage = &recipe.stage[index];
    let inputs = crate::plan::inputs(&recipe.data.config);
    for modality in recipe.modalities(stage) {
        let path = ["stage", &stage.id, "task"];
        if !recipe.encoder.contains_key(&modality) {
            let known = list(recipe.encoder.keys().map(|m| m.name()));
            let message = format!("stage `{}` uses {modality}, but [encoder] has only {known}", stage.id);
            return Err(Problem::new(&path, Some(modality.name()), message));
        }
        if !inputs.contains(&modality) {
            let known = list(inputs.iter().map(|m| m.name()));
            let message = format!("stage `{}` uses {modality}, but [data] reads only {known}", stage.id);
            return Err(Problem::new(&path, Some(modality.name()), message));
        }
    }
    if matches!(stage.task, Task::Fusion { .. }) && recipe.modalities(stage).len() < 2 {
        let message = format!("stage `{}` fuses fewer than two modalities", stage.id);
        return Err(Problem::new(&["stage", &stage.id, "task"], None, message));
    }
    Ok(())
}

/// Rows have distinct ids, and claims name rows.
fn rows(recipe: &Recipe) -> Result<(), Problem> {
    let units = recipe.units();
    let mut seen = BTreeSet::new();
    for unit in &units {
        if !seen.insert(unit.id.as_str()) {
            let at = ["stage", recipe.stage[unit.stage].id.as_str()];
            return Err(Problem::new(&at, None, format!("two rows would be called `{}`", unit.id)));
        }
    }
    for claim in &recipe.expect.claims {
        for figure in claim.figures() {
            if !seen.contains(figure.stage.as_str()) {
                let message = format!(
                    "claim `{claim}` names the row `{}`; rows: {}; metrics: {}",
                    figure.stage,
                    list(&seen),
                    umt_eval::metrics::reported().collect::<Vec<_>>().join(", ")
                );
                return Err(Problem::new(&["expect", "claims"], Some(&claim.to_string()), message));
            }
        }
    }
    Ok(())
}
