//! Boxes ("atoms") of an ISO base media file (ISO/IEC 14496-12), read without copying.

use umt_media::MediaError;

/// One box: its kind, its body, and where the body stands in the file.
#[derive(Clone, Copy)]
pub(super) struct Atom<'a> {
    pub kind: [u8; 4],
    pub body: &'a [u8],
    pub at: usize,
    pub header_at: usize,
}

impl Atom<'_> {
    /// The name used in messages.
    pub fn name(&self) -> String {
        format!("box `{}` at byte {}", fourcc(&self.kind), self.header_at)
    }
}

/// Four characters for a message, whatever bytes they are.
pub(crate) fn fourcc(kind: &[u8; 4]) -> String {
    kind.escape_ascii().to_string()
}

/// The boxes in `body`, which begins at byte `base` of the file.
///
/// `strict`: bytes left over that are too few for a box are an error. Inside containers they are
/// let pass, as QuickTime ends some of them with four zero bytes.
pub(super) struct Atoms<'a> {
    body: &'a [u8],
    base: usize,
    at: usize,
    strict: bool,
}

impl<'a> Atoms<'a> {
    /// The boxes of a whole file.
    pub fn of_file(bytes: &'a [u8]) -> Self {
        Self { body: bytes, base: 0, at: 0, strict: true }
    }

    /// The boxes in a container, after `skip` bytes of its own fields.
    pub fn inside(parent: &Atom<'a>, skip: usize) -> Self {
        let body = parent.body.get(skip..).unwrap_or(&[]);
        Self { body, base: parent.at + skip, at: 0, strict: false }
    }

    fn read(&mut self) -> Result<Option<Atom<'a>>, MediaError> {
        let rest = self.body.get(self.at..).unwrap_or(&[]);
        let header_at = self.base + self.at;
        if rest.is_empty() || (rest.len() < 8 && !self.strict) {
            return Ok(None);
        }
        let mut fields = Fields::new(rest, || format!("the box at byte {header_at}"));
        let short = u64::from(fields.u32()?);
        let kind = fields.array()?;
        let size = match short {
            0 => rest.len() as u64,
            1 => fields.u64()?,
            size => size,
        };
        let header = fields.position();
        let atom = |body| Atom { kind, body, at: header_at + header, header_at };
        if size < header as u64 {
            return Err(MediaError::malformed(
                atom(&[]).name(),
                format!("declares {size} bytes, less than its own header"),
            ));
        }
        match usize::try_from(size).ok().and_then(|size| rest.get(header..size)) {
            Some(body) => {
                self.at += header + body.len();
                Ok(Some(atom(body)))
            }
            None => Err(MediaError::malformed(
                atom(&[]).name(),
                format!("declares {size} bytes, but only {} follow: it is cut short", rest.len()),
            )),
        }
    }
}

impl<'a> Iterator for Atoms<'a> {
    type Item = Result<Atom<'a>, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, Some(Err(_))) {
            self.at = self.body.len();
        }
        item
    }
}

/// Big-endian fields in a row.
pub(super) struct Fields<'a, F> {
    data: &'a [u8],
    position: usize,
    name: F,
}

impl<'a, F: Fn() -> String> Fields<'a, F> {
    /// Reads `data`; `name` says what it is, should it end too early.
    pub fn new(data: &'a [u8], name: F) -> Self {
        Self { data, position: 0, name }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.data.len() - self.position
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], MediaError> {
        let Some(taken) = self.data.get(self.position..).and_then(|rest| rest.get(..len)) else {
            let reason = format!("needs {len} more bytes, has {}", self.left());
            return Err(MediaError::malformed((self.name)(), reason));
        };
        self.position += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], MediaError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32, MediaError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, MediaError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, MediaError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A field of 8 bytes in version 1 of a box, of 4 in version 0.
    pub fn sized(&mut self, version: u8) -> Result<u64, MediaError> {
        if version == 1 { self.u64() } else { Ok(u64::from(self.u32()?)) }
    }

    /// Version and flags of a full box.
    pub fn version_flags(&mut self) -> Result<(u8, u32), MediaError> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// An entry count whose entries of `size` bytes must fit in what is left, so that a table
    /// never takes more memory than its file has bytes.
    pub fn count(&mut self, size: usize) -> Result<usize, MediaError> {
        let count = self.u32()? as usize;
        if count.checked_mul(size).is_none_or(|bytes| bytes > self.left()) {
            let reason = format!("declares {count} entries, but has {} bytes for them", self.left());
            return Err(MediaError::malformed((self.name)(), reason));
        }
        Ok(count)
    }
}

/// The first box of a kind in a container.
pub(super) fn child<'a>(parent: &Atom<'a>, kind: &[u8; 4]) -> Result<Option<Atom<'a>>, MediaError> {
    for atom in Atoms::inside(parent, 0) {
        let atom = atom?;
        if &atom.kind == kind {
            return Ok(Some(atom));
        }
    }
    Ok(None)
}

pub(super) fn required<'a>(parent: &Atom<'a>, kind: &[u8; 4]) -> Result<Atom<'a>, MediaError> {
    child(parent, kind)?.ok_or_else(|| MediaError::malformed(parent.name(), format!("has no `{}` box", fourcc(kind))))
}
