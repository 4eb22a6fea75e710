//! R1 and R7: whenever a run is stopped, the same command ends in the same bytes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::command::xtask;
use crate::tidy::files;
use crate::tiny::{AtomicFlag, Outcome, RECIPE, Watcher, leftovers, options, outputs, recipe, run};

#[test]
fn stopped_after_every_step_it_ends_in_the_same_bytes() -> Outcome {
    let (straight, stopped) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let loaded = recipe(&[])?;
    let mut watcher = Watcher::default();
    let report = run(&loaded, &options(straight.path(), &[]), &mut watcher)?;
    let steps = watcher.steps;
    assert_eq!((steps, report.ran), (4 * 7, 9));

    let mut done = 0;
    for call in 1.. {
        let mut watcher = Watcher { stop_after: Some(1), ..Watcher::default() };
        let result = run(&loaded, &options(stopped.path(), &[]), &mut watcher);
        done += watcher.steps;
        assert_eq!(leftovers(stopped.path()), Vec::<String>::new());
        match result {
            Ok(again) => {
                assert_eq!(again.text.lines().count(), report.text.lines().count());
                break;
            }
            Err(error) => assert_eq!(error.exit_code(), 143, "{error}"),
        }
        assert!(call <= steps, "no progress after {call} calls");
    }
    assert_eq!(done, steps, "a step was done twice or left out");
    assert_eq!(outputs(&stopped.path().join("tiny"))?, outputs(&straight.path().join("tiny"))?);
    Ok(())
}

/// Lines of the log of times.
fn epochs(out: &std::path::Path) -> Result<usize, Box<dyn std::error::Error>> {
    let log = files(out).into_iter().find(|path| path.ends_with("timing.jsonl")).ok_or("no times")?;
    Ok(std::fs::read_to_string(log)?.lines().count())
}

// The checkpoint knows what is in the logs: whatever becomes of their files, it is noticed, restored and ends in the same
// bytes.
#[test]
fn damaged_logs_of_a_stopped_stage_are_restored() -> Outcome {
    let loaded = recipe(&["train.steps=12"])?;
    let straight = tempfile::tempdir()?;
    let mut watcher = Watcher::default();
    run(&loaded, &options(straight.path(), &["joint"]), &mut watcher)?;
    let steps = watcher.steps;
    let expected = outputs(&straight.path().join("tiny"))?;
    type Damage = fn(&[u8]) -> Option<Vec<u8>>;
    let damages: [Damage; 6] = [
        |_| None,
        |bytes| Some(bytes[..bytes.len() - 5].to_vec()),
        |bytes| Some(vec![0; bytes.len()]),
        |_| Some(Vec::new()),
        |bytes| Some([&bytes[..20], &[bytes[20] ^ 1], &bytes[21..]].concat()),
        |bytes| Some(String::from_utf8_lossy(bytes).replacen("\"epoch\":1", "\"epoch\":7", 1).into_bytes()),
    ];
    for (i, damage) in damages.iter().enumerate() {
        let out = tempfile::tempdir()?;
        // Some epochs are over: the checkpoint knows their lines.
        let mut watcher = Watcher { stop_after: Some(2 * steps / 3 + 1), ..Watcher::default() };
        run(&loaded, &options(out.path(), &["joint"]), &mut watcher).map(drop).expect_err("stopped");
        for name in ["metrics.jsonl", "timing.jsonl"] {
            let own =
                |path: &std::path::PathBuf| path.ends_with(name) && !path.to_string_lossy().contains("checkpoints");
            let log = files(out.path()).into_iter().find(own).ok_or("no log")?;
            match damage(&std::fs::read(&log)?) {
                Some(bytes) => std::fs::write(&log, bytes)?,
                None => std::fs::remove_file(&log)?,
            }
        }
        let mut watcher = Watcher::default();
        run(&loaded, &options(out.path(), &["joint"]), &mut watcher)?;
        assert!(watcher.warnings.iter().any(|text| text.contains("metrics.jsonl")), "{i}: {:?}", watcher.warnings);
        assert_eq!(outputs(&out.path().join("tiny"))?, expected, "{i}");
        assert_eq!(epochs(out.path())?, epochs(straight.path())?, "{i}");
    }
    Ok(())
}

