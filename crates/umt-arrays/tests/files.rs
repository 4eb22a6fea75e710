//! Files that numpy and safetensors wrote (`make_fixtures.py`) give their values; broken ones an error with the reason.

use std::path::{Path, PathBuf};
use umt_arrays::{ArrayError, NamedArray, Values, read_arrays};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// One `.npy` file by itself in a folder.
fn read(bytes: &[u8]) -> Result<NamedArray, ArrayError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.npy"), bytes).unwrap();
    Ok(read_arrays(folder.path())?.remove("x").unwrap())
}

fn npy(name: &str) -> Result<NamedArray, ArrayError> {
    read(&std::fs::read(fixture(name)).unwrap())
}

const X: [f32; 6] = [0.5, -1.25, 3.0, 4.0, 0.0625, -6.5];

#[test]
fn every_type_and_order_gives_its_values() {
    for name in ["float.lef2", "float.lef4", "float.lef8", "float.bef4", "float.bef8", "fortran", "version2"] {
        let array = npy(&format!("{name}.npy")).unwrap();
        assert_eq!((array.shape, array.values), (vec![2, 3], Values::Float(X.to_vec())), "{name}");
    }
    for name in ["int.lei8", "int.lei4", "int.bei8", "int.leu2", "int.u1"] {
        let array = npy(&format!("{name}.npy")).unwrap();
        assert_eq!((array.shape, array.values), (vec![3], Values::Int(vec![3, 0, 250])), "{name}");
    }
    assert_eq!(npy("int.negative.npy").unwrap().values, Values::Int(vec![-2, 7]));
    assert_eq!(npy("bool.npy").unwrap().values, Values::Int(vec![1, 0, 1]));
    assert_eq!(npy("text.npy").unwrap().values, Values::Text(vec!["anna".into(), "bé".into(), String::new()]));
    assert_eq!(npy("bytes.npy").unwrap().values, Values::Text(vec!["anna".into(), "b".into()]));
}

#[test]
fn archives_hold_the_same_arrays() {
    for name in ["plain.npz", "packed.npz", "arrays.safetensors"] {
        let arrays = read_arrays(&fixture(name)).unwrap();
        assert_eq!(arrays.len(), 2, "{name}");
        assert_eq!(arrays["labels.test"].values, Values::Int(vec![3, 0, 250]), "{name}");
        assert_eq!(arrays["features.audio.test"].values, Values::Float(X.to_vec()), "{name}");
    }
}

#[test]
fn other_types_are_named_with_what_to_do() {
    for (name, word) in [("complex.npy", "<c16"), ("objects.npy", "|O")] {
        let error = npy(name).unwrap_err();
        assert!(matches!(error, ArrayError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(word) && error.to_string().contains("astype"), "{error}");
    }
}

/// Every cut and every changed byte of the header is an error or the same array, never other values.
#[test]
fn a_cut_or_changed_file_never_gives_other_values() {
    let whole = std::fs::read(fixture("float.lef4.npy")).unwrap();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "cut at {end}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(read(&longer).is_err());
    for at in 0..whole.len() - 24 {
        for bit in [1, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            // Another type of the same size, byte order or shape of the same size are files of their own right.
            if let Ok(array) = read(&changed) {
                assert_eq!(array.values.len(), 6, "byte {at}");
            }
        }
    }
    let mut packed = std::fs::read(fixture("packed.npz")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let middle = packed.len() / 4;
    packed[middle] ^= 4;
    std::fs::write(folder.path().join("x.npz"), &packed).unwrap();
    assert!(read_arrays(&folder.path().join("x.npz")).is_err());
}

#[test]
fn a_missing_file_and_another_kind_are_named() {
    let error = read_arrays(Path::new("no/such.npz")).unwrap_err().to_string();
    assert!(error.contains("no/such.npz"), "{error}");
    let error = read_arrays(&fixture("../make_fixtures.py")).unwrap_err().to_string();
    assert!(error.contains(".safetensors"), "{error}");
}
