//! Promises, tested end to end: one binary, a module per promise. `docs/RELIABILITY.md` lists them.

mod tidy;
