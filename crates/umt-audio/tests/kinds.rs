//! Kinds of files that are easily read wrongly, against ffmpeg and libsndfile (kinds/make_kinds.py).

mod common;

use common::decode;
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};
use umt_audio::{Waveform, decode_file};
use umt_media::{Limits, MediaError};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kinds").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

/// The wave against the golden samples; `cut`: samples that an edit list takes off the end and ffmpeg keeps.
fn compare(name: &str, wave: &Waveform, cut: usize) {
    let golden: Value = serde_json::from_slice(&read("kinds.json")).unwrap();
    let golden = &golden[name];
    let number = |key: &str| golden[key].as_u64().unwrap() as usize;
    assert_eq!((wave.rate as usize, wave.channels.len()), (number("rate"), number("channels")), "{name}");
    assert_eq!(wave.len() + cut, number("samples"), "{name}");
    let mono = wave.mono();
    for (at, value) in golden["at"].as_array().unwrap().iter().zip(golden["mono"].as_array().unwrap()) {
        let Some(&ours) = mono.get(at.as_u64().unwrap() as usize) else { continue };
        let difference = (f64::from(ours) - value.as_f64().unwrap()).abs();
        assert!(difference < 2e-5, "{name} at {at}: off by {difference}");
    }
}

#[test]
fn kinds_that_are_read_give_the_samples_of_the_second_decoder() {
    for (name, cut) in [
        ("vorbis6.ogg", 0),
        ("vbr.mp3", 0),
        ("tagged.mp3", 0),
        ("joined.mp3", 0),
        ("tags.mp3", 0),
        ("live.webm", 0),
        ("pipe.mkv", 0),
        ("cue.flac", 0),
        // 0.1 s and 0.4 s are what the edit lists play; ffmpeg plays on to the end of the last frame.
        ("r96000.m4a", 640),
        ("old.mov", 768),
    ] {
        let wave = decode(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        compare(name, &wave, cut);
    }
}

/// What is not read here: named, never half read.
const OTHERS: [(&str, &str); 10] = [
    ("he.aac", "HE-AAC"),
    ("vorbis3.ogg", "Vorbis of 3 channels"),
    ("six.m4a", "AAC of 6 channels"),
    ("alac.m4a", "ALAC"),
    ("ac3.mkv", "codec"),
    ("mp2.mp2", "not layer 3"),
    ("adpcm.wav", "wav with ADPCM"),
    ("mp3.wav", "wav with mp3"),
    ("opus.webm", "codec"),
    ("sound.avi", "first bytes"),
];

#[test]
fn other_codecs_are_named_with_the_way_out() {
    for (name, kind) in OTHERS {
        let error = decode(&read(name)).map(|wave| wave.len()).expect_err(name);
        assert!(matches!(error, MediaError::Unsupported { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(kind) && text.contains("ffmpeg -i IN OUT.flac"), "{name}: {text}");
    }
}

#[test]
fn other_codecs_are_read_by_the_installed_ffmpeg() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        assert!(std::env::var_os("UMT_REQUIRE_DATA").is_none_or(|value| value != "1"), "ffmpeg is not installed");
        println!("SKIPPED: audio by ffmpeg, which is not installed");
        return;
    }
    for (name, _) in OTHERS.into_iter().skip(1) {
        let wave = decode_file(&path(name), &read(name), &Limits::default());
        compare(name, &wave.unwrap_or_else(|error| panic!("{name}: {error}")), 0);
    }
    let silent = common::fixture_path("silent-film.mp4");
    let silent = decode_file(&silent, &fs::read(&silent).unwrap(), &Limits::default()).unwrap_err();
    assert!(matches!(silent, MediaError::Missing { .. }), "{silent}");
}

/// A configuration of explicit replication in an mp4 is rejected by its object type.
#[test]
fn replication_in_the_configuration_is_found() {
    let mut bytes = common::fixture("mono.m4a");
    // AudioSpecificConfig of AAC-LC at 16 kHz, one channel, after its descriptor's tag and length.
    let at = bytes.windows(2).position(|pair| pair == [0x14, 0x08]).unwrap();
    bytes[at] = bytes[at] & 7 | 5 << 3;
    let error = decode(&bytes).map(|wave| wave.len()).unwrap_err();
    assert!(error.to_string().contains("HE-AAC"), "{error}");
}

/// Fails when symphonia is mended: the parts of `vorbis.rs` then go.
#[test]
fn symphonia_still_gets_vorbis_of_several_channels_wrong() {
    for (name, fault) in [("vorbis6.ogg", "couplings"), ("vorbis3.ogg", "classes")] {
        let golden: Value = serde_json::from_slice(&read("kinds.json")).unwrap();
        let mono = by_symphonia(&read(name));
        let at = golden[name]["at"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap() as usize);
        let expected = golden[name]["mono"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
        let worst = at
            .zip(expected)
            .map(|(at, value)| (f64::from(mono.get(at).copied().unwrap_or(0.0)) - value).abs())
            .fold(0.0, f64::max);
        assert!(worst > 0.01, "{name}: symphonia's {fault} are mended, see docs/UPSTREAM.md and vorbis.rs");
    }
}

/// The mean of the channels, without anything of ours.
fn by_symphonia(bytes: &[u8]) -> Vec<f32> {
    use symphonia::core::{
        codecs::{CodecParameters, audio::AudioDecoderOptions},
        formats::{FormatReader, TrackType},
        io::MediaSourceStream,
    };
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(bytes)), Default::default());
    let mut reader = symphonia::default::formats::OggReader::try_new(stream, Default::default()).unwrap();
    let track = reader.default_track(TrackType::Audio).unwrap();
    let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else { panic!("no audio") };
    let options = AudioDecoderOptions::default();
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(&params, &options).unwrap();
    let (mut samples, mut planes) = (Vec::new(), Vec::new());
    while let Some(packet) = reader.next_packet().unwrap() {
        decoder.decode(&packet).unwrap().copy_to_vecs_planar::<f32>(&mut planes);
        samples.extend(
            (0..planes[0].len()).map(|i| planes.iter().map(|plane| plane[i]).sum::<f32>() / planes.len() as f32),
        );
    }
    samples
}
