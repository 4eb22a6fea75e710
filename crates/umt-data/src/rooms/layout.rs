//! What a room holds, and where one stands in it. Lengths in metres; x to the right, y upwards.

use super::{
    SyntheticRoomsConfig,
    material::{Face, Material},
};
use umt_random::Rng;

pub(super) type Point = [f32; 3];

pub(super) fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

const WALL: u8 = 0;
const FLOOR: u8 = 1;
const CEILING: u8 = 2;
const WINDOW: u8 = 3;
const PICTURE: u8 = 4;
const DOOR: u8 = 5;
const RUG: u8 = 6;
const BED: u8 = 7;
const TABLE: u8 = 8;
const CHAIR: u8 = 9;
const CABINET: u8 = 10;
const BIN: u8 = 11;

/// A closed room.
pub(super) struct Room {
    /// Along x, y and z; one corner is the origin.
    pub size: Point,
    pub materials: Vec<Material>,
    /// The sides: -x, x, -z, z, floor, ceiling.
    pub sides: [Surface; 6],
    /// What lies flat on each side, and where: left, low, right, high.
    pub flats: [Vec<(Surface, [f32; 4])>; 6],
    pub solids: Vec<Solid>,
    pub lamp: Point,
    pub ambient: f32,
    /// Where furniture stands: centre on the floor and radius.
    taken: Vec<([f32; 2], f32)>,
}

pub(super) struct Surface {
    pub class: u8,
    pub face: Face,
}

pub(super) struct Solid {
    pub class: u8,
    pub shape: Shape,
    /// What its upright sides show.
    pub front: Face,
    /// What its other sides show.
    pub face: Face,
}

pub(super) enum Shape {
    /// Half lengths, and cosine and sine of its turn about the upright axis.
    Block { centre: Point, half: Point, turn: [f32; 2] },
    /// An upright cylinder.
    Tube { centre: Point, radius: f32, half: f32 },
}

/// Where one stands, and where one looks.
pub(super) struct Camera {
    pub at: Point,
    pub forward: Point,
    right: Point,
    up: Point,
}

/// Tangent of half the horizontal field of view, a Kinect's 57 degrees.
const HALF_WIDTH: f32 = 0.543;

impl Camera {
    /// The direction of the ray through a place of the picture, of length 1.
    pub fn ray(&self, [x, y]: [f32; 2], [width, height]: [usize; 2]) -> Point {
        let (width, height) = (width as f32, height as f32);
        let (s, t) = ((2.0 * x / width - 1.0) * HALF_WIDTH, (1.0 - 2.0 * y / height) * HALF_WIDTH * height / width);
        let ray = [0, 1, 2].map(|axis| self.forward[axis] + s * self.right[axis] + t * self.up[axis]);
        let length = dot(ray, ray).sqrt();
        ray.map(|value| value / length)
    }
}

impl Room {
    pub fn new(config: &SyntheticRoomsConfig, rng: &mut Rng) -> Self {
        let size = [rng.range(3.2, 6.0), rng.range(2.3, 3.0), rng.range(3.2, 6.5)];
        let materials: Vec<Material> = (0..config.materials).map(|_| Material::new(rng)).collect();
        let mut any = || Face::Plain(rng.below(config.materials as u64) as usize);
        let wall = any();
        let sides = [WALL, WALL, WALL, WALL, FLOOR, CEILING]
            .map(|class| Surface { class, face: if class == WALL { wall.clone() } else { any() } });
        let mut room = Self {
            size,
            materials,
            sides,
            flats: Default::default(),
            solids: Vec::new(),
            lamp: [size[0] * rng.range(0.3, 0.7), size[1] - 0.15, size[2] * rng.range(0.3, 0.7)],
            ambient: rng.range(0.25, 0.5),
            taken: Vec::new(),
        };
        (0..4).for_each(|side| room.hang(side, rng));
        room.lay_rugs(rng);
        let [fewest, most] = config.furniture;
        for _ in 0..fewest as u64 + rng.below((most - fewest) as u64 + 1) {
            room.furnish(rng);
        }
        room
    }