#[test]
fn signals_end_it_soon_with_their_code_and_the_run_goes_on() -> Outcome {
    let (straight, stopped) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = stopped.path().join("tiny.toml");
    // Long enough that a signal meets it at work.
    std::fs::write(&file, RECIPE.replace("steps = 7", "steps = 600"))?;
    let command = |out: &std::path::Path| {
        let mut command = xtask()?;
        command.arg("reproduce").arg(&file).args(["--only", "joint", "--threads", "1", "--out"]).arg(out);
        Ok::<_, Box<dyn std::error::Error>>(command)
    };
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut child = command(stopped.path())?.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no output")?).lines();
        // It announces itself, reads its data, then works: once its metrics are there, training has begun.
        let first = lines.next().ok_or("it says nothing")??;
        assert!(first.contains("tiny"), "{first}");
        let begun = Instant::now();
        let at_work = || files(&stopped.path().join("tiny")).iter().any(|path| path.ends_with("metrics.jsonl"));
        while !at_work() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(60));
        let sent = Instant::now();
        // The shell's own `kill`: a minimal system has no program of that name.
        let kill = std::process::Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status()?;
        assert!(kill.success());
        let status = child.wait()?;
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert_eq!(status.code(), Some(code), "{}", rest.join("\n"));
        assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
        assert!(rest.iter().any(|line| line.contains("stopped by signal")), "{}", rest.join("\n"));
        assert_eq!(leftovers(stopped.path()), Vec::<String>::new());
    }
    for out in [stopped.path(), straight.path()] {
        let output = command(out)?.output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(outputs(&stopped.path().join("tiny"))?, outputs(&straight.path().join("tiny"))?);
    Ok(())
}

// A stop may come at any moment: between two operators of a step, in a validation, in a probe's features.
#[test]
fn stopped_at_any_moment_it_ends_in_the_same_bytes() -> Outcome {
    let loaded = recipe(&["data.video.crop=[20, 20]", "data.augment.crop=false"])?;
    let (straight, stopped) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let begun = Instant::now();
    run(&loaded, &options(straight.path(), &[]), &mut Watcher::default())?;
    let pause = begun.elapsed() / 40;
    let mut stops = 0;
    loop {
        let mut watcher = Watcher::default();
        let flag = AtomicFlag::clone(&watcher.stop);
        let result = std::thread::scope(|scope| {
            // Longer from time to time, so that what keeps no checkpoint comes to its end.
            let pause = pause * (1 + stops % 7) + Duration::from_micros(u64::from(stops) * 137);
            let (end, ended) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                if ended.recv_timeout(pause).is_err() {
                    flag.store(15, std::sync::atomic::Ordering::SeqCst);
                }
            });
            let result = run(&loaded, &options(stopped.path(), &[]), &mut watcher);
            let _ = end.send(());
            result
        });
        match result {
            Ok(_) => break,
            Err(error) => assert_eq!(error.exit_code(), 143, "{error}"),
        }
        assert_eq!(leftovers(stopped.path()), Vec::<String>::new());
        stops += 1;
        assert!(stops < 400, "no progress");
    }
    assert!(stops > 5, "{stops} stops");
    assert_eq!(outputs(&stopped.path().join("tiny"))?, outputs(&straight.path().join("tiny"))?);
    Ok(())
}

// R7 at the size of a shipped recipe, whose step takes longer than five seconds on one thread.
#[test]
fn a_step_of_640_by_480_pixels_is_given_up_in_time() -> Outcome {
    let out = tempfile::tempdir()?;
    let frames = out.path().join("frames");
    let mut made = xtask()?;
    made.args(["data", "make"]).arg(&frames).args(["--dataset", "nyuv2", "--train", "8", "--test", "2"]);
    assert!(made.stdout(Stdio::null()).status()?.success());
    let mut command = xtask()?;
    command.args(["reproduce", "nyuv2", "--quick", "--threads", "1", "--only", "umt", "--data"]).arg(&frames);
    let mut child = command.arg("--out").arg(out.path()).stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let begun = Instant::now();
    let at_work = || files(&out.path().join("nyuv2")).iter().any(|path| path.ends_with("metrics.jsonl"));
    while !at_work() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(1500));
    let sent = Instant::now();
    let kill = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status()?;
    assert!(kill.success());
    let status = child.wait()?;
    assert_eq!(status.code(), Some(143));
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    Ok(())
}
