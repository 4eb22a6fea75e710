//! What a set of files must and must not do on its way into batches.

mod cache;
mod check;
mod fixture;
mod lists;
mod loader;
mod real;
mod scenes;
mod splits;
mod synthetic;
