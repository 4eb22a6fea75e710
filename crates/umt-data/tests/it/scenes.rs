//! Sets with a class for every pixel: forms, errors, batches, weights.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use umt_data::{
    AugmentConfig, Cache, DataConfig, DenseInput, DepthInput, DepthNormalise, LabelMaps, Loader, LoaderConfig, OnError,
    Problem, RgbInput, Split, VideoNormalise, check, open,
};
use umt_media::Modality;
use umt_store::Store;

/// Whole scenes at `size`, nothing drawn.
fn config(size: [usize; 2]) -> DataConfig {
    DataConfig {
        rgb: Some(RgbInput { normalise: VideoNormalise::Half, ..RgbInput::default() }),
        depth: Some(DepthInput {
            normalise: DepthNormalise::Fixed { mean: 1_000.0, std: 500.0 },
            ..DepthInput::default()
        }),
        dense: Some(DenseInput { size, classes: None }),
        ..DataConfig::default()
    }
}

/// A folder of frames 1 to `count`: sample i has class 1 + i % 3 on its left half and void on the
/// right, depth 1000 + 100 i with a hole at the first pixel.
fn folder(count: usize, size: impl Fn(usize) -> [u32; 2]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["rgb", "depth", "label"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    for i in 1..=count {
        let [width, height] = size(i);
        let path = |part: &str| folder.path().join(format!("{part}/{i:04}.png"));
        image::RgbImage::from_fn(width, height, |x, _| image::Rgb([(x * 10) as u8, i as u8, 200]))
            .save(path("rgb"))
            .unwrap();
        let depth = |x, y| image::Luma([if x + y == 0 { 0 } else { 1_000 + 100 * i as u16 }]);
        image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_fn(width, height, depth).save(path("depth")).unwrap();
        let class = |x| if x < width / 2 { 1 + (i % 3) as u8 } else { 0 };
        image::GrayImage::from_fn(width, height, |x, _| image::Luma([class(x)])).save(path("label")).unwrap();
    }
    let test = count - count / 3;
    let list = |numbers: std::ops::RangeInclusive<usize>| numbers.map(|i| format!("{i:04}\n")).collect::<String>();
    fs::write(folder.path().join("train.txt"), list(1..=test)).unwrap();
    fs::write(folder.path().join("test.txt"), list(test + 1..=count)).unwrap();
    fs::write(folder.path().join("classes.txt"), "void\nred\ngreen\nblue\n").unwrap();
    folder
}

fn cached(name: &str, root: Option<&Path>, config: &DataConfig) -> (tempfile::TempDir, Arc<Cache>) {
    let set = open(name, root, config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let cache = Cache::build(&set, config, folder.path(), &mut |_| {}, &store).unwrap();
    (folder, Arc::new(cache))
}

fn refused(name: &str, root: &Path, config: &DataConfig) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let built =
        open(name, Some(root), config).and_then(|set| Cache::build(&set, config, folder.path(), &mut |_| {}, &store));
    built.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_folder_becomes_batches_of_three_parts() {
    let folder = folder(9, |_| [12, 8]);
    let (_kept, cache) = cached("nyuv2", Some(folder.path()), &config([12, 8]));
    assert_eq!(cache.dataset().classes, ["red", "green", "blue"]);
    let loader = Loader::new(cache.clone(), cache.indices(Split::Test), LoaderConfig::default()).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!((batch.len(), batch.labels.len()), (3, 0));
    let maps = batch.maps.as_ref().unwrap();
    assert_eq!(maps.shape, [3, 8, 12]);
    assert_eq!((maps.map(1)[5], maps.map(1)[6]), (8 % 3, LabelMaps::VOID));
    let rgb = &batch.inputs[&Modality::Rgb];
    assert_eq!(rgb.shape, [3, 8, 12, 3]);
    assert!((rgb.data[3 * 3] - (30.0 / 127.5 - 1.0)).abs() < 1e-6);
    let depth = &batch.inputs[&Modality::Depth];
    assert_eq!(depth.shape, [3, 8, 12, 1]);
    // Sample 0007: 1700 mm; its hole stays 0.
    assert!(depth.data[0] == 0.0 && (depth.data[1] - 1.4).abs() < 1e-6, "{:?}", &depth.data[..2]);
}

#[test]
fn evaluation_keeps_each_label_map_at_its_own_size() {
    let folder = folder(12, |i| if i % 2 == 0 { [12, 8] } else { [10, 6] });
    let (_kept, cache) = cached("sunrgbd", Some(folder.path()), &config([16, 12]));
    let settings = LoaderConfig { batch: 3, ..LoaderConfig::default() };
    let loader = Loader::new(cache.clone(), cache.indices(Split::Test), settings.clone()).unwrap();
    let shapes: Vec<_> = loader.epoch(0, 0).map(|b| b.unwrap().maps.unwrap().shape).collect();
    assert_eq!(shapes, [[2, 6, 10], [2, 8, 12]]);
    assert_eq!(loader.batches_per_epoch(), 2);
    let settings = LoaderConfig { train: true, ..settings };
    let loader = Loader::new(cache.clone(), cache.indices(Split::Train), settings).unwrap();
    for batch in loader.epoch(0, 0) {
        let batch = batch.unwrap();
        assert_eq!(batch.maps.unwrap().shape, [batch.ids.len(), 12, 16]);
    }
}

#[test]
fn augmented_batches_depend_on_the_key_alone() {
    let folder = folder(12, |_| [24, 18]);
    let augment = AugmentConfig { flip: 0.5, scale: [1.0, 1.4], hsv: 0.1, ..AugmentConfig::default() };
    let (_kept, cache) = cached("nyuv2", Some(folder.path()), &DataConfig { augment, ..config([16, 12]) });
    let batches = |workers, seed| -> Vec<_> {
        let settings = LoaderConfig { batch: 4, seed, workers, train: true, ..LoaderConfig::default() };
        let loader = Loader::new(cache.clone(), cache.indices(Split::Train), settings).unwrap();
        (0..2).flat_map(|epoch| loader.epoch(epoch, 0).map(Result::unwrap).collect::<Vec<_>>()).collect()
    };
    assert_eq!(batches(0, 1), batches(3, 1));
    assert_ne!(batches(0, 1), batches(0, 2));
}

#[test]
fn weights_are_those_of_the_median_frequency() {
    let folder = folder(12, |_| [12, 8]);
    let (_kept, cache) = cached("nyuv2", Some(folder.path()), &config([12, 8]));
    // Training samples 1 to 8: green (i % 3 = 1) three times, blue (2) three times, red (0) twice;
    // each covers half of every picture that it is in, so all are equal.
    assert_eq!(cache.pixel_counts(Split::Train), [2 * 48, 3 * 48, 3 * 48]);
    assert_eq!(cache.class_weights(), [1.0; 3]);
    // One picture in which blue covers an eighth: its share falls to (48 + 48 + 12) / 288.
    let path = folder.path().join("label/0002.png");
    image::GrayImage::from_fn(12, 8, |x, y| image::Luma([if x < 6 && y < 2 { 3 } else { 0 }])).save(path).unwrap();
    let (_kept, cache) = cached("nyuv2", Some(folder.path()), &config([12, 8]));
    let weights = cache.class_weights();
    assert_eq!(weights[..2], [1.0, 1.0]);
    assert!((weights[2] - 0.5 / (108.0 / 288.0)).abs() < 1e-6, "{weights:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let sound = folder(6, |_| [12, 8]);
    let root = sound.path();
    let path = |name: &str| root.join(name);
    image::GrayImage::from_pixel(12, 8, image::Luma([4])).save(path("label/0001.png")).unwrap();
    let error = refused("nyuv2", root, &config([12, 8]));
    assert!(
        error.contains("label/0001.png") && error.contains("the id 4 at [0, 0] is no class: ids are 0 to 3"),
        "{error}"
    );
    image::GrayImage::from_pixel(12, 9, image::Luma([1])).save(path("label/0001.png")).unwrap();
    let error = refused("nyuv2", root, &config([12, 8]));
    assert!(error.contains("rgb/0001.png") && error.contains("12x8, but the label map is 12x9"), "{error}");
    fs::remove_file(path("depth/0002.png")).unwrap();
    let error = refused("nyuv2", root, &config([12, 8]));
    assert!(error.contains("1 of 6 samples have no file") && error.contains("depth/0002.png"), "{error}");
    // Without depth its absence does not matter.
    let rgb_only = DataConfig { depth: None, on_error: OnError::Skip, ..config([12, 8]) };
    let (_kept, cache) = cached("nyuv2", Some(root), &rgb_only);
    assert_eq!(cache.skip_counts(), [(Problem::SizeMismatch, 1)].into());
    let report = check(Some(root), "nyuv2").unwrap();
    let count = |problem: Problem| report.findings.count(problem);
    assert_eq!((count(Problem::SizeMismatch), count(Problem::Missing), report.usable), (1, 1, 4), "{report}");
    // Of the training samples 1 to 4, 3 (red) and 4 (green) are left.
    assert_eq!(report.pixel_counts[&Split::Train], [48, 48, 0]);
    let error = refused(
        "nyuv2",
        root,
        &DataConfig { dense: Some(DenseInput { size: [4, 4], classes: Some(13) }), ..config([4, 4]) },
    );
    assert!(error.contains("13, but the set offers 3"), "{error}");
    fs::remove_file(path("train.txt")).unwrap();
    let error = refused("nyuv2", root, &config([12, 8]));
    assert!(error.contains("neither nyu_depth_v2_labeled.mat nor train.txt"), "{error}");
    let error = refused("sunrgbd", root, &config([12, 8]));
    assert!(error.contains("train.txt"), "{error}");
}

/// umt-depth's fixtures under the names that the set has.
fn original() -> tempfile::TempDir {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../umt-depth/tests/golden");
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("labeled.mat", "nyu_depth_v2_labeled.mat"),
        ("splits.mat", "splits.mat"),
        ("classMapping40.mat", "classMapping40.mat"),
    ] {
        fs::copy(golden.join(from), folder.path().join(to)).unwrap();
    }
    folder
}

#[test]
fn the_original_files_are_mapped_to_forty_and_thirteen_classes() {
    let folder = original();
    for (classes, expected) in [(40, [22u8, 39, 2, 21, 4]), (13, [1, 6, 5, 2, 3])] {
        let config = DataConfig { dense: Some(DenseInput { size: [8, 6], classes: Some(classes) }), ..config([8, 6]) };
        let (_kept, cache) = cached("nyuv2", Some(folder.path()), &config);
        let set = cache.dataset();
        assert_eq!((set.classes.len(), set.samples.len()), (classes, 3));
        assert_eq!((cache.counts().train, cache.counts().test), (2, 1));
        assert_eq!(set.sample(2).groups(), ["living_room_0012"]);
        for i in 0..3 {
            let scene = cache.get(i).unwrap().scene.unwrap();
            for (at, &class) in scene.map.data.iter().enumerate() {
                // The file's id, as the fixture's script computes it.
                let id = (i + (at % 8) * (at / 8)) % 6;
                let wanted = if id == 0 { LabelMaps::VOID } else { expected[id - 1] };
                assert_eq!(class, wanted);
            }
            assert_eq!(scene.depth.unwrap().data[9], (700 + 100 * i + 31 + 17) as u16);
        }
    }
    let raw = DepthInput { raw: true, ..DepthInput::default() };
    let (_kept, cache) = cached("nyuv2", Some(folder.path()), &DataConfig { depth: Some(raw), ..config([8, 6]) });
    assert_eq!(cache.get(0).unwrap().scene.unwrap().depth.unwrap().data[0], 0);
    let report = check(Some(folder.path()), "nyuv2").unwrap();
    assert!(report.is_clean() && report.groups["scene"] == 2, "{report}");
    fs::remove_file(folder.path().join("classMapping40.mat")).unwrap();
    let error = refused("nyuv2", folder.path(), &config([8, 6]));
    assert!(error.contains("classMapping40.mat"), "{error}");
}

#[test]
fn own_data_is_a_manifest_with_label_maps() {
    let folder = folder(4, |_| [12, 8]);
    let list = folder.path().join("mine.csv");
    let rows = |column: &str| -> String {
        let row = |i| {
            format!("s{i},{},rgb/{i:04}.png,depth/{i:04}.png,label/{i:04}.png\n", if i < 4 { "train" } else { "test" })
        };
        format!("id,split,rgb,depth,{column}\n") + &(1..=4).map(row).collect::<String>()
    };
    fs::write(&list, rows("label-map")).unwrap();
    let (_kept, cache) = cached("manifest", Some(&list), &config([12, 8]));
    assert_eq!((cache.counts().train, cache.dataset().classes.len()), (3, 3));
    assert!(check(Some(&list), "manifest").unwrap().is_clean());
    fs::remove_file(folder.path().join("classes.txt")).unwrap();
    assert!(refused("manifest", &list, &config([12, 8])).contains("classes.txt"));
    fs::write(&list, rows("label")).unwrap();
    assert!(refused("manifest", &list, &config([12, 8])).contains("no column `label-map`"));
}

#[test]
fn rooms_are_a_function_of_their_design_and_hold_every_class() {
    let mut settings = config([40, 30]);
    (settings.rooms.train, settings.rooms.test, settings.rooms.size) = (60, 20, [40, 30]);
    let (_kept, first) = cached("synthetic-rooms", None, &settings);
    let (_kept, again) = cached("synthetic-rooms", None, &settings);
    assert_eq!(first.digest(), again.digest());
    assert!(first.pixel_counts(Split::Train).iter().all(|&n| n > 0), "{:?}", first.pixel_counts(Split::Train));
    let holes: usize = (0..60)
        .map(|i| {
            let depth = first.get(i).unwrap().scene.unwrap().depth.unwrap().data;
            depth.iter().filter(|&&mm| mm == 0).count()
        })
        .sum();
    assert!((60 * 1200 / 20..60 * 1200 / 3).contains(&holes), "{holes}");
    settings.rooms.seed = 2;
    let (_kept, other) = cached("synthetic-rooms", None, &settings);
    assert_ne!(first.digest(), other.digest());
    // Validation holds out whole rooms, of two views each.
    let mut set = open("synthetic-rooms", None, &settings).unwrap();
    let counts = set.split_validation(1, &settings.validation).unwrap();
    assert_eq!((counts.validation, counts.left_out), (6, 0));
    let of = |split| set.iter().filter(move |s| s.split() == split).map(|s| s.group(0).to_owned());
    let held: std::collections::BTreeSet<String> = of(Split::Validation).collect();
    assert!(held.len() == 3 && of(Split::Train).all(|room| !held.contains(&room)));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refused = |config: &DataConfig| config.validate().unwrap_err().to_string();
    let without = DataConfig { dense: None, ..config([8, 8]) };
    assert!(refused(&without).contains("`dense`"));
    let both = DataConfig { audio: DataConfig::av_digits().audio, ..config([8, 8]) };
    assert!(refused(&both).contains("rgb, depth"));
    let scale = AugmentConfig { scale: [0.5, 1.0], ..AugmentConfig::default() };
    assert!(refused(&DataConfig { augment: scale, ..config([8, 8]) }).contains("augment.scale"));
}

/// On the real frames, where they are: `UMT_SHARED`, or `../shared` beside the project.
#[test]
fn real_frames_are_read_and_their_runs_are_scenes() {
    let shared = std::env::var_os("UMT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let root = shared.join("data/nyuv2-320");
    if !root.is_dir() {
        println!("SKIPPED: no nyuv2-320 at {}", root.display());
        return;
    }
    let settings = DataConfig {
        dense: Some(DenseInput { size: [160, 120], classes: Some(13) }),
        limit: Some(40),
        depth: Some(DepthInput::default()),
        ..config([160, 120])
    };
    let mut set = open("nyuv2", Some(&root), &DataConfig { limit: None, ..settings.clone() }).unwrap();
    assert_eq!((set.counts().train, set.counts().test), (795, 400));
    let scenes: std::collections::BTreeSet<_> =
        set.iter().filter(|s| s.split() == Split::Train).map(|s| s.group(0)).collect();
    assert_eq!(scenes.len(), 123);
    let counts = set.split_validation(1, &settings.validation).unwrap();
    assert!(counts.validation.abs_diff(80) < 15 && counts.left_out == 0, "{counts:?}");
    let (_kept, cache) = cached("nyuv2", Some(&root), &settings);
    let [mean, std] = cache.depth_stats().unwrap();
    assert!((2_000.0..3_500.0).contains(&mean) && (800.0..2_000.0).contains(&std), "{mean} {std}");
    let loader = Loader::new(cache.clone(), cache.indices(Split::Test), LoaderConfig::default()).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.maps.unwrap().shape, [40, 240, 320]);
    assert!(cache.class_weights().iter().all(|w| w.is_finite()));
}

/// Depth with a size of its own stands beside sound and video: one class per sample, no map, a picture that varies.
#[test]
fn depth_beside_clips_reaches_the_batch() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = DataConfig::synthetic_av();
    (config.synthetic.train, config.synthetic.test) = (40, 10);
    config.depth = Some(DepthInput { size: Some([24, 16]), ..DepthInput::default() });
    let set = open("synthetic-av", None, &config)?;
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let cache = Arc::new(Cache::build(&set, &config, folder.path(), &mut |_| {}, &store)?);
    let settings = LoaderConfig { batch: 8, ..Default::default() };
    let loader = Loader::new(cache.clone(), cache.indices(Split::Train), settings)?;
    let batch = loader.epoch(0, 0).next().ok_or("no batch")??;
    let depth = &batch.inputs[&Modality::Depth];
    assert_eq!((depth.shape.as_slice(), batch.labels.len(), &batch.maps), (&[8, 16, 24, 1][..], 8, &None));
    for picture in depth.data.chunks(16 * 24) {
        let mean = picture.iter().sum::<f32>() / picture.len() as f32;
        assert!(picture.iter().map(|v| (v - mean).abs()).sum::<f32>() / picture.len() as f32 > 0.1);
    }
    Ok(())
}
