//! The video track of an mp4 or mov file: its samples, when they are shown, and how they are coded.
//!
//! Our own reader, because the crates that parse these files trust them: a table without its chunk
//! offsets panics, a constant sample size allows 2^32 samples, and edit lists are read and dropped.
//! Here every count is compared with the bytes that hold it, every sample with the file.

mod atoms;
mod fragment;
mod table;
mod timeline;
mod track;

pub(crate) use atoms::fourcc;
use atoms::{Atom, Atoms, Fields, child, required};
use track::Sample;
pub(crate) use track::{Matrix, Track};
use umt_media::{Limits, MediaError};

/// Whether the bytes begin like an mp4 or mov file.
pub(crate) fn is_mp4(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|kind| {
        [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"].iter().any(|known| kind == *known)
    })
}

/// The first video track. Errors name the box and its byte; a file without a video track is
/// [`MediaError::Missing`].
pub(crate) fn video_track<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Track<'a>, MediaError> {
    let mut moov = None;
    let mut moofs = Vec::new();
    // All top-level boxes are walked, so that a file cut anywhere is noticed.
    for atom in Atoms::of_file(bytes) {
        let atom = atom?;
        match &atom.kind {
            b"moov" => moov = moov.or(Some(atom)),
            b"moof" => moofs.push(atom),
            _ => {}
        }
    }
    let moov = moov.ok_or_else(|| {
        MediaError::malformed("the mp4 file", "has no `moov` box: it is cut short or still being written")
    })?;
    let movie_timescale = match child(&moov, b"mvhd")? {
        Some(mvhd) => header_timescale(&mvhd)?,
        None => return Err(MediaError::malformed(moov.name(), "has no `mvhd` box")),
    };
    for trak in Atoms::inside(&moov, 0) {
        let trak = trak?;
        if &trak.kind == b"trak"
            && let Some(mut track) = track(&trak, movie_timescale, limits)?
        {
            if !moofs.is_empty() {
                fragment::append(&mut track, &moov, &moofs, limits)?;
            }
            check_samples(&track.samples, bytes.len() as u64)?;
            return Ok(track);
        }
    }
    Err(MediaError::Missing { what: "video track in the mp4 file".to_owned() })
}

/// Every sample lies in the file, so a file whose end is missing is refused as a whole, even if
/// the frames that are wanted would still be there.
fn check_samples(samples: &[Sample], file: u64) -> Result<(), MediaError> {
    for (index, sample) in samples.iter().enumerate() {
        let end = sample.offset.checked_add(u64::from(sample.size));
        if sample.size == 0 || end.is_none_or(|end| end > file) {
            let Sample { offset, size, .. } = sample;
            let reason = format!("{size} bytes at byte {offset} are not in a file of {file} bytes");
            return Err(MediaError::malformed(format!("sample {index} of the video track"), reason));
        }
    }
    Ok(())
}

/// Parses one track; `None` if it holds no video.
fn track<'a>(trak: &Atom<'a>, movie_timescale: u32, limits: &Limits) -> Result<Option<Track<'a>>, MediaError> {
    let mdia = required(trak, b"mdia")?;
    let hdlr = required(&mdia, b"hdlr")?;
    if hdlr.body.get(8..12) != Some(b"vide") {
        return Ok(None);
    }
    let (id, matrix) = track_header(&required(trak, b"tkhd")?)?;
    let timescale = header_timescale(&required(&mdia, b"mdhd")?)?;
    let edits = match child(trak, b"edts")? {
        Some(edts) => match child(&edts, b"elst")? {
            Some(elst) => timeline::edits(&elst)?,
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    let stbl = required(&required(&mdia, b"minf")?, b"stbl")?;
    let stsd = required(&stbl, b"stsd")?;
    let entry = Atoms::inside(&stsd, 8).next().ok_or_else(|| MediaError::malformed(stsd.name(), "has no entry"))??;
    let mut track = Track {
        id,
        timescale,
        matrix,
        samples: table::samples(&stbl, limits)?,
        edits,
        movie_timescale,
        codec: entry.kind,
        avc_config: None,
        colour: None,
    };
    /// Bytes of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3).
    const VISUAL_SAMPLE_ENTRY: usize = 78;
    for atom in Atoms::inside(&entry, VISUAL_SAMPLE_ENTRY) {
        // What follows the sample entry's fields is no box in some QuickTime files.
        let Ok(atom) = atom else { break };
        match &atom.kind {
            b"avcC" => track.avc_config = Some(atom.body),
            b"colr" if atom.body.starts_with(b"nclx") => {
                if let Some(&[_, matrix, range]) = atom.body.get(8..11) {
                    track.colour = Some((matrix, range & 0x80 != 0));
                }
            }
            b"colr" if atom.body.starts_with(b"nclc") => {
                track.colour = atom.body.get(9).map(|&matrix| (matrix, false));
            }
            _ => {}
        }
    }
    Ok(Some(track))
}

/// The timescale of `mvhd` or `mdhd`, which begin alike.
fn header_timescale(atom: &Atom) -> Result<u32, MediaError> {
    let mut fields = Fields::new(atom.body, || atom.name());
    let (version, _) = fields.version_flags()?;
    fields.sized(version)?;
    fields.sized(version)?;
    match fields.u32()? {
        0 => Err(MediaError::malformed(atom.name(), "a timescale of 0")),
        timescale => Ok(timescale),
    }
}

/// Track id and matrix of `tkhd`.
fn track_header(atom: &Atom) -> Result<(u32, Matrix), MediaError> {
    let mut fields = Fields::new(atom.body, || atom.name());
    let (version, _) = fields.version_flags()?;
    fields.sized(version)?;
    fields.sized(version)?;
    let id = fields.u32()?;
    fields.u32()?;
    fields.sized(version)?;
    fields.take(16)?;
    let (a, b, _u) = (fields.i32()?, fields.i32()?, fields.i32()?);
    let (c, d) = (fields.i32()?, fields.i32()?);
    Ok((id, Matrix { a, b, c, d }))
}
