//! Times the way from files to batches.
//!
//! `cargo run --release -p umt-data --example load -- synthetic-av|av-digits [DIR] [DUMP]`; with
//! `DUMP` the decoded set is written there as raw little-endian arrays for other programs.

use std::{io::Write, path::Path, sync::Arc, time::Instant};
use umt_data::{AudioData, Cache, DataConfig, Loader, LoaderConfig, Split, open};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("synthetic-av", String::as_str);
    let root = arguments.get(1).filter(|text| !text.is_empty()).map(Path::new);
    let mut config = match name {
        "synthetic-av" => DataConfig::synthetic_av(),
        _ => DataConfig::av_digits(),
    };
    if let Ok(design) = std::env::var("DESIGN") {
        config.synthetic = serde_json::from_str(&design)?;
    }
    let mut set = open(name, root, &config)?;
    println!("{:?}", set.split_validation(1, &config.validation)?);
    let folder = tempfile::tempdir()?;
    let store = umt_store::Store::open(folder.path())?;
    let (began, used) = (Instant::now(), cores());
    let mut bytes = 0;
    let cache = Cache::build(&set, &config, folder.path(), &mut |p| bytes = p.bytes, &store)?;
    let (wall, used) = (began.elapsed(), cores() - used);
    println!("decoded {} samples, {} MB, in {wall:.2?}, {used:.2} s of a core", set.samples.len(), bytes >> 20);
    println!("audio mean and deviation {:?}", cache.audio_stats());
    let began = Instant::now();
    let cache = Arc::new(Cache::build(&set, &config, folder.path(), &mut |_| {}, &store)?);
    println!("opened again in {:.2?}", began.elapsed());
    for workers in [0, 1, 2] {
        let settings = LoaderConfig { seed: 1, workers, train: true, drop_last: true, ..Default::default() };
        let loader = Loader::new(Arc::clone(&cache), cache.indices(Split::Train), settings)?;
        for epoch in 0..2 {
            let (began, used) = (Instant::now(), cores());
            let mut batches = 0;
            for batch in loader.epoch(epoch, 0) {
                batches += u32::from(!batch?.is_empty());
            }
            let (wall, used) = (began.elapsed() / batches, (cores() - used) * 1e3 / f64::from(batches));
            println!("{workers} workers: {wall:.2?} a batch, {used:.2} ms of a core");
        }
    }
    match arguments.get(2) {
        Some(path) => dump(&cache, Path::new(path)),
        None => Ok(()),
    }
}

/// Seconds of all cores that this process has used (Linux): on a busy machine the fairer measure.
fn cores() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = text.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn dump(cache: &Cache, folder: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(folder)?;
    let (mut audio, mut video, mut list) = (Vec::new(), Vec::new(), String::new());
    for (i, sample) in cache.dataset().iter().enumerate() {
        let decoded = cache.get(i)?;
        if let Some(AudioData::Spectrogram(array)) = &decoded.audio {
            audio.extend(array.data.iter().flat_map(|v| v.to_le_bytes()));
        }
        video.extend(decoded.video.map_or(Vec::new(), |v| v.rgb));
        list += &format!("{} {} {}\n", sample.label(), sample.split(), sample.id());
    }
    for (name, bytes) in [("audio.f32", &audio[..]), ("video.u8", &video), ("list.txt", list.as_bytes())] {
        std::fs::File::create(folder.join(name))?.write_all(bytes)?;
    }
    Ok(())
}
