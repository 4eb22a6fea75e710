//! On real clips, where they are: `UMT_SHARED`, or `../shared` beside the project.

use std::{path::PathBuf, sync::Arc, time::Instant};
use umt_data::{Cache, CheckOptions, DataConfig, Loader, LoaderConfig, Split, check_with, open};
use umt_media::Modality;

fn digits() -> Option<PathBuf> {
    let shared = std::env::var_os("UMT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let folder = shared.join("data/av-digits");
    if !folder.is_dir() {
        println!("SKIPPED: no av-digits at {}", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn digits_split_by_recording() {
    let Some(folder) = digits() else { return };
    let config = DataConfig::av_digits();
    let mut set = open("av-digits", Some(&folder), &config).unwrap();
    assert_eq!((set.samples.len(), set.classes.len()), (4_500, 10));
    let counts = set.split_validation(1, &config.validation).unwrap();
    println!("{counts:?}");
    assert_eq!(counts.train + counts.validation + counts.left_out, 3_500);
    assert!(counts.validation.abs_diff(350) < 15 && counts.left_out < 200, "{counts:?}");
    assert!(set.class_counts(Split::Validation).iter().all(|n| n.abs_diff(35) < 4));
    let of = |split, column: usize| -> std::collections::BTreeSet<&str> {
        let groups = set.iter().filter(move |s| s.split() == split);
        groups.map(|s| s.group(column)).collect()
    };
    for column in 0..2 {
        assert!(of(Split::Validation, column).is_disjoint(&of(Split::Train, column)));
    }
}

#[test]
fn digits_decode_and_load() {
    let Some(root) = digits() else { return };
    let config = DataConfig { limit: Some(150), ..DataConfig::av_digits() };
    let set = open("av-digits", Some(&root), &config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = umt_store::Store::open(folder.path()).unwrap();
    let began = Instant::now();
    let cache = Cache::build(&set, &config, folder.path(), &mut |_| {}, &store).unwrap();
    println!("{} clips in {:.2?}", set.samples.len(), began.elapsed());
    let cache = Arc::new(cache);
    let loader = Loader::new(cache.clone(), cache.indices(Split::Test), LoaderConfig::default()).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.inputs[&Modality::Audio].shape, [64, 64, 151, 1]);
    assert_eq!(batch.inputs[&Modality::Video].shape, [64, 3, 64, 64, 3]);
    let audio = &batch.inputs[&Modality::Audio].data;
    let mean = audio.iter().sum::<f32>() / audio.len() as f32;
    assert!(mean.abs() < 0.5 && audio.iter().all(|v| v.is_finite()), "{mean}");
    assert!(batch.inputs[&Modality::Video].data.iter().all(|v| (-1.0..=1.0001).contains(v)));
}

#[test]
fn digits_are_all_there() {
    let Some(root) = digits() else { return };
    let quick = CheckOptions { decode: false, ..CheckOptions::default() };
    let report = check_with(Some(&root), "av-digits", &quick, &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.findings.list().is_empty(), "{report}");
}
