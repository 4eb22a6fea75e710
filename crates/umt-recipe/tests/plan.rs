//! Keys: equal where nothing that matters differs, and new exactly for what depends on a change.

use std::collections::BTreeMap;
use std::error::Error;
use umt_recipe::{Overrides, Plan, Recipe, RecipeError, Weights};

const TEXT: &str = r#"
about = "for tests"
seeds = [1, 2]
[data]
set = "synthetic-av"
[data.audio]
seconds = 1.0
front-end = { kind = "log-mel" }
[data.video]
select = { kind = "count", count = 2 }
size = [36, 36]
crop = [32, 32]
[encoder]
audio = { kind = "resnet18", channels = 1, width = 4, stem = "3x3" }
video = { kind = "resnet18", channels = 3, width = 4, stem = "3x3" }
[train]
epochs = 2
[[stage]]
id = "umt"
task = { kind = "fusion", fusion = { kind = "concat" } }
distill = { kind = "feature", weight = 10.0, from = ["teacher.*"] }
[[stage]]
id = "joint"
task = { kind = "fusion", fusion = { kind = "concat" } }
[[stage]]
id = "teacher.audio"
task = { kind = "single", modality = "audio" }
[[stage]]
id = "teacher.video"
task = { kind = "single", modality = "video" }
train = { lr = 0.1 }
[[stage]]
id = "ume"
task = { kind = "ensemble", of = ["teacher.*"] }
[[stage]]
id = "probe"
task = { kind = "linear-probe", of = ["teacher.*", "joint", "umt"] }
[quick]
seeds = [7]
[quick.train]
steps = 3
[[quick.stage]]
id = "umt"
distill = { weight = 1.0 }
"#;

type Outcome = Result<(), Box<dyn Error>>;

/// No weights are given.
fn none(weights: &Weights) -> Result<String, RecipeError> {
    Err(RecipeError::Usage(format!("asked for {}", weights.from)))
}

fn recipe(sets: &[&str], quick: bool) -> Result<Recipe, RecipeError> {
    let over = Overrides { quick, sets: sets.iter().map(|s| (*s).to_owned()).collect() };
    Ok(Recipe::parse("t", "t.toml", TEXT, &over)?.recipe)
}

/// Keys of seed 1 by row.
fn keys(sets: &[&str], digest: &str) -> Result<BTreeMap<String, String>, RecipeError> {
    let recipe = recipe(sets, false)?;
    let plan = Plan::new(&recipe, digest, &recipe.seeds, &[], &mut none)?;
    Ok(plan.nodes.into_iter().filter(|n| n.seed == 1).map(|n| (n.unit.id, n.key)).collect())
}

/// Rows whose key differs.
fn changed(sets: &[&str]) -> Result<Vec<String>, RecipeError> {
    let (before, after) = (keys(&[], "d")?, keys(sets, "d")?);
    Ok(before.into_iter().filter(|(id, key)| after.get(id) != Some(key)).map(|(id, _)| id).collect())
}

#[test]
fn parents_come_first_and_rows_keep_the_order_of_the_recipe() -> Outcome {
    let recipe = recipe(&[], false)?;
    let plan = Plan::new(&recipe, "d", &recipe.seeds, &[], &mut none)?;
    let rows = [
        "umt",
        "joint",
        "teacher.audio",
        "teacher.video",
        "ume",
        "probe.teacher.audio",
        "probe.teacher.video",
        "probe.joint.audio",
        "probe.joint.video",
        "probe.umt.audio",
        "probe.umt.video",
    ];
    assert_eq!(plan.rows, rows);
    assert_eq!(plan.nodes.len(), 2 * rows.len());
    assert_eq!(plan.nodes[0].unit.id, "joint", "the first that needs nothing");
    for (i, node) in plan.nodes.iter().enumerate() {
        assert!(node.parents.iter().all(|&p| p < i && plan.nodes[p].seed == node.seed), "{}", node.unit.id);
    }
    let mut all: Vec<&str> = plan.nodes.iter().map(|n| n.key.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), plan.nodes.len(), "no two stages share a key");
    Ok(())
}

