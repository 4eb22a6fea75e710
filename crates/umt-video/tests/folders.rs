//! Folders of still frames, and resizing against PIL.

use image::{DynamicImage, GenericImage, ImageFormat, Luma, RgbImage, Rgba};
use serde_json::Value;
use std::{fs, io::Cursor, path::Path};
use umt_media::{Limits, MediaError};
use umt_video::{Pick, Select, decode_folder, decode_image, decode_path};

fn plain(value: u8) -> RgbImage {
    RgbImage::from_pixel(8, 6, image::Rgb([value, value / 2, 255 - value]))
}

fn first_values(path: &Path, select: Select, pick: Pick) -> Vec<u8> {
    let frames = decode_folder(path, &select, pick, None, &Limits::default()).unwrap();
    assert!(frames.iter().all(|frame| (frame.width, frame.height) == (8, 6)));
    frames.iter().map(|frame| frame.rgb[0]).collect()
}

#[test]
fn frames_are_read_in_natural_order_through_the_same_selection() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..12u8 {
        plain(index * 20).save(folder.path().join(format!("frame{index}.png"))).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not a frame").unwrap();
    let path = folder.path();
    assert_eq!(first_values(path, Select::Count { count: 3 }, Pick::Middle), [40, 120, 200]);
    let rate = Select::Rate { fps: 25.0, count: 4 };
    assert_eq!(first_values(path, rate, Pick::Middle), [80, 100, 120, 140]);
    let rate = Select::Rate { fps: 3.0, count: 14 };
    assert_eq!(first_values(path, rate, Pick::Middle)[10..], [200, 220, 220, 220]);
    let random = first_values(path, Select::Count { count: 3 }, Pick::Random(1));
    assert_eq!(random, first_values(path, Select::Count { count: 3 }, Pick::Random(1)));
}

#[test]
fn jpeg_16_bit_grey_and_transparent_pictures_become_rgb() {
    let folder = tempfile::tempdir().unwrap();
    plain(100).save(folder.path().join("1.JPEG")).unwrap();
    let mut clear = DynamicImage::new_rgba8(8, 6);
    clear.put_pixel(0, 0, Rgba([9, 8, 7, 0]));
    clear.save(folder.path().join("2.png")).unwrap();
    let grey = image::ImageBuffer::from_pixel(8, 6, Luma([40_000u16]));
    grey.save(folder.path().join("3.png")).unwrap();
    let values = first_values(folder.path(), Select::Count { count: 3 }, Pick::Middle);
    assert!(values[0].abs_diff(100) <= 2, "{values:?}");
    assert_eq!(values[1..], [9, 156]);
}

#[test]
fn a_folder_without_frames_and_a_broken_frame_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let decode = || {
        let select = Select::Count { count: 2 };
        decode_path(folder.path(), &select, Pick::Middle, None, &Limits::default()).unwrap_err()
    };
    assert!(matches!(decode(), MediaError::Missing { .. }));
    fs::write(folder.path().join("broken.png"), b"\x89PNG\r\n").unwrap();
    let error = decode().to_string();
    assert!(error.contains("broken.png"), "{error}");
}

#[test]
fn a_picture_cut_anywhere_is_an_error() {
    let picture = image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/picture.png")).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        let bytes = bytes.into_inner();
        assert!(decode_image(&bytes, &Limits::default()).is_ok());
        // A png's last chunk holds nothing: its pixels are complete without it.
        let needed = if format == ImageFormat::Png { bytes.len() - 12 } else { bytes.len() };
        for end in 0..needed {
            let result = decode_image(&bytes[..end], &Limits::default());
            assert!(result.is_err(), "{format:?} cut at {end} of {}", bytes.len());
        }
    }
}

#[test]
fn resizing_is_that_of_pil() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let frames = tempfile::tempdir().unwrap();
    fs::copy(folder.join("picture.png"), frames.path().join("picture.png")).unwrap();
    for (name, expected) in golden["resized"].as_object().unwrap() {
        let (width, height) = name.split_once('x').unwrap();
        let size = (width.parse().unwrap(), height.parse().unwrap());
        let select = Select::Count { count: 1 };
        let frame = &decode_folder(frames.path(), &select, Pick::Middle, Some(size), &Limits::default()).unwrap()[0];
        assert_eq!((frame.width, frame.height), size);
        let every_third =
            (0..size.1).step_by(3).flat_map(|y| (0..size.0).step_by(3).map(move |x| (y * size.0 + x) * 3));
        let values: Vec<i64> =
            every_third.flat_map(|at| frame.rgb[at..at + 3].iter().map(|value| i64::from(*value))).collect();
        let expected: Vec<i64> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(values.len(), expected.len());
        let worst = values.iter().zip(&expected).map(|(a, b)| (a - b).abs()).max();
        assert!(worst <= Some(1), "{name}: {worst:?}");
    }
}
