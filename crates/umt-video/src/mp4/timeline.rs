//! When each sample is shown: composition times through the edit list.

use super::{
    atoms::{Atom, Fields},
    track::{Edit, Track},
};
use crate::select::Timeline;
use umt_media::{Limits, MediaError};

/// Reads `elst`.
pub(super) fn edits(elst: &Atom) -> Result<Vec<Edit>, MediaError> {
    let mut fields = Fields::new(elst.body, || elst.name());
    let (version, _) = fields.version_flags()?;
    let count = fields.count(if version == 1 { 20 } else { 12 })?;
    let mut edits = Vec::with_capacity(count);
    for _ in 0..count {
        let duration = fields.sized(version)?;
        let media_time = if version == 1 { fields.u64()? as i64 } else { i64::from(fields.i32()?) };
        let rate = fields.i32()?;
        if rate != 0x1_0000 && media_time >= 0 {
            return Err(MediaError::unsupported(elst.name(), "plays at another speed; re-encode the file"));
        }
        if duration >= 1 << 56 || media_time >= 1 << 56 {
            return Err(MediaError::malformed(elst.name(), "an absurd time"));
        }
        edits.push(Edit { duration, media_time });
    }
    Ok(edits)
}

impl Track<'_> {
    /// The frames in the order they are shown: when, and which sample.
    ///
    /// A sample is shown if its composition time lies in an edit, as ffmpeg has it; without an edit
    /// list the first sample is shown at time 0.
    pub fn presentation(&self, limits: &Limits) -> Result<(Timeline, Vec<usize>), MediaError> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by_key(|&index| self.samples[index].pts);
        let pts = |index: usize| self.samples[index].pts;
        let Some((&first, &last)) = order.first().zip(order.last()) else {
            return Err(MediaError::malformed("the video track", "has no sample"));
        };
        let track_end = pts(last) + i64::from(self.samples[last].duration);
        let (mut starts, mut shown) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        let mut now = 0i64;
        let mut end = 0i64;
        let whole = [Edit { duration: 0, media_time: pts(first) }];
        let edits = if self.edits.is_empty() { &whole[..] } else { &self.edits[..] };
        // An edit that begins before the track (possible without a list, if the first composition
        // time is negative) is no empty edit.
        let implied = self.edits.is_empty();
        for edit in edits {
            let length = self.track_ticks(edit.duration);
            if edit.media_time < 0 && !implied {
                now = now.saturating_add(length);
                continue;
            }
            let from = edit.media_time;
            let to = if edit.duration == 0 { i64::MAX } else { from.saturating_add(length) };
            let begin = order.partition_point(|&index| pts(index) < from);
            let stop = order.partition_point(|&index| pts(index) < to);
            Limits::check(
                "the number of video frames shown",
                (shown.len() + stop.saturating_sub(begin)) as u64,
                limits.max_frames,
            )?;
            for &index in order.get(begin..stop).unwrap_or(&[]) {
                starts.push(now + pts(index) - from);
                shown.push(index);
            }
            let played = track_end.min(to).saturating_sub(from).max(0);
            end = now + played;
            now = now.saturating_add(if edit.duration == 0 { played } else { length });
        }
        if shown.is_empty() {
            return Err(MediaError::malformed("the edit list", "shows no frame"));
        }
        Ok((Timeline { starts, end, timescale: self.timescale }, shown))
    }

    /// Ticks of the movie in ticks of the track, to the nearest.
    fn track_ticks(&self, ticks: u64) -> i64 {
        let movie = u128::from(self.movie_timescale);
        let scaled = (u128::from(ticks) * u128::from(self.timescale) + movie / 2) / movie;
        i64::try_from(scaled).unwrap_or(i64::MAX).min(1 << 60)
    }
}
