use super::*;
use crate::decoder::{Coded, Picture};
use serde_json::Value;
use std::{fs, path::Path};

fn golden_clips() -> Vec<(String, Vec<u8>, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let clips = golden["clips"].as_object().unwrap();
    let h264 = clips.iter().filter(|(name, _)| !name.starts_with("mpeg4"));
    h264.map(|(name, values)| (name.clone(), fs::read(folder.join(name)).unwrap(), values.clone())).collect()
}

/// The two sums of `make_golden.py` over the pixels that are shown.
fn checksums(plane: &[u8], stride: usize, origin: [usize; 2], width: usize, height: usize) -> Vec<u64> {
    let rows = (0..height).flat_map(|row| &plane[(origin[1] + row) * stride + origin[0]..][..width]);
    let (mut sum, mut weighted) = (0u64, 0u64);
    for (index, value) in rows.enumerate() {
        sum += u64::from(*value);
        weighted += (index as u64 + 1) * u64::from(*value);
    }
    vec![sum % (1 << 32), weighted % (1 << 32)]
}

fn plane_checksums(picture: &Picture) -> Vec<Vec<u64>> {
    let Picture { stride, origin, width, height, .. } = *picture;
    let chroma_origin = origin.map(|pixels| pixels / 2);
    let mut all = vec![checksums(&picture.luma, stride, origin, width, height)];
    for plane in &picture.chroma {
        all.push(checksums(plane, stride / 2, chroma_origin, width.div_ceil(2), height.div_ceil(2)));
    }
    all
}

#[test]
fn every_plane_of_every_frame_is_the_one_that_ffmpeg_decodes() {
    let limits = Limits::default();
    for (name, bytes, golden) in golden_clips() {
        let track = open(&bytes, &limits).unwrap();
        let (timeline, shown) = track.presentation(&limits).unwrap();
        let expected: Vec<f64> =
            golden["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
        let times: Vec<f64> =
            timeline.starts.iter().map(|&start| start as f64 / f64::from(timeline.timescale)).collect();
        assert_eq!(times.len(), expected.len(), "{name}");
        for (time, expected_time) in times.iter().zip(&expected) {
            let (time, expected_time) = (time - times[0], expected_time - expected[0]);
            assert!((time - expected_time).abs() < 1e-4, "{name}: {time} {expected_time}");
        }
        let mut samples = shown.clone();
        samples.sort_unstable();
        let mut decoder = h264_decoder(&track, &limits).unwrap();
        let mut planes = Vec::new();
        decode_samples(&track, &bytes, &mut decoder, &samples, |picture| {
            planes.push(plane_checksums(picture));
            Ok(())
        })
        .unwrap();
        for (frame, sample) in shown.iter().enumerate() {
            let at = samples.binary_search(sample).unwrap();
            let expected: Vec<Vec<u64>> = serde_json::from_value(golden["planes"][frame].clone()).unwrap();
            assert_eq!(planes[at], expected, "{name}, frame {frame}");
        }
    }
}

/// Counts what is decoded.
struct Counting(H264, usize);

impl VideoDecoder for Counting {
    fn inspect(&self, sample: &[u8]) -> Result<Coded, MediaError> {
        self.0.inspect(sample)
    }

    fn decode(&mut self, sample: &[u8]) -> Result<Picture, MediaError> {
        self.1 += 1;
        self.0.decode(sample)
    }
}

/// Planes of some samples, and how many samples were decoded for them.
fn decode(bytes: &[u8], wanted: &[usize]) -> (Vec<Vec<Vec<u64>>>, usize) {
    let limits = Limits::default();
    let track = open(bytes, &limits).unwrap();
    let mut decoder = Counting(h264_decoder(&track, &limits).unwrap(), 0);
    let mut planes = Vec::new();
    decode_samples(&track, bytes, &mut decoder, wanted, |picture| {
        planes.push(plane_checksums(picture));
        Ok(())
    })
    .unwrap();
    (planes, decoder.1)
}

#[test]
fn a_frame_alone_is_the_same_frame_and_costs_less() {
    for (name, bytes, _) in golden_clips() {
        let count = open(&bytes, &Limits::default()).unwrap().samples.len();
        let all: Vec<usize> = (0..count).collect();
        let (planes, decoded) = decode(&bytes, &all);
        assert_eq!(decoded, count);
        for index in 0..count {
            let (alone, decoded) = decode(&bytes, &[index]);
            assert_eq!(alone[0], planes[index], "{name}, sample {index}");
            assert!(decoded <= index + 1, "{name}");
        }
        let (some, decoded) = decode(&bytes, &[1, count - 1]);
        assert_eq!(some, [planes[1].clone(), planes[count - 1].clone()], "{name}");
        assert!(decoded <= count);
    }
}

#[test]
fn decoding_begins_at_a_key_frame_and_leaves_out_what_nothing_needs() {
    let clips = golden_clips();
    let (_, high, _) = clips.iter().find(|(name, ..)| name == "high.mp4").unwrap();
    // Key frames every 8 pictures: 0, 8, 16.
    assert_eq!(decode(high, &[16]).1, 1);
    assert_eq!(decode(high, &[0, 8, 16]).1, 3);
    let (_, main, _) = clips.iter().find(|(name, ..)| name == "main.mp4").unwrap();
    let (last, decoded) = (11, decode(main, &[11]).1);
    assert!(decoded < last, "{decoded}");
}
