//! The rows of a csv list, one after another: no list is in memory as a whole, and no row may be endless.

use crate::DataError;
use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    rc::Rc,
};
use umt_media::{Limits, open_regular};

/// The most that a list may hold: VGGSound's is 10 MB.
pub(crate) const MAX_LIST_BYTES: u64 = 256 << 20;
/// The most that a row may hold; a quote that is never closed makes one of all that follows.
const MAX_ROW_BYTES: usize = 1 << 20;

/// One row and the line where it starts.
pub(crate) struct Row {
    pub line: u64,
    pub fields: Vec<String>,
}

/// Reads a list row by row, quotes resolved.
pub(crate) struct Rows {
    path: PathBuf,
    expected: String,
    reader: csv::Reader<Bounded>,
    record: csv::StringRecord,
    unfinished: Rc<Cell<usize>>,
}

impl Rows {
    /// Opens a list; `expected` completes the error messages.
    ///
    /// # Errors
    /// [`DataError::Root`] for what is no regular file or too large, before anything is read.
    pub fn open(path: &Path, expected: &str) -> Result<Self, DataError> {
        let error = |error: String| DataError::root(path, error, format!("expected {expected}"));
        let file = open_regular(path).map_err(|e| error(e.to_string()))?;
        let bytes = file.metadata().map_err(|e| error(e.to_string()))?.len();
        Limits::check("the size of the list", bytes, MAX_LIST_BYTES).map_err(|e| error(e.to_string()))?;
        let unfinished = Rc::new(Cell::new(0));
        let bounded = Bounded { file, unfinished: Rc::clone(&unfinished), after_return: false };
        Ok(Self {
            path: path.to_owned(),
            expected: expected.to_owned(),
            reader: csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded),
            record: csv::StringRecord::new(),
            unfinished,
        })
    }

    /// The first row.
    ///
    /// # Errors
    /// [`DataError::List`] for an empty list, and those of any row.
    pub fn first(&mut self) -> Result<Row, DataError> {
        self.next().unwrap_or_else(|| Err(self.error(1, "the file is empty".into())))
    }

    fn error(&self, line: u64, reason: String) -> DataError {
        DataError::List { path: self.path.clone(), line, reason, expected: self.expected.clone() }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.unfinished.set(0);
        let start = self.reader.position().line();
        match self.reader.read_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => Some(Ok(Row {
                line: self.record.position().map_or(0, csv::Position::line),
                fields: self.record.iter().map(|field| field.trim().to_owned()).collect(),
            })),
            Err(error) => {
                let line = error.position().map_or(start, csv::Position::line);
                let reason = match error.kind() {
                    csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".into(),
                    _ => error.to_string(),
                };
                Some(Err(self.error(line, reason)))
            }
        }
    }
}

/// A file that is read only as long as rows end; every line ends as on Unix, because the csv reader counts others wrongly.
struct Bounded {
    file: File,
    /// Bytes read since the last row ended.
    unfinished: Rc<Cell<usize>>,
    /// Whether the last byte was a carriage return.
    after_return: bool,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unfinished.get() > MAX_ROW_BYTES {
            let reason = "a row of more than 1 MiB: is a quote left open?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        loop {
            let n = self.file.read(buffer)?;
            self.unfinished.set(self.unfinished.get() + n);
            let mut kept = 0;
            for i in 0..n {
                let byte = buffer[i];
                if !(byte == b'\n' && self.after_return) {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
                self.after_return = byte == b'\r';
            }
            // Nothing at all is the end of the file.
            if kept > 0 || n == 0 {
                return Ok(kept);
            }
        }
    }
}
