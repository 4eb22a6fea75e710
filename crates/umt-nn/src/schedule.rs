//! Learning-rate schedules as pure functions of the step.
//!
//! A schedule holds no state: the rate of step `s` of `total` is a formula, so a resumed run needs nothing but its
//! step number. Positions are shares of the run, not counts, so the same recipe serves a short and a long run.
//!
//! ```
//! use umt_nn::schedule::ScheduleConfig;
//! let cosine = ScheduleConfig::Cosine { warmup: 0.1, end: 0.0 };
//! assert_eq!(cosine.lr(0.5, 0, 100), 0.05); // the first of ten warm-up steps
//! assert_eq!(cosine.lr(0.5, 10, 100), 0.5); // the peak
//! assert!((cosine.lr(0.5, 55, 100) - 0.25).abs() < 1e-6); // half of the way down
//! ```

use serde::{Deserialize, Serialize};

use crate::{NnError, within};

/// Which curve the learning rate follows from the first step to the last.
///
/// `warmup` is the share of all steps, in `[0, 1)`, over which the rate rises linearly to its base value; the curve
/// covers the steps that remain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// The base rate throughout.
    Constant {
        /// Share of the steps spent rising.
        #[serde(default)]
        warmup: f64,
    },
    /// Half a cosine from the base rate down to `end` times the base rate (Loshchilov & Hutter 2017, no restarts).
    Cosine {
        /// Share of the steps spent rising.
        #[serde(default)]
        warmup: f64,
        /// Rate after the last step, as a share of the base rate.
        #[serde(default)]
        end: f64,
    },
    /// The rate is multiplied by `gamma` at each position in `at`.
    Step {
        /// Share of the steps spent rising.
        #[serde(default)]
        warmup: f64,
        /// Positions as shares of all steps, ascending, for example `[0.5, 0.75]`.
        at: Vec<f64>,
        /// Factor at each position.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// One cycle (Smith & Topin 2018) as PyTorch's `OneCycleLR` with cosine annealing: from `base / div` up to `base`
    /// over the first `pct-start` of the steps, then down to `base / (div * final-div)`. Its rise is its warm-up.
    OneCycle {
        /// Share of the steps spent rising.
        #[serde(default = "default_pct_start")]
        pct_start: f64,
        /// Base rate over the first step's rate.
        #[serde(default = "default_div")]
        div: f64,
        /// First step's rate over the last step's.
        #[serde(default = "default_final_div")]
        final_div: f64,
        /// Least and greatest momentum (AdamW: beta1): least where the rate is highest, as PyTorch cycles it between
        /// 0.85 and 0.95 by default. Left out, the optimiser's own momentum stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle_momentum: Option<[f64; 2]>,
    },
}

fn default_gamma() -> f64 {
    0.1
}
fn default_pct_start() -> f64 {
    0.3
}
fn default_div() -> f64 {
    25.0
}
fn default_final_div() -> f64 {
    1e4
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::OneCycle {
            pct_start: default_pct_start(),
            div: default_div(),
            final_div: default_final_div(),
            cycle_momentum: None,
        }
    }
}

impl ScheduleConfig {
    /// Refuses settings for which the formula has no meaning.
    ///
    /// # Errors
    /// [`NnError::Setting`] names the setting, its value and the allowed range.
    pub fn check(&self) -> Result<(), NnError> {
        match self {
            Self::Constant { warmup } => share("schedule.warmup", *warmup),
            Self::Cosine { warmup, end } => {
                share("schedule.warmup", *warmup)?;
                within("schedule.end", end, (0.0..=1.0).contains(end), "from 0 to 1")
            }
            Self::Step { warmup, at, gamma } => {
                share("schedule.warmup", *warmup)?;
                within("schedule.gamma", gamma, *gamma > 0.0 && *gamma <= 1.0, "above 0 and at most 1")?;
                for pair in at.windows(2) {
                    within("schedule.at", pair[1], pair[0] < pair[1], "in ascending order")?;
                }
                at.iter().try_for_each(|&a| share("schedule.at", a))
            }
            Self::OneCycle { pct_start, div, final_div, cycle_momentum } => {
                share("schedule.pct-start", *pct_start)?;
                cycle_momentum.iter().flatten().try_for_each(|&m| share("schedule.cycle-momentum", m))?;
                within("schedule.div", div, *div >= 1.0 && div.is_finite(), "1 or more")?;
                within("schedule.final-div", final_div, *final_div >= 1.0 && final_div.is_finite(), "1 or more")
            }
        }
    }

    /// The learning rate of `step` (from 0) in a run of `total` steps whose base rate is `base`.
    ///
    /// Computed in f64 and rounded once. Steps past the end keep the last step's rate.
    pub fn lr(&self, base: f32, step: u64, total: u64) -> f32 {
        let step = step.min(total.saturating_sub(1)) as f64;
        (f64::from(base) * self.factor(step, total as f64)) as f32
    }

    /// The momentum of `step` in a run of `total` steps, where the schedule sets one.
    pub fn momentum(&self, step: u64, total: u64) -> Option<f32> {
        let Self::OneCycle { pct_start, cycle_momentum: Some([least, greatest]), .. } = self else { return None };
        let cycle = one_cycle(*pct_start, step.min(total.saturating_sub(1)) as f64, total as f64);
        Some(match cycle {
            Phase::Rise(done) => cosine(*greatest, *least, done),
            Phase::Fall(done) => cosine(*least, *greatest, done),
        } as f32)
    }

    /// Share of the base rate at `step`.
    fn factor(&self, step: f64, total: f64) -> f64 {
        let rising = |warmup: f64| (warmup * total).round();
        match self {
            Self::Constant { warmup } => rise(step, rising(*warmup)),
            Self::Cosine { warmup, end } => {
                let warm = rising(*warmup);
                let done = ((step - warm) / (total - warm).max(1.0)).max(0.0);
                if step < warm { rise(step, warm) } else { cosine(1.0, *end, done) }
            }
            Self::Step { warmup, at, gamma } => {
                // Rounded, because 0.7 * 10 must count as 7 whatever the product's last bit.
                let passed = at.iter().filter(|&&a| (a * total).round() <= step).count();
                rise(step, rising(*warmup)) * gamma.powi(passed as i32)
            }
            Self::OneCycle { pct_start, div, final_div, .. } => match one_cycle(*pct_start, step, total) {
                Phase::Rise(done) => cosine(1.0 / div, 1.0, done),
                Phase::Fall(done) => cosine(1.0, 1.0 / (div * final_div), done),
            },
        }
    }
}

/// Where a step lies in a cycle, and how much of that part is done, 0 to 1.
enum Phase {
    Rise(f64),
    Fall(f64),
}

fn one_cycle(pct_start: f64, step: f64, total: f64) -> Phase {
    let (top, end) = (pct_start * total - 1.0, total - 1.0);
    if step <= top {
        Phase::Rise(if top > 0.0 { step / top } else { 1.0 })
    } else {
        Phase::Fall(if end > top { (step - top) / (end - top) } else { 1.0 })
    }
}

/// Linear rise that reaches 1 with the last warm-up step; 1 after it.
fn rise(step: f64, warm: f64) -> f64 {
    if step < warm { (step + 1.0) / warm } else { 1.0 }
}

/// Half a cosine from `from` at 0 to `to` at 1.
fn cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * done).cos())
}

fn share(key: &str, value: f64) -> Result<(), NnError> {
    within(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}
