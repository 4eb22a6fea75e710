//! What is done to a sample on its way into a batch: drawn for training, fixed for evaluation.
//!
//! Draws are a pure function of (seed, epoch, sample id), each modality from a stream of its own, so
//! that a teacher of one modality and a network of both see the same pictures and sounds. One crop
//! and one mirror image serve all frames of a clip.

use crate::{AugmentConfig, DataConfig, VideoInput};
use umt_media::MediaError;
use umt_video::Frame;

/// Fixed or drawn choices for one sample's frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VideoChoice {
    /// Left and upper edge of the crop.
    pub at: [usize; 2],
    /// Its width and height in stored pixels; when they are not those of the input, it is resized.
    pub size: [usize; 2],
    pub flip: bool,
    /// Which stored frame serves each used one.
    pub frames: Vec<usize>,
}

/// Fixed or drawn choices for one sample's sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AudioChoice {
    /// Frames that the spectrogram is rolled by, to the right.
    pub shift: usize,
    /// Random bits for the window; `None` for the centre.
    pub window: Option<u64>,
    /// Blanked `(start, length)` in time and in frequency.
    pub time: Vec<(usize, usize)>,
    pub bands: Vec<(usize, usize)>,
}

/// Who draws: the run's seed, the epoch and the sample; `None` stands for evaluation.
pub(crate) type Key = Option<(u64, u64, u64)>;

impl VideoChoice {
    pub fn new(input: &VideoInput, augment: &AugmentConfig, key: Key) -> Self {
        let used = input.select.count();
        let spare = [0, 1].map(|axis| input.size[axis] - input.crop[axis]);
        let Some((seed, epoch, id)) = key else {
            // Whole frames at the size of the crop, or their middle.
            let (at, size) = match augment.resized_crop {
                Some(_) => ([0, 0], input.size),
                None => (spare.map(|s| s / 2), input.crop),
            };
            return Self {
                at,
                size,
                flip: false,
                frames: (0..used).map(|k| k * input.candidates + input.candidates / 2).collect(),
            };
        };
        let mut rng = umt_random::stream(seed, "augment.video", epoch, id);
        let mut below = |n: usize| rng.below(n as u64) as usize;
        let at = spare.map(|s| {
            let drawn = below(s + 1);
            if augment.crop { drawn } else { s / 2 }
        });
        let frames = (0..used).map(|k| k * input.candidates + below(input.candidates)).collect();
        let flip = rng.bernoulli(augment.flip);
        let Some(crop) = &augment.resized_crop else {
            return Self { at, size: input.crop, flip, frames };
        };
        let [x, y, width, height] = crop.draw(input.size, &mut umt_random::stream(seed, "augment.region", epoch, id));
        Self { at: [x, y], size: [width, height], flip, frames }
    }
}

impl AudioChoice {
    /// `shape` is that of the spectrogram, `[bins, frames]`.
    pub fn new(config: &DataConfig, shape: [usize; 2], key: Key) -> Self {
        let Some((seed, epoch, id)) = key else {
            return Self::default();
        };
        let augment = &config.augment;
        let [bins, frames] = shape;
        let mut rng = umt_random::stream(seed, "augment.audio", epoch, id);
        let window = Some(rng.next_u64());
        let reach = augment.time_shift.min(frames.saturating_sub(1) / 2);
        let drawn = rng.below(2 * reach as u64 + 1) as usize;
        let shift = (drawn + frames - reach) % frames.max(1);
        let mut masks = |count: usize, width: usize, length: usize| {
            let mask = |_| {
                let width = rng.below(width.min(length) as u64 + 1) as usize;
                let start = rng.below((length - width) as u64 + 1) as usize;
                (start, width)
            };
            (0..count).map(mask).collect()
        };
        Self {
            shift,
            window,
            time: masks(augment.time_masks, augment.time_mask_width, frames),
            bands: masks(augment.band_masks, augment.band_mask_width, bins),
        }
    }
}

/// `out = (values - mean) * scale`, rolled by the choice's shift, blanked where it says.
/// Both are `[bins, frames]`; a blank is the mean.
pub(crate) fn write_audio(
    values: &[f32],
    frames: usize,
    choice: &AudioChoice,
    (mean, scale): (f32, f32),
    out: &mut [f32],
) {
    if frames == 0 {
        return;
    }
    let cut = frames - choice.shift % frames;
    let rows = values.chunks_exact(frames).zip(out.chunks_exact_mut(frames));
    for (row, out) in rows {
        let (head, tail) = row.split_at(cut);
        let (front, back) = out.split_at_mut(frames - cut);
        for (out, value) in front.iter_mut().zip(tail) {
            *out = (value - mean) * scale;
        }
        for (out, value) in back.iter_mut().zip(head) {
            *out = (value - mean) * scale;
        }
        for &(start, length) in &choice.time {
            out[start..start + length].fill(0.0);
        }
    }
    for &(start, length) in &choice.bands {
        out[start * frames..(start + length) * frames].fill(0.0);
    }
}

