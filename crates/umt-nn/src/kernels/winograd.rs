//! Tiles of F(4x4, 3x3), and of F(4, 3) along one axis: windows are read, transformed and written, one point after the other.
//!
//! # Safety
//! Callers of the unsafe functions owe two things: each pointer is valid for all elements that its sizes and steps
//! reach, and the processor has the instructions of `S`, which `dispatch` sees to.
use super::simd::{LANES, Simd};
use super::winograd_axis::{
    Axis, DoublingInput, DoublingOutput, GradOutput, GradWeight, HalvingGradOutput, HalvingGradWeight, HalvingInput,
    HalvingOutput, HalvingWeight, Input, Output, Weight,
};

/// Most points with weights of their own.
pub const MOST_WEIGHTS: usize = 36;

/// One way to filter a tile.
pub trait Form: Copy + Send + Sync + 'static {
    /// Products of a tile.
    const POINTS: usize;
    /// Points with weights of their own, and elements of a filter.
    const WEIGHTS: usize;
    const TAPS: usize;
    /// Rows and columns of the window that is read, and how far windows are apart.
    const WINDOW: [usize; 2];
    const STEP: [usize; 2];
    /// Rows and columns of the outputs.
    const SIDE: [usize; 2];
    /// Which of the [`Form::WEIGHTS`] point `i` is multiplied by.
    fn weights(i: usize) -> usize;
    /// Transforms a window; point i goes to `out + i * step`.
    unsafe fn input<S: Simd>(p: &Patch, out: *mut f32, step: usize);
    /// Transforms products back; point i is read at `m + i * step`.
    unsafe fn output<S: Simd>(m: *const f32, step: usize, bias: S::V, to: &OutputTile);
    /// Transforms sixteen filters; element i is read at `g + i * step_g`, point i goes to `out + i * step`.
    unsafe fn weight<S: Simd>(g: *const f32, step_g: usize, lanes: usize, out: *mut f32, step: usize);
}

/// A form whose gradient to the weights is taken.
pub trait Trained: Form {
    /// Tiles whose transforms are held at once when there are many channels.
    const PHASE: usize;
    /// Transforms a 4 by 4 window of the gradient of the output.
    unsafe fn grad_output<S: Simd>(p: &Patch, out: *mut f32, step: usize);
    /// Transforms the gradient of the transformed weights back; point i is read at `u + i * step`, element i is written (or added) at
    /// `out + i * step_g`.
    unsafe fn grad_weight<S: Simd>(u: *const f32, step: usize, lanes: usize, out: *mut f32, step_g: usize, add: bool);
}

/// Stride 1: forward, and with turned weights the gradient to the input.
#[derive(Clone, Copy)]
pub struct Same;
/// Stride 2, forward.
#[derive(Clone, Copy)]
pub struct Halving;
/// Gradient to the input of stride 2 and padding 1, with turned weights.
#[derive(Clone, Copy)]
pub struct Doubling;

/// Nine points along an axis share six weights.
fn nine(i: usize) -> usize {
    (i / 9).min(5) * 6 + (i % 9).min(5)
}

macro_rules! form {
    ($form:ident, $points:literal, $window:literal, $step:literal, $side:literal, $weights:expr, $input:ident, $output:ident, $weight:ident) => {
        impl Form for $form {
            const POINTS: usize = $points * $points;
            const WEIGHTS: usize = 36;
            const TAPS: usize = 9;
            const WINDOW: [usize; 2] = [$window; 2];
            const STEP: [usize; 2] = [$step; 2];
            const SIDE: [usize; 2] = [$side; 2];
            fn weights(i: usize) -> usize {
                $weights(i)
            }
            #[inline(always)]
            unsafe fn input<S: Simd>(p: &Patch, out: *mut f32, step: usize) {
                spread::<S, $input, $window, $points>(p, out, step)
            }
            #[inline(always)]
            unsafe fn output<S: Simd>(m: *const f32, step: usize, bias: S::V, to: &OutputTile) {
                gather::<S, $output, $points, $side>(m, step, bias, to)
            }
            #[inline(always)]
            unsafe fn weight<S: Simd>(g: *const f32, step_g: usize, lanes: usize, out: *mut f32, step: usize) {
                weight::<S, $weight>(g, step_g, lanes, out, step)
            }
        }
    };
}
form!(Same, 6, 6, 4, 4, std::convert::identity, Input, Output, Weight);
form!(Halving, 9, 9, 8, 4, nine, HalvingInput, HalvingOutput, HalvingWeight);
form!(Doubling, 9, 5, 4, 8, nine, DoublingInput, DoublingOutput, HalvingWeight);

