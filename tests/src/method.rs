//! R17 and R19: teachers never change, and without its term UMT is the joint run.

use crate::tiny::{Outcome, Watcher, options, outputs, recipe, run, weights};

#[test]
fn teachers_stay_and_lambda_zero_is_the_joint_run() -> Outcome {
    let folder = tempfile::tempdir()?;
    let tiny = folder.path().join("tiny");
    let loaded = recipe(&["stage.umt.distill.weight=0.0"])?;
    let only = ["teacher.audio", "teacher.video", "joint"];
    run(&loaded, &options(folder.path(), &only), &mut Watcher::default())?;
    let before = outputs(&tiny)?;
    run(&loaded, &options(folder.path(), &["umt"]), &mut Watcher::default())?;
    let mut after = outputs(&tiny)?;
    let umt = after.remove("umt seed 1").ok_or("no UMT")?;
    assert_eq!(after, before, "training UMT changed a finished stage");
    assert_eq!(umt.get("model.safetensors"), Some(&weights(&tiny, "joint")?));

    // The term does something when it has a weight.
    let weighted = recipe(&[])?;
    let other = tempfile::tempdir()?;
    run(&weighted, &options(other.path(), &["umt"]), &mut Watcher::default())?;
    assert_ne!(weights(&other.path().join("tiny"), "umt")?, weights(&tiny, "joint")?);
    assert_eq!(weights(&other.path().join("tiny"), "teacher.audio")?, weights(&tiny, "teacher.audio")?);
    Ok(())
}

#[test]
fn a_value_that_is_not_finite_stops_the_run_and_is_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let loaded = recipe(&["train.lr=1e30"])?;
    let error = run(&loaded, &options(folder.path(), &["teacher.audio"]), &mut Watcher::default())
        .map(|_| ())
        .expect_err("no network survives such steps");
    assert_eq!(error.exit_code(), 3, "{error}");
    let text = error.to_string();
    assert!(["teacher.audio", "step", "not finite"].iter().all(|word| text.contains(word)), "{text}");
    assert!(!folder.path().join("tiny/results.json").exists());
    Ok(())
}
