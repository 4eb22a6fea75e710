//! R28 and what a newcomer meets first: own data with broken files, and mistakes on the command line.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::command::xtask;
use crate::tiny::{Outcome, Watcher, leftovers, options, recipe, run};

const SAMPLES: usize = 48;

/// A manifest of two classes: a low or a high tone with a dark or a bright picture.
pub fn own_data(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut rows = "id,label,split,audio,video\n".to_string();
    for i in 0..SAMPLES {
        let (label, split) = (i % 2, if i < 32 { "train" } else { "test" });
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(folder.join(format!("{i}.wav")), spec)?;
        for n in 0..4000 {
            let phase = n as f32 * (0.2 + 0.3 * label as f32) + i as f32;
            wav.write_sample((phase.sin() * 8000.0) as i16)?;
        }
        wav.finalize()?;
        let frames = folder.join(format!("frames/{i}"));
        std::fs::create_dir_all(&frames)?;
        let level = (60 + 100 * label + i) as u8;
        image::RgbImage::from_pixel(24, 24, image::Rgb([level, 40, 90])).save(frames.join("1.png"))?;
        rows += &format!("s{i},{},{split},{i}.wav,frames/{i}\n", ["low", "high"][label]);
    }
    let list = folder.join("mine.csv");
    std::fs::write(&list, rows)?;
    Ok(list)
}

#[test]
fn broken_samples_stop_the_run_or_are_counted_in_the_result() -> Outcome {
    let (data, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let list = own_data(data.path())?;
    std::fs::write(data.path().join("5.wav"), b"RIFF....WAVE and then nothing")?;
    std::fs::remove_file(data.path().join("40.wav"))?;
    let mut options = options(out.path(), &["joint"]);
    options.data = Some(list);
    options.dataset = Some("manifest".to_string());

    let error = run(&recipe(&[])?, &options, &mut Watcher::default()).map(|_| ()).expect_err("two files are broken");
    assert_eq!(error.exit_code(), 6, "{error}");
    let text = error.to_string();
    assert!(text.contains("40.wav") || text.contains("5.wav"), "{text}");
    assert!(!out.path().join("tiny-on-mine/results.json").exists());
    assert_eq!(leftovers(out.path()), Vec::<String>::new());

    run(&recipe(&["data.on-error=\"skip\""])?, &options, &mut Watcher::default())?;
    let stages = std::fs::read_dir(out.path().join("tiny-on-mine/stages"))?.next().ok_or("no stage")??.path();
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(stages.join("result.json"))?)?;
    let samples = &record["samples"];
    let skipped = (samples["skipped"]["corrupt"].as_u64(), samples["skipped"]["missing"].as_u64());
    assert_eq!(skipped, (Some(1), Some(1)), "{samples}");
    let counted = ["train", "validation", "test", "left_out"].iter().filter_map(|split| samples[*split].as_u64());
    assert_eq!(counted.sum::<u64>(), SAMPLES as u64 - 2, "{samples}");
    Ok(())
}

/// A recipe's rule of validation belongs to its own set; another set is split by what it has, and the user is told.
#[test]
fn a_recipe_with_groups_runs_on_a_list_without_them() -> Outcome {
    let (data, out) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let list = own_data(data.path())?;
    let mut options = options(out.path(), &["joint"]);
    options.data = Some(list);
    options.dataset = Some("manifest".to_string());
    let mut watcher = Watcher::default();
    run(&recipe(&["data.validation.group-by=\"speaker\""])?, &options, &mut watcher)?;
    let told = watcher.warnings.iter().any(|text| text.contains("`speaker`") && text.contains("group:NAME"));
    assert!(told, "{:?}", watcher.warnings);
    // Asked for again with the set itself as the recipe's, it is a mistake.
    options.dataset = None;
    let own = recipe(&["data.validation.group-by=\"speaker\"", "data.set=\"manifest\""])?;
    let error = run(&own, &options, &mut Watcher::default()).map(|_| ()).expect_err("no such column");
    assert!(error.exit_code() == 6 && error.to_string().contains("speaker"), "{error}");
    Ok(())
}

/// The program's exit code and everything that it printed.
fn xtask_in(folder: &Path, words: &str) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let output = xtask()?.args(words.split(' ')).current_dir(folder).output()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.code(), text))
}

