use super::*;
use std::{fs, time::Instant};

/// A command that stands for ffmpeg.
#[cfg(unix)]
fn stand_in(folder: &Path, script: &str) -> Ffmpeg {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("stand-in");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Ffmpeg { program, time_limit: Duration::from_secs(20) }
}

const LISTING: &str = "#software: Lavf\n#tb 0: 1/10\n#media_type 0: video\n#codec_id 0: mpeg4\n\
    #dimensions 0: 2x1\n#sar 0: 1/1\n0, -1, -1, 1, 9, 0xaa, F=0x5\n0, 0, 0, 1, 9, 0xaa\n\
    0, 1, 2, 1, 9, 0xaa, F=0x0\n0, 2, 1, 1, 9, 0xaa, F=0x0\n";

fn decode(ffmpeg: &Ffmpeg) -> Result<Option<Vec<Frame>>, MediaError> {
    let select = Select::Count { count: 3 };
    ffmpeg.decode(Path::new("clip.avi"), &select, Pick::Middle, None, &Limits::default())
}

#[test]
fn a_listing_is_sorted_by_time_and_hidden_packets_are_left_out() {
    let listing = parse_listing(LISTING).unwrap();
    assert_eq!(listing.timeline, Timeline { starts: vec![0, 1, 2], end: 3, timescale: 10 });
    assert_eq!((listing.size, listing.codec.as_str()), ((2, 1), "mpeg4"));
    assert!(parse_listing("").is_none());
    assert!(parse_listing("#tb 0: 1/0\n#dimensions 0: 2x1\n0, 0, 0, 1, 9, 0xaa\n").is_none());
    assert!(parse_listing("#tb 0: 1/9\n#dimensions 0: 2x1\n0, 0, NOPTS, 1, 9\n").is_none());
}

#[test]
fn without_the_command_nothing_is_given() {
    let ffmpeg = Ffmpeg { program: "/no/such/ffmpeg".into(), ..Ffmpeg::default() };
    assert!(decode(&ffmpeg).unwrap().is_none());
    let info = ffmpeg.probe(Path::new("clip.avi"), &Limits::default()).unwrap();
    assert!(info.is_none());
}

#[cfg(unix)]
#[test]
fn frames_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "case \"$*\" in *framecrc*) printf '{}';;\n*) for v in 1 2 3; do printf \"P6\\n2 1\\n255\\n${{v}}bcdef\"; done;; esac",
        LISTING.replace('\n', "\\n")
    );
    let frames = decode(&stand_in(folder.path(), &script)).unwrap().unwrap();
    let first: Vec<u8> = frames.iter().map(|frame| frame.rgb[0]).collect();
    assert_eq!((first, frames[0].width, frames[0].height), (b"123".to_vec(), 2, 1));
}

#[cfg(unix)]
#[test]
fn complaints_too_few_frames_and_bad_headers_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let listing = LISTING.replace('\n', "\\n");
    for (tail, expected) in [
        ("echo broken >&2", "ffmpeg says: broken"),
        ("printf 'P6\\n2 1\\n255\\nabcdef'", "1 of the 3 frames"),
        ("printf 'P6\\n60000 60000\\n255\\n'", "over the limit"),
        ("printf 'P6\\n2 1\\n255\\nabc'", "ends too early"),
        ("printf 'some thing else entirely '", "no PPM header"),
    ] {
        let script = format!("case \"$*\" in *framecrc*) printf '{listing}';; *) {tail};; esac");
        let error = decode(&stand_in(folder.path(), &script)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = decode(&stand_in(folder.path(), "exit 1")).unwrap_err().to_string();
    assert!(error.contains("lists no video frame"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_command_that_hangs_or_never_stops_talking_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut hangs = stand_in(folder.path(), "exec sleep 1000");
    hangs.time_limit = Duration::from_millis(300);
    let error = decode(&hangs).unwrap_err().to_string();
    assert!(error.contains("longer than 0.3 s"), "{error}");
    let talks = stand_in(folder.path(), "exec yes '0, 0, 0, 1, 9, 0xaa'");
    let limits = Limits { max_frames: 1000, ..Limits::default() };
    let error = talks.probe(Path::new("clip.avi"), &limits).unwrap_err();
    assert!(matches!(error, MediaError::Limit { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15));
}
