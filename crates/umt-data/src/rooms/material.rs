//! What surfaces look like: two colours in a pattern, and flat things that show more than one.

use umt_random::Rng;

/// Red, green and blue, 0 to 1.
pub(super) type Colour = [f32; 3];

/// Two colours and how they alternate; places on a surface are in metres.
#[derive(Clone, Debug)]
pub(super) struct Material {
    colours: [Colour; 2],
    pattern: Pattern,
    /// Length of the pattern in metres.
    scale: f32,
    /// Values of the grain, at random.
    grain: [f32; 64],
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Plain,
    Stripes,
    Checks,
    Wood,
    Dots,
}

impl Material {
    pub fn new(rng: &mut Rng) -> Self {
        let base = [0; 3].map(|_| rng.range(0.15, 0.95));
        let second = base.map(|value| (value * rng.range(0.55, 1.3)).clamp(0.05, 1.0));
        let pattern =
            [Pattern::Plain, Pattern::Stripes, Pattern::Checks, Pattern::Wood, Pattern::Dots][rng.below(5) as usize];
        Self { colours: [base, second], pattern, scale: rng.range(0.12, 0.45), grain: [0; 64].map(|_| rng.uniform()) }
    }

    pub fn at(&self, u: f32, v: f32) -> Colour {
        let (x, y) = (u / self.scale, v / self.scale);
        let odd = |value: f32| (value.floor() as i64).rem_euclid(2) == 1;
        let share = match self.pattern {
            Pattern::Plain => 0.0,
            Pattern::Stripes => f32::from(odd(x)),
            Pattern::Checks => f32::from(odd(x) != odd(y)),
            Pattern::Wood => self.noise(x * 3.0, y * 0.4),
            Pattern::Dots => {
                let (dx, dy) = (x.rem_euclid(1.0) - 0.5, y.rem_euclid(1.0) - 0.5);
                f32::from(dx * dx + dy * dy < 0.09)
            }
        };
        let bright = 0.92 + 0.16 * self.noise(x * 2.0, y * 2.0);
        [0, 1, 2].map(|c| (self.colours[0][c] + (self.colours[1][c] - self.colours[0][c]) * share) * bright)
    }

    /// Smooth values from the grain, 0 to 1.
    fn noise(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let corner = |dx: i64, dy: i64| {
            let (x, y) = (x0 as i64 + dx, y0 as i64 + dy);
            self.grain[(x.wrapping_mul(37) + y.wrapping_mul(101)).rem_euclid(64) as usize]
        };
        let (s, t) = (x - x0, y - y0);
        let (s, t) = (s * s * (3.0 - 2.0 * s), t * t * (3.0 - 2.0 * t));
        let upper = corner(0, 0) * (1.0 - s) + corner(1, 0) * s;
        let lower = corner(0, 1) * (1.0 - s) + corner(1, 1) * s;
        upper * (1.0 - t) + lower * t
    }
}

/// What a rectangle shows; places inside it from 0 to 1, upwards.
#[derive(Clone, Debug)]
pub(super) enum Face {
    /// One material.
    Plain(usize),
    /// Two panels with a gap and a knob: doors, and the fronts of cupboards.
    Panels(usize),
    /// Panes with bars before a sky.
    Window { sky: [Colour; 2], bars: Colour },
    /// A frame, a ground and rectangles `[left, low, right, high]` of materials: a drawing of furniture.
    Picture { frame: Colour, ground: usize, pieces: Vec<([f32; 4], usize)> },
}

impl Face {
    /// A picture of a table, a chair, a cupboard or a bed, in the room's own materials.
    pub fn picture(materials: usize, rng: &mut Rng) -> Self {
        let mut any = |n: usize| rng.below(n as u64) as usize;
        let (ground, first, second, kind) = (any(materials), any(materials), any(materials), any(4));
        let pieces: &[[f32; 4]] = match kind {
            0 => &[[0.15, 0.5, 0.85, 0.6], [0.2, 0.15, 0.27, 0.5], [0.73, 0.15, 0.8, 0.5]],
            1 => &[[0.3, 0.4, 0.7, 0.48], [0.3, 0.48, 0.38, 0.85], [0.32, 0.12, 0.38, 0.4], [0.62, 0.12, 0.68, 0.4]],
            2 => &[[0.25, 0.12, 0.75, 0.88]],
            _ => &[[0.1, 0.15, 0.9, 0.42], [0.1, 0.42, 0.2, 0.62], [0.2, 0.42, 0.42, 0.5]],
        };
        let pieces = pieces.iter().enumerate().map(|(k, piece)| (*piece, if k == 2 { second } else { first }));
        Self::Picture { frame: [rng.range(0.05, 0.9); 3], ground, pieces: pieces.collect() }
    }

    pub fn window(rng: &mut Rng) -> Self {
        let top = [rng.range(0.3, 0.6), rng.range(0.5, 0.8), rng.range(0.8, 1.0)];
        let low = [rng.range(0.2, 0.95); 3];
        Self::Window { sky: [low, top], bars: [rng.range(0.4, 1.0); 3] }
    }

    /// The colour at `(s, t)` of a rectangle of `size` metres.
    pub fn at(&self, [s, t]: [f32; 2], size: [f32; 2], materials: &[Material]) -> Colour {
        let of = |m: usize| materials[m].at(s * size[0], t * size[1]);
        match self {
            Self::Plain(material) => of(*material),
            Self::Panels(material) => {
                let gap = (t - 0.5).abs() < 0.02 || !(0.04..=0.96).contains(&s) || t > 0.97;
                let knob = (s - 0.88).abs() * size[0] < 0.04 && (t - 0.47).abs() * size[1] < 0.06;
                let colour = of(*material);
                if knob {
                    [0.75, 0.7, 0.5]
                } else if gap {
                    colour.map(|value| value * 0.55)
                } else {
                    colour
                }
            }
            Self::Window { sky, bars } => {
                let bar = (s - 0.5).abs() < 0.03 || (t - 0.5).abs() < 0.03;
                let edge = s.min(1.0 - s).min(t.min(1.0 - t)) < 0.06;
                if bar || edge { *bars } else { [0, 1, 2].map(|c| sky[0][c] + (sky[1][c] - sky[0][c]) * t) }
            }
            Self::Picture { frame, ground, pieces } => {
                if s.min(1.0 - s).min(t.min(1.0 - t)) < 0.05 {
                    return *frame;
                }
                let inside = |r: &[f32; 4]| s >= r[0] && t >= r[1] && s <= r[2] && t <= r[3];
                let shown = pieces.iter().find(|(piece, _)| inside(piece)).map_or(*ground, |(_, material)| *material);
                of(shown)
            }
        }
    }
}
