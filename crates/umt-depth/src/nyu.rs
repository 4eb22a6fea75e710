//! NYU Depth V2's own files: `nyu_depth_v2_labeled.mat`, `splits.mat` and `classMapping40.mat`.
//!
//! Source: Silberman et al., ECCV 2012, <https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html>.

use crate::{
    image::{DepthMap, IdMap},
    mat5::Mat5,
};
use hdf5_reader::{
    Dataset, FileStorage, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem,
    reference::read_object_references,
    storage::{BytesStorage, DynStorage},
};
use std::{collections::BTreeMap, fmt::Display, path::Path, sync::Arc};
use umt_media::{Limits, MediaError, open_regular};

/// The labelled part, open: a MATLAB 7.3 file, which is HDF5 with its axes reversed. Frames are read
/// from their place, so that the memory in use is that of a frame and of a chunk of the file.
pub struct NyuMat {
    file: Hdf5File,
    frames: usize,
    width: usize,
    height: usize,
}

/// The largest piece of the file that is unpacked at once.
const MAX_CHUNK: usize = 64 << 20;
/// The most frames, and characters of a name.
const MAX_FRAMES: u64 = 100_000;
const MAX_NAME: u64 = 1_000;
const WHAT: &str = "the labelled .mat file";

fn failed(part: &str, error: impl Display) -> MediaError {
    MediaError::malformed(format!("{WHAT}, `{part}`"), error.to_string())
}

impl NyuMat {
    /// Opens the file and looks at the shapes of its arrays, not at their content.
    ///
    /// # Errors
    /// IO, a file that is not HDF5, arrays that are missing or do not fit each other, frames over
    /// `limits.max_pixels`. The file's size is not limited: it is never read as a whole.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, MediaError> {
        let io = |source| MediaError::Io { path: path.to_owned(), source };
        let file = open_regular(path).map_err(io)?;
        let storage = FileStorage::from_file(file).map_err(|error| failed("file", error))?;
        Self::from_storage(Arc::new(storage), limits)
    }

    /// [`NyuMat::open`] for a file in memory.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Self, MediaError> {
        Self::from_storage(Arc::new(BytesStorage::new(bytes)), limits)
    }

    fn from_storage(storage: DynStorage, limits: &Limits) -> Result<Self, MediaError> {
        let most = usize::try_from(limits.max_pixels.saturating_mul(8)).unwrap_or(usize::MAX);
        let options = OpenOptions::default()
            .with_max_chunk_bytes(MAX_CHUNK)
            .with_chunk_cache_bytes(MAX_CHUNK)
            .with_max_object_header_bytes(1 << 20)
            .with_max_read_bytes(most);
        let file = Hdf5File::from_storage_with_options(storage, options).map_err(|error| {
            MediaError::unsupported(WHAT, format!("it is not HDF5, which MATLAB 7.3 writes ({error})"))
        })?;
        let labels = file.dataset("labels").map_err(|error| failed("labels", error))?;
        let &[frames, width, height] = labels.shape() else {
            return Err(failed("labels", format!("its shape is {:?}, not [frames, width, height]", labels.shape())));
        };
        Limits::check("the number of frames", frames, MAX_FRAMES)?;
        Limits::check("the number of pixels of a frame", width.saturating_mul(height), limits.max_pixels)?;
        for (name, shape) in [("images", vec![frames, 3, width, height]), ("depths", vec![frames, width, height])] {
            let dataset = file.dataset(name).map_err(|error| failed(name, error))?;
            if dataset.shape() != shape {
                let reason =
                    format!("its shape {:?} does not fit that of `labels`, {:?}", dataset.shape(), labels.shape());
                return Err(failed(name, reason));
            }
        }
        Ok(Self { file, frames: frames as usize, width: width as usize, height: height as usize })
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Width and height of every frame.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Colours of frame `i` (from 0), `[height, width, 3]`.
    ///
    /// # Errors
    /// No such frame, or a damaged file.
    pub fn rgb(&self, i: usize) -> Result<Vec<u8>, MediaError> {
        let planes: Vec<u8> = self.frame("images", i)?;
        let (width, height) = (self.width, self.height);
        let mut rgb = vec![0; planes.len()];
        for (c, plane) in planes.chunks_exact(width * height).enumerate() {
            for (x, column) in plane.chunks_exact(height).enumerate() {
                for (y, &value) in column.iter().enumerate() {
                    rgb[(y * width + x) * 3 + c] = value;
                }
            }
        }
        Ok(rgb)
    }

    /// Depth of frame `i`: filled by the authors, or the sensor's own with its holes (`raw`).
    ///
    /// # Errors
    /// As [`NyuMat::rgb`]; a depth that is negative, not finite or over 65.535 m.
    pub fn depth(&self, i: usize, raw: bool) -> Result<DepthMap, MediaError> {
        let name = if raw { "rawDepths" } else { "depths" };
        let metres: Vec<f32> = self.frame(name, i)?;
        let mut mm = Vec::with_capacity(metres.len());
        for (at, &metres) in metres.iter().enumerate() {
            let value = (f64::from(metres) * 1000.0).round();
            if !(0.0..=65_535.0).contains(&value) {
                let place = format!("({}, {})", at / self.height, at % self.height);
                return Err(failed(name, format!("frame {i} has {metres} m at {place}")));
            }
            mm.push(value as u16);
        }
        Ok(DepthMap { width: self.width, height: self.height, mm: self.rows(&mm) })
    }

    /// Ids of frame `i`: 0 for none, then the place in [`NyuMat::names`], from 1.
    ///
    /// # Errors
    /// As [`NyuMat::rgb`].
    pub fn ids(&self, i: usize) -> Result<IdMap, MediaError> {
        let ids: Vec<u16> = self.frame("labels", i)?;
        Ok(IdMap { width: self.width, height: self.height, ids: self.rows(&ids) })
    }

    /// The names of the labels' ids, from 1 on.
    ///
    /// # Errors
    /// A file without them, or a damaged one.
    pub fn names(&self) -> Result<Vec<String>, MediaError> {
        self.texts("names")
    }

    /// The scene that each frame was taken in, such as `kitchen_0004`.
    ///
    /// # Errors
    /// A file without them, or a damaged one.
    pub fn scenes(&self) -> Result<Vec<String>, MediaError> {
        let scenes = self.texts("scenes")?;
        if scenes.len() == self.frames {
            return Ok(scenes);
        }
        Err(failed("scenes", format!("{} scenes for {} frames", scenes.len(), self.frames)))
    }

    fn frame<T: hdf5_reader::H5Type>(&self, name: &str, i: usize) -> Result<Vec<T>, MediaError> {
        let fail = |error: &dyn Display| failed(name, format!("frame {i}: {error}"));
        if i >= self.frames {
            return Err(fail(&format!("there are {}", self.frames)));
        }
        let dataset = self.file.dataset(name).map_err(|error| fail(&error))?;
        let mut selections = vec![SliceInfoElem::Index(i as u64)];
        let rest = dataset.shape().iter().skip(1);
        selections.extend(rest.map(|&end| SliceInfoElem::Slice { start: 0, end, step: 1 }));
        let channels = if name == "images" { 3 } else { 1 };
        let values = dataset.read_slice::<T>(&SliceInfo { selections }).map_err(|error| fail(&error))?;
        if values.len() != channels * self.width * self.height {
            return Err(fail(&format!("{} values", values.len())));
        }
        Ok(values.iter().cloned().collect())
    }

    /// `[width, height]` to `[height, width]`.
    fn rows<T: Copy + Default>(&self, columns: &[T]) -> Vec<T> {
        let mut rows = vec![T::default(); columns.len()];
        for (x, column) in columns.chunks_exact(self.height).enumerate() {
            for (y, &value) in column.iter().enumerate() {
                rows[y * self.width + x] = value;
            }
        }
        rows
    }

    /// A cell array of texts: references to arrays of character codes in the group `#refs#`.
    fn texts(&self, name: &str) -> Result<Vec<String>, MediaError> {
        let fail = |error: &dyn Display| failed(name, error);
        let cells = self.file.dataset(name).map_err(|error| fail(&error))?;
        Limits::check(&format!("the number of `{name}`"), cells.num_elements().unwrap_or(u64::MAX), MAX_FRAMES)?;
        let references = cells.read_raw_bytes().map_err(|error| fail(&error))?;
        let group = self.file.group("#refs#").map_err(|error| fail(&error))?;
        let references = read_object_references(&references, group.offset_size()).map_err(|error| fail(&error))?;
        let members = group.datasets().map_err(|error| fail(&error))?;
        let members: BTreeMap<u64, &Dataset> = members.iter().map(|member| (member.address(), member)).collect();
        let mut texts = Vec::with_capacity(references.len());
        for (at, reference) in references.iter().enumerate() {
            let Some(member) = members.get(reference) else {
                return Err(fail(&format!("entry {} refers to nothing", at + 1)));
            };
            let length = member.num_elements().unwrap_or(u64::MAX);
            Limits::check(&format!("the length of entry {} of `{name}`", at + 1), length, MAX_NAME)?;
            let codes = member.read_array::<u16>().map_err(|error| fail(&error))?;
            texts.push(char::decode_utf16(codes.iter().copied()).map(|c| c.unwrap_or('\u{fffd}')).collect());
        }
        Ok(texts)
    }
}

