//! Each front-end against its named reference, run in `f64` (golden/make_golden.py).

mod common;

use serde_json::Value;
use std::{env, fs};
use umt_audio::{FrontEnd, FrontEndConfig, MelNorm, MelScale, Padding};

/// A kind with its published settings.
fn of_kind(name: &str) -> FrontEndConfig {
    serde_json::from_value(serde_json::json!({ "kind": name })).unwrap()
}

fn crema_d() -> FrontEndConfig {
    FrontEndConfig::OgmGe { rate: 22_050, n_fft: 512, hop: 353, padding: Padding::Reflect }
}

fn config(name: &str) -> FrontEndConfig {
    match name {
        "vgg-sound" | "ogm-ge" | "fbank" => of_kind(name),
        "crema-d" => crema_d(),
        "crema-d-zero" => FrontEndConfig::OgmGe { rate: 22_050, n_fft: 512, hop: 353, padding: Padding::Zero },
        "peer" => FrontEndConfig::log_mel(16_000, 64),
        "slaney" => FrontEndConfig::LogMel {
            rate: 22_050,
            n_fft: 1024,
            win: Some(800),
            hop: 256,
            bands: 40,
            fmin: 50.0,
            fmax: Some(10_000.0),
            floor: 1e-6,
            power: 2.0,
            centre: false,
            padding: Padding::Reflect,
            scale: MelScale::Slaney,
            norm: MelNorm::Slaney,
        },
        other => panic!("no front-end {other}"),
    }
}

fn signal(name: &str, samples: usize) -> Vec<f32> {
    match name {
        "tones" => common::tones(samples),
        "music" => common::music(samples),
        "speech" => common::speech(samples),
        other => panic!("no signal {other}"),
    }
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

#[test]
fn every_front_end_agrees_with_its_reference() {
    let golden: Value = serde_json::from_str(include_str!("golden/front_ends.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 21);
    let mut worst = Vec::new();
    for case in cases {
        let (kind, name) = (case["front_end"].as_str().unwrap(), case["signal"].as_str().unwrap());
        let samples = case["samples"].as_u64().unwrap() as usize;
        let wave = signal(name, samples);
        let mut front_end = FrontEnd::new(&config(kind)).unwrap();
        let out = front_end.run(&wave);
        assert_eq!(out.shape, indices(&case["shape"]), "{kind} {name}");
        assert_eq!(out.shape, front_end.shape(samples));
        dump(kind, name, &wave, &out.data);
        let frames = out.shape[1];
        let cells = indices(&case["rows"])
            .into_iter()
            .flat_map(|r| indices(&case["columns"]).into_iter().map(move |c| r * frames + c));
        let largest = cells
            .zip(case["values"].as_array().unwrap())
            .map(|(cell, v)| (f64::from(out.data[cell]) - v.as_f64().unwrap()).abs())
            .fold(0.0, f64::max);
        let n = out.data.len() as f64;
        let mean = out.data.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let square = |&x: &f32| (f64::from(x) - mean).powi(2);
        let std = (out.data.iter().map(square).sum::<f64>() / n).sqrt();
        let drift = (mean - case["mean"].as_f64().unwrap()).abs().max((std - case["std"].as_f64().unwrap()).abs());
        println!("{kind:>14} of {name:8} largest {largest:.1e}, mean and deviation {drift:.1e}");
        worst.push((largest, drift, format!("{kind} of {name}")));
    }
    // The promise is 1e-4 on cells above 1e-5 of the largest and 1e-2 on the rest.
    for (largest, drift, what) in worst {
        assert!(largest < 1e-4 && drift < 1e-5, "{what}: {largest:e}, {drift:e}");
    }
}

/// Writes whole arrays for `make_golden.py compare`, if asked to.
fn dump(kind: &str, name: &str, wave: &[f32], out: &[f32]) {
    let Ok(folder) = env::var("FRONT_END_DUMP") else {
        return;
    };
    let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(format!("{folder}/{name}.{kind}-wave.f32"), bytes(wave)).unwrap();
    fs::write(format!("{folder}/{name}.{kind}.f32"), bytes(out)).unwrap();
}

#[test]
fn published_shapes_come_out_of_published_lengths() {
    let shape = |config: &FrontEndConfig, samples| FrontEnd::new(config).unwrap().shape(samples);
    assert_eq!(shape(&of_kind("vgg-sound"), 160_000), [257, 1004]);
    assert_eq!(shape(&of_kind("ogm-ge"), 80_000), [129, 626]);
    assert_eq!(shape(&crema_d(), 66_150), [257, 188]);
    assert_eq!(shape(&of_kind("fbank"), 163_840), [128, 1024]);
    assert_eq!(shape(&FrontEndConfig::log_mel(16_000, 64), 24_000), [64, 151]);
}

#[test]
fn a_front_end_is_reused_without_memory_of_the_last_clip() {
    for name in ["vgg-sound", "ogm-ge", "fbank", "peer", "slaney"] {
        let (long, short) = (common::music(30_000), common::speech(9_000));
        let fresh = FrontEnd::new(&config(name)).unwrap().run(&short);
        let mut used = FrontEnd::new(&config(name)).unwrap();
        used.run(&long);
        assert_eq!(used.run(&short), fresh, "{name}");
    }
}

#[test]
fn silence_and_tiny_clips_give_finite_values() {
    for name in ["vgg-sound", "ogm-ge", "fbank", "peer", "slaney"] {
        let mut front_end = FrontEnd::new(&config(name)).unwrap();
        for samples in [0, 1, 2, 255, 512, 2000] {
            let out = front_end.run(&vec![0.0; samples]);
            assert_eq!(out.shape, front_end.shape(samples), "{name} {samples}");
            assert!(out.data.iter().all(|x| x.is_finite()), "{name} {samples}");
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let broken = [
        ("rate", FrontEndConfig::VggSound { rate: 0, standardise: true }),
        ("hop", FrontEndConfig::OgmGe { rate: 16_000, n_fft: 256, hop: 0, padding: Padding::Zero }),
        ("bands", FrontEndConfig::log_mel(16_000, 0)),
    ];
    for (name, config) in broken {
        let error = FrontEnd::new(&config).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn settings_read_as_a_recipe_writes_them() {
    let read = serde_json::from_str::<FrontEndConfig>;
    let log_mel = FrontEndConfig::log_mel(16_000, 64);
    assert_eq!(read(r#"{"kind": "log-mel"}"#).unwrap(), log_mel);
    let written = serde_json::to_string(&log_mel).unwrap();
    assert_eq!(read(&written).unwrap(), log_mel);
    assert!(read(r#"{"kind": "log-mel", "hops": 3}"#).unwrap_err().to_string().contains("hops"));
    assert!(read(r#"{"kind": "mfcc"}"#).unwrap_err().to_string().contains("log-mel"));
}
