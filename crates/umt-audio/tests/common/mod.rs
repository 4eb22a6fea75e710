//! Test signals by formula (the same arithmetic as golden/make_golden.py) and the fixtures.
#![allow(dead_code)] // each test binary uses its own part

use std::{f64::consts::TAU, fs, path::PathBuf};
use umt_media::{Limits, MediaError};

pub fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixture_path(name)).unwrap()
}

pub fn decode(bytes: &[u8]) -> Result<umt_audio::Waveform, MediaError> {
    umt_audio::decode(bytes, None, &Limits::default())
}

fn quantise(x: f64) -> f32 {
    ((x * 32767.0).round_ties_even() / 32768.0) as f32
}

/// Four tones, the weakest 60 dB under the strongest.
pub fn tones(n: usize) -> Vec<f32> {
    let wave = |a: f64, f: f64, i: f64| a * (TAU * f * i).sin();
    (0..n)
        .map(|i| i as f64)
        .map(|i| {
            quantise(wave(0.5, 0.0275, i) + wave(0.2, 0.0771, i) + wave(0.01, 0.3125, i) + wave(0.0005, 0.4371, i))
        })
        .collect()
}

/// Plucked strings after Karplus and Strong.
pub fn music(n: usize) -> Vec<f32> {
    let mut out = vec![0.0f64; n];
    let mut state = 12_345u64;
    for (note, start) in (0..n).step_by(4000).enumerate() {
        let period = [73, 61, 49, 97, 58, 82][note % 6];
        let mut string: Vec<f64> = (0..period)
            .map(|_| {
                state = (state * 1_103_515_245 + 12_345) & 0x7FFF_FFFF;
                state as f64 / f64::from(0x4000_0000) - 1.0
            })
            .collect();
        for i in 0..(n - start).min(8000) {
            let at = i % period;
            let sample = string[at];
            out[start + i] += 0.3 * sample;
            string[at] = 0.498 * (sample + string[(at + 1) % period]);
        }
    }
    out.iter().map(|x| quantise(x.clamp(-1.0, 1.0))).collect()
}

/// A recorded voice (fixtures/speech.flac), repeated to `n` samples.
pub fn speech(n: usize) -> Vec<f32> {
    let wave = decode(&fixture("speech.flac")).unwrap();
    umt_audio::fit(&wave.channels[0], n, umt_audio::Window::Start, umt_audio::Fill::Tile)
}
