//! The fixtures against what ffmpeg shows of them; see `golden/make_golden.py`.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use umt_media::{Limits, MediaError};
use umt_video::{Frame, Pick, Select, decode_clip, decode_path};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden() -> Value {
    let text = fs::read_to_string(folder().join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// Every frame once.
fn all(count: usize) -> Select {
    Select::Count { count }
}

fn compare(name: &str, frames: &[Frame], golden: &Value) {
    let size = |key: &str| golden[key].as_u64().unwrap() as usize;
    let (width, height) = (size("width"), size("height"));
    assert_eq!(frames.len(), golden["mean"].as_array().unwrap().len(), "{name}");
    let spread = |count: usize, last: usize| (0..count).map(move |k| k * last / (count - 1));
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!((frame.width, frame.height), (width, height), "{name}");
        assert_eq!(frame.rgb.len(), width * height * 3);
        for channel in 0..3 {
            let sum: u64 = frame.rgb.iter().skip(channel).step_by(3).map(|value| u64::from(*value)).sum();
            let mean = sum as f64 / (width * height) as f64;
            let expected = golden["mean"][index][channel].as_f64().unwrap();
            assert!((mean - expected).abs() < 0.001, "{name}, frame {index}: {mean} {expected}");
        }
        if index % 5 == 0 {
            let mut expected = golden["pixels"][index / 5].as_array().unwrap().iter();
            for y in spread(7, height - 1) {
                for x in spread(9, width - 1) {
                    for channel in 0..3 {
                        let value = i64::from(frame.rgb[(y * width + x) * 3 + channel]);
                        let expected = expected.next().unwrap().as_i64().unwrap();
                        assert!(value == expected, "{name}, frame {index} at {x},{y}: {value} {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn colours_orientation_and_order_are_those_of_ffmpeg() {
    let golden = golden();
    for (name, golden) in golden["clips"].as_object().unwrap() {
        if name.starts_with("mpeg4") {
            continue;
        }
        let bytes = read(name);
        let count = golden["mean"].as_array().unwrap().len();
        let frames = decode_clip(&bytes, &all(count), Pick::Middle, None, &Limits::default()).unwrap();
        compare(name, &frames, golden);
    }
}

#[test]
fn uneven_frames_are_selected_by_their_times() {
    // Shown at 0, 0.25, 0.375, 0.5, 0.75, 0.875, 1, 1.25, 1.375 s, to the end at 1.5 s; asked for at
    // 0.125, 0.375, 0.625 s and so on. A frame that begins at that very time is on screen.
    let bytes = read("uneven.mp4");
    let limits = Limits::default();
    let every = decode_clip(&bytes, &all(9), Pick::Middle, None, &limits).unwrap();
    let select = Select::Rate { fps: 4.0, count: 8 };
    let frames = decode_clip(&bytes, &select, Pick::Middle, None, &limits).unwrap();
    let expected = [0, 2, 3, 5, 6, 8, 8, 8].map(|index: usize| every[index].clone());
    for (index, (frame, expected)) in frames.iter().zip(&expected).enumerate() {
        assert!(frame == expected, "frame {index}");
    }
}

#[test]
fn frames_come_at_the_size_asked_for_and_random_ones_by_their_bits() {
    let bytes = read("rotated90.mp4");
    let decode = |bits| {
        let select = Select::Count { count: 3 };
        decode_clip(&bytes, &select, Pick::Random(bits), Some((20, 30)), &Limits::default()).unwrap()
    };
    let frames = decode(5);
    assert!(frames.iter().all(|frame| (frame.width, frame.height) == (20, 30)));
    assert_eq!(frames, decode(5));
    assert!((0..20).any(|bits| decode(bits) != frames));
}

#[test]
fn another_codec_is_named_and_goes_to_ffmpeg_where_it_is_installed() {
    let limits = Limits::default();
    let error = decode_clip(&read("mpeg4.mp4"), &all(12), Pick::Middle, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Unsupported { .. }));
    let message = error.to_string();
    assert!(message.contains("mp4v") && message.contains("install the `ffmpeg` command"), "{message}");
    let error = decode_clip(&read("mpeg4.avi"), &all(12), Pick::Middle, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Unsupported { .. }));
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        println!("SKIPPED: other codecs by ffmpeg, which is not installed");
        return;
    }
    let golden = golden();
    for name in ["mpeg4.mp4", "mpeg4.avi"] {
        let path = folder().join(name);
        let frames = decode_path(&path, &all(12), Pick::Middle, None, &limits).unwrap();
        compare(name, &frames, &golden["clips"][name]);
        let select = Select::Rate { fps: 2.0, count: 5 };
        let few = decode_path(&path, &select, Pick::Middle, Some((32, 24)), &limits).unwrap();
        assert_eq!((few.len(), few[4].width), (5, 32));
        assert!(few[3] == few[4] && few[2] != few[3], "a short clip repeats its last frame");
    }
}

#[test]
fn errors_name_the_file_and_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let decode = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        decode_path(&path, &all(1), Pick::Middle, None, &Limits::default()).unwrap_err().to_string()
    };
    let main = read("main.mp4");
    let error = decode("-cut.mp4", &main[..main.len() - 1]);
    assert!(error.contains("-cut.mp4") && error.contains("cut short"), "{error}");
    let error = decode("empty.mp4", b"");
    assert!(error.contains("empty.mp4") && error.contains("is empty"), "{error}");
    let missing = folder.path().join("no.mp4");
    let error = decode_path(&missing, &all(1), Pick::Middle, None, &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Io { .. }) && error.to_string().contains("no.mp4"));
    let limits = Limits { max_frames: 5, ..Limits::default() };
    let error = decode_clip(&main, &all(1), Pick::Middle, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Limit { value: 12, limit: 5, .. }), "{error}");
    let limits = Limits { max_pixels: 1000, ..Limits::default() };
    let error = decode_clip(&main, &all(1), Pick::Middle, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Limit { value: 3072, .. }), "{error}");
}
