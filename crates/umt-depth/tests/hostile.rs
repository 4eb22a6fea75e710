//! Damaged and malicious input: an error, in time, within bounds, and never a panic.
//!
//! `UMT_FUZZ=1000000 cargo test --release -p umt-depth --test hostile` tries more.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use umt_depth::{ClassMapping, DepthCode, Mat5, NyuMat, Splits, decode_depth, decode_ids};
use umt_media::{Limits, MediaError};
use umt_random::Rng;

fn bytes(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// Enough for the fixtures, little enough that no damaged header is worth a wait.
fn small() -> Limits {
    Limits { max_pixels: 20_000, ..Limits::default() }
}

/// Everything that is in a labelled file.
fn read_all(bytes: &[u8]) -> Result<(), MediaError> {
    let file = NyuMat::from_bytes(bytes.to_vec(), &small())?;
    for i in 0..file.frames().min(4) {
        file.rgb(i)?;
        file.depth(i, false)?;
        file.depth(i, true)?;
        file.ids(i)?;
    }
    file.names()?;
    file.scenes()?;
    Ok(())
}

type Reader = fn(&[u8]) -> Result<(), MediaError>;

const READERS: [(&str, Reader); 9] = [
    ("labeled.mat", read_all),
    ("splits.mat", |b| Splits::read(b, 3).map(drop)),
    ("splits-plain.mat", |b| Splits::read(b, 3).map(drop)),
    ("classMapping40.mat", |b| ClassMapping::read(b).map(drop)),
    ("nested.mat", |b| Mat5::read(b).map(drop)),
    ("depth16.png", |b| decode_depth(b, DepthCode::Unit(1.0), &small()).map(drop)),
    ("depth8.png", |b| decode_depth(b, DepthCode::Unit(39.0), &small()).map(drop)),
    ("label.png", |b| decode_ids(b, &small()).map(drop)),
    ("palette.png", |b| decode_ids(b, &small()).map(drop)),
];

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for (name, read) in READERS {
        let whole = bytes(name);
        assert!(read(&whole).is_ok(), "{name}");
        // A plain version 5 file has no end mark: the variables before the cut are whole.
        let ends = if name == "nested.mat" { variable_ends(&whole) } else { Vec::new() };
        let step = if name == "labeled.mat" { 7 } else { 1 };
        for end in (0..whole.len()).step_by(step) {
            assert!(read(&whole[..end]).is_err() || ends.contains(&end), "{name} cut at {end} of {}", whole.len());
        }
    }
}

/// Where the variables of a version 5 file end.
fn variable_ends(bytes: &[u8]) -> Vec<usize> {
    let (mut ends, mut at) = (vec![128], 128);
    while let Some(length) = bytes.get(at + 4..at + 8) {
        at += 8 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

/// Changes a few bytes, or takes some out, or puts some in.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_u64() as u8,
            2 => {
                let extreme = [[0; 8], [0xff; 8], [0, 0, 0, 0x80, 0, 0, 0, 0x80], [1, 0, 0, 0, 0, 0, 0, 0]];
                let word = extreme[random.below(4) as usize];
                let end = bytes.len().min(at + 4 + 4 * random.below(2) as usize);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            3 => {
                let end = bytes.len().min(at + 1 + random.below(40) as usize);
                bytes.drain(at..end);
            }
            _ => {
                let piece: Vec<u8> = (0..1 + random.below(16)).map(|_| random.next_u64() as u8).collect();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

#[test]
fn damaged_files_never_panic_or_hang() {
    let rounds = std::env::var("UMT_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000);
    let files: Vec<Vec<u8>> = READERS.iter().map(|(name, _)| bytes(name)).collect();
    let (mut slowest, mut which) = (Duration::ZERO, 0);
    let before = peak_memory();
    for round in 0..rounds {
        let mut random = umt_random::stream(1, "damaged depth files", round, 0);
        let pick = random.below(READERS.len() as u64) as usize;
        let mut bytes = files[pick].clone();
        damage(&mut bytes, &mut random);
        let began = Instant::now();
        let result = std::panic::catch_unwind(|| READERS[pick].1(&bytes));
        assert!(result.is_ok(), "round {round}: panic with a damaged {}", READERS[pick].0);
        if began.elapsed() > slowest {
            (slowest, which) = (began.elapsed(), round);
        }
    }
    println!("{rounds} damaged files, slowest {slowest:?} (round {which})");
    assert!(slowest < Duration::from_secs(1), "round {which}: {slowest:?}");
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 256 << 10, "{} KiB", after - before);
    }
}

/// The most memory that this process has held, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
