//! A scene on its way into a batch: enlarged, cut, mirrored, its colours changed, normalised.
//!
//! One choice serves picture, depth and label map, whatever the sizes they are stored at: each is
//! read at the same place of the scene. As in ESANet: bilinear for colours, nearest for depth and
//! classes, so that no depth or class appears that was not there.

use crate::{AugmentConfig, augment::Key};

/// Fixed or drawn choices for one scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SceneChoice {
    /// Width and height of the input, which is cut out of
    pub size: [usize; 2],
    /// the whole scene at this width and height,
    pub scaled: [usize; 2],
    /// with its left and upper edge here,
    pub at: [usize; 2],
    /// and mirrored.
    pub flip: bool,
    /// Factors of hue, saturation and value; `None` leaves the colours as they are.
    pub hsv: Option<[f32; 3]>,
}

impl SceneChoice {
    pub fn new(size: [usize; 2], augment: &AugmentConfig, key: Key) -> Self {
        let Some((seed, epoch, id)) = key else {
            return Self { size, scaled: size, at: [0, 0], flip: false, hsv: None };
        };
        let mut rng = umt_random::stream(seed, "augment.scene", epoch, id);
        let [low, high] = augment.scale;
        let scale = low + (high - low) * rng.uniform_f64();
        let scaled = size.map(|length| ((length as f64 * scale).round() as usize).max(length));
        let at = [0, 1].map(|axis| {
            let spare = scaled[axis] - size[axis];
            let drawn = rng.below(spare as u64 + 1) as usize;
            if augment.crop { drawn } else { spare / 2 }
        });
        let flip = rng.bernoulli(augment.flip);
        let reach = augment.hsv as f32;
        let factors = [0; 3].map(|_| rng.range(1.0 - reach, 1.0 + reach));
        Self { size, scaled, at, flip, hsv: (reach > 0.0).then_some(factors) }
    }

    /// For each place along an axis of the input, where it lies in a stored part of `length`, in
    /// units of that part's pixels; pixel centres are at halves.
    fn places(&self, axis: usize, length: usize) -> impl Iterator<Item = f32> {
        let Self { size, scaled, at, .. } = *self;
        let step = length as f64 / scaled[axis] as f64;
        let mirrored = self.flip && axis == 0;
        (0..size[axis]).map(move |i| {
            let i = if mirrored { size[axis] - 1 - i } else { i };
            (((at[axis] + i) as f64 + 0.5) * step) as f32
        })
    }

    /// The nearest stored pixel of each place along an axis.
    fn nearest(&self, axis: usize, length: usize) -> Vec<usize> {
        self.places(axis, length).map(|place| (place as usize).min(length - 1)).collect()
    }

    /// The two stored pixels around each place along an axis, and the share of the second.
    fn between(&self, axis: usize, length: usize) -> Vec<(usize, usize, f32)> {
        let pair = |place: f32| {
            let place = (place - 0.5).clamp(0.0, (length - 1) as f32);
            let first = place as usize;
            (first, (first + 1).min(length - 1), place - first as f32)
        };
        self.places(axis, length).map(pair).collect()
    }
}

/// Reads `[height, width]` values at the nearest places: `out = convert(value)`.
pub(crate) fn write_nearest<T: Copy, U>(
    stored: &[T],
    [height, width]: [usize; 2],
    choice: &SceneChoice,
    convert: impl Fn(T) -> U,
    out: &mut [U],
) {
    let columns = choice.nearest(0, width);
    let rows = choice.nearest(1, height);
    for (row, out) in rows.into_iter().zip(out.chunks_exact_mut(columns.len().max(1))) {
        let stored = &stored[row * width..(row + 1) * width];
        for (out, &column) in out.iter_mut().zip(&columns) {
            *out = convert(stored[column]);
        }
    }
}

/// Buffers of one row per channel, kept between scenes.
#[derive(Default)]
pub(crate) struct RgbWriter {
    /// The two rows of the stored picture in use, at the input's width: their number and values.
    rows: [(Option<usize>, Vec<f32>); 2],
    mixed: Vec<f32>,
}

