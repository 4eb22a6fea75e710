//! Recipe to checked plan to run.
