//! Progress of a run: bars on a terminal, plain lines anywhere else.

use crate::out::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use umt_recipe::{Loaded, Plan};
use umt_run::{Now, Record, Watch};
use umt_store::hub::Transfer;
use umt_train::{EpochReport, StepReport};

/// Between two plain lines of one stage.
const QUIET: Duration = Duration::from_secs(15);

/// Shows a run on standard error.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    stop: Arc<AtomicUsize>,
    told: Instant,
    /// When samples began to be counted.
    began: Instant,
    /// The split whose accuracy a finished stage is shown with.
    split: &'static str,
    /// The run that was announced.
    announced: Option<String>,
}

impl Progress {
    /// Shows finished stages with their accuracy on test, or on validation where choices are made.
    pub fn new(stop: &Arc<AtomicUsize>, split: &'static str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let now = Instant::now();
        Progress { bar, terminal, stop: Arc::clone(stop), told: now, began: now, split, announced: None }
    }

    /// Removes the bar; what follows is the table.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: &str) {
        if self.terminal {
            self.bar.suspend(|| note!("{text}"));
        } else {
            note!("{text}");
        }
    }

    fn shape(&mut self, total: u64, template: &str) {
        self.bar.reset();
        self.bar.set_length(total);
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }

    /// Shows how many of `total` samples are `done`, how fast it goes and how long it takes yet.
    pub fn count(&mut self, doing: &str, done: usize, total: usize) {
        if done <= 1 {
            self.shape(total as u64, "{msg} {bar:30} {pos}/{len} samples  {per_sec}  {eta} left");
            self.bar.set_message(doing.to_owned());
            (self.began, self.told) = (Instant::now(), Instant::now());
        }
        self.bar.set_position(done as u64);
        if !self.terminal && (done == total || self.due()) {
            let speed = done as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
            let left = (total - done) as f64 / speed;
            let left = if done == total { String::new() } else { format!(", {left:.0} s left") };
            self.line(&format!("{doing}: {done} of {total} samples, {speed:.0}/s{left}"));
        }
    }

    fn due(&mut self) -> bool {
        let due = self.told.elapsed() >= QUIET;
        if due {
            self.told = Instant::now();
        }
        due
    }
}

fn title(now: Now<'_>) -> String {
    format!("[{}/{}] {} seed {}", now.position, now.total, now.stage, now.seed)
}

impl Watch for Progress {
    fn on_decode(&mut self, done: usize, total: usize) {
        // Decoding leaves only a temporary file, which the next run removes.
        let signal = self.stop.load(Ordering::Relaxed);
        if signal != 0 {
            self.bar.finish_and_clear();
            note!("stopped by signal {signal} while samples were decoded; the same command begins that anew");
            std::process::exit(128 + i32::try_from(signal).unwrap_or(0));
        }
        self.count("decoding", done, total);
    }

    fn on_download(&mut self, repository: &str, transfer: Transfer) {
        // What has arrived is kept.
        let signal = self.stop.load(Ordering::Relaxed);
        if signal != 0 {
            self.bar.finish_and_clear();
            note!("stopped by signal {signal} while {repository} was fetched; the same command goes on there");
            std::process::exit(128 + i32::try_from(signal).unwrap_or(0));
        }
        if self.bar.length() != Some(transfer.total) {
            self.shape(transfer.total, "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
            self.bar.set_message(repository.to_owned());
            // What was there before says nothing about the speed.
            self.bar.set_position(transfer.done);
            self.bar.reset_eta();
            self.told = Instant::now();
        }
        self.bar.set_position(transfer.done);
        if !self.terminal && (transfer.done == transfer.total || self.due()) {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            self.line(&format!("{repository}: {:.1} of {:.1} MiB", mib(transfer.done), mib(transfer.total)));
        }
    }

    fn on_plan(&mut self, loaded: &Loaded, plan: &Plan, folder: &Path) {
        // A search lays a plan for each combination.
        if self.announced.replace(loaded.name.clone()).as_ref() == Some(&loaded.name) {
            return;
        }
        let seeds: BTreeSet<u64> = plan.nodes.iter().map(|node| node.seed).collect();
        let expect = loaded.recipe.expect.minutes;
        let time = expect.map_or(String::new(), |m| format!(", at most {m} minutes expected on 2 cores"));
        self.line(&format!("{}: {}", loaded.name, loaded.recipe.about));
        self.line(&format!("{} seed(s){time}; everything goes to {}", seeds.len(), folder.display()));
    }

    fn on_begin(&mut self, now: Now<'_>) {
        self.told = Instant::now();
        self.shape(1, "{msg}");
        self.bar.set_message(title(now));
        if self.terminal {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn on_step(&mut self, now: Now<'_>, report: &StepReport<'_>) {
        if self.bar.length() != Some(report.total) {
            self.shape(report.total, "{msg} {bar:24} {pos}/{len}  {eta} left");
        }
        self.bar.set_position(report.step);
        self.bar.set_message(format!(
            "{}  {:.0} samples/s  loss {:.3}",
            title(now),
            report.samples_per_second,
            report.loss
        ));
    }

    fn on_epoch(&mut self, now: Now<'_>, report: &EpochReport<'_>) {
        if self.terminal || !self.due() {
            return;
        }
        let validation = report.validation.map_or(String::new(), |v| match v.miou {
            Some(miou) => format!(", validation mIoU {:.1} %", 100.0 * miou),
            None => format!(", validation top-1 {:.1} %", 100.0 * v.top1),
        });
        self.line(&format!(
            "{}: epoch {}, loss {:.3}{validation}, {:.0} samples/s",
            title(now),
            report.epoch,
            report.loss,
            report.samples_per_second
        ));
    }

    fn on_finish(&mut self, now: Now<'_>, record: &Record, reused: bool) {
        self.bar.disable_steady_tick();
        if reused {
            return;
        }
        let speed = record.samples_per_second.map_or(String::new(), |s| format!(", {s:.0} samples/s"));
        let figure = |metric, name| Some((name, record.figure(self.split, metric)?));
        let figure = figure("miou", "mIoU").or_else(|| figure("top1", "top-1"));
        let figure = figure.map_or(String::new(), |(name, v)| format!("{} {name} {:5.1} %", self.split, 100.0 * v));
        self.line(&format!("{:<34} {figure}  ({:.1} s{speed}; {})", title(now), record.wall_seconds, record.note));
    }

    fn on_warning(&mut self, text: &str) {
        self.line(&format!("warning: {text}"));
    }
}
