//! A batch, and how one is put together from the cache.

use crate::{
    Cache, DataError, DenseInput, LabelMaps,
    augment::{AudioChoice, Key, RowAffine, VideoChoice, write_audio, write_video},
    augment_scene::{RgbWriter, SceneChoice, write_nearest},
    decode::{from_i16, front_end},
    shard::{AudioEntry, Layout, SceneEntry, floats, shorts},
};
use std::collections::BTreeMap;
use umt_audio::{FrontEnd, fit};
use umt_media::{Array, Modality};

/// Samples that enter the network together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Their ids.
    pub ids: Vec<String>,
    /// Their places in [`crate::Dataset::samples`].
    pub indices: Vec<usize>,
    /// Their classes; empty where each pixel has its own.
    pub labels: Vec<u32>,
    /// Classes of their pixels, in sets with a class for every pixel.
    pub maps: Option<LabelMaps>,
    /// Audio `[n, bins, frames, 1]`, video `[n, frames, height, width, 3]`, rgb `[n, height, width, 3]`,
    /// depth `[n, height, width, 1]`, all normalised.
    pub inputs: BTreeMap<Modality, Array>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Cache {
    /// The shape of each input without the batch axis: audio `[bins, frames, 1]`, video
    /// `[frames, height, width, 3]`, rgb `[height, width, 3]`, depth `[height, width, 1]`.
    ///
    /// # Errors
    /// Front-end settings that cannot be.
    pub fn input_shapes(&self) -> Result<BTreeMap<Modality, Vec<usize>>, DataError> {
        let mut shapes = BTreeMap::new();
        if let Some(input) = &self.config().audio {
            let front_end = front_end(input)?;
            let [bins, frames] = front_end.shape(input.samples(front_end.rate()));
            shapes.insert(Modality::Audio, vec![bins, frames, 1]);
        }
        if let Some(input) = &self.config().video {
            let [width, height] = input.crop;
            shapes.insert(Modality::Video, vec![input.select.count(), height, width, 3]);
        }
        if let Some([width, height]) = self.config().depth.as_ref().and_then(|depth| depth.size) {
            shapes.insert(Modality::Depth, vec![height, width, 1]);
        }
        if let Some(DenseInput { size: [width, height], .. }) = self.config().dense {
            let here = |there: bool, channels| there.then(|| vec![height, width, channels]);
            shapes.extend(here(self.config().depth.is_some(), 1).map(|shape| (Modality::Depth, shape)));
            shapes.extend(here(self.config().rgb.is_some(), 3).map(|shape| (Modality::Rgb, shape)));
        }
        Ok(shapes)
    }
}

