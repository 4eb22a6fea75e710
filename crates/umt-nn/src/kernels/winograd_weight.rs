//! Gradient to the weights by F(4x4, 3x3), of stride 1 and 2, and by F(4, 3) along one axis: dU[point] = Σ over tiles of Vᵀ Z with V = Bᵀ x B and Z = A dy Aᵀ, then dg = Gᵀ dU G.
//!
//! Few channels: tiles are cut into a fixed number of chunks, each with its own dU, added in order. Many channels: V and Z of up to [`Trained::PHASE`] tiles
//! are made first, then each task sums all tiles for its own block of channels. Both cuts depend on the shape alone.
use super::Isa;
use super::shape::ConvShape;
use super::simd::{LANES, Op, Simd, dispatch};
use super::tile::Outer;
use super::winograd::{Halving, MOST_WEIGHTS, Same, Trained};
use super::winograd_conv::Way;
use super::winograd_line::{Across, Down};
use super::winograd_tiles::Tiles;
use super::work::{Scratch, Shared, cut, parallel};

/// Blocks of sixteen channels, in and out, in a task when there are many channels.
const TASK: [usize; 2] = [2, 4];

/// Gradient to the weights by `way`, which is that of the forward side.
pub fn grad_weight(isa: Isa, way: Way, s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    match way {
        Way::Same => run(Same, isa, s, x, dy, dw),
        Way::Halving => run(Halving, isa, s, x, dy, dw),
        Way::Down => run(Down, isa, s, x, dy, dw),
        Way::Across => run(Across, isa, s, x, dy, dw),
    }
}

fn run<F: Trained>(form: F, isa: Isa, s: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let tiles = Tiles::new::<F>(s.n, s.out_h(), s.out_w());
    if tiles.count() == 0 {
        dw.fill(0.0);
        return;
    }
    let job = Job { _form: form, s, tiles, x, dy, cb: s.c.div_ceil(LANES), kb: s.k.div_ceil(LANES) };
    if job.cb * job.kb <= 16 { job.by_tiles(isa, dw) } else { job.by_channels(isa, dw) }
}

struct Job<'a, F> {
    _form: F,
    s: &'a ConvShape,
    tiles: Tiles,
    x: &'a [f32],
    dy: &'a [f32],
    /// Blocks of sixteen channels, in and out.
    cb: usize,
    kb: usize,
}

impl<F: Trained> Job<'_, F> {
    fn by_tiles(&self, isa: Isa, dw: &mut [f32]) {
        let count = self.tiles.count();
        let per = match (F::POINTS > 36, self.cb + self.kb) {
            (false, 0..=4) => 32,
            (false, _) => 48,
            (true, 0..=3) => 16,
            (true, _) => 24,
        };
        let pairs = self.cb * self.kb;
        let size = F::WEIGHTS * pairs * LANES * LANES;
        let chunks = (32 / pairs).clamp(4, 16).min(count.div_ceil(per));
        let mut sums = Scratch::new(chunks * size);
        let shared = Shared::new(&mut sums);
        parallel(chunks, count * pairs > 32, |i| {
            // SAFETY: each task writes its own chunk.
            let du = unsafe { shared.part(i * size, size) };
            dispatch(isa, Chunk { job: self, range: cut(count, chunks, per, i), per, du });
        });
        let out = Shared::new(dw);
        parallel(self.cb * self.kb, pairs > 4, |pair| {
            let (cb, kb) = (pair / self.kb, pair % self.kb);
            let first = (cb * self.kb + kb) * LANES * LANES;
            dispatch(
                isa,
                Finish {
                    job: self,
                    du: &sums[first..],
                    step: pairs * LANES * LANES,
                    chunks,
                    chunk: size,
                    cb,
                    kb,
                    dw: out,
                    add: false,
                },
            );
        });
    }

    fn by_channels(&self, isa: Isa, dw: &mut [f32]) {
        let count = self.tiles.count();
        let out = Shared::new(dw);
        let phases = count.div_ceil(F::PHASE);
        for phase in 0..phases {
            let range = cut(count, phases, 1, phase);
            let per = range.len();
            // One line more than a power of two, so that points do not share cache sets.
            let steps = [self.cb * per * LANES + LANES, self.kb * per * LANES + LANES];
            let (mut v, mut z) = (Scratch::new(F::POINTS * steps[0]), Scratch::new(F::POINTS * steps[1]));
            let (vs, zs) = (Shared::new(&mut v), Shared::new(&mut z));
            parallel(per.div_ceil(4), true, |g| {
                let tiles = range.start + g * 4..(range.start + g * 4 + 4).min(range.end);
                dispatch(isa, Transforms { job: self, tiles, row: g * 4, per, v: vs, z: zs, steps });
            });
            let (across, down) = (self.kb.div_ceil(TASK[1]), self.cb.div_ceil(TASK[0]));
            parallel(across * down, true, |t| {
                let (cb, kb) = (t / across * TASK[0], t % across * TASK[1]);
                let blocks = [cb, (cb + TASK[0]).min(self.cb), kb, (kb + TASK[1]).min(self.kb)];
                dispatch(isa, Blocks { job: self, v: &v, z: &z, steps, per, blocks, dw: out, add: phase > 0 });
            });
        }
    }
}

/// Transforms of a range of tiles into `[36][blocks][per][16]`.
struct Transforms<'a, F> {
    job: &'a Job<'a, F>,
    tiles: std::ops::Range<usize>,
    row: usize,
    per: usize,
    v: Shared,
    z: Shared,
    steps: [usize; 2],
}