/// README's three steps as they are written there, and then samples without labels and without a split.
#[test]
fn the_three_steps_for_own_data_work_as_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    own_data(folder.path())?;
    let list = std::fs::read_to_string(folder.path().join("mine.csv"))?;
    // The form that the README shows: with a column of groups, none of which the recipe knows.
    let grouped = list.lines().enumerate().map(|(row, line)| match row {
        0 => format!("{line},group:speaker\n"),
        row => format!("{line},p{}\n", (row - 1) / 4),
    });
    std::fs::write(folder.path().join("my.csv"), grouped.collect::<String>())?;
    let readme = std::fs::read_to_string(crate::tidy::root().join("README.md"))?;
    let steps: Vec<&str> = readme.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")).collect();
    let steps: Vec<&str> = steps.into_iter().filter(|step| step.contains(" my.csv")).collect();
    let [check, reproduce] = steps.as_slice() else { return Err(format!("other steps: {steps:?}").into()) };

    let (code, text) = xtask_in(folder.path(), check)?;
    assert!(code == Some(0) && text.contains("no problem was found"), "{text}");
    let small = "--quick --only umt,probe --threads 2 --set data.audio.seconds=0.5 --set encoder.audio.width=4 --set encoder.video.width=4";
    let (code, text) = xtask_in(folder.path(), &format!("{reproduce} {small}"))?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("The settings of `av-digits` on my.csv"), "{text}");
    assert!(!text.contains("PyTorch reference") && !text.contains("Audio-visual digits"), "{text}");
    let report = std::fs::read_to_string(folder.path().join("runs/av-digits-on-my/report.html"))?;
    assert!(report.contains("my.csv") && !report.contains("PyTorch reference"));

    // A list of new samples: no label, no split.
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let bare = list.lines().map(fields).map(|f| format!("{},{},{}\n", f[0], f[3], f[4]));
    std::fs::write(folder.path().join("new.csv"), bare.collect::<String>())?;
    let (code, text) = xtask_in(folder.path(), "data check new.csv")?;
    assert!(code == Some(0) && text.contains("no label"), "{text}");
    let (code, text) = xtask_in(folder.path(), "eval runs/av-digits-on-my --data new.csv --only umt --threads 2")?;
    assert!(code == Some(0) && text.contains("Predicted classes"), "{text}");
    let stored = folder.path().join("runs/av-digits-on-my/eval/new.test/predictions.umt.seed1.csv");
    let stored = std::fs::read_to_string(stored)?;
    assert_eq!((stored.lines().next(), stored.lines().count()), (Some("id,predicted,confidence"), SAMPLES + 1));
    let (code, text) = xtask_in(folder.path(), "reproduce av-digits --data new.csv --quick")?;
    assert!(code == Some(6) && text.contains("no label") && text.contains("eval"), "{text}");

    // Test rows alone.
    let test = list.lines().filter(|line| !line.contains(",train,")).map(|line| format!("{line}\n"));
    std::fs::write(folder.path().join("test.csv"), test.collect::<String>())?;
    let (code, text) = xtask_in(folder.path(), "eval runs/av-digits-on-my --data test.csv --only umt --threads 2")?;
    assert!(code == Some(0) && text.contains("top-1"), "{text}");
    let (code, text) = xtask_in(folder.path(), "eval runs/av-digits-on-my --data test.csv --split train")?;
    assert!(code == Some(2) && text.contains("`test`"), "{text}");
    Ok(())
}

/// Arguments, exit code, and words of the message divided by `|`.
type Mistake = (Vec<String>, i32, String);

/// What newcomers get wrong first.
fn mistakes(folder: &Path) -> Result<Vec<Mistake>, Box<dyn Error>> {
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("empty.csv"), "")?;
    std::fs::write(folder.join("foreign.csv"), "date,price\n2021-06-21,5\n")?;
    std::fs::create_dir(folder.join("bare"))?;
    let out = at("out");
    let case = |words: &str, code: i32, said: &str| {
        let mut arguments: Vec<String> = words.split(' ').map(str::to_string).collect();
        if arguments[0] == "reproduce" {
            arguments.extend(["--out".to_string(), out.clone()]);
        }
        (arguments, code, said.to_string())
    };
    Ok(vec![
        case("reproduce nothing-like-it", 2, "nothing-like-it|av-digits|synthetic-av"),
        case("reproduce --set train.epoch=3", 2, "epoch|epochs"),
        case("reproduce --set train.epochs=x", 2, "train.epochs=x"),
        case("reproduce --only umpt", 2, "umpt|umt|joint"),
        case("reproduce --device tpu:0", 2, "tpu:0|cpu"),
        case("reproduce --threads 0", 2, "--threads 0"),
        case("reproduce av-digits --data x --dataset digits", 2, "digits|av-digits|manifest"),
        case("reproduce av-digits", 6, "--data"),
        case(&format!("reproduce av-digits --data {}", at("absent")), 6, "absent"),
        case(&format!("reproduce av-digits --data {}", at("bare")), 6, "bare|csv"),
        case(
            &format!("reproduce av-digits --data {} --dataset manifest", at("empty.csv")),
            6,
            "empty.csv|id,label,split",
        ),
        case(
            &format!("reproduce av-digits --data {} --dataset manifest", at("foreign.csv")),
            6,
            "foreign.csv|id,label,split",
        ),
        case(&format!("data check {}", at("bare")), 2, "--dataset|av-digits"),
        case(&format!("data check {} --dataset vggsound", at("absent")), 6, "absent"),
        case("repreduce", 2, "reproduce"),
    ])
}

#[test]
fn mistakes_are_named_with_their_exit_code_and_nothing_is_half_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (arguments, code, words) in mistakes(folder.path())? {
        let output = xtask()?.args(&arguments).current_dir(folder.path()).output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{}: {text}", arguments.join(" "));
        for word in words.split('|') {
            assert!(text.contains(word), "{}: does not say {word}: {text}", arguments.join(" "));
        }
        assert!(!text.contains("panicked"), "{text}");
    }
    let out = folder.path().join("out");
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
    let written: Vec<_> = crate::tidy::files(&out).into_iter().filter(|path| path.ends_with("results.json")).collect();
    assert!(written.is_empty(), "{written:?}");
    Ok(())
}