/// Puts batches together; each thread has its own, with the buffers that it needs.
pub(crate) struct Builder {
    shapes: BTreeMap<Modality, Vec<usize>>,
    front_end: Option<FrontEnd>,
    affine: Option<RowAffine>,
    colours: RgbWriter,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Builder {
    pub fn new(cache: &Cache) -> Result<Self, DataError> {
        let config = cache.config();
        Ok(Self {
            shapes: cache.input_shapes()?,
            front_end: config.audio.as_ref().map(front_end).transpose()?,
            affine: config.video.as_ref().map(RowAffine::new),
            colours: RgbWriter::default(),
            bytes: Vec::new(),
            values: Vec::new(),
        })
    }

    /// The batch of `samples`; `draw` is (seed, epoch) for training.
    pub fn build(&mut self, cache: &Cache, samples: &[usize], draw: Option<(u64, u64)>) -> Result<Batch, DataError> {
        let set = cache.dataset();
        let mut arrays: BTreeMap<Modality, (usize, Array)> = BTreeMap::new();
        for (&modality, shape) in &self.shapes {
            let mut full = vec![samples.len()];
            full.extend(shape);
            arrays.insert(modality, (shape.iter().product(), Array::zeros(full)));
        }
        let mut maps = None;
        for (place, &i) in samples.iter().enumerate() {
            let id = umt_random::id_hash(set.sample(i).id());
            let key: Key = draw.map(|(seed, epoch)| (seed, epoch, id));
            let layout = cache.shard.read(i, &mut self.bytes)?;
            let entry = cache.shard.index.entries[i].as_ref().and_then(|entry| entry.scene);
            let config = cache.config();
            let beside = config.depth.as_ref().and_then(|depth| depth.size);
            let size = config.dense.as_ref().map(|input| input.size).or(beside);
            let scene = entry.zip(size).map(|(entry, size)| (entry, SceneChoice::new(size, &config.augment, key)));
            for (&modality, (size, array)) in &mut arrays {
                let out = &mut array.data[place * *size..(place + 1) * *size];
                match (modality, &scene) {
                    (Modality::Audio, _) => self.audio(cache, i, &layout, key, out)?,
                    (Modality::Video, _) => self.video(cache, &layout, key, out)?,
                    (modality, Some((entry, choice))) => self.scene(cache, modality, &layout, entry, choice, out),
                    (_, None) => {}
                }
            }
            if let Some((entry, choice)) = scene.filter(|_| beside.is_none()) {
                let maps = maps.get_or_insert_with(|| {
                    let [width, height] = choice.size;
                    let [height, width] = if draw.is_some() { [height, width] } else { entry.map };
                    LabelMaps { shape: [0, height, width], data: Vec::with_capacity(samples.len() * height * width) }
                });
                self.map(&layout, &entry, &choice, draw.is_some(), maps);
            }
        }
        Ok(Batch {
            ids: samples.iter().map(|&i| set.sample(i).id().to_owned()).collect(),
            indices: samples.to_vec(),
            labels: match maps {
                Some(_) => Vec::new(),
                None => samples.iter().map(|&i| set.sample(i).label() as u32).collect(),
            },
            maps,
            inputs: arrays.into_iter().map(|(m, (_, array))| (m, array)).collect(),
        })
    }

    fn audio(&mut self, cache: &Cache, i: usize, layout: &Layout, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        let config = cache.config();
        let shape = &self.shapes[&Modality::Audio];
        let shape = [shape[0], shape[1]];
        let choice = AudioChoice::new(config, shape, key);
        let stored = cache.shard.index.entries[i].as_ref().and_then(|e| e.audio.as_ref());
        self.values.clear();
        match (stored, &config.audio, &mut self.front_end) {
            (Some(AudioEntry::Waveform(_)), Some(input), Some(front_end)) => {
                let mono: Vec<f32> = shorts(&self.bytes[layout.audio.clone()]).map(from_i16).collect();
                let length = input.samples(front_end.rate());
                let window = fit(&mono, length, input.window(choice.window), input.fill);
                self.values.extend_from_slice(&front_end.run(&window).data);
            }
            _ => self.values.extend(floats(&self.bytes[layout.audio.clone()])),
        }
        if self.values.len() != out.len() {
            return Err(DataError::config(
                "audio",
                format!(
                    "sample `{}` has {} spectrogram values instead of {}",
                    cache.dataset().sample(i).id(),
                    self.values.len(),
                    out.len()
                ),
            ));
        }
        write_audio(&self.values, shape[1], &choice, cache.audio_affine(i), out);
        Ok(())
    }

    fn video(&self, cache: &Cache, layout: &Layout, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        if let (Some(input), Some(affine)) = (&cache.config().video, &self.affine) {
            let choice = VideoChoice::new(input, &cache.config().augment, key);
            write_video(&self.bytes[layout.video.clone()], input, &choice, affine, out)
                .map_err(|error| DataError::config("augment.resized-crop", error.to_string()))?;
        }
        Ok(())
    }

    fn scene(
        &mut self,
        cache: &Cache,
        modality: Modality,
        layout: &Layout,
        entry: &SceneEntry,
        choice: &SceneChoice,
        out: &mut [f32],
    ) {
        match (modality, &cache.config().rgb) {
            (Modality::Rgb, Some(input)) => {
                let affine = input.normalise.affine();
                let stored = &self.bytes[layout.rgb.clone()];
                self.colours.write(stored, entry.rgb.unwrap_or_default(), choice, affine, out);
            }
            (Modality::Depth, _) => {
                let [mean, std] = cache.depth_stats().unwrap_or([0.0, 1.0]);
                let scale = 1.0 / std.max(1e-6);
                let convert = |mm: [u8; 2]| match u16::from_le_bytes(mm) {
                    0 => 0.0,
                    mm => (f32::from(mm) - mean) * scale,
                };
                let stored = self.bytes[layout.depth.clone()].as_chunks::<2>().0;
                write_nearest(stored, entry.depth.unwrap_or_default(), choice, convert, out);
            }
            _ => {}
        }
    }

    /// Appends a label map: as the input is cut in training, whole and at its own size otherwise.
    fn map(&self, layout: &Layout, entry: &SceneEntry, choice: &SceneChoice, cut: bool, maps: &mut LabelMaps) {
        let stored = &self.bytes[layout.map.clone()];
        maps.shape[0] += 1;
        if cut {
            let start = maps.data.len();
            maps.data.resize(start + choice.size[0] * choice.size[1], LabelMaps::VOID);
            write_nearest(stored, entry.map, choice, |class| class, &mut maps.data[start..]);
        } else {
            maps.data.extend_from_slice(stored);
        }
    }
}
