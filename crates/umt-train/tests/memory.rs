//! Memory stays where it is over thousands of steps. A binary of its own, so that no other test allocates meanwhile.

#![cfg(target_os = "linux")]

mod support;

use std::sync::atomic::AtomicUsize;

use support::{Clouds, Softmax};
use umt_train::{Env, EpochReport, Observer, StepReport, train};

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[derive(Default)]
struct Meter {
    at_100: u64,
    highest: u64,
}

impl Observer for Meter {
    fn on_step(&mut self, report: &StepReport<'_>) {
        if report.step == 100 {
            self.at_100 = resident_bytes();
        }
    }

    fn on_epoch(&mut self, _: &EpochReport<'_>) {
        self.highest = self.highest.max(resident_bytes());
    }
}

#[test]
fn two_thousand_steps_take_no_more_memory_than_a_hundred() {
    let folder = tempfile::tempdir().unwrap();
    let store = umt_store::Store::open(folder.path()).unwrap();
    let mut meter = Meter::default();
    let mut env = Env {
        stage: "joint",
        dir: folder.path(),
        store: &store,
        seed: 1,
        observer: &mut meter,
        stop: &AtomicUsize::new(0),
    };
    let config = serde_json::from_str(r#"{ "steps": 2000, "batch": 256, "lr": 0.1 }"#).unwrap();
    let (source, validation) = (Clouds::unwatched(256 * 50, 256), Clouds::unwatched(500, 100));
    train(&mut Softmax::new(), &source, Some(&validation), &config, &mut env).unwrap();
    let grown = meter.highest.saturating_sub(meter.at_100);
    assert!(grown < 2 << 20, "grew by {grown} bytes after step 100");
}
