use crate::fixture::{cached, config, cut, manifest, wav};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};
use umt_data::{Batch, Cache, DataConfig, Loader, LoaderConfig, OnError, Split, VideoNormalise};
use umt_media::Modality;

fn loader(cache: &Arc<Cache>, split: Split, workers: usize, prefetch: usize) -> Loader {
    let train = split == Split::Train;
    let settings = LoaderConfig { batch: 4, seed: 9, workers, prefetch, train, drop_last: train };
    Loader::new(cache.clone(), cache.indices(split), settings).unwrap()
}

fn augmented() -> DataConfig {
    let mut config = config();
    config.augment.flip = 0.5;
    config.augment.time_shift = 8;
    (config.augment.time_masks, config.augment.time_mask_width) = (1, 6);
    (config.augment.band_masks, config.augment.band_mask_width) = (1, 2);
    config
}

fn batches(loader: &Loader, epoch: u64, start: u64) -> Vec<Batch> {
    loader.epoch(epoch, start).collect::<Result<_, _>>().unwrap()
}

/// R10, R11: threads, prefetch and the place of resumption change nothing.
#[test]
fn batches_are_a_function_of_seed_epoch_and_number() {
    let (_folder, list) = manifest(22, 6);
    let cache = cached(&list, &augmented());
    let reference: Vec<_> = (0..3).map(|e| batches(&loader(&cache, Split::Train, 0, 1), e, 0)).collect();
    assert_eq!(reference[0].len(), 5);
    assert_ne!(reference[0][0].ids, reference[1][0].ids);
    for workers in [0, 1, 2, 8] {
        for prefetch in [1, 4] {
            let loader = loader(&cache, Split::Train, workers, prefetch);
            for (epoch, expected) in reference.iter().enumerate() {
                assert!(batches(&loader, epoch as u64, 0) == *expected);
            }
            for start in 0..=5 {
                assert!(batches(&loader, 1, start) == reference[1][start as usize..]);
            }
        }
    }
    let once: BTreeSet<usize> = reference[0].iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(once.len(), 20);
}

#[test]
fn evaluation_covers_every_sample_in_the_lists_order_without_chance() {
    let (_folder, list) = manifest(6, 11);
    let cache = cached(&list, &augmented());
    let loader = loader(&cache, Split::Test, 2, 2);
    assert_eq!(loader.batches_per_epoch(), 3);
    let all = batches(&loader, 0, 0);
    let indices: Vec<usize> = all.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, (6..17).collect::<Vec<_>>());
    assert_eq!(all[2].len(), 3);
    assert_eq!(all[0].ids[0], "s6");
    assert!(batches(&loader, 5, 0) == all);
}

#[test]
fn values_are_centred_crops_and_normalised_spectrograms() {
    let (_folder, list) = manifest(6, 2);
    let cache = cached(&list, &config());
    let batch = batches(&loader(&cache, Split::Test, 0, 1), 0, 0).remove(0);
    let video = &batch.inputs[&Modality::Video];
    assert_eq!(video.shape, [2, 2, 8, 8, 3]);
    // Crop 8x8 of 12x10: two columns and one row are left out on either side.
    let expected = [6 * 7 + 1, 2 * 20, 25].map(|v| v as f32 / 127.5 - 1.0);
    for (value, expected) in video.data.iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6);
    }
    let [mean, std] = cache.audio_stats().unwrap();
    let Some(umt_data::AudioData::Spectrogram(stored)) = cache.get(6).unwrap().audio else {
        panic!("no spectrogram");
    };
    let audio = &batch.inputs[&Modality::Audio];
    assert_eq!(audio.shape, [2, 8, 51, 1]);
    for (value, stored) in audio.data.iter().zip(stored.data) {
        assert!((value - (stored - mean) / std).abs() < 1e-5);
    }
    assert_eq!(batch.labels, [1, 0]);
}

#[test]
fn training_rolls_and_crops_each_sample_by_itself() {
    let (_folder, list) = manifest(20, 2);
    let mut config = config();
    config.augment.time_shift = 5;
    let cache = cached(&list, &config);
    let loader = loader(&cache, Split::Train, 1, 2);
    let plain = |i: usize| match cache.get(i).unwrap().audio {
        Some(umt_data::AudioData::Spectrogram(a)) => a.data[..51].to_vec(),
        _ => Vec::new(),
    };
    let [mean, std] = cache.audio_stats().unwrap();
    let mut shifts = BTreeSet::new();
    for batch in batches(&loader, 0, 0) {
        let audio = &batch.inputs[&Modality::Audio];
        for (place, &i) in batch.indices.iter().enumerate() {
            let row = &audio.data[place * 8 * 51..][..51];
            let plain = plain(i);
            let fits = |shift: &i32| {
                (0..51).all(|t| {
                    let from = (t + 51 - shift).rem_euclid(51) as usize;
                    ((plain[from] - mean) / std - row[t as usize]).abs() < 1e-4
                })
            };
            shifts.insert((-5..=5).find(fits).expect("a roll within reach"));
        }
    }
    assert!(shifts.len() > 4, "{shifts:?}");
}

