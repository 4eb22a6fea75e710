//! What a result was made of: every file that is read is compared with a record as it is read, and what was read is known.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tiny::{AtomicFlag, Outcome, Watcher, options, outputs, recipe, run};
use umt_report::{DiagnoseOptions, diagnose};
use umt_run::{Now, Opened, Record, Watch};
use umt_store::{Digest, Store, read_json, tensors};

/// The folder of a stage.
fn stage(out: &Path, id: &str) -> Result<PathBuf, Box<dyn Error>> {
    let mut folders = fs::read_dir(out.join("tiny/stages"))?.filter_map(Result::ok).map(|entry| entry.path());
    let own = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{id}.seed")));
    Ok(folders.find(own).ok_or(format!("no stage {id}"))?)
}

/// Changes one bit in the middle of a file.
fn flip(path: &Path) -> std::io::Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(path, bytes)
}

/// Damages a file of a stage as soon as the stage is finished.
struct Saboteur<'a> {
    out: &'a Path,
    stage: &'a str,
    file: &'a str,
}

impl Watch for Saboteur<'_> {
    fn on_finish(&mut self, now: Now<'_>, _: &Record, _: bool) {
        if now.stage == self.stage {
            stage(self.out, self.stage).and_then(|dir| Ok(flip(&dir.join(self.file))?)).expect("a file to damage");
        }
    }
}

// Between its end and its being read a parent may change on the disk. Nothing is made of what it did not write, and
// nothing that was made of it before is lost.
#[test]
fn a_parent_that_changed_since_is_noticed_as_it_is_read() -> Outcome {
    let loaded = recipe(&[])?;
    let straight = tempfile::tempdir()?;
    run(&loaded, &options(straight.path(), &[]), &mut Watcher::default())?;
    let expected = outputs(&straight.path().join("tiny"))?;
    let cases = [
        ("teacher.audio", "model.safetensors", "umt"),
        ("teacher.video", "predictions.test.safetensors", "ume"),
        ("joint", "features.train.safetensors", "probe.joint.audio"),
    ];
    for (damaged, file, reader) in cases {
        let out = tempfile::tempdir()?;
        let options = options(out.path(), &[]);
        let mut saboteur = Saboteur { out: out.path(), stage: damaged, file };
        let error = umt_run::run(&loaded, &options, &mut saboteur, &AtomicFlag::default()).map(drop);
        let error = error.expect_err("a damaged parent was believed");
        let text = error.to_string();
        assert!(error.exit_code() == 4 && text.contains(file) && text.contains(damaged), "{text}");
        assert!(!stage(out.path(), reader).is_ok_and(|dir| dir.join("result.json").exists()), "{reader} is finished");
        let mut watcher = Watcher::default();
        run(&loaded, &options, &mut watcher)?;
        assert!(watcher.warnings.iter().any(|w| w.contains(damaged) && w.contains(file)), "{:?}", watcher.warnings);
        assert_eq!(outputs(&out.path().join("tiny"))?, expected, "{damaged} {file}");
    }
    Ok(())
}

// What a stage read of another is part of its record: a repetition that ends differently repeats the readers, and only them.
#[test]
fn a_parent_that_ends_differently_repeats_its_readers() -> Outcome {
    let loaded = recipe(&[])?;
    let out = tempfile::tempdir()?;
    run(&loaded, &options(out.path(), &[]), &mut Watcher::default())?;
    let (dir, child) = (stage(out.path(), "teacher.audio")?, stage(out.path(), "umt")?);
    let mut record: Record = read_json(&dir.join("result.json"))?;
    let reader: Record = read_json(&child.join("result.json"))?;
    let read = BTreeMap::from([("model.safetensors".to_owned(), record.files["model.safetensors"].sha256.clone())]);
    assert_eq!(reader.parents[&record.key], read);
    // The teacher as if it had been trained elsewhere: other weights, the same predictions.
    let mut weights = tensors::read(&fs::read(dir.join("model.safetensors"))?)?;
    weights.values_mut().for_each(|(_, values)| values.iter_mut().for_each(|value| *value *= 1.25));
    let bytes = tensors::write(&weights)?;
    fs::write(dir.join("model.safetensors"), &bytes)?;
    record.files.insert("model.safetensors".into(), Digest::of(&bytes));
    record.commit(&Store::shared(&out.path().join("tiny"))?, &dir)?;
    let mut watcher = Watcher::default();
    run(&loaded, &options(out.path(), &[]), &mut watcher)?;
    assert_eq!(watcher.ran, ["umt", "probe.umt.audio", "probe.umt.video"], "{:?}", watcher.warnings);
    Ok(())
}

