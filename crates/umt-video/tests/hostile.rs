//! Damaged and malicious input: an error, in time, within bounds, and never a panic.
//!
//! `UMT_FUZZ=20000 cargo test --release -p umt-video --test hostile` tries more.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use umt_media::{Limits, MediaError};
use umt_random::Rng;
use umt_video::{Pick, Select, decode_clip, decode_image};

const SELECT: Select = Select::Count { count: 4 };

fn clips() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut clips: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mp4"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    clips.sort();
    clips
}

/// Enough for the fixtures, little enough that no damaged header is worth a wait.
fn small() -> Limits {
    Limits { max_pixels: 20_000, max_frames: 1000, ..Limits::default() }
}

/// Where the boxes of a file begin.
fn top_level(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (vec![0], 0);
    while let Some(size) = bytes.get(at..at + 4) {
        at += u32::from_be_bytes(size.try_into().unwrap()) as usize;
        starts.push(at);
    }
    starts
}

#[test]
fn a_clip_cut_anywhere_is_an_error() {
    for (path, bytes) in clips() {
        let name = path.file_name().unwrap().to_str().unwrap();
        // A fragmented file is made to be played while it grows: its beginning is a whole file.
        let whole = if name.starts_with("fragmented") { top_level(&bytes) } else { Vec::new() };
        for end in 0..bytes.len() {
            let result = decode_clip(&bytes[..end], &SELECT, Pick::Middle, None, &small());
            assert!(result.is_err() || whole.contains(&end), "{name} cut at {end} of {}", bytes.len());
        }
    }
}

/// Changes a few bytes, or takes some out, or puts some in.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_u64() as u8,
            2 => {
                let extreme = [[0; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 1]];
                let word = extreme[random.below(4) as usize];
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            3 => {
                let end = bytes.len().min(at + 1 + random.below(40) as usize);
                bytes.drain(at..end);
            }
            4 => {
                let piece: Vec<u8> = (0..1 + random.below(16)).map(|_| random.next_u64() as u8).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = random.below(bytes.len() as u64) as usize;
                let len = (random.below(64) as usize).min(bytes.len() - from.max(at));
                bytes.copy_within(from..from + len, at);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

fn rounds(default: u64) -> u64 {
    std::env::var("UMT_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

#[test]
fn damaged_clips_never_panic_or_hang() {
    let clips = clips();
    let (mut slowest, mut decoded) = (Duration::ZERO, 0);
    let rounds = rounds(3000);
    for round in 0..rounds {
        let mut random = umt_random::stream(1, "damaged clips", round, 0);
        let (path, bytes) = &clips[random.below(clips.len() as u64) as usize];
        let mut bytes = bytes.clone();
        damage(&mut bytes, &mut random);
        let start = Instant::now();
        let run = || decode_clip(&bytes, &SELECT, Pick::Middle, Some((24, 24)), &small());
        let result = std::panic::catch_unwind(run);
        assert!(result.is_ok(), "round {round}: panic with a damaged {}", path.display());
        slowest = slowest.max(start.elapsed());
        decoded += u64::from(matches!(result, Ok(Ok(_))));
    }
    println!("{rounds} damaged clips: {decoded} decoded, slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn damaged_pictures_never_panic_or_hang() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let png = fs::read(folder.join("picture.png")).unwrap();
    let mut jpeg = Cursor::new(Vec::new());
    image::load_from_memory(&png).unwrap().write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let pictures = [png, jpeg.into_inner()];
    let mut slowest = Duration::ZERO;
    for round in 0..rounds(2000) {
        let mut random = umt_random::stream(1, "damaged pictures", round, 0);
        let mut bytes = pictures[random.below(2) as usize].clone();
        damage(&mut bytes, &mut random);
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| decode_image(&bytes, &small()));
        assert!(result.is_ok(), "round {round}: panic with a damaged picture");
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

/// The fastest of a few tries, so that a busy machine does not count.
fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..9).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn headers_that_declare_too_much_are_refused_at_once() {
    // A png of 60000x60000: signature, IHDR with its checksum, an empty IDAT.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    png.extend(crc32(&png[12..29]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    let time = fastest(|| {
        let error = decode_image(&png, &Limits::default()).unwrap_err();
        assert!(matches!(error, MediaError::Limit { value: 3_600_000_000, .. }), "{error}");
    });
    assert!(time < Duration::from_millis(5), "{time:?}");

    let (_, clip) = clips().into_iter().find(|(path, _)| path.ends_with("main.mp4")).unwrap();
    let find = |kind: &[u8; 4]| clip.windows(4).position(|bytes| bytes == kind).unwrap() + 4;
    let tables: [(&[u8; 4], usize); 7] =
        [(b"stsz", 8), (b"stts", 4), (b"ctts", 4), (b"stsc", 4), (b"stco", 4), (b"stss", 4), (b"elst", 4)];
    for (kind, at) in tables {
        let mut bytes = clip.clone();
        let at = find(kind) + at;
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
        let time = fastest(|| {
            let error = decode_clip(&bytes, &SELECT, Pick::Middle, None, &Limits::default()).unwrap_err();
            assert!(error.to_string().contains(std::str::from_utf8(kind).unwrap()), "{error}");
        });
        assert!(time < Duration::from_millis(5), "{kind:?} {time:?}");
    }
    // 2^32 - 1 samples of one size need no table to be declared.
    let mut bytes = clip.clone();
    let at = find(b"stsz") + 4;
    bytes[at..at + 8].copy_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    let error = decode_clip(&bytes, &SELECT, Pick::Middle, None, &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Limit { value: 0xffff_ffff, .. }), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

#[test]
fn a_picture_that_unpacks_to_more_than_it_declares_costs_little() {
    let zeros = |bytes: usize| {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        for start in (0..bytes).step_by(1 << 16) {
            let piece = [0; 1 << 16];
            std::io::Write::write_all(&mut packed, &piece[..(bytes - start).min(1 << 16)]).unwrap();
        }
        packed.finish().unwrap()
    };
    let chunk = |png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let body = [kind.as_slice(), data].concat();
        png.extend(&body);
        png.extend(crc32(&body).to_be_bytes());
    };
    let packed = zeros(100 << 20);
    let profile = [b"bomb\0\0", packed.as_slice()].concat();
    for in_profile in [false, true] {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut png, b"IHDR", &[0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0]);
        if in_profile {
            chunk(&mut png, b"iCCP", &profile);
            chunk(&mut png, b"IDAT", &zeros(8 * 25));
        } else {
            chunk(&mut png, b"IDAT", &packed);
        }
        chunk(&mut png, b"IEND", &[]);
        let before = peak_memory();
        let time = fastest(|| {
            // An error or the small picture are both well.
            if let Ok(frame) = decode_image(&png, &Limits::default()) {
                assert_eq!((frame.width, frame.height), (8, 8));
            }
        });
        assert!(time < Duration::from_secs(1), "{time:?}");
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            assert!(after - before < 64 << 10, "{} KiB", after - before);
        }
    }
}

/// The most memory that this process has held, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
