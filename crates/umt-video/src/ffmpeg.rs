//! Other containers and codecs, by the installed `ffmpeg` command.
//!
//! Two calls: the first decodes the clip and lists when each frame is shown, the second decodes and
//! sends the frames that are wanted. Frames are counted as they are decoded, not as packets: many
//! containers (avi, raw streams) store no times, and the first packets of a clip that was cut out of
//! a longer one may not be decodable.

use crate::{
    frame::{Frame, Orientation, Scaler},
    select::{Pick, Select, Timeline},
};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};
use umt_media::{Ffmpeg, Limits, MediaError, ffmpeg_failed};

/// As [`crate::decode_clip`]; `Ok(None)` if there is no such command.
pub(crate) fn decode(
    ffmpeg: &Ffmpeg,
    path: &Path,
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Option<Vec<Frame>>, MediaError> {
    let mut scaler = Scaler::new(size, limits)?;
    let Some(timeline) = list(ffmpeg, path, limits)? else {
        return Ok(None);
    };
    let wanted = select.indices(&timeline, pick, limits)?;
    let mut distinct = wanted.clone();
    distinct.dedup();
    // A frame each 1/25 s, all passed on: else frames would be repeated or dropped for a constant rate.
    let filter = format!("select='{}',settb=1/25,setpts=N", chosen(&distinct));
    let sent = sent(&distinct);
    let count = sent.len().to_string();
    let arguments = ["-map", "0:v:0", "-vf", &filter, "-frames:v", &count];
    let form = [
        "-vsync",
        "passthrough",
        "-enc_time_base",
        "1/25",
        "-pix_fmt",
        "rgb24",
        "-c:v",
        "ppm",
        "-f",
        "image2pipe",
        "pipe:1",
    ];
    let arguments = [&arguments[..], &form].concat();
    let frames = ffmpeg.run(
        path,
        &arguments,
        limits,
        |_| (),
        |output| {
            let mut frames = Vec::with_capacity(distinct.len());
            for index in sent {
                let Some(frame) = read_ppm(output, limits)? else { break };
                if distinct.binary_search(&index).is_ok() {
                    frames.push(scaler.run(frame, Orientation::default())?);
                }
            }
            Ok(frames)
        },
    )?;
    let Some(frames) = frames else {
        return Ok(None);
    };
    let frame_of = |index| distinct.binary_search(index).ok().and_then(|at| frames.get(at)).cloned();
    let selected: Option<Vec<Frame>> = wanted.iter().map(frame_of).collect();
    let (got, asked) = (frames.len(), distinct.len());
    selected.map(Some).ok_or_else(|| ffmpeg_failed(path, format!("sent {got} of the {asked} frames asked for")))
}

/// The longest list of frames that is put into a filter; the kernel limits an argument to 128 KiB.
const LONGEST_LIST: usize = 4000;

/// The frames (ascending) that the filter of [`chosen`] lets pass.
fn sent(frames: &[usize]) -> Vec<usize> {
    match frames.last() {
        Some(&last) if frames.len() > LONGEST_LIST => (0..=last).collect(),
        _ => frames.to_vec(),
    }
}

/// The condition of ffmpeg's `select` filter for these frames: a sum in the form of a balanced
/// tree, because the parser nests every `+` of a flat sum and gives up at a depth of 100.
fn chosen(frames: &[usize]) -> String {
    match frames {
        [] => "0".to_owned(),
        [index] => format!("eq(n,{index})"),
        [.., last] if frames.len() > LONGEST_LIST => format!("lte(n,{last})"),
        _ => {
            let (first, second) = frames.split_at(frames.len() / 2);
            format!("({}+{})", chosen(first), chosen(second))
        }
    }
}

/// When each decoded frame is shown.
fn list(ffmpeg: &Ffmpeg, path: &Path, limits: &Limits) -> Result<Option<Timeline>, MediaError> {
    let mut listing = Listing::default();
    let most = limits.max_frames;
    let decoded = ["-map", "0:v:0", "-vf", "showinfo=checksum=0", "-f", "null", "-"];
    let packets = ["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"];
    let message = |line: &str| {
        if (listing.times.len() as u64) <= most {
            listing.add(line);
        }
    };
    let timed = ffmpeg.run(path, &[decoded, packets].concat(), limits, message, |output| mostly_timed(path, output))?;
    let Some(timed) = timed else { return Ok(None) };
    Limits::check("the number of video frames", listing.times.len() as u64, most)?;
    // Where the file states no times, those of the frames are guesses, and wrong at the end.
    listing.times.iter_mut().filter(|_| !timed).for_each(|time| *time = None);
    listing.timeline().map(Some).ok_or_else(|| ffmpeg_failed(path, "ffmpeg decodes no video frame"))
}

/// Whether most packets state when they are shown. Lines of the form `framecrc` are
/// `stream, dts, pts, duration, size, checksum`; the smallest number is no time.
fn mostly_timed(path: &Path, output: &mut dyn Read) -> Result<bool, MediaError> {
    let (mut with, mut without) = (0u64, 0u64);
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| ffmpeg_failed(path, format!("its list of packets: {error}")))?;
        match line.split(',').nth(2).map(|pts| pts.trim().parse::<i64>()) {
            Some(Ok(pts)) if pts != i64::MIN => with += 1,
            Some(_) => without += 1,
            None => (),
        }
    }
    Ok(with > without)
}

