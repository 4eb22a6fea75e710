//! A folder of still frames, read like a clip.

use crate::{
    error::named,
    frame::{Frame, Orientation, Scaler},
    select::{Pick, Select, Timeline},
    still::decode_image,
};
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};
use umt_media::{Limits, MediaError, read_bounded};

/// The selected frames of a folder of jpeg and png files, in the natural order of their names
/// (`frame2` before `frame10`).
///
/// A folder has no clock: its frames are taken to be as far apart as [`Select::Rate`] asks, so that
/// a rate picks frames in a row. Other files are passed over, and so are hidden ones (macOS stores a
/// `._frame1.jpg` next to each file on foreign disks, which is no image).
///
/// # Errors
/// [`MediaError::Missing`] for a folder without a frame, else those of [`decode_image`] with the
/// file's name.
pub fn decode_folder(
    path: &Path,
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    let mut scaler = Scaler::new(size, limits)?;
    let files = frame_files(path, limits)?;
    const TICKS: u32 = 1000;
    let step = match *select {
        Select::Rate { fps, .. } if fps.is_finite() && fps > 0.0 => f64::from(TICKS) / fps,
        _ => f64::from(TICKS),
    };
    let time = |index: usize| (index as f64 * step).round() as i64;
    let timeline = Timeline { starts: (0..files.len()).map(time).collect(), end: time(files.len()), timescale: TICKS };
    let mut frames: Vec<Frame> = Vec::new();
    let mut last = None;
    for index in select.indices(&timeline, pick, limits)? {
        let frame = match (last, frames.last()) {
            (Some(last), Some(frame)) if last == index => frame.clone(),
            _ => {
                let bytes = read_bounded(&files[index], limits)?;
                let frame = decode_image(&bytes, limits).map_err(|error| named(&files[index], error))?;
                scaler.run(frame, Orientation::default())?
            }
        };
        frames.push(frame);
        last = Some(index);
    }
    Ok(frames)
}

/// The frames' files in natural order.
pub(crate) fn frame_files(path: &Path, limits: &Limits) -> Result<Vec<PathBuf>, MediaError> {
    let io = |source| MediaError::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        let frame = extension
            .is_some_and(|extension| ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if frame && !hidden {
            files.push(file);
            Limits::check(
                &format!("the number of frames in {}", path.display()),
                files.len() as u64,
                limits.max_frames,
            )?;
        }
    }
    if files.is_empty() {
        return Err(MediaError::Missing { what: format!("jpeg or png file in the folder {}", path.display()) });
    }
    files.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b)));
    Ok(files)
}

/// Orders names with their runs of digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (number_a, rest_a) = digits(a);
                let (number_b, rest_b) = digits(b);
                let by_value = number_a.len().cmp(&number_b.len()).then(number_a.cmp(number_b));
                if by_value != Ordering::Equal {
                    return by_value;
                }
                (a, b) = (rest_a, rest_b);
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// A leading number without its leading zeros, and what follows it.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().position(|byte| *byte != b'0').unwrap_or(number.len());
    (&number[zeros..], rest)
}

/// A still image as a clip of one frame.
pub(crate) fn still(
    bytes: &[u8],
    select: &Select,
    pick: Pick,
    size: Option<(usize, usize)>,
    limits: &Limits,
) -> Result<Vec<Frame>, MediaError> {
    let timeline = Timeline { starts: vec![0], end: 1, timescale: 1 };
    let count = select.indices(&timeline, pick, limits)?.len();
    let frame = decode_image(bytes, limits)?;
    let frame = Scaler::new(size, limits)?.run(frame, Orientation::default())?;
    Ok(vec![frame; count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["f10.png", "f2.png", "f1.png", "F3.png", "f002b.png", "f"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["F3.png", "f", "f1.png", "f2.png", "f002b.png", "f10.png"]);
    }
}
