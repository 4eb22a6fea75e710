//! R25: PyTorch's files, as `fixtures/make_fixtures.py` had PyTorch write them, good and bad. Nothing in them is run.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use umt_encoders::pretrained::pth::{PthError, read};
use umt_nn::Tensors;

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The script's numbers.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 / 8.0 - 1.0).collect()
}

#[test]
fn state_dicts_of_pytorch_are_read() {
    let state = read(&bytes("state.pth")).unwrap();
    let names: Vec<&str> = state.keys().map(String::as_str).collect();
    let norm = ["1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"];
    assert_eq!(names, [&["0.weight"], &norm[..]].concat());
    assert_eq!(state["0.weight"], (vec![3, 2, 3, 3], numbers(54)));
    assert_eq!(state["1.running_mean"], (vec![3], numbers(3)));
    assert_eq!(state["1.num_batches_tracked"], (vec![], vec![70_000.0]));
    assert_eq!(read(&bytes("nested.pth")).unwrap(), state);
    let learnt: Tensors =
        state.into_iter().filter(|(name, _)| ["0.weight", "1.bias", "1.weight"].contains(&name.as_str())).collect();
    assert_eq!(read(&bytes("parameters.pth")).unwrap(), learnt);
    let shared = read(&bytes("shared.pth")).unwrap();
    assert_eq!(shared["all"], (vec![4, 3], numbers(12)));
    assert_eq!(shared["rows"], (vec![2, 3], numbers(12)[3..9].to_vec()));
    assert_eq!(shared["double"], (vec![2, 2], numbers(4)));
    let half = read(&bytes("half.pth")).unwrap();
    assert_eq!((&half["half"], &half["brain"]), (&(vec![3], numbers(3)), &(vec![3], numbers(3))));
}

#[test]
fn each_way_to_be_wrong_has_its_own_error_and_nothing_runs() {
    // The least of three: others may use the machine meanwhile.
    let fail = |name: &str| {
        let bytes = bytes(name);
        let tries = (0..3).map(|_| {
            let begun = Instant::now();
            let result = read(&bytes);
            (begun.elapsed(), result)
        });
        let (time, result) = tries.min_by_key(|(time, _)| *time).unwrap();
        assert!(time < Duration::from_secs(1), "{name}: {time:?}");
        result.expect_err(name)
    };
    let called = "posix.system";
    match fail("calls.pth") {
        PthError::Call { name, callable } => assert_eq!((name.as_str(), callable.as_str()), ("evil", called)),
        other => panic!("{other}"),
    }
    assert!(!PathBuf::from("pwned").exists());
    assert!(matches!(fail("bytes.pth"), PthError::Type { kind, .. } if kind == "ByteStorage"));
    assert!(matches!(fail("old.pth"), PthError::Archive(_)));
    assert!(fail("old.pth").to_string().contains("1.6"));
    assert!(matches!(fail("module.pth"), PthError::NotAStateDict(_)));
    assert!(fail("module.pth").to_string().contains("state_dict()"));
    assert!(matches!(fail("not_a_dict.pth"), PthError::NotAStateDict(_)));
    assert!(matches!(fail("number.pth"), PthError::Tensor { name, .. } if name == "epoch"));
    assert!(fail("strided.pth").to_string().contains("contiguous"));
    for name in ["long_text.pth", "deep.pth", "doubling.pth"] {
        assert!(matches!(fail(name), PthError::Pickle { .. }), "{name}");
    }
    for name in ["no_arguments.pth", "odd_arguments.pth", "huge_shape.pth"] {
        assert!(matches!(fail(name), PthError::Tensor { .. }), "{name}: {}", fail(name));
    }
    assert!(matches!(fail("no_storage.pth"), PthError::Entry { .. }), "{}", fail("no_storage.pth"));
    assert!(matches!(read(b""), Err(PthError::Archive(_))));
    assert!(matches!(read(b"PK\x03\x04 and then nothing"), Err(PthError::Archive(_))));
}

// As `torch.save` writes on a machine of the other order of bytes, or with `torch.serialization.set_default_load_endianness`.
#[test]
fn the_other_order_of_bytes_is_rejected_by_name() {
    let good = bytes("state.pth");
    let mut old = zip::ZipArchive::new(std::io::Cursor::new(&good)).unwrap();
    let mut new = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for i in 0..old.len() {
        let mut entry = old.by_index(i).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        if name.ends_with("byteorder") {
            contents = b"big".to_vec();
        }
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        new.start_file(name, stored).unwrap();
        new.write_all(&contents).unwrap();
    }
    let error = read(&new.finish().unwrap().into_inner()).unwrap_err();
    assert!(matches!(error, PthError::Entry { .. }) && error.to_string().contains("\"big\""), "{error}");
}

#[test]
fn a_cut_or_changed_file_is_an_error_or_less() {
    let good = bytes("state.pth");
    for len in 0..good.len() {
        // The archive's list stands at its end: without it there is nothing to read.
        assert!(read(&good[..len]).is_err(), "cut at {len}");
    }
    let begun = Instant::now();
    let mut refused = 0;
    for at in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            // Names and shapes may become others; nothing grows beyond the file.
            match read(&bytes) {
                Ok(read) => assert!(read.values().map(|(_, values)| 4 * values.len()).sum::<usize>() <= 2 * good.len()),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1000, "{refused} of {} changes were noticed", 2 * good.len());
    // Values have a checksum.
    let values: Vec<u8> = numbers(54).iter().flat_map(|value| value.to_le_bytes()).collect();
    let start = good.windows(values.len()).position(|window| window == values).unwrap();
    for at in start..start + values.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert!(matches!(read(&bytes), Err(PthError::Entry { .. })), "byte {at}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
