//! Other containers and codecs, by an installed `ffmpeg` command.
//!
//! Two calls, each on one thread, with a time limit and bounded output: the first lists when each
//! frame is shown without decoding any, the second decodes and sends the frames that are wanted.
//! ffmpeg conceals errors by inventing pixels; here whatever it reports is an error of the clip.

use crate::{
    clip::ClipInfo,
    frame::{Frame, Orientation, Scaler},
    select::{Pick, Select, Timeline},
};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};
use umt_media::{Limits, MediaError};

/// The command and how long one call of it may take.
pub(crate) struct Ffmpeg {
    pub program: PathBuf,
    pub time_limit: Duration,
}

impl Default for Ffmpeg {
    fn default() -> Self {
        Self { program: PathBuf::from("ffmpeg"), time_limit: Duration::from_secs(60) }
    }
}

/// The packets of a clip's video stream.
struct Listing {
    timeline: Timeline,
    size: (usize, usize),
    codec: String,
}

impl Ffmpeg {
    /// As [`crate::decode_clip`]; `Ok(None)` if there is no such command.
    pub fn decode(
        &self,
        path: &Path,
        select: &Select,
        pick: Pick,
        size: Option<(usize, usize)>,
        limits: &Limits,
    ) -> Result<Option<Vec<Frame>>, MediaError> {
        let mut scaler = Scaler::new(size, limits)?;
        let Some(listing) = self.list(path, limits)? else {
            return Ok(None);
        };
        let wanted = select.indices(&listing.timeline, pick, limits)?;
        let mut distinct = wanted.clone();
        distinct.dedup();
        let chosen: Vec<String> = distinct.iter().map(|index| format!("eq(n,{index})")).collect();
        // A frame each 1/25 s: else frames would be repeated or dropped for a constant rate.
        let filter = format!("select='{}',settb=1/25,setpts=N", chosen.join("+"));
        let count = distinct.len().to_string();
        let arguments = [
            "-an",
            "-sn",
            "-dn",
            "-vf",
            &filter,
            "-r",
            "25",
            "-frames:v",
            &count,
            "-pix_fmt",
            "rgb24",
            "-c:v",
            "ppm",
            "-f",
            "image2pipe",
            "pipe:1",
        ];
        let frames = self.run(path, &arguments, limits, |output| {
            let mut frames = Vec::with_capacity(distinct.len());
            while frames.len() < distinct.len() {
                match read_ppm(output, limits)? {
                    Some(frame) => frames.push(scaler.run(frame, Orientation::default())?),
                    None => break,
                }
            }
            Ok(frames)
        })?;
        let Some(frames) = frames else {
            return Ok(None);
        };
        let frame_of = |index| distinct.binary_search(index).ok().and_then(|at| frames.get(at)).cloned();
        let selected: Option<Vec<Frame>> = wanted.iter().map(frame_of).collect();
        let (got, asked) = (frames.len(), distinct.len());
        selected.map(Some).ok_or_else(|| malformed(path, format!("ffmpeg gave {got} of the {asked} frames asked for")))
    }

    /// As [`crate::probe`]; `Ok(None)` if there is no such command. The turn is not told.
    pub fn probe(&self, path: &Path, limits: &Limits) -> Result<Option<ClipInfo>, MediaError> {
        let listing = self.list(path, limits)?;
        Ok(listing.map(|Listing { timeline, size: (width, height), codec }| {
            let (frames, duration) = (timeline.starts.len(), timeline.seconds());
            let fps = if duration > 0.0 { frames as f64 / duration } else { 0.0 };
            ClipInfo { width, height, frames, fps, duration, rotation: 0, codec }
        }))
    }

    fn list(&self, path: &Path, limits: &Limits) -> Result<Option<Listing>, MediaError> {
        /// More than a line of the listing takes.
        const LINE: u64 = 128;
        let most = limits.max_frames.saturating_add(16).saturating_mul(LINE);
        let text = self.run(path, &["-c", "copy", "-f", "framecrc", "pipe:1"], limits, |output| {
            let mut text = String::new();
            let read = output.take(most.saturating_add(1)).read_to_string(&mut text);
            read.map_err(|error| malformed(path, format!("ffmpeg's listing: {error}")))?;
            Limits::check("the listing of the clip's frames", text.len() as u64, most)?;
            Ok(text)
        })?;
        let Some(text) = text else { return Ok(None) };
        let listing = parse_listing(&text).ok_or_else(|| malformed(path, "ffmpeg lists no video frame".to_owned()))?;
        let pixels = (listing.size.0 as u64).saturating_mul(listing.size.1 as u64);
        Limits::check("the number of pixels of a video frame", pixels, limits.max_pixels)?;
        let frames = listing.timeline.starts.len() as u64;
        Limits::check("the number of video frames", frames, limits.max_frames)?;
        Ok(Some(listing))
    }

