//! What becomes of the defects of a list while it is read.

use crate::{
    DataError,
    finding::{Finding, FindingKind, Findings},
};
use std::path::Path;

/// The first defect ends the reading, or all are collected and what is whole is read.
#[derive(Debug, Default)]
pub struct Defects {
    collected: Option<Findings>,
}

impl Defects {
    /// The first defect is an error.
    pub fn stop() -> Self {
        Self::default()
    }

    /// All are collected.
    pub(crate) fn collect() -> Self {
        Self { collected: Some(Findings::default()) }
    }

    /// What was collected.
    pub(crate) fn found(self) -> Findings {
        self.collected.unwrap_or_default()
    }

    /// Something that makes a row, or a list, no list of its form.
    ///
    /// # Errors
    /// [`DataError::List`] where the first defect ends the reading.
    pub(crate) fn defect(&mut self, kind: FindingKind, at: Place<'_>, reason: String) -> Result<(), DataError> {
        let Some(findings) = &mut self.collected else {
            return Err(at.error(reason));
        };
        findings.push(Finding::new(kind, reason).at(at.list, at.line, at.id));
        Ok(())
    }

    /// Something that is allowed and worth a word.
    pub(crate) fn note(&mut self, kind: FindingKind, at: Place<'_>, reason: impl FnOnce() -> String) {
        if let Some(findings) = &mut self.collected {
            findings.push(Finding::new(kind, reason()).at(at.list, at.line, at.id));
        }
    }

    /// Something that makes the set as a whole of no use.
    ///
    /// # Errors
    /// [`DataError::Root`] where the first defect ends the reading.
    pub(crate) fn set(&mut self, kind: FindingKind, list: &Path, reason: String) -> Result<(), DataError> {
        let Some(findings) = &mut self.collected else {
            return Err(DataError::root(list, reason, kind.remedy()));
        };
        findings.push(Finding::new(kind, reason).at(list, 0, ""));
        Ok(())
    }

    /// An error of the reader of rows, which goes on after it.
    ///
    /// # Errors
    /// The error, where the first defect ends the reading or it is about no row.
    pub(crate) fn row(&mut self, list: &Path, error: DataError) -> Result<(), DataError> {
        match (&mut self.collected, error) {
            (Some(findings), DataError::List { line, reason, .. }) => {
                findings.push(Finding::new(FindingKind::Row, reason).at(list, line, ""));
                Ok(())
            }
            (_, error) => Err(error),
        }
    }
}

/// Where in a list, and what its form is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub list: &'a Path,
    pub line: u64,
    /// The sample's id, if it is known.
    pub id: &'a str,
    /// Completes the error message.
    pub form: &'a str,
}

impl Place<'_> {
    /// The error about it.
    pub fn error(&self, reason: String) -> DataError {
        DataError::List { path: self.list.to_owned(), line: self.line, reason, expected: self.form.to_owned() }
    }
}
