//! Cutting and extending samples to a fixed length.

use serde::{Deserialize, Serialize};

/// Which part of a clip that is too long is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The first samples.
    Start,
    /// The middle.
    Centre,
    /// A uniformly drawn position; the number is 64 random bits from the caller's stream.
    Random(u64),
}

/// What follows the samples of a clip that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// The clip again from its start, as often as needed (VGGSound's preparation).
    #[default]
    Tile,
    /// Zeros at the end.
    Zero,
}

/// Returns exactly `len` samples of `samples`: a window of a long clip, a short one extended.
///
/// An empty input gives zeros with either [`Fill`]; [`crate::decode`] never returns one.
pub fn fit(samples: &[f32], len: usize, window: Window, fill: Fill) -> Vec<f32> {
    if samples.len() >= len {
        let start = offset(samples.len() - len, window);
        return samples[start..start + len].to_vec();
    }
    let mut out = Vec::with_capacity(len);
    match fill {
        Fill::Tile if !samples.is_empty() => {
            while out.len() < len {
                out.extend_from_slice(&samples[..samples.len().min(len - out.len())]);
            }
        }
        _ => {
            out.extend_from_slice(samples);
            out.resize(len, 0.0);
        }
    }
    out
}

/// Start of the window among `spare + 1` positions.
fn offset(spare: usize, window: Window) -> usize {
    match window {
        Window::Start => 0,
        Window::Centre => spare / 2,
        // The high half of the product maps the bits onto 0..=spare without a modulo's bias.
        Window::Random(bits) => ((u128::from(bits) * (spare as u128 + 1)) >> 64) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_clips_are_cut_where_the_window_says() {
        let clip: Vec<f32> = (0..10).map(|x| x as f32).collect();
        assert_eq!(fit(&clip, 4, Window::Start, Fill::Tile), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(fit(&clip, 4, Window::Centre, Fill::Tile), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(fit(&clip, 4, Window::Random(0), Fill::Tile), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(fit(&clip, 4, Window::Random(u64::MAX), Fill::Tile), [6.0, 7.0, 8.0, 9.0]);
        assert_eq!(fit(&clip, 10, Window::Random(77), Fill::Zero), clip);
    }

    #[test]
    fn short_clips_are_tiled_or_followed_by_zeros() {
        let clip = [1.0, 2.0, 3.0];
        assert_eq!(fit(&clip, 7, Window::Centre, Fill::Tile), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        assert_eq!(fit(&clip, 5, Window::Start, Fill::Zero), [1.0, 2.0, 3.0, 0.0, 0.0]);
        assert_eq!(fit(&[], 2, Window::Start, Fill::Tile), [0.0, 0.0]);
    }

    #[test]
    fn random_windows_cover_every_position_evenly() {
        let clip: Vec<f32> = (0..8).map(|x| x as f32).collect();
        let mut rng = umt_random::stream(1, "window", 0, 0);
        let mut seen = [0usize; 5];
        for _ in 0..5_000 {
            seen[fit(&clip, 4, Window::Random(rng.next_u64()), Fill::Tile)[0] as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }
}
