//! Where a program's words go: a pipe that nobody reads any more, a full disk, a folder that may not be written.

use std::error::Error;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::command::xtask;
use crate::tiny::{Outcome, RECIPE, Watcher, options, recipe, run};

/// A finished run, and the recipe's file.
fn finished(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    fs::write(out.join("tiny.toml"), RECIPE)?;
    run(&recipe(&[])?, &options(out, &[]), &mut Watcher::default())?;
    Ok(out.join("tiny"))
}

fn ended(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

#[test]
fn outputs_that_fail_are_no_crash() -> Outcome {
    let out = tempfile::tempdir()?;
    let folder = finished(out.path())?;
    let folder = folder.to_str().ok_or("a path")?;
    let file = out.path().join("tiny.toml");
    let (file, out) = (file.to_str().ok_or("a path")?, out.path().to_str().ok_or("a path")?);
    let commands: [&[&str]; 5] = [
        &["reproduce", file, "--threads", "1", "--out", out],
        &["eval", folder, "--threads", "1"],
        &["diagnose", folder, "--stage", "joint,umt", "--margin", "0.5"],
        &["data", "fetch-weights"],
        &["--help"],
    ];
    for arguments in commands {
        let full = || File::options().write(true).open("/dev/full").map(Stdio::from);
        // A pipe whose reader is gone before the first word.
        let closed = || std::io::pipe().map(|(_, writer)| Stdio::from(writer));
        let plain = xtask()?.args(arguments).output()?;
        let usual = plain.status.code();
        let closed = xtask()?.args(arguments).stdout(closed()?).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
        assert_eq!(ended(&closed).0, usual, "{arguments:?}");
        if arguments == ["--help"] {
            continue;
        }
        let filled = xtask()?.args(arguments).stdout(full()?).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
        let (code, said) = ended(&filled);
        // What fails for a reason of its own keeps that reason's code.
        assert!(code == Some(5) || (usual != Some(0) && code == usual), "{arguments:?}: {code:?} {said}");
        assert!(usual != Some(0) || said.contains("standard output"), "{arguments:?}: {said}");
        let silent = xtask()?.args(arguments).stderr(full()?).stdout(Stdio::piped()).spawn()?.wait_with_output()?;
        // What says nothing beside its results has nothing that could fail.
        assert!(silent.status.code() == Some(5) || silent.status.code() == usual, "{arguments:?}");
        assert_eq!(silent.stdout, plain.stdout, "{arguments:?}");
    }
    Ok(())
}

/// Runs the program as a user who owns nothing here: for root no permission counts.
fn as_nobody(program: &Path) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(program);
    if fs::metadata("/proc/self")?.uid() == 0 {
        command.uid(65534).gid(65534);
    }
    Ok(command)
}

#[test]
fn a_folder_that_may_not_be_written_or_read() -> Outcome {
    let out = tempfile::tempdir()?;
    let folder = finished(out.path())?;
    // Where others may reach it.
    let program = out.path().join("xtask");
    fs::copy(xtask()?.get_program(), &program)?;
    fs::set_permissions(out.path(), Permissions::from_mode(0o755))?;
    let before = crate::tidy::files(&folder).len();
    fs::set_permissions(&folder, Permissions::from_mode(0o555))?;
    for verb in ["eval", "diagnose"] {
        let output = as_nobody(&program)?.arg(verb).arg(&folder).current_dir(out.path()).output()?;
        let (code, said) = ended(&output);
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        if verb == "diagnose" && said.contains("linear probe") {
            // The tiny recipe has no probes of its teachers.
            assert_eq!(code, Some(2), "{said}");
            continue;
        }
        assert_eq!(code, Some(0), "{verb}: {said}");
        assert!(table.contains("joint") && said.contains("not stored"), "{verb}: {table} {said}");
    }
    assert_eq!(crate::tidy::files(&folder).len(), before);
    // May not be read: no word of a run that was never begun.
    let stages = folder.join("stages");
    fs::set_permissions(&stages, Permissions::from_mode(0o000))?;
    let (code, said) = ended(&as_nobody(&program)?.arg("eval").arg(&folder).current_dir(out.path()).output()?);
    fs::set_permissions(&stages, Permissions::from_mode(0o755))?;
    fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.to_lowercase().contains("permission denied"), "{said}");
    Ok(())
}
