//! The part of the parameter sets and slice headers that must be known before a stream is handed
//! to the decoder: sizes that it would allocate, tools that it would decode wrongly, and colours.
//!
//! Field names and order: ITU-T H.264, 7.3.2.1, 7.3.2.2, 7.3.3 and E.1.1.

use super::bits::{Bits, Short, payload};
use crate::colour::Colour;
use std::collections::BTreeMap;
use umt_media::{Limits, MediaError};

/// Why a header is not accepted.
pub(super) enum Refusal {
    Corrupt(String),
    Unsupported(&'static str),
    Limit(MediaError),
}

impl From<Short> for Refusal {
    fn from(_: Short) -> Self {
        Self::Corrupt("a header ends too early".to_owned())
    }
}

/// What is needed of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub id: u32,
    pub log2_max_frame_num: u32,
    pub poc_type: u32,
    pub log2_max_poc_lsb: u32,
    pub delta_pic_order_always_zero: bool,
    pub frame_mbs_only: bool,
    /// Coded size in pixels.
    pub coded: (usize, usize),
    /// Pixels cut off: left, right, top, bottom.
    pub crop: [usize; 4],
    /// `None`: not stated.
    pub matrix: Option<u8>,
    pub full_range: Option<bool>,
}

impl Sps {
    /// Size of the picture that is shown.
    pub fn size(&self) -> (usize, usize) {
        let [left, right, top, bottom] = self.crop;
        (self.coded.0 - left - right, self.coded.1 - top - bottom)
    }

    pub fn parse(nal: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let data = payload(nal, 4096);
        let mut bits = Bits::new(&data);
        let profile = bits.bits(8)?;
        bits.bits(16)?;
        let id = checked(bits.ue()?, 31, "seq_parameter_set_id")?;
        if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
            if bits.ue()? != 1 {
                return Err(Refusal::Unsupported("chroma other than 4:2:0"));
            }
            if bits.ue()? != 0 || bits.ue()? != 0 {
                return Err(Refusal::Unsupported("more than 8 bits per sample"));
            }
            bits.bit()?;
            if bits.bit()? {
                scaling_lists(&mut bits, 8)?;
            }
        }
        let log2_max_frame_num = checked(bits.ue()?, 12, "log2_max_frame_num_minus4")? + 4;
        let poc_type = checked(bits.ue()?, 2, "pic_order_cnt_type")?;
        let (mut log2_max_poc_lsb, mut delta_pic_order_always_zero) = (0, false);
        if poc_type == 0 {
            log2_max_poc_lsb = checked(bits.ue()?, 12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
        } else if poc_type == 1 {
            delta_pic_order_always_zero = bits.bit()?;
            bits.se()?;
            bits.se()?;
            for _ in 0..checked(bits.ue()?, 255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.se()?;
            }
        }
        checked(bits.ue()?, 16, "max_num_ref_frames")?;
        bits.bit()?;
        let width = (u64::from(bits.ue()?) + 1) * 16;
        let map_units = u64::from(bits.ue()?) + 1;
        let frame_mbs_only = bits.bit()?;
        let height = map_units * if frame_mbs_only { 16 } else { 32 };
        let pixels = width.saturating_mul(height);
        Limits::check("the number of pixels of a video frame", pixels, limits.max_pixels).map_err(Refusal::Limit)?;
        if !frame_mbs_only && bits.bit()? {
            return Err(Refusal::Unsupported("interlaced pictures (MBAFF)"));
        }
        bits.bit()?;
        let mut crop = [0; 4];
        if bits.bit()? {
            let unit = [2, 2, if frame_mbs_only { 2 } else { 4 }];
            for (side, cut) in crop.iter_mut().enumerate() {
                *cut = u64::from(bits.ue()?) * if side < 2 { unit[0] } else { unit[2] };
            }
            if crop[0] + crop[1] >= width || crop[2] + crop[3] >= height {
                return Err(Refusal::Corrupt("the cropping leaves nothing of the picture".to_owned()));
            }
        }
        let (matrix, full_range) = if bits.bit()? { colour_of_vui(&mut bits)? } else { (None, None) };
        Ok(Self {
            id,
            log2_max_frame_num,
            poc_type,
            log2_max_poc_lsb,
            delta_pic_order_always_zero,
            frame_mbs_only,
            coded: (width as usize, height as usize),
            crop: crop.map(|pixels| pixels as usize),
            matrix,
            full_range,
        })
    }

    /// The colours, where the stream is silent those of the container.
    pub fn colour(&self, container: Option<(u8, bool)>) -> Result<Colour, Refusal> {
        let matrix = self.matrix.or(container.map(|(matrix, _)| matrix));
        let full = self.full_range.or(container.map(|(_, full)| full)).unwrap_or(false);
        Colour::new(matrix, full).ok_or(Refusal::Unsupported("its colour matrix"))
    }
}