impl RgbWriter {
    /// Reads `[height, width, 3]` bytes between four pixels each: `out = scale * colour + bias`.
    pub fn write(
        &mut self,
        stored: &[u8],
        [height, width]: [usize; 2],
        choice: &SceneChoice,
        (scale, bias): ([f32; 3], [f32; 3]),
        out: &mut [f32],
    ) {
        let wide = choice.size[0];
        let columns = choice.between(0, width);
        self.rows.iter_mut().for_each(|(number, _)| *number = None);
        for ((first, second, share), out) in
            choice.between(1, height).into_iter().zip(out.chunks_exact_mut((wide * 3).max(1)))
        {
            for row in [first, second] {
                self.prepare(stored, width, row, [first, second], &columns);
            }
            let of = |row: usize| &self.rows[usize::from(self.rows[0].0 != Some(row))].1;
            self.mixed.clear();
            self.mixed.extend(of(first).iter().zip(of(second)).map(|(a, b)| a + (b - a) * share));
            if let Some(factors) = choice.hsv {
                change_colours(&mut self.mixed, wide, factors);
            }
            let (red, rest) = self.mixed.split_at(wide);
            let (green, blue) = rest.split_at(wide);
            for (((out, r), g), b) in out.as_chunks_mut::<3>().0.iter_mut().zip(red).zip(green).zip(blue) {
                *out = [r * scale[0] + bias[0], g * scale[1] + bias[1], b * scale[2] + bias[2]];
            }
        }
    }

    /// Row `row` at the input's width, channel by channel, in the buffer that does not hold a row in `used`.
    fn prepare(&mut self, stored: &[u8], width: usize, row: usize, used: [usize; 2], columns: &[(usize, usize, f32)]) {
        if self.rows.iter().any(|(number, _)| *number == Some(row)) {
            return;
        }
        let free = self.rows.iter().position(|(number, _)| number.is_none_or(|number| !used.contains(&number)));
        let (number, values) = &mut self.rows[free.unwrap_or(0)];
        *number = Some(row);
        let pixels = stored[row * width * 3..(row + 1) * width * 3].as_chunks::<3>().0;
        let wide = columns.len();
        values.resize(wide * 3, 0.0);
        let (red, rest) = values.split_at_mut(wide);
        let (green, blue) = rest.split_at_mut(wide);
        for (((&(first, second, share), r), g), b) in columns.iter().zip(red).zip(green).zip(blue) {
            let (first, second) = (pixels[first], pixels[second]);
            let mix = |c: usize| {
                let (a, b) = (f32::from(first[c]), f32::from(second[c]));
                a + (b - a) * share
            };
            (*r, *g, *b) = (mix(0), mix(1), mix(2));
        }
    }
}

/// Multiplies hue, saturation and value of a row given channel by channel, 0 to 255, by `factors`;
/// each is cut off at its greatest value.
fn change_colours(row: &mut [f32], width: usize, [hue, saturation, value]: [f32; 3]) {
    let (red, rest) = row.split_at_mut(width);
    let (green, blue) = rest.split_at_mut(width);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let (r, g, b) = (*red, *green, *blue);
        let most = r.max(g).max(b);
        let range = most - r.min(g).min(b);
        let inverse = if range > 0.0 { 1.0 / range } else { 0.0 };
        // In sixths of the circle, 0 to 6.
        let of_red = (g - b) * inverse;
        let of_red = if of_red < 0.0 { of_red + 6.0 } else { of_red };
        let of_green = (b - r) * inverse + 2.0;
        let of_blue = (r - g) * inverse + 4.0;
        let h = if most == r { of_red } else { of_blue };
        let h = if most == g && most != r { of_green } else { h };
        let h = (h * hue).min(6.0);
        let v = (most * value).min(255.0);
        let s = if most > 0.0 { (range / most * saturation).min(1.0) } else { 0.0 };
        let c = v * s;
        // A channel falls from v by c as the hue moves away from it.
        let channel = |at: f32| {
            let k = at + h;
            let k = if k >= 6.0 { k - 6.0 } else { k };
            v - c * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        (*red, *green, *blue) = (channel(5.0), channel(3.0), channel(1.0));
    }
}

#[cfg(test)]
mod tests;
