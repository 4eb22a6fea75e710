//! R2 and R3: a run that dies at any moment, or at any operation on a file, ends in the same bytes.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use crate::command::{full, xtask};
use crate::faults::{Fault, FaultyFiles};
use crate::tiny::{AtomicFlag, Outcome, RECIPE, Watcher, leftovers, options, outputs, recipe, run};
use umt_run::run_in;
use umt_store::Store;

/// `reproduce` of the tiny recipe in a process of its own.
fn reproduce(file: &Path, out: &Path) -> Result<Command, Box<dyn Error>> {
    let mut command = xtask()?;
    command.arg("reproduce").arg(file).args(["--threads", "1", "--out"]).arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

#[test]
fn killed_at_any_moment_it_ends_in_the_same_bytes() -> Outcome {
    let (straight, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = straight.path().join("tiny.toml");
    std::fs::write(&file, RECIPE)?;
    // Built before it is timed.
    let mut first = reproduce(&file, straight.path())?;
    let begun = Instant::now();
    assert!(first.status()?.success());
    let whole = begun.elapsed();
    let expected = outputs(&straight.path().join("tiny"))?;
    let (wanted, mut kills, mut runs) = (if full() { 200 } else { 10 }, 0, 0);
    while kills < wanted {
        // From the start again, so that every stage is met; never so soon that nothing comes to its end.
        let mut child = reproduce(&file, killed.path())?.spawn()?;
        let share = umt_random::stream(1, "kills", 0, kills).uniform_f64();
        std::thread::sleep(whole.mul_f64(0.02 + 0.7 * share));
        match child.try_wait()? {
            Some(status) => {
                assert!(status.success(), "{status}");
                assert_eq!(outputs(&killed.path().join("tiny"))?, expected, "after {kills} kills");
                assert_eq!(leftovers(killed.path()), Vec::<String>::new());
                std::fs::remove_dir_all(killed.path().join("tiny"))?;
                runs += 1;
            }
            None => {
                child.kill()?;
                child.wait()?;
                kills += 1;
            }
        }
    }
    assert!(reproduce(&file, killed.path())?.status()?.success());
    assert_eq!(outputs(&killed.path().join("tiny"))?, expected);
    assert_eq!(leftovers(killed.path()), Vec::<String>::new());
    println!("{kills} kills over {} runs, the same bytes", runs + 1);
    Ok(())
}

// The first, second, ... operation on a file fails and all after it, and what was never flushed is lost: as when the power
// goes. In the fast tier some of them.
#[test]
fn a_run_that_loses_power_at_any_operation_ends_in_the_same_bytes() -> Outcome {
    let loaded = recipe(&["train.checkpoint-every=3"])?;
    let chosen = ["joint", "ume"];
    let straight = tempfile::tempdir()?;
    run(&loaded, &options(straight.path(), &chosen), &mut Watcher::default())?;
    let expected = outputs(&straight.path().join("tiny"))?;
    let (step, mut at, mut crashes) = (if full() { 2 } else { 37 }, 1, 0);
    loop {
        let out = tempfile::tempdir()?;
        let options = options(out.path(), &chosen);
        let files = FaultyFiles::new(Fault::Crash, at);
        let flag = AtomicFlag::default();
        let crashed = Store::with_files(&out.path().join("tiny"), Arc::new(files.clone()))
            .map_err(umt_run::RunError::from)
            .and_then(|store| run_in(store, &loaded, &options, &mut Watcher::default(), &flag))
            .map(|finished| umt_report::write(&finished, &umt_report::Call::default()).map(drop));
        files.lose_power()?;
        let survived = matches!(crashed, Ok(Ok(())));
        run(&loaded, &options, &mut Watcher::default())?;
        assert_eq!(outputs(&out.path().join("tiny"))?, expected, "operation {at}");
        assert_eq!(leftovers(out.path()), Vec::<String>::new(), "operation {at}");
        if survived {
            break;
        }
        (at, crashes) = (at + step, crashes + 1);
    }
    assert!(at > 200 && crashes > 5, "{at} operations, {crashes} crashes");
    println!("{crashes} crashes over {at} operations, the same bytes");
    Ok(())
}