    /// Runs the command on the clip's first video stream and lets `read` take its output.
    fn run<T>(
        &self,
        path: &Path,
        arguments: &[&str],
        limits: &Limits,
        read: impl FnOnce(&mut dyn Read) -> Result<T, MediaError>,
    ) -> Result<Option<T>, MediaError> {
        // `file:` keeps names that begin with `-` or hold a colon from being read as something
        // else; the list of protocols keeps play lists from opening anything else.
        let mut input = OsString::from("file:");
        input.push(path);
        let pixels = limits.max_pixels.min(i32::MAX as u64).to_string();
        let before = ["-nostdin", "-v", "error", "-xerror", "-threads", "1"];
        let guard = ["-protocol_whitelist", "file,pipe", "-max_pixels", &pixels, "-i"];
        let spawned = Command::new(&self.program)
            .args(before)
            .args(guard)
            .args([input.as_os_str(), OsStr::new("-map"), OsStr::new("0:v:0")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(MediaError::Io { path: self.program.clone(), source });
            }
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let child = Mutex::new(child);
        let (done, finished) = mpsc::channel::<()>();
        let (result, complaint, in_time) = thread::scope(|scope| {
            let child = &child;
            let watch = scope.spawn(move || {
                let in_time = !matches!(finished.recv_timeout(self.time_limit), Err(mpsc::RecvTimeoutError::Timeout));
                stop(child);
                in_time
            });
            let complaint = scope.spawn(|| complaint_of(stderr));
            let result = match stdout {
                Some(mut stdout) => read(&mut stdout),
                None => Err(malformed(path, "ffmpeg has no output".to_owned())),
            };
            // Whatever it would still send is not wanted: its pipe is closed by now. It may yet
            // report an error of what it sent, so it ends by itself, within the time limit.
            let complaint = complaint.join().unwrap_or_default();
            drop(done);
            (result, complaint, watch.join().unwrap_or(true))
        });
        if !in_time {
            let seconds = self.time_limit.as_secs_f64();
            return Err(malformed(path, format!("ffmpeg took longer than {seconds} s")));
        }
        match (result, complaint.lines().next()) {
            (Err(error @ MediaError::Limit { .. }), _) => Err(error),
            (_, Some(line)) => Err(malformed(path, format!("ffmpeg says: {line}"))),
            (result, None) => result.map(Some),
        }
    }
}

/// Kills the command if it still runs, and takes note of its end.
fn stop(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// The start of what the command reports, to its end.
fn complaint_of(stderr: Option<impl Read>) -> String {
    let Some(mut stderr) = stderr else {
        return String::new();
    };
    let mut start = Vec::new();
    let _ = stderr.by_ref().take(4096).read_to_end(&mut start);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&start).trim().to_owned()
}

fn malformed(path: &Path, reason: String) -> MediaError {
    MediaError::malformed(format!("{}, read by ffmpeg,", path.display()), reason)
}

/// Reads ffmpeg's `framecrc` form: `#name stream: value` lines, then for each packet
/// `stream, dts, pts, duration, size, checksum`, and flags if they are not those of a key frame.
fn parse_listing(text: &str) -> Option<Listing> {
    const DISCARD: u32 = 4;
    let (mut base, mut size, mut codec) = (None, None, String::new());
    let mut packets = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('#') {
            match header.split_once(" 0: ") {
                Some(("tb", value)) => base = value.split_once('/'),
                Some(("dimensions", value)) => size = value.split_once('x'),
                Some(("codec_id", value)) => codec = value.trim().to_owned(),
                _ => {}
            }
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let flags = fields.iter().find_map(|field| field.strip_prefix("F=0x"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).unwrap_or(1);
        if flags & DISCARD == 0 {
            let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
            packets.push((number(2)?, number(3)?));
        }
    }
    packets.sort_unstable();
    let (numerator, denominator) = base?;
    let numerator: i64 = numerator.trim().parse().ok().filter(|ticks| (1..1 << 32).contains(ticks))?;
    let timescale: u32 = denominator.trim().parse().ok().filter(|ticks| *ticks > 0)?;
    let &(last, duration) = packets.last()?;
    let starts = packets.iter().map(|(pts, _)| pts.saturating_mul(numerator)).collect();
    let end = last.saturating_add(duration.max(0)).saturating_mul(numerator);
    let (width, height) = size?;
    let size = (width.trim().parse().ok()?, height.trim().parse().ok()?);
    Some(Listing { timeline: Timeline { starts, end, timescale }, size, codec })
}

/// Reads a binary PPM picture of 8 bits; `None` at the end of the output.
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
