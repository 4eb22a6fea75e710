//! One scene's files to what is stored: colours, depth in millimetres, and classes.

use crate::{DataConfig, Dataset, DenseForm, Failure, LabelMaps, Problem, Sample, Source, Sums, rooms};
use std::path::{Path, PathBuf};
use umt_depth::{DepthCode, DepthMap, IdMap, NyuMat, decode_depth, decode_ids};
use umt_media::{Limits, MediaError, Modality, read_bounded};
use umt_video::Frame;

/// A scene as the cache stores it: each part at its own size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneData {
    /// The colours, if the set is read with them.
    pub rgb: Option<RgbPixels>,
    /// The depth, if the set is read with it.
    pub depth: Option<DepthPixels>,
    /// The classes.
    pub map: MapPixels,
}

/// Stored colours, 8 bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPixels {
    /// Height and width.
    pub shape: [usize; 2],
    /// `[height, width, 3]`.
    pub data: Vec<u8>,
}

/// Stored depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthPixels {
    /// Height and width.
    pub shape: [usize; 2],
    /// Millimetres, 0 where nothing was measured.
    pub data: Vec<u16>,
}

/// Stored classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapPixels {
    /// Height and width.
    pub shape: [usize; 2],
    /// Class of each pixel; [`crate::LabelMaps::VOID`] for none.
    pub data: Vec<u8>,
}

impl SceneData {
    /// A depth picture beside a clip, which has one class and no map of classes.
    pub(crate) fn of_depth(depth: DepthPixels) -> Self {
        Self { rgb: None, depth: Some(depth), map: MapPixels { shape: [0, 0], data: Vec::new() } }
    }

    /// Sums over the measured depths.
    pub(crate) fn depth_sums(&self) -> Sums {
        let mut sums = Sums::default();
        let measured = self.depth.iter().flat_map(|depth| &depth.data).filter(|&&mm| mm > 0);
        let (mut sum, mut squares) = (0u64, 0u64);
        for &mm in measured {
            sums.count += 1;
            sum += u64::from(mm);
            squares += u64::from(mm) * u64::from(mm);
        }
        (sums.sum, sums.squares) = (sum as f64, squares as f64);
        sums
    }

    /// Pixels of each class.
    pub(crate) fn pixels(&self, classes: usize) -> Vec<u64> {
        let mut counts = [0u64; 256];
        for &class in &self.map.data {
            counts[usize::from(class)] += 1;
        }
        counts[..classes.min(255)].to_vec()
    }
}

/// Reads scenes of one set; each thread has its own, with the file of many frames kept open.
pub(crate) struct SceneReader<'a> {
    set: &'a Dataset,
    config: &'a DataConfig,
    form: &'a DenseForm,
    open: Option<(PathBuf, NyuMat)>,
    limits: Limits,
}

/// A part at the size of its file.
struct Sized<T> {
    size: [usize; 2],
    data: T,
}

impl<'a> SceneReader<'a> {
    /// `None` for a set without a class for every pixel.
    pub fn new(set: &'a Dataset, config: &'a DataConfig) -> Option<Self> {
        let form = set.dense.as_ref()?;
        Some(Self { set, config, form, open: None, limits: Limits::default() })
    }

    pub fn read(&mut self, sample: Sample<'_>) -> Result<SceneData, Failure> {
        let config = self.config;
        if let (Some(design), Some(Source::Synthetic(number))) = (&self.set.rooms, sample.map()) {
            let scene = rooms::make(design, number);
            return Ok(SceneData {
                rgb: scene.rgb.filter(|_| config.rgb.is_some()),
                depth: scene.depth.filter(|_| config.depth.is_some()),
                map: scene.map,
            });
        }
        let rgb = config.rgb.as_ref().map(|_| self.rgb(sample)).transpose()?;
        let depth = config.depth.as_ref().map(|_| self.depth(sample)).transpose()?;
        let parts = rgb.as_ref().map(|part| part.size).or(depth.as_ref().map(|part| part.size));
        let ids = match (self.form.classes.is_empty(), parts) {
            (true, Some(size)) => Sized { size, data: Vec::new() },
            _ => self.ids(sample)?,
        };
        for (modality, size) in
            [(Modality::Rgb, rgb.as_ref().map(|p| p.size)), (Modality::Depth, depth.as_ref().map(|p| p.size))]
        {
            if let Some(size) = size.filter(|&size| size != ids.size) {
                let [width, height] = ids.size;
                let other = if ids.data.is_empty() { "colour image" } else { "label map" };
                let reason = format!("{}x{}, but the {other} is {width}x{height}", size[0], size[1]);
                return Err(fail(Problem::SizeMismatch, sample.source(modality), modality.name(), reason));
            }
        }
        Ok(SceneData {
            rgb: rgb.map(|rgb| self.stored(rgb, sample)).transpose()?,
            depth: depth.map(|depth| DepthPixels { shape: turned(depth.size), data: depth.data }),
            map: self.classes(ids, sample)?,
        })
    }

