//! `cargo xtask data check` on small sets in files: what it prints and writes, and its exit code.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::command::xtask;
use crate::tiny::Outcome;

/// Audio of half a second, of its own for each number.
fn wav(path: &Path, number: usize) -> Result<(), Box<dyn Error>> {
    let (bits_per_sample, sample_format) = (16, hound::SampleFormat::Int);
    let spec = hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample, sample_format };
    let mut wav = hound::WavWriter::create(path, spec)?;
    for n in 0..4000 {
        wav.write_sample(((n as f32 * (0.1 + 0.01 * number as f32)).sin() * 8000.0) as i16)?;
    }
    Ok(wav.finalize()?)
}

/// 24 sounds of two classes, the last 8 of them test, two in a row of one speaker.
fn list(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut rows = "id,label,split,audio,group:speaker\n".to_string();
    for i in 0..24 {
        wav(&folder.join(format!("{i}.wav")), i)?;
        let (label, split) = (["low", "high"][i % 2], if i < 16 { "train" } else { "test" });
        rows += &format!("s{i},{label},{split},{i}.wav,p{}\n", i / 2);
    }
    let path = folder.join("my.csv");
    std::fs::write(&path, rows)?;
    Ok(path)
}

fn check(folder: &Path, arguments: &[&str]) -> Result<(i32, String, Output), Box<dyn Error>> {
    let mut command = xtask()?;
    command.args(["data", "check"]).args(arguments).current_dir(folder);
    let output = command.output()?;
    let text = String::from_utf8(output.stdout.clone())?;
    Ok((output.status.code().ok_or("it was killed")?, text, output))
}

#[test]
fn a_whole_set_ends_with_0_and_shows_its_progress() -> Outcome {
    let folder = tempfile::tempdir()?;
    list(folder.path())?;
    let (code, text, output) = check(folder.path(), &["my.csv", "--dataset", "manifest"])?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("24 samples, 2 classes, 24 usable") && text.contains("no problem was found"), "{text}");
    let progress = String::from_utf8(output.stderr)?;
    assert!(progress.contains("checking: 24 of 24 samples, ") && progress.contains("/s"), "{progress}");
    Ok(())
}

/// The whole list of problems as csv, although the text names five of each kind.
#[test]
fn the_whole_list_is_written_as_csv() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = list(folder.path())?;
    let text = std::fs::read_to_string(&path)?.replace("20.wav", "~/20.wav").replace("p9", "p0").replace('\n', "\r\n");
    std::fs::write(&path, text)?;
    for i in 1..9 {
        std::fs::remove_file(folder.path().join(format!("{i}.wav")))?;
    }
    std::fs::copy(folder.path().join("10.wav"), folder.path().join("22.wav"))?;
    let (code, text, _) = check(folder.path(), &["my.csv", "--dataset", "manifest", "--csv", "out/found.csv"])?;
    assert_eq!(code, 6, "{text}");
    for words in [
        "missing: 9",
        "... and 4 more",
        "speaker `p0` is in train (line 2, `s0`) and in test (line 20, `s18`)",
        "the same audio is in train (line 12, `s10`) and in test (line 24, `s22`)",
        "11 problems",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let mut table = csv::Reader::from_path(folder.path().join("out/found.csv"))?;
    assert_eq!(table.headers()?, vec!["kind", "weight", "list", "line", "id", "reason", "remedy"]);
    let rows: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>()?;
    let missing: Vec<&str> = rows.iter().filter(|row| &row[0] == "missing").map(|row| &row[3]).collect();
    assert_eq!(missing, ["3", "4", "5", "6", "7", "8", "9", "10", "22"]);
    let tilde = rows.iter().find(|row| &row[4] == "s20").ok_or("s20 is not in the table")?;
    assert!(tilde[6].contains("home folder") && &tilde[2] == "my.csv", "{tilde:?}");
    // 20.wav is in no row now.
    assert_eq!(rows.iter().filter(|row| &row[1] == "note").count(), 1);
    Ok(())
}