    fn material(&self, rng: &mut Rng) -> usize {
        rng.below(self.materials.len() as u64) as usize
    }

    /// Doors, windows and pictures from left to right along a wall.
    fn hang(&mut self, side: usize, rng: &mut Rng) {
        let length = if side < 2 { self.size[2] } else { self.size[0] };
        let mut left = rng.range(0.2, 0.9);
        while left < length - 0.7 {
            let (class, width, low, high) = match rng.below(4) {
                0 => (DOOR, rng.range(0.75, 1.0), 0.0, rng.range(1.9, 2.1)),
                1 => (WINDOW, rng.range(0.7, 1.5), rng.range(0.8, 1.1), rng.range(1.7, 2.1)),
                _ => {
                    let low = rng.range(0.5, 1.3);
                    (PICTURE, rng.range(0.5, 1.2), low, low + rng.range(0.5, 1.0))
                }
            };
            let right = left + width;
            if right > length - 0.1 {
                break;
            }
            let face = match class {
                DOOR => Face::Panels(self.material(rng)),
                WINDOW => Face::window(rng),
                _ => Face::picture(self.materials.len(), rng),
            };
            self.flats[side].push((Surface { class, face }, [left, low, right, high.min(self.size[1] - 0.1)]));
            left = right + rng.range(0.2, 1.2);
        }
    }

    fn lay_rugs(&mut self, rng: &mut Rng) {
        for _ in 0..1 + rng.below(2) {
            let (width, depth) = (rng.range(1.0, 2.2), rng.range(0.8, 1.8));
            let left = rng.range(0.1, self.size[0] - width - 0.1);
            let low = rng.range(0.1, self.size[2] - depth - 0.1);
            let face = Face::Plain(self.material(rng));
            self.flats[4].push((Surface { class: RUG, face }, [left, low, left + width, low + depth]));
        }
    }

    /// One piece of furniture where there is place; none after some tries.
    fn furnish(&mut self, rng: &mut Rng) {
        let class = [BED, TABLE, TABLE, CHAIR, CHAIR, CABINET, CABINET, BIN][rng.below(8) as usize];
        let half = match class {
            BED => [rng.range(0.45, 0.8), rng.range(0.2, 0.3), rng.range(0.9, 1.0)],
            TABLE => [rng.range(0.4, 0.8), rng.range(0.33, 0.4), rng.range(0.3, 0.5)],
            CHAIR => [rng.range(0.2, 0.26), rng.range(0.4, 0.5), rng.range(0.2, 0.26)],
            CABINET => [rng.range(0.35, 0.7), rng.range(0.4, 1.05), rng.range(0.2, 0.35)],
            _ => [rng.range(0.13, 0.22), rng.range(0.15, 0.35), 0.0],
        };
        let against_wall = matches!(class, BED | CABINET);
        for _ in 0..12 {
            let quarter = rng.below(4) as usize;
            let turn = match class {
                CHAIR | TABLE => rng.range(0.0, std::f32::consts::TAU),
                _ => quarter as f32 * std::f32::consts::FRAC_PI_2,
            };
            // Extent along x and z; a turned piece may need the diagonal.
            let reach = match class {
                BED | CABINET if quarter % 2 == 1 => [half[2], half[0]],
                BED | CABINET => [half[0], half[2]],
                BIN => [half[0]; 2],
                _ => [half[0].hypot(half[2]); 2],
            };
            let free = |axis: usize, rng: &mut Rng, reach: f32| {
                let length = self.size[[0, 2][axis]];
                rng.range(reach + 0.02, length - reach - 0.02)
            };
            let mut place = [free(0, rng, reach[0]), free(1, rng, reach[1])];
            if against_wall {
                let axis = usize::from(quarter.is_multiple_of(2));
                let length = self.size[[0, 2][axis]];
                place[axis] = if quarter < 2 { reach[axis] + 0.01 } else { length - reach[axis] - 0.01 };
            }
            let radius = reach[0].hypot(reach[1]) * 0.85;
            let clear = |(other, r): &([f32; 2], f32)| (place[0] - other[0]).hypot(place[1] - other[1]) > radius + r;
            if self.taken.iter().all(clear) {
                self.taken.push((place, radius));
                self.build(class, place, half, turn.sin_cos(), rng);
                return;
            }
        }
    }