/// Scale and bias for each value of a row of the crop.
pub(crate) struct RowAffine {
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl RowAffine {
    pub fn new(input: &VideoInput) -> Self {
        let (scale, bias) = input.normalise.affine();
        Self { scale: scale.repeat(input.crop[0]), bias: bias.repeat(input.crop[0]) }
    }
}

/// Crops, resizes where the choice says so, mirrors and scales stored frames `rgb` into `out`,
/// `[used frames, height, width, 3]`.
pub(crate) fn write_video(
    rgb: &[u8],
    input: &VideoInput,
    choice: &VideoChoice,
    affine: &RowAffine,
    out: &mut [f32],
) -> Result<(), MediaError> {
    let [width, height] = input.size;
    let [crop_width, crop_height] = input.crop;
    let frames = choice.frames.iter().zip(out.chunks_exact_mut(crop_width * crop_height * 3));
    for (&frame, out) in frames {
        let start = frame * width * height * 3;
        let Some(stored) = rgb.get(start..start + width * height * 3) else { return Ok(()) };
        if choice.size == input.crop {
            let [x, y] = choice.at;
            write_rows(&stored[(y * width + x) * 3..], width * 3, choice.flip, affine, out);
        } else {
            let stored = Frame { width, height, rgb: stored.to_vec() };
            let part = stored.part(choice.at[0], choice.at[1], choice.size[0], choice.size[1]);
            write_rows(&part.resized(crop_width, crop_height)?.rgb, crop_width * 3, choice.flip, affine, out);
        }
    }
    Ok(())
}

/// Mirrors and scales rows, each `stride` bytes after the one before, into `out`.
fn write_rows(from: &[u8], stride: usize, flip: bool, affine: &RowAffine, out: &mut [f32]) {
    let row = affine.scale.len();
    for (from, to) in from.chunks(stride).zip(out.chunks_exact_mut(row)) {
        if flip {
            for (from, to) in from[..row].rchunks_exact(3).zip(to.chunks_exact_mut(3)) {
                for c in 0..3 {
                    to[c] = f32::from(from[c]) * affine.scale[c] + affine.bias[c];
                }
            }
        } else {
            let affine = affine.scale.iter().zip(&affine.bias);
            for ((to, &from), (scale, bias)) in to.iter_mut().zip(from).zip(affine) {
                *to = f32::from(from) * scale + bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umt_video::Select;

    fn input() -> VideoInput {
        VideoInput {
            select: Select::Count { count: 2 },
            candidates: 3,
            size: [6, 4],
            crop: [3, 2],
            normalise: crate::VideoNormalise::Half,
        }
    }

    /// `torchvision.transforms.functional.resized_crop` on PIL pictures of 8 bit: edge, size, red of the 4x4 result.
    #[rustfmt::skip]
    const RESIZED: [([usize; 2], [usize; 2], [f32; 16]); 4] = [
        ([0, 0], [8, 6], [30.0, 97.0, 171.0, 127.0, 46.0, 113.0, 187.0, 143.0, 61.0, 128.0, 192.0, 122.0, 77.0, 144.0, 186.0, 64.0]),
        ([1, 2], [5, 3], [68.0, 111.0, 155.0, 198.0, 75.0, 118.0, 162.0, 205.0, 83.0, 126.0, 170.0, 213.0, 90.0, 133.0, 177.0, 220.0]),
        ([2, 1], [3, 2], [85.0, 108.0, 136.0, 159.0, 88.0, 111.0, 139.0, 162.0, 93.0, 116.0, 144.0, 167.0, 96.0, 119.0, 147.0, 170.0]),
        ([3, 0], [1, 6], [115.0, 115.0, 115.0, 115.0, 131.0, 131.0, 131.0, 131.0, 146.0, 146.0, 146.0, 146.0, 162.0, 162.0, 162.0, 162.0]),
    ];

    #[test]
    fn evaluation_is_the_centre_and_training_reaches_every_place() {
        let augment = AugmentConfig { flip: 0.5, ..AugmentConfig::default() };
        let fixed = VideoChoice::new(&input(), &augment, None);
        assert_eq!((fixed.at, fixed.flip, fixed.frames), ([1, 1], false, vec![1, 4]));
        let drawn: Vec<_> = (0..400).map(|epoch| VideoChoice::new(&input(), &augment, Some((1, epoch, 7)))).collect();
        let seen = |test: &dyn Fn(&VideoChoice) -> bool| drawn.iter().filter(|c| test(c)).count();
        for x in 0..4 {
            for y in 0..3 {
                assert!(seen(&|c| c.at == [x, y]) > 15);
            }
        }
        assert!((150..250).contains(&seen(&|c| c.flip)));
        for k in 0..3 {
            assert!(seen(&|c| c.frames[1] == 3 + k) > 100);
        }
        let again = VideoChoice::new(&input(), &augment, Some((1, 5, 7)));
        assert_eq!(again, drawn[5]);
    }

    #[test]
    fn a_mirrored_crop_is_the_mirror_of_the_crop() {
        let rgb: Vec<u8> = (0..6 * 4 * 3 * 6).map(|v| v as u8).collect();
        let affine = RowAffine::new(&input());
        let mut choice = VideoChoice { at: [2, 1], size: input().crop, flip: false, frames: vec![0, 5] };
        let (mut plain, mut mirrored) = (vec![0.0; 36], vec![0.0; 36]);
        write_video(&rgb, &input(), &choice, &affine, &mut plain).unwrap();
        choice.flip = true;
        write_video(&rgb, &input(), &choice, &affine, &mut mirrored).unwrap();
        assert!((plain[0] - (24.0 / 127.5 - 1.0)).abs() < 1e-6);
        for (a, b) in plain.chunks(9).zip(mirrored.chunks(9)) {
            let turned: Vec<f32> = b.chunks(3).rev().flatten().copied().collect();
            assert_eq!(a, turned);
        }
    }

    /// A frame of 8x6 with red `(37 x + 11 y) % 256`.
    #[test]
    fn a_region_is_resized_as_in_torchvision() {
        let input = VideoInput { size: [8, 6], crop: [4, 4], candidates: 1, ..input() };
        let pixel = |i: usize| {
            let (x, y) = (i % 8, i / 8);
            [((37 * x + 11 * y) % 256) as u8, (50 + x) as u8, 7]
        };
        let rgb: Vec<u8> = (0..48).flat_map(pixel).collect();
        let affine = RowAffine { scale: vec![1.0; 12], bias: vec![0.0; 12] };
        let red = |at: [usize; 2], size: [usize; 2]| {
            let choice = VideoChoice { at, size, flip: false, frames: vec![0] };
            let mut out = vec![0.0; 48];
            write_video(&rgb, &input, &choice, &affine, &mut out).unwrap();
            out.chunks(3).map(|p| p[0]).collect::<Vec<f32>>()
        };
        for (at, size, expected) in RESIZED {
            let found = red(at, size);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1.0), "{found:?} for {expected:?}");
        }
    }

    #[test]
    fn regions_are_drawn_for_training_and_whole_frames_evaluated() {
        let input = VideoInput { size: [8, 6], crop: [4, 4], ..input() };
        let augment = AugmentConfig { resized_crop: Some(crate::ResizedCrop::default()), ..AugmentConfig::default() };
        let fixed = VideoChoice::new(&input, &augment, None);
        assert_eq!((fixed.at, fixed.size, fixed.flip), ([0, 0], [8, 6], false));
        let drawn: Vec<_> = (0..50).map(|epoch| VideoChoice::new(&input, &augment, Some((1, epoch, 7)))).collect();
        assert!(drawn.iter().all(|c| c.at[0] + c.size[0] <= 8 && c.at[1] + c.size[1] <= 6));
        assert!(drawn.iter().any(|c| c.size != drawn[0].size));
        assert_eq!(VideoChoice::new(&input, &augment, Some((1, 5, 7))), drawn[5]);
        // Whether a clip is mirrored and which frames serve does not depend on how it is cropped.
        let plain = AugmentConfig { flip: 0.5, ..AugmentConfig::default() };
        let both = AugmentConfig { flip: 0.5, ..augment };
        for epoch in 0..20 {
            let other = |augment| VideoChoice::new(&input, augment, Some((1, epoch, 7)));
            let (plain, both) = (other(&plain), other(&both));
            assert_eq!((plain.flip, plain.frames), (both.flip, both.frames));
        }
    }

    #[test]
    fn spectrograms_roll_and_are_blanked() {
        let values: Vec<f32> = (0..10).map(|v| v as f32).collect();
        let mut out = vec![9.0; 10];
        let choice = AudioChoice { shift: 2, ..AudioChoice::default() };
        write_audio(&values, 5, &choice, (1.0, 2.0), &mut out);
        assert_eq!(out, [4.0, 6.0, -2.0, 0.0, 2.0, 14.0, 16.0, 8.0, 10.0, 12.0]);
        let choice = AudioChoice { time: vec![(1, 2)], bands: vec![(0, 1)], ..AudioChoice::default() };
        write_audio(&values, 5, &choice, (0.0, 1.0), &mut out);
        assert_eq!(out, [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 8.0, 9.0]);
    }
}
