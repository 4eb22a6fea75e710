//! A process that works when told to, for measurements in turn.

use super::networks::{Case, Work};
use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Ours or a peer's; the protocol stands in `worker.rs`.
pub struct Side {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Side {
    /// Ours, for a case under an instruction set, on all cores if `threads` does not say otherwise.
    pub fn ours(case: &Case, isa: &str, threads: Option<usize>) -> anyhow::Result<Self> {
        Self::start(Self::worker(case, isa, threads)?, "ours")
    }

    /// The same network and step with candle and candle-nn alone.
    pub fn candle(case: &Case, threads: Option<usize>) -> anyhow::Result<Self> {
        let mut command = Self::worker(case, "default", threads)?;
        command.arg("--candle");
        Self::start(command, "candle")
    }

    fn worker(case: &Case, isa: &str, threads: Option<usize>) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        let work = if case.work == Work::Train { "train" } else { "infer" };
        command.args(["bench", "worker", work, case.name]);
        if let Some(threads) = threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if isa != "default" {
            command.env("UMT_ISA", isa);
        }
        Ok(command)
    }

    pub fn start(mut command: Command, name: &'static str) -> anyhow::Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("starting {name}: {:?}", command.get_program()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes");
        };
        let mut side = Self { name, child, input: Some(input), output: BufReader::new(output) };
        let ready = side.line()?;
        if ready != "ready" {
            bail!("{name} said `{ready}` instead of `ready`");
        }
        Ok(side)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            let status = self.child.wait()?;
            bail!("{} ended early ({status}); its message stands above", self.name);
        }
        Ok(line.trim().to_owned())
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{question}")?;
            input.flush()?;
        }
        self.line()
    }

    /// Seconds of each of `rounds` rounds.
    pub fn turn(&mut self, rounds: usize) -> anyhow::Result<Vec<f64>> {
        let line = self.ask(&rounds.to_string())?;
        let seconds: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        let seconds = seconds.with_context(|| format!("{} said `{line}`", self.name))?;
        if seconds.len() != rounds {
            bail!("{} told {} times instead of {rounds}", self.name, seconds.len());
        }
        Ok(seconds)
    }

    /// The answer to a question that only ours understands.
    pub fn answer<T: DeserializeOwned>(&mut self, question: &str) -> anyhow::Result<T> {
        let line = self.ask(question)?;
        serde_json::from_str(&line).with_context(|| format!("{} said `{line}`", self.name))
    }

    /// Ends it; its peak memory in bytes.
    pub fn end(mut self) -> anyhow::Result<u64> {
        self.input = None;
        let line = self.line()?;
        self.child.wait()?;
        line.parse().with_context(|| format!("{} said `{line}`", self.name))
    }
}

/// The median; NaN of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { (values[(n - 1) / 2] + values[n / 2]) / 2.0 }
}
