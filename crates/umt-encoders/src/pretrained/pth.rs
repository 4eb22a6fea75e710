//! PyTorch's own files, read without running anything.
//!
//! A `.pth` file is a zip archive with a pickle of names and shapes, and one entry of raw values per storage. candle's
//! pickle reader turns the pickle into a tree of values: what Python would call is only named there. The reader trusts
//! its input, so each step of it is checked first: lengths against what is there, depth and size against a limit.

use candle_core::pickle::{Object, Stack};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use thiserror::Error;
use umt_nn::Tensors;
use zip::{CompressionMethod, ZipArchive};

/// How deep values may lie in one another; a state dict reaches 9.
const MOST_DEPTH: usize = 64;
/// Visits to values while depths are checked; a ResNet-50 takes about 30,000.
const MOST_WORK: usize = 10_000_000;

/// Why a `.pth` file is not read.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PthError {
    /// The zip archive around everything is not one, or is cut.
    #[error("not a whole file of torch.save ({0}); what PyTorch before 1.6 wrote must be saved anew by a later one")]
    Archive(String),
    /// An entry of the archive is not as PyTorch writes it.
    #[error("{name} in the archive: {reason}")]
    Entry {
        /// The entry.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// The pickle cannot be read.
    #[error("data.pkl at byte {at}: {reason}")]
    Pickle {
        /// Where reading stopped.
        at: usize,
        /// What does not fit.
        reason: String,
    },
    /// Something else than a dictionary of tensors.
    #[error("it holds {0}, not a state dict: save `model.state_dict()`, not the model")]
    NotAStateDict(String),
    /// Loading it in Python would call something. Nothing is called here.
    #[error("\"{name}\" would call {callable} when loaded; only tensors are read")]
    Call {
        /// The name in the state dict.
        name: String,
        /// Module and function.
        callable: String,
    },
    /// Values of a type that no parameter has here.
    #[error("\"{name}\" has values of type {kind}; float32, float16, bfloat16, float64 and int64 can be read")]
    Type {
        /// The name in the state dict.
        name: String,
        /// PyTorch's name of the storage.
        kind: String,
    },
    /// A tensor whose description does not fit.
    #[error("\"{name}\": {reason}")]
    Tensor {
        /// The name in the state dict.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// More than its bytes can honestly hold.
    #[error("its tensors have more values than the file has bytes")]
    TooMany,
}

/// Tensors by name from a `.pth` file's bytes, as f32.
///
/// Takes a state dict, or a dictionary that holds one as `state_dict`, `model_state_dict` or `model`.
///
/// # Errors
/// [`PthError`], one kind for each way to be wrong.
pub fn read(bytes: &[u8]) -> Result<Tensors, PthError> {
    let mut archive = Archive::open(bytes)?;
    archive.little_endian()?;
    let root = unpickle(&archive.entry(&format!("{}.pkl", archive.folder))?)?;
    let mut tensors = Tensors::new();
    // Tensors may share a storage, which must not make much of little.
    let mut room = 2 * bytes.len();
    for (key, value) in state_dict(root)? {
        let Object::Unicode(name) = key else {
            return Err(PthError::NotAStateDict(format!("{} as a name", short(&key))));
        };
        // `torch.save(module.state_dict())` keeps the versions of its layers beside the tensors.
        if name == "_metadata" {
            continue;
        }
        let shape = shape_of(&name, value)?;
        let values = values(&name, archive.storage(&shape.storage)?, &shape)?;
        room = room.checked_sub(4 * values.len()).ok_or(PthError::TooMany)?;
        tensors.insert(name, (shape.size, values));
    }
    Ok(tensors)
}

/// The zip archive. PyTorch stores without compression, so no entry is larger than the file, nor all of them together.
struct Archive<'b> {
    zip: ZipArchive<Cursor<&'b [u8]>>,
    /// `<name>/data`: the pickle is `<name>/data.pkl`, a storage `<name>/data/<key>`.
    folder: String,
    storages: BTreeMap<String, Vec<u8>>,
    room: u64,
}

impl<'b> Archive<'b> {
    fn open(bytes: &'b [u8]) -> Result<Self, PthError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| PthError::Archive(e.to_string()))?;
        let names = zip.file_names().filter_map(Result::ok);
        let folder = names.filter_map(|name| Some(name.strip_suffix(".pkl")?.to_owned()));
        let folder = folder
            .filter(|name| name.ends_with("/data"))
            .min()
            .ok_or_else(|| PthError::Archive("no data.pkl in the archive".into()))?;
        Ok(Self { zip, folder, storages: BTreeMap::new(), room: bytes.len() as u64 })
    }

