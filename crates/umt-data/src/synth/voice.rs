//! A source-filter voice: pulses of the glottis through moving formants, and pink noise.

use super::words::WORDS;
use umt_random::Rng;

/// What two recordings of one speaker share.
pub(super) struct Voice {
    /// Mean pitch, Hz.
    pitch: f32,
    /// Length of the vocal tract: factor on all formants.
    tract: f32,
    /// Share of breath in the source.
    breath: f32,
    /// Share of the source that passes the formants by: a brighter voice.
    bright: f32,
}

/// Samples between changes of the filters.
const STEP: usize = 16;

impl Voice {
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            pitch: 90.0 * (rng.uniform() * 2.4f32.ln()).exp(),
            tract: rng.range(0.86, 1.18),
            breath: rng.range(0.05, 0.35),
            bright: rng.range(0.0, 0.08),
        }
    }

    /// `length` samples that hold the word somewhere, at a root mean square of 0.1 where it sounds.
    pub fn speak(&self, word: usize, jitter: f32, rate: u32, length: usize, rng: &mut Rng) -> Vec<f32> {
        let word = &WORDS[word % WORDS.len()];
        let mut stray = |width: f32| 1.0 + jitter * rng.range(-width, width);
        let vowels = word.vowels.map(|vowel| vowel.map(|hz| hz * self.tract * stray(0.2)));
        let contour = word.contour.map(|factor| factor * self.pitch * stray(0.15));
        let warp = stray(0.5);
        let share = 0.65 * stray(0.3);
        let spoken = ((length as f32 * share) as usize).clamp(1, length.max(1));
        let start = rng.below((length.saturating_sub(spoken)) as u64 + 1) as usize;
        let mut out = vec![0.0f32; length];
        let seconds = 1.0 / rate as f32;
        let mut formants = [Resonator::default(), Resonator::default(), Resonator::default()];
        let (mut phase, mut energy) = (rng.uniform(), 0.0f32);
        for i in 0..spoken.min(length) {
            let at = (i as f32 / spoken as f32).powf(warp);
            if i % STEP == 0 {
                let top = rate as f32 * 0.45;
                formants[0].tune(between(&vowels.map(|v| v[0]), at), 90.0, top, seconds);
                formants[1].tune(between(&vowels.map(|v| v[1]), at), 130.0, top, seconds);
                formants[2].tune(2700.0 * self.tract, 220.0, top, seconds);
            }
            phase += between(&contour, at) * seconds;
            if phase >= 1.0 {
                phase -= 1.0;
            }
            // A smooth pulse: open for 60 % of the period, falling faster than it rises.
            let pulse = if phase < 0.6 {
                let open = phase / 0.6;
                open * open * (1.0 - open) * 6.75 - 0.5625 * 0.6
            } else {
                -0.5625 * 0.6
            };
            let source = pulse + self.breath * (rng.uniform() - 0.5);
            let voiced = formants[0].run(source)
                + 0.7 * formants[1].run(source)
                + 0.3 * formants[2].run(source)
                + self.bright * source;
            let value = voiced * loudness(at, word.syllables);
            energy += value * value;
            out[start + i] = value;
        }
        let scale = 0.1 / (energy / spoken as f32).sqrt().max(1e-6);
        out.iter_mut().for_each(|value| *value *= scale);
        out
    }
}

/// A raised-cosine hump for each syllable.
fn loudness(at: f32, syllables: usize) -> f32 {
    let within = (at * syllables as f32).fract();
    (std::f32::consts::PI * within).sin().powi(2)
}

/// Linear between three values at 0, 1/2 and 1.
fn between(values: &[f32; 3], at: f32) -> f32 {
    let at = at.clamp(0.0, 1.0) * 2.0;
    if at < 1.0 { values[0] + (values[1] - values[0]) * at } else { values[1] + (values[2] - values[1]) * (at - 1.0) }
}

/// A two-pole band-pass filter of unit gain at its centre.
#[derive(Default)]
struct Resonator {
    a: [f32; 3],
    past: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, hz: f32, width: f32, top: f32, seconds: f32) {
        let radius = (-std::f32::consts::PI * width * seconds).exp();
        let angle = std::f32::consts::TAU * hz.min(top) * seconds;
        self.a = [
            (1.0 - radius) * (1.0 - 2.0 * radius * (2.0 * angle).cos() + radius * radius).sqrt(),
            2.0 * radius * angle.cos(),
            -radius * radius,
        ];
    }

    fn run(&mut self, input: f32) -> f32 {
        let value = self.a[0] * input + self.a[1] * self.past[0] + self.a[2] * self.past[1];
        self.past = [value, self.past[0]];
        value
    }
}

/// Noise of equal power per octave at a root mean square of 0.1: white noise through three leaky
/// sums (Kellet's economy filter).
pub(super) fn pink_noise(length: usize, rng: &mut Rng) -> Vec<f32> {
    let mut b = [0.0f32; 3];
    let mut energy = 0.0;
    let mut noise: Vec<f32> = (0..length)
        .map(|_| {
            let white = rng.uniform() * 2.0 - 1.0;
            b[0] = 0.99765 * b[0] + white * 0.099046;
            b[1] = 0.963 * b[1] + white * 0.2965164;
            b[2] = 0.57 * b[2] + white * 1.0526913;
            let value = b[0] + b[1] + b[2] + white * 0.1848;
            energy += value * value;
            value
        })
        .collect();
    let scale = 0.1 / (energy / length.max(1) as f32).sqrt().max(1e-6);
    noise.iter_mut().for_each(|value| *value *= scale);
    noise
}
