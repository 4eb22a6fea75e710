//! A moving glyph on a textured ground, anti-aliased.

use super::{CLASSES, SyntheticAvConfig, at_clearness, glyphs::GLYPHS};
use umt_random::Rng;
use umt_video::Frame;

/// Line segments in a square from -1 to 1, and the half width of the pen.
pub(super) struct Strokes {
    segments: Vec<[[f32; 2]; 2]>,
    pen: f32,
}

impl Strokes {
    /// A glyph as one hand writes it.
    pub fn written(class: usize, jitter: f32, rng: &mut Rng) -> Self {
        let turn = jitter * rng.range(-0.6, 0.6);
        let shear = jitter * rng.range(-0.5, 0.5);
        let size = [1.0 - jitter * rng.range(0.0, 0.45), 1.0 - jitter * rng.range(0.0, 0.35)];
        let (sin, cos) = turn.sin_cos();
        let mut segments = Vec::new();
        for stroke in GLYPHS[class % CLASSES] {
            let points: Vec<[f32; 2]> = stroke
                .iter()
                .map(|point| {
                    let x = (point[0] + jitter * rng.range(-0.18, 0.18)) * size[0];
                    let y = (point[1] + jitter * rng.range(-0.18, 0.18)) * size[1];
                    let x = x + shear * y;
                    [cos * x - sin * y, sin * x + cos * y]
                })
                .collect();
            segments.extend(points.windows(2).map(|pair| [pair[0], pair[1]]));
        }
        Self { segments, pen: rng.range(0.09, 0.2) }
    }

    /// Two or three neighbouring segments of a glyph.
    pub(super) fn piece(class: usize, rng: &mut Rng) -> Self {
        let mut whole = Self::written(class, 1.0, rng);
        let length = whole.segments.len().min(2 + rng.below(2) as usize);
        let first = rng.below((whole.segments.len() - length) as u64 + 1) as usize;
        whole.segments = whole.segments[first..first + length].to_vec();
        whole
    }

    /// How much of a pixel at `(x, y)`, `pixel` wide, is covered.
    pub(super) fn cover(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let mut nearest = f32::MAX;
        for [a, b] in &self.segments {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let (px, py) = (x - a[0], y - a[1]);
            let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
            let (ex, ey) = (px - along * dx, py - along * dy);
            nearest = nearest.min(ex * ex + ey * ey);
        }
        ((self.pen - nearest.sqrt()) / pixel + 0.5).clamp(0.0, 1.0)
    }
}

/// Something that moves through the picture; places and sizes in units of the picture's width.
struct Item {
    strokes: Strokes,
    from: [f32; 2],
    to: [f32; 2],
    /// Half the side of the square of its strokes.
    scale: f32,
    /// Added to the ground, per channel.
    colour: [f32; 3],
}

/// One wave of the ground's texture.
struct Wave {
    direction: [f32; 2],
    phase: f32,
    colour: [f32; 3],
}

/// A sample's picture at any time from 0 to 1.
pub(super) struct Scene {
    ground: [f32; 3],
    waves: Vec<Wave>,
    /// In the order in which they are painted: the glyph first.
    items: Vec<Item>,
    pixel_noise: f32,
}

impl Scene {
    pub fn new(config: &SyntheticAvConfig, glyph: Strokes, class: usize, clear: f32, rng: &mut Rng) -> Self {
        // Light on dark or dark on light, in a colour near grey.
        let sign = if rng.bernoulli(0.5) { 1.0 } else { -1.0 };
        let contrast = at_clearness(config.contrast, clear);
        let mut tinted = |base: f32| [0; 3].map(|_| base + rng.range(-0.08, 0.08));
        let ground = tinted(0.5 - 0.3 * sign * contrast);
        let colour = tinted(sign * contrast);
        let texture = at_clearness(config.texture, clear);
        let waves = (0..4)
            .map(|_| Wave {
                direction: [0; 2].map(|_| rng.range(-28.0, 28.0)),
                phase: rng.range(0.0, std::f32::consts::TAU),
                colour: [0; 3].map(|_| texture * rng.range(0.2, 0.6)),
            })
            .collect();
        let mut items = vec![Item {
            strokes: glyph,
            from: [0; 2].map(|_| rng.range(0.4, 0.6)),
            to: [0; 2].map(|_| rng.range(0.4, 0.6)),
            scale: rng.range(0.24, 0.34),
            colour,
        }];
        let pieces = (at_clearness(config.distractors, clear) + rng.uniform()).max(0.0) as usize;
        for _ in 0..pieces {
            let other = (class + 1 + rng.below(CLASSES as u64 - 1) as usize) % CLASSES;
            let strength = rng.range(0.6, 1.1);
            items.push(Item {
                strokes: Strokes::piece(other, rng),
                from: [0; 2].map(|_| rng.range(0.05, 0.95)),
                to: [0; 2].map(|_| rng.range(0.05, 0.95)),
                scale: rng.range(0.14, 0.26),
                colour: colour.map(|c| c * strength),
            });
        }
        Self { ground, waves, items, pixel_noise: config.pixel_noise }
    }

    /// The picture at `time`; `size` is width and height in pixels.
    pub fn frame(&self, time: f32, size: [usize; 2], rng: &mut Rng) -> Frame {
        let [width, height] = size;
        let pixel = 1.0 / width as f32;
        let light = rng.range(-0.05, 0.05);
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let at = [(x as f32 + 0.5) * pixel, (y as f32 + 0.5) / height as f32];
                let mut colour = self.ground;
                for wave in &self.waves {
                    let turn = wave.direction[0] * at[0] + wave.direction[1] * at[1] + wave.phase;
                    let value = turn.sin();
                    for c in 0..3 {
                        colour[c] += wave.colour[c] * value;
                    }
                }
                for item in &self.items {
                    let cover = item.cover(at, time, pixel);
                    for c in 0..3 {
                        // A later item hides an earlier one instead of adding to it.
                        let painted = self.ground[c] + item.colour[c];
                        colour[c] += cover * (painted - colour[c]);
                    }
                }
                for value in colour {
                    // The sum of two uniforms is near enough to a normal for pixel noise.
                    let noise = self.pixel_noise * 2.45 * (rng.uniform() + rng.uniform() - 1.0);
                    rgb.push(((value + light + noise) * 255.0).round().clamp(0.0, 255.0) as u8);
                }
            }
        }
        Frame { width, height, rgb }
    }
}

impl Item {
    fn cover(&self, at: [f32; 2], time: f32, pixel: f32) -> f32 {
        let local = [0, 1].map(|axis| {
            let centre = self.from[axis] + (self.to[axis] - self.from[axis]) * time;
            (at[axis] - centre) / self.scale
        });
        // Strokes stay within 1.6 of their centre, however they are turned.
        if local.iter().any(|v| v.abs() > 1.8) {
            return 0.0;
        }
        self.strokes.cover(local[0], local[1], pixel / self.scale)
    }
}
