//! `export`: what leaves the project comes back as what it was.

use std::path::Path;

use serde_json::Value;
use umt_store::tensors;

use crate::command::xtask;
use crate::pretrained::record;
use crate::tiny::{Outcome, Watcher, options, recipe, run};

fn exported(run: &Path, stage: &str, more: &[&str], out: &Path) -> Result<(i32, String), Box<dyn std::error::Error>> {
    let (run, out) = (run.display().to_string(), out.display().to_string());
    let output = xtask()?.args([&["export", &run, stage, "--out", &out], more].concat()).output()?;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn an_exported_network_is_read_back_as_it_was() -> Outcome {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let report = run(&recipe(&[])?, &options(first.path(), &["umt", "joint"]), &mut Watcher::default())?;
    let folder = |name: &str| second.path().join(name);
    for (stage, more, name) in
        [("teacher.video", &[][..], "teacher"), ("umt", &[], "student"), ("joint", &["--encoder", "audio"], "encoder")]
    {
        let (code, said) = exported(&report.folder, stage, more, &folder(name))?;
        assert_eq!(code, 0, "{said}");
    }
    // Torchvision's names, of a classifier and of an encoder.
    let read = |name: &str| -> Result<_, Box<dyn std::error::Error>> {
        Ok(tensors::read(&std::fs::read(folder(name).join("model.safetensors"))?)?)
    };
    let (teacher, encoder) = (read("teacher")?, read("encoder")?);
    assert!(teacher.contains_key("conv1.weight") && teacher.contains_key("fc.weight"));
    assert!(encoder.contains_key("layer4.1.bn2.running_var") && !encoder.keys().any(|name| name.contains("audio")));
    assert!(!encoder.contains_key("fc.weight"));
    let config: Value = serde_json::from_slice(&std::fs::read(folder("teacher").join("config.json"))?)?;
    assert_eq!(config["task"], "classification");
    assert!(config["inputs"]["video"]["settings"]["crop"].is_array() && config["labels"].is_array());
    let card = std::fs::read_to_string(folder("student").join("README.md"))?;
    assert!(card.contains("| test | top1 |") && card.contains("Licence"), "{card}");

    // Given back to a recipe, the networks have the same metrics, and nothing is trained.
    let file = |name: &str| folder(name).join("model.safetensors").display().to_string();
    let given = |stage: &str, name: &str| format!("stage.{stage}.weights=\"{}\"", file(name));
    let pretrained = format!("encoder.audio.pretrained=\"{}\"", file("encoder"));
    let back = recipe(&[&given("teacher.video", "teacher"), &given("joint", "student"), &pretrained])?;
    let out = tempfile::tempdir()?;
    let mut watcher = Watcher::default();
    let again = run(&back, &options(out.path(), &["teacher.video", "joint", "teacher.audio"]), &mut watcher)?;
    assert_eq!(watcher.steps, 7, "teacher.audio alone, which begins with the exported encoder");
    for (here, there) in [("teacher.video", "teacher.video"), ("joint", "umt")] {
        assert_eq!(record(&again.folder, here)?["figures"], record(&report.folder, there)?["figures"], "{here}");
    }
    assert!(record(&again.folder, "teacher.audio")?["note"].to_string().contains("audio began as"));

    for (stage, more, word) in [
        ("nobody", &[][..], "no finished network of the run"),
        ("umt", &["--seed", "9"], "no such seed; there are `1`"),
        ("teacher.video", &["--encoder", "audio"], "no encoder of audio; there are `video`"),
    ] {
        let (code, said) = exported(&report.folder, stage, more, &folder("refused"))?;
        assert!(code == 2 && said.contains(word), "{code}: {said}");
    }
    assert!(!folder("refused").exists());
    Ok(())
}
