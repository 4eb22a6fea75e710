//! Promises, tested end to end: one binary, a module per promise. `docs/RELIABILITY.md` lists them.

mod command;
#[path = "../../crates/umt-store/tests/common/server.rs"]
#[expect(dead_code, reason = "the store's own tests break it in more ways")]
mod hub_server;
#[path = "../../crates/umt-store/tests/it/faults.rs"]
#[expect(dead_code, reason = "the store's own tests fail in more ways")]
mod faults;
mod tidy;
mod tiny;

mod broken_recipes;
mod data_init;
mod diagnose;
mod formats;
mod interrupts;
mod kills;
mod live;
mod made_frames;
mod method;
mod objectives;
mod outputs;
mod own_data;
mod data_check;
mod pretrained;
mod pinned;
mod export;
mod predict;
mod provenance;
mod recipes;
mod reuse;
mod segmentation;
mod segmentation_weights;
mod threads;
