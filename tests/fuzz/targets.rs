//! The parsers of untrusted bytes. A new one is an entry in [`TARGETS`].

use std::{fs, io::Cursor, path::PathBuf};
use umt_depth::{ClassMapping, DepthCode, Mat5, NyuMat, Splits, decode_depth, decode_ids};
use umt_media::Limits;
use umt_video::{Pick, Select, decode_clip, decode_image};

/// A parser, and files that it reads.
pub struct Target {
    pub name: &'static str,
    /// Names and contents of small whole files.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Whether the bytes are read without an error.
    pub read: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "wav", seeds: wav, read: audio },
    Target {
        name: "mp3",
        seeds: || {
            files(
                "umt-audio/tests",
                &["fixtures/plain.mp3", "fixtures/stereo.mp3", "kinds/tags.mp3", "kinds/joined.mp3"],
            )
        },
        read: audio,
    },
    Target { name: "flac", seeds: || files("umt-audio/tests", &["fixtures/deep.flac", "kinds/cue.flac"]), read: audio },
    Target {
        name: "ogg",
        seeds: || files("umt-audio/tests", &["fixtures/stereo.ogg", "kinds/vorbis6.ogg"]),
        read: audio,
    },
    Target { name: "aac", seeds: || files("umt-audio/tests", &["fixtures/mono.aac"]), read: audio },
    Target {
        name: "mp4-audio",
        seeds: || files("umt-audio/tests/fixtures", &["mono.m4a", "front.mp4", "fragments.mp4", "no-edits.mp4"]),
        read: audio,
    },
    Target {
        name: "mkv",
        seeds: || {
            files("umt-audio/tests", &["fixtures/mono.mkv", "fixtures/vorbis.mkv", "kinds/live.webm", "kinds/pipe.mkv"])
        },
        read: audio,
    },
    Target {
        name: "mp4-video",
        seeds: || {
            files(
                "umt-video/tests/golden",
                &["main.mp4", "high.mp4", "edited.mp4", "fragmented.mp4", "fragmented-old.mp4", "rotated90.mp4"],
            )
        },
        read: |bytes| {
            decode_clip(bytes, &Select::Count { count: 4 }, Pick::Middle, Some((24, 24)), &Limits::default()).is_ok()
        },
    },
    Target { name: "png", seeds: png, read: |bytes| decode_image(bytes, &Limits::default()).is_ok() },
    Target {
        name: "jpeg",
        seeds: || {
            files(
                "umt-video/tests/jpegs",
                &[
                    "420.jpg",
                    "444.jpg",
                    "progressive.jpg",
                    "progressive-restart.jpg",
                    "restart.jpg",
                    "scans-420.jpg",
                    "chroma-2x2.jpg",
                    "grey.jpg",
                ],
            )
        },
        read: |bytes| decode_image(bytes, &Limits::default()).is_ok(),
    },
    Target {
        name: "depth-png",
        seeds: || files("umt-depth/tests/golden", &["depth16.png", "depth8.png", "label.png"]),
        read: |bytes| {
            let depth = decode_depth(bytes, DepthCode::Unit(1.0), &Limits::default()).is_ok();
            decode_ids(bytes, &Limits::default()).is_ok() || depth
        },
    },
    Target {
        name: "mat5",
        seeds: || {
            files("umt-depth/tests/golden", &["splits.mat", "splits-plain.mat", "classMapping40.mat", "nested.mat"])
        },
        read: |bytes| {
            let _ = (Splits::read(bytes, 3), ClassMapping::read(bytes));
            Mat5::read(bytes).is_ok()
        },
    },
    Target { name: "mat73", seeds: || files("umt-depth/tests/golden", &["labeled.mat"]), read: labelled },
];

pub fn files(folder: &str, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates").join(folder);
    let read = |name: &&str| (name.to_string(), fs::read(folder.join(name)).unwrap_or_default());
    names.iter().map(read).collect()
}

fn audio(bytes: &[u8]) -> bool {
    umt_audio::decode(bytes, None, &Limits::default()).is_ok()
}

fn wav() -> Vec<(String, Vec<u8>)> {
    let kinds = [(16, hound::SampleFormat::Int), (24, hound::SampleFormat::Int), (32, hound::SampleFormat::Float)];
    let write = |(bits, format): (u16, hound::SampleFormat)| {
        let spec = hound::WavSpec { channels: 2, sample_rate: 16_000, bits_per_sample: bits, sample_format: format };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for i in 0..400 {
            match format {
                hound::SampleFormat::Int => writer.write_sample(i * 20).unwrap(),
                hound::SampleFormat::Float => writer.write_sample(i as f32 / 400.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
        (format!("{bits} bits"), bytes.into_inner())
    };
    kinds.into_iter().map(write).collect()
}

fn png() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let image =
        image::DynamicImage::from(image::RgbImage::from_fn(24, 17, |x, y| image::Rgb([x as u8 * 9, y as u8 * 14, 90])));
    for (name, image) in [
        ("rgb8", image.clone()),
        ("rgba16", image.to_rgba16().into()),
        ("grey8", image.to_luma8().into()),
        ("grey16", image.to_luma16().into()),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        seeds.push((name.to_owned(), bytes.into_inner()));
    }
    seeds
}

/// Everything that is in a labelled file; frames are small, so that what a chunk declares shows.
fn labelled(bytes: &[u8]) -> bool {
    let limits = Limits { max_pixels: 1 << 20, ..Limits::default() };
    let Ok(file) = NyuMat::from_bytes(bytes.to_vec(), &limits) else { return false };
    let whole =
        (0..file.frames().min(3)).all(|i| file.rgb(i).is_ok() && file.depth(i, false).is_ok() && file.ids(i).is_ok());
    file.names().is_ok() && file.scenes().is_ok() && whole
}
