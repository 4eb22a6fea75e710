//! What `gpu-check` says: a line for each check as it ends, then JSON and Markdown.

use super::Outcome;
use super::timing::Timing;
use crate::out::say;
use serde::Serialize;
use umt_nn::Device;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    version: &'static str,
    device: String,
    hardware: String,
    checks: Vec<Outcome>,
    timings: Vec<Timing>,
}

impl Report {
    pub fn new(device: &Device) -> anyhow::Result<Self> {
        let (device, hardware) = (device.name(), device.hardware()?);
        say!("{device}: {hardware}");
        Ok(Self { version: env!("CARGO_PKG_VERSION"), device, hardware, checks: Vec::new(), timings: Vec::new() })
    }

    pub fn add(&mut self, outcome: Outcome) {
        let verdict = if outcome.passed { "ok  " } else { "FAIL" };
        let what = outcome.failure.clone().unwrap_or_else(|| outcome.array.clone());
        say!("{verdict} {:.1e} of {:.0e}  {}  {what}", outcome.error, outcome.tolerance, outcome.name);
        self.checks.push(outcome);
    }

    pub fn time(&mut self, timing: Timing) {
        let Timing { name, precision, seconds, fed_seconds, samples_per_second, .. } = &timing;
        let [alone, fed, host, device] =
            [*seconds, *fed_seconds, timing.host_seconds, timing.device_seconds].map(|s| s * 1e3);
        say!("time {name} {precision}: {alone:.2} ms a step, {fed:.2} ms fed, {samples_per_second:.0} samples/s");
        say!("     host {host:.2} ms, device {device:.2} ms; {}", timing.counts());
        self.timings.push(timing);
    }

    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.passed).count()
    }

    pub fn summary(&self) -> String {
        format!("{} checks, {} failed, {} timings", self.checks.len(), self.failed(), self.timings.len())
    }

    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# gpu-check\n\n{} ({}), version {}: {}\n\n",
            self.device,
            self.hardware,
            self.version,
            self.summary()
        );
        text.push_str("| check | | largest error | tolerance | where |\n|---|---|---|---|---|\n");
        for check in &self.checks {
            let verdict = if check.passed { "ok" } else { "**fail**" };
            let device = check.failure.as_ref().unwrap_or(&check.array);
            let (error, tolerance) = (check.error, check.tolerance);
            text.push_str(&format!("| {} | {verdict} | {error:.1e} | {tolerance:.0e} | {device} |\n", check.name));
        }
        text.push_str(
            "\n| training step | precision | ms | ms with its batch sent | ms of the host | ms of the device | samples/s | MB in use | \
             asked for in a step |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for timing in &self.timings {
            let Timing { name, precision, seconds, fed_seconds, samples_per_second, bytes, .. } = timing;
            let memory = bytes.map_or(String::new(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
            let [alone, fed, host, device] =
                [*seconds, *fed_seconds, timing.host_seconds, timing.device_seconds].map(|s| s * 1e3);
            text.push_str(&format!(
                "| {name} | {precision} | {alone:.2} | {fed:.2} | {host:.2} | {device:.2} | {samples_per_second:.0} | {memory} | {} |\n",
                timing.counts()
            ));
        }
        text
    }
}
