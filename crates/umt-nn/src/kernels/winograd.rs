//! The transforms of F(4x4, 3x3): 36 multiplications for 16 outputs where the direct convolution needs 144 (Winograd 1980; Lavin and Gray 2016).
//!
//! With finite points p (0, ±√½, ±√2) and infinity, M(x) = Π(x - p) = x⁵ - 2.5 x³ + x:
//! inputs are multiplied by the coefficients of M(x) / (x - p), weights by powers of p over M'(p), outputs by powers of p. These points keep the
//! error near that of the direct convolution; 0, ±1, ±2 lose three to four times as much (compare Barabasz et al. 2020 on the choice of points).
use super::simd::{LANES, Simd};

/// Multiplications of a tile.
pub const POINTS: usize = 36;
/// Outputs of a tile in each direction.
pub const SIDE: usize = 4;
/// √½ and √2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// Input of one axis: six values to six points.
#[inline(always)]
unsafe fn input6<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    let c = |x: f32| S::splat(x);
    let even_a = S::fma(c(-2.0), d[2], d[4]);
    let odd_a = S::fma(c(-2.0), d[1], d[3]);
    let even_b = S::fma(c(-0.5), d[2], d[4]);
    let odd_b = S::fma(c(-0.5), d[1], d[3]);
    [
        S::fma(c(-2.5), d[2], S::add(d[0], d[4])),
        S::fma(c(A), odd_a, even_a),
        S::fma(c(-A), odd_a, even_a),
        S::fma(c(B), odd_b, even_b),
        S::fma(c(-B), odd_b, even_b),
        S::fma(c(-2.5), d[3], S::add(d[1], d[5])),
    ]
}

/// Outputs of one axis: six products to four values.
#[inline(always)]
unsafe fn output4<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    let c = |x: f32| S::splat(x);
    let (sum_a, diff_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    let (sum_b, diff_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
    [
        S::add(S::add(m[0], sum_a), sum_b),
        S::fma(c(B), diff_b, S::mul(c(A), diff_a)),
        S::fma(c(2.0), sum_b, S::mul(c(0.5), sum_a)),
        S::fma(c(2.0 * B), diff_b, S::fma(c(0.5 * A), diff_a, m[5])),
    ]
}

/// Gradient of the outputs of one axis: four values to six points, the transpose of [`output4`].
#[inline(always)]
unsafe fn grad6<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    let c = |x: f32| S::splat(x);
    let even_a = S::fma(c(0.5), y[2], y[0]);
    let odd_a = S::fma(c(0.5), y[3], y[1]);
    let even_b = S::fma(c(2.0), y[2], y[0]);
    let odd_b = S::fma(c(2.0), y[3], y[1]);
    [
        y[0],
        S::fma(c(A), odd_a, even_a),
        S::fma(c(-A), odd_a, even_a),
        S::fma(c(B), odd_b, even_b),
        S::fma(c(-B), odd_b, even_b),
        y[3],
    ]
}

/// Weights of one axis: three to six points; M'(0) = 1, M'(±√½) = -3/2, M'(±√2) = 6.
#[inline(always)]
unsafe fn weight6<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
    let c = |x: f32| S::splat(x);
    let even_a = S::mul(c(-2.0 / 3.0), S::fma(c(0.5), g[2], g[0]));
    let odd_a = S::mul(c(-2.0 / 3.0 * A), g[1]);
    let even_b = S::mul(c(1.0 / 6.0), S::fma(c(2.0), g[2], g[0]));
    let odd_b = S::mul(c(B / 6.0), g[1]);
    [g[0], S::add(even_a, odd_a), S::sub(even_a, odd_a), S::add(even_b, odd_b), S::sub(even_b, odd_b), g[2]]
}