    /// Rejects values of the other order of bytes: PyTorch writes those of its own machine, and which it was since 2.1.
    fn little_endian(&mut self) -> Result<(), PthError> {
        let root = self.folder.strip_suffix("data").unwrap_or_default();
        let name = format!("{root}byteorder");
        if self.zip.index_for_name(&name).is_none() {
            return Ok(());
        }
        match self.entry(&name)?.trim_ascii() {
            b"little" => Ok(()),
            other => {
                let reason = format!(
                    "the values are of byte order {:?}; only little-endian ones are read: save them again on such a machine",
                    String::from_utf8_lossy(other)
                );
                Err(PthError::Entry { name, reason })
            }
        }
    }

    fn entry(&mut self, name: &str) -> Result<Vec<u8>, PthError> {
        let fail = |reason: String| PthError::Entry { name: name.to_owned(), reason };
        let file = self.zip.by_name(name).map_err(|error| fail(error.to_string()))?;
        if file.compression() != CompressionMethod::Stored {
            return Err(fail("compressed, which torch.save never does".into()));
        }
        let size = file.size();
        self.room = self.room.checked_sub(size).ok_or_else(|| fail("larger than the file it is in".into()))?;
        let mut bytes = Vec::new();
        // A byte beyond the end, so that the end is reached and the checksum compared.
        file.take(size + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(fail(format!("{} bytes instead of {size}", bytes.len()))),
        }
    }

    /// The values of a storage, read once however many tensors share it.
    fn storage(&mut self, key: &str) -> Result<&[u8], PthError> {
        if !self.storages.contains_key(key) {
            let bytes = self.entry(&format!("{}/{key}", self.folder))?;
            self.storages.insert(key.to_owned(), bytes);
        }
        Ok(self.storages.get(key).map_or(&[], Vec::as_slice))
    }
}

/// Runs candle's reader over a pickle, one operation at a time.
fn unpickle(mut pickle: &[u8]) -> Result<Object, PthError> {
    let total = pickle.len();
    let mut stack = Stack::empty();
    let mut work = MOST_WORK;
    loop {
        let at = total - pickle.len();
        let fail = |reason: &str| PthError::Pickle { at, reason: reason.to_owned() };
        match pickle {
            [] => return Err(fail("the end is missing")),
            // A text: its length comes first, and is where a reader would allocate.
            [b'X', a, b, c, d, rest @ ..] if u32::from_le_bytes([*a, *b, *c, *d]) as usize > rest.len() => {
                return Err(fail("a text is longer than the file"));
            }
            [0x8a, length, ..] if *length > 8 => return Err(fail("an integer of more than 64 bits")),
            _ => {}
        }
        let operation = pickle[0];
        if stack.read(&mut pickle).map_err(|error| fail(&error.to_string()))? {
            break;
        }
        let Some(top) = stack.stack().last() else { continue };
        // What may have become deeper, or was copied.
        let grown = match (operation, top) {
            (
                b't' | 0x85 | 0x86 | 0x87 | b'R' | b'b' | 0x81 | b'Q' | b'd' | b'h' | b'j' | b'q' | b'r' | b'u' | b'e',
                _,
            ) => Some(top),
            (b's', Object::Dict(pairs)) => pairs.last().map(|(_, value)| value),
            (b'a', Object::List(items)) => items.last(),
            _ => None,
        };
        if grown.is_some_and(|value| !fits(value, MOST_DEPTH - 1, &mut work)) {
            return Err(fail("values lie too deep in one another or are too many"));
        }
    }
    stack.finalize().map_err(|error| PthError::Pickle { at: total, reason: error.to_string() })
}

/// Whether a value is at most `depth` deep and the visits last.
fn fits(value: &Object, depth: usize, work: &mut usize) -> bool {
    if depth == 0 || *work == 0 {
        return false;
    }
    *work -= 1;
    let depth = depth - 1;
    match value {
        Object::Tuple(items) | Object::List(items) => items.iter().all(|item| fits(item, depth, work)),
        Object::Dict(pairs) => pairs.iter().all(|(key, value)| fits(key, depth, work) && fits(value, depth, work)),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            fits(callable, depth, work) && fits(args, depth, work)
        }
        Object::PersistentLoad(id) => fits(id, depth, work),
        _ => true,
    }
}

type Pairs = Vec<(Object, Object)>;

/// The dictionary of tensors: the root itself, or the one that a training script stored in it.
fn state_dict(root: Object) -> Result<Pairs, PthError> {
    let pairs = match plain(root) {
        Object::Dict(pairs) => pairs,
        other => return Err(PthError::NotAStateDict(short(&other))),
    };
    let place = |name: &str| pairs.iter().position(|(key, _)| matches!(key, Object::Unicode(text) if text == name));
    for name in ["state_dict", "model_state_dict", "model"] {
        if let Some(at) = place(name)
            && let Object::Dict(inner) = plain(pairs[at].1.clone())
        {
            return Ok(inner);
        }
    }
    Ok(pairs)
}

