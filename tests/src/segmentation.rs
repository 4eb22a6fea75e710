//! A class for every pixel, from rooms made by code to figures and pictures.

use serde_json::Value;
use umt_recipe::{Overrides, Recipe, RecipeError};

use crate::tiny::{Outcome, Watcher, options, run};

/// Five rows of networks, their probes, 4 updates each.
pub const RECIPE: &str = r#"about = "segmentation, as small as it gets"
seeds = [1]

[data]
set = "synthetic-rooms"
dense = { size = [32, 32] }
rgb = {}
depth = {}
augment = { scale = [1.0, 1.4], flip = 0.5, hsv = 0.1 }
rooms = { train = 24, test = 6, size = [32, 24] }

[encoder]
rgb = { kind = "resnet18", channels = 3, width = 4, stem = "7x7" }
depth = { kind = "resnet18", channels = 1, width = 4, stem = "7x7" }

[decoder]
widths = [8, 8, 8]
blocks = 1

[train]
steps = 4
batch = 4
lr = 0.02
optimizer = { kind = "sgd", momentum = 0.9 }
schedule = { kind = "one-cycle" }

[[stage]]
id = "teacher.rgb"
task = { kind = "single", modality = "rgb" }

[[stage]]
id = "teacher.depth"
task = { kind = "single", modality = "depth" }

[[stage]]
id = "joint"
task = { kind = "fusion" }

[[stage]]
id = "umt"
task = { kind = "fusion" }
distill = { kind = "feature", weight = 1.0, stages = [0, 1, 2, 3, 4], from = ["teacher.*"] }

[[stage]]
id = "probe"
task = { kind = "linear-probe", of = ["teacher.*", "joint", "umt"], probe = { l2 = [1e-2] } }
"#;

pub fn parse(text: &str) -> Result<umt_recipe::Loaded, RecipeError> {
    Recipe::parse("rooms", "rooms.toml", text, &Overrides::default())
}

#[test]
fn every_row_has_its_figures_and_a_second_call_does_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let loaded = parse(RECIPE)?;
    run(&loaded, &options(folder.path(), &[]), &mut Watcher::default())?;
    let out = folder.path().join("rooms");
    let results: Value = serde_json::from_slice(&std::fs::read(out.join("results.json"))?)?;
    let rows = results["rows"].as_array().ok_or("no rows")?;
    let stages = ["teacher.rgb", "teacher.depth", "joint", "umt", "probe.teacher.rgb", "probe.umt.depth"];
    for stage in stages {
        for metric in ["miou", "pixel-accuracy", "mean-accuracy"] {
            let of = |r: &&Value| r["stage"] == stage && r["metric"] == metric && r["split"] == "test";
            let value = rows.iter().find(of).and_then(|row| row["value"].as_f64());
            assert!(value.is_some_and(|v| (0.0..=1.0).contains(&v)), "{stage} {metric}: {value:?}");
        }
    }
    // As published, depth flows into the RGB encoder: its probe is given twice.
    let alone = rows.iter().filter(|r| r["stage"] == "probe.umt.rgb" && r["given"] == serde_json::json!(["rgb"]));
    assert_eq!(alone.count(), 3);
    for file in ["scenes.svg", "classes.svg", "probes.svg", "confusion.umt.svg"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let digest = results["digest"].as_str().ok_or("no digest")?.to_owned();
    // Differences are of mean IoU, over images.
    let paired = results["paired"].as_array().ok_or("no pairs")?;
    let named = |a: &str, b: &str| paired.iter().find(|p| p["a"] == a && p["b"] == b);
    for (a, b) in [
        ("umt", "joint"),
        ("probe.umt.rgb", "probe.joint.rgb"),
        ("probe.umt.depth", "probe.joint.depth"),
        ("probe.joint.depth", "probe.teacher.depth"),
    ] {
        let pair = named(a, b).ok_or(format!("no {a} - {b}"))?;
        let number = |key: &str| pair[key].as_f64().unwrap_or(f64::NAN);
        let of =
            |stage: &str| rows.iter().find(|r| r["stage"] == stage && r["metric"] == "miou" && r["split"] == "test");
        let value = |stage: &str| of(stage).and_then(|row| row["value"].as_f64()).unwrap_or(f64::NAN);
        assert!((number("mean") - (value(a) - value(b))).abs() < 1e-12, "{pair}");
        assert!(number("low") <= number("high") && pair["metric"] == "miou" && pair["n"] == 6, "{pair}");
    }
    let report = std::fs::read_to_string(out.join("results.md"))?;
    assert!(report.contains("| umt − joint") && report.contains("| mIoU %"), "{report}");
    // The page holds every number and plot, and asks nothing of any network.
    let page = std::fs::read_to_string(out.join("report.html"))?;
    for part in ["umt − joint", "Segmentation", "data:image/png", "recipe as run", &digest] {
        assert!(page.contains(part), "{part}");
    }
    let addresses = page.matches("http").count() - page.matches("xmlns=\"http").count();
    assert_eq!(addresses - page.matches("http-equiv").count(), 0);
    let again = run(&loaded, &options(folder.path(), &[]), &mut Watcher::default())?;
    assert_eq!(again.ran, 0);
    Ok(())
}

#[test]
fn recipes_that_cannot_be_are_refused_with_the_reason() {
    let refused = |from: &str, to: &str| {
        assert!(RECIPE.contains(from), "{from}");
        parse(&RECIPE.replacen(from, to, 1)).map(|_| ()).expect_err(to).to_string()
    };
    let error = refused(", from = [\"teacher.*\"]", "");
    assert!(error.contains("`from` names no stage"), "{error}");
    let error = refused("from = [\"teacher.*\"]", "from = [\"teacher.rgb\"]");
    assert!(error.contains("no teacher of `depth`"), "{error}");
    let error = refused("task = { kind = \"fusion\" }", "task = { kind = \"fusion\", fusion = { kind = \"sum\" } }");
    assert!(error.contains("the decoder joins the maps"), "{error}");
    let error = refused("task = { kind = \"fusion\" }", "task = { kind = \"segmentation\" }");
    assert!(error.contains("is now `single`") && error.contains("rooms.toml:"), "{error}");
    let error = refused("kind = \"feature\", weight = 1.0, stages = [0, 1, 2, 3, 4]", "kind = \"pmr\"");
    assert!(error.contains("no teachers"), "{error}");
    let pmr = "distill = { kind = \"pmr\" }\n";
    let error = refused(
        "distill = { kind = \"feature\", weight = 1.0, stages = [0, 1, 2, 3, 4], from = [\"teacher.*\"] }\n",
        pmr,
    );
    assert!(error.contains("`pmr` has no meaning where each pixel has a class"), "{error}");
    let error = refused("[train]", "[loss]\nlabel-smoothing = 1.5\n\n[train]");
    assert!(error.contains("label-smoothing"), "{error}");
    let error = refused("stem = \"7x7\" }\ndepth", "stem = \"3x3\" }\ndepth");
    assert!(error.contains("stem"), "{error}");
}