#[test]
fn imagenet_normalisation_and_candidates() {
    let (_folder, list) = manifest(8, 2);
    let mut config = config();
    let video = config.video.as_mut().unwrap();
    (video.normalise, video.candidates) = (VideoNormalise::Imagenet, 2);
    let cache = cached(&list, &config);
    let red = |batch: &Batch| batch.inputs[&Modality::Video].data[0];
    let test = batches(&loader(&cache, Split::Test, 0, 1), 0, 0).remove(0);
    // All four frames are stored; evaluation takes the later one of each pair.
    assert_eq!(test.inputs[&Modality::Video].shape, [2, 2, 8, 8, 3]);
    let expected = ((8.0 * 7.0 + 1.0) / 255.0 - 0.485) / 0.229;
    assert!((red(&test) - expected).abs() < 1e-4 || test.ids[0] != "s8");
    let train = loader(&cache, Split::Train, 0, 1);
    let mut drawn = BTreeSet::new();
    for epoch in 0..12 {
        for batch in batches(&train, epoch, 0) {
            let place = batch.indices.iter().position(|&i| i == 3);
            let size = 2 * 8 * 8 * 3;
            drawn.extend(place.map(|p| {
                let red = batch.inputs[&Modality::Video].data[p * size];
                ((red * 0.229 + 0.485) * 255.0).round() as i32
            }));
        }
    }
    assert_eq!(drawn, BTreeSet::from([21, 22]));
}

/// R28: leaving samples out does not change the order of the others.
#[test]
fn skipped_samples_leave_the_order_alone() {
    let (folder, list) = manifest(20, 4);
    let order = |config: &DataConfig| {
        let cache = cached(&list, config);
        let loader = loader(&cache, Split::Train, 1, 2);
        let ids = |i: usize| cache.dataset().sample(i).id().to_owned();
        (0..3).flat_map(|e| loader.order(e)).map(ids).collect::<Vec<_>>()
    };
    let skip = DataConfig { on_error: OnError::Skip, ..config() };
    let mut whole = order(&skip);
    cut(&folder.path().join("sound/5.wav"), 5_000);
    fs::remove_file(folder.path().join("sound/9.wav")).unwrap();
    let cut = order(&skip);
    whole.retain(|id| id != "s5" && id != "s9");
    assert_eq!(cut, whole);
}

#[test]
fn random_windows_differ_by_epoch_and_are_central_in_evaluation() {
    let (folder, list) = manifest(8, 2);
    for i in 0..10 {
        let sweep: Vec<f32> = (0..8_000).map(|n| (n as f32 * n as f32 * (2e-6 + 1e-7 * i as f32)).sin()).collect();
        wav(&folder.path().join(format!("sound/{i}.wav")), &sweep);
    }
    let mut config = config();
    let audio = config.audio.as_mut().unwrap();
    (audio.seconds, audio.window) = (0.2, umt_data::AudioWindow::Random);
    let cache = cached(&list, &config);
    let sound = |split, epoch| batches(&loader(&cache, split, 1, 1), epoch, 0)[0].inputs[&Modality::Audio].clone();
    assert_eq!(sound(Split::Test, 0), sound(Split::Test, 1));
    let [a, b] = [0, 0].map(|epoch| sound(Split::Train, epoch));
    assert_eq!(a, b);
    assert_ne!(a, sound(Split::Train, 1));
}

#[test]
fn impossible_loaders_are_refused_and_an_early_end_leaves_no_thread() {
    let (_folder, list) = manifest(16, 2);
    let cache = cached(&list, &config());
    let none = LoaderConfig { batch: 0, ..LoaderConfig::default() };
    assert!(Loader::new(cache.clone(), cache.indices(Split::Train), none).is_err());
    assert!(Loader::new(cache.clone(), vec![], LoaderConfig::default()).is_err());
    let loader = loader(&cache, Split::Train, 8, 4);
    for _ in 0..50 {
        let mut epoch = loader.epoch(0, 0);
        assert!(epoch.next().unwrap().is_ok());
        drop(epoch);
    }
    // Every thread was joined: the loader is the only other holder of the cache.
    assert_eq!(Arc::strong_count(&cache), 2);
}

#[test]
fn damage_found_while_loading_ends_the_epoch_with_the_reason() {
    let (folder, list) = manifest(12, 2);
    let cache = cached(&list, &config());
    let path = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    flip_in_place(&path, 100);
    for workers in [0, 2] {
        let results: Vec<_> = loader(&cache, Split::Train, workers, 2).epoch(0, 0).collect();
        let last = results.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(last.contains("digest"), "{last}");
        assert!(results.len() <= 3);
    }
}

fn flip_in_place(path: &Path, at: u64) {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}
