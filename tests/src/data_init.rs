//! From data as people have them to a table: `data init`, then the recipe that it wrote.

use std::error::Error;
use std::path::Path;

use crate::command::xtask;
use crate::tiny::Outcome;

/// Each class: a tone, and a picture of a colour, eleven times.
const CLASSES: [(&str, f32, u8); 2] = [("low", 0.2, 60), ("high", 0.5, 200)];
const EACH: usize = 11;

/// `place(class, number)` names a sample's files without their ending.
fn samples(root: &Path, place: &dyn Fn(&str, usize) -> String) -> Outcome {
    for (class, step, level) in CLASSES {
        for i in 0..EACH {
            let stem = root.join(place(class, i));
            std::fs::create_dir_all(stem.parent().ok_or("no folder")?)?;
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: 8000,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut wav = hound::WavWriter::create(format!("{}.wav", stem.display()), spec)?;
            for n in 0..3200 + 100 * i {
                wav.write_sample(((n as f32 * step + i as f32).sin() * 8000.0) as i16)?;
            }
            wav.finalize()?;
            image::RgbImage::from_pixel(30, 24, image::Rgb([level + i as u8, 40, 90]))
                .save(format!("{}.png", stem.display()))?;
        }
    }
    Ok(())
}

fn ran(folder: &Path, words: &str) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let output = xtask()?.args(words.split(' ')).current_dir(folder).output()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.code(), text))
}

fn columns(manifest: &Path) -> Result<(String, usize), Box<dyn Error>> {
    let text = std::fs::read_to_string(manifest)?;
    Ok((text.lines().next().unwrap_or_default().to_owned(), text.lines().count() - 1))
}

#[test]
fn a_folder_by_class_becomes_a_umt_table_in_three_commands() -> Outcome {
    let folder = tempfile::tempdir()?;
    let clips = folder.path().join("clips");
    samples(&clips, &|class, i| format!("{class}/{i}"))?;
    // What is wrong with it: a broken file, a class without samples, a note, and a test sample that is a copy.
    std::fs::write(clips.join("low/3.wav"), b"RIFF....WAVE and then nothing")?;
    std::fs::create_dir(clips.join("none"))?;
    std::fs::write(clips.join("notes.txt"), "to do")?;
    for i in 1..EACH {
        std::fs::copy(clips.join("high/0.wav"), clips.join(format!("high/{i}.wav")))?;
    }

    let (code, text) = ran(folder.path(), "data init clips")?;
    assert_eq!(code, Some(0), "{text}");
    for word in ["22 samples", "corrupt: 1", "`none`", "notes.txt", "no test split", "equal-content", "fewer than 10"] {
        assert!(text.contains(word), "does not say {word}: {text}");
    }
    assert_eq!(columns(&clips.join("manifest.csv"))?, ("id,label,split,audio,video".into(), 22));
    let (code, again) = ran(folder.path(), "data init clips")?;
    assert!(code == Some(2) && again.contains("--force"), "{again}");

    // The command that it names.
    let next = text.lines().find_map(|line| line.strip_prefix("next:    umt ")).ok_or("no next command")?;
    let (code, text) = ran(folder.path(), &format!("{next} --threads 2"))?;
    assert_eq!(code, Some(0), "{text}");
    for word in ["teacher.audio", "umt-0.5", "umt-10", "│ umt ", "│ ume ", "chosen on validation"] {
        assert!(text.contains(word), "does not say {word}: {text}");
    }
    assert!(folder.path().join("runs/clips/report.html").is_file());
    Ok(())
}

#[test]
fn lists_with_columns_of_their_own_are_read() -> Outcome {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    // Files in a folder next to the list, other names, an actor.
    samples(&at("a/sounds"), &|class, i| format!("{class}{i}"))?;
    let rows =
        CLASSES.iter().flat_map(|(class, ..)| (0..EACH).map(move |i| format!("{class}{i}.wav,{class},p{}\n", i % 4)));
    std::fs::write(at("a/words.csv"), format!("file,emotion,actor\n{}", rows.collect::<String>()))?;
    let (code, text) = ran(folder.path(), "data init a/words.csv --list-only --column group:speaker=actor")?;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(columns(&at("a/manifest.csv"))?, ("id,label,split,audio,group:speaker".into(), 22));
    let recipe = std::fs::read_to_string(at("a/words.toml"))?;
    assert!(recipe.contains("group-by = \"speaker\"") || recipe.contains("group-by = \"none\""), "{recipe}");

    // VGGSound's form without a header: ids, start seconds, classes, splits. One clip is gone.
    samples(&at("v/video"), &|class, i| format!("-_{class}{i}_{:06}", 7 * i))?;
    std::fs::remove_file(at("v/video/-_low5_000035.wav"))?;
    std::fs::remove_file(at("v/video/-_low5_000035.png"))?;
    let row = |class: &str, i: usize| {
        let split = if i < 9 { "train" } else { "test" };
        format!("-_{class}{i},{},\"{class}, a tone\",{split}\n", 7 * i)
    };
    let rows = CLASSES.iter().flat_map(|(class, ..)| (0..EACH).map(move |i| row(class, i)));
    std::fs::write(at("v/list.csv"), rows.collect::<String>())?;
    let (code, text) = ran(folder.path(), "data init v --list-only")?;
    assert!(code == Some(0) && text.contains("1 of 22 rows have no file"), "{text}");
    assert_eq!(columns(&at("v/manifest.csv"))?, ("id,label,split,audio,video".into(), 21));
    let manifest = std::fs::read_to_string(at("v/manifest.csv"))?;
    assert!(
        manifest.contains("-_low3_21,\"low, a tone\",train,video/-_low3_000021.wav,video/-_low3_000021.png"),
        "{manifest}"
    );

    // A list that does not say which column is the class.
    std::fs::write(at("a/two.csv"), "file,x,y1\nlow0.wav,a,b\nlow1.wav,a,c\nhigh0.wav,d,b\nhigh1.wav,d,c\n")?;
    let (code, text) = ran(folder.path(), "data init a/two.csv --out two")?;
    assert!(code == Some(6) && text.contains("--column label=NAME"), "{text}");
    let (code, text) = ran(folder.path(), "data init a/two.csv --out two --column label=x")?;
    assert!(code == Some(0) && at("two/two.toml").is_file(), "{text}");
    let (code, text) = ran(folder.path(), "data init a/two.csv --out three --column label=z")?;
    assert!(code == Some(6) && text.contains("file, x, y1"), "{text}");
    Ok(())
}

#[test]
fn pairs_of_colour_and_depth_become_a_segmentation_recipe() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (code, text) = ran(folder.path(), "data make frames --dataset nyuv2 --train 5 --test 2")?;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = ran(folder.path(), "data init frames --out mine")?;
    assert!(code == Some(0) && text.contains("colour and depth"), "{text}");
    let (header, rows) = columns(&folder.path().join("mine/manifest.csv"))?;
    assert_eq!((header.as_str(), rows), ("id,split,depth,label-map,rgb", 7));
    assert!(folder.path().join("mine/classes.txt").is_file());
    let small =
        "--only joint --threads 2 --set train.epochs=1 --set data.dense.size=[32,32] --set data.validation.share=0.25";
    let (code, text) = ran(folder.path(), &format!("reproduce mine/frames.toml --quick {small}"))?;
    assert!(code == Some(0) && text.contains("mIoU"), "{text}");
    Ok(())
}
