//! The embedded rooms: indoor scenes cast by code to colour, depth and classes.
//!
//! Neither side suffices. Colour: all surfaces of a room share a few materials, cupboards look like
//! doors, pictures show furniture made of the room's own materials, and some rooms are nearly dark.
//! Depth: doors, windows, pictures and rugs lie flat on what is behind them, and the sensor's noise,
//! steps and holes grow with the distance. How clear either side is, is drawn for each view, so that
//! a joint network can fit a view by its clear side. All of it is a function of the design.

mod layout;
mod material;
mod sensor;
mod solids;

use crate::{
    DataError, Dataset, DenseForm, DepthPixels, MapPixels, RgbPixels, Split,
    dataset::Lists,
    samples::{NewSample, NewSource, Samples},
};
use layout::Room;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use umt_depth::DepthCode;
use umt_media::Modality;
use umt_random::stream;

/// The classes, in the order of their numbers.
pub(crate) const CLASSES: [&str; 12] =
    ["wall", "floor", "ceiling", "window", "picture", "door", "rug", "bed", "table", "chair", "cabinet", "bin"];

/// The design of the rooms: every knob of their difficulty, in one place.
///
/// Each view draws how clear its colours and its depth are, from 0 to 1; ranges are read there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SyntheticRoomsConfig {
    /// Another seed is another set.
    pub seed: u64,
    /// Training views, validation included.
    pub train: usize,
    /// Test views, of rooms that train does not show.
    pub test: usize,
    /// Views of each room; validation holds out whole rooms.
    pub views: usize,
    /// Width and height of a view.
    pub size: [usize; 2],
    /// Fewest and most pieces of furniture in a room.
    pub furniture: [usize; 2],
    /// Materials that all surfaces of a room share. The fewer, the less a colour says.
    pub materials: usize,
    /// How often colour and depth trade places: 1 makes the depth clear where the colours are not and
    /// the other way round, 0 draws them independently.
    pub trade: f32,
    /// Brightness, from the least clear view to the clearest; 1 fills the 8-bit range.
    pub light: [f32; 2],
    /// Standard deviation of the colours' noise, of the 8-bit range, likewise.
    pub pixel_noise: [f32; 2],
    /// The depth's noise and steps in units of a Kinect's, likewise.
    pub depth_noise: [f32; 2],
    /// Share of the depth that patches of holes take, besides those at edges, likewise.
    pub holes: [f32; 2],
}

impl Default for SyntheticRoomsConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            train: 600,
            test: 200,
            views: 2,
            size: [80, 60],
            furniture: [3, 7],
            materials: 5,
            trade: 0.6,
            light: [0.25, 1.0],
            pixel_noise: [0.06, 0.015],
            depth_noise: [8.0, 1.0],
            holes: [0.3, 0.02],
        }
    }
}

/// The list of the rooms' views.
pub(crate) fn dataset(config: &SyntheticRoomsConfig) -> Result<Dataset, DataError> {
    config.validate()?;
    let total = config.train + config.test;
    let mut samples = Samples::default();
    for number in 0..total as u64 {
        let (split, room, view) = config.place(number);
        let source = NewSource::Made(number);
        samples.push(NewSample {
            id: &format!("{}-{room:05}-{view}", split.name()),
            label: 0,
            split,
            line: 0,
            groups: &[&format!("{}-{room}", split.name())],
            sources: &[(Modality::Depth, source), (Modality::Rgb, source)],
            map: Some(source),
        });
    }
    Ok(Dataset {
        name: "synthetic-rooms".into(),
        root: PathBuf::new(),
        lists: Lists::None,
        classes: CLASSES.map(str::to_owned).to_vec(),
        samples,
        group_names: vec!["scene".into()],
        hold_out: Some("scene".into()),
        synthetic: None,
        rooms: Some(config.clone()),
        dense: Some(DenseForm::in_order(CLASSES.len(), DepthCode::Unit(1.0))),
    })
}

impl SyntheticRoomsConfig {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let refuse = |key: &str, reason: String| Err(DataError::config(format!("rooms.{key}"), reason));
        for (key, value) in [("train", self.train), ("test", self.test), ("views", self.views)] {
            if !(1..=1_000_000).contains(&value) {
                return refuse(key, format!("{value} is not within 1..=1000000"));
            }
        }
        if self.size.iter().any(|length| !(8..=2048).contains(length)) {
            return refuse("size", format!("{:?} is not within 8..=2048", self.size));
        }
        if self.furniture[0] > self.furniture[1] || self.furniture[1] > 40 {
            return refuse("furniture", format!("{:?} is no range within 0 to 40", self.furniture));
        }
        if !(1..=40).contains(&self.materials) {
            return refuse("materials", format!("{} is not within 1..=40", self.materials));
        }
        let ranges = [self.light, self.pixel_noise, self.depth_noise, self.holes];
        if ranges.iter().flatten().chain([&self.trade]).any(|value| !(0.0..=1000.0).contains(value)) {
            return refuse("light, pixel-noise, depth-noise, holes, trade", "none may be negative".into());
        }
        Ok(())
    }

    /// Split, room and view of a sample; test's rooms are counted from 0 again.
    fn place(&self, number: u64) -> (Split, u64, u64) {
        let train = self.train as u64;
        let (split, number) = if number < train { (Split::Train, number) } else { (Split::Test, number - train) };
        (split, number / self.views as u64, number % self.views as u64)
    }
}

/// A view with all its parts.
pub(crate) struct Made {
    pub rgb: Option<RgbPixels>,
    pub depth: Option<DepthPixels>,
    pub map: MapPixels,
}

/// View `number` of the design.
pub(crate) fn make(config: &SyntheticRoomsConfig, number: u64) -> Made {
    let (split, room, _) = config.place(number);
    let part = umt_random::id_hash(split.name());
    let room = Room::new(config, &mut stream(config.seed, "rooms.room", part, room));
    let mut rng = stream(config.seed, "rooms.view", number, 0);
    let clear = {
        let (colour, other) = (rng.uniform(), rng.uniform());
        let traded = rng.bernoulli(f64::from(config.trade));
        [colour, if traded { 1.0 - colour } else { other }]
    };
    let camera = room.camera(&mut rng);
    let [width, height] = config.size;
    let view = solids::View::cast(&room, &camera, config.size);
    Made {
        rgb: Some(RgbPixels { shape: [height, width], data: sensor::colours(config, &view, clear[0], &mut rng) }),
        depth: Some(DepthPixels { shape: [height, width], data: sensor::depth(config, &view, clear[1], &mut rng) }),
        map: MapPixels { shape: [height, width], data: view.classes },
    }
}

/// The value of a range from the least clear view to the clearest.
fn at_clearness(range: [f32; 2], clear: f32) -> f32 {
    range[0] + (range[1] - range[0]) * clear
}