/// Gradient of the weights of one axis: six points to three, the transpose of [`weight6`].
#[inline(always)]
unsafe fn grad3<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
    let c = |x: f32| S::splat(x);
    let (sum_a, diff_a) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
    let (sum_b, diff_b) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
    [
        S::fma(c(1.0 / 6.0), sum_b, S::fma(c(-2.0 / 3.0), sum_a, u[0])),
        S::fma(c(B / 6.0), diff_b, S::mul(c(-2.0 / 3.0 * A), diff_a)),
        S::fma(c(1.0 / 3.0), sum_b, S::fma(c(-1.0 / 3.0), sum_a, u[5])),
    ]
}

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
    #[inline(always)]
    unsafe fn load<S: Simd, const N: usize>(&self, column: usize, whole: bool) -> [S::V; N] {
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

    /// Whether all of an `n` by `n` window exists.
    #[inline(always)]
    fn whole(&self, n: usize) -> bool {
        self.rows == [0, n] && self.columns == [0, n] && self.lanes == LANES
    }
}

/// `V = Bᵀ d B` of a 6 by 6 window; point i goes to `out + i * step`.
#[inline(always)]
pub unsafe fn input<S: Simd>(p: &Patch, out: *mut f32, step: usize) {
    let mut t = [[S::splat(0.0); 6]; 6];
    if p.whole(6) {
        for j in 0..6 {
            let v = input6::<S>(p.load::<S, 6>(j, true));
            for i in 0..6 {
                t[i][j] = v[i];
            }
        }
    } else {
        for j in 0..6 {
            if j < p.columns[0] || j >= p.columns[1] {
                continue;
            }
            let v = input6::<S>(p.load::<S, 6>(j, false));
            for i in 0..6 {
                t[i][j] = v[i];
            }
        }
    }
    for i in 0..6 {
        let v = input6::<S>(t[i]);
        for j in 0..6 {
            S::store(out.add((6 * i + j) * step), v[j]);
        }
    }
}

/// `Z = A dy Aᵀ` of a 4 by 4 window; point i goes to `out + i * step`.
#[inline(always)]
pub unsafe fn grad_output<S: Simd>(p: &Patch, out: *mut f32, step: usize) {
    let mut t = [[S::splat(0.0); 4]; 6];
    let whole = p.whole(4);
    for j in 0..4 {
        if j < p.columns[0] || j >= p.columns[1] {
            continue;
        }
        let v = grad6::<S>(if whole { p.load::<S, 4>(j, true) } else { p.load::<S, 4>(j, false) });
        for i in 0..6 {
            t[i][j] = v[i];
        }
    }
    for i in 0..6 {
        let v = grad6::<S>(t[i]);
        for j in 0..6 {
            S::store(out.add((6 * i + j) * step), v[j]);
        }
    }
}

/// Where the outputs of a tile go.
#[derive(Clone, Copy)]
pub struct Place {
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
}

/// `Y = Aᵀ M A (+ bias)`; point i is read at `m + i * step`.
#[inline(always)]
pub unsafe fn output<S: Simd>(m: *const f32, step: usize, bias: S::V, to: &Place) {
    let mut t = [[S::splat(0.0); 6]; 4];
    for j in 0..6 {
        let mut d = [S::splat(0.0); 6];
        for i in 0..6 {
            d[i] = S::load(m.add((6 * i + j) * step));
        }
        let v = output4::<S>(d);
        for i in 0..4 {
            t[i][j] = v[i];
        }
    }
    for i in 0..4 {
        if i >= to.rows {
            break;
        }
        let v = output4::<S>(t[i]);
        let line = to.at.add(i * to.row);
        for j in 0..4 {
            if j < to.columns {
                let (p, v) = (line.add(j * to.column), S::add(v[j], bias));
                if to.stream {
                    S::stream(p, v);
                } else if to.lanes >= LANES {
                    S::store(p, v);
                } else {
                    S::store_part(p, v, to.lanes);
                }
            }
        }
    }
}

/// `U = G g Gᵀ` of sixteen 3 by 3 filters; element i is read at `g + i * step_g`, point i goes to `out + i * step`.
#[inline(always)]
pub unsafe fn weight<S: Simd>(g: *const f32, step_g: usize, lanes: usize, out: *mut f32, step: usize) {
    let mut t = [[S::splat(0.0); 3]; 6];
    for j in 0..3 {
        let mut d = [S::splat(0.0); 3];
        for i in 0..3 {
            d[i] = S::load_part(g.add((3 * i + j) * step_g), lanes);
        }
        let v = weight6::<S>(d);
        for i in 0..6 {
            t[i][j] = v[i];
        }
    }
    for i in 0..6 {
        let v = weight6::<S>(t[i]);
        for j in 0..6 {
            S::store(out.add((6 * i + j) * step), v[j]);
        }
    }
}

