use crate::fixture::{self, build, cached, config, manifest};
use std::{collections::BTreeMap, fs};
use umt_data::{AudioData, AudioWindow, Cache, DataConfig, DataError, OnError, Problem, Split, VideoData, open};

#[test]
fn decoded_once_and_read_back_unchanged() {
    let (folder, list) = manifest(6, 2);
    let cache = cached(&list, &config());
    let decoded = cache.get(3).unwrap();
    let Some(AudioData::Spectrogram(sound)) = &decoded.audio else {
        panic!("{decoded:?}");
    };
    assert_eq!(sound.shape, [8, 51]);
    let Some(VideoData { shape, rgb }) = &decoded.video else {
        panic!("{decoded:?}");
    };
    // Frames 1 and 3 of four: red holds the frame, green the column, blue the row.
    assert_eq!(*shape, [2, 10, 12]);
    assert_eq!(rgb[..6], [22, 0, 0, 22, 20, 0]);
    assert_eq!(rgb[12 * 10 * 3..][..3], [24, 0, 0]);
    // A second time nothing is decoded: the files may even be gone in between.
    let before = cache.digest().to_owned();
    let shards = || fs::read_dir(folder.path().join("cache")).unwrap().count();
    assert_eq!(shards(), 1);
    let again = cached(&list, &config());
    assert_eq!((again.digest(), shards()), (before.as_str(), 1));
    assert_eq!(again.get(3).unwrap(), decoded);
}

#[test]
fn what_decides_the_content_decides_the_file() {
    let (folder, list) = manifest(6, 2);
    let first = cached(&list, &config());
    let mut other = config();
    other.video.as_mut().unwrap().size = [10, 10];
    cached(&list, &other);
    // Crop and augmentation do not change what is stored.
    other = config();
    other.video.as_mut().unwrap().crop = [6, 6];
    other.augment.time_shift = 3;
    cached(&list, &other);
    assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 2);
    fixture::wav(&folder.path().join("sound/0.wav"), &fixture::tone(40, 9_000));
    let changed = cached(&list, &config());
    assert_ne!(changed.digest(), first.digest());
    assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 3);
}

#[test]
fn threads_do_not_change_a_byte() {
    let (folder, list) = manifest(9, 2);
    let mut bytes = Vec::new();
    for decode_threads in [1, 2, 5] {
        let config = DataConfig { decode_threads, ..config() };
        cached(&list, &config);
        let path = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
        bytes.push(fs::read(&path).unwrap());
        fs::remove_file(path).unwrap();
    }
    assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn statistics_are_those_of_the_training_samples() {
    let (_folder, list) = manifest(6, 2);
    let cache = cached(&list, &config());
    let values: Vec<f64> = cache
        .indices(Split::Train)
        .into_iter()
        .flat_map(|i| match cache.get(i).unwrap().audio {
            Some(AudioData::Spectrogram(array)) => array.data,
            _ => Vec::new(),
        })
        .map(f64::from)
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let [found_mean, found_std] = cache.audio_stats().unwrap();
    assert!((f64::from(found_mean) - mean).abs() < 1e-5);
    assert!((f64::from(found_std) - variance.sqrt()).abs() < 1e-5);
}

/// Breaks five of twenty samples, each in another way.
fn break_some(folder: &std::path::Path) {
    fixture::cut(&folder.join("sound/1.wav"), 5_000);
    fs::remove_file(folder.join("sound/4.wav")).unwrap();
    fixture::wav(&folder.join("sound/7.wav"), &vec![0.0; 8_000]);
    fixture::wav(&folder.join("sound/8.wav"), &fixture::tone(8, 1_000));
    fs::remove_dir_all(folder.join("frames/11")).unwrap();
    fs::create_dir(folder.join("frames/11")).unwrap();
}

/// R28: the default stops with file and reason; `skip` counts exactly.
#[test]
fn broken_samples_stop_or_are_counted() {
    let (folder, list) = manifest(16, 4);
    break_some(folder.path());
    let error = open("manifest", Some(&list), &config()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("1 of 20 samples") && error.contains("4.wav"), "{error}");
    fixture::wav(&folder.path().join("sound/4.wav"), &fixture::tone(4, 8_000));
    let set = open("manifest", Some(&list), &config()).unwrap();
    let error = build(&set, &config(), &list).unwrap_err();
    assert!(matches!(&error, DataError::Sample { id, .. } if id == "s1"), "{error}");
    assert!(error.to_string().contains("1.wav") && error.exit_code() == 6, "{error}");
    assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 0);

    fs::remove_file(folder.path().join("sound/4.wav")).unwrap();
    let skip = DataConfig { on_error: OnError::Skip, ..config() };
    let cache = cached(&list, &skip);
    let expected = [
        (Problem::Missing, 1),
        (Problem::Corrupt, 1),
        (Problem::NoVideo, 1),
        (Problem::Silent, 1),
        (Problem::Short, 1),
    ];
    assert_eq!(cache.skip_counts(), BTreeMap::from(expected));
    let ids: Vec<_> = cache.skipped().iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["s1", "s4", "s7", "s8", "s11"]);
    assert_eq!(cache.counts().train, 11);
    // A cache with gaps does not serve a run that must not have any.
    let set = open("manifest", Some(&list), &skip).unwrap();
    let strict = DataConfig { on_error: OnError::Stop, ..skip.clone() };
    assert!(matches!(build(&set, &strict, &list), Err(DataError::Sample { .. })));
}