/// What the `showinfo` filter reports.
#[derive(Default)]
struct Listing {
    /// Seconds a tick, as a fraction.
    base: Option<(i64, i64)>,
    /// Frames per second, as a fraction.
    rate: Option<(i64, i64)>,
    /// Ticks of each frame, where the file states or implies them.
    times: Vec<Option<i64>>,
}

impl Listing {
    fn add(&mut self, line: &str) {
        let Some((_, line)) = line.split_once("showinfo").and_then(|(_, rest)| rest.split_once("[info] ")) else {
            return;
        };
        let field = |key: &str| line.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next());
        let fraction = |text: &str| {
            let (a, b) = text.trim_end_matches(',').split_once('/')?;
            let (a, b) = (a.parse::<i64>().ok()?, b.parse::<i64>().ok()?);
            (a > 0 && b > 0 && a < 1 << 32 && b < 1 << 32).then_some((a, b))
        };
        if line.starts_with("config in ") {
            self.base = field("time_base:").and_then(fraction);
            self.rate = field("frame_rate:").and_then(fraction);
        } else if line.starts_with("n:") {
            self.times.push(field(" pts:").and_then(|time| time.parse().ok()));
        }
    }

    /// By the frames' times where all have one and each is after the one before, else by the
    /// stream's frame rate; `None` without a frame.
    fn timeline(self) -> Option<Timeline> {
        const DEFAULT_RATE: (i64, i64) = (25, 1);
        let (frames, per) = self.rate.unwrap_or(DEFAULT_RATE);
        let times: Option<Vec<i64>> = self.times.iter().copied().collect();
        let first = *self.times.first()?;
        let ascending = times.filter(|times| times.windows(2).all(|pair| pair[0] < pair[1]));
        let (starts, length, timescale) = match (ascending, self.base, first) {
            (Some(times), Some((numerator, denominator)), Some(first)) => {
                let ticks = |time: i64| time.saturating_sub(first).saturating_mul(numerator);
                (times.into_iter().map(ticks).collect(), denominator.saturating_mul(per) / frames, denominator)
            }
            _ => ((0..self.times.len() as i64).map(|index| index * per).collect(), per, frames),
        };
        let starts: Vec<i64> = starts;
        let end = starts.last()?.saturating_add(length.max(1));
        Some(Timeline { starts, end, timescale: u32::try_from(timescale).ok()? })
    }
}

/// Reads a binary PPM image of 8 bits; `None` at the end of the output.
fn read_ppm(output: &mut dyn Read, limits: &Limits) -> Result<Option<Frame>, MediaError> {
    let wrong = |reason: &str| MediaError::malformed("a frame sent by ffmpeg", reason);
    let mut fields = Vec::new();
    let mut field = String::new();
    while fields.len() < 4 {
        let mut byte = [0];
        match output.read(&mut byte) {
            Ok(0) if fields.is_empty() && field.is_empty() => return Ok(None),
            Ok(1..) => {}
            _ => return Err(wrong("ends within its header")),
        }
        if byte[0].is_ascii_whitespace() {
            fields.push(std::mem::take(&mut field));
        } else if field.len() < 10 {
            field.push(char::from(byte[0]));
        } else {
            return Err(wrong("has no PPM header"));
        }
    }
    let number = |index: usize| fields.get(index).and_then(|field: &String| field.parse::<usize>().ok());
    let (Some(width), Some(height)) = (number(1), number(2)) else {
        return Err(wrong("has no PPM header"));
    };
    if fields[0] != "P6" || fields[3] != "255" || width == 0 || height == 0 {
        return Err(wrong("has no PPM header"));
    }
    let pixels = (width as u64).saturating_mul(height as u64);
    Limits::check("the number of pixels of a video frame", pixels, limits.max_pixels)?;
    let mut rgb = vec![0; width * height * 3];
    output.read_exact(&mut rgb).map_err(|_| wrong("ends too early"))?;
    Ok(Some(Frame { width, height, rgb }))
}

#[cfg(test)]
mod tests;
