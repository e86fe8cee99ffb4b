//! The compiler is a function: nothing in it may look at files, clocks, the environment or the network, and no map may
//! have an order that differs from run to run (a hash without a seed has none).

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources fails")]

use std::fs;
use std::path::Path;

const FORBIDDEN: [&str; 9] = [
    "std::fs",
    "std::env",
    "std::time",
    "std::process",
    "std::thread",
    "std::io",
    "HashMap",
    "HashSet",
    "println!",
];

#[test]
fn the_compiler_is_pure() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}

fn check(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(&path);
            continue;
        }
        let text =
            fs::read_to_string(&path).unwrap().replace("FxHashMap", "").replace("FxHashSet", "");
        assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
        for word in FORBIDDEN {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}
