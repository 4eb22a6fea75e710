//! What a run tells while it goes on: plain lines, events, a state for other terminals, files for TensorBoard.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::xtask;
use crate::tiny::{Outcome, RECIPE};

fn command(folder: &Path, words: &str) -> Result<Command, Box<dyn Error>> {
    let mut command = xtask()?;
    command.args(words.split(' ')).current_dir(folder);
    Ok(command)
}

fn ran(folder: &Path, words: &str) -> Result<(Option<i32>, String, String), Box<dyn Error>> {
    let output = command(folder, words)?.output()?;
    let [said, told] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.code(), said, told))
}

#[test]
fn a_run_tells_people_and_programs_how_it_goes() -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("tiny.toml"), RECIPE.replace("steps = 7", "epochs = 3"))?;
    let run = "reproduce tiny.toml --threads 1 --only umt";
    let (code, said, told) = ran(folder.path(), &format!("{run} --seeds 2"))?;
    assert_eq!(code, Some(0), "{told}");
    // The seeds that were meant, a line for each epoch, the time for all that is left; nothing for terminals alone.
    assert!(told.contains("2 seeds (1, 2), 6 stages"), "{told}");
    let epochs: Vec<&str> = told.lines().filter(|line| line.contains(": epoch ")).collect();
    assert_eq!(epochs.len(), 18, "{told}");
    assert!(epochs[0].starts_with("[1/6] teacher.audio seed 1: epoch 1/3, loss "), "{}", epochs[0]);
    assert!(epochs.iter().skip(9).all(|line| line.contains("left for all")), "{told}");
    assert!(!told.contains('\x1b') && !said.contains('\x1b'), "{told}");
    assert!(said.lines().all(|line| line.chars().count() <= 80 || !line.contains(['│', '─'])), "{said}");

    // Quiet: results and nothing else. Verbose: what was reused.
    let (code, quiet, told) = ran(folder.path(), &format!("{run} --seeds 1,2 --quiet"))?;
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(quiet.contains("Stages on test"), "{quiet}");
    let (_, _, told) = ran(folder.path(), &format!("{run} --seeds 2 -v"))?;
    assert!(told.contains("reused"), "{told}");

    // Events: every line is one, and the last holds the results.
    let (code, said, _) = ran(folder.path(), &format!("{run} --seeds 3, --json"))?;
    assert_eq!(code, Some(0));
    let events: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!((kinds.len(), kinds[0], kinds.last()), (events.len(), "plan", Some(&"results")), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "epoch").count(), 9, "{kinds:?}");
    let epoch = events.iter().find(|event| event["event"] == "epoch").ok_or("no epoch")?;
    assert!(epoch["loss"].is_number() && epoch["validation"]["top1"].is_number() && epoch["seed"] == 3, "{epoch}");

    // The state of the finished run, and event files for each stage; `tests/peers/tensorboard_reads.py` reads them with
    // TensorBoard.
    let (code, said, _) = ran(folder.path(), "status --json")?;
    let status: Value = serde_json::from_str(&said)?;
    assert_eq!((code, &status["state"], &status["finished"]), (Some(0), &"finished".into(), &3.into()), "{said}");
    let boards = std::fs::read_dir(folder.path().join("runs/tiny/tensorboard"))?.filter_map(Result::ok);
    let files: Vec<_> = boards.map(|entry| entry.path().join("events.out.tfevents.umt")).collect();
    assert_eq!(files.len(), 9);
    for file in files {
        // A header, and a record for each epoch.
        let bytes = std::fs::read(&file)?;
        let (mut at, mut records) = (0, 0);
        while let Some(length) = bytes.get(at..at + 8) {
            at += 16 + usize::try_from(u64::from_le_bytes(length.try_into()?))?;
            records += 1;
        }
        assert_eq!((at, records), (bytes.len(), 4), "{}", file.display());
    }
    // A number alone is how many, and a year is no number of seeds.
    let (code, _, told) = ran(folder.path(), &format!("{run} --seeds 2024"))?;
    assert!(code == Some(2) && told.contains("`2024,`"), "{told}");
    Ok(())
}

#[test]
fn another_terminal_may_ask_where_a_run_is() -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("tiny.toml"), RECIPE.replace("steps = 7", "steps = 4000"))?;
    let run = "reproduce tiny.toml --threads 1 --only joint";
    let mut child = command(folder.path(), run)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = || ran(folder.path(), "status runs/tiny");
    // What it says of a process that has begun to take steps.
    let at_work = |process: u32| -> Result<String, Box<dyn Error>> {
        let begun = Instant::now();
        let mut text = String::new();
        while begun.elapsed() < Duration::from_secs(120) {
            let (code, said, _) = status()?;
            text = said;
            let json: Value =
                serde_json::from_str(&ran(folder.path(), "status runs/tiny --json")?.1).unwrap_or_default();
            if code == Some(0) && text.contains(" of 4000") && json["process"] == process {
                return Ok(text);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(format!("no steps: {text}").into())
    };
    let signal = |name: &str, process: u32| -> Outcome {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status()?;
        assert!(kill.success());
        Ok(())
    };
    let text = at_work(child.id())?;
    assert!(text.contains("running, 0 of 1 stages") && text.contains("joint seed 1: step "), "{text}");
    // Killed, it could not say so.
    child.kill()?;
    child.wait()?;
    let (code, text, _) = status()?;
    assert!(code == Some(1) && text.contains("killed"), "{text}");
    // Stopped, it does, and the same command goes on and says where.
    let mut again = command(folder.path(), run)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    at_work(again.id())?;
    signal("TERM", again.id())?;
    again.wait()?;
    let (code, text, _) = status()?;
    assert!(code == Some(1) && text.contains("stopped"), "{text}");
    let other = command(folder.path(), run)?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    at_work(other.id())?;
    signal("INT", other.id())?;
    let told = String::from_utf8_lossy(&other.wait_with_output()?.stderr).into_owned();
    assert!(told.contains("joint seed 1 goes on after step "), "{told}");
    Ok(())
}
