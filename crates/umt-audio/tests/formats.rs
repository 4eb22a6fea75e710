//! Every container and codec against ffmpeg's decoding (fixtures/make_fixtures.py).

mod common;

use common::{decode, fixture};
use serde_json::Value;
use std::f64::consts::PI;
use umt_media::MediaError;

/// Left or right channel of the formula that the fixtures were encoded from.
fn formula(rate: u32, channel: usize) -> Vec<f64> {
    let (rate, seconds) = (f64::from(rate), 0.5);
    let click = (rate * seconds / 4.0).round_ties_even() as usize;
    (0..(rate * seconds) as usize)
        .map(|i| {
            let t = i as f64 / rate;
            if channel == 0 {
                let swell = 0.2 + 0.8 * (PI * t / seconds).sin().powi(2);
                0.5 * swell * (2.0 * PI * (200.0 * t + 1400.0 * t * t / seconds)).sin()
            } else {
                let click = if i == click { 0.5 } else { 0.0 };
                0.4 * (2.0 * PI * 440.0 * t).sin() + click
            }
        })
        .collect()
}

fn correlation(a: &[f64], b: &[f32], lag: usize) -> f64 {
    let pairs = || a.iter().zip(&b[lag..]).map(|(&x, &y)| (x, f64::from(y)));
    let sum = |f: fn((f64, f64)) -> f64| pairs().map(f).sum::<f64>();
    sum(|(x, y)| x * y) / (sum(|(x, _)| x * x) * sum(|(_, y)| y * y)).sqrt()
}

/// File, samples that must come out, delay against the formula, delay against ffmpeg.
///
/// Delays remain where the file tells of none: an mp3 without a tag, AAC in matroska as ffmpeg
/// writes it, AAC in its own framing. ffmpeg leaves AAC's 1,024 in an mp4 without an edit list.
const FILES: [(&str, usize, usize, usize); 13] = [
    ("stereo.mp3", 11_025, 0, 0),
    ("plain.mp3", 9_216, 1_105, 0),
    ("stereo.ogg", 11_025, 0, 0),
    ("stereo.flac", 8_000, 0, 0),
    ("deep.flac", 4_000, 0, 0),
    ("mono.m4a", 8_000, 0, 0),
    ("front.mp4", 11_025, 0, 0),
    ("fragments.mp4", 8_192, 0, 1_024),
    ("no-edits.mp4", 8_192, 0, 1_024),
    ("mono.mkv", 9_216, 1_024, 0),
    ("delay.mkv", 8_192, 0, 1_024),
    ("vorbis.mkv", 8_192, 0, 0),
    ("mono.aac", 9_216, 1_024, 0),
];