/// A dictionary without the attributes that Python keeps on it.
fn plain(value: Object) -> Object {
    match value {
        Object::Build { callable, .. } if matches!(*callable, Object::Dict(_)) => *callable,
        other => other,
    }
}

/// Where a tensor's values lie and what shape they have.
struct Shape {
    storage: String,
    kind: String,
    offset: usize,
    size: Vec<usize>,
}

/// Reads `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ..)`, on its own or as a parameter.
fn shape_of(name: &str, value: Object) -> Result<Shape, PthError> {
    let fail = |reason: String| PthError::Tensor { name: name.to_owned(), reason };
    let lacks = |what: &str| fail(format!("a tensor without its {what}"));
    let Object::Reduce { callable, args } = value else {
        return Err(fail(format!("{} is not a tensor", short(&value))));
    };
    let Object::Tuple(args) = *args else { return Err(lacks("arguments")) };
    let mut args = args.into_iter();
    match *callable {
        Object::Class { module_name, class_name } => match (module_name.as_str(), class_name.as_str()) {
            ("torch._utils", "_rebuild_tensor_v2") => {}
            ("torch._utils", "_rebuild_parameter") => {
                return shape_of(name, args.next().ok_or_else(|| lacks("arguments"))?);
            }
            _ => {
                let callable = format!("{module_name}.{class_name}");
                return Err(PthError::Call { name: name.to_owned(), callable });
            }
        },
        other => return Err(fail(format!("{} is not a tensor", short(&other)))),
    }
    let (Some(storage), Some(offset), Some(size), Some(stride)) = (args.next(), args.next(), args.next(), args.next())
    else {
        return Err(lacks("arguments"));
    };
    let (offset, size, stride) = match (number(&offset), numbers(&size), numbers(&stride)) {
        (Some(offset), Some(size), Some(stride)) if size.len() == stride.len() => (offset, size, stride),
        _ => return Err(lacks("shape")),
    };
    let mut next = 1_usize;
    for (length, step) in size.iter().zip(&stride).rev() {
        if *length != 1 && *step != next {
            let reason = format!("shape {size:?} with strides {stride:?}: call .contiguous() before saving");
            return Err(fail(reason));
        }
        next = next.checked_mul(*length).ok_or_else(|| fail(format!("shape {size:?} is beyond all memory")))?;
    }
    // ("storage", class, key, device, length)
    let Object::PersistentLoad(id) = storage else { return Err(lacks("storage")) };
    let Object::Tuple(id) = *id else { return Err(lacks("storage")) };
    match (id.get(1), id.get(2)) {
        (Some(Object::Class { class_name: kind, .. }), Some(Object::Unicode(key))) => {
            Ok(Shape { storage: key.clone(), kind: kind.clone(), offset, size })
        }
        _ => Err(lacks("storage")),
    }
}

fn numbers(value: &Object) -> Option<Vec<usize>> {
    match value {
        Object::Tuple(items) => items.iter().map(number).collect(),
        _ => None,
    }
}

fn number(value: &Object) -> Option<usize> {
    match value {
        Object::Int(number) => usize::try_from(*number).ok(),
        Object::Long(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

/// The values of a tensor as f32.
fn values(name: &str, storage: &[u8], shape: &Shape) -> Result<Vec<f32>, PthError> {
    let width = match shape.kind.as_str() {
        "FloatStorage" => 4,
        "HalfStorage" | "BFloat16Storage" => 2,
        "DoubleStorage" | "LongStorage" => 8,
        other => return Err(PthError::Type { name: name.to_owned(), kind: other.to_owned() }),
    };
    let count: usize = shape.size.iter().product();
    let end = shape.offset.checked_add(count).and_then(|end| end.checked_mul(width));
    let data = end.and_then(|end| storage.get(shape.offset * width..end)).ok_or_else(|| {
        let Shape { size, offset, .. } = shape;
        let reason = format!("shape {size:?} from value {offset} on does not fit into {} bytes", storage.len());
        PthError::Tensor { name: name.to_owned(), reason }
    })?;
    Ok(match shape.kind.as_str() {
        "FloatStorage" => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        "HalfStorage" => data.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        "BFloat16Storage" => data.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
        "DoubleStorage" => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
    })
}

/// A value in a few words, for a message.
fn short(value: &Object) -> String {
    match value {
        Object::Class { module_name, class_name } => format!("{module_name}.{class_name}"),
        Object::Reduce { callable, .. } | Object::Build { callable, .. } => format!("a call of {}", short(callable)),
        Object::Unicode(text) => format!("the text \"{}\"", text.chars().take(40).collect::<String>()),
        Object::Tuple(_) => "a tuple".into(),
        Object::List(_) => "a list".into(),
        Object::Dict(_) => "a dictionary".into(),
        other => format!("{other:?}").chars().take(40).collect(),
    }
}
