//! Files that h5py, scipy and Pillow wrote (`golden/make_golden.py`) are read to the value.

use std::{fs, path::PathBuf};
use umt_depth::{ClassMapping, DepthCode, Mat5, NyuMat, Splits, Value, decode_depth, decode_ids};
use umt_media::{Limits, MediaError};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

#[test]
fn frames_of_the_labelled_file_are_turned_and_in_millimetres() {
    let limits = Limits::default();
    let file = NyuMat::open(&path("labeled.mat"), &limits).unwrap();
    assert_eq!((file.frames(), file.size()), (3, [8, 6]));
    for i in 0..3 {
        let rgb = file.rgb(i).unwrap();
        let depth = file.depth(i, false).unwrap();
        let raw = file.depth(i, true).unwrap();
        let ids = file.ids(i).unwrap();
        assert_eq!((ids.width, ids.height, depth.width, depth.height), (8, 6, 8, 6));
        for y in 0..6 {
            for x in 0..8 {
                let at = y * 8 + x;
                for c in 0..3 {
                    assert_eq!(usize::from(rgb[at * 3 + c]), (7 * i + 3 * x + 5 * y + 50 * c) % 256);
                }
                let mm = (700 + 100 * i + 31 * x + 17 * y) as u16;
                assert_eq!(depth.mm[at], mm);
                assert_eq!(raw.mm[at], if (x + y) % 5 == 0 { 0 } else { mm });
                assert_eq!(usize::from(ids.ids[at]), (i + x * y) % 6);
            }
        }
    }
    assert_eq!(file.names().unwrap(), ["book", "bottle", "cabinet", "ceiling", "chair"]);
    assert_eq!(file.scenes().unwrap(), ["kitchen_0004", "kitchen_0004", "living_room_0012"]);
    let error = file.rgb(3).unwrap_err().to_string();
    assert!(error.contains("frame 3") && error.contains("there are 3"), "{error}");
}

#[test]
fn a_frame_over_the_limit_is_refused_from_its_shape() {
    let limits = Limits { max_pixels: 47, ..Limits::default() };
    let error = NyuMat::open(&path("labeled.mat"), &limits).map(|_| ()).unwrap_err();
    assert!(matches!(error, MediaError::Limit { value: 48, limit: 47, .. }), "{error}");
}

#[test]
fn splits_and_classes_are_read_and_checked() {
    for name in ["splits.mat", "splits-plain.mat"] {
        let splits = Splits::read(&bytes(name), 3).unwrap();
        assert_eq!((splits.train, splits.test), (vec![0, 1], vec![2]), "{name}");
    }
    let error = Splits::read(&bytes("splits.mat"), 2).unwrap_err().to_string();
    assert!(error.contains("`testNdxs`(1) is 3, not within 1 to 2"), "{error}");
    let mapping = ClassMapping::read(&bytes("classMapping40.mat")).unwrap();
    assert_eq!(mapping.classes, [23, 40, 3, 22, 5]);
    assert_eq!(mapping.names[39], "class 40");
    let error = ClassMapping::read(&bytes("splits.mat")).unwrap_err().to_string();
    assert!(error.contains("no numeric variable `mapClass`; it has: testNdxs, trainNdxs"), "{error}");
    let error = Splits::read(&bytes("labeled.mat"), 3).unwrap_err().to_string();
    assert!(error.contains("7.3"), "{error}");
    let error = NyuMat::open(&path("splits.mat"), &Limits::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("not HDF5"), "{error}");
}

#[test]
fn structs_and_logical_values_are_read() {
    let file = Mat5::read(&bytes("nested.mat")).unwrap();
    let Value::Structs(entries) = &file.variables["entry"] else { panic!("{file:?}") };
    assert_eq!(entries[0]["name"], Value::Text("a".into()));
    assert_eq!(entries[0]["size"], Value::Numbers { shape: vec![1, 3], data: vec![1.0, -2.0, 3.0] });
    assert_eq!(file.variables["flag"], Value::Numbers { shape: vec![1, 1], data: vec![1.0] });
}

#[test]
fn depth_and_label_pictures_keep_every_value() {
    let limits = Limits::default();
    let place = |at: usize| (at % 7, at / 7);
    let depth = decode_depth(&bytes("depth16.png"), DepthCode::Unit(1.0), &limits).unwrap();
    assert_eq!((depth.width, depth.height), (7, 5));
    for (at, &mm) in depth.mm.iter().enumerate() {
        let (x, y) = place(at);
        assert_eq!(usize::from(mm), 300 * x + 1000 * y);
    }
    let coarse = decode_depth(&bytes("depth8.png"), DepthCode::Unit(32.0), &limits).unwrap();
    for (&coarse, &fine) in coarse.mm.iter().zip(&depth.mm) {
        assert_eq!(coarse, fine / 32 * 32);
    }
    for name in ["label.png", "palette.png"] {
        let label = decode_ids(&bytes(name), &limits).unwrap();
        for (at, &id) in label.ids.iter().enumerate() {
            let (x, y) = place(at);
            assert_eq!(usize::from(id), (x + 2 * y) % 14, "{name}");
        }
    }
    for wrong in [decode_ids(&bytes("colour.png"), &limits).map(|_| ()), {
        decode_depth(&bytes("palette.png"), DepthCode::Unit(1.0), &limits).map(|_| ())
    }] {
        assert!(matches!(wrong, Err(MediaError::Unsupported { .. })), "{wrong:?}");
    }
    let error = decode_depth(&bytes("depth16.png"), DepthCode::Unit(20.0), &limits).unwrap_err().to_string();
    assert!(error.contains("value 3500 at (5, 2)"), "{error}");
}