macro_rules! trained {
    ($form:ident, $points:literal, $output:ident, $weight:ident) => {
        impl Trained for $form {
            const PHASE: usize = 384;
            #[inline(always)]
            unsafe fn grad_output<S: Simd>(p: &Patch, out: *mut f32, step: usize) {
                spread::<S, $output, 4, $points>(p, out, step)
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
                grad_weight::<S, $weight>(u, step, lanes, out, step_g, add)
            }
        }
    };
}
trained!(Same, 6, GradOutput, GradWeight);
trained!(Halving, 9, HalvingGradOutput, HalvingGradWeight);

#[repr(align(64))]
struct Line([f32; LANES]);
static ZEROS: Line = Line([0.0; LANES]);

/// A window of pixels: which of its rows and columns exist, and where they lie.
#[derive(Clone, Copy)]
pub struct Patch {
    /// Where row 0 and column 0 would lie.
    pub at: *const f32,
    /// Floats from row to row and from column to column.
    pub row: usize,
    pub column: usize,
    /// Existing rows and columns.
    pub rows: [usize; 2],
    pub columns: [usize; 2],
    /// Lanes that exist.
    pub lanes: usize,
}

impl Patch {
    /// The same window of `c` channels from channel `first`.
    #[inline(always)]
    pub fn channels(self, first: usize, c: usize) -> Patch {
        Patch { at: self.at.wrapping_add(first), lanes: (c - first).min(LANES), ..self }
    }

    #[inline(always)]
    pub unsafe fn load<S: Simd, const N: usize>(&self, column: usize, whole: bool) -> [S::V; N] {
        let mut d = [S::splat(0.0); N];
        for i in 0..N {
            let p = self.at.wrapping_add(i * self.row + column * self.column);
            if whole {
                d[i] = S::load(p);
            } else if self.lanes == LANES {
                // A choice of pointers, not a branch: borders are frequent in small images.
                let inside = i >= self.rows[0] && i < self.rows[1];
                d[i] = S::load(if inside { p } else { ZEROS.0.as_ptr() });
            } else if i >= self.rows[0] && i < self.rows[1] {
                d[i] = S::load_part(p, self.lanes);
            }
        }
        d
    }

    /// Whether all of a window of `rows` by `columns` exists.
    #[inline(always)]
    pub fn whole(&self, rows: usize, columns: usize) -> bool {
        self.rows == [0, rows] && self.columns == [0, columns] && self.lanes == LANES
    }
}

/// `F d Fᵀ` of a window; point i goes to `out + i * step`.
#[inline(always)]
unsafe fn spread<S: Simd, F: Axis<I, O>, const I: usize, const O: usize>(p: &Patch, out: *mut f32, step: usize) {
    let mut t = [[S::splat(0.0); I]; O];
    if p.whole(I, I) {
        for j in 0..I {
            let v = F::apply::<S>(p.load::<S, I>(j, true));
            for i in 0..O {
                t[i][j] = v[i];
            }
        }
    } else {
        for j in p.columns[0]..p.columns[1] {
            let v = F::apply::<S>(p.load::<S, I>(j, false));
            for i in 0..O {
                t[i][j] = v[i];
            }
        }
    }
    for i in 0..O {
        let v = F::apply::<S>(t[i]);
        for j in 0..O {
            S::store(out.add((O * i + j) * step), v[j]);
        }
    }
}

