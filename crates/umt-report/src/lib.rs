//! What is reported of a finished run: `results.json`, tables, plots, and what is wrong with its networks.
//!
//! ```
//! use umt_eval::Table;
//! let cells = |row: [&str; 2]| row.map(String::from).to_vec();
//! let (header, rows) = (cells(["stage", "top-1 %"]), vec![cells(["umt", "93.1"])]);
//! let table = Table { title: "Methods".into(), header, rows, note: String::new() };
//! assert!(umt_report::render(&table).contains("umt"));
//! ```

mod call;
mod error;
mod base64;
mod page;
pub mod pictures;
mod scenes;
mod compare;
mod report;
mod terminal;
mod diagnose;

pub use call::Call;
pub use diagnose::{DiagnoseOptions, Diagnoses, Diagnosis, diagnose, diagnosis_plot};
pub use error::ReportError;
pub use report::{Report, write};
pub use scenes::overlay;
pub use terminal::{render, render_results};
