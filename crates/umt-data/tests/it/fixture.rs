//! Small sets made of sound files and frame folders.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use umt_audio::{Fill, FrontEndConfig};
use umt_data::{AudioInput, AudioNormalise, AudioWindow, Cache, DataConfig, Dataset, VideoInput, VideoNormalise, open};
use umt_store::Store;
use umt_video::Select;

pub const RATE: u32 = 16_000;

/// A manifest of `train` + `test` samples of two classes in a folder of its own, half a second of
/// sound and four frames of 12x10 each. Groups: two samples in a row share a speaker.
pub fn manifest(train: usize, test: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut list = String::from("id,label,split,audio,video,group:speaker\n");
    for i in 0..train + test {
        let (label, split) = (["low", "high"][i % 2], if i < train { "train" } else { "test" });
        let speaker = format!("{split}-{}", i / 2);
        list += &format!("s{i},{label},{split},sound/{i}.wav,frames/{i},{speaker}\n");
        wav(&folder.path().join(format!("sound/{i}.wav")), &tone(i, RATE as usize / 2));
        frames(&folder.path().join(format!("frames/{i}")), i, 4);
    }
    let path = folder.path().join("list.csv");
    fs::write(&path, list).unwrap();
    (folder, path)
}

pub fn tone(i: usize, length: usize) -> Vec<f32> {
    let hz = 200.0 + 37.0 * i as f32;
    (0..length).map(|n| 0.5 * (n as f32 * hz * std::f32::consts::TAU / RATE as f32).sin()).collect()
}

pub fn wav(path: &Path, samples: &[f32]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// Cuts a file: what it declares is no longer all there.
pub fn cut(path: &Path, length: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..length]).unwrap();
}

pub fn frames(folder: &Path, i: usize, count: usize) {
    fs::create_dir_all(folder).unwrap();
    for k in 0..count {
        let picture =
            image::RgbImage::from_fn(12, 10, |x, y| image::Rgb([(i * 7 + k) as u8, (x * 20) as u8, (y * 25) as u8]));
        picture.save(folder.join(format!("{k}.png"))).unwrap();
    }
}

/// Sound as 8 bands, three frames stored at their own size and cropped to 8x8.
pub fn config() -> DataConfig {
    DataConfig {
        audio: Some(AudioInput {
            front_end: FrontEndConfig::log_mel(RATE, 8),
            seconds: 0.5,
            window: AudioWindow::Start,
            fill: Fill::Zero,
            normalise: AudioNormalise::Train,
            min_seconds: None,
        }),
        video: Some(VideoInput {
            select: Select::Count { count: 2 },
            candidates: 1,
            size: [12, 10],
            crop: [8, 8],
            normalise: VideoNormalise::Half,
        }),
        ..DataConfig::default()
    }
}

/// Opens and decodes a manifest; the cache lies in its folder.
pub fn cached(list: &Path, config: &DataConfig) -> Arc<Cache> {
    let set = open("manifest", Some(list), config).unwrap();
    Arc::new(build(&set, config, list).unwrap())
}

pub fn build(set: &Dataset, config: &DataConfig, list: &Path) -> Result<Cache, umt_data::DataError> {
    let folder = list.parent().unwrap().join("cache");
    let store = Store::open(&folder).unwrap();
    Cache::build(set, config, &folder, &mut |_| {}, &store)
}
