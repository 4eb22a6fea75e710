use std::sync::Arc;
use umt_data::{AudioData, Cache, DataConfig, Split, SyntheticAvConfig, open};

fn small(train: usize, test: usize) -> DataConfig {
    DataConfig {
        synthetic: SyntheticAvConfig { train, test, ..SyntheticAvConfig::default() },
        ..DataConfig::synthetic_av()
    }
}

fn made(config: &DataConfig) -> Arc<Cache> {
    let folder = tempfile::tempdir().unwrap();
    let store = umt_store::Store::open(folder.path()).unwrap();
    let set = open("synthetic-av", None, config).unwrap();
    Arc::new(Cache::build(&set, config, folder.path(), &mut |_| {}, &store).unwrap())
}

#[test]
fn the_design_decides_every_byte() {
    let first = made(&small(40, 20));
    assert_eq!(first.digest(), made(&small(40, 20)).digest());
    let mut other = small(40, 20);
    other.synthetic.seed = 2;
    assert_ne!(first.digest(), made(&other).digest());
    assert_eq!(first.dataset().class_counts(Split::Train), [4; 10]);
    assert_eq!(first.dataset().class_counts(Split::Test), [2; 10]);
    // No copies: every sample differs, though pictures and recordings repeat.
    assert_eq!(first.counts().left_out, 0);
}

/// The share of test samples whose nearest training mean, in one modality, is that of their class.
fn nearest_mean(cache: &Cache, features: impl Fn(usize) -> Vec<f32>) -> f64 {
    let train = cache.indices(Split::Train);
    let mut means: Vec<Vec<f32>> = Vec::new();
    for class in 0..10 {
        let members: Vec<_> =
            train.iter().filter(|&&i| cache.dataset().sample(i).label() == class).map(|&i| features(i)).collect();
        let mean = |k: usize| members.iter().map(|m| m[k]).sum::<f32>() / members.len() as f32;
        means.push((0..members[0].len()).map(mean).collect());
    }
    let test = cache.indices(Split::Test);
    let right = test.iter().filter(|&&i| {
        let features = features(i);
        let distance = |mean: &Vec<f32>| -> f32 { mean.iter().zip(&features).map(|(a, b)| (a - b).powi(2)).sum() };
        let best = (0..10).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])));
        best == Some(cache.dataset().sample(i).label())
    });
    right.count() as f64 / test.len() as f64
}

/// Neither modality is useless, and neither is given away to a classifier without any learning.
#[test]
fn both_modalities_carry_the_class_and_neither_gives_it_away() {
    let cache = made(&small(600, 200));
    let standard = |mut values: Vec<f32>| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        values.iter_mut().for_each(|v| *v = (*v - mean) / std.max(1e-6));
        values
    };
    let audio = nearest_mean(&cache, |i| match cache.get(i).unwrap().audio {
        Some(AudioData::Spectrogram(array)) => standard(array.data),
        _ => Vec::new(),
    });
    // Glyphs are lighter or darker than the ground: the square of the contrast does not mind.
    let video = nearest_mean(&cache, |i| {
        let rgb = cache.get(i).unwrap().video.unwrap().rgb;
        let grey = standard(rgb.chunks(3).map(|p| p.iter().map(|&v| f32::from(v)).sum()).collect());
        grey.iter().map(|v| v * v).collect()
    });
    println!("nearest mean: audio {audio:.3}, video {video:.3}");
    assert!((0.15..0.7).contains(&audio), "audio {audio}");
    assert!((0.13..0.7).contains(&video), "video {video}");
}

#[test]
fn shape_and_sound_follow_the_settings() {
    let mut config = small(20, 10);
    config.video.as_mut().unwrap().size = [28, 24];
    config.video.as_mut().unwrap().crop = [24, 24];
    config.audio = None;
    let cache = made(&config);
    assert_eq!(cache.get(0).unwrap().video.unwrap().shape, [3, 24, 28]);
    assert!(cache.get(0).unwrap().audio.is_none());
    assert_eq!(cache.audio_stats(), None);
    config.synthetic.voices = 0;
    assert!(open("synthetic-av", None, &config).is_err());
}
