//! Small files that unpack to gigabytes, or declare them: bounded before the work.

use crate::{MEMORY, TURN, measured};
use std::{io::Write, sync::PoisonError, time::Duration};
use umt_media::{Limits, MediaError};
use umt_video::decode_image;

/// A flac of constant blocks: `frames` of 4,096 samples.
fn constant_flac(channels: u8, frames: u32) -> Vec<u8> {
    let mut out = b"fLaC\x80\0\0\x22".to_vec();
    out.extend([0x10, 0x00, 0x10, 0x00, 0, 0, 0, 0, 0, 0]);
    let samples = u64::from(frames) * 4096;
    let packed = 48_000u64 << 44 | u64::from(channels - 1) << 41 | 15 << 36 | samples;
    out.extend(packed.to_be_bytes());
    out.extend([0; 16]);
    for number in 0..frames {
        let mut frame = vec![0xFF, 0xF8, 0xC0 | 0x0A, (channels - 1) << 4 | 8];
        frame.extend(char::from_u32(number).unwrap_or('\0').to_string().as_bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        for _ in 0..channels {
            // A constant subframe of 16 bits.
            frame.extend([0, 0x01, 0x00]);
        }
        frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
        out.extend(frame);
    }
    out
}

fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    bytes.iter().fold(0, |mut crc, &byte| {
        crc ^= u32::from(byte) << (width - 8);
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> (width - 1) & 1 == 1 { polynomial } else { 0 };
        }
        crc & ((1 << width) - 1)
    })
}

/// A png of one colour.
fn flat_png(side: u32, colour: u8, bits: u8, bytes_a_pixel: u32) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let row = vec![0; (side * bytes_a_pixel + 1) as usize];
    (0..side).for_each(|_| packed.write_all(&row).unwrap());
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        png.extend(&body);
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        png.extend(sum.sum().to_be_bytes());
    };
    let size = side.to_be_bytes();
    chunk(b"IHDR", &[&size[..], &size, &[bits, colour, 0, 0, 0]].concat());
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", &[]);
    png
}

fn audio(bytes: &[u8]) -> Result<(), MediaError> {
    umt_audio::decode(bytes, None, &Limits::default()).map(drop)
}

fn image(bytes: &[u8]) -> Result<(), MediaError> {
    decode_image(bytes, &Limits::default()).map(drop)
}

type Read = fn(&[u8]) -> Result<(), MediaError>;

/// The least of a few tries, so that a busy machine does not count.
fn least(read: Read, bytes: &[u8]) -> (Result<(), MediaError>, Duration, usize) {
    let tries = (0..5).map(|_| measured(|| read(bytes)));
    tries.min_by_key(|(_, time, _)| *time).unwrap()
}