/// `dg = Gᵀ dU G`; point i is read at `u + i * step`, element i is written (or added) at `out + i * step_g`.
#[inline(always)]
pub unsafe fn grad_weight<S: Simd>(u: *const f32, step: usize, lanes: usize, out: *mut f32, step_g: usize, add: bool) {
    let mut t = [[S::splat(0.0); 6]; 3];
    for j in 0..6 {
        let mut d = [S::splat(0.0); 6];
        for i in 0..6 {
            d[i] = S::load(u.add((6 * i + j) * step));
        }
        let v = grad3::<S>(d);
        for i in 0..3 {
            t[i][j] = v[i];
        }
    }
    for i in 0..3 {
        let v = grad3::<S>(t[i]);
        for j in 0..3 {
            let p = out.add((3 * i + j) * step_g);
            let v = if add { S::add(v[j], S::load_part(p, lanes)) } else { v[j] };
            S::store_part(p, v, lanes);
        }
    }
}

/// The tiles of a batch of images.
#[derive(Clone, Copy)]
pub struct Tiles {
    pub images: usize,
    /// Outputs.
    pub h: usize,
    pub w: usize,
    /// Tiles down and across.
    pub down: usize,
    pub across: usize,
}

impl Tiles {
    pub fn new(images: usize, h: usize, w: usize) -> Tiles {
        Tiles { images, h, w, down: h.div_ceil(SIDE), across: w.div_ceil(SIDE) }
    }
    pub fn count(&self) -> usize {
        self.images * self.down * self.across
    }
    /// Image and first output row and column of tile `t`.
    #[inline(always)]
    pub fn at(&self, t: usize) -> (usize, usize, usize) {
        let (line, x) = (t / self.across, t % self.across);
        (line / self.down, line % self.down * SIDE, x * SIDE)
    }
    /// The input window of tile `t` of images `x` of `h` by `w` pixels of `c` channels with padding, from channel `first`.
    #[inline(always)]
    pub fn window(&self, t: usize, x: *const f32, h: usize, w: usize, c: usize, pad: [usize; 2], first: usize) -> Patch {
        let (image, i, j) = self.at(t);
        let range = |at: usize, pad: usize, len: usize| [pad.saturating_sub(at).min(6), (len + pad).saturating_sub(at).min(6)];
        let row = (image * h + i).wrapping_sub(pad[0]);
        let at = x.wrapping_add(row.wrapping_mul(w).wrapping_add(j).wrapping_sub(pad[1]).wrapping_mul(c).wrapping_add(first));
        Patch { at, row: w * c, column: c, rows: range(i, pad[0], h), columns: range(j, pad[1], w), lanes: (c - first).min(LANES) }
    }
    /// Asks for the pixels of images `x` of `w` by `h` pixels of `c` channels that tile `t` is the first to read.
    #[inline(always)]
    pub unsafe fn prefetch<S: Simd>(&self, t: usize, x: *const f32, h: usize, w: usize, c: usize) {
        let (image, i, j) = self.at(t);
        if image >= self.images {
            return;
        }
        let at = x.wrapping_add(((image * h + i) * w + j) * c);
        for row in 0..SIDE {
            for line in (0..SIDE * c).step_by(LANES) {
                S::prefetch(at.wrapping_add(row * w * c + line));
            }
        }
    }
    /// The output window of tile `t` of images of `c` channels, from channel `first`, for reading.
    #[inline(always)]
    pub fn outputs(&self, t: usize, y: *const f32, c: usize, first: usize) -> Patch {
        let (image, i, j) = self.at(t);
        let at = y.wrapping_add(((image * self.h + i) * self.w + j) * c + first);
        let (rows, columns) = ([0, SIDE.min(self.h - i)], [0, SIDE.min(self.w - j)]);
        Patch { at, row: self.w * c, column: c, rows, columns, lanes: (c - first).min(LANES) }
    }
}
