//! Jpegs of every coding and sampling against libjpeg, and what is not whole. See `jpegs/make_jpegs.py`.

use serde_json::Value;
use std::{fs, path::PathBuf};
use umt_media::{Limits, MediaError};
use umt_video::{decode_image, decode_stored_image};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/jpegs")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

fn golden() -> Vec<(String, Vec<Vec<i32>>)> {
    let golden: Value = serde_json::from_slice(&read("golden.json")).unwrap();
    let golden = golden.as_object().unwrap();
    golden.iter().map(|(name, pixels)| (name.clone(), serde_json::from_value(pixels.clone()).unwrap())).collect()
}

/// Mean and largest difference to libjpeg's pixels.
fn difference(rgb: &[u8], golden: &[Vec<i32>]) -> (f64, i32) {
    let pixels = rgb.chunks(3).step_by(19);
    let each: Vec<i32> = pixels
        .zip(golden)
        .flat_map(|(ours, theirs)| ours.iter().zip(theirs).map(|(a, b)| (i32::from(*a) - b).abs()))
        .collect();
    (each.iter().map(|&d| f64::from(d)).sum::<f64>() / each.len() as f64, each.into_iter().max().unwrap())
}

#[test]
fn every_coding_and_sampling_gives_the_image_of_libjpeg() {
    for (name, golden) in golden() {
        let frame = decode_image(&read(&format!("{name}.jpg")), &Limits::default()).unwrap();
        assert_eq!((frame.width, frame.height), (50, 38), "{name}");
        let (mean, worst) = difference(&frame.rgb, &golden);
        println!("{name}: mean {mean:.2}, worst {worst}");
        // Chroma may be smoothed in another way; a wrong image is off by 20 and more.
        assert!(mean < 2.0 && worst < 60, "{name}: mean {mean}, worst {worst}");
    }
    let error = decode_image(&read("arithmetic.jpg"), &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Unsupported { .. }) && error.to_string().contains("ffmpeg -i IN"), "{error}");
}

/// Which of the images the usual decoder gets wrong, so that the second decoder goes when it is mended.
#[test]
fn the_usual_decoder_still_needs_the_second_one() {
    let wrong = |name: &str| {
        let golden = golden().into_iter().find(|(other, _)| other == name).unwrap().1;
        let image = image::load_from_memory(&read(&format!("{name}.jpg"))).unwrap().into_rgb8();
        difference(image.as_raw(), &golden).0 > 10.0
    };
    let found: Vec<&str> = ["scans-420", "chroma-2x2", "chroma-1x2"].into_iter().filter(|name| wrong(name)).collect();
    assert!(!found.is_empty(), "image-rs decodes all of them now: remove jpeg-decoder, see docs/UPSTREAM.md");
}

/// Where the coded data of the first scan begin, and where the end marker is.
fn scan(bytes: &[u8]) -> (usize, usize) {
    let header = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 2;
    let length = usize::from(bytes[header]) << 8 | usize::from(bytes[header + 1]);
    (header + length, bytes.len() - 2)
}

#[test]
fn an_image_without_part_of_its_data_is_an_error_whatever_the_coding() {
    for (name, _) in golden() {
        let whole = read(&format!("{name}.jpg"));
        let (begin, end) = scan(&whole);
        for share in 0..20 {
            // The end marker is there, what comes before it is not.
            let mut cut = whole[..begin + (end - begin) * share / 20].to_vec();
            if cut.last() == Some(&0xff) {
                cut.pop();
            }
            cut.extend([0xff, 0xd9]);
            let error = decode_image(&cut, &Limits::default()).map(|_| ()).expect_err(&format!("{name} {share}/20"));
            assert!(matches!(error, MediaError::Malformed { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn a_header_that_declares_more_than_the_data_hold_is_an_error() {
    for (name, _) in golden() {
        let mut bytes = read(&format!("{name}.jpg"));
        let frame = bytes.windows(2).position(|pair| matches!(pair, [0xff, 0xc0..=0xc2])).unwrap();
        for (height, width) in [(46u16, 50u16), (38, 58), (4320, 7680)] {
            bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
            bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
            // Four more rows may fit into the last blocks; these sizes need new ones.
            let result = decode_image(&bytes, &Limits::default());
            let fits = (height, width) == (46, 50) && matches!(name.as_str(), "420" | "440" | "chroma-2x2");
            assert!(result.is_err() || fits || height < 50, "{name} {width}x{height}");
        }
    }
}

/// A tag after the first marker that asks for a turn by 180 degrees.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0".to_vec();
    let length = (exif.len() + 2) as u16;
    let mut out = vec![0xff, 0xd8, 0xff, 0xe1];
    out.extend(length.to_be_bytes());
    out.append(&mut exif);
    out.extend(&jpeg[2..]);
    out
}

#[test]
fn orientation_is_applied_to_images_and_not_to_stored_pixels() {
    for name in ["420.jpg", "scans-420.jpg"] {
        let plain = read(name);
        let (upright, limits) = (decode_image(&plain, &Limits::default()).unwrap(), Limits::default());
        assert_eq!(decode_stored_image(&turned(&plain), &limits).unwrap(), upright);
        let rotated = decode_image(&turned(&plain), &limits).unwrap();
        let expected: Vec<u8> = upright.rgb.chunks(3).rev().flatten().copied().collect();
        assert_eq!(rotated.rgb, expected);
    }
}

#[test]
fn another_kind_of_image_is_named_whatever_its_name() {
    for (start, name) in [
        (&b"RIFF\x1a\0\0\0WEBPVP8 "[..], "WebP"),
        (b"GIF89a\x01\0", "GIF"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "HEIC"),
    ] {
        let error = decode_image(start, &Limits::default()).unwrap_err();
        assert!(matches!(error, MediaError::Unsupported { .. }) && error.to_string().contains(name), "{error}");
    }
}
