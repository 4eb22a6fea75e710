//! What the store promises.

mod checkpoint;
mod commit;
mod faults;
mod lock;
mod tensors;
mod tree;
