//! Recipes explain themselves, and the program knows its name.

use std::error::Error;

use crate::command::xtask;
use crate::tiny::{Outcome, RECIPE};

fn said(arguments: &[&str], folder: &std::path::Path) -> Result<String, Box<dyn Error>> {
    let output = xtask()?.args(arguments).current_dir(folder).output()?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn recipes_are_listed_and_shown_as_they_are_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let list = said(&["recipes"], folder.path())?;
    for word in ["av-digits\n", "time      at most 75 min", "memory    366 MiB", "umt.miou", "umt reproduce nyuv2"] {
        assert!(list.contains(word), "does not say {word}: {list}");
    }
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let shown = said(&["recipes", "show", "av-digits"], folder.path())?;
    let file = std::fs::read_to_string(crate::tidy::root().join("xtask/recipes/av-digits.toml"))?;
    assert_eq!(shown, file);
    Ok(())
}

#[test]
fn a_dry_run_prints_what_each_stage_costs_and_writes_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("tiny.toml"), RECIPE)?;
    let plan = said(&["reproduce", "tiny.toml", "--dry-run", "--seeds", "2", "--threads", "1"], folder.path())?;
    assert!(!folder.path().join("runs").exists());
    for word in ["40 test samples; 2 seed(s)", "MFLOP"] {
        assert!(plan.contains(word), "does not say {word}: {plan}");
    }
    let row = |id: &str| -> Result<Vec<f64>, Box<dyn Error>> {
        let line = plan.lines().find(|line| line.contains(&format!("│ {id} "))).ok_or(format!("no {id}: {plan}"))?;
        Ok(line.split(['┆', '│']).filter_map(|cell| cell.trim().parse().ok()).collect())
    };
    // Parameters, MFLOP, samples a second.
    let (audio, video, joint, umt) = (row("teacher.audio")?, row("teacher.video")?, row("joint")?, row("umt")?);
    assert!((audio[0] + video[0] - joint[0]).abs() < 0.01 && joint[0] == umt[0], "{plan}");
    assert!((audio[1] + video[1] - joint[1]).abs() <= 0.2, "{plan}");
    // Teachers pass forward alone: a third of a step.
    assert!(umt[1] > 1.2 * joint[1] && umt[1] < 1.5 * joint[1], "{plan}");
    assert!(joint[2] > 0.0, "{plan}");
    Ok(())
}

#[test]
fn the_installed_program_completes_and_has_a_man_page() -> Outcome {
    let folder = tempfile::tempdir()?;
    let help = said(&["reproduce", "--help"], folder.path())?;
    assert!(help.contains("umt reproduce av-digits --data DIR") && !help.contains("cargo xtask"), "{help}");
    for (shell, word) in [("bash", "complete -F _umt"), ("zsh", "#compdef umt"), ("fish", "complete -c umt")] {
        let script = said(&["completions", shell], folder.path())?;
        assert!(script.contains(word) && script.contains("reproduce"), "{shell}: {script}");
    }
    assert!(said(&["man"], folder.path())?.contains(".TH umt 1"));
    said(&["man", "--out", "man1"], folder.path())?;
    let page = std::fs::read_to_string(folder.path().join("man1/umt-data-init.1"))?;
    assert!(page.contains("umt data init clips"), "{page}");
    // Through cargo it is called as before.
    let output = xtask()?.args(["data", "init", "--help"]).env("CARGO_PKG_NAME", "xtask").output()?;
    assert!(String::from_utf8_lossy(&output.stdout).contains("cargo xtask data init clips"));
    Ok(())
}
