//! What the sensors make of a view.

use super::{SyntheticRoomsConfig, at_clearness, solids::View};
use umt_random::Rng;

/// The window's class: glass often gives no depth.
const WINDOW: u8 = 3;
/// Beyond this nothing is measured, in metres.
const FARTHEST: f32 = 8.0;

/// Colours in 8 bit: brightness, a tint, noise.
pub(super) fn colours(config: &SyntheticRoomsConfig, view: &View, clear: f32, rng: &mut Rng) -> Vec<u8> {
    let light = at_clearness(config.light, clear);
    let noise = at_clearness(config.pixel_noise, clear);
    let tint = [0; 3].map(|_| light * rng.range(0.85, 1.15));
    let mut rgb = Vec::with_capacity(view.colours.len() * 3);
    for colour in &view.colours {
        for c in 0..3 {
            let value = colour[c] * tint[c] + noise * quick_normal(rng);
            rgb.push((value * 255.0).round().clamp(0.0, 255.0) as u8);
        }
    }
    rgb
}

/// Depth in millimetres: noise and steps that grow with the square of the distance (Khoshelham and
/// Elberink, Sensors 2012), holes at edges, on slanted surfaces, in glass and in patches.
pub(super) fn depth(config: &SyntheticRoomsConfig, view: &View, clear: f32, rng: &mut Rng) -> Vec<u16> {
    let strength = at_clearness(config.depth_noise, clear);
    let [width, height] = view.size;
    let patches = patches(view.size, at_clearness(config.holes, clear), rng);
    let glass = rng.bernoulli(0.5);
    let mut mm = Vec::with_capacity(view.depth.len());
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            let z = view.depth[at];
            let noise = quick_normal(rng);
            // The camera sees round an edge where the projector, to its right, does not reach.
            let shadow = x + 1 < width && view.depth[at + 1] < z - 0.3;
            let slanted = view.facing[at] < 0.12;
            let hole = shadow || slanted || z > FARTHEST || patches[at] || (glass && view.classes[at] == WINDOW);
            if hole {
                mm.push(0);
                continue;
            }
            let measured = z + strength * (0.0012 + 0.0019 * (z - 0.4) * (z - 0.4)) * noise;
            let step = (0.00285 * strength.sqrt() * z * z).max(0.001);
            let stepped = (measured / step).round() * step;
            mm.push((stepped * 1000.0).round().clamp(1.0, 65_535.0) as u16);
        }
    }
    mm
}

/// Round patches that take about `share` of the picture.
fn patches([width, height]: [usize; 2], share: f32, rng: &mut Rng) -> Vec<bool> {
    let mut holes = vec![false; width * height];
    let mut left = share * (width * height) as f32;
    while left > 0.0 {
        let radius = rng.range(0.02, 0.12) * width as f32;
        let (cx, cy) = (rng.range(0.0, width as f32), rng.range(0.0, height as f32));
        let flat = rng.range(0.5, 1.0);
        left -= std::f32::consts::PI * radius * radius * flat;
        let rows = (cy - radius).max(0.0) as usize..((cy + radius).max(0.0) as usize + 1).min(height);
        for y in rows {
            for x in (cx - radius).max(0.0) as usize..((cx + radius).max(0.0) as usize + 1).min(width) {
                let (dx, dy) = (x as f32 - cx, (y as f32 - cy) / flat);
                holes[y * width + x] |= dx * dx + dy * dy < radius * radius;
            }
        }
    }
    holes
}

/// Nearly normal: the sum of four uniform values from one draw, scaled to a deviation of 1.
fn quick_normal(rng: &mut Rng) -> f32 {
    let bits = rng.next_u64();
    let sum: f32 = [0, 16, 32, 48].map(|shift| ((bits >> shift) & 0xffff) as f32 / 65_536.0).iter().sum();
    (sum - 2.0) * 3f32.sqrt()
}
