//! Casting: what each pixel of a view meets first.

use super::layout::{Camera, Point, Room, Shape, Surface, dot};
use super::material::{Colour, Face};

fn along(origin: Point, direction: Point, distance: f32) -> Point {
    [0, 1, 2].map(|axis| origin[axis] + direction[axis] * distance)
}

/// A view before the sensors.
pub(super) struct View {
    pub size: [usize; 2],
    pub classes: Vec<u8>,
    /// Lit colour, 0 to about 1.
    pub colours: Vec<Colour>,
    /// Distance along the optical axis, in metres.
    pub depth: Vec<f32>,
    /// Cosine between the ray and the surface's normal.
    pub facing: Vec<f32>,
}

/// Where a ray meets a surface.
pub(super) struct Hit {
    pub distance: f32,
    pub normal: Point,
    /// Place on the surface, 0 to 1, and its size in metres.
    pub place: [f32; 2],
    pub extent: [f32; 2],
}

impl View {
    pub fn cast(room: &Room, camera: &Camera, size: [usize; 2]) -> Self {
        let pixels = size[0] * size[1];
        let mut view = Self {
            size,
            classes: Vec::with_capacity(pixels),
            colours: Vec::with_capacity(pixels),
            depth: Vec::with_capacity(pixels),
            facing: Vec::with_capacity(pixels),
        };
        for y in 0..size[1] {
            for x in 0..size[0] {
                let direction = camera.ray([x as f32 + 0.5, y as f32 + 0.5], size);
                let (hit, class, face) = room.nearest(camera.at, direction);
                let point = along(camera.at, direction, hit.distance);
                let colour = face.at(hit.place, hit.extent, &room.materials);
                let light = room.light_at(point, hit.normal, matches!(face, Face::Window { .. }));
                view.classes.push(class);
                view.colours.push(colour.map(|value| value * light));
                view.depth.push(hit.distance * dot(direction, camera.forward));
                view.facing.push(dot(direction, hit.normal).abs());
            }
        }
        view
    }
}

impl Room {
    /// What a ray meets first: surely something, because the room is closed.
    fn nearest(&self, origin: Point, direction: Point) -> (Hit, u8, &Face) {
        let (mut hit, side) = self.inside(origin, direction);
        let surface = self.on_side(side, &mut hit);
        let (mut class, mut face) = (surface.class, &surface.face);
        for solid in &self.solids {
            if let Some(nearer) = solid.shape.meet(origin, direction).filter(|h| h.distance < hit.distance) {
                // Cupboards show their panels on upright sides alone.
                let upright = nearer.normal[1].abs() < 0.5;
                (hit, class, face) = (nearer, solid.class, if upright { &solid.front } else { &solid.face });
            }
        }
        (hit, class, face)
    }

    /// The side of the room that a ray from inside meets: -x, x, -z, z, floor, ceiling.
    fn inside(&self, origin: Point, direction: Point) -> (Hit, usize) {
        let mut best = (f32::MAX, 0, 1.0);
        for (axis, sides) in [(0, [0, 1]), (2, [2, 3]), (1, [4, 5])] {
            if direction[axis].abs() > 1e-6 {
                let ahead = direction[axis] > 0.0;
                let wall = if ahead { self.size[axis] } else { 0.0 };
                let distance = (wall - origin[axis]) / direction[axis];
                if distance < best.0 {
                    best = (distance, sides[usize::from(ahead)], if ahead { -1.0 } else { 1.0 });
                }
            }
        }
        let (distance, side, sign) = best;
        let axes = [[2, 1], [2, 1], [0, 1], [0, 1], [0, 2], [0, 2]][side];
        let mut normal = [0.0; 3];
        normal[[0, 0, 2, 2, 1, 1][side]] = sign;
        let point = along(origin, direction, distance);
        let extent = axes.map(|axis| self.size[axis]);
        let place = [0, 1].map(|k| point[axes[k]] / extent[k]);
        (Hit { distance, normal, place, extent }, side)
    }

    /// What hangs or lies there, or the side itself.
    fn on_side(&self, side: usize, hit: &mut Hit) -> &Surface {
        let metres = [0, 1].map(|k| hit.place[k] * hit.extent[k]);
        for (flat, [left, low, right, high]) in &self.flats[side] {
            let [u, v] = metres;
            if u >= *left && u <= *right && v >= *low && v <= *high {
                hit.extent = [right - left, high - low];
                hit.place = [(u - left) / hit.extent[0], (v - low) / hit.extent[1]];
                return flat;
            }
        }
        &self.sides[side]
    }

