use super::*;
use std::{
    fs,
    time::{Duration, Instant},
};

/// A command that is used instead of ffmpeg.
#[cfg(unix)]
fn stand_in(folder: &Path, script: &str) -> Ffmpeg {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("stand-in");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Ffmpeg { program, time_limit: Duration::from_secs(20) }
}

const CONFIG: &str = "[Parsed_showinfo_0 @ 0x1] [info] config in time_base: 1/50, frame_rate: 25/1";

fn line(n: usize, pts: &str) -> String {
    format!("[Parsed_showinfo_0 @ 0x1] [info] n: {n:>3} pts: {pts:>6} pts_time:0.2 pos: 5 fmt:rgb24 s:2x1 i:P")
}

fn listing(times: &[&str]) -> Option<Timeline> {
    let mut listing = Listing::default();
    listing.add(CONFIG);
    times.iter().enumerate().for_each(|(n, pts)| listing.add(&line(n, pts)));
    listing.add("[mpeg4 @ 0x1] [info] n: pts: 3");
    listing.timeline()
}

fn run(ffmpeg: &Ffmpeg) -> Result<Option<Vec<Frame>>, MediaError> {
    let select = Select::Count { count: 3 };
    decode(ffmpeg, Path::new("clip.avi"), &select, Pick::Middle, None, &Limits::default())
}

#[test]
fn a_listing_begins_at_its_first_frame() {
    let expected = Timeline { starts: vec![0, 2, 5], end: 7, timescale: 50 };
    assert_eq!(listing(&["4", "6", "9"]), Some(expected));
    assert_eq!(listing(&[]), None);
}

#[test]
fn frames_without_times_or_out_of_order_are_shown_at_the_streams_rate() {
    let expected = Timeline { starts: vec![0, 1, 2], end: 3, timescale: 25 };
    for times in [["0", "NOPTS", "2"], ["NOPTS"; 3], ["0", "4", "4"], ["5", "3", "9"]] {
        assert_eq!(listing(&times), Some(expected.clone()), "{times:?}");
    }
}

#[test]
fn packets_without_times_are_counted() {
    let timed = |text: &str| mostly_timed(Path::new("clip"), &mut text.as_bytes()).unwrap();
    assert!(timed("#tb 0: 1/9\n0, 0, 0, 1, 9, 0xaa\n0, 1, 2, 1, 9, 0xaa, F=0x0\n"));
    assert!(!timed("0, 0, -9223372036854775808, 1, 9, 0xaa\n"));
}

#[test]
fn any_number_of_frames_can_be_chosen() {
    assert_eq!(chosen(&[1, 5, 7]), "(eq(n,1)+(eq(n,5)+eq(n,7)))");
    let many: Vec<usize> = (0..4000).map(|index| index * 30).collect();
    let filter = chosen(&many);
    let depth = filter.chars().scan(0i32, |depth, c| {
        *depth += i32::from(c == '(') - i32::from(c == ')');
        Some(*depth)
    });
    assert!(depth.max() < Some(20) && filter.len() < 100_000);
    let more: Vec<usize> = (0..4001).map(|index| index * 2).collect();
    assert_eq!((chosen(&more).as_str(), sent(&more).len()), ("lte(n,8000)", 8001));
}

#[test]
fn without_the_command_nothing_is_returned() {
    let ffmpeg = Ffmpeg { program: "/no/such/ffmpeg".into(), ..Ffmpeg::default() };
    assert!(run(&ffmpeg).unwrap().is_none());
}

/// A script that lists three frames, and then runs `tail`.
#[cfg(unix)]
fn script(tail: &str) -> String {
    let lines = [CONFIG.to_owned(), line(0, "0"), line(1, "2"), line(2, "4")].join("\n");
    format!("case \"$*\" in *showinfo*) echo '{lines}' >&2; echo '0, 0, 0, 1, 9, 0xaa';; *) {tail};; esac")
}

#[cfg(unix)]
#[test]
fn frames_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("for v in 1 2 3; do printf \"P6\\n2 1\\n255\\n${v}bcdef\"; done");
    let frames = run(&stand_in(folder.path(), &script)).unwrap().unwrap();
    let first: Vec<u8> = frames.iter().map(|frame| frame.rgb[0]).collect();
    assert_eq!((first, frames[0].width, frames[0].height), (b"123".to_vec(), 2, 1));
}

#[cfg(unix)]
#[test]
fn complaints_too_few_frames_and_bad_headers_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (tail, expected) in [
        ("echo '[x @ 0x1] [error] broken' >&2", "clip.avi, read by the installed ffmpeg, is malformed: ffmpeg reports"),
        ("printf 'P6\\n2 1\\n255\\nabcdef'", "1 of the 3 frames"),
        ("printf 'P6\\n60000 60000\\n255\\n'", "over the limit"),
        ("printf 'P6\\n2 1\\n255\\nabc'", "ends too early"),
        ("printf 'some thing else entirely '", "no PPM header"),
    ] {
        let error = run(&stand_in(folder.path(), &script(tail))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = run(&stand_in(folder.path(), "exit 1")).unwrap_err().to_string();
    assert!(error.contains("decodes no video frame"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_command_that_hangs_or_never_stops_talking_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut hangs = stand_in(folder.path(), "exec sleep 1000");
    hangs.time_limit = Duration::from_millis(300);
    let error = run(&hangs).unwrap_err().to_string();
    assert!(error.contains("longer than 0.3 s"), "{error}");
    let mut talks = stand_in(folder.path(), &format!("exec yes '{}' >&2", line(0, "0")));
    talks.time_limit = Duration::from_millis(300);
    assert!(run(&talks).is_err());
    assert!(start.elapsed() < Duration::from_secs(15));
}