    fn build(&mut self, class: u8, place: [f32; 2], half: Point, (sin, cos): (f32, f32), rng: &mut Rng) {
        let (first, second) = (self.material(rng), self.material(rng));
        // A part given by its centre and half lengths in the piece's own axes; y from the floor.
        let mut part = |at: Point, half: Point, material: usize, panels: bool| {
            let centre = [place[0] + cos * at[0] - sin * at[2], at[1], place[1] + sin * at[0] + cos * at[2]];
            let face = Face::Plain(material);
            let front = if panels { Face::Panels(material) } else { face.clone() };
            self.solids.push(Solid { class, shape: Shape::Block { centre, half, turn: [cos, sin] }, front, face });
        };
        let [x, y, z] = half;
        match class {
            BED => {
                part([0.0, y, 0.0], half, first, false);
                part([0.0, y + 0.2, 0.05 - z], [x, y + 0.2, 0.04], second, false);
                part([0.0, 2.0 * y + 0.05, 0.3 - z], [x * 0.7, 0.06, 0.18], second, false);
            }
            TABLE => {
                part([0.0, 2.0 * y, 0.0], [x, 0.03, z], first, false);
                for (dx, dz) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
                    part([dx * (x - 0.06), y, dz * (z - 0.06)], [0.035, y, 0.035], second, false);
                }
            }
            CHAIR => {
                part([0.0, y, 0.0], [x, 0.03, z], first, false);
                part([0.0, 1.5 * y, 0.03 - z], [x, 0.5 * y, 0.025], first, false);
                for (dx, dz) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
                    part([dx * (x - 0.03), 0.5 * y, dz * (z - 0.03)], [0.02, 0.5 * y, 0.02], second, false);
                }
            }
            CABINET => part([0.0, y, 0.0], half, first, true),
            _ => {
                let shape = Shape::Tube { centre: [place[0], y, place[1]], radius: x, half: y };
                let face = Face::Plain(first);
                self.solids.push(Solid { class, shape, front: face.clone(), face });
            }
        }
    }

    /// Somewhere near a wall and outside the furniture, looking across the room.
    pub fn camera(&self, rng: &mut Rng) -> Camera {
        let mut at = [0.3, 0.0, 0.3];
        for _ in 0..30 {
            let place = [rng.range(0.2, self.size[0] - 0.2), rng.range(0.2, self.size[2] - 0.2)];
            let far = (place[0] - self.size[0] / 2.0).hypot(place[1] - self.size[2] / 2.0);
            let clear = |(other, r): &([f32; 2], f32)| (place[0] - other[0]).hypot(place[1] - other[1]) > r + 0.25;
            if far > 0.3 * self.size[0].min(self.size[2]) && self.taken.iter().all(clear) {
                at = [place[0], 0.0, place[1]];
                break;
            }
        }
        at[1] = rng.range(1.1, 1.7);
        let target = [self.size[0] * rng.range(0.3, 0.7), self.size[2] * rng.range(0.3, 0.7)];
        let yaw = (target[0] - at[0]).atan2(target[1] - at[2]) + rng.range(-0.35, 0.35);
        let pitch = rng.range(-0.45, 0.05);
        let ((sy, cy), (sp, cp)) = (yaw.sin_cos(), pitch.sin_cos());
        Camera { at, forward: [sy * cp, sp, cy * cp], right: [cy, 0.0, -sy], up: [-sy * sp, cp, -cy * sp] }
    }
}