#[test]
fn silent_and_short_clips_are_used_when_tolerated() {
    let (folder, list) = manifest(10, 2);
    fixture::wav(&folder.path().join("sound/7.wav"), &vec![0.0; 8_000]);
    fixture::wav(&folder.path().join("sound/8.wav"), &fixture::tone(8, 1_000));
    let config = DataConfig { tolerate: vec![Problem::Silent, Problem::Short], ..config() };
    assert!(cached(&list, &config).skipped().is_empty());
    let config = DataConfig { tolerate: vec![Problem::Corrupt], ..config };
    assert!(open("manifest", Some(&list), &config).is_err());
}

#[test]
fn not_a_number_in_a_sound_file_is_named() {
    let (folder, list) = manifest(4, 2);
    let mut samples = fixture::tone(2, 8_000);
    samples[77] = f32::NAN;
    fixture::wav(&folder.path().join("sound/2.wav"), &samples);
    let set = open("manifest", Some(&list), &config()).unwrap();
    let error = build(&set, &config(), &list).unwrap_err().to_string();
    assert!(error.contains("2.wav") && error.contains("finite"), "{error}");
}

/// R18: a copy of a test sample in train, under another name, is not trained on.
#[test]
fn copies_across_splits_leave_train() {
    let (folder, list) = manifest(6, 4);
    fs::copy(folder.path().join("sound/7.wav"), folder.path().join("sound/2.wav")).unwrap();
    for k in 0..4 {
        let name = |i| folder.path().join(format!("frames/{i}/{k}.png"));
        fs::copy(name(7), name(2)).unwrap();
    }
    let cache = cached(&list, &config());
    assert_eq!(cache.dataset().sample(2).split(), Split::LeftOut);
    let counts = cache.counts();
    assert_eq!((counts.train, counts.test, counts.left_out), (5, 4, 1));
}

#[test]
fn a_damaged_cache_is_made_again_and_never_used() {
    let (folder, list) = manifest(4, 2);
    let all = |cache: &Cache| (0..6).map(|i| cache.get(i).unwrap()).collect::<Vec<_>>();
    let first = cached(&list, &config());
    assert_eq!(first.rebuilt(), None);
    let samples = all(&first);
    let path = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&path).unwrap();
    let heals = |bad: &[u8], what: &str| {
        fs::write(&path, bad).unwrap();
        let cache = cached(&list, &config());
        assert!(cache.rebuilt().is_some(), "{what}");
        assert!(all(&cache) == samples && fs::read(&path).unwrap() == good, "{what}");
    };
    for at in (8..good.len()).step_by(good.len() / 97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        heals(&bad, &format!("byte {at}"));
    }
    for length in (0..good.len()).step_by(good.len() / 53) {
        heals(&good[..length], &format!("{length} bytes"));
    }
}

#[test]
fn a_record_that_changes_between_two_readings_is_an_error() {
    let (folder, list) = manifest(4, 2);
    let cache = cached(&list, &config());
    let path = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    cache.get(0).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8 + 100] ^= 1;
    // In place, as a failing disk would: the open file sees it.
    fs::write(&path, bytes).unwrap();
    let error = cache.get(0).unwrap_err();
    assert!(matches!(error, DataError::Cache { .. }) && error.exit_code() == 4, "{error}");
    assert!(error.to_string().contains(".shard"), "{error}");
}

#[test]
fn other_content_of_the_same_size_and_time_is_another_cache() {
    let (folder, list) = manifest(4, 2);
    let first = cached(&list, &config());
    let sound = folder.path().join("sound/0.wav");
    let time = fs::metadata(&sound).unwrap().modified().unwrap();
    let mut bytes = fs::read(&sound).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&sound, bytes).unwrap();
    fs::File::options().write(true).open(&sound).unwrap().set_modified(time).unwrap();
    let second = cached(&list, &config());
    assert_ne!(first.get(0).unwrap(), second.get(0).unwrap());
}

#[test]
fn waveforms_are_stored_for_random_windows() {
    let (_folder, list) = manifest(4, 2);
    let mut config = config();
    let audio = config.audio.as_mut().unwrap();
    (audio.seconds, audio.window) = (0.25, AudioWindow::Random);
    let cache = cached(&list, &config);
    let Some(AudioData::Waveform(samples)) = cache.get(1).unwrap().audio else {
        panic!("no waveform");
    };
    assert_eq!(samples.len(), 8_000);
    assert_eq!(f32::from(samples[100]) / 32768.0, (fixture::tone(1, 101)[100] * 32768.0).round() / 32768.0);
}

#[test]
fn progress_counts_every_sample() {
    let (folder, list) = manifest(5, 2);
    let set = open("manifest", Some(&list), &config()).unwrap();
    let store = umt_store::Store::open(folder.path()).unwrap();
    let mut seen = Vec::new();
    Cache::build(&set, &config(), folder.path(), &mut |p| seen.push(p), &store).unwrap();
    assert_eq!(seen.iter().map(|p| p.done).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(seen[6].total, 7);
    assert_eq!(seen[6].bytes, 7 * (8 * 51 * 4 + 2 * 12 * 10 * 3));
}