/// Where the outputs of a tile go.
#[derive(Clone, Copy)]
pub struct OutputTile {
    pub at: *mut f32,
    /// Floats from row to row and from column to column.
    pub row: usize,
    pub column: usize,
    /// Rows, columns and lanes that exist.
    pub rows: usize,
    pub columns: usize,
    pub lanes: usize,
    /// Past the caches, with aligned whole vectors.
    pub stream: bool,
    /// Whether negative outputs become 0.
    pub relu: bool,
}

impl OutputTile {
    /// The same outputs of `c` channels from channel `first`.
    #[inline(always)]
    pub fn channels(self, first: usize, c: usize) -> OutputTile {
        OutputTile { at: self.at.wrapping_add(first), lanes: (c - first).min(LANES), ..self }
    }

    /// Writes an output to `p`.
    #[inline(always)]
    pub unsafe fn put<S: Simd>(&self, p: *mut f32, v: S::V) {
        let v = if self.relu { S::relu(v) } else { v };
        if self.stream {
            S::stream(p, v);
        } else if self.lanes >= LANES {
            S::store(p, v);
        } else {
            S::store_part(p, v, self.lanes);
        }
    }
}

/// `F m Fᵀ (+ bias)`; point i is read at `m + i * step`.
#[inline(always)]
unsafe fn gather<S: Simd, F: Axis<I, O>, const I: usize, const O: usize>(
    m: *const f32,
    step: usize,
    bias: S::V,
    to: &OutputTile,
) {
    let mut t = [[S::splat(0.0); I]; O];
    for j in 0..I {
        let mut d = [S::splat(0.0); I];
        for i in 0..I {
            d[i] = S::load(m.add((I * i + j) * step));
        }
        let v = F::apply::<S>(d);
        for i in 0..O {
            t[i][j] = v[i];
        }
    }
    for i in 0..O {
        if i >= to.rows {
            break;
        }
        let v = F::apply::<S>(t[i]);
        let line = to.at.wrapping_add(i * to.row);
        for j in 0..O {
            if j < to.columns {
                to.put::<S>(line.wrapping_add(j * to.column), S::add(v[j], bias));
            }
        }
    }
}

/// `G g Gᵀ` of sixteen filters, see [`Form::weight`].
#[inline(always)]
unsafe fn weight<S: Simd, F: Axis<3, 6>>(g: *const f32, step_g: usize, lanes: usize, out: *mut f32, step: usize) {
    let mut t = [[S::splat(0.0); 3]; 6];
    for j in 0..3 {
        let mut d = [S::splat(0.0); 3];
        for i in 0..3 {
            d[i] = S::load_part(g.add((3 * i + j) * step_g), lanes);
        }
        let v = F::apply::<S>(d);
        for i in 0..6 {
            t[i][j] = v[i];
        }
    }
    for i in 0..6 {
        let v = F::apply::<S>(t[i]);
        for j in 0..6 {
            S::store(out.add((6 * i + j) * step), v[j]);
        }
    }
}

/// `Gᵀ dU G`, see [`Trained::grad_weight`].
#[inline(always)]
unsafe fn grad_weight<S: Simd, F: Axis<6, 3>>(
    u: *const f32,
    step: usize,
    lanes: usize,
    out: *mut f32,
    step_g: usize,
    add: bool,
) {
    let mut t = [[S::splat(0.0); 6]; 3];
    for j in 0..6 {
        let mut d = [S::splat(0.0); 6];
        for i in 0..6 {
            d[i] = S::load(u.add((6 * i + j) * step));
        }
        let v = F::apply::<S>(d);
        for i in 0..3 {
            t[i][j] = v[i];
        }
    }
    for i in 0..3 {
        let v = F::apply::<S>(t[i]);
        for j in 0..3 {
            let p = out.add((3 * i + j) * step_g);
            let v = if add { S::add(v[j], S::load_part(p, lanes)) } else { v[j] };
            S::store_part(p, v, lanes);
        }
    }
}
