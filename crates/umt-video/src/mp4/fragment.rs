//! Movie fragments (`moof`): samples that are listed in pieces along the file.

use super::{
    atoms::{Atom, Atoms, Fields, child, required},
    track::{Sample, Track},
};
use umt_media::{Limits, MediaError};

/// Values for samples that do not state their own.
#[derive(Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

/// Adds the samples of all fragments to `track`.
pub(super) fn append(track: &mut Track, moov: &Atom, moofs: &[Atom], limits: &Limits) -> Result<(), MediaError> {
    let movie = movie_defaults(moov, track.id)?;
    let mut dts = track.samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>();
    for moof in moofs {
        let mut data_end = moof.header_at as u64;
        for traf in Atoms::inside(moof, 0) {
            let traf = traf?;
            if &traf.kind != b"traf" {
                continue;
            }
            let (header, defaults) = fragment_header(&required(&traf, b"tfhd")?, &movie)?;
            let ours = header.track == track.id;
            if ours && let Some(tfdt) = child(&traf, b"tfdt")? {
                let mut fields = Fields::new(tfdt.body, || tfdt.name());
                let (version, _) = fields.version_flags()?;
                dts = i64::try_from(fields.sized(version)?)
                    .ok()
                    .filter(|time| *time < 1 << 56)
                    .ok_or_else(|| MediaError::malformed(tfdt.name(), "an absurd time"))?;
            }
            let base = match header.base {
                Some(base) => base,
                None if header.base_is_moof => moof.header_at as u64,
                None => data_end,
            };
            let mut position = base;
            for trun in Atoms::inside(&traf, 0) {
                let trun = trun?;
                if &trun.kind == b"trun" {
                    let samples = &mut track.samples;
                    run(&trun, &defaults, base, &mut position, &mut dts, ours.then_some(samples), limits)?;
                }
            }
            data_end = position;
        }
    }
    Ok(())
}

/// The defaults of `mvex`/`trex` for the track.
fn movie_defaults(moov: &Atom, track: u32) -> Result<Defaults, MediaError> {
    let Some(mvex) = child(moov, b"mvex")? else {
        return Ok(Defaults::default());
    };
    for trex in Atoms::inside(&mvex, 0) {
        let trex = trex?;
        if &trex.kind != b"trex" {
            continue;
        }
        let mut fields = Fields::new(trex.body, || trex.name());
        fields.version_flags()?;
        let id = fields.u32()?;
        fields.u32()?;
        if id == track {
            return Ok(Defaults { duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? });
        }
    }
    Ok(Defaults::default())
}

struct Header {
    track: u32,
    base: Option<u64>,
    base_is_moof: bool,
}

/// `tfhd`: which track, where its data is, and defaults.
fn fragment_header(tfhd: &Atom, movie: &Defaults) -> Result<(Header, Defaults), MediaError> {
    let mut fields = Fields::new(tfhd.body, || tfhd.name());
    let (_, flags) = fields.version_flags()?;
    let track = fields.u32()?;
    let base = if flags & 0x01 != 0 { Some(fields.u64()?) } else { None };
    if flags & 0x02 != 0 {
        fields.u32()?;
    }
    let mut defaults = *movie;
    if flags & 0x08 != 0 {
        defaults.duration = fields.u32()?;
    }
    if flags & 0x10 != 0 {
        defaults.size = fields.u32()?;
    }
    if flags & 0x20 != 0 {
        defaults.flags = fields.u32()?;
    }
    Ok((Header { track, base, base_is_moof: flags & 0x2_0000 != 0 }, defaults))
}

/// `trun`: a run of samples. `samples` is `None` for the runs of other tracks, whose lengths still
/// say where the data of the next track begins.
fn run(
    trun: &Atom,
    defaults: &Defaults,
    base: u64,
    position: &mut u64,
    dts: &mut i64,
    mut samples: Option<&mut Vec<Sample>>,
    limits: &Limits,
) -> Result<(), MediaError> {
    let mut fields = Fields::new(trun.body, || trun.name());
    let (_, flags) = fields.version_flags()?;
    let has = |bit: u32| flags & bit != 0;
    let count = fields.u32()? as usize;
    if has(0x01) {
        *position = base.saturating_add_signed(i64::from(fields.i32()?));
    }
    let mut first_flags = if has(0x04) { Some(fields.u32()?) } else { None };
    let entry = [0x100, 0x200, 0x400, 0x800].iter().filter(|bit| has(**bit)).count() * 4;
    if count.checked_mul(entry).is_none_or(|bytes| bytes > fields.left()) {
        let reason = format!("declares {count} entries, but has {} bytes for them", fields.left());
        return Err(MediaError::malformed(trun.name(), reason));
    }
    let before = samples.as_ref().map_or(0, |samples| samples.len());
    Limits::check("the number of video frames", (before + count) as u64, limits.max_frames)?;
    for _ in 0..count {
        let duration = if has(0x100) { fields.u32()? } else { defaults.duration };
        let size = if has(0x200) { fields.u32()? } else { defaults.size };
        let own_flags = if has(0x400) { Some(fields.u32()?) } else { None };
        let flags = own_flags.or(first_flags.take()).unwrap_or(defaults.flags);
        first_flags = None;
        let shift = if has(0x800) { i64::from(fields.i32()?) } else { 0 };
        if let Some(samples) = samples.as_mut() {
            // Bit 16: the sample is *not* a sync sample.
            let sync = flags & 0x1_0000 == 0;
            samples.push(Sample { offset: *position, size, pts: *dts + shift, duration, sync });
            *dts += i64::from(duration);
        }
        *position = position.saturating_add(u64::from(size));
    }
    Ok(())
}
