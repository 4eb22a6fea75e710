//! Progress of a run: bars on a terminal, plain lines anywhere else, events for other programs, and what others may follow.

use crate::live::Live;
use crate::out::{Level, alert, level, note, say};
use crate::pace::{Pace, spoken};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use umt_recipe::{Loaded, Plan};
use umt_run::{Now, Record, Watch};
use umt_store::hub::Transfer;
use umt_train::{EpochReport, StepReport};

/// Between two plain lines about files.
const PAUSE: Duration = Duration::from_secs(15);
/// Columns of a bar's title, so that a whole line fits into 80.
const TITLE: usize = 32;

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
    /// Events as JSON lines on standard output.
    json: bool,
    /// The run that was announced, and its folder.
    announced: Option<(String, PathBuf)>,
    pace: Pace,
    live: Option<Live>,
    /// Epochs of each stage, where the recipe counts epochs.
    epochs: BTreeMap<String, u64>,
    /// Whether the stage under way has taken a step in this call.
    stepped: bool,
}

impl Progress {
    /// Shows finished stages with their accuracy on test, or on validation where choices are made.
    pub fn new(stop: &Arc<AtomicUsize>, split: &'static str, json: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && level() != Level::Quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Progress {
            bar: ProgressBar::with_draw_target(None, target),
            terminal,
            stop: Arc::clone(stop),
            told: Instant::now(),
            began: Instant::now(),
            split,
            json,
            announced: None,
            pace: Pace::default(),
            live: None,
            epochs: BTreeMap::new(),
            stepped: false,
        }
    }

    /// Removes the bar; what follows is the table.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
        self.live.iter_mut().for_each(Live::end);
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| note!("{text}"));
    }

    fn event(&self, kind: &str, at: Option<Now<'_>>, mut more: Value) {
        if !self.json {
            return;
        }
        more["event"] = kind.into();
        if let Some(Now { stage, seed, position, total }) = at {
            more["stage"] = stage.into();
            more["seed"] = seed.into();
            more["position"] = position.into();
            more["stages"] = total.into();
        }
        self.bar.suspend(|| say!("{more}"));
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
            self.shape(total as u64, "{msg} {bar:24} {pos}/{len} samples  {per_sec}  {eta} left");
            self.bar.set_message(doing.to_owned());
            (self.began, self.told) = (Instant::now(), Instant::now());
        }
        self.bar.set_position(done as u64);
        if !self.terminal && (done == total || self.due()) {
            let speed = done as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
            let left = (total - done) as f64 / speed;
            let left = if done == total { String::new() } else { format!(", {left:.0} s left") };
            self.line(&format!("{doing}: {done} of {total} samples, {speed:.0}/s{left}"));
            self.event("samples", None, json!({ "doing": doing, "done": done, "total": total }));
        }
    }

    fn due(&mut self) -> bool {
        let due = self.told.elapsed() >= PAUSE;
        if due {
            self.told = Instant::now();
        }
        due
    }

    fn left(&self) -> String {
        self.pace.left().map_or(String::new(), |left| format!(", {} left for all", spoken(left)))
    }

    /// Ends the process if a stop was asked for; what `work` has done so far is kept or begun anew, as `after` says.
    fn stop_in(&self, work: &str, after: &str) {
        let signal = self.stop.load(Ordering::Relaxed);
        if signal != 0 {
            self.bar.finish_and_clear();
            alert!("stopped by signal {signal} while {work}; {after}");
            std::process::exit(128 + i32::try_from(signal).unwrap_or(0));
        }
    }
}

fn title(now: Now<'_>) -> String {
    format!("[{}/{}] {} seed {}", now.position, now.total, now.stage, now.seed)
}

/// A title of at most so many columns; what is longer loses its middle.
fn short(title: &str) -> String {
    let count = title.chars().count();
    if count <= TITLE {
        return format!("{title:TITLE$}");
    }
    let head: String = title.chars().take(TITLE / 2).collect();
    let tail: String = title.chars().skip(count + TITLE / 2 + 1 - TITLE).collect();
    format!("{head}…{tail}")
}

impl Watch for Progress {
    fn on_decode(&mut self, done: usize, total: usize) {
        // Decoding leaves only a temporary file, which the next run removes.
        self.stop_in("samples were decoded", "the same command begins that anew");
        self.count("decoding", done, total);
    }

    fn on_download(&mut self, repository: &str, transfer: Transfer) {
        // What has arrived is kept.
        self.stop_in(&format!("{repository} was fetched"), "the same command goes on there");
        if self.bar.length() != Some(transfer.total) {
            self.shape(transfer.total, "{msg} {bar:16} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
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
        self.pace = Pace::new(&loaded.recipe, plan);
        let stages = loaded.recipe.stage.iter();
        self.epochs = stages.filter_map(|stage| Some((stage.id.clone(), stage.train.epochs?))).collect();
        // A search lays a plan for each combination.
        let this = (loaded.name.clone(), folder.to_owned());
        if self.announced.replace(this.clone()) == Some(this) {
            return;
        }
        let seeds: Vec<u64> = plan.nodes.iter().map(|node| node.seed).collect::<BTreeSet<u64>>().into_iter().collect();
        let named: Vec<String> = seeds.iter().map(u64::to_string).collect();
        // The recipe's time is for its own seeds.
        let share = seeds.len() as f64 / loaded.recipe.seeds.len().max(1) as f64;
        let expect = loaded.recipe.expect.minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes * share));
        let time = expect
            .map_or(String::new(), |time| format!("; at most {} on 2 cores with the recipe's settings", spoken(time)));
        self.line(&format!("{}: {}", loaded.name, loaded.recipe.about));
        let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
        self.line(&format!("{} {plural} ({}), {} stages{time}", seeds.len(), named.join(", "), plan.nodes.len()));
        self.line(&format!("everything goes to {}", folder.display()));
        let rows = json!(plan.rows);
        let folder_name = folder.display().to_string();
        self.event("plan", None, json!({ "recipe": loaded.name, "folder": folder_name, "seeds": seeds, "rows": rows }));
        match Live::open(loaded, plan, folder) {
            Ok(live) => self.live = Some(live),
            Err(error) => alert!("warning: the run goes on, but others cannot follow it: {error}"),
        }
    }

