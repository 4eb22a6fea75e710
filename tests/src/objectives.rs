//! R1 for every objective of the list, from a recipe: it trains, and stopped in its middle it ends in the same bytes.

use serde_json::Value;
use umt_distill::{GBlend, ObjectiveConfig};
use umt_recipe::{Loaded, Overrides, Recipe};

use crate::tiny::{Outcome, RECIPE, Watcher, options, outputs, run};

/// A value as TOML writes it within a line.
fn inline(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Object(map) => {
            format!("{{ {} }}", list(map.iter().map(|(k, v)| format!("{k} = {}", inline(v))).collect()))
        }
        Value::Array(array) => format!("[{}]", list(array.iter().map(inline).collect())),
        other => other.to_string(),
    }
}

/// The tiny recipe with a stage for every objective, by its defaults, and one that gradient blending is measured by.
fn recipe() -> Result<Loaded, Box<dyn std::error::Error>> {
    let mut text = RECIPE.replace("steps = 7", "steps = 8");
    let mut stages: Vec<(String, ObjectiveConfig, &str)> = Vec::new();
    for (name, config) in ObjectiveConfig::examples() {
        let from = if config.build().needs().any() { r#"["teacher.*"]"# } else { "" };
        stages.push((name.to_owned(), config, from));
    }
    let measured = ObjectiveConfig::GBlend(GBlend::default());
    stages.push(("g-blend.measured".into(), measured, r#"["teacher.*", "joint"]"#));
    for (id, config, from) in stages {
        let mut objective = serde_json::to_value(&config)?;
        if !from.is_empty() {
            objective["from"] = serde_json::from_str(from)?;
        }
        let task = r#"{ kind = "fusion", fusion = { kind = "concat" } }"#;
        text += &format!("\n[[stage]]\nid = \"by.{id}\"\ntask = {task}\nobjective = {}\n", inline(&objective));
    }
    Ok(Recipe::parse("tiny", "tiny.toml", &text, &Overrides::default())?)
}

#[test]
fn every_objective_trains_from_a_recipe_and_resumes() -> Outcome {
    let loaded = recipe()?;
    let (straight, stopped) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let rows: Vec<String> =
        loaded.recipe.stage.iter().map(|s| s.id.clone()).filter(|id| id.starts_with("by.")).collect();
    assert_eq!(rows.len(), ObjectiveConfig::examples().len() + 1);
    let report = run(&loaded, &options(straight.path(), &["by.*"]), &mut Watcher::default())?;
    for row in &rows {
        let top1 = report.results.summary_of(row, "test", "top1").ok_or(format!("no figure for {row}"))?;
        assert!(top1.mean.is_finite());
    }
    // A method that changes nothing would have the baseline's very weights.
    let all = outputs(&straight.path().join("tiny"))?;
    let model = |row: &str| all[&format!("{row} seed 1")]["model.safetensors"].clone();
    for row in rows.iter().filter(|row| *row != "by.task") {
        assert_ne!(model(row), model("by.task"), "{row}");
    }
    assert_eq!(model("by.task"), model("joint"));

    for call in 0.. {
        let mut watcher = Watcher { stop_after: Some(5), ..Watcher::default() };
        match run(&loaded, &options(stopped.path(), &["by.*"]), &mut watcher) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.exit_code(), 143, "{error}"),
        }
        assert!(call < 200, "no progress after {call} calls");
    }
    assert_eq!(outputs(&stopped.path().join("tiny"))?, all);
    Ok(())
}