impl<F: Trained> Op for Transforms<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (j, s) = (self.job, self.job.s);
        for (i, t) in self.tiles.enumerate() {
            let row = (self.row + i) * LANES;
            j.tiles.prefetch::<S>(t + self.per, j.x.as_ptr(), s.h, s.w, s.c, F::STEP);
            j.tiles.prefetch::<S>(t + self.per, j.dy.as_ptr(), j.tiles.h, j.tiles.w, s.k, [4; 2]);
            let window = j.tiles.window(t, j.x.as_ptr(), s.h, s.w, s.c, s.pad);
            let outputs = j.tiles.outputs(t, j.dy.as_ptr(), s.k);
            for b in 0..j.cb {
                let patch = window.channels(b * LANES, s.c);
                F::input::<S>(&patch, self.v.ptr().add(b * self.per * LANES + row), self.steps[0]);
            }
            for b in 0..j.kb {
                let patch = outputs.channels(b * LANES, s.k);
                F::grad_output::<S>(&patch, self.z.ptr().add(b * self.per * LANES + row), self.steps[1]);
            }
        }
    }
}

/// Whether no earlier point has the same weights.
fn first_of<F: Trained>(point: usize) -> bool {
    (0..point).all(|p| F::weights(p) != F::weights(point))
}

/// A chunk of tiles with its own sum `[36][cb][kb][16][16]`.
struct Chunk<'a, F> {
    job: &'a Job<'a, F>,
    range: std::ops::Range<usize>,
    per: usize,
    du: &'a mut [f32],
}

impl<F: Trained> Op for Chunk<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (j, per) = (self.job, self.per);
        // One line more than a power of two, so that points do not share cache sets.
        let steps = [j.cb * per * LANES + LANES, j.kb * per * LANES + LANES];
        let (mut v, mut z) = (Scratch::new(F::POINTS * steps[0]), Scratch::new(F::POINTS * steps[1]));
        let (vs, zs) = (Shared::new(&mut v), Shared::new(&mut z));
        let mut at = self.range.start;
        if self.range.is_empty() {
            self.du.fill(0.0);
        }
        while at < self.range.end {
            let tiles = at..(at + per).min(self.range.end);
            let n = tiles.len();
            Transforms { job: j, tiles, row: 0, per, v: vs, z: zs, steps }.run::<S>();
            for point in 0..F::POINTS {
                let mut out = self.du.as_mut_ptr().add(F::weights(point) * j.cb * j.kb * LANES * LANES);
                let fresh = at == self.range.start && first_of::<F>(point);
                for c in 0..j.cb {
                    for k in 0..j.kb {
                        let t = Outer {
                            a: v.as_ptr().add(point * steps[0] + c * per * LANES),
                            step_a: LANES,
                            b: z.as_ptr().add(point * steps[1] + k * per * LANES),
                            step_b: LANES,
                            steps: n,
                            out,
                            fresh,
                        };
                        S::outer(&t);
                        out = out.add(LANES * LANES);
                    }
                }
            }
            at += n;
        }
    }
}

/// Sums of all tiles of a phase for a block of channels `[c from, c to, k from, k to]`, and their way back.
struct Blocks<'a, F> {
    job: &'a Job<'a, F>,
    v: &'a [f32],
    z: &'a [f32],
    steps: [usize; 2],
    per: usize,
    blocks: [usize; 4],
    dw: Shared,
    add: bool,
}

impl<F: Trained> Op for Blocks<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (j, per, [c0, c1, k0, k1]) = (self.job, self.per, self.blocks);
        let step = (c1 - c0) * (k1 - k0) * LANES * LANES + LANES;
        let mut du = Scratch::new(F::WEIGHTS * step);
        for point in 0..F::POINTS {
            let mut out = du.as_mut_ptr().add(F::weights(point) * step);
            let fresh = first_of::<F>(point);
            for c in c0..c1 {
                for k in k0..k1 {
                    let t = Outer {
                        a: self.v.as_ptr().add(point * self.steps[0] + c * per * LANES),
                        step_a: LANES,
                        b: self.z.as_ptr().add(point * self.steps[1] + k * per * LANES),
                        step_b: LANES,
                        steps: per,
                        out,
                        fresh,
                    };
                    S::outer(&t);
                    out = out.add(LANES * LANES);
                }
            }
        }
        let mut first = 0;
        for cb in c0..c1 {
            for kb in k0..k1 {
                Finish { job: j, du: &du[first..], step, chunks: 1, chunk: 0, cb, kb, dw: self.dw, add: self.add }
                    .run::<S>();
                first += LANES * LANES;
            }
        }
    }
}

/// Adds the chunks of one block of 16 by 16 channels in order and transforms it back.
struct Finish<'a, F> {
    job: &'a Job<'a, F>,
    du: &'a [f32],
    step: usize,
    chunks: usize,
    chunk: usize,
    cb: usize,
    kb: usize,
    dw: Shared,
    add: bool,
}

impl<F: Trained> Op for Finish<'_, F> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let s = self.job.s;
        let first = self.kb * LANES;
        let lanes = (s.k - first).min(LANES);
        let mut sum = [0.0f32; MOST_WEIGHTS * LANES];
        for i in 0..LANES.min(s.c - self.cb * LANES) {
            let out = self.dw.ptr().add((self.cb * LANES + i) * s.k + first);
            let du = self.du.as_ptr().add(i * LANES);
            if self.chunks == 1 {
                F::grad_weight::<S>(du, self.step, lanes, out, s.c * s.k, self.add);
                continue;
            }
            for point in 0..F::WEIGHTS {
                let at = du.add(point * self.step);
                let mut v = S::load(at);
                for chunk in 1..self.chunks {
                    v = S::add(v, S::load(at.add(chunk * self.chunk)));
                }
                S::store(sum.as_mut_ptr().add(point * LANES), v);
            }
            F::grad_weight::<S>(sum.as_ptr(), LANES, lanes, out, s.c * s.k, self.add);
        }
    }
}
