//! Commits: atomic under every fault, cleaned up, confined to their folder.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::sync::Arc;

use crate::faults::{Fault, FaultyFiles};
use crate::tree::{leftovers, tree};
use umt_store::{Digest, Log, Store, StoreError, digest_file, read_json, sha256_hex};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn digests_are_sha256() -> Outcome {
    // FIPS 180-4's own example.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256_hex(b"abc"), abc);
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let path = store.path("deep/er/abc");
    let expected = Digest { sha256: abc.to_string(), bytes: 3 };
    assert_eq!(store.commit(&path, b"abc")?, expected);
    assert_eq!(digest_file(&path)?, expected);
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
    Ok(())
}

#[test]
fn json_survives_and_names_line_and_column() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let path = store.path("x.json");
    let value = BTreeMap::from([("b".to_string(), 0.1_f32), ("a".to_string(), 3.0)]);
    store.commit_json(&path, &value)?;
    assert_eq!(read_json::<BTreeMap<String, f32>>(&path)?, value);
    assert!(fs::read_to_string(&path)?.ends_with("}\n"));
    fs::write(&path, "{\n  \"a\": x\n}")?;
    let error = read_json::<BTreeMap<String, f32>>(&path).expect_err("not JSON");
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("x.json") && error.to_string().contains("line 2 column 8"));
    Ok(())
}

#[test]
fn stays_inside_its_folder() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("runs"))?;
    for path in [folder.path().join("x"), store.path("../x"), store.path("a/../../x"), "/x".into()] {
        let error = store.commit(&path, b"").expect_err("outside");
        assert!(matches!(error, StoreError::Outside { .. }), "{error}");
        assert!(store.remove(&path).is_err() && store.create_dir(&path).is_err());
    }
    assert!(!folder.path().join("x").exists());
    // The way to the folder may climb.
    fs::create_dir(folder.path().join("here"))?;
    let store = Store::open(&folder.path().join("here/../climbed"))?;
    store.commit(&store.path("a/x"), b"")?;
    assert!(store.commit(&store.path("../x"), b"").is_err() && folder.path().join("climbed/a/x").exists());
    Ok(())
}

#[test]
fn opening_removes_only_dead_leftovers() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("deep"))?;
    for name in [".a.1-0-0.umt-tmp", "deep/.b.1-0-0.umt-tmp", "kept.tmp", "kept"] {
        fs::write(folder.path().join(name), "x")?;
    }
    // While a writer lives, a store that opens leaves its temporary file alone.
    let guest = Store::shared(folder.path())?;
    assert!(folder.path().join(".a.1-0-0.umt-tmp").exists(), "a guest removes nothing");
    guest.commit_with(&guest.path("c"), |out| {
        out.write_all(b"abc")?;
        Store::open(folder.path()).map_err(std::io::Error::other)?;
        Ok(())
    })?;
    let expected = BTreeMap::from([
        ("c".to_string(), b"abc".to_vec()),
        ("kept".to_string(), b"x".to_vec()),
        ("kept.tmp".to_string(), b"x".to_vec()),
    ]);
    assert_eq!(tree(folder.path()), expected);
    Ok(())
}

// A cleaner may come between the two calls that create and lock a temporary file.
#[test]
fn a_guest_commits_while_others_clean() -> Outcome {
    let folder = tempfile::tempdir()?;
    let guest = Store::shared(folder.path())?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| -> Outcome {
        let cleaner = scope.spawn(|| {
            let mut opened = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                opened += u32::from(Store::open(folder.path()).is_ok());
            }
            opened
        });
        let committed: Result<Vec<_>, _> =
            (0..3000).map(|i: u32| guest.commit(&guest.path("x"), &i.to_le_bytes())).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let opened = cleaner.join().map_err(|_| "the cleaner panicked")?;
        committed?;
        assert!(opened > 100, "{opened}");
        Ok(())
    })?;
    assert_eq!(tree(folder.path()), BTreeMap::from([("x".to_string(), 2999_u32.to_le_bytes().to_vec())]));
    Ok(())
}

/// Two files committed one after the other, the first replacing an older one.
fn write_both(store: &Store) -> Result<(), StoreError> {
    store.commit(&store.path("a"), &[b'2'; 1000])?;
    store.commit(&store.path("deep/b"), &[b'3'; 1000])?;
    Ok(())
}

