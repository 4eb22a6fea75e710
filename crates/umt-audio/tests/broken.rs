//! Cut, changed and lying files: an error or the same sound, never a panic or invented samples.

mod common;

use common::{decode, fixture};
use std::{fs, time::Instant};
use umt_media::{Limits, MediaError};

const FILES: [&str; 14] = [
    "stereo.mp3",
    "plain.mp3",
    "stereo.ogg",
    "stereo.flac",
    "deep.flac",
    "mono.m4a",
    "front.mp4",
    "fragments.mp4",
    "no-edits.mp4",
    "mono.mkv",
    "delay.mkv",
    "vorbis.mkv",
    "mono.aac",
    "opus.ogg",
];

/// A wav of 16 bits, 300 samples of two channels.
fn small_wav() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0");
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(64_000u32.to_le_bytes());
    bytes.extend([4, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(1200u32.to_le_bytes());
    bytes.extend((0..600i16).flat_map(|i| (i * 50).to_le_bytes()));
    let size = bytes.len() as u32 - 8;
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// Cuts that a format cannot show, because nothing in the file tells its length.
fn may_pass(name: &str) -> bool {
    matches!(name, "plain.mp3" | "fragments.mp4" | "mono.aac")
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let mut files: Vec<(&str, Vec<u8>)> = FILES.iter().map(|&name| (name, fixture(name))).collect();
    files.push(("small.wav", small_wav()));
    for (name, bytes) in files {
        let whole = decode(&bytes);
        let mut passed = 0;
        for cut in 0..bytes.len() {
            match decode(&bytes[..cut]) {
                Err(_) => (),
                Ok(part) => {
                    passed += 1;
                    assert!(may_pass(name), "{name} cut at {cut} of {} passed", bytes.len());
                    // What passes is a beginning of the sound, sample for sample (all of it where
                    // only an index was cut off).
                    let whole = whole.as_ref().unwrap();
                    assert!(part.len() <= whole.len(), "{name} cut at {cut}: silence was added");
                    for (a, b) in part.channels.iter().zip(&whole.channels) {
                        assert_eq!(a[..], b[..a.len()], "{name} cut at {cut}");
                    }
                }
            }
        }
        // Only cuts at a frame or fragment pass.
        assert!(passed <= 16, "{name}: {passed} cuts passed");
        println!("{name}: {} cuts, {passed} at a boundary passed", bytes.len());
    }
}

#[test]
fn changed_bytes_never_panic_or_hang() {
    let limits = Limits { max_samples: 200_000, ..Limits::default() };
    let mut rng = umt_random::stream(7, "broken", 0, 0);
    let mut slowest = (0.0, String::new());
    for name in FILES.iter().chain(&["small.wav", "silent-film.mp4"]) {
        let bytes = if *name == "small.wav" { small_wav() } else { fixture(name) };
        for round in 0..1200 {
            let mut changed = bytes.clone();
            // The headers are where a change matters most.
            let span = if round % 2 == 0 { bytes.len().min(700) } else { bytes.len() };
            for _ in 0..=rng.below(4) {
                let at = rng.below(span as u64) as usize;
                changed[at] = match rng.below(4) {
                    0 => 0xFF,
                    1 => 0,
                    2 => changed[at] ^ (1 << rng.below(8)),
                    _ => rng.below(256) as u8,
                };
            }
            if rng.below(4) == 0 {
                changed.truncate(rng.below(bytes.len() as u64) as usize);
            }
            let start = Instant::now();
            if let Ok(wave) = umt_audio::decode(&changed, None, &limits) {
                assert!(wave.channels.iter().flatten().all(|x| x.is_finite()));
            }
            let took = start.elapsed().as_secs_f64();
            if took > slowest.0 {
                slowest = (took, format!("{name} round {round}"));
            }
        }
    }
    println!("slowest {slowest:?}");
    assert!(slowest.0 < 1.0, "{slowest:?}");
}

/// Peak resident memory of this process, KiB (Linux; elsewhere nothing is compared).
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn put(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + value.len()].copy_from_slice(value);
    out
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|w| w == what).unwrap()
}