#[test]
fn every_format_gives_ffmpegs_samples_at_the_right_place() {
    let golden: Value = serde_json::from_str(include_str!("fixtures/fixtures.json")).unwrap();
    for (name, samples, delay, ffmpeg_delay) in FILES {
        let wave = decode(&fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = &golden["files"][name];
        assert_eq!(u64::from(wave.rate), expected["rate"].as_u64().unwrap(), "{name}");
        assert_eq!(wave.channels.len() as u64, expected["channels"].as_u64().unwrap(), "{name}");
        assert_eq!(wave.len(), samples, "{name}");
        let at = expected["at"].as_array().unwrap();
        for (at, values) in at.iter().zip(expected["values"].as_array().unwrap()) {
            let at = (at.as_u64().unwrap() as usize).wrapping_sub(ffmpeg_delay);
            for (channel, value) in wave.channels.iter().zip(values.as_array().unwrap()) {
                // Samples before the start or past the end that the file states are ffmpeg's.
                let Some(&ours) = channel.get(at) else {
                    continue;
                };
                let difference = (f64::from(ours) - value.as_f64().unwrap()).abs();
                assert!(difference < 1e-5, "{name} at {at}: off by {difference}");
            }
        }
        for (c, channel) in wave.channels.iter().enumerate() {
            let source = formula(wave.rate, c);
            let here = correlation(&source[..source.len() - 1], channel, delay);
            assert!(here > 0.94, "{name} channel {c}: correlation {here}");
            let late = correlation(&source[..source.len() - 1], channel, delay + 1);
            assert!(c == 1 || late < here, "{name}: fits better one sample later");
        }
    }
}

#[test]
fn a_clip_without_sound_and_a_codec_that_is_not_read_have_their_own_errors() {
    let silent = decode(&fixture("silent-film.mp4")).unwrap_err();
    assert!(matches!(silent, MediaError::Missing { .. }), "{silent}");
    let opus = decode(&fixture("opus.ogg")).unwrap_err();
    assert!(matches!(opus, MediaError::Unsupported { .. }), "{opus}");
    let unknown = umt_audio::decode(b"GIF89a......", Some("gif"), &Default::default()).unwrap_err();
    assert!(matches!(unknown, MediaError::Unsupported { .. }));
    assert!(unknown.to_string().contains(".gif"), "{unknown}");
    assert!(matches!(decode(b"").unwrap_err(), MediaError::Malformed { .. }));
}

fn wav(bits: u16, float: bool, channels: u16, samples: &[f64]) -> Vec<u8> {
    let format = if float { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
    let spec = hound::WavSpec { channels, sample_rate: 11_025, bits_per_sample: bits, sample_format: format };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for &x in samples {
        if float {
            writer.write_sample(x as f32).unwrap();
        } else {
            let full = 2f64.powi(i32::from(bits) - 1);
            writer.write_sample((x * full).round().clamp(-full, full - 1.0) as i32).unwrap();
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn wav_of_every_depth_and_channel_count() {
    let source: Vec<f64> = (0..600).map(|i| (f64::from(i) * 0.37).sin() * 0.9).collect();
    for (bits, float) in [(8, false), (16, false), (24, false), (32, false), (32, true)] {
        for channels in [1u16, 2, 3, 6] {
            let wave = decode(&wav(bits, float, channels, &source)).unwrap();
            assert_eq!((wave.rate, wave.channels.len()), (11_025, usize::from(channels)));
            assert_eq!(wave.len(), 600 / usize::from(channels));
            let step = if float { 1e-7 } else { 2f64.powi(1 - i32::from(bits)).max(1e-7) };
            for (i, x) in source.iter().enumerate() {
                let (frame, channel) = (i / usize::from(channels), i % usize::from(channels));
                let got = f64::from(wave.channels[channel][frame]);
                assert!((got - x).abs() <= step, "{bits} bits, {channels} channels");
            }
        }
    }
}

#[test]
fn mono_is_the_mean_of_the_channels() {
    let wave = decode(&wav(16, false, 2, &[0.5, -0.25, 0.25, 0.75])).unwrap();
    assert_eq!(wave.mono(), [0.125, 0.5]);
}

#[test]
fn resampling_keeps_tones_below_the_band_edge_and_drops_those_above() {
    let tone = |rate: u32, f: f64, n: usize| -> Vec<f32> {
        (0..n).map(|i| (2.0 * PI * f * i as f64 / f64::from(rate)).sin() as f32).collect()
    };
    for (from, to) in [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (22_050, 44_100)] {
        let edge = f64::from(from.min(to)) / 2.0;
        let n = from as usize;
        for part in [0.01, 0.3, 0.8, 0.95] {
            let out = umt_audio::resample(&tone(from, part * edge, n), from, to).unwrap();
            assert_eq!(out.len(), to as usize);
            let exact = tone(to, part * edge, to as usize);
            // The ends see the clip begin and stop; the middle is the tone itself.
            let inside = 3000..out.len() - 3000;
            let worst = inside.map(|i| (out[i] - exact[i]).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-4, "{from} to {to}, {part} of the band: {worst}");
        }
        if from > to {
            let out = umt_audio::resample(&tone(from, 1.05 * edge, n), from, to).unwrap();
            let worst = out[3000..out.len() - 3000].iter().fold(0.0f32, |w, x| w.max(x.abs()));
            assert!(worst < 2e-4, "{from} to {to}: alias of {worst}");
        }
    }
    assert_eq!(umt_audio::resample(&[0.5; 7], 16_000, 16_000).unwrap(), [0.5; 7]);
    assert!(umt_audio::resample(&[0.5; 7], 0, 16_000).is_err());
    assert!(umt_audio::resample(&[], 8_000, 16_000).unwrap().is_empty());
}
