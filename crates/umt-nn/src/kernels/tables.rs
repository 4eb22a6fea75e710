//! The tables behind [`super::sample`]: which positions are summed by resizing, pooling, depth-wise convolution and learned upsampling.
use super::sample::Taps;

/// A table together with one factor for each of its weights.
pub struct Factors {
    pub taps: Taps,
    pub factors: Vec<f32>,
}

impl Factors {
    /// `of(i)` are the pairs (source, factor) of output `i`.
    fn new(outputs: usize, of: impl Fn(usize) -> Vec<(usize, f32)>) -> Factors {
        let rows: Vec<Vec<(usize, f32)>> = (0..outputs).map(of).collect();
        let factors: Vec<f32> = rows.iter().flatten().map(|(_, factor)| *factor).collect();
        let starts: Vec<usize> = rows
            .iter()
            .scan(0, |at, row| {
                let start = *at;
                *at += row.len();
                Some(start)
            })
            .collect();
        let taps = Taps::new(outputs, factors.len(), |i| {
            let start = starts[i];
            rows[i].iter().enumerate().map(move |(k, &(source, _))| (source, start + k))
        });
        Factors { taps, factors }
    }

    /// The nearest source, as PyTorch's mode `nearest`: `floor(i * (sources / outputs))` in f32.
    pub fn nearest(sources: usize, outputs: usize) -> Factors {
        Self::new(outputs, |i| vec![(nearest_source(sources, outputs, i), 1.0)])
    }

    /// The two sources around `(i + 0.5) * sources / outputs - 0.5`, clamped at the borders, as PyTorch's mode `bilinear` without aligned corners.
    pub fn bilinear(sources: usize, outputs: usize) -> Factors {
        let scale = sources as f32 / outputs.max(1) as f32;
        Self::new(outputs, |i| {
            let at = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
            let low = (at as usize).min(sources.saturating_sub(1));
            let high = (low + 1).min(sources.saturating_sub(1));
            let share = (at - low as f32).clamp(0.0, 1.0);
            if high == low { vec![(low, 1.0)] } else { vec![(low, 1.0 - share), (high, share)] }
        })
    }

    /// The mean of the sources `floor(i * s / o) .. ceil((i + 1) * s / o)`, as PyTorch's adaptive average pooling.
    pub fn adaptive(sources: usize, outputs: usize) -> Factors {
        Self::new(outputs, |i| {
            let (from, to) = (i * sources / outputs, ((i + 1) * sources).div_ceil(outputs));
            (from..to).map(|source| (source, 1.0 / (to - from) as f32)).collect()
        })
    }

    /// The mean over windows; padding counts as zeros.
    pub fn average(sources: usize, window: usize, stride: usize, pad: usize) -> Factors {
        let outputs = (sources + 2 * pad).saturating_sub(window) / stride + 1;
        Self::new(outputs, |i| {
            let inside = (0..window).filter_map(|t| (i * stride + t).checked_sub(pad).filter(|at| *at < sources));
            inside.map(|source| (source, 1.0 / window as f32)).collect()
        })
    }

    /// The way back to `sources` positions, with the same factors.
    pub fn transposed(self, sources: usize) -> Factors {
        Factors { taps: self.taps.transposed(sources), factors: self.factors }
    }
}

/// The source of output `i` under nearest resizing, see [`Factors::nearest`].
pub fn nearest_source(sources: usize, outputs: usize, i: usize) -> usize {
    let scale = sources as f32 / outputs.max(1) as f32;
    ((i as f32 * scale) as usize).min(sources.saturating_sub(1))
}

/// A kernel of `taps` elements along one axis; weights are the kernel's elements.
pub fn convolution(sources: usize, outputs: usize, taps: usize, stride: usize, pad: usize, dilation: usize) -> Taps {
    Taps::new(outputs, taps, |i| {
        let at = move |t: usize| (i * stride + t * dilation).checked_sub(pad);
        (0..taps).filter_map(move |t| Some((at(t).filter(|at| *at < sources)?, t)))
    })
}

/// Elements of a 3-tap kernel that fall on the same source when the input is first doubled: the weights that [`doubled`] numbers.
pub const DOUBLED: [&[usize]; 5] = [&[0], &[1, 2], &[0, 1], &[2], &[1]];

/// Doubling (each source twice, then cut to `outputs`) followed by a kernel of three taps with one zero on each side, as one table over the sources.
/// `outputs` is `2 * sources` or one less.
pub fn doubled(sources: usize, outputs: usize) -> Taps {
    Taps::new(outputs, DOUBLED.len(), |i| {
        let (at, last) = (i / 2, i + 1 == outputs);
        let pairs = match (i % 2, last) {
            // Behind the cut there are zeros.
            (0, true) => [(at.checked_sub(1), 0), (Some(at), 4)],
            (0, false) => [(at.checked_sub(1), 0), (Some(at), 1)],
            _ => [(Some(at), 2), (Some(at + 1).filter(|at| *at < sources), 3)],
        };
        pairs.into_iter().filter_map(|(source, weight)| Some((source?, weight)))
    })
}
