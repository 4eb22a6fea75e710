//! Checkpoints: damage of any byte is noticed, a crash anywhere leaves the old or the new one.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::faults::{Fault, FaultyFiles};
use crate::tree::{leftovers, tree};
use umt_store::{Store, StoreError, checkpoint};

type Outcome = Result<(), Box<dyn Error>>;
type Blobs = BTreeMap<String, Vec<u8>>;

/// Blobs that tell their step, so that a mixture would show.
fn blobs(step: u64) -> Blobs {
    ["optimizer", "params", "state.json"]
        .iter()
        .enumerate()
        .map(|(i, name)| (name.to_string(), vec![step as u8 + 1; 20 + i]))
        .collect()
}

/// A folder with checkpoints of the given steps.
fn saved(root: &Path, steps: &[u64]) -> Result<Store, StoreError> {
    let store = Store::open(root)?;
    for step in steps {
        checkpoint::save(&store, &store.path("run"), *step, &blobs(*step))?;
    }
    Ok(store)
}

fn loaded_step(dir: &Path) -> Result<Option<u64>, StoreError> {
    Ok(checkpoint::load_latest(dir)?.map(|(step, found, _)| {
        assert!(found == blobs(step), "a mixture at step {step}");
        step
    }))
}

#[test]
fn keeps_the_last_two() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = saved(folder.path(), &[1, 2, 3, 4])?;
    let run = store.path("run");
    assert_eq!(tree(&run).len(), 2 * 4);
    assert_eq!(loaded_step(&run)?, Some(4));
    // A step may be saved twice, and an earlier one after a later one: the last saved counts.
    checkpoint::save(&store, &run, 4, &blobs(4))?;
    checkpoint::save(&store, &run, 2, &blobs(2))?;
    assert_eq!(loaded_step(&run)?, Some(2));
    assert_eq!(loaded_step(&store.path("absent"))?, None);
    let wrong = BTreeMap::from([("a/b".to_string(), Vec::new())]);
    let error = checkpoint::save(&store, &run, 1, &wrong).expect_err("a path is no name");
    assert_eq!(error.exit_code(), 2);
    Ok(())
}

// R4: every byte of every file flipped in one bit and in all, and every file cut at every length.
#[test]
fn every_damaged_byte_is_detected() -> Outcome {
    let folder = tempfile::tempdir()?;
    let run = saved(folder.path(), &[1, 2])?.path("run");
    let newest = run.join("00000002");
    let mut damages = 0;
    for (name, bytes) in tree(&newest) {
        let path = newest.join(&name);
        let flips = (0..bytes.len()).flat_map(|i| [1, 0x20, 0x80, 0xff].map(|mask| (i, mask)));
        let flipped = flips.map(|(i, mask)| {
            let mut damaged = bytes.clone();
            damaged[i] ^= mask;
            damaged
        });
        let cut = (0..bytes.len()).map(|len| bytes[..len].to_vec());
        let longer = [[&bytes[..], b"\n"].concat(), [&bytes[..], &[0]].concat()];
        for damaged in flipped.chain(cut).chain(longer) {
            fs::write(&path, &damaged)?;
            let (step, found, warnings) = checkpoint::load_latest(&run)?.ok_or("nothing left")?;
            assert_eq!(step, 1, "{name} damaged and not noticed");
            assert!(found == blobs(1) && warnings.len() == 1);
            let text = warnings[0].to_string();
            assert!(text.contains("fell back") && text.contains(&name), "{text}");
            damages += 1;
        }
        fs::remove_file(&path)?;
        assert_eq!(loaded_step(&run)?, Some(1));
        fs::write(&path, &bytes)?;
    }
    assert_eq!(loaded_step(&run)?, Some(2));
    assert!(damages > 1000, "{damages} cases");
    Ok(())
}

