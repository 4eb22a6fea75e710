//! Softmax cross-entropy of rows of logits with class weights, rows that do not count and smoothed labels: loss and gradient in one pass.
use super::Isa;
use super::simd::{LANES, Op, Simd, dispatch};
use super::work::{Shared, parallel};

/// Rows in a task; each has a sum of its own.
const BLOCK: usize = 1024;

/// How rows count, see [`super::cross_entropy`].
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// The class of each row; classes beyond the logits do not count.
    pub labels: &'a [u8],
    /// A weight per class.
    pub weights: Option<&'a [f32]>,
    /// Share of the label spread over all classes.
    pub smoothing: f32,
}

impl Targets<'_> {
    fn weight(&self, class: usize) -> f32 {
        self.weights.map_or(1.0, |w| w[class])
    }

    /// Summed weight of the rows that count.
    pub fn total(&self, classes: usize) -> f64 {
        let mut counts = [0u64; 256];
        self.labels.iter().for_each(|l| counts[usize::from(*l)] += 1);
        (0..classes.min(256)).map(|c| counts[c] as f64 * f64::from(self.weight(c))).sum()
    }
}

/// The weighted loss summed over rows, and `scale` times its gradient if wanted.
pub fn run(isa: Isa, c: usize, logits: &[f32], t: &Targets, scale: f32, mut grad: Option<&mut [f32]>) -> f64 {
    let rows = t.labels.len();
    let out = grad.as_mut().map(|grad| Shared::new(grad));
    let blocks = rows.div_ceil(BLOCK);
    let mut losses = vec![0.0f32; 2 * blocks];
    let shared = Shared::new(&mut losses);
    // Of the smoothed part: the share of each class, its weight included, and their sum.
    let spread: Vec<f32> = (0..c).map(|k| t.smoothing / c as f32 * t.weight(k)).collect();
    let spread_sum: f32 = spread.iter().sum();
    parallel(blocks, rows * c > 1 << 14, |b| {
        let (from, n) = (b * BLOCK, BLOCK.min(rows - b * BLOCK));
        // SAFETY: each task writes its own rows and its own two halves of a sum.
        let (grad, loss) = unsafe { (out.map(|out| out.part(from * c, n * c)), shared.part(2 * b, 2)) };
        let block =
            Block { c, logits: &logits[from * c..][..n * c], t, from, scale, spread: &spread, spread_sum, grad };
        let sum = dispatch(isa, block);
        loss[0] = sum as f32;
        loss[1] = (sum - f64::from(loss[0])) as f32;
    });
    losses.chunks_exact(2).map(|l| f64::from(l[0]) + f64::from(l[1])).sum()
}

struct Block<'a> {
    c: usize,
    logits: &'a [f32],
    t: &'a Targets<'a>,
    from: usize,
    scale: f32,
    spread: &'a [f32],
    spread_sum: f32,
    grad: Option<&'a mut [f32]>,
}

/// e^x for x ≤ 0 within two units in the last place: 2^n · e^r with |r| ≤ ln 2 / 2 (Cephes' polynomial).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest whole number in the low bits.
    let x = if x < -87.0 { -87.0 } else { x };
    let t = x * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f32::from_bits((t.to_bits() << 23).wrapping_add(0x3f80_0000))
}

impl Op for Block<'_> {
    type Out = f64;
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) -> f64 {
        let c = self.c;
        let mut loss = 0.0f64;
        let mut own = vec![0.0f32; c];
        for (i, row) in self.logits.chunks_exact(c).enumerate() {
            let label = usize::from(self.t.labels[self.from + i]);
            let to = match &mut self.grad {
                Some(grad) => &mut grad[i * c..][..c],
                None => &mut own[..],
            };
            if label >= c {
                to.fill(0.0);
                continue;
            }
            let peak = largest(row);
            let sum = exponentials(row, peak, to);
            // Differences from the largest first, which large logits do not swallow.
            let log_sum = sum.ln();
            let weight = self.t.weight(label) * (1.0 - self.t.smoothing);
            loss += f64::from(weight * (log_sum + (peak - row[label])));
            if self.t.smoothing > 0.0 {
                let spread = row.iter().zip(self.spread).map(|(z, w)| f64::from(w * (log_sum + (peak - z))));
                loss += spread.sum::<f64>();
            }
            if self.grad.is_none() {
                continue;
            }
            let to = match &mut self.grad {
                Some(grad) => &mut grad[i * c..][..c],
                None => &mut own[..],
            };
            // (weight + Σ spread) softmax - weight at the label - spread.
            let factor = (weight + self.spread_sum) * self.scale / sum;
            to.iter_mut().for_each(|g| *g *= factor);
            to[label] -= weight * self.scale;
            if self.t.smoothing > 0.0 {
                to.iter_mut().zip(self.spread).for_each(|(g, w)| *g -= w * self.scale);
            }
        }
        loss
    }
}

/// The largest of a row; sixteen chains, so that lanes work side by side.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let mut blocks = row.chunks_exact(LANES);
    for block in &mut blocks {
        for (m, x) in most.iter_mut().zip(block) {
            *m = if *x > *m { *x } else { *m };
        }
    }
    for (m, x) in most.iter_mut().zip(blocks.remainder()) {
        *m = if *x > *m { *x } else { *m };
    }
    most.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Writes `exp(x - peak)` and gives their sum.
#[inline(always)]
fn exponentials(row: &[f32], peak: f32, to: &mut [f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let whole = row.len() / LANES * LANES;
    for (x, to) in row[..whole].chunks_exact(LANES).zip(to[..whole].chunks_exact_mut(LANES)) {
        for l in 0..LANES {
            to[l] = exp(x[l] - peak);
            sums[l] += to[l];
        }
    }
    for ((x, to), sum) in row[whole..].iter().zip(&mut to[whole..]).zip(&mut sums) {
        *to = exp(x - peak);
        *sum += *to;
    }
    sums.into_iter().sum()
}
