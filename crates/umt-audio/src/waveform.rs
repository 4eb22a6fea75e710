//! Decoded audio.

/// Audio as it is in the file: its own rate, every channel, full scale at one.
#[derive(Clone, Debug, PartialEq)]
pub struct Waveform {
    /// Samples per second.
    pub rate: u32,
    /// One vector per channel, all of the same length, never empty.
    pub channels: Vec<Vec<f32>>,
    /// Whether the installed `ffmpeg` command decoded it.
    pub by_ffmpeg: bool,
}

impl Waveform {
    /// The mean over all channels, whatever their layout (a low-frequency one included), as librosa
    /// and torchaudio's `mean(0)` have it.
    pub fn mono(&self) -> Vec<f32> {
        let Some((first, others)) = self.channels.split_first() else {
            return Vec::new();
        };
        let mut sum = first.clone();
        if others.is_empty() {
            return sum;
        }
        for channel in others {
            for (s, x) in sum.iter_mut().zip(channel) {
                *s += x;
            }
        }
        let scale = 1.0 / self.channels.len() as f32;
        sum.iter_mut().for_each(|s| *s *= scale);
        sum
    }

    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
