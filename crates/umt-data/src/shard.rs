//! The file of decoded samples: records one after another, then an index, then a footer.
//!
//! ```text
//! "UMTSHRD1" | records ... | index (JSON) | offset u64 | length u64 | sha256 of the index (hex) | "UMTSHRD1"
//! ```
//! A record is the sound (f32 or i16, little-endian), the frames (u8), the colours (u8), the depth (u16)
//! and the classes (u8) of a scene, as far as there are any. Its digest stands
//! in the index and is compared each time the record is read. Records are read at
//! their place (`pread`): as cheap as a mapping for whole records, without unsafe code, and the
//! memory of a process does not grow with the set.

use crate::{
    AudioData, DataError, Decoded, DepthPixels, MapPixels, RgbPixels, SceneData, Skipped, Sums, VideoData,
    decode::Counts,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};
use umt_media::Array;

const MAGIC: &[u8; 8] = b"UMTSHRD1";
/// Bytes of a shard that is verified as a whole when it is opened.
const SMALL: u64 = 1 << 30;
const FOOTER: usize = 8 + 8 + 64 + 8;

/// Where a record lies and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub offset: u64,
    pub audio: Option<AudioEntry>,
    /// Frames, height, width.
    pub video: Option<[usize; 3]>,
    pub scene: Option<SceneEntry>,
    /// First 32 hex digits of the sha256 of the record's bytes.
    pub digest: String,
    /// Over the spectrogram.
    pub sums: Sums,
    /// Over the measured depths, in millimetres.
    pub depth: Sums,
    /// Pixels of each class.
    pub pixels: Vec<u64>,
}

/// Height and width of the parts of a scene.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SceneEntry {
    pub rgb: Option<[usize; 2]>,
    pub depth: Option<[usize; 2]>,
    pub map: [usize; 2],
}

/// Where the parts of a record lie in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub audio: Range<usize>,
    pub video: Range<usize>,
    pub rgb: Range<usize>,
    pub depth: Range<usize>,
    pub map: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AudioEntry {
    /// Bins and frames.
    Spectrogram([usize; 2]),
    /// Samples.
    Waveform(usize),
}

/// One entry per sample of the set; `None` for those in `skipped`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub key: String,
    pub entries: Vec<Option<Entry>>,
    pub skipped: Vec<Skipped>,
}

impl Entry {
    /// The places of the parts; none for lengths that overflow.
    fn layout(&self) -> Option<Layout> {
        let audio = match self.audio {
            None => 0,
            Some(AudioEntry::Spectrogram([bins, frames])) => bins.checked_mul(frames)?.checked_mul(4)?,
            Some(AudioEntry::Waveform(samples)) => samples.checked_mul(2)?,
        };
        let video = match self.video {
            None => 0,
            Some([t, h, w]) => t.checked_mul(h)?.checked_mul(w)?.checked_mul(3)?,
        };
        let area = |shape: Option<[usize; 2]>, bytes: usize| match shape {
            None => Some(0),
            Some([height, width]) => height.checked_mul(width)?.checked_mul(bytes),
        };
        let scene = self.scene.as_ref();
        let rgb = area(scene.and_then(|s| s.rgb), 3)?;
        let depth = area(scene.and_then(|s| s.depth), 2)?;
        let map = area(scene.map(|s| s.map), 1)?;
        let mut end = 0usize;
        let mut next = |length: usize| {
            let start = end;
            end = start.checked_add(length)?;
            Some(start..end)
        };
        Some(Layout { audio: next(audio)?, video: next(video)?, rgb: next(rgb)?, depth: next(depth)?, map: next(map)? })
    }
}