#[test]
fn what_unpacks_to_more_than_recordings_do_stops_at_the_cap() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let jpeg = {
        let flat = image::RgbImage::from_pixel(2040, 2040, image::Rgb([90, 90, 90]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        flat.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    };
    // A stream may leave its length open: the samples are then counted as they come.
    let open = |flac: Vec<u8>| put(&flac, b"fLaC", 18, &[0; 4]);
    let bombs: [(&str, Vec<u8>, Read); 9] = [
        ("flac of 8 channels", constant_flac(8, 2_000), audio),
        ("flac of 8 channels and no length", open(constant_flac(8, 2_000)), audio),
        ("depth of 16 bits", flat_png(5000, 0, 16, 2), |bytes| {
            umt_depth::decode_depth(bytes, umt_depth::DepthCode::Unit(1.0), &Limits::default()).map(drop)
        }),
        ("flac of 1 channel", constant_flac(1, 40_000), audio),
        ("flac under the cap", constant_flac(2, 700), audio),
        ("png of 16-bit colour with transparency", flat_png(5000, 6, 16, 8), image),
        ("png of 16-bit grey", flat_png(5000, 0, 16, 2), image),
        ("png of 16-bit colour under the cap", flat_png(2040, 6, 16, 8), image),
        ("jpeg under the cap", jpeg, image),
    ];
    for (name, bytes, read) in bombs {
        let (result, time, peak) = least(read, &bytes);
        println!("{name}: {} bytes, {time:?}, {:.1} MiB", bytes.len(), peak as f64 / f64::from(1 << 20));
        assert_eq!(result.is_ok(), name.contains("under"), "{name}: {result:?}");
        assert!(time < Duration::from_secs(1) && peak < 64 << 20, "{name}: {time:?}, {peak} bytes");
    }
    assert!(MEMORY.current_usage() < 64 << 20);
}

fn put(bytes: &[u8], what: &[u8], after: usize, value: &[u8]) -> Vec<u8> {
    let at = bytes.windows(what.len()).position(|window| window == what).unwrap() + what.len() + after;
    let mut out = bytes.to_vec();
    out[at..at + value.len()].copy_from_slice(value);
    out
}

#[test]
fn headers_that_declare_gigabytes_cost_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |name: &str| std::fs::read(format!("{}/../crates/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let fragments = read("umt-audio/tests/fixtures/fragments.mp4");
    let jpeg = read("umt-video/tests/jpegs/420.jpg");
    let progressive = read("umt-video/tests/jpegs/progressive.jpg");
    let (large, ones) = ([0x10, 0xE0, 0x1E, 0x00], [0xFF; 4]);
    let bombs: [(&str, Vec<u8>, Read); 7] = [
        ("a fragment of 2^32 samples", put(&fragments, b"trun", 4, &ones), audio),
        ("a jpeg of 7680x4320", put(&jpeg, &[0xFF, 0xC0], 3, &large), image),
        ("a progressive jpeg of 7680x4320", put(&progressive, &[0xFF, 0xC2], 3, &large), image),
        (
            "a png of 2^31 pixels a side",
            put(&flat_png(4, 0, 8, 1), b"IHDR", 0, &[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]),
            image,
        ),
        ("a flac of 2^36 samples", put(&constant_flac(2, 3), b"fLaC", 17, &[0x0F, 0xFF, 0xFF, 0xFF, 0xFF]), audio),
        (
            "a wav of 4 GiB",
            b"RIFF\xF0\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\xF0\xFF\xFF\xFF"
                .to_vec(),
            audio,
        ),
        ("an ID3 tag of 256 MiB", b"ID3\x04\0\0\x7F\x7F\x7F\x7F".to_vec(), audio),
    ];
    for (name, bytes, read) in bombs {
        let (result, time, peak) = least(read, &bytes);
        println!("{name}: {time:?}, {peak} bytes: {}", result.as_ref().unwrap_err());
        assert!(time < Duration::from_millis(5) && peak < 1 << 20, "{name}: {time:?}, {peak} bytes");
    }
}

/// What a list costs: its text and a few bytes a cell, while it is read and afterwards.
#[test]
fn a_manifest_takes_few_bytes_a_row() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const ROWS: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.csv");
    let mut text = "id,label,split,audio,video,group:speaker\n".to_owned();
    for i in 0..ROWS {
        let split = if i % 10 == 0 { "test" } else { "train" };
        text +=
            &format!("sample{i:06},class{:02},{split},audio/{i:06}.wav,video/{i:06}.mp4,p{:05}\n", i % 50, i % 9_000);
    }
    std::fs::write(&list, &text).unwrap();
    let config = umt_data::DataConfig { on_error: umt_data::OnError::Skip, ..umt_data::DataConfig::av_digits() };
    let (set, _, peak) = measured(|| umt_data::open("manifest", Some(&list), &config).unwrap());
    assert_eq!(set.len(), ROWS);
    println!("{} bytes of text a row, {} at the peak", text.len() / ROWS, peak / ROWS);
    // The longest column is copied while it grows; ids are compared by 16 bytes a row.
    assert!(peak / ROWS < 160, "{} bytes a row", peak / ROWS);
}
