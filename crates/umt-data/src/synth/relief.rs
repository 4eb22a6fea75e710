//! The glyph as a depth camera sees it: raised from a tilted wall, among pieces of others, with noise and holes.
//!
//! The third modality of the synthetic set, for whoever names `data.depth.size`: hands of its own cast it, and how clear it
//! is does not depend on sound and picture. Colour does not show in it, and texture does not disturb it.

use super::{CLASSES, at_clearness, draw::Strokes};
use crate::DepthPixels;
use umt_random::Rng;

/// Millimetres that strokes rise from the wall, from the least clear sample to the clearest.
const HEIGHT: [f32; 2] = [60.0, 260.0];
/// Standard deviation of a pixel's distance in millimetres, likewise.
const NOISE: [f32; 2] = [40.0, 10.0];
/// Pieces of other glyphs, likewise.
const PIECES: [f32; 2] = [4.0, 1.0];
/// Share of pixels that the sensor does not measure.
const HOLES: f64 = 0.03;

/// Strokes somewhere in the picture, in units of its width.
struct Raised {
    strokes: Strokes,
    at: [f32; 2],
    scale: f32,
    height: f32,
}

/// Distances in millimetres, 0 for holes; `size` is width and height in pixels.
pub(super) fn picture(glyph: Strokes, class: usize, clear: f32, size: [usize; 2], rng: &mut Rng) -> DepthPixels {
    let [width, height] = size;
    let wall = rng.range(1_900.0, 2_100.0);
    let tilt = [0; 2].map(|_| rng.range(-100.0, 100.0));
    let rise = at_clearness(HEIGHT, clear);
    let mut all = vec![Raised {
        strokes: glyph,
        at: [0; 2].map(|_| rng.range(0.4, 0.6)),
        scale: rng.range(0.24, 0.34),
        height: rise,
    }];
    for _ in 0..(at_clearness(PIECES, clear) + rng.uniform()) as usize {
        let other = (class + 1 + rng.below(CLASSES as u64 - 1) as usize) % CLASSES;
        let height = rise * rng.range(0.6, 1.1);
        let strokes = Strokes::piece(other, rng);
        all.push(Raised { strokes, at: [0; 2].map(|_| rng.range(0.05, 0.95)), scale: rng.range(0.14, 0.26), height });
    }
    let pixel = 1.0 / width as f32;
    let mut data = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let at = [(x as f32 + 0.5) * pixel, (y as f32 + 0.5) / height as f32];
            let ground = wall + tilt[0] * (at[0] - 0.5) + tilt[1] * (at[1] - 0.5);
            let raised = all.iter().map(|item| {
                let local = [0, 1].map(|axis| (at[axis] - item.at[axis]) / item.scale);
                item.height * item.strokes.cover(local[0], local[1], pixel / item.scale)
            });
            // What is nearest hides what is behind it.
            let rise = raised.fold(0.0f32, f32::max);
            let noise = at_clearness(NOISE, clear) * rng.normal();
            let measured = !rng.bernoulli(HOLES);
            let mm = (ground - rise + noise).round().clamp(1.0, 65_535.0);
            data.push(if measured { mm as u16 } else { 0 });
        }
    }
    DepthPixels { shape: [height, width], data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_rise_from_the_wall_and_a_sample_is_what_it_was() {
        let draw = |clear| {
            let mut rng = umt_random::stream(1, "test.relief", 0, 0);
            let glyph = Strokes::written(3, 0.0, &mut rng);
            picture(glyph, 3, clear, [32, 24], &mut rng)
        };
        let clear = draw(1.0);
        assert_eq!(clear, draw(1.0));
        assert_eq!((clear.shape, clear.data.len()), ([24, 32], 32 * 24));
        let holes = clear.data.iter().filter(|&&mm| mm == 0).count();
        assert!((5..60).contains(&holes), "{holes}");
        // The least clear one has less of a rise: its deviation from a fitted wall is mostly noise. Here by the spread of
        // neighbours, which strokes' edges make and a tilted wall does not.
        let edges = |p: &DepthPixels| {
            let pairs = p.data.windows(2).filter(|w| w[0] > 0 && w[1] > 0);
            pairs.filter(|w| w[0].abs_diff(w[1]) > 60).count()
        };
        assert!(edges(&clear) > 20, "{}", edges(&clear));
    }
}