    fn rgb(&mut self, sample: Sample<'_>) -> Result<Sized<Vec<u8>>, Failure> {
        let source = sample.source(Modality::Rgb);
        self.part(
            source,
            "rgb",
            |bytes, limits| {
                let Frame { width, height, rgb } = umt_video::decode_stored_image(bytes, limits)?;
                Ok(Sized { size: [width, height], data: rgb })
            },
            |file, frame| Ok(Sized { size: file.size(), data: file.rgb(frame)? }),
        )
    }

    fn depth(&mut self, sample: Sample<'_>) -> Result<Sized<Vec<u16>>, Failure> {
        let input = self.config.depth.clone().unwrap_or_default();
        let code = if input.rotated { DepthCode::Rotated } else { input.unit.map_or(self.form.depth, DepthCode::Unit) };
        let source = sample.source(Modality::Depth);
        let sized = |DepthMap { width, height, mm }| Sized { size: [width, height], data: mm };
        self.part(
            source,
            "depth",
            |bytes, limits| Ok(sized(decode_depth(bytes, code, limits)?)),
            |file, frame| Ok(sized(file.depth(frame, input.raw)?)),
        )
    }

    fn ids(&mut self, sample: Sample<'_>) -> Result<Sized<Vec<u16>>, Failure> {
        let sized = |IdMap { width, height, ids }| Sized { size: [width, height], data: ids };
        self.part(
            sample.map(),
            "label-map",
            |bytes, limits| Ok(sized(decode_ids(bytes, limits)?)),
            |file, frame| Ok(sized(file.ids(frame)?)),
        )
    }

    /// One part, from a file of its own or from a frame of a file of many.
    fn part<T>(
        &mut self,
        source: Option<Source>,
        name: &str,
        decode: impl FnOnce(&[u8], &Limits) -> Result<T, MediaError>,
        frame_of: impl FnOnce(&NyuMat, usize) -> Result<T, MediaError>,
    ) -> Result<T, Failure> {
        let result = match &source {
            Some(Source::Path(path)) => read_bounded(path, &self.limits).and_then(|bytes| decode(&bytes, &self.limits)),
            Some(Source::Frame(path, frame)) => self.file(path).and_then(|file| frame_of(file, *frame)),
            _ => return Err(fail(Problem::Missing, None, name, "no file is named".into())),
        };
        result.map_err(|error| fail(Problem::of(&error, Modality::Rgb), source, name, error.to_string()))
    }

    fn file(&mut self, path: &Path) -> Result<&NyuMat, MediaError> {
        let file = match self.open.take() {
            Some((open, file)) if open == path => file,
            _ => NyuMat::open(path, &self.limits)?,
        };
        Ok(&self.open.insert((path.to_owned(), file)).1)
    }

    fn stored(&self, rgb: Sized<Vec<u8>>, sample: Sample<'_>) -> Result<RgbPixels, Failure> {
        let [width, height] = rgb.size;
        let wanted = self.config.rgb.as_ref().and_then(|input| input.stored);
        match wanted.filter(|&size| size != rgb.size) {
            None => Ok(RgbPixels { shape: [height, width], data: rgb.data }),
            Some(size) => {
                let frame = Frame { width, height, rgb: rgb.data };
                let frame = frame
                    .resized(size[0], size[1])
                    .map_err(|error| fail(Problem::Corrupt, sample.source(Modality::Rgb), "rgb", error.to_string()))?;
                Ok(RgbPixels { shape: [frame.height, frame.width], data: frame.rgb })
            }
        }
    }

    fn classes(&self, ids: Sized<Vec<u16>>, sample: Sample<'_>) -> Result<MapPixels, Failure> {
        let known = &self.form.classes;
        if known.is_empty() {
            return Ok(MapPixels { shape: turned(ids.size), data: vec![LabelMaps::VOID; ids.size[0] * ids.size[1]] });
        }
        let mut data = Vec::with_capacity(ids.data.len());
        for (at, &id) in ids.data.iter().enumerate() {
            let Some(&class) = known.get(usize::from(id)) else {
                let place = [at % ids.size[0], at / ids.size[0]];
                let most = known.len().saturating_sub(1);
                let reason = format!("the id {id} at {place:?} is no class: ids are 0 to {most}");
                return Err(fail(Problem::LabelRange, sample.map(), "label-map", reason));
            };
            data.push(class);
        }
        Ok(MapPixels { shape: turned(ids.size), data })
    }
}

/// Width and height to height and width.
fn turned([width, height]: [usize; 2]) -> [usize; 2] {
    [height, width]
}

fn fail(problem: Problem, source: Option<Source>, name: &str, reason: String) -> Failure {
    let path = match source {
        Some(Source::Frame(path, frame)) => format!("{}, {name} of frame {}", path.display(), frame + 1),
        Some(source) => source.path().map_or(format!("the {name}"), |path| path.display().to_string()),
        None => format!("the {name} column"),
    };
    Failure { problem, path, reason }
}
