//! MATLAB's older file format (version 5, uncompressed or zlib), as far as index lists need it.
//!
//! Numbers, text, cells and structs are read; objects, functions and sparse arrays are passed over.
//! Source of the format: "MAT-File Format", The MathWorks, version 5 level.

use std::{collections::BTreeMap, io::Read};
use umt_media::MediaError;

/// The variables of a file by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mat5 {
    /// In sorted order.
    pub variables: BTreeMap<String, Value>,
}

/// A variable's value; arrays in MATLAB's order, the first axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A numeric or logical array.
    Numbers {
        /// Length of each axis.
        shape: Vec<usize>,
        /// The values.
        data: Vec<f64>,
    },
    /// A character array.
    Text(String),
    /// A cell array.
    Cells(Vec<Value>),
    /// The elements of a struct array, each by field name.
    Structs(Vec<BTreeMap<String, Value>>),
    /// A kind that is not read.
    Other,
}

/// The most bytes that a file's compressed variables may unpack to, all together.
const MAX_UNPACKED: u64 = 16 << 20;
/// How deep cells and structs may be nested.
const MAX_DEPTH: usize = 8;
const HEADER: usize = 128;
const WHAT: &str = "the .mat file";

fn malformed(reason: impl Into<String>) -> MediaError {
    MediaError::malformed(WHAT, reason)
}

impl Mat5 {
    /// Reads all variables.
    ///
    /// # Errors
    /// [`MediaError::Unsupported`] for version 7.3 (HDF5) and other files, [`MediaError::Limit`] for
    /// variables that unpack to more than 16 MiB, [`MediaError::Malformed`] for damaged ones.
    pub fn read(bytes: &[u8]) -> Result<Self, MediaError> {
        let header = bytes.get(..HEADER).ok_or_else(|| malformed("it ends within its header"))?;
        let big = match &header[124..] {
            [0x00, 0x01, b'I', b'M'] => false,
            [0x01, 0x00, b'M', b'I'] => true,
            [_, 0x02, ..] | [0x02, ..] => {
                return Err(MediaError::unsupported(WHAT, "it is of version 7.3 (HDF5); save it with -v7 or -v6"));
            }
            _ => return Err(MediaError::unsupported(WHAT, "it is not of version 5; save it with -v7 or -v6")),
        };
        let mut input = Input { bytes: &bytes[HEADER..], big };
        let mut budget = MAX_UNPACKED;
        let mut variables = BTreeMap::new();
        while !input.bytes.is_empty() {
            let (kind, data) = input.element()?;
            let (name, value) = match kind {
                COMPRESSED => {
                    let unpacked = unpack(data, &mut budget)?;
                    let mut inner = Input { bytes: &unpacked, big };
                    let (MATRIX, data) = inner.element()? else {
                        return Err(malformed("compressed data without a variable"));
                    };
                    matrix(&mut Input { bytes: data, big }, 0)?
                }
                MATRIX => matrix(&mut Input { bytes: data, big }, 0)?,
                other => return Err(malformed(format!("an element of type {other} where a variable should be"))),
            };
            variables.insert(name, value);
        }
        Ok(Self { variables })
    }

    /// A numeric variable as whole numbers from `least` to `most`.
    ///
    /// # Errors
    /// No such variable, another kind, or a value that is not such a number.
    pub fn integers(&self, name: &str, least: u64, most: u64) -> Result<Vec<u64>, MediaError> {
        let Some(Value::Numbers { data, .. }) = self.variables.get(name) else {
            let known = self.variables.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(malformed(format!("no numeric variable `{name}`; it has: {known}")));
        };
        let whole = |(at, &value): (usize, &f64)| {
            let inside = value.fract() == 0.0 && value >= least as f64 && value <= most as f64;
            let reason = || format!("`{name}`({}) is {value}, not within {least} to {most}", at + 1);
            inside.then_some(value as u64).ok_or_else(|| malformed(reason()))
        };
        data.iter().enumerate().map(whole).collect()
    }

    /// A cell variable of texts.
    ///
    /// # Errors
    /// No such variable, or cells of another kind.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, MediaError> {
        let Some(Value::Cells(cells)) = self.variables.get(name) else {
            return Err(malformed(format!("no cell variable `{name}`")));
        };
        let text = |cell: &Value| match cell {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(malformed(format!("`{name}` holds a cell that is no text"))),
        };
        cells.iter().map(text).collect()
    }
}

fn unpack(data: &[u8], budget: &mut u64) -> Result<Vec<u8>, MediaError> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(data).take(*budget + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| malformed(error.to_string()))?;
    umt_media::Limits::check("the unpacked size of a .mat file's variables", unpacked.len() as u64, *budget)?;
    // The checksum is looked at only when the stream is read to its end.
    let mut rest = reader.into_inner();
    if rest.read(&mut [0]).map_err(|error| malformed(error.to_string()))? != 0 {
        return Err(malformed("compressed data go on after their end"));
    }
    *budget -= unpacked.len() as u64;
    Ok(unpacked)
}

