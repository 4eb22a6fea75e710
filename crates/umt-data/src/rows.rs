//! The rows of a csv list, one after another: no list is in memory as a whole, and no row may be endless.

use crate::DataError;
use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    rc::Rc,
};
use umt_media::{Limits, open_regular};

/// The most that a list may hold: VGGSound's is 10 MB.
pub(crate) const MAX_LIST_BYTES: u64 = 256 << 20;
/// The most that a row may hold; a quote that is never closed makes one of all that follows.
const MAX_ROW_BYTES: usize = 1 << 20;
/// What some editors write before a text in UTF-8.
pub(crate) const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// One row and the line where it starts, as an editor counts.
pub(crate) struct Row<'a> {
    pub line: u64,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.record.len()
    }

    /// A field without the blanks around it; empty for one that is not there.
    pub fn field(&self, index: usize) -> &str {
        self.record.get(index).unwrap_or("").trim()
    }

    /// All fields.
    pub fn fields(&self) -> Vec<String> {
        (0..self.len()).map(|index| self.field(index).to_owned()).collect()
    }
}

/// Reads a list row by row, quotes resolved.
pub(crate) struct Rows {
    path: PathBuf,
    expected: String,
    reader: csv::Reader<Bounded>,
    record: csv::StringRecord,
    unfinished: Rc<Cell<usize>>,
    marked: bool,
    ended: bool,
}

impl Rows {
    /// Opens a list; `expected` completes the error messages.
    ///
    /// # Errors
    /// [`DataError::Root`] for what is no regular file or too large, before anything is read.
    pub fn open(path: &Path, expected: &str) -> Result<Self, DataError> {
        let error = |error: String| DataError::root(path, error, format!("expected {expected}"));
        let mut file = open_regular(path).map_err(|e| error(e.to_string()))?;
        let bytes = file.metadata().map_err(|e| error(e.to_string()))?.len();
        Limits::check("the size of the list", bytes, MAX_LIST_BYTES).map_err(|e| error(e.to_string()))?;
        let mut start = Vec::new();
        file.by_ref().take(3).read_to_end(&mut start).map_err(|e| error(e.to_string()))?;
        let marked = start == BYTE_ORDER_MARK;
        file.seek(SeekFrom::Start(if marked { 3 } else { 0 })).map_err(|e| error(e.to_string()))?;
        let unfinished = Rc::new(Cell::new(0));
        let bounded = Bounded { file, unfinished: Rc::clone(&unfinished), last: b'\n', ended: false };
        Ok(Self {
            path: path.to_owned(),
            expected: expected.to_owned(),
            reader: csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded),
            record: csv::StringRecord::new(),
            unfinished,
            marked,
            ended: false,
        })
    }

    /// Whether the list begins with a byte-order mark, which is dropped.
    pub fn marked(&self) -> bool {
        self.marked
    }

    /// The first row.
    ///
    /// # Errors
    /// [`DataError::List`] for an empty list, and those of any row.
    pub fn first(&mut self) -> Result<Row<'_>, DataError> {
        let empty = self.error(1, "the file is empty".into());
        self.next().unwrap_or(Err(empty))
    }

    /// The next row; `None` after the last, and after an error of reading.
    ///
    /// # Errors
    /// [`DataError::List`] for a row that is not UTF-8, after which the next may be read, or too long.
    pub fn next(&mut self) -> Option<Result<Row<'_>, DataError>> {
        if self.ended {
            return None;
        }
        self.unfinished.set(0);
        let mut record = std::mem::take(&mut self.record).into_byte_record();
        let before = self.reader.position().line();
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => {
                self.ended = true;
                None
            }
            Ok(true) => {
                // Blank lines before a row are passed over, so that its line is known from its end.
                let inside = record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
                let line = (self.reader.position().line().saturating_sub(inside + 1)).max(before);
                match csv::StringRecord::from_byte_record(record) {
                    Ok(record) => {
                        self.record = record;
                        Some(Ok(Row { line, record: &self.record }))
                    }
                    Err(_) => Some(Err(self.error(line, "the text is not UTF-8".into()))),
                }
            }
            Err(error) => {
                self.ended = true;
                let reason = match error.into_kind() {
                    csv::ErrorKind::Io(error) => error.to_string(),
                    other => format!("{other:?}"),
                };
                Some(Err(self.error(before, reason)))
            }
        }
    }

    fn error(&self, line: u64, reason: String) -> DataError {
        DataError::List { path: self.path.clone(), line, reason, expected: self.expected.clone() }
    }
}

/// A file that is read only as long as rows end; every line ends as on Unix, the last one too, because the csv reader
/// counts others wrongly.
struct Bounded {
    file: File,
    /// Bytes read since the last row ended.
    unfinished: Rc<Cell<usize>>,
    /// The last byte of the file that was read.
    last: u8,
    ended: bool,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unfinished.get() > MAX_ROW_BYTES {
            let reason = "a row of more than 1 MiB: is a quote left open?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        while !self.ended && !buffer.is_empty() {
            let n = self.file.read(buffer)?;
            if n == 0 {
                self.ended = true;
                if !matches!(self.last, b'\n' | b'\r') {
                    buffer[0] = b'\n';
                    return Ok(1);
                }
            }
            self.unfinished.set(self.unfinished.get() + n);
            let mut kept = 0;
            for i in 0..n {
                let byte = buffer[i];
                if !(byte == b'\n' && self.last == b'\r') {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
                self.last = byte;
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
        Ok(0)
    }
}
