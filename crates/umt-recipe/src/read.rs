//! How text, `[quick]` and `--set` become a recipe.
//!
//! Order of authority: command line over `[quick]` (when asked for) over recipe over the defaults of the types.

use crate::error::RecipeError;
use crate::recipe::{Loaded, Overrides, Recipe};
use crate::source::{Source, Tree, merge};
use serde::Deserialize;
use std::borrow::Cow;
use toml::Spanned;
use toml::de::DeValue;

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