/// Writes records in the order they are pushed.
pub(crate) struct Writer<'a> {
    out: &'a mut dyn Write,
    offset: u64,
    bytes: Vec<u8>,
    index: Index,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut dyn Write, key: &str) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            offset: MAGIC.len() as u64,
            bytes: Vec::new(),
            index: Index { key: key.to_owned(), ..Index::default() },
        })
    }

    /// Appends a record; gives its size in bytes.
    pub fn push(&mut self, sample: &Decoded, counts: Counts) -> io::Result<u64> {
        let (audio, video, scene) = record(sample, &mut self.bytes);
        self.out.write_all(&self.bytes)?;
        self.index.entries.push(Some(Entry {
            offset: self.offset,
            audio,
            video,
            scene,
            digest: short_digest(&self.bytes),
            sums: counts.sound,
            depth: counts.depth,
            pixels: counts.pixels,
        }));
        self.offset += self.bytes.len() as u64;
        Ok(self.bytes.len() as u64)
    }

    /// Notes that the next sample has no record.
    pub fn skip(&mut self, skipped: Skipped) {
        self.index.entries.push(None);
        self.index.skipped.push(skipped);
    }

    pub fn finish(self) -> io::Result<()> {
        let index = serde_json::to_vec(&self.index)?;
        self.out.write_all(&index)?;
        self.out.write_all(&self.offset.to_le_bytes())?;
        self.out.write_all(&(index.len() as u64).to_le_bytes())?;
        self.out.write_all(umt_store::sha256_hex(&index).as_bytes())?;
        self.out.write_all(MAGIC)
    }
}

/// The digest that a sample's record has in the index.
pub(crate) fn record_digest(sample: &Decoded) -> String {
    let mut bytes = Vec::new();
    record(sample, &mut bytes);
    short_digest(&bytes)
}

/// Replaces `bytes` by a sample's record; gives what it holds.
fn record(sample: &Decoded, bytes: &mut Vec<u8>) -> (Option<AudioEntry>, Option<[usize; 3]>, Option<SceneEntry>) {
    bytes.clear();
    let audio = sample.audio.as_ref().map(|audio| match audio {
        AudioData::Spectrogram(array) => {
            bytes.extend(array.data.iter().flat_map(|v| v.to_le_bytes()));
            AudioEntry::Spectrogram([array.shape[0], array.shape[1]])
        }
        AudioData::Waveform(samples) => {
            bytes.extend(samples.iter().flat_map(|v| v.to_le_bytes()));
            AudioEntry::Waveform(samples.len())
        }
    });
    let video = sample.video.as_ref().map(|video| {
        bytes.extend_from_slice(&video.rgb);
        video.shape
    });
    let scene = sample.scene.as_ref().map(|scene| {
        if let Some(rgb) = &scene.rgb {
            bytes.extend_from_slice(&rgb.data);
        }
        if let Some(depth) = &scene.depth {
            let start = bytes.len();
            bytes.resize(start + 2 * depth.data.len(), 0);
            let words = bytes[start..].as_chunks_mut::<2>().0;
            words.iter_mut().zip(&depth.data).for_each(|(word, mm)| *word = mm.to_le_bytes());
        }
        bytes.extend_from_slice(&scene.map.data);
        SceneEntry {
            rgb: scene.rgb.as_ref().map(|rgb| rgb.shape),
            depth: scene.depth.as_ref().map(|depth| depth.shape),
            map: scene.map.shape,
        }
    });
    (audio, video, scene)
}

fn short_digest(bytes: &[u8]) -> String {
    let mut digest = umt_store::sha256_hex(bytes);
    digest.truncate(32);
    digest
}

/// An open shard.
#[derive(Debug)]
pub(crate) struct Shard {
    path: PathBuf,
    file: File,
    pub index: Index,
}