    fn on_begin(&mut self, now: Now<'_>) {
        self.told = Instant::now();
        self.stepped = false;
        self.pace.begin(now.position);
        self.live.iter_mut().for_each(|live| live.begin(now));
        self.event("begin", Some(now), json!({}));
        self.shape(1, "{msg}");
        self.bar.set_message(short(&title(now)));
        if self.terminal {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn on_step(&mut self, now: Now<'_>, report: &StepReport<'_>) {
        self.pace.step(report.step, report.total);
        if !std::mem::replace(&mut self.stepped, true) {
            if report.step > 1 {
                self.line(&format!("{} goes on after step {} of {}", title(now), report.step - 1, report.total));
                self.event("resume", Some(now), json!({ "step": report.step - 1, "steps": report.total }));
            }
            // 32 + 1 + 12 + 1 + 11 + 1 + 3 + 5: the message has what is left of the line.
            self.shape(report.total, "{prefix} {bar:12} {pos}/{len} {eta} left {wide_msg}");
            self.bar.set_prefix(short(&title(now)));
        }
        self.bar.set_position(report.step);
        self.bar.set_message(format!("loss {:.3}, {:.0}/s", report.loss, report.samples_per_second));
        let left = self.pace.left();
        self.live.iter_mut().for_each(|live| live.step(report, left));
    }

    fn on_epoch(&mut self, now: Now<'_>, report: &EpochReport<'_>) {
        self.live.iter_mut().for_each(|live| live.epoch(now, report));
        let left = self.pace.left().map(|left| left.as_secs_f64());
        let validation = report.validation.map(|v| json!({ "loss": v.loss, "top1": v.top1, "miou": v.miou }));
        let EpochReport { epoch, step, lr, loss, log, best, samples_per_second, .. } = report;
        self.event(
            "epoch",
            Some(now),
            json!({
                "epoch": epoch, "step": step, "lr": lr, "loss": loss, "log": log, "validation": validation, "best": best,
                "samples_per_second": samples_per_second, "seconds_left": left,
            }),
        );
        if self.terminal && level() != Level::Verbose {
            return;
        }
        let of = self.epochs.get(now.stage).map_or(String::new(), |all| format!("/{all}"));
        let validation = report.validation.map_or(String::new(), |v| match v.miou {
            Some(miou) => format!(", validation mIoU {:.1} %", 100.0 * miou),
            None => format!(", validation top-1 {:.1} %", 100.0 * v.top1),
        });
        let left = self.left();
        self.line(&format!("{}: epoch {epoch}{of}, loss {loss:.3}{validation}{left}", title(now)));
        if level() == Level::Verbose {
            let terms: Vec<String> = log.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            let waited = 100.0 * report.wait_seconds / report.seconds.max(1e-9);
            self.line(&format!(
                "    lr {lr:.2e}, {samples_per_second:.0} samples/s, {waited:.0} % of the time waiting for data; {}",
                terms.join(", ")
            ));
        }
    }

    fn on_finish(&mut self, now: Now<'_>, record: &Record, reused: bool) {
        self.bar.disable_steady_tick();
        self.pace.finish(now.position, reused);
        self.live.iter_mut().for_each(|live| live.finish(reused));
        let figures: BTreeMap<String, f64> = record
            .figures
            .iter()
            .filter(|f| f.given.is_none())
            .map(|f| (format!("{}.{}", f.split, f.metric), f.value))
            .collect();
        let more = json!({ "reused": reused, "metrics": figures, "seconds": record.wall_seconds, "note": record.note });
        self.event("finish", Some(now), more);
        if reused && level() != Level::Verbose {
            return;
        }
        let figure = |metric, name| Some((name, record.figure(self.split, metric)?));
        let figure = figure("miou", "mIoU").or_else(|| figure("top1", "top-1"));
        let figure = figure.map_or(String::new(), |(name, v)| format!("{} {name} {:.1} %, ", self.split, 100.0 * v));
        let took = if reused { "reused".to_owned() } else { format!("{:.1} s", record.wall_seconds) };
        self.line(&format!("{}: {figure}{took}{}", title(now), if reused { String::new() } else { self.left() }));
        if !record.note.is_empty() && (level() == Level::Verbose || record.note.contains("chosen")) {
            self.line(&format!("    {}", record.note));
        }
    }

    fn on_warning(&mut self, text: &str) {
        self.bar.suspend(|| alert!("warning: {text}"));
        self.live.iter_mut().for_each(|live| live.warn(text));
        self.event("warning", None, json!({ "text": text }));
    }
}

/// A bar for a terminal; nothing elsewhere.
pub fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    ProgressBar::with_draw_target(None, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_its_bar_fits_80_columns() {
        let now = Now { stage: "probe.umt-with-a-long-name.video", seed: 12, position: 100, total: 330 };
        let shown = short(&title(now));
        assert_eq!(shown.chars().count(), TITLE);
        assert!(shown.starts_with("[100/330] probe.") && shown.ends_with("video seed 12"), "{shown}");
        assert_eq!(short("[1/2] umt seed 1").chars().count(), TITLE);
        // Title, bar, six digits of steps twice, time, words between.
        assert!(TITLE + 1 + 12 + 1 + 13 + 1 + 3 + " left ".len() <= 70);
    }
}