/// (matrix_coefficients, video_full_range_flag) of the video usability information.
fn colour_of_vui(bits: &mut Bits) -> Result<(Option<u8>, Option<bool>), Refusal> {
    const EXTENDED_SAR: u32 = 255;
    if bits.bit()? && bits.bits(8)? == EXTENDED_SAR {
        bits.bits(32)?;
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if !bits.bit()? {
        return Ok((None, None));
    }
    bits.bits(3)?;
    let full_range = Some(bits.bit()?);
    if !bits.bit()? {
        return Ok((None, full_range));
    }
    bits.bits(16)?;
    Ok((Some(bits.bits(8)? as u8), full_range))
}

fn checked(value: u32, most: u32, name: &str) -> Result<u32, Refusal> {
    if value > most {
        return Err(Refusal::Corrupt(format!("{name} is {value}, at most {most} is allowed")));
    }
    Ok(value)
}

/// Steps over `count` scaling lists, six of 16 and then of 64 entries.
fn scaling_lists(bits: &mut Bits, count: usize) -> Result<(), Refusal> {
    for list in 0..count {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

/// What is needed of a picture parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pps {
    pub id: u32,
    sps: u32,
    bottom_field_pic_order: bool,
    redundant_pic_cnt: bool,
}

impl Pps {
    pub fn parse(nal: &[u8]) -> Result<Self, Refusal> {
        let data = payload(nal, 4096);
        let mut bits = Bits::new(&data);
        let id = checked(bits.ue()?, 255, "pic_parameter_set_id")?;
        let sps = checked(bits.ue()?, 31, "seq_parameter_set_id")?;
        bits.bit()?;
        let bottom_field_pic_order = bits.bit()?;
        if bits.ue()? != 0 {
            return Err(Refusal::Unsupported("slice groups (FMO)"));
        }
        checked(bits.ue()?, 31, "num_ref_idx_l0_default_active_minus1")?;
        checked(bits.ue()?, 31, "num_ref_idx_l1_default_active_minus1")?;
        bits.bits(3)?;
        bits.se()?;
        bits.se()?;
        let cb_offset = bits.se()?;
        bits.bits(2)?;
        let redundant_pic_cnt = bits.bit()?;
        if bits.more_data() {
            let transform_8x8 = bits.bit()?;
            if bits.bit()? {
                scaling_lists(&mut bits, if transform_8x8 { 8 } else { 6 })?;
            }
            if bits.se()? != cb_offset {
                // The decoder would use the first offset for both planes.
                return Err(Refusal::Unsupported("different quantiser offsets for Cb and Cr"));
            }
        }
        Ok(Self { id, sps, bottom_field_pic_order, redundant_pic_cnt })
    }
}

/// The parameter sets that have been seen.
#[derive(Default)]
pub(super) struct ParameterSets {
    pub sps: BTreeMap<u32, Sps>,
    pub pps: BTreeMap<u32, Pps>,
}

impl ParameterSets {
    /// Checks a slice header up to the length of its reference lists, and returns the number of
    /// its first macroblock and the sequence parameter set in force.
    ///
    /// The decoder sizes tables by those lengths; the standard allows 32.
    pub fn check_slice(&self, nal: &[u8]) -> Result<(u32, &Sps), Refusal> {
        let data = payload(nal, 64);
        let mut bits = Bits::new(&data);
        let idr = nal.first().is_some_and(|header| header & 31 == 5);
        let first_mb = bits.ue()?;
        let slice_type = checked(bits.ue()?, 9, "slice_type")? % 5;
        let missing = |set: &str, id: u32| Refusal::Corrupt(format!("{set} {id} is missing"));
        let id = bits.ue()?;
        let pps = self.pps.get(&id).ok_or_else(|| missing("picture parameter set", id))?;
        let sps = self.sps.get(&pps.sps).ok_or_else(|| missing("sequence parameter set", pps.sps))?;
        bits.bits(sps.log2_max_frame_num)?;
        if !sps.frame_mbs_only && bits.bit()? {
            return Err(Refusal::Unsupported("interlaced pictures (fields)"));
        }
        if idr {
            bits.ue()?;
        }
        if sps.poc_type == 0 {
            bits.bits(sps.log2_max_poc_lsb)?;
            if pps.bottom_field_pic_order {
                bits.se()?;
            }
        } else if sps.poc_type == 1 && !sps.delta_pic_order_always_zero {
            bits.se()?;
            if pps.bottom_field_pic_order {
                bits.se()?;
            }
        }
        if pps.redundant_pic_cnt && bits.ue()? != 0 {
            return Err(Refusal::Unsupported("redundant pictures"));
        }
        let (p, b) = (slice_type == 0, slice_type == 1);
        if b {
            if sps.poc_type == 1 {
                // The decoder only approximates this order, on which B slices depend.
                return Err(Refusal::Unsupported("B slices with picture order count type 1"));
            }
            bits.bit()?;
        }
        if (p || b) && bits.bit()? {
            checked(bits.ue()?, 31, "num_ref_idx_l0_active_minus1")?;
            if b {
                checked(bits.ue()?, 31, "num_ref_idx_l1_active_minus1")?;
            }
        }
        Ok((first_mb, sps))
    }
}
