//! `predict`: what networks of a finished run say of files, from the command line.

use std::path::Path;

use serde_json::Value;
use umt_data::Split;
use umt_eval::Predictions;

use crate::command::xtask;
use crate::own_data::own_data;
use crate::tiny::{Outcome, Watcher, options, recipe, run};

fn call(arguments: &[&str]) -> Result<(i32, String, String), Box<dyn std::error::Error>> {
    let output = xtask()?.args(arguments).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

fn stored(folder: &Path, stage: &str) -> Result<Predictions, Box<dyn std::error::Error>> {
    let stages = std::fs::read_dir(folder.join("stages"))?.collect::<Result<Vec<_>, _>>()?;
    let own = stages.iter().find(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{stage}.seed1")));
    let file = own.ok_or("no stage")?.path().join(umt_run::folder::predictions_file(Split::Test));
    Ok(Predictions::from_bytes(&std::fs::read(file)?)?)
}

#[test]
fn files_are_predicted_as_the_test_split_was() -> Outcome {
    let (data, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let list = own_data(data.path())?;
    let mut options = options(out.path(), &["joint", "teacher.audio"]);
    (options.data, options.dataset) = (Some(list.clone()), Some("manifest".to_string()));
    let report = run(&recipe(&[])?, &options, &mut Watcher::default())?;
    let folder = report.folder.display().to_string();

    // The whole list, samples of train among them: those of test have the probabilities of the stored logits.
    let (code, json, errors) = call(&[
        "predict",
        "--model",
        &folder,
        "--only",
        "joint,teacher.audio",
        "--format",
        "json",
        &list.display().to_string(),
    ])?;
    assert_eq!(code, 0, "{errors}");
    let found: Value = serde_json::from_str(&json)?;
    let rows = found["predictions"].as_array().ok_or("no predictions")?;
    assert_eq!(rows.len(), 2 * 48);
    for stage in ["joint", "teacher.audio"] {
        let stored = stored(&report.folder, stage)?;
        for (id, logits) in stored.ids().iter().zip(stored.logits().chunks_exact(2)) {
            let row = rows.iter().find(|r| r["input"] == **id && r["stage"] == stage).ok_or("no row")?;
            // Classes are in alphabetical order: high, low.
            let high = 1.0 / (1.0 + f64::from(logits[1] - logits[0]).exp());
            let said = row["probabilities"]["high"].as_f64().unwrap_or(f64::NAN);
            assert!((said - high).abs() < 1e-4, "{id} of {stage}: {said} for {high}");
            let class = row["class"].as_str().ok_or("no class")?;
            let own = row["probabilities"][class].as_f64().unwrap_or(f64::NAN);
            let shares: f64 = row["shares"].as_object().ok_or("no shares")?.values().filter_map(Value::as_f64).sum();
            assert!((shares - (own - 0.5)).abs() < 1e-6, "{row}");
        }
    }

    // Audio alone, a folder of frames is no file; a file that cannot be read is named, and the others are predicted.
    std::fs::write(data.path().join("broken.wav"), b"RIFF and then nothing")?;
    let (good, bad) = (data.path().join("40.wav"), data.path().join("broken.wav"));
    let (code, table, errors) =
        call(&["predict", "--model", &folder, &good.display().to_string(), &bad.display().to_string()])?;
    assert_eq!(code, 6, "{errors}");
    assert!(table.contains("40.wav") && table.contains("audio") && !table.contains("broken.wav"), "{table}");
    assert!(errors.contains("broken.wav"), "{errors}");
    let (code, csv, errors) = call(&["predict", "--model", &folder, "--format", "csv", &good.display().to_string()])?;
    assert!(
        code == 0 && csv.lines().count() == 1 + 2 && csv.starts_with("input,stage,seed,given,class,value"),
        "{csv}{errors}"
    );
    for (arguments, word) in [
        (vec!["nowhere.wav"], "no such file"),
        (vec![], "nothing to predict"),
        (vec!["--only", "nobody", "40.wav"], "40.wav: no such file"),
    ] {
        let (code, _, errors) = call(&[vec!["predict", "--model", &folder], arguments].concat())?;
        assert!(code == 2 && errors.contains(word), "{code}: {errors}");
    }
    let (code, _, errors) = call(&["predict", "--model", &folder, "--only", "nobody", &good.display().to_string()])?;
    assert!(code == 2 && errors.contains("networks of the run: `teacher.audio`"), "{errors}");
    Ok(())
}
