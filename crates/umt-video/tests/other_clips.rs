//! Clips that the installed ffmpeg command reads, against the same stream in mp4 or the whole clip.

use std::{fs, path::Path, process::Command};
use umt_media::Limits;
use umt_video::{Frame, Pick, Select, decode_clip, decode_path};

/// Whether the command is there; without it these tests say that they were skipped.
fn installed() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(there || std::env::var_os("UMT_REQUIRE_DATA").is_none_or(|value| value != "1"), "ffmpeg is not installed");
    if !there {
        println!("SKIPPED: clips by ffmpeg, which is not installed");
    }
    there
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn frames(path: &Path, select: Select) -> Vec<Frame> {
    decode_path(path, &select, Pick::Middle, None, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn ffmpeg(arguments: &[&str], path: &Path) {
    let status = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

#[test]
fn a_stream_without_times_gives_the_frames_of_its_mp4() {
    if !installed() {
        return;
    }
    let mp4 = fs::read(golden("main.mp4")).unwrap();
    // The raw stream states no rate: only a choice by count compares.
    let rates = [Select::Rate { fps: 4.0, count: 5 }, Select::Rate { fps: 2.0, count: 3 }];
    let counts = [Select::Count { count: 12 }, Select::Count { count: 5 }];
    for (name, selects) in [("main.avi", [counts, rates].concat()), ("main.h264", counts.to_vec())] {
        for select in selects {
            let expected = decode_clip(&mp4, &select, Pick::Middle, None, &Limits::default()).unwrap();
            assert!(frames(&golden(name), select) == expected, "{name} {select:?}");
        }
    }
}

#[test]
fn more_than_a_hundred_frames_of_one_clip_are_read() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.avi");
    let source = "color=c=black:s=32x32:r=25:d=10,geq=lum='mod(N*5+X*4,256)':cb=128:cr=128";
    ffmpeg(&["-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-bf", "2", "-q:v", "2"], &path);
    let all = frames(&path, Select::Count { count: 250 });
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "a frame comes twice");
    let some = frames(&path, Select::Count { count: 125 });
    assert!(some.iter().zip(all.iter().skip(1).step_by(2)).all(|(a, b)| a == b));
}

#[test]
fn frames_of_a_clip_cut_from_an_open_group_are_counted_as_decoded() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole.mkv", "cut.mkv"].map(|name| folder.path().join(name));
    let source = "testsrc2=s=64x48:r=25:d=4";
    ffmpeg(&["-f", "lavfi", "-i", source, "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "2"], &whole);
    ffmpeg(&["-ss", "1.4", "-i", whole.to_str().unwrap(), "-c", "copy"], &cut);
    let all = frames(&whole, Select::Count { count: 100 });
    // Each frame of the cut, asked for by its number, is the one of the whole clip.
    let count = 5;
    let part = frames(&cut, Select::Rate { fps: 25.0, count: 200 });
    let first = all.iter().position(|frame| *frame == part[0]).unwrap();
    let there = part.iter().zip(&all[first..]).take_while(|(a, b)| a == b).count();
    assert_eq!(first + there, all.len(), "the last frame is shown before the end");
    let middle = frames(&cut, Select::Count { count });
    for (k, frame) in middle.iter().enumerate() {
        assert!(*frame == all[first + (2 * k + 1) * there / (2 * count)], "frame {k} of {count}");
    }
}

#[test]
fn a_still_image_is_a_clip_of_one_frame() {
    let picture = golden("picture.png");
    let still = frames(&picture, Select::Count { count: 3 });
    assert!(still.len() == 3 && still[0] == still[2]);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&picture, folder.path().join("frame1.png")).unwrap();
    fs::write(folder.path().join("._frame1.png"), b"\0\x05\x16\x07 not an image").unwrap();
    fs::write(folder.path().join(".DS_Store"), b"\0\0\0\x01Bud1").unwrap();
    assert!(frames(folder.path(), Select::Count { count: 1 })[0] == still[0]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_rejected_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let select = Select::Count { count: 1 };
    let error = decode_path(&pipe, &select, Pick::Middle, None, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}
