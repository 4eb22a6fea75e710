//! Which frames of a clip are wanted.

use serde::{Deserialize, Serialize};
use umt_media::{Limits, MediaError};

/// How frames are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Select {
    /// `count` frames, `1 / fps` seconds apart: a window of `count / fps` seconds, of which each
    /// `1 / fps` gives the frame that is on screen at its middle. [`Pick::Middle`] centres the
    /// window in the clip, [`Pick::Random`] draws its start. A clip shorter than the window is read
    /// from its start, and its last frame is repeated.
    Rate {
        /// Frames per second.
        fps: f64,
        /// Number of frames.
        count: usize,
    },
    /// `count` frames from as many equal segments of the clip (temporal segment networks):
    /// [`Pick::Middle`] takes each segment's middle frame, [`Pick::Random`] any frame of the segment.
    /// A clip of fewer frames than segments gives some frames more than once.
    Count {
        /// Number of frames.
        count: usize,
    },
}

/// How much chance there is in a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// None: the same frames every time (test).
    Middle,
    /// Drawn from these random bits: the same bits, the same frames (training).
    Random(u64),
}

/// When each frame of a clip is shown, in ticks from the clip's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Start of each frame, ascending; never empty.
    pub starts: Vec<i64>,
    /// End of the last frame.
    pub end: i64,
    /// Ticks per second; never 0.
    pub timescale: u32,
}

impl Timeline {
    /// Length of the clip in seconds.
    pub fn seconds(&self) -> f64 {
        self.end.max(0) as f64 / f64::from(self.timescale)
    }

    /// The frame on screen at `seconds`; the first before, the last after the clip.
    fn at(&self, seconds: f64) -> usize {
        let ticks = seconds * f64::from(self.timescale);
        self.starts.partition_point(|&start| start as f64 <= ticks).saturating_sub(1)
    }
}

impl Select {
    /// Number of frames that the selection gives.
    pub fn count(&self) -> usize {
        match *self {
            Self::Rate { count, .. } | Self::Count { count } => count,
        }
    }

    /// Indices into the clip's frames in the order they are shown, `count` of them, ascending.
    ///
    /// # Errors
    /// A count of 0 or over `limits.max_frames`, a rate that is not positive.
    pub fn indices(&self, timeline: &Timeline, pick: Pick, limits: &Limits) -> Result<Vec<usize>, MediaError> {
        let count = self.count();
        Limits::check("the number of selected frames", count as u64, limits.max_frames)?;
        let wrong = |reason: &str| MediaError::malformed("the frame selection", reason);
        if count == 0 {
            return Err(wrong("`count` must be at least 1"));
        }
        let mut random = match pick {
            Pick::Middle => None,
            Pick::Random(bits) => Some(umt_random::stream(bits, "video frames", 0, 0)),
        };
        match *self {
            Self::Rate { fps, .. } => {
                if !fps.is_finite() || fps <= 0.0 {
                    return Err(wrong("`fps` must be a positive number"));
                }
                let slack = (timeline.seconds() - count as f64 / fps).max(0.0);
                let start = slack * random.as_mut().map_or(0.5, |random| random.uniform_f64());
                Ok((0..count).map(|k| timeline.at(start + (k as f64 + 0.5) / fps)).collect())
            }
            Self::Count { .. } => {
                let frames = timeline.starts.len();
                Ok((0..count)
                    .map(|k| match random.as_mut() {
                        None => (2 * k + 1) * frames / (2 * count),
                        Some(random) => {
                            let (first, end) = (k * frames / count, (k + 1) * frames / count);
                            first + random.below((end - first).max(1) as u64) as usize
                        }
                    })
                    .collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 15 frames, 10 a second.
    fn clip() -> Timeline {
        Timeline { starts: (0..15).map(|i| i * 1024).collect(), end: 15 * 1024, timescale: 10240 }
    }

    fn pick(select: Select, pick: Pick) -> Vec<usize> {
        select.indices(&clip(), pick, &Limits::default()).unwrap()
    }

    #[test]
    fn by_count_takes_the_middle_of_each_segment() {
        assert_eq!(pick(Select::Count { count: 3 }, Pick::Middle), [2, 7, 12]);
        assert_eq!(pick(Select::Count { count: 1 }, Pick::Middle), [7]);
        let all: Vec<usize> = (0..15).collect();
        assert_eq!(pick(Select::Count { count: 15 }, Pick::Middle), all);
        assert_eq!(pick(Select::Count { count: 30 }, Pick::Middle)[..4], [0, 0, 1, 1]);
    }

    #[test]
    fn by_count_at_random_stays_in_its_segment_and_reaches_all_of_it() {
        let mut seen = [[false; 5]; 3];
        for bits in 0..200 {
            for (k, index) in pick(Select::Count { count: 3 }, Pick::Random(bits)).into_iter().enumerate() {
                assert_eq!(index / 5, k);
                seen[k][index % 5] = true;
            }
        }
        assert_eq!(seen, [[true; 5]; 3]);
        let again = |bits| pick(Select::Count { count: 3 }, Pick::Random(bits));
        assert_eq!(again(7), again(7));
    }

    #[test]
    fn by_rate_reads_a_window_and_repeats_the_last_frame_of_a_short_clip() {
        assert_eq!(pick(Select::Rate { fps: 2.0, count: 3 }, Pick::Middle), [2, 7, 12]);
        assert_eq!(pick(Select::Rate { fps: 10.0, count: 3 }, Pick::Middle), [6, 7, 8]);
        assert_eq!(pick(Select::Rate { fps: 2.0, count: 5 }, Pick::Middle), [2, 7, 12, 14, 14]);
        for bits in 0..100 {
            let frames = pick(Select::Rate { fps: 10.0, count: 3 }, Pick::Random(bits));
            assert!(frames[2] <= 14 && frames[2] - frames[0] == 2, "{frames:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for select in [
            Select::Count { count: 0 },
            Select::Count { count: usize::MAX },
            Select::Rate { fps: 0.0, count: 1 },
            Select::Rate { fps: f64::NAN, count: 1 },
        ] {
            assert!(select.indices(&clip(), Pick::Middle, &Limits::default()).is_err());
        }
    }
}