#[test]
fn none_left_is_exit_4_and_a_damaged_one_is_replaced() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = saved(folder.path(), &[1, 2])?;
    let run = store.path("run");
    fs::write(run.join("00000002/params"), "x")?;
    // The damaged one must not push out the last intact one.
    checkpoint::save(&store, &run, 2, &blobs(2))?;
    fs::write(run.join("00000003/params"), "x")?;
    assert_eq!(loaded_step(&run)?, Some(1));
    fs::write(run.join("00000001/manifest.json"), "")?;
    let error = checkpoint::load_latest(&run).expect_err("both are damaged");
    assert_eq!(error.exit_code(), 4);
    let text = error.to_string();
    assert!(text.contains("00000003/params") && text.contains("00000001/manifest.json"), "{text}");
    Ok(())
}

// R3: one run of three checkpoints, aborted at its first, second, ... operation.
#[test]
fn a_crash_at_any_operation_leaves_the_old_or_the_new() -> Outcome {
    for at in 1.. {
        let folder = tempfile::tempdir()?;
        let files = FaultyFiles::new(Fault::Crash, at);
        let mut done = 0;
        if let Ok(store) = Store::with_files(folder.path(), Arc::new(files.clone())) {
            for step in 1..=4 {
                if checkpoint::save(&store, &store.path("run"), step, &blobs(step)).is_err() {
                    break;
                }
                done = step;
            }
        }
        files.lose_power()?;
        let store = Store::open(folder.path())?;
        assert_eq!(leftovers(folder.path()), Vec::<String>::new());
        let run = store.path("run");
        let found = loaded_step(&run)?.unwrap_or(0);
        // What `save` confirmed is never lost.
        assert!(found == done || found == done + 1, "operation {at}: {done} confirmed, {found} found");
        checkpoint::save(&store, &run, 9, &blobs(9))?;
        assert_eq!(loaded_step(&run)?, Some(9));
        assert!(tree(&run).len() <= 8, "operation {at}: not cleaned up");
        if done == 4 {
            assert!(at > 60, "{at} operations");
            break;
        }
    }
    Ok(())
}

// The number is part of what the manifest vouches for: a folder that somebody renamed is not newer for it.
#[test]
fn a_renamed_checkpoint_is_passed_over_and_ends_nothing() -> Outcome {
    for name in ["00000009", "18446744073709551615"] {
        let folder = tempfile::tempdir()?;
        let store = saved(folder.path(), &[1, 2])?;
        let run = store.path("run");
        fs::rename(run.join("00000001"), run.join(name))?;
        let (step, _, warnings) = checkpoint::load_latest(&run)?.ok_or("none is left")?;
        assert!(step == 2 && warnings.len() == 1 && warnings[0].to_string().contains("00000001"));
        for step in 3..6 {
            checkpoint::save(&store, &run, step, &blobs(step))?;
            assert_eq!(loaded_step(&run)?, Some(step), "{name}");
        }
        assert_eq!(tree(&run).len(), 2 * 4);
    }
    Ok(())
}

// R5: the previous checkpoint loads, the failed one is gone.
#[test]
fn a_full_disk_leaves_the_previous_checkpoint() -> Outcome {
    for number in [28, 5] {
        for at in 1.. {
            let folder = tempfile::tempdir()?;
            saved(folder.path(), &[1, 2])?;
            let files = FaultyFiles::new(Fault::Writes(number), at);
            let store = Store::with_files(folder.path(), Arc::new(files))?;
            let run = store.path("run");
            match checkpoint::save(&store, &run, 3, &blobs(3)) {
                Ok(()) => {
                    assert!(at > 10);
                    break;
                }
                Err(error) => {
                    assert_eq!(error.exit_code(), 5);
                    let text = error.to_string();
                    assert!(text.contains("00000003") && text.contains("os error"), "{text}");
                    assert_eq!(loaded_step(&run)?, Some(2));
                    assert_eq!(tree(&run).len(), 2 * 4, "operation {at}");
                }
            }
        }
    }
    Ok(())
}
