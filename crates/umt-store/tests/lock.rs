//! R6: one process per run folder.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use umt_store::{RunLock, StoreError};

const FOLDER: &str = "UMT_STORE_TEST_LOCK";

/// Not a test of its own: the other process of the tests below.
#[test]
fn holder() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let _lock = RunLock::acquire(Path::new(&folder))?;
        println!("held");
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}

fn start_holder(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "holder", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    for line in lines {
        if line?.contains("held") {
            return Ok(child);
        }
    }
    Err("the holder ended".into())
}

#[test]
fn refused_with_the_pid_taken_over_from_the_dead() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut child = start_holder(folder.path())?;
    let started = Instant::now();
    let error = RunLock::acquire(folder.path()).expect_err("held by another process");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == child.id()));
    assert!(error.to_string().contains(&format!("process {}", child.id())), "{error}");
    assert_eq!(error.exit_code(), 2);
    child.kill()?;
    child.wait()?;
    let lock = RunLock::acquire(folder.path())?;
    assert!(RunLock::acquire(folder.path()).is_err());
    drop(lock);
    assert!(std::fs::read_dir(folder.path())?.next().is_none(), "the lock file is left");
    Ok(())
}

#[test]
fn a_moved_folder_is_still_locked() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    std::fs::create_dir(&before)?;
    let lock = RunLock::acquire(&before)?;
    std::fs::rename(&before, &after)?;
    let error = RunLock::acquire(&after).expect_err("moved with its lock");
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    drop(lock);
    RunLock::acquire(&after)?;
    Ok(())
}

#[test]
fn many_at_once_one_wins() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for _ in 0..50 {
        let locks: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| RunLock::acquire(folder.path()))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        assert_eq!(locks.iter().filter(|lock| lock.is_ok()).count(), 1);
    }
    Ok(())
}