// R3 for single files; `checkpoint.rs` has it for checkpoints.
#[test]
fn a_crash_at_any_operation_leaves_old_or_new() -> Outcome {
    let (old, new) = (vec![b'1'; 1000], vec![b'2'; 1000]);
    let mut finished = false;
    for at in 1.. {
        let folder = tempfile::tempdir()?;
        Store::open(folder.path())?.commit(&folder.path().join("a"), &old)?;
        let files = FaultyFiles::new(Fault::Crash, at);
        let result = Store::with_files(folder.path(), Arc::new(files.clone())).and_then(|s| write_both(&s));
        files.lose_power()?;
        Store::open(folder.path())?;
        assert_eq!(leftovers(folder.path()), Vec::<String>::new(), "operation {at}");
        let found = tree(folder.path());
        assert!(found["a"] == old || found["a"] == new, "operation {at}");
        let b = found.get("deep/b");
        assert!(b.is_none_or(|b| *b == [b'3'; 1000] && found["a"] == new), "operation {at}");
        if result.is_ok() {
            assert!(b.is_some() && at > 10, "{at} operations");
            finished = true;
            break;
        }
    }
    assert!(finished);
    Ok(())
}

// R5.
#[test]
fn a_full_or_broken_disk_is_named_and_changes_nothing() -> Outcome {
    for number in [28, 5] {
        for at in 1..100 {
            let folder = tempfile::tempdir()?;
            Store::open(folder.path())?.commit(&folder.path().join("a"), b"old")?;
            let files = FaultyFiles::new(Fault::Writes(number), at);
            let store = Store::with_files(folder.path(), Arc::new(files))?;
            let Err(error) = write_both(&store) else {
                assert!(at > 5);
                break;
            };
            assert_eq!(error.exit_code(), 5);
            let text = error.to_string();
            let (new, named) = (tree(folder.path())["a"] != b"old", text.contains("deep"));
            assert_eq!(new, named, "operation {at}: {text}");
            assert!(text.contains(&format!("os error {number}")), "{text}");
            if let StoreError::Write { written, .. } = error {
                assert!(text.contains(&format!("after {written} bytes")) && written <= 1000);
            }
            assert_eq!(leftovers(folder.path()), Vec::<String>::new(), "operation {at}");
        }
    }
    Ok(())
}

#[test]
fn interruptions_and_short_writes_are_not_noticed() -> Outcome {
    let faults = (1..30).map(|at| (Fault::Once(4), at)).chain([(Fault::Short(7), 1)]);
    for (fault, at) in faults {
        let folder = tempfile::tempdir()?;
        let store = Store::with_files(folder.path(), Arc::new(FaultyFiles::new(fault, at)))?;
        write_both(&store)?;
        let digest = store.commit(&store.path("c"), b"abc")?;
        assert_eq!(digest, digest_file(&store.path("c"))?);
        let found = tree(folder.path());
        assert_eq!((found.len(), found["a"].len(), found["deep/b"].len()), (3, 1000, 1000));
    }
    Ok(())
}

#[test]
fn a_log_goes_on_where_the_checkpoint_was() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let path = store.path("run/metrics.csv");
    let (mut log, restored) = Log::open(&store, &path, Vec::new())?;
    assert!(log.text().is_empty() && !restored);
    log.line("step,loss")?;
    log.line("1,0.5")?;
    log.sync()?;
    let kept = log.text().to_vec();
    log.line("2,0.4")?;
    drop(log);
    let (mut log, restored) = Log::open(&store, &path, kept)?;
    assert!(!restored);
    log.line("2,0.3")?;
    log.sync()?;
    assert_eq!(fs::read_to_string(&path)?, "step,loss\n1,0.5\n2,0.3\n");
    assert_eq!(log.text(), fs::read(&path)?);
    Ok(())
}

// Whatever became of the file: the checkpoint knows what was in it.
#[test]
fn a_log_that_was_changed_is_restored_and_a_link_not_followed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("store"))?;
    let (path, victim) = (store.path("metrics.csv"), folder.path().join("victim"));
    fs::write(&victim, "1,0.5\nprecious")?;
    let kept = b"1,0.5\n".to_vec();
    let spoil: [&dyn Fn() -> std::io::Result<()>; 6] = [
        &|| fs::write(&path, "1,0.6\n2,0.4\n"),
        &|| fs::write(&path, [0; 6]),
        &|| fs::write(&path, "1,0"),
        &|| fs::write(&path, ""),
        &|| Ok(()),
        &|| std::os::unix::fs::symlink(&victim, &path),
    ];
    for (i, spoil) in spoil.iter().enumerate() {
        let _ = fs::remove_file(&path);
        spoil()?;
        let (mut log, restored) = Log::open(&store, &path, kept.clone())?;
        assert!(restored, "case {i}");
        log.line("2,0.3")?;
        assert_eq!(fs::read_to_string(&path)?, "1,0.5\n2,0.3\n", "case {i}");
    }
    fs::remove_file(&path)?;
    std::os::unix::fs::symlink(&victim, &path)?;
    assert!(Log::open(&store, &path, Vec::new())?.1);
    assert_eq!(fs::read_to_string(&victim)?, "1,0.5\nprecious");
    Ok(())
}
