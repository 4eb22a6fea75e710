//! R9: what is finished is reused, and only what depends on a change runs again.

use crate::tiny::{Outcome, Watcher, options, outputs, recipe, run};
use umt_data::Split;
use umt_run::{EvalOptions, Unwatched, evaluate};

#[test]
fn a_second_call_does_nothing_and_says_the_same() -> Outcome {
    let folder = tempfile::tempdir()?;
    let loaded = recipe(&[])?;
    let first = run(&loaded, &options(folder.path(), &[]), &mut Watcher::default())?;
    let table = std::fs::read(folder.path().join("tiny/results.json"))?;
    let before = outputs(&folder.path().join("tiny"))?;
    let mut watcher = Watcher::default();
    let second = run(&loaded, &options(folder.path(), &[]), &mut watcher)?;
    assert_eq!((watcher.steps, second.ran, first.text), (0, 0, second.text));
    assert_eq!(std::fs::read(folder.path().join("tiny/results.json"))?, table);

    // A damaged file: its stage runs again, ends in the same bytes, so nothing else need run.
    let damaged = find(folder.path(), "joint.", "model.safetensors")?;
    let mut bytes = std::fs::read(&damaged)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes)?;
    let mut watcher = Watcher::default();
    run(&loaded, &options(folder.path(), &[]), &mut watcher)?;
    assert_eq!((watcher.ran.join(" "), watcher.steps), ("joint".to_string(), 7));
    assert!(watcher.warnings[0].contains("model.safetensors"), "{:?}", watcher.warnings);
    assert_eq!(outputs(&folder.path().join("tiny"))?, before);

    // One setting of one stage: that stage and its probes.
    let mut watcher = Watcher::default();
    let changed = recipe(&["stage.umt.distill.weight=5.0"])?;
    run(&changed, &options(folder.path(), &[]), &mut watcher)?;
    assert_eq!(watcher.ran, ["umt", "probe.umt.audio", "probe.umt.video"]);

    // R18: looking at a finished run changes nothing of it. The other weight of UMT has a folder of its own.
    let before = outputs(&folder.path().join("tiny"))?;
    let eval = EvalOptions {
        run: folder.path().join("tiny"),
        data: None,
        dataset: None,
        split: Split::Validation,
        only: Vec::new(),
        device: umt_nn::Device::Cpu,
    };
    evaluate(&eval, &mut Unwatched, &Default::default())?;
    assert_eq!(outputs(&folder.path().join("tiny"))?, before);
    Ok(())
}

fn find(out: &std::path::Path, stage: &str, file: &str) -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    let mut folders = std::fs::read_dir(out.join("tiny/stages"))?.filter_map(Result::ok).map(|entry| entry.path());
    let folder = folders.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stage)));
    Ok(folder.ok_or(format!("no stage {stage}"))?.join(file))
}
