//! Frames made by code in the form of files that a set has: to try a recipe before the set itself is there.
//!
//! The pictures are [`crate::SyntheticRoomsConfig`]'s rooms at the set's size, under the set's own class ids. They say
//! nothing about figures on the set itself.

use crate::{DataError, DepthPixels, LabelMaps, MapPixels, Progress, RgbPixels, SyntheticRoomsConfig, rooms};
use std::path::Path;
use umt_depth::{DepthCode, DepthMap, IdMap, classes::NYU40, encode_depth, encode_ids};
use umt_media::MediaError;
use umt_store::Store;
use umt_video::{Frame, encode_jpeg};

/// The form of a set's files.
struct Form {
    set: &'static str,
    /// Width and height, frame by frame in turn.
    sizes: &'static [[usize; 2]],
    depth: DepthCode,
    /// Width of the white frame without a class.
    border: usize,
}

/// Sets whose frames can be made.
const FORMS: [Form; 2] = [
    Form { set: "nyuv2", sizes: &[[640, 480]], depth: DepthCode::Unit(1.0), border: 8 },
    // Four cameras took that set's pictures.
    Form { set: "sunrgbd", sizes: &[[640, 480], [730, 530], [561, 427]], depth: DepthCode::Rotated, border: 0 },
];

/// For each class of the rooms the set's class: both sets name theirs alike.
const NAMES: [(&str, &str); 2] = [("rug", "floor mat"), ("bin", "box")];
const QUALITY: u8 = 95;

/// How many frames, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Training frames.
    pub train: usize,
    /// Test frames, of rooms that train does not show.
    pub test: usize,
    /// Another seed gives other frames.
    pub seed: u64,
}

/// Names of the sets whose frames can be made.
pub fn forms() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.set)
}

/// Writes frames into `folder`, which must be empty or not there: `rgb/NAME.jpg`, `depth/NAME.png`, `label/NAME.png`,
/// `train.txt` and `test.txt`. The same frames give the same files.
///
/// # Errors
/// A set whose form is not known here, a folder with something in it, and what writing may give.
pub fn generate(set: &str, folder: &Path, frames: Frames, progress: &mut dyn FnMut(Progress)) -> Result<(), DataError> {
    let Some(form) = FORMS.iter().find(|form| form.set == set) else {
        let known = forms().collect::<Vec<_>>().join(", ");
        return Err(DataError::config("dataset", format!("no frames are made in the form of `{set}`; known: {known}")));
    };
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(DataError::root(folder, "there is something in it", "give a new folder"));
    }
    let Frames { train, test, seed } = frames;
    let design = |size| SyntheticRoomsConfig { train, test, seed, size, ..SyntheticRoomsConfig::default() };
    design(form.sizes[0]).validate()?;
    let store = Store::open(folder)?;
    let ids = ids();
    let mut lists = [String::new(), String::new()];
    let mut bytes = 0;
    for number in 0..train + test {
        let size = form.sizes[number % form.sizes.len()];
        let rooms::Made { rgb, depth, map } = rooms::make(&design(size), number as u64);
        // A gap in the numbers between rooms: unbroken runs are scenes where a set has no other word for them.
        let room = number / design(size).views;
        let name = format!("{:04}", number + room + 1);
        let parts = [
            ("rgb", "jpg", rgb.map(|rgb| colours(rgb, form.border))),
            ("depth", "png", depth.map(|depth| distances(depth, form.depth))),
            ("label", "png", Some(classes(map, &ids, form.border))),
        ];
        for (part, end, file) in parts {
            let Some(file) = file else { continue };
            let path = folder.join(part).join(format!("{name}.{end}"));
            let file = file.map_err(|error| DataError::root(&path, error.to_string(), "this is a fault of ours"))?;
            bytes += file.len() as u64;
            store.commit(&path, &file)?;
        }
        lists[usize::from(number >= train)] += &format!("{name}\n");
        progress(Progress { done: number + 1, total: train + test, bytes });
    }
    for (list, file) in lists.iter().zip(["train.txt", "test.txt"]) {
        store.commit(&folder.join(file), list.as_bytes())?;
    }
    Ok(())
}

/// The set's id of each class of the rooms.
fn ids() -> Vec<u16> {
    let id = |class: &&str| {
        let name = NAMES.iter().find(|(own, _)| own == class).map_or(*class, |(_, theirs)| theirs);
        NYU40.iter().position(|known| *known == name).map_or(0, |at| at as u16 + 1)
    };
    rooms::CLASSES.iter().map(id).collect()
}

fn on_border(at: usize, [height, width]: [usize; 2], border: usize) -> bool {
    let (x, y) = (at % width, at / width);
    x < border || y < border || x + border >= width || y + border >= height
}

fn colours(rgb: RgbPixels, border: usize) -> Result<Vec<u8>, MediaError> {
    let [height, width] = rgb.shape;
    let mut data = rgb.data;
    for (at, pixel) in data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        if on_border(at, rgb.shape, border) {
            *pixel = [255; 3];
        }
    }
    encode_jpeg(&Frame { width, height, rgb: data }, QUALITY)
}

fn distances(depth: DepthPixels, code: DepthCode) -> Result<Vec<u8>, MediaError> {
    let [height, width] = depth.shape;
    encode_depth(&DepthMap { width, height, mm: depth.data }, code)
}

fn classes(map: MapPixels, ids: &[u16], border: usize) -> Result<Vec<u8>, MediaError> {
    let [height, width] = map.shape;
    let id = |(at, &class): (usize, &u8)| match class {
        LabelMaps::VOID => 0,
        _ if on_border(at, map.shape, border) => 0,
        class => ids[usize::from(class)],
    };
    let ids = map.data.iter().enumerate().map(id).collect();
    encode_ids(&IdMap { width, height, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_the_rooms_is_one_of_both_sets() {
        let ids = ids();
        assert!(ids.iter().all(|id| (1..=37).contains(id)), "{ids:?}");
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
    }
}