const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Bytes that are taken from the front.
struct Input<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MediaError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| malformed(format!("{count} bytes are announced, {} are left", self.bytes.len())))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, MediaError> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    /// Type and data of the next element, padding skipped.
    fn element(&mut self) -> Result<(u32, &'a [u8]), MediaError> {
        let first = self.word()?;
        if first >> 16 != 0 {
            // The small form: length, type and up to four bytes in one word of eight.
            let length = (first >> 16) as usize;
            let data = self.take(4)?;
            let data = data.get(..length).ok_or_else(|| malformed("a small element of more than four bytes"))?;
            return Ok((first & 0xffff, data));
        }
        let length = self.word()? as usize;
        let data = self.take(length)?;
        // Compressed elements stand without padding; so may the last one of a file.
        if first != COMPRESSED {
            let padding = (8 - length % 8) % 8;
            self.take(padding.min(self.bytes.len()))?;
        }
        Ok((first, data))
    }

    fn of_type(&mut self, kinds: &[u32], what: &str) -> Result<(u32, &'a [u8]), MediaError> {
        let (kind, data) = self.element()?;
        if kinds.contains(&kind) {
            return Ok((kind, data));
        }
        Err(malformed(format!("{what} of type {kind}")))
    }

    /// Numbers of any stored type.
    fn numbers(&mut self) -> Result<Vec<f64>, MediaError> {
        let (kind, data) = self.element()?;
        let big = self.big;
        macro_rules! each {
            ($type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let (values, []) = data.as_chunks::<SIZE>() else {
                    return Err(malformed("numbers that end within one"));
                };
                let read = |&bytes: &[u8; SIZE]| match big {
                    true => <$type>::from_be_bytes(bytes) as f64,
                    false => <$type>::from_le_bytes(bytes) as f64,
                };
                values.iter().map(read).collect()
            }};
        }
        Ok(match kind {
            1 => each!(i8),
            2 | 16 => each!(u8),
            3 => each!(i16),
            4 | 17 => each!(u16),
            5 => each!(i32),
            6 | 18 => each!(u32),
            7 => each!(f32),
            9 => each!(f64),
            12 => each!(i64),
            13 => each!(u64),
            other => return Err(malformed(format!("numbers of type {other}"))),
        })
    }

    fn whole(&mut self, what: &str) -> Result<Vec<usize>, MediaError> {
        let (_, data) = self.of_type(&[5, 6], what)?;
        let (words, []) = data.as_chunks::<4>() else {
            return Err(malformed(format!("{what} of {} bytes", data.len())));
        };
        let read = |&word: &[u8; 4]| if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
        Ok(words.iter().map(|word| read(word) as usize).collect())
    }
}

/// The content of a matrix element: name and value.
fn matrix(input: &mut Input<'_>, depth: usize) -> Result<(String, Value), MediaError> {
    if depth > MAX_DEPTH {
        return Err(malformed(format!("cells nested more than {MAX_DEPTH} deep")));
    }
    if input.bytes.is_empty() {
        // An empty cell is written as a matrix without content.
        return Ok((String::new(), Value::Numbers { shape: vec![0, 0], data: Vec::new() }));
    }
    let flags = input.whole("array flags")?;
    let class = flags.first().copied().unwrap_or(0) & 0xff;
    let shape = input.whole("dimensions")?;
    let (_, name) = input.of_type(&[1, 2], "a name")?;
    let name = String::from_utf8_lossy(name).into_owned();
    let count = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
    let count = count.ok_or_else(|| malformed(format!("`{name}` has the shape {shape:?}")))?;
    let value = match class {
        1 => Value::Cells(cells(input, count, depth)?),
        2 => Value::Structs(structs(input, count, depth)?),
        4 => Value::Text(text(input.numbers()?, count, &name)?),
        6..=15 => {
            let data = input.numbers()?;
            if data.len() != count {
                return Err(malformed(format!("`{name}` has {} values for the shape {shape:?}", data.len())));
            }
            Value::Numbers { shape, data }
        }
        _ => Value::Other,
    };
    Ok((name, value))
}

fn text(codes: Vec<f64>, count: usize, name: &str) -> Result<String, MediaError> {
    if codes.len() > count {
        return Err(malformed(format!("the text `{name}` has {} characters instead of {count}", codes.len())));
    }
    Ok(codes.into_iter().map(|code| char::from_u32(code as u32).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

fn cells(input: &mut Input<'_>, count: usize, depth: usize) -> Result<Vec<Value>, MediaError> {
    // Every cell takes eight bytes at least, so the count is bounded by what is there.
    if count > input.bytes.len() / 8 {
        return Err(malformed(format!("{count} cells in {} bytes", input.bytes.len())));
    }
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let (_, data) = input.of_type(&[MATRIX], "a cell")?;
        values.push(matrix(&mut Input { bytes: data, big: input.big }, depth + 1)?.1);
    }
    Ok(values)
}

fn structs(input: &mut Input<'_>, count: usize, depth: usize) -> Result<Vec<BTreeMap<String, Value>>, MediaError> {
    let width = input.whole("the length of field names")?;
    let width = width.first().copied().filter(|&w| w > 0).ok_or_else(|| malformed("field names of no length"))?;
    let (_, names) = input.of_type(&[1, 2], "field names")?;
    let name = |bytes: &[u8]| {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let names: Vec<String> = names.chunks_exact(width).map(name).collect();
    let fields = names.len().checked_mul(count).filter(|&n| n <= input.bytes.len() / 8 && !names.is_empty());
    if fields.is_none() {
        return Err(malformed(format!("{count} structs of {} fields in {} bytes", names.len(), input.bytes.len())));
    }
    let flat = cells(input, names.len() * count, depth)?;
    let mut flat = flat.into_iter();
    Ok((0..count).map(|_| names.iter().cloned().zip(flat.by_ref()).collect()).collect())
}
