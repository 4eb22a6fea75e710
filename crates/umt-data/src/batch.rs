//! A batch, and how one is put together from the cache.

use crate::{
    Cache, DataError, LabelMaps,
    augment::{AudioChoice, Key, RowAffine, VideoChoice, write_audio, write_video},
    decode::{from_i16, front_end},
    shard::{AudioEntry, floats, shorts},
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
    /// `[frames, height, width, 3]`.
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
        Ok(shapes)
    }
}

/// Puts batches together; each thread has its own, with the buffers that it needs.
pub(crate) struct Builder {
    shapes: BTreeMap<Modality, Vec<usize>>,
    front_end: Option<FrontEnd>,
    affine: Option<RowAffine>,
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
        for (place, &i) in samples.iter().enumerate() {
            let id = umt_random::id_hash(&set.samples[i].id);
            let key: Key = draw.map(|(seed, epoch)| (seed, epoch, id));
            let sound = cache.shard.read(i, &mut self.bytes)?;
            for (&modality, (size, array)) in &mut arrays {
                let out = &mut array.data[place * *size..(place + 1) * *size];
                match modality {
                    Modality::Audio => self.audio(cache, i, sound, key, out)?,
                    _ => self.video(cache, sound, key, out)?,
                }
            }
        }
        let info = |&i: &usize| &set.samples[i];
        Ok(Batch {
            ids: samples.iter().map(info).map(|s| s.id.clone()).collect(),
            indices: samples.to_vec(),
            labels: samples.iter().map(info).map(|s| s.label as u32).collect(),
            maps: None,
            inputs: arrays.into_iter().map(|(m, (_, array))| (m, array)).collect(),
        })
    }

    fn audio(&mut self, cache: &Cache, i: usize, sound: usize, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        let config = cache.config();
        let shape = &self.shapes[&Modality::Audio];
        let shape = [shape[0], shape[1]];
        let choice = AudioChoice::new(config, shape, key);
        let stored = cache.shard.index.entries[i].as_ref().and_then(|e| e.audio.as_ref());
        self.values.clear();
        match (stored, &config.audio, &mut self.front_end) {
            (Some(AudioEntry::Waveform(_)), Some(input), Some(front_end)) => {
                let mono: Vec<f32> = shorts(&self.bytes[..sound]).map(from_i16).collect();
                let length = input.samples(front_end.rate());
                let window = fit(&mono, length, input.window(choice.window), input.fill);
                self.values.extend_from_slice(&front_end.run(&window).data);
            }
            _ => self.values.extend(floats(&self.bytes[..sound])),
        }
        if self.values.len() != out.len() {
            return Err(DataError::config(
                "audio",
                format!(
                    "sample `{}` has {} spectrogram values instead of {}",
                    cache.dataset().samples[i].id,
                    self.values.len(),
                    out.len()
                ),
            ));
        }
        write_audio(&self.values, shape[1], &choice, cache.audio_affine(i), out);
        Ok(())
    }

    fn video(&self, cache: &Cache, sound: usize, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        if let (Some(input), Some(affine)) = (&cache.config().video, &self.affine) {
            let choice = VideoChoice::new(input, &cache.config().augment, key);
            write_video(&self.bytes[sound..], input, &choice, affine, out)
                .map_err(|error| DataError::config("augment.resized-crop", error.to_string()))?;
        }
        Ok(())
    }
}
