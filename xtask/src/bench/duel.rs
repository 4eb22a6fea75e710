//! Ours against a peer: two processes that work in turn, so that a slow moment of the machine strikes both.

use super::networks::{CASES, Case, Work};
use super::probe::{self, Probe};
use super::side::{Side, median};
use crate::out::say;
use anyhow::bail;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use umt_nn::kernels::{self, Isa};
use umt_store::Store;

#[derive(clap::Args)]
pub struct Args {
    /// A Python interpreter that has the peer's libraries, or `candle` for the same step with candle and candle-nn alone; without it only ours is
    /// timed.
    #[arg(long, value_name = "PYTHON|candle")]
    peer: Option<PathBuf>,
    /// Also write the results here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only this case.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Instruction sets: default (what each side takes by itself), avx2 (both capped), portable (ours alone).
    #[arg(long, value_name = "ISA,...", value_delimiter = ',')]
    isa: Vec<String>,
    /// Turns of each side; the median counts.
    #[arg(long, value_name = "N", default_value_t = 9)]
    turns: usize,
    /// Threads of both sides; all cores when left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// A line of the table, named as in the written file.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    isa: String,
    ours_isa: String,
    threads: usize,
    ours_seconds: f64,
    peer_seconds: Option<f64>,
    /// Peer's time over ours: the median over turns of the ratio of neighbouring turns.
    ratio: Option<f64>,
    ours_peak_bytes: u64,
    peer_peak_bytes: Option<u64>,
    peer: Option<String>,
    /// Under the default instruction set: scaling, and where the time goes.
    #[serde(flatten)]
    probe: Option<Probe>,
}

#[derive(Serialize)]
struct Written {
    cases: Vec<Row>,
}

pub fn run(args: &Args, work: Work) -> anyhow::Result<ExitCode> {
    if let Some(name) = &args.case {
        super::networks::case(work, name)?;
    }
    let isas = match (args.isa.is_empty(), kernels::isa(), work) {
        (false, ..) => args.isa.clone(),
        // ONNX Runtime cannot be capped, so only training is compared under the narrower set as well.
        (true, Isa::Avx512, Work::Train) => vec!["default".into(), "avx2".into()],
        (true, ..) => vec!["default".into()],
    };
    if let Some(isa) = isas.iter().find(|isa| !["default", "avx2", "portable"].contains(&isa.as_str())) {
        bail!("--isa {isa}: known are default, avx2 and portable");
    }
    let mut written = Written { cases: Vec::new() };
    say!("{:<26}{:<10}{:>12}{:>12}{:>8}{:>14}{:>14}", "case", "isa", "ours", "peer", "ratio", "our peak", "its peak");
    for case in CASES.iter().filter(|c| c.work == work && args.case.as_deref().is_none_or(|name| name == c.name)) {
        for isa in &isas {
            let row = row(args, case, isa)?;
            let seconds = |s: f64| format!("{:.2} ms", s * 1e3);
            let mib = |b: u64| format!("{:.0} MiB", b as f64 / f64::from(1 << 20));
            say!(
                "{:<26}{:<10}{:>12}{:>12}{:>8}{:>14}{:>14}  {}",
                row.name,
                row.isa,
                seconds(row.ours_seconds),
                row.peer_seconds.map_or("-".into(), seconds),
                row.ratio.map_or("-".into(), |r| format!("{r:.2}")),
                mib(row.ours_peak_bytes),
                row.peer_peak_bytes.map_or("-".into(), mib),
                row.peer.as_deref().unwrap_or(""),
            );
            if let Some(probe) = &row.probe {
                probe.print();
            }
            written.cases.push(row);
        }
    }
    if let Some(path) = &args.json {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Store::shared(folder)?.commit_json(path, &written)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(args: &Args, case: &Case, isa: &str) -> anyhow::Result<Row> {
    let mut ours = Side::ours(case, isa, args.threads)?;
    let mut peer = None;
    let mut used = None;
    let stock = args.peer.as_deref() == Some(Path::new("candle"));
    if stock {
        used = Some("candle".to_owned());
        peer = Some(Side::candle(case, args.threads)?);
    } else if let Some(python) = args.peer.as_ref().filter(|_| isa != "portable") {
        let start = |layout: &str| Side::start(theirs(args, python, case, isa, layout), "the peer");
        let layout = match case.work {
            Work::Infer => "onnxruntime",
            Work::Train => {
                // Which of its two layouts is the better one differs by machine and network.
                let mut best: Option<(f64, &str)> = None;
                for layout in ["contiguous", "channels-last"] {
                    let mut side = start(layout)?;
                    side.turn(2)?;
                    let time = median(side.turn(3)?);
                    side.end()?;
                    if best.is_none_or(|(other, _)| time < other) {
                        best = Some((time, layout));
                    }
                }
                best.map_or("contiguous", |(_, layout)| layout)
            }
        };
        used = Some(layout.to_owned());
        peer = Some(start(layout)?);
    }
    ours.turn(2)?;
    let once = median(ours.turn(1)?);
    // About half a second a turn, so that the clock and a switch of process do not matter.
    let rounds = (0.5 / once).clamp(1.0, 64.0) as usize;
    if let Some(peer) = &mut peer {
        peer.turn(2)?;
    }
    let (mut mine, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.turns.max(1) {
        let a = median(ours.turn(rounds)?);
        mine.push(a);
        if let Some(peer) = &mut peer {
            let b = median(peer.turn(rounds)?);
            other.push(b);
            ratios.push(b / a);
        }
    }
    let threads = args.threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    let (ours_peak_bytes, peer_peak_bytes) = (ours.end()?, peer.map(Side::end).transpose()?);
    let probe = if isa == "default" { Some(probe::probe(case, isa, threads)?) } else { None };
    Ok(Row {
        name: case.name,
        isa: isa.to_owned(),
        ours_isa: if isa == "default" { kernels::isa().as_str().to_owned() } else { isa.to_owned() },
        threads,
        ours_seconds: median(mine),
        peer_seconds: (!other.is_empty()).then(|| median(other)),
        ratio: (!ratios.is_empty()).then(|| median(ratios)),
        ours_peak_bytes,
        peer_peak_bytes,
        peer: used,
        probe,
    })
}

fn theirs(args: &Args, python: &PathBuf, case: &Case, isa: &str, layout: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", case.script, case.name, layout]);
    command.arg(args.threads.unwrap_or(0).to_string());
    if isa == "avx2" {
        command.envs([
            ("ONEDNN_MAX_CPU_ISA", "AVX2"),
            ("ATEN_CPU_CAPABILITY", "avx2"),
            ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
        ]);
    }
    command
}
