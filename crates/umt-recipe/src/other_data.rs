//! A recipe on data that it was not written for: its settings stay, what it says of its own data does not.

use crate::recipe::{Expect, Loaded};
use std::path::Path;
use umt_data::ValidationConfig;

impl Loaded {
    /// The recipe on another set, with a rule of validation that fits it.
    ///
    /// The name becomes `<recipe>-on-<data>`, so that no run of other data takes the folder of the recipe's own; sentence and
    /// expectations are gone, because they are about other samples.
    pub fn on_other_data(&self, set: &str, root: Option<&Path>, validation: &ValidationConfig) -> Loaded {
        let root = root.map(|root| std::path::absolute(root).unwrap_or_else(|_| root.to_owned()));
        let shown = root.as_deref().map_or_else(|| set.to_owned(), file_name);
        let mut other = self.clone();
        other.name = format!("{}-on-{}", self.name, short_name(set, root.as_deref()));
        other.recipe.about = format!("The settings of `{}` on {shown}", self.name);
        other.recipe.expect = Expect::default();
        other.recipe.data.set = set.to_owned();
        other.recipe.data.root = root;
        other.recipe.data.config.validation = validation.clone();
        other.write_data();
        other
    }

    /// The recipe with a relative `data.root` taken as relative to `folder`, where the recipe's file is.
    pub fn rooted_at(mut self, folder: &Path) -> Loaded {
        if let Some(root) = self.recipe.data.root.take() {
            let root = folder.join(root);
            self.recipe.data.root = Some(std::path::absolute(&root).unwrap_or(root));
            self.write_data();
        }
        self
    }

    /// Brings the text that says what ran up to what is known of the data.
    fn write_data(&mut self) {
        let recipe = &self.recipe;
        let Ok(mut table) = toml::from_str::<toml::Table>(&self.effective) else { return };
        table.insert("about".into(), recipe.about.clone().into());
        if recipe.expect.claims.is_empty() && recipe.expect.command.is_empty() {
            table.remove("expect");
        }
        if let Some(data) = table.get_mut("data").and_then(toml::Value::as_table_mut) {
            data.insert("set".into(), recipe.data.set.clone().into());
            match &recipe.data.root {
                Some(root) => data.insert("root".into(), root.display().to_string().into()),
                None => data.remove("root"),
            };
            if let Ok(validation) = toml::Value::try_from(&recipe.data.config.validation) {
                data.insert("validation".into(), validation);
            }
        }
        self.effective = toml::to_string_pretty(&table).unwrap_or_default();
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// A name of a set for folders: a list's own, or that of the folder that holds a list of no name in particular; of a set
/// without files its own.
pub fn short_name(set: &str, root: Option<&Path>) -> String {
    let Some(root) = root else { return plain(set) };
    let named = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let own = named(root).unwrap_or_default();
    match own.as_str() {
        "manifest" | "list" => plain(&root.parent().and_then(named).unwrap_or(own)),
        _ => plain(&own),
    }
}

fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Overrides, Recipe, RecipeError};
    use std::path::Path;
    use umt_data::ValidationConfig;

    const TEXT: &str = r#"
        about = "words of its own"
        seeds = [1]
        [data]
        set = "av-digits"
        validation = { group-by = "recording" }
        [data.audio]
        seconds = 1.0
        front-end = { kind = "log-mel" }
        [encoder]
        audio = { kind = "resnet18", channels = 1 }
        [train]
        epochs = 3
        [[stage]]
        id = "teacher.audio"
        task = { kind = "single", modality = "audio" }
        [expect]
        minutes = 5
        claims = ["teacher.audio.top1 > 0.9"]
    "#;

    #[test]
    fn what_a_recipe_says_of_its_own_data_is_not_said_of_others() -> Result<(), RecipeError> {
        let own = Recipe::parse("digits", "digits.toml", TEXT, &Overrides::default())?;
        let rule = ValidationConfig { group_by: None, ..ValidationConfig::default() };
        let other = own.on_other_data("manifest", Some(Path::new("/data/my words.csv")), &rule);
        assert_eq!(other.name, "digits-on-my-words");
        assert_eq!(other.recipe.about, "The settings of `digits` on my words.csv");
        // What is stored of the run reads as the same recipe.
        let again = Recipe::parse("x", "x.toml", &other.effective, &Overrides::default())?.recipe;
        assert_eq!(again.data.root.as_deref(), Some(Path::new("/data/my words.csv")));
        assert_eq!((again.data.set.as_str(), again.data.config.validation.group_by), ("manifest", None));
        assert!(again.expect.claims.is_empty() && again.expect.minutes.is_none());
        assert_eq!(again.stage[0].train, own.recipe.stage[0].train);
        let listed = own.on_other_data("manifest", Some(Path::new("/data/birds/manifest.csv")), &rule);
        assert_eq!(listed.name, "digits-on-birds");
        Ok(())
    }
}
