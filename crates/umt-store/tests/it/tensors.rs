//! Tensor files: what is written is read, and the bytes do not depend on the order of insertion.

use umt_store::tensors::{self, Tensors};

fn sample() -> Tensors {
    Tensors::from([
        ("conv1.weight".to_string(), (vec![2, 1, 1, 3], vec![0.5, -1.0, f32::MIN_POSITIVE, 3.0, 4.0, 1e30])),
        ("bn1.bias".to_string(), (vec![2], vec![-0.0, 7.0])),
        ("scale".to_string(), (vec![], vec![2.5])),
        ("none".to_string(), (vec![0, 3], vec![])),
    ])
}

#[test]
fn round_trip_is_exact() {
    let bytes = tensors::write(&sample()).expect("written");
    let again = tensors::read(&bytes).expect("read");
    assert_eq!(again, sample());
    assert_eq!(tensors::write(&again).expect("written"), bytes);
    assert!(again["bn1.bias"].1[0].is_sign_negative());
}

#[test]
fn the_header_is_what_python_expects() {
    let bytes = tensors::write(&sample()).expect("written");
    let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + len]).expect("UTF-8");
    let positions: Vec<_> = ["\"format\":\"pt\"", "bn1.bias", "conv1.weight", "none", "scale"]
        .iter()
        .map(|name| header.find(name).expect("in the header"))
        .collect();
    assert!(positions.is_sorted(), "{header}");
}

#[test]
fn integers_are_converted_and_other_types_named() {
    let file = |dtype: &str, data: &[u8]| {
        let header = format!(r#"{{"n":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{}]}}}}"#, data.len());
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let read = tensors::read(&file("I64", &25_i64.to_le_bytes())).expect("read");
    assert_eq!(read["n"], (vec![1], vec![25.0]));
    // 1.5 and the largest value of each 16-bit type, as numpy and PyTorch write them.
    for (dtype, bits, value) in
        [("F16", 0x3e00_u16, 1.5), ("F16", 0x7bff, 65_504.0), ("F16", 0x0001, 2_f32.powi(-24)), ("BF16", 0xbfc0, -1.5)]
    {
        assert_eq!(tensors::read(&file(dtype, &bits.to_le_bytes())).expect("read")["n"], (vec![1], vec![value]));
    }
    assert_eq!(tensors::read(&file("F64", &0.1_f64.to_le_bytes())).expect("read")["n"], (vec![1], vec![0.1]));
    let error = tensors::read(&file("U8", &[0])).expect_err("not supported");
    assert!(error.to_string().contains("\"n\" is of type U8"), "{error}");
    assert_eq!(error.exit_code(), 4);
}

#[test]
fn malformed_files_and_shapes_are_errors() {
    let bytes = tensors::write(&sample()).expect("written");
    for len in 0..bytes.len() {
        assert!(tensors::read(&bytes[..len]).is_err(), "cut at {len}");
    }
    let wrong = Tensors::from([("w".to_string(), (vec![2, 2], vec![1.0]))]);
    let error = tensors::write(&wrong).expect_err("shape");
    assert!(error.to_string().contains("\"w\" has shape [2, 2] and 1 values"), "{error}");
    let huge = Tensors::from([("w".to_string(), (vec![usize::MAX, 2], vec![]))]);
    assert!(tensors::write(&huge).is_err());
}

// A header is bounded before any of it is read; what a real network needs is far below.
#[test]
fn headers_are_bounded() {
    let file = |names: usize| {
        let mut header = String::from("{");
        for i in 0..names {
            let comma = if i == 0 { "" } else { "," };
            header
                .push_str(&format!(r#"{comma}"layer.{i}.weight":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#));
        }
        header.push('}');
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    assert_eq!(tensors::read(&file(40_000)).expect("40,000 names fit").len(), 40_000);
    let begun = std::time::Instant::now();
    let error = tensors::read(&file(1_500_000)).expect_err("too many");
    assert!(error.to_string().contains("at most 4194304 are read"), "{error}");
    for declared in [u64::MAX, 5 << 20] {
        assert!(tensors::read(&declared.to_le_bytes()).is_err());
    }
    assert!(begun.elapsed().as_secs() < 5, "{:?}, most of it for making the file", begun.elapsed());
}
