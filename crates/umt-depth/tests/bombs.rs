//! Files that declare or unpack to more than they hold. One test alone in its process, because it
//! looks at the memory that the process has held.

use std::{
    fs,
    time::{Duration, Instant},
};
use umt_depth::{DepthCode, Mat5, decode_depth};
use umt_media::{Limits, MediaError};

type Reader = fn(&[u8]) -> Result<(), MediaError>;

#[test]
fn bombs_cost_little() {
    headers_that_declare_too_much_are_refused_at_once();
    what_unpacks_to_more_than_allowed_stops_there();
}

/// The fastest of a few tries, so that a busy machine does not count.
fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..9).map(|_| {
        let began = Instant::now();
        run();
        began.elapsed()
    });
    times.min().unwrap()
}

fn headers_that_declare_too_much_are_refused_at_once() {
    // 60000x60000 grey pixels of 16 bit in 65 bytes.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x10\0\0\0\0".to_vec();
    png.extend(crc32(&png[12..29]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    // A number array of 2^32 - 1 values, and a cell array of as many.
    let tag = |kind: u32, length: u32| [kind.to_le_bytes(), length.to_le_bytes()].concat();
    let mat = |class: u8| {
        let mut file = vec![b' '; 124];
        file.extend([0, 1, b'I', b'M']);
        let mut body = tag(6, 8);
        body.extend([class, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(tag(5, 8));
        body.extend([0xff; 4]);
        body.extend(1u32.to_le_bytes());
        body.extend(tag(1, 0));
        body.extend(tag(9, u32::MAX));
        file.extend(tag(14, body.len() as u32));
        file.extend(body);
        file
    };
    let bombs: [(Vec<u8>, Reader); 3] = [
        (png, |b| decode_depth(b, DepthCode::Unit(1.0), &Limits::default()).map(drop)),
        (mat(6), |b| Mat5::read(b).map(drop)),
        (mat(1), |b| Mat5::read(b).map(drop)),
    ];
    for (bomb, read) in bombs {
        let before = peak_memory();
        let time = fastest(|| assert!(read(&bomb).is_err()));
        assert!(time < Duration::from_millis(5), "{time:?}");
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            assert!(after - before < 1 << 10, "{} KiB", after - before);
        }
    }
}

fn what_unpacks_to_more_than_allowed_stops_there() {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..400 {
        std::io::Write::write_all(&mut packed, &[0; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    file.extend(15u32.to_le_bytes());
    file.extend((packed.len() as u32).to_le_bytes());
    file.extend(packed);
    let before = peak_memory();
    let began = Instant::now();
    let error = Mat5::read(&file).unwrap_err();
    assert!(matches!(error, MediaError::Limit { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1));
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 64 << 10, "{} KiB", after - before);
    }
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

/// The most memory that this process has held, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