// `eval` and `diagnose` believe nothing that no record vouches for.
#[test]
fn a_changed_recipe_or_result_is_never_believed() -> Outcome {
    let loaded = recipe(&[])?;
    let out = tempfile::tempdir()?;
    run(&loaded, &options(out.path(), &["joint"]), &mut Watcher::default())?;
    let folder = out.path().join("tiny");
    let mut flips = 0;
    for name in ["recipe.toml", "results.json", "run.json"] {
        let path = folder.join(name);
        let bytes = fs::read(&path)?;
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= [1, 4, 0x40][at % 3];
            fs::write(&path, damaged)?;
            let error = Opened::open(&folder).map(drop).expect_err(&format!("byte {at} of {name}"));
            assert_eq!(error.exit_code(), 4, "byte {at} of {name}: {error}");
            flips += 1;
        }
        fs::write(&path, &bytes)?;
    }
    assert!(flips > 500, "{flips}");
    Opened::open(&folder)?;
    // What the faults were seen with: a metric in results.json, a setting in recipe.toml.
    let results = fs::read_to_string(folder.join("results.json"))?;
    fs::write(folder.join("results.json"), results.replacen("\"value\": 0.", "\"value\": 0.9", 1))?;
    let asked = DiagnoseOptions { run: folder.clone(), only: Vec::new(), margin: 0.02 };
    let error = diagnose(&asked).map(drop).expect_err("a changed metric");
    assert!(error.exit_code() == 4 && error.to_string().contains("results.json"), "{error}");
    // The same command writes it again.
    run(&loaded, &options(out.path(), &["joint"]), &mut Watcher::default())?;
    assert_eq!(fs::read_to_string(folder.join("results.json"))?, results);
    // A stage that is no folder is not taken for one that was never begun.
    let dir = stage(out.path(), "joint")?;
    fs::remove_dir_all(&dir)?;
    fs::write(&dir, "")?;
    assert_eq!(Opened::open(&folder).map(drop).expect_err("not a folder").exit_code(), 5);
    Ok(())
}

// Equal runs, wherever and in however many pieces they ran, have the same digest; others another.
#[test]
fn the_digest_of_a_run_is_that_of_equal_runs() -> Outcome {
    let loaded = recipe(&[])?;
    let digest = |loaded: &umt_recipe::Loaded, stop: Option<usize>| -> Result<String, Box<dyn Error>> {
        let out = tempfile::tempdir()?;
        let mut watcher = Watcher { stop_after: stop, ..Watcher::default() };
        let report = match run(loaded, &options(out.path(), &["umt"]), &mut watcher) {
            Err(_) if stop.is_some() => run(loaded, &options(out.path(), &["umt"]), &mut Watcher::default())?,
            report => report?,
        };
        let stored: serde_json::Value = read_json(&out.path().join("tiny/results.json"))?;
        assert_eq!(stored["digest"], report.results.digest);
        Ok(report.results.digest)
    };
    let straight = digest(&loaded, None)?;
    assert_eq!(straight.len(), 64);
    assert_eq!(digest(&loaded, Some(10))?, straight);
    assert_ne!(digest(&recipe(&["train.lr=0.03"])?, None)?, straight);
    Ok(())
}