/// With a recipe, the samples are counted by its rules: those of `reproduce`.
#[test]
fn the_counts_agree_with_what_the_recipe_uses() -> Outcome {
    let folder = tempfile::tempdir()?;
    list(folder.path())?;
    wav(&folder.path().join("5.wav"), 20)?;
    let recipe = r#"
        about = "audio alone"
        seeds = [1]
        [data]
        set = "manifest"
        on-error = "skip"
        audio = { seconds = 0.5, front-end = { kind = "log-mel", rate = 8000, n_fft = 256, hop = 128, bands = 16 } }
        validation = { share = 0.25, group-by = "speaker" }
        [encoder]
        audio = { kind = "resnet20", channels = 1, width = 4, stem = "3x3-1" }
        [train]
        epochs = 1
        batch = 4
        lr = 0.01
        optimizer = { kind = "sgd", momentum = 0.9 }
        schedule = { kind = "constant" }
        [[stage]]
        id = "a"
        task = { kind = "single", modality = "audio" }
    "#;
    std::fs::write(folder.path().join("r.toml"), recipe)?;
    std::fs::write(folder.path().join("7.wav"), b"RIFF....WAVE")?;
    let (code, text, output) = check(folder.path(), &["my.csv", "--recipe", "r.toml", "--json"])?;
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(code, 6, "{text} {error}");
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let run = xtask()?
        .args(["reproduce", "r.toml", "--data", "my.csv", "--out", "runs", "--threads", "1"])
        .current_dir(folder.path())
        .output()?;
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let run = std::fs::read_dir(folder.path().join("runs"))?.next().ok_or("no run")??.path();
    let stages = run.join("stages");
    let stage = std::fs::read_dir(stages)?.next().ok_or("no stage")??.path();
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(stage.join("result.json"))?)?;
    for part in ["train", "validation", "test", "left_out"] {
        assert_eq!(report["plan"]["counts"][part], record["samples"][part], "{part}: {text}");
    }
    assert_eq!((&report["plan"]["skipped"], &record["samples"]["skipped"]["corrupt"]), (&1.into(), &1.into()));
    assert_eq!(report["findings"]["counts"]["equal-content"], 1, "{text}");
    Ok(())
}

/// Depth in metres that is read as millimetres, and an orientation that the depth does not have.
#[test]
fn depth_in_another_unit_and_orientation_tags_are_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    ["rgb", "depth", "label"].iter().try_for_each(|part| std::fs::create_dir(root.join(part)))?;
    for i in 1..=4u8 {
        let colours = image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([10 * i, x as u8 * 9, y as u8 * 9]));
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&colours)?;
        if i == 3 {
            // An EXIF segment behind the start marker: little-endian TIFF with one entry, Orientation = 3.
            let tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
            let length = (tiff.len() as u16 + 2).to_be_bytes();
            jpeg.splice(2..2, [&[0xff, 0xe1][..], &length, tiff].concat());
        }
        std::fs::write(root.join(format!("rgb/{i}.jpg")), jpeg)?;
        // Two to five metres.
        image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_fn(16, 16, |x, _| image::Luma([2 + x as u16 / 4]))
            .save(root.join(format!("depth/{i}.png")))?;
        image::GrayImage::from_fn(16, 16, |x, _| image::Luma([1 + (x as u8) / 8]))
            .save(root.join(format!("label/{i}.png")))?;
    }
    std::fs::write(root.join("train.txt"), "\u{feff}1\r\n2\r\n3\r\n")?;
    std::fs::write(root.join("test.txt"), "4\n")?;
    std::fs::write(root.join("classes.txt"), "wall\nfloor\n")?;
    let (code, text, _) = check(root, &[".", "--dataset", "sunrgbd"])?;
    assert_eq!(code, 6, "{text}");
    for words in [
        "depth-range: 1",
        "with depth.unit = 1 depths are 2 to 5 mm",
        "1000 for metres",
        "orientation: 1",
        "train.txt:3 `3`: ./rgb/3.jpg: the EXIF orientation is 3",
        "read as stored, the tag is ignored",
        "note, byte-order-mark: 1",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // With the right unit only the tag, and equal depth maps, are left.
    let unit = ["--recipe", "sunrgbd", "--set", "data.depth.unit=1000", "--set", "data.depth.rotated=false"];
    let (_, text, output) = check(root, &[&[".", "--dataset", "sunrgbd"][..], &unit].concat())?;
    assert!(!text.contains("depth-range") && text.contains("orientation: 1"), "{text} {output:?}");
    Ok(())
}