#[test]
fn a_change_reaches_what_depends_on_it_and_nothing_else() -> Outcome {
    let umt = ["probe.umt.audio", "probe.umt.video", "umt"];
    assert_eq!(changed(&["stage.umt.distill.weight=3"])?, umt);
    assert_eq!(changed(&["stage.joint.train.lr=0.2"])?, ["joint", "probe.joint.audio", "probe.joint.video"]);
    let all = keys(&[], "d")?.into_keys().collect::<Vec<_>>();
    let no_video: Vec<&String> = all.iter().filter(|id| !id.ends_with("teacher.video")).collect();
    assert_eq!(changed(&["data.audio.seconds=2.0"])?.iter().collect::<Vec<_>>(), no_video);
    assert_eq!(changed(&["encoder.audio.width=8"])?.iter().collect::<Vec<_>>(), no_video);
    assert_eq!(changed(&["stage.probe.task.probe.l2=[0.1]"])?.len(), 6);
    assert_eq!(changed(&["train.epochs=3"])?.len(), all.len());
    // What decides only how a result is reached, or what people read, changes nothing.
    for set in [
        "train.workers=3",
        "train.checkpoint-every=9",
        "train.checkpoint-seconds=3",
        "train.prefetch=4",
        "about=other",
        "expect.minutes=3",
        "data.decode-threads=1",
    ] {
        assert_eq!(changed(&[set])?, [""; 0], "{set}");
    }
    let other_data = keys(&[], "e")?;
    assert!(keys(&[], "d")?.iter().all(|(id, key)| other_data.get(id) != Some(key)));
    Ok(())
}

#[test]
fn command_line_over_quick_over_recipe_over_defaults() -> Outcome {
    let plain = recipe(&[], false)?;
    assert_eq!((plain.train.epochs, plain.train.batch), (Some(2), 64));
    assert_eq!(plain.find("teacher.video").map(|s| s.train.lr), Some(0.1));
    let quick = recipe(&[], true)?;
    assert_eq!((quick.seeds.as_slice(), quick.train.epochs, quick.train.steps), (&[7][..], None, Some(3)));
    assert_eq!(quick.find("teacher.video").map(|s| (s.train.steps, s.train.lr)), Some((Some(3), 0.1)));
    let weight = |r: &Recipe| r.find("umt").and_then(|s| serde_json::to_value(&s.distill).ok()?["weight"].as_f64());
    assert_eq!((weight(&plain), weight(&quick)), (Some(10.0), Some(1.0)));
    let set = recipe(&["train.epochs=5", "stage.umt.distill.weight=4"], true)?;
    assert_eq!((set.train.epochs, set.train.steps, weight(&set)), (Some(5), None, Some(4.0)));
    let kind = recipe(&["encoder.audio={ kind = \"resnet34\", width = 8 }"], false)?;
    assert_ne!(kind.encoder, plain.encoder);
    Ok(())
}

#[test]
fn only_brings_what_is_needed() -> Outcome {
    let recipe = recipe(&[], false)?;
    let rows = |only: &[&str]| -> Result<Vec<String>, RecipeError> {
        let only: Vec<String> = only.iter().map(|s| (*s).to_owned()).collect();
        Ok(Plan::new(&recipe, "d", &[1], &only, &mut none)?.rows)
    };
    assert_eq!(rows(&["joint"])?, ["joint"]);
    assert_eq!(rows(&["umt"])?, ["umt", "teacher.audio", "teacher.video"]);
    assert_eq!(rows(&["probe.joint.*"])?, ["joint", "probe.joint.audio", "probe.joint.video"]);
    assert_eq!(rows(&["probe"])?.len(), 10);
    let message = rows(&["jiont"]).map(|_| ()).expect_err("no such stage").to_string();
    assert!(message.contains("jiont") && message.contains("`joint`"), "{message}");
    Ok(())
}

#[test]
fn the_effective_recipe_is_the_same_recipe() -> Outcome {
    let over = Overrides { quick: true, sets: vec!["train.lr=0.3".into()] };
    let loaded = Recipe::parse("t", "t.toml", TEXT, &over)?;
    let again = Recipe::parse("t", "again.toml", &loaded.effective, &Overrides::default())?;
    let plan = |r: &Recipe| {
        Plan::new(r, "d", &r.seeds, &[], &mut none).map(|p| p.nodes.into_iter().map(|n| n.key).collect::<Vec<_>>())
    };
    assert_eq!(plan(&loaded.recipe)?, plan(&again.recipe)?);
    Ok(())
}

#[test]
fn shipped_recipes_are_sound_and_say_what_to_expect() -> Outcome {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/recipes");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        for quick in [false, true] {
            let over = Overrides { quick, sets: Vec::new() };
            let recipe = Recipe::parse("r", &path.display().to_string(), &text, &over)?.recipe;
            assert!(!recipe.about.is_empty() && recipe.expect.command.starts_with("cargo xtask reproduce"));
            assert!(!recipe.expect.source.is_empty());
            assert_eq!(quick, recipe.expect.claims.is_empty(), "{}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 3);
    Ok(())
}