#[test]
fn headers_that_promise_gigabytes_are_refused_at_once() {
    let wav = small_wav();
    let flac = fixture("deep.flac");
    let m4a = fixture("mono.m4a");
    let mkv = fixture("mono.mkv");
    let mdat = position(&m4a, b"mdat") - 4;
    let stsz = position(&m4a, b"stsz") + 12;
    let elst = position(&m4a, b"elst") + 8;
    let segment = position(&mkv, &[0x18, 0x53, 0x80, 0x67]) + 4;
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("wav data of 4 GiB", put(&wav, 40, &0xFFFF_FFFEu32.to_le_bytes())),
        ("wav of 3 GiB", put(&wav, 40, &[0xF0, 0xFF, 0xFF, 0xC0])),
        ("wav without a rate", put(&wav, 24, &[0; 4])),
        ("wav of 4 GHz", put(&wav, 24, &[0xFF; 4])),
        ("wav without channels", put(&wav, 22, &[0; 2])),
        ("wav of 65,535 channels", put(&wav, 22, &[0xFF; 2])),
        ("wav without bits", put(&wav, 34, &[0; 2])),
        ("flac of 2^36 samples", put(&flac, 21, &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF])),
        ("flac with a huge picture", put(&flac, 43, &[0xFF, 0xFF, 0xFF])),
        ("mp4 data of 4 GiB", put(&m4a, mdat, &[0xFF; 4])),
        ("mp4 of 2^32 packets", put(&m4a, stsz, &[0xFF; 4])),
        ("mp4 of 2^32 edits", put(&m4a, elst, &[0xFF; 4])),
        ("mkv of 2^56 bytes", put(&mkv, segment, &[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE])),
        ("only a riff header", b"RIFF\xFF\xFF\xFF\xFFWAVE".to_vec()),
        ("an ID3 tag of 256 MiB", b"ID3\x04\0\0\x7F\x7F\x7F\x7F".to_vec()),
    ];
    let before = peak_kib();
    for (what, bytes) in &bombs {
        // The quickest of five: on a busy machine a single one may wait for its turn.
        let attempt = || {
            let start = Instant::now();
            let error = decode(bytes).map(|w| w.len()).unwrap_err();
            (start.elapsed(), error)
        };
        let (took, error) = (0..5).map(|_| attempt()).min_by_key(|(took, _)| *took).unwrap();
        println!("{what}: {error} ({took:?})");
        assert!(took.as_millis() < 5, "{what}: {took:?}");
        assert!(!matches!(error, MediaError::Missing { .. }), "{what}: {error}");
    }
    // The other tests of this process decode small files beside it, hence not 1 MiB exactly.
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before < 8 << 10, "peak grew by {} KiB", after - before);
    }
}

#[test]
fn limits_stop_a_long_file_early() {
    let bytes = fixture("stereo.mp3");
    let limits = Limits { max_samples: 1000, ..Limits::default() };
    let error = umt_audio::decode(&bytes, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Limit { limit: 1000, .. }), "{error}");
    let limits = Limits { max_channels: 1, ..Limits::default() };
    let error = umt_audio::decode(&bytes, None, &limits).unwrap_err();
    assert!(matches!(error, MediaError::Limit { limit: 1, value: 2, .. }), "{error}");
    let limits = Limits { max_file_bytes: 100, ..Limits::default() };
    assert!(matches!(umt_audio::decode(&bytes, None, &limits).unwrap_err(), MediaError::Limit { limit: 100, .. }));
}

#[test]
fn a_sample_that_is_not_a_number_is_refused() {
    let mut bytes = small_wav();
    bytes[20] = 3; // IEEE float
    bytes[28..32].copy_from_slice(&128_000u32.to_le_bytes());
    bytes[32] = 8;
    bytes[34] = 32;
    bytes[44..].fill(0);
    assert_eq!(decode(&bytes).unwrap().len(), 150);
    bytes[100..104].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(decode(&bytes).unwrap_err().to_string().contains("finite"));
}
