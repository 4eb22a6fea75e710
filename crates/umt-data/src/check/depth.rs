//! Depths in the unit that they are read with.

use crate::{
    DataConfig, Dataset, DepthPixels,
    finding::{Finding, FindingKind},
};

/// Smallest, median and largest measured depth of a sample, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    least: u16,
    median: u16,
    most: u16,
}

/// Between these is the median of what depth cameras measure.
const NEAR: u16 = 200;
const FAR: u16 = 25_000;
/// All depths of 8-bit files that are read as millimetres.
const EIGHT_BITS: u16 = 255;
/// A sample whose median is this many times nearer or further than that of the set has another unit.
const STRAY: u32 = 20;

impl Range {
    /// All zero of a map without a measured depth.
    pub fn of(depth: &DepthPixels) -> Self {
        let mut measured: Vec<u16> = depth.data.iter().copied().filter(|&mm| mm > 0).collect();
        if measured.is_empty() {
            return Self { least: 0, median: 0, most: 0 };
        }
        let middle = measured.len() / 2;
        let (below, &mut median, above) = measured.select_nth_unstable(middle);
        let least = below.iter().copied().min().unwrap_or(median);
        let most = above.iter().copied().max().unwrap_or(median);
        Self { least, median, most }
    }
}

/// The depths of all samples.
#[derive(Default)]
pub(super) struct Depths(Vec<(u32, Range)>);

impl Depths {
    pub fn see(&mut self, row: usize, range: Option<Range>) {
        self.0.extend(range.map(|range| (row as u32, range)));
    }

    /// Smallest, median and largest depth of the set in millimetres.
    pub fn range(&self) -> Option<[u16; 3]> {
        let measured = || self.0.iter().map(|(_, range)| range).filter(|range| range.most > 0);
        let mut medians: Vec<u16> = measured().map(|range| range.median).collect();
        medians.sort_unstable();
        let median = *medians.get(medians.len() / 2)?;
        Some([measured().map(|range| range.least).min()?, median, measured().map(|range| range.most).max()?])
    }

    /// Depths that cannot be what the unit makes of them.
    pub fn finish(&self, set: &Dataset, config: &DataConfig) -> Vec<Finding> {
        let input = config.depth.clone().unwrap_or_default();
        let unit = match (input.rotated, input.unit) {
            (true, _) => "with depth.rotated".to_owned(),
            (false, unit) => format!("with depth.unit = {}", unit.unwrap_or(1.0)),
        };
        let mut findings = Vec::new();
        let range = self.range();
        if let Some([least, median, most]) = range
            && (!(NEAR..=FAR).contains(&median) || most <= EIGHT_BITS)
        {
            let reason = format!("{unit} depths are {least} to {most} mm, half of them under {median} mm");
            findings.push(Finding::new(FindingKind::DepthRange, reason));
        }
        for &(row, one) in &self.0 {
            let (own, all) = (u32::from(one.median), u32::from(range.map_or(0, |[_, median, _]| median)));
            let reason = match own {
                0 => "no depth is measured: every value is 0".to_owned(),
                _ if own * STRAY < all || own > all * STRAY => {
                    format!(
                        "{unit} its depths are {} to {} mm, those of the others about {all} mm",
                        one.least, one.most
                    )
                }
                _ => continue,
            };
            let sample = set.sample(row as usize);
            let list = set.list(sample.split()).unwrap_or_default();
            findings.push(Finding::new(FindingKind::DepthRange, reason).at(&list, sample.line(), sample.id()));
        }
        findings
    }
}