    /// Ambient light and a lamp under the ceiling, with its shadows; windows shine by themselves.
    fn light_at(&self, point: Point, normal: Point, shines: bool) -> f32 {
        if shines {
            return 1.0;
        }
        let to_lamp = [0, 1, 2].map(|axis| self.lamp[axis] - point[axis]);
        let distance = dot(to_lamp, to_lamp).sqrt().max(0.1);
        let direction = to_lamp.map(|value| value / distance);
        let facing = dot(direction, normal).max(0.0);
        let start = along(point, normal, 0.01);
        let shadowed = facing > 0.0
            && self
                .solids
                .iter()
                .any(|solid| solid.shape.meet(start, direction).is_some_and(|hit| hit.distance < distance));
        let lamp = if shadowed { 0.15 } else { 1.0 };
        self.ambient + (1.0 - self.ambient) * facing * lamp * (8.0 / (2.0 + distance * distance)).min(1.0)
    }
}

impl Shape {
    fn meet(&self, origin: Point, direction: Point) -> Option<Hit> {
        match self {
            Self::Block { centre, half, turn } => block(*centre, *half, *turn, origin, direction),
            Self::Tube { centre, radius, half } => tube(*centre, *radius, *half, origin, direction),
        }
    }
}

/// A box turned about the upright axis.
fn block(centre: Point, half: Point, [cos, sin]: [f32; 2], origin: Point, direction: Point) -> Option<Hit> {
    let local = |p: Point| [cos * p[0] + sin * p[2], p[1], cos * p[2] - sin * p[0]];
    let from = local([0, 1, 2].map(|axis| origin[axis] - centre[axis]));
    let towards = local(direction);
    let (mut near, mut far, mut side) = (f32::MIN, f32::MAX, 0);
    for axis in 0..3 {
        let step = 1.0 / if towards[axis].abs() < 1e-9 { 1e-9 } else { towards[axis] };
        let (a, b) = ((-half[axis] - from[axis]) * step, (half[axis] - from[axis]) * step);
        if a.min(b) > near {
            (near, side) = (a.min(b), axis);
        }
        far = far.min(a.max(b));
    }
    if near > far || near <= 1e-4 {
        return None;
    }
    let sign = -towards[side].signum();
    let normal = match side {
        0 => [cos * sign, 0.0, sin * sign],
        1 => [0.0, sign, 0.0],
        _ => [-sin * sign, 0.0, cos * sign],
    };
    let at = along(from, towards, near);
    let axes = [[2, 1], [0, 2], [0, 1]][side];
    let extent = axes.map(|axis| 2.0 * half[axis]);
    let place = [0, 1].map(|k| at[axes[k]] / extent[k] + 0.5);
    Some(Hit { distance: near, normal, place, extent })
}

/// An upright cylinder with its lids.
fn tube(centre: Point, radius: f32, half: f32, origin: Point, direction: Point) -> Option<Hit> {
    let from = [0, 1, 2].map(|axis| origin[axis] - centre[axis]);
    let (a, b) =
        (direction[0] * direction[0] + direction[2] * direction[2], from[0] * direction[0] + from[2] * direction[2]);
    let c = from[0] * from[0] + from[2] * from[2] - radius * radius;
    let root = b * b - a * c;
    if root < 0.0 {
        return None;
    }
    let round = std::f32::consts::TAU * radius;
    if a > 1e-9 {
        let distance = (-b - root.sqrt()) / a;
        let at = along(from, direction, distance);
        if distance > 1e-4 && at[1].abs() <= half {
            let turn = at[2].atan2(at[0]) / std::f32::consts::TAU + 0.5;
            return Some(Hit {
                distance,
                normal: [at[0] / radius, 0.0, at[2] / radius],
                place: [turn, at[1] / (2.0 * half) + 0.5],
                extent: [round, 2.0 * half],
            });
        }
    }
    let lid = half.copysign(-direction[1]);
    let distance = (lid - from[1]) / direction[1];
    let at = along(from, direction, distance);
    if !(distance > 1e-4 && at[0] * at[0] + at[2] * at[2] <= radius * radius) {
        return None;
    }
    let place = [at[0] / (2.0 * radius) + 0.5, at[2] / (2.0 * radius) + 0.5];
    Some(Hit { distance, normal: [0.0, 1f32.copysign(lid), 0.0], place, extent: [2.0 * radius; 2] })
}
