//! R17 and R19: teachers never change, and without its term UMT is the joint run.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use umt_data::{Cache, Loader, LoaderConfig, Split};
use umt_distill::{NetworkTask, ObjectiveConfig};
use umt_fusion::{FusionConfig, Network, NetworkConfig};
use umt_media::Modality::Audio;
use umt_store::{Store, sha256_hex, tensors};

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

/// A method whose values run away is a row that says why; what needs it says that; the others are as without it, and the exit code tells.
#[test]
fn a_table_survives_a_row() -> Outcome {
    let (folder, plain) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let rows = ["teacher.*", "joint", "umt", "probe"];
    let loaded = recipe(&["stage.joint.train.lr=1e30"])?;
    let mut watcher = Watcher::default();
    let report = run(&loaded, &options(folder.path(), &rows), &mut watcher)?;
    assert_eq!(report.failure, Some(3));
    let failed = &report.results.failed;
    let names: Vec<&str> = failed.iter().map(|f| f.stage.as_str()).collect();
    assert_eq!(names, ["joint", "probe.joint.audio", "probe.joint.video"]);
    assert!(failed[0].reason.contains("not finite") && failed[1].reason.contains("needs `joint`"), "{failed:?}");
    let text = std::fs::read_to_string(folder.path().join("tiny/results.md"))?;
    assert!(text.contains("Stages that failed") && text.contains("not finite"), "{text}");
    assert!(std::fs::read_to_string(folder.path().join("tiny/report.html"))?.contains("Stages that failed"));
    assert!(watcher.warnings.iter().any(|text| text.contains("the other stages go on")), "{:?}", watcher.warnings);

    run(&recipe(&[])?, &options(plain.path(), &["umt"]), &mut Watcher::default())?;
    let model = |folder: &Path| -> Result<Vec<u8>, Box<dyn Error>> {
        let stages = std::fs::read_dir(folder.join("tiny/stages"))?.collect::<Result<Vec<_>, _>>()?;
        let own = stages.iter().find(|entry| entry.file_name().to_string_lossy().starts_with("umt.seed1"));
        Ok(std::fs::read(own.ok_or("no stage")?.path().join("model.safetensors"))?)
    };
    assert_eq!(model(folder.path())?, model(plain.path())?);
    // The same command tries the failed ones again, and those alone.
    let again = run(&loaded, &options(folder.path(), &rows), &mut Watcher::default())?;
    assert_eq!((again.ran, again.failure, again.results.failed.len()), (0, Some(3), 3));
    Ok(())
}

/// Built by hand from the rooms' own parts, a fusion of one modality ends in the bytes of the recipe's uni-modal stage.
#[test]
fn a_fusion_of_one_modality_is_the_uni_modal_run() -> Outcome {
    let (by_recipe, by_hand) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let loaded = recipe(&[])?;
    run(&loaded, &options(by_recipe.path(), &["teacher.audio"]), &mut Watcher::default())?;

    let config = &loaded.recipe.data.config;
    let store = Store::open(by_hand.path())?;
    let mut set = umt_data::open("synthetic-av", None, config)?;
    set.split_validation(0, &config.validation)?;
    let cache = Arc::new(Cache::build(&set, config, &store.path("cache"), &mut |_| {}, &store)?);
    let settings = &loaded.recipe.find("teacher.audio").ok_or("no such stage")?.train;
    let loader = |split, train| {
        let config =
            LoaderConfig { batch: settings.batch, seed: 1, train, drop_last: train, ..LoaderConfig::default() };
        Loader::new(Arc::clone(&cache), cache.indices(split), config)
    };
    let encoders = BTreeMap::from([(Audio, loaded.recipe.encoder[&Audio].clone())]);
    let network = NetworkConfig { encoders, head: FusionConfig::Concat.into(), classes: set.classes.len() };
    let objective = ObjectiveConfig::Task.build();
    let mut task = NetworkTask::new(Network::new(&network, 1)?, objective, Vec::new(), 1)?;
    let (stop, dir) = (AtomicUsize::new(0), store.path("stage"));
    let mut env = umt_train::Env {
        stage: "by hand",
        dir: &dir,
        store: &store,
        seed: 1,
        observer: &mut umt_train::Silent,
        stop: &stop,
    };
    let validation = loader(Split::Validation, false)?;
    umt_train::train(&mut task, &loader(Split::Train, true)?, Some(&validation), settings, &mut env)?;
    let network = task.into_network();
    let (ours, counters) = (network.params().to_tensors(), network.params().batch_counters(7));
    let bytes = tensors::write_with_counters(&ours, &counters)?;
    let expected = weights(&by_recipe.path().join("tiny"), "teacher.audio")?;
    assert_eq!(expected.trim_matches('"'), sha256_hex(&bytes));
    Ok(())
}
