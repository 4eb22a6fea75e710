//! Recipes by name, built into the program, or by path.

use std::path::{Path, PathBuf};
use umt_recipe::{Loaded, Overrides, Recipe, RecipeError, distance};

/// The recipes of `cargo xtask reproduce` without a name.
pub const DEFAULTS: [&str; 2] = ["synthetic-av", "synthetic-rooms"];

/// Name and text of each.
pub const EMBEDDED: [(&str, &str); 10] = [
    ("av-digits", include_str!("../recipes/av-digits.toml")),
    ("methods", include_str!("../recipes/methods.toml")),
    ("methods-rgbd", include_str!("../recipes/methods-rgbd.toml")),
    ("nyuv2", include_str!("../recipes/nyuv2.toml")),
    ("nyuv2-small", include_str!("../recipes/nyuv2-small.toml")),
    ("sunrgbd", include_str!("../recipes/sunrgbd.toml")),
    ("synthetic-av", include_str!("../recipes/synthetic-av.toml")),
    ("synthetic-avd", include_str!("../recipes/synthetic-avd.toml")),
    ("synthetic-rooms", include_str!("../recipes/synthetic-rooms.toml")),
    ("vggsound", include_str!("../recipes/vggsound.toml")),
];

/// A recipe's text, with the names for its folder and for messages.
pub struct Text {
    pub name: String,
    pub file: String,
    pub text: String,
    /// Whether it is a file of the user's.
    pub own: bool,
}

/// Options that change a recipe.
#[derive(Debug, Clone, clap::Args)]
pub struct Change {
    /// Merge the recipe's [quick] settings: minutes instead of hours, figures without meaning.
    #[arg(long)]
    pub quick: bool,
    /// Set any key of the recipe, such as train.epochs=3 or stage.umt.distill.weight=1; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Options that say which data.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// A folder in the set's own form, or a manifest: a .csv, or a folder with a manifest.csv.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A data set in place of the recipe's: av-digits, manifest, nyuv2, sunrgbd, synthetic-av, synthetic-rooms or vggsound.
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
}

impl Change {
    pub fn overrides(&self) -> Overrides {
        Overrides { quick: self.quick, sets: self.sets.clone() }
    }
}

/// Finds a recipe by name or path.
pub fn text(name: &str) -> Result<Text, RecipeError> {
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e == "toml") {
        let text = std::fs::read_to_string(path)
            .map_err(|e| RecipeError::Usage(format!("recipe {name} cannot be read: {e}")))?;
        let stem = path.file_stem().map_or_else(|| name.to_owned(), |s| s.to_string_lossy().into_owned());
        return Ok(Text { name: stem, file: name.to_owned(), text, own: true });
    }
    match EMBEDDED.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => Ok(Text {
            name: (*name).into(),
            file: format!("xtask/recipes/{name}.toml"),
            text: (*text).into(),
            own: false,
        }),
        None => {
            let near =
                EMBEDDED.iter().map(|e| e.0).filter(|e| distance(e, name) <= 3).min_by_key(|e| distance(e, name));
            let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let known = EMBEDDED.map(|e| e.0).join(", ");
            Err(RecipeError::UnknownRecipe { name: name.into(), known: format!("{known}{hint}") })
        }
    }
}

/// Reads a recipe with the changes of the command line.
pub fn load(name: &str, change: &Change) -> Result<Loaded, RecipeError> {
    let text = text(name)?;
    let loaded = Recipe::parse(&text.name, &text.file, &text.text, &change.overrides())?;
    Ok(match Path::new(&text.file).parent().filter(|_| text.own) {
        Some(folder) => loaded.rooted_at(folder),
        None => loaded,
    })
}
