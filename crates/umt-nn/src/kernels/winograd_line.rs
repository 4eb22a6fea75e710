//! F(4, 3) along one axis, for filters of 3 by 1 and 1 by 3: tiles of 4 by 4 outputs, 24 products for 48.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::simd::Simd;
use super::winograd::{Form, OutputTile, Patch, Trained};
use super::winograd_axis::{Axis, GradOutput, GradWeight, Input, Output, Weight};

/// Lines of a tile, side by side and independent of each other.
const LINES: usize = 4;

/// Filters of 3 by 1: lines run down the picture.
#[derive(Clone, Copy)]
pub struct Down;
/// Filters of 1 by 3: lines run across the picture.
#[derive(Clone, Copy)]
pub struct Across;

impl Patch {
    /// The window with rows and columns exchanged.
    #[inline(always)]
    fn turned(self) -> Patch {
        Patch { row: self.column, column: self.row, rows: self.columns, columns: self.rows, ..self }
    }
}

impl OutputTile {
    #[inline(always)]
    fn turned(self) -> OutputTile {
        OutputTile { row: self.column, column: self.row, rows: self.columns, columns: self.rows, ..self }
    }
}

macro_rules! form {
    ($form:ident, $window:expr, |$x:ident| $turn:expr) => {
        impl Form for $form {
            const POINTS: usize = 6 * LINES;
            const WEIGHTS: usize = 6;
            const TAPS: usize = 3;
            const WINDOW: [usize; 2] = $window;
            const STEP: [usize; 2] = [4; 2];
            const SIDE: [usize; 2] = [4; 2];
            fn weights(i: usize) -> usize {
                i / LINES
            }
            #[inline(always)]
            unsafe fn input<S: Simd>($x: &Patch, out: *mut f32, step: usize) {
                spread::<S, Input, 6>(&$turn, out, step)
            }
            #[inline(always)]
            unsafe fn output<S: Simd>(m: *const f32, step: usize, bias: S::V, $x: &OutputTile) {
                gather::<S>(m, step, bias, &$turn)
            }
            #[inline(always)]
            unsafe fn weight<S: Simd>(g: *const f32, step_g: usize, lanes: usize, out: *mut f32, step: usize) {
                let load = |i: usize| S::load_part(g.add(i * step_g), lanes);
                for (i, v) in Weight::apply::<S>([load(0), load(1), load(2)]).into_iter().enumerate() {
                    S::store(out.add(i * step), v);
                }
            }
        }

        impl Trained for $form {
            // Fewer products for each transform than in two dimensions: it must stay in the caches.
            const PHASE: usize = 96;
            #[inline(always)]
            unsafe fn grad_output<S: Simd>($x: &Patch, out: *mut f32, step: usize) {
                spread::<S, GradOutput, 4>(&$turn, out, step)
            }
            #[inline(always)]
            unsafe fn grad_weight<S: Simd>(
                u: *const f32,
                step: usize,
                lanes: usize,
                out: *mut f32,
                step_g: usize,
                add: bool,
            ) {
                let mut d = [S::splat(0.0); 6];
                for i in 0..6 {
                    d[i] = S::load(u.add(i * step));
                }
                for (i, v) in GradWeight::apply::<S>(d).into_iter().enumerate() {
                    let p = out.add(i * step_g);
                    let v = if add { S::add(v, S::load_part(p, lanes)) } else { v };
                    S::store_part(p, v, lanes);
                }
            }
        }
    };
}
form!(Down, [6, LINES], |x| *x);
form!(Across, [LINES, 6], |x| x.turned());

/// Transforms the lines of a window; point i of line j goes to `out + (i * LINES + j) * step`.
#[inline(always)]
unsafe fn spread<S: Simd, F: Axis<I, 6>, const I: usize>(p: &Patch, out: *mut f32, step: usize) {
    let whole = p.whole(I, LINES);
    for j in 0..LINES {
        let line = if whole {
            p.load::<S, I>(j, true)
        } else if j >= p.columns[0] && j < p.columns[1] {
            p.load::<S, I>(j, false)
        } else {
            [S::splat(0.0); I]
        };
        for (i, v) in F::apply::<S>(line).into_iter().enumerate() {
            S::store(out.add((i * LINES + j) * step), v);
        }
    }
}

/// Transforms products back, `+ bias`.
#[inline(always)]
unsafe fn gather<S: Simd>(m: *const f32, step: usize, bias: S::V, to: &OutputTile) {
    for j in 0..LINES {
        if j >= to.columns {
            break;
        }
        let mut d = [S::splat(0.0); 6];
        for i in 0..6 {
            d[i] = S::load(m.add((i * LINES + j) * step));
        }
        let line = to.at.wrapping_add(j * to.column);
        for (i, v) in Output::apply::<S>(d).into_iter().enumerate() {
            if i < to.rows {
                to.put::<S>(line.wrapping_add(i * to.row), S::add(v, bias));
            }
        }
    }
}
