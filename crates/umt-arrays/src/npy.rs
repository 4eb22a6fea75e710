//! NumPy's `.npy` files (format versions 1 to 3, NEP 1): a magic number, a Python dictionary as text, raw values.

use crate::{ArrayError, Values};

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own headers of plain arrays have 128 bytes.
const MAX_HEADER: usize = 64 * 1024;

/// Shape and values of a `.npy` file; `name` is for messages. Fortran order is undone for matrices.
///
/// # Errors
/// [`ArrayError::Malformed`] for bytes that contradict the format or end early, [`ArrayError::Unsupported`] for types that
/// hold no numbers or short texts (objects, records, complex numbers, dates).
pub fn parse(name: &str, bytes: &[u8]) -> Result<(Vec<usize>, Values), ArrayError> {
    let malformed = |reason: &str| ArrayError::Malformed { name: name.into(), reason: reason.into() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| malformed("it does not begin as a .npy file does"))?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [version, ..] if !(1..=3).contains(version) => {
            return Err(ArrayError::Unsupported { name: name.into(), reason: format!(".npy version {version}") });
        }
        _ => return Err(malformed("the header is cut")),
    };
    if length > MAX_HEADER || length > rest.len() {
        return Err(malformed(&format!("the header declares {length} bytes of its own, {} follow", rest.len())));
    }
    let (header, data) = rest.split_at(length);
    let header = std::str::from_utf8(header).map_err(|_| malformed("the header is not text"))?;
    let Header { descr, fortran, shape } = read_header(header).map_err(|reason| malformed(&reason))?;
    let kind = Kind::parse(&descr).ok_or_else(|| ArrayError::Unsupported {
        name: name.into(),
        reason: format!(
            "values of type {descr}; save numbers instead, for example numpy.save(file, array.astype(numpy.float32))"
        ),
    })?;
    let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let expected = count.and_then(|count| count.checked_mul(kind.size));
    if expected != Some(data.len()) {
        let reason =
            format!("an array of shape {shape:?} and type {descr} does not fill its {} bytes exactly", data.len());
        return Err(malformed(&reason));
    }
    let mut values = kind.values(data).map_err(|reason| malformed(&reason))?;
    if fortran && shape.len() > 1 {
        let &[rows, columns] = shape.as_slice() else {
            return Err(ArrayError::Unsupported {
                name: name.into(),
                reason: format!("Fortran order of {} axes; save numpy.ascontiguousarray(array)", shape.len()),
            });
        };
        values = values.transposed(rows, columns);
    }
    Ok((shape, values))
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
fn read_header(text: &str) -> Result<Header, String> {
    let body = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or("the header is no dictionary")?;
    let value = |key: &str| {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let found = quoted.iter().find_map(|quoted| body.split_once(quoted.as_str()));
        let (_, after) = found.ok_or_else(|| format!("the header lacks {key}"))?;
        let after = after.trim_start().strip_prefix(':').ok_or_else(|| format!("the header's {key} has no value"))?;
        Ok::<&str, String>(after.trim_start())
    };
    let descr = value("descr")?;
    let descr = match descr.chars().next() {
        Some(quote @ ('\'' | '"')) => descr[1..].split(quote).next().unwrap_or_default().to_owned(),
        _ => descr.split("'fortran_order'").next().unwrap_or_default().trim_end_matches([',', ' ']).to_owned(),
    };
    let fortran = match value("fortran_order")? {
        v if v.starts_with("False") => false,
        v if v.starts_with("True") => true,
        _ => return Err("fortran_order is neither True nor False".into()),
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|v| v.split_once(')')).ok_or("the shape is no tuple")?.0;
    let axes = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    let axis = |axis: &str| axis.trim_end_matches('L').parse().map_err(|_| format!("{axis:?} is no length of an axis"));
    Ok(Header { descr, fortran, shape: axes.map(axis).collect::<Result<_, _>>()? })
}

/// A type of values, such as `<f4`.
struct Kind {
    big_endian: bool,
    letter: char,
    /// Bytes of a value.
    size: usize,
}

impl Kind {
    fn parse(descr: &str) -> Option<Self> {
        let mut chars = descr.chars();
        let order = chars.next().filter(|c| "<>|=".contains(*c))?;
        let letter = chars.next()?;
        let number: usize = chars.as_str().parse().ok().filter(|n| (1..=4096).contains(n))?;
        let size = if letter == 'U' { 4 * number } else { number };
        let known =
            matches!((letter, number), ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1) | ('U' | 'S', _));
        known.then_some(Self { big_endian: order == '>', letter, size })
    }

    fn values(&self, data: &[u8]) -> Result<Values, String> {
        let values = data.chunks_exact(self.size).map(|bytes| {
            let mut bytes = bytes.to_vec();
            if self.big_endian && !matches!(self.letter, 'U' | 'S') {
                bytes.reverse();
            }
            bytes
        });
        Ok(match self.letter {
            'f' => Values::Float(values.map(|v| float(&v)).collect()),
            'U' | 'S' => Values::Text(values.map(|v| self.text(&v)).collect::<Result<_, _>>()?),
            letter => Values::Int(values.map(|v| int(&v, letter == 'i')).collect::<Result<_, _>>()?),
        })
    }

    /// Without the zeros that pad it.
    fn text(&self, bytes: &[u8]) -> Result<String, String> {
        if self.letter == 'S' {
            let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            return std::str::from_utf8(&bytes[..end]).map(str::to_owned).map_err(|e| e.to_string());
        }
        let code = |c: &[u8]| {
            let number = [c[0], c[1], c[2], c[3]];
            if self.big_endian { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) }
        };
        let mut codes: Vec<u32> = bytes.chunks_exact(4).map(code).collect();
        while codes.last() == Some(&0) {
            codes.pop();
        }
        codes.into_iter().map(|c| char::from_u32(c).ok_or_else(|| format!("{c} is no character"))).collect()
    }
}

/// The value of little-endian bytes.
fn float(bytes: &[u8]) -> f32 {
    match *bytes {
        [a, b] => half::f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    }
}

/// The value of little-endian bytes.
fn int(bytes: &[u8], signed: bool) -> Result<i64, String> {
    let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xFF } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = u64::from_le_bytes(wide);
    if !signed && value > i64::MAX as u64 {
        return Err(format!("{value} is above {}", i64::MAX));
    }
    Ok(value as i64)
}
