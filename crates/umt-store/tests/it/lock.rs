//! R6: one writer per folder, whatever is done to the folder and to the lock's file.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tree::tree;
use umt_store::{Store, StoreError};

const FOLDER: &str = "UMT_STORE_TEST_LOCK";

/// Not a test of its own: the other process of the tests below.
#[test]
fn holder() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let _lock = Store::open(Path::new(&folder))?;
        println!("held");
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}

fn start_holder(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "lock::holder", "--nocapture"])
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
    let error = Store::open(folder.path()).expect_err("held by another process");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == child.id()));
    assert!(error.to_string().contains(&format!("process {}", child.id())), "{error}");
    assert_eq!(error.exit_code(), 2);
    child.kill()?;
    child.wait()?;
    let holder = Store::open(folder.path())?;
    assert!(Store::open(folder.path()).is_err());
    drop(holder);
    assert!(fs::read_dir(folder.path())?.next().is_none(), "the lock file is left");
    Ok(())
}

#[test]
fn a_moved_folder_is_still_locked_and_its_old_path_is_not() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    let first = Store::open(&before)?;
    first.commit(&first.path("x"), b"first")?;
    fs::rename(&before, &after)?;
    let error = Store::open(&after).expect_err("moved with its lock");
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    // A second writer under the old name: the first, which knows nothing but paths, must not write into its folder.
    let second = Store::open(&before)?;
    second.commit(&second.path("x"), b"second")?;
    let ways: [&dyn Fn() -> Result<(), StoreError>; 5] = [
        &|| first.commit(&first.path("x"), b"again").map(drop),
        &|| first.remove(&first.path("x")),
        &|| first.create_dir(&first.path("deep")),
        &|| umt_store::Log::open(&first, &first.path("log"), Vec::new()).map(drop),
        &|| umt_store::checkpoint::save(&first, &first.path("c"), 1, &BTreeMap::from([("p".into(), vec![1])])),
    ];
    for way in ways {
        let error = way().expect_err("the folder is another's");
        assert!(matches!(error, StoreError::Moved { .. }) && error.exit_code() == 5, "{error}");
    }
    drop(first);
    assert_eq!(tree(&before), BTreeMap::from([("x".to_string(), b"second".to_vec())]));
    assert!(Store::open(&before).is_err(), "the first took the second's lock with it");
    Store::open(&after)?;
    Ok(())
}

#[test]
fn a_folder_or_lock_that_was_removed_lets_nobody_in() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("run");
    let first = Store::open(&root)?;
    fs::remove_file(root.join("run.lock"))?;
    let error = Store::open(&root).expect_err("the lock is the folder's");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    first.commit(&first.path("x"), b"first")?;
    fs::remove_dir_all(&root)?;
    assert!(matches!(first.commit(&first.path("x"), b"1"), Err(StoreError::Moved { .. })));
    let second = Store::open(&root)?;
    assert!(matches!(first.commit(&first.path("x"), b"1"), Err(StoreError::Moved { .. })));
    drop(first);
    second.commit(&second.path("x"), b"second")?;
    assert_eq!(tree(&root), BTreeMap::from([("x".to_string(), b"second".to_vec())]));
    Ok(())
}

// While a writer is between any two operations, 10,000 others are rejected, and none of them touches anything.
#[test]
fn ten_thousand_rejected_starts_harm_nothing() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let holder = Store::open(folder.path())?;
    let lock = fs::read(folder.path().join("run.lock"))?;
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let others: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..2500).all(|_| matches!(Store::open(folder.path()), Err(StoreError::Locked { .. }))))
            })
            .collect();
        let mut commits = 0_u32;
        while commits == 0 || others.iter().any(|other| !other.is_finished()) {
            holder.commit(&holder.path("x"), &commits.to_le_bytes())?;
            commits += 1;
        }
        for other in others {
            assert!(other.join().is_ok_and(|all| all), "one was let in");
        }
        Ok(())
    })?;
    assert_eq!(fs::read(folder.path().join("run.lock"))?, lock);
    assert_eq!(tree(folder.path()).len(), 1, "temporary files are left");
    Ok(())
}

#[test]
fn the_locks_name_is_never_followed() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (root, victim) = (folder.path().join("run"), folder.path().join("victim"));
    fs::create_dir(&root)?;
    let (lock, absent) = (root.join("run.lock"), folder.path().join("absent"));
    fs::write(&victim, "precious")?;
    let rejected = || match Store::open(&root) {
        Err(error @ StoreError::Io { .. }) => assert!(error.to_string().contains("run.lock"), "{error}"),
        other => panic!("{other:?}"),
    };
    for target in [&victim, &absent] {
        std::os::unix::fs::symlink(target, &lock)?;
        rejected();
        fs::remove_file(&lock)?;
    }
    assert_eq!(fs::read_to_string(&victim)?, "precious");
    assert!(!absent.exists());
    fs::create_dir(&lock)?;
    rejected();
    fs::remove_dir(&lock)?;
    // A pipe must not be waited for.
    assert!(Command::new("mkfifo").arg(&lock).status()?.success());
    rejected();
    Ok(())
}

#[test]
fn many_at_once_one_wins() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for _ in 0..50 {
        let locks: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(folder.path()))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        assert_eq!(locks.iter().filter(|lock| lock.is_ok()).count(), 1);
    }
    Ok(())
}
