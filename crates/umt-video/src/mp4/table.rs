//! The sample table (`stbl`): from run-length coded tables to a list of samples.

use super::{
    atoms::{Atom, Fields, child, required},
    track::Sample,
};
use umt_media::{Limits, MediaError};

/// A run-length coded table, read one sample at a time.
struct Runs {
    /// (samples, value).
    runs: Vec<(u32, i64)>,
    run: usize,
    used: u32,
}

impl Runs {
    fn read(atom: &Atom, signed: bool) -> Result<Self, MediaError> {
        let mut fields = Fields::new(atom.body, || atom.name());
        fields.version_flags()?;
        let count = fields.count(8)?;
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            let samples = fields.u32()?;
            let value = if signed { i64::from(fields.i32()?) } else { i64::from(fields.u32()?) };
            runs.push((samples, value));
        }
        Ok(Self { runs, run: 0, used: 0 })
    }

    fn next(&mut self) -> Option<i64> {
        loop {
            let &(samples, value) = self.runs.get(self.run)?;
            if self.used < samples {
                self.used += 1;
                return Some(value);
            }
            self.run += 1;
            self.used = 0;
        }
    }
}

/// Sizes of the samples (`stsz` or `stz2`): one for all, or one each.
enum Sizes {
    Same(u32),
    Each(Vec<u32>),
}

impl Sizes {
    /// With the number of samples, which is compared with the limit before any is listed.
    fn read(stbl: &Atom, limits: &Limits) -> Result<(usize, Self), MediaError> {
        if let Some(stz2) = child(stbl, b"stz2")? {
            return Err(MediaError::unsupported(
                stz2.name(),
                "compact sample sizes; re-multiplex the file: ffmpeg -i IN -c copy OUT.mp4",
            ));
        }
        let stsz = required(stbl, b"stsz")?;
        let mut fields = Fields::new(stsz.body, || stsz.name());
        fields.version_flags()?;
        let same = fields.u32()?;
        if same != 0 {
            let count = fields.u32()?;
            Limits::check("the number of video frames", u64::from(count), limits.max_frames)?;
            return Ok((count as usize, Self::Same(same)));
        }
        let count = fields.count(4)?;
        Limits::check("the number of video frames", count as u64, limits.max_frames)?;
        let each = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
        Ok((count, Self::Each(each)))
    }
}

/// First bytes of the chunks (`stco` or `co64`).
fn chunk_offsets(stbl: &Atom) -> Result<Vec<u64>, MediaError> {
    if let Some(co64) = child(stbl, b"co64")? {
        let mut fields = Fields::new(co64.body, || co64.name());
        fields.version_flags()?;
        let count = fields.count(8)?;
        return (0..count).map(|_| fields.u64()).collect();
    }
    let stco = required(stbl, b"stco")?;
    let mut fields = Fields::new(stco.body, || stco.name());
    fields.version_flags()?;
    let count = fields.count(4)?;
    (0..count).map(|_| fields.u32().map(u64::from)).collect()
}

/// (first chunk from 1, samples per chunk) of `stsc`.
fn chunk_runs(stbl: &Atom) -> Result<Vec<(u32, u32)>, MediaError> {
    let stsc = required(stbl, b"stsc")?;
    let mut fields = Fields::new(stsc.body, || stsc.name());
    fields.version_flags()?;
    let count = fields.count(12)?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        runs.push((fields.u32()?, fields.u32()?));
        if fields.u32()? != 1 {
            return Err(MediaError::unsupported(
                stsc.name(),
                "the coding changes within the track; re-encode the file",
            ));
        }
    }
    let ascending = runs.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !ascending || runs.first().is_some_and(|run| run.0 != 1) {
        return Err(MediaError::malformed(stsc.name(), "chunks are not in ascending order from 1"));
    }
    Ok(runs)
}

/// All samples of the table, in decoding order; none in a fragmented file.
pub(super) fn samples(stbl: &Atom, limits: &Limits) -> Result<Vec<Sample>, MediaError> {
    let (count, sizes) = Sizes::read(stbl, limits)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let short =
        |table: &str| MediaError::malformed(stbl.name(), format!("`{table}` covers fewer than {count} samples"));
    let mut durations = Runs::read(&required(stbl, b"stts")?, false)?;
    let mut composition = match child(stbl, b"ctts")? {
        Some(ctts) => Some(Runs::read(&ctts, true)?),
        None => None,
    };
    let syncs = match child(stbl, b"stss")? {
        Some(stss) => {
            let mut fields = Fields::new(stss.body, || stss.name());
            fields.version_flags()?;
            let count = fields.count(4)?;
            let mut syncs = (0..count).map(|_| fields.u32()).collect::<Result<Vec<_>, _>>()?;
            syncs.sort_unstable();
            Some(syncs)
        }
        None => None,
    };
    let (chunks, runs) = (chunk_offsets(stbl)?, chunk_runs(stbl)?);
    let mut run = 0;
    let mut samples = Vec::with_capacity(count);
    let mut dts = 0i64;
    for (chunk, &chunk_offset) in chunks.iter().enumerate() {
        while runs.get(run + 1).is_some_and(|next| next.0 as usize <= chunk + 1) {
            run += 1;
        }
        let per_chunk = runs.get(run).ok_or_else(|| short("stsc"))?.1;
        let mut offset = chunk_offset;
        for _ in 0..per_chunk {
            let index = samples.len();
            if index == count {
                break;
            }
            let size = match &sizes {
                Sizes::Same(size) => *size,
                Sizes::Each(each) => each[index],
            };
            let duration = durations.next().ok_or_else(|| short("stts"))?;
            let shift = match &mut composition {
                Some(composition) => composition.next().ok_or_else(|| short("ctts"))?,
                None => 0,
            };
            samples.push(Sample {
                offset,
                size,
                pts: dts + shift,
                duration: duration as u32,
                sync: syncs.as_ref().is_none_or(|syncs| syncs.binary_search(&(index as u32 + 1)).is_ok()),
            });
            dts += duration;
            offset = offset.saturating_add(u64::from(size));
        }
    }
    if samples.len() < count {
        return Err(short("stco"));
    }
    Ok(samples)
}
