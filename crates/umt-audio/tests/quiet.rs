//! Files that a decoder panics on (found by fuzzing): an error of the file, and nothing is printed.
//! One test alone in its process, because it looks at the process's panic hook.

mod common;

use std::{
    fs, panic,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

#[test]
fn a_panic_of_a_decoder_is_an_error_without_a_word() {
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    panic::set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::SeqCst);
    }));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    let mut gave_up = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        // A file that no longer makes its decoder panic may be read.
        if let Err(error) = common::decode(&bytes) {
            gave_up += usize::from(error.to_string().contains("gave up"));
        }
    }
    println!("{gave_up} decoders gave up");
    assert_eq!(HEARD.load(Ordering::SeqCst), 0);
    // Every other panic is heard as before.
    assert!(panic::catch_unwind(|| panic!("heard")).is_err());
    assert_eq!(HEARD.load(Ordering::SeqCst), 1);
}
