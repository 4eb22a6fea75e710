//! Every layer of the timed networks by itself: how near it comes to the machine's limits.

use crate::out::say;
use anyhow::Context;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use umt_nn::kernels::{self, ConvShape};
use umt_store::Store;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench kernels\n  cargo xtask bench kernels --threads 1 --json FILE\n\
    GFLOP/s count the multiplications of the direct convolution: a fast algorithm may pass the peak.")]
pub struct Args {
    /// Threads of the kernels; all cores when left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Also write the results here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Timed runs of each; the median counts.
    #[arg(long, value_name = "N", default_value_t = 9)]
    runs: usize,
}

#[derive(Serialize)]
struct Machine {
    isa: &'static str,
    threads: usize,
    fma_peak_one_thread: f64,
    fma_peak: f64,
    copy_bytes_per_second: f64,
}

#[derive(Serialize)]
struct Row {
    layer: String,
    pass: &'static str,
    seconds: f64,
    gflops: f64,
    share_of_peak: f64,
    bytes_per_second: f64,
    share_of_bandwidth: f64,
}

#[derive(Serialize)]
struct Written {
    machine: Machine,
    rows: Vec<Row>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let threads = args.threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting the threads")?;
    let isa = kernels::isa();
    let machine = Machine {
        isa: isa.as_str(),
        threads,
        fma_peak_one_thread: kernels::fma_peak(isa, 1),
        fma_peak: kernels::fma_peak(isa, threads),
        copy_bytes_per_second: kernels::copy_bandwidth(threads),
    };
    say!(
        "{}: a bare FMA loop gives {:.0} GFLOP/s on one thread, {:.0} on {threads}; a copy {:.1} GB/s",
        machine.isa,
        machine.fma_peak_one_thread / 1e9,
        machine.fma_peak / 1e9,
        machine.copy_bytes_per_second / 1e9
    );
    say!("{:<34}{:<8}{:>10}{:>10}{:>8}{:>9}{:>8}", "layer", "pass", "ms", "GFLOP/s", "% peak", "GB/s", "% copy");
    let mut bench = Bench { machine: &machine, runs: args.runs.max(1), rows: Vec::new() };
    for shape in convolutions() {
        bench.convolution(&shape);
    }
    for (rows, c) in
        [(8 * 112 * 112, 64), (8 * 56 * 56, 64), (8 * 14 * 14, 256), (64 * 64 * 64, 16), (64 * 16 * 16, 64)]
    {
        bench.batch_norm(rows, c);
    }
    bench.upsampling_and_loss(2, [240, 320], 40);
    let rows = bench.rows;
    if let Some(path) = &args.json {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        Store::shared(folder)?.commit_json(path, &Written { machine, rows })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// ResNet-18 at 224x224 with batch 8, ResNet-20 of width 16 at 64x64 with batch 64, and ESANet at 480x640 with batch 2.
fn convolutions() -> Vec<ConvShape> {
    let square = |[n, side, c, k, kernel, stride]: [usize; 6]| ConvShape {
        n,
        h: side,
        w: side,
        c,
        k,
        kh: kernel,
        kw: kernel,
        stride: [stride; 2],
        pad: [kernel / 2; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let mut shapes = vec![
        square([8, 224, 3, 64, 7, 2]),
        square([8, 56, 64, 64, 3, 1]),
        square([8, 56, 64, 128, 3, 2]),
        square([8, 56, 64, 128, 1, 2]),
        square([8, 28, 128, 128, 3, 1]),
        square([8, 28, 128, 256, 3, 2]),
        square([8, 14, 256, 256, 3, 1]),
        square([8, 14, 256, 512, 3, 2]),
        square([8, 7, 512, 512, 3, 1]),
        square([64, 64, 3, 16, 3, 1]),
        square([64, 64, 16, 16, 3, 1]),
        square([64, 64, 16, 32, 3, 2]),
        square([64, 32, 32, 32, 3, 1]),
        square([64, 32, 32, 64, 3, 2]),
        square([64, 16, 64, 64, 3, 1]),
    ];
    // Stage by stage: 3 by 1 and 1 by 3, then the strided pair that leads to the next.
    for (h, w, c) in [(120, 160, 64), (60, 80, 128), (30, 40, 256), (15, 20, 512)] {
        let base = ConvShape { n: 2, h, w, k: c, ..square([2, 1, c, c, 3, 1]) };
        shapes.push(ConvShape { kw: 1, pad: [1, 0], ..base });
        shapes.push(ConvShape { kh: 1, pad: [0, 1], ..base });
        if c < 512 {
            shapes.push(ConvShape { kw: 1, pad: [1, 0], stride: [2, 1], k: 2 * c, ..base });
            shapes.push(ConvShape { h: h / 2, c: 2 * c, k: 2 * c, kh: 1, pad: [0, 1], stride: [1, 2], ..base });
        }
    }
    shapes.push(ConvShape { n: 2, h: 480, w: 640, ..square([2, 1, 3, 64, 7, 2]) });
    shapes.push(ConvShape { n: 2, h: 480, w: 640, ..square([2, 1, 1, 64, 7, 2]) });
    shapes.push(ConvShape { n: 2, h: 120, w: 160, ..square([2, 1, 128, 40, 3, 1]) });
    shapes.push(ConvShape { n: 2, h: 120, w: 160, ..square([2, 1, 64, 128, 1, 1]) });
    shapes
}

struct Bench<'a> {
    machine: &'a Machine,
    runs: usize,
    rows: Vec<Row>,
}

impl Bench<'_> {
    fn convolution(&mut self, s: &ConvShape) {
        let name = s.to_string();
        let (x, w, dy) = (noise(s.x_len()), noise(s.w_len()), noise(s.y_len()));
        let flops = s.flops() as f64;
        let floats = s.x_len() + s.w_len() + s.y_len();
        let (mut y, mut dx, mut dw) = (vec![0.0; s.y_len()], vec![0.0; s.x_len()], vec![0.0; s.w_len()]);
        self.time(&name, "forward", flops, floats, || kernels::conv2d(s, &x, &w, None, &mut y));
        if s.c > 3 {
            self.time(&name, "input", flops, floats, || kernels::conv2d_grad_input(s, &dy, &w, &mut dx));
        }
        self.time(&name, "weight", flops, floats, || kernels::conv2d_grad_weight(s, &x, &dy, &mut dw));
    }

    fn batch_norm(&mut self, rows: usize, c: usize) {
        let name = format!("batch-norm + ReLU, {rows} x {c}");
        let n = rows * c;
        let (z, dy, one, zero) = (noise(n), noise(n), vec![1.0; c], vec![0.0; c]);
        let (mut mean, mut var, mut y, mut dz) = (vec![0.0; c], vec![0.0; c], vec![0.0; n], vec![0.0; n]);
        let (mut dgamma, mut dbeta) = (vec![0.0; c], vec![0.0; c]);
        self.time(&name, "forward", 5.0 * n as f64, 3 * n, || {
            kernels::batch_norm_stats(rows, c, &z, &mut mean, &mut var);
            kernels::scale_shift(rows, c, &z, &one, &zero, None, true, &mut y);
        });
        self.time(&name, "input", 9.0 * n as f64, 5 * n, || {
            kernels::batch_norm_relu_backward(
                rows,
                c,
                &z,
                &one,
                &zero,
                &dy,
                &one,
                &mean,
                &one,
                &mut dz,
                &mut dgamma,
                &mut dbeta,
            );
        });
    }

    /// The last step of ESANet's decoder, and the loss on its output.
    fn upsampling_and_loss(&mut self, n: usize, [h, w]: [usize; 2], c: usize) {
        let (from, to, pixels) = ([h, w], [2 * h, 2 * w], 4 * n * h * w);
        let (x, weight, dy, bias) = (noise(n * h * w * c), noise(9 * c), noise(pixels * c), vec![0.0; c]);
        let (mut y, mut dx, mut dw) = (vec![0.0; pixels * c], vec![0.0; x.len()], vec![0.0; 9 * c]);
        let name = format!("upsampling, {n}x{h}x{w}x{c}");
        let (flops, floats) = (8.0 * (pixels * c) as f64, x.len() + y.len());
        self.time(&name, "forward", flops, floats, || {
            kernels::upsample(n, from, to, c, &x, &weight, &bias, None, &mut y);
        });
        self.time(&name, "both", 2.0 * flops, 2 * floats, || {
            kernels::upsample_backward(n, from, to, c, &x, &weight, &dy, Some(&mut dx), &mut dw);
        });
        let labels: Vec<u8> = (0..pixels).map(|i| (i % (c + 1)) as u8).collect();
        let name = format!("cross-entropy, {pixels} x {c}");
        self.time(&name, "both", 20.0 * (pixels * c) as f64, 2 * pixels * c, || {
            kernels::cross_entropy(c, &dy, &labels, None, 0.0, Some(&mut y));
        });
    }

    fn time(&mut self, layer: &str, pass: &'static str, flops: f64, floats: usize, mut f: impl FnMut()) {
        f();
        let mut seconds: Vec<f64> = (0..self.runs)
            .map(|_| {
                let started = Instant::now();
                f();
                started.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let seconds = seconds[seconds.len() / 2];
        let bytes = (floats * size_of::<f32>()) as f64;
        let row = Row {
            layer: layer.to_owned(),
            pass,
            seconds,
            gflops: flops / seconds / 1e9,
            share_of_peak: flops / seconds / self.machine.fma_peak,
            bytes_per_second: bytes / seconds,
            share_of_bandwidth: bytes / seconds / self.machine.copy_bytes_per_second,
        };
        say!(
            "{:<34}{:<8}{:>10.3}{:>10.0}{:>8.0}{:>9.1}{:>8.0}",
            row.layer,
            row.pass,
            row.seconds * 1e3,
            row.gflops,
            row.share_of_peak * 100.0,
            row.bytes_per_second / 1e9,
            row.share_of_bandwidth * 100.0
        );
        self.rows.push(row);
    }
}

fn noise(len: usize) -> Vec<f32> {
    let mut random = umt_random::stream(1, "bench.kernels", 0, len as u64);
    (0..len).map(|_| random.uniform() - 0.5).collect()
}
