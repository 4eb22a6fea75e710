//! Promises, tested end to end; see `src/it.rs`.