/// The official division of the labelled part, as numbers from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// `trainNdxs`: 795 of the 1,449.
    pub train: Vec<usize>,
    /// `testNdxs`: 654.
    pub test: Vec<usize>,
}

impl Splits {
    /// Reads `splits.mat`.
    ///
    /// # Errors
    /// A damaged file; numbers that are not within 1 to `frames`; a frame named twice.
    pub fn read(bytes: &[u8], frames: usize) -> Result<Self, MediaError> {
        let file = Mat5::read(bytes)?;
        let part = |name: &str| -> Result<Vec<usize>, MediaError> {
            let numbers = file.integers(name, 1, frames as u64)?;
            Ok(numbers.into_iter().map(|n| n as usize - 1).collect())
        };
        let splits = Self { train: part("trainNdxs")?, test: part("testNdxs")? };
        let mut seen = vec![false; frames];
        for &frame in splits.train.iter().chain(&splits.test) {
            if std::mem::replace(&mut seen[frame], true) {
                return Err(MediaError::malformed("splits.mat", format!("frame {} is named twice", frame + 1)));
            }
        }
        Ok(splits)
    }
}

/// From the 894 labels to 40 classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMapping {
    /// For each label id from 1 on, its class from 1 to 40.
    pub classes: Vec<u8>,
    /// The classes' names.
    pub names: Vec<String>,
}

impl ClassMapping {
    /// Reads `classMapping40.mat` (Gupta et al., CVPR 2013).
    ///
    /// # Errors
    /// A damaged file; classes that are not within 1 to 40; another number of names.
    pub fn read(bytes: &[u8]) -> Result<Self, MediaError> {
        let file = Mat5::read(bytes)?;
        let classes = file.integers("mapClass", 1, 40)?.into_iter().map(|class| class as u8).collect();
        let names = file.texts("className")?;
        if names.len() != 40 {
            return Err(MediaError::malformed("classMapping40.mat", format!("{} class names, not 40", names.len())));
        }
        Ok(Self { classes, names })
    }
}