impl Shard {
    /// Opens a shard and compares the index's digest.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let damaged = |reason: &str| DataError::Cache { path: path.to_owned(), reason: reason.to_owned() };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let Some(footer_at) = length.checked_sub(FOOTER as u64) else {
            return Err(damaged("the file is too short"));
        };
        let mut footer = [0; FOOTER];
        read_at(&file, &mut footer, footer_at).map_err(io)?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&footer[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (offset, size) = (number(0), number(8));
        if &footer[FOOTER - 8..] != MAGIC || offset.checked_add(size) != Some(footer_at) {
            return Err(damaged("the footer is not that of a shard"));
        }
        let mut bytes = vec![0; size as usize];
        read_at(&file, &mut bytes, offset).map_err(io)?;
        if umt_store::sha256_hex(&bytes).as_bytes() != &footer[16..80] {
            return Err(damaged("the index does not fit its digest"));
        }
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        for entry in index.entries.iter().flatten() {
            let inside = entry.layout().and_then(|layout| {
                let end = entry.offset.checked_add(layout.map.end as u64)?;
                (end <= offset).then_some(())
            });
            if inside.is_none() {
                return Err(damaged("a record lies outside the file"));
            }
        }
        Ok(Self { path: path.to_owned(), file, index })
    }

    /// Compares every record with its digest, in a shard small enough that this takes about a second.
    pub fn verify_small(&self) -> Result<(), DataError> {
        let length = self.file.metadata().map_err(|source| DataError::Io { path: self.path.clone(), source })?.len();
        if length > SMALL {
            return Ok(());
        }
        let mut buffer = Vec::new();
        let mut there = (0..self.index.entries.len()).filter(|&i| self.index.entries[i].is_some());
        there.try_for_each(|i| self.read(i, &mut buffer).map(drop))
    }

    /// The bytes of record `i` into `buffer`; gives the places of its parts.
    pub fn read(&self, i: usize, buffer: &mut Vec<u8>) -> Result<Layout, DataError> {
        let entry = self.index.entries.get(i).and_then(Option::as_ref);
        let Some((entry, layout)) = entry.and_then(|e| Some((e, e.layout()?))) else {
            return Err(self.damaged(format!("there is no record {i}")));
        };
        buffer.resize(layout.map.end, 0);
        read_at(&self.file, buffer, entry.offset)
            .map_err(|source| DataError::Io { path: self.path.clone(), source })?;
        // At every reading: what was right an epoch ago may not be so any more.
        if short_digest(buffer) != entry.digest {
            return Err(self.damaged(format!("record {i} does not fit its digest")));
        }
        Ok(layout)
    }

    /// Record `i` as values.
    pub fn decoded(&self, i: usize) -> Result<Decoded, DataError> {
        let mut bytes = Vec::new();
        let layout = self.read(i, &mut bytes)?;
        let entry = self.index.entries[i].as_ref();
        let audio = entry.and_then(|e| e.audio.as_ref()).map(|audio| match audio {
            AudioEntry::Spectrogram(shape) => AudioData::Spectrogram(Array {
                shape: shape.to_vec(),
                data: floats(&bytes[layout.audio.clone()]).collect(),
            }),
            AudioEntry::Waveform(_) => AudioData::Waveform(shorts(&bytes[layout.audio.clone()]).collect()),
        });
        let video =
            entry.and_then(|e| e.video).map(|shape| VideoData { shape, rgb: bytes[layout.video.clone()].to_vec() });
        let scene = entry.and_then(|e| e.scene).map(|scene| SceneData {
            rgb: scene.rgb.map(|shape| RgbPixels { shape, data: bytes[layout.rgb.clone()].to_vec() }),
            depth: scene.depth.map(|shape| DepthPixels { shape, data: words(&bytes[layout.depth.clone()]).collect() }),
            map: MapPixels { shape: scene.map, data: bytes[layout.map.clone()].to_vec() },
        });
        Ok(Decoded { audio, video, scene })
    }

    fn damaged(&self, reason: String) -> DataError {
        DataError::Cache { path: self.path.clone(), reason }
    }
}

/// Little-endian `f32` values.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

/// Little-endian `u16` values.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes))
}

/// Little-endian `i16` values.
pub(crate) fn shorts(bytes: &[u8]) -> impl Iterator<Item = i16> {
    bytes.as_chunks::<2>().0.iter().map(|&bytes| i16::from_le_bytes(bytes))
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}
