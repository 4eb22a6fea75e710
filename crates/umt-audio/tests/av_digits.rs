//! Real clips, where they are present: lengths, alignment with ffmpeg, and time.

mod common;

use std::{env, fs, path::PathBuf, time::Instant};
use umt_audio::{Fill, FrontEnd, FrontEndConfig, Window, fit};

/// The folder of clips, from `UMT_SHARED` or beside the workspace.
fn clips() -> Option<Vec<PathBuf>> {
    let shared = env::var_os("UMT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let mut paths: Vec<PathBuf> =
        fs::read_dir(shared.join("data/av-digits/clips")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Some(paths)
}

#[test]
fn clips_decode_to_their_stated_length_in_under_three_milliseconds() {
    let Some(paths) = clips() else {
        println!("SKIPPED: set UMT_SHARED to the folder that holds data/av-digits");
        return;
    };
    let files: Vec<Vec<u8>> = paths.iter().step_by(10).map(|p| fs::read(p).unwrap()).collect();
    let mut front_end = FrontEnd::new(&FrontEndConfig::log_mel(16_000, 64)).unwrap();
    let (mut decoding, mut transforming) = (Vec::new(), Vec::new());
    for bytes in &files {
        let start = Instant::now();
        let wave = common::decode(bytes).unwrap();
        let decoded = Instant::now();
        // 25 packets of 1,024, less the priming, cut to 1.5 s by the edit list.
        assert_eq!((wave.rate, wave.channels.len(), wave.len()), (16_000, 1, 24_000));
        let out = front_end.run(&fit(&wave.mono(), 24_000, Window::Start, Fill::Zero));
        decoding.push((decoded - start).as_secs_f64() * 1e3);
        transforming.push(decoded.elapsed().as_secs_f64() * 1e3);
        assert_eq!(out.shape, [64, 151]);
        assert!(out.data.iter().all(|x| x.is_finite()));
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (decode, transform) = (median(&mut decoding), median(&mut transforming));
    println!("{} clips: decode {decode:.2} ms, log-mel {transform:.2} ms (medians)", files.len());
    assert!(decode + transform < 3.0, "{decode} ms + {transform} ms");
}
