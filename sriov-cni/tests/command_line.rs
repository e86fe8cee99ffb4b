//! The program as people run it.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    for words in [&["schema"][..], &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sriov-cni"));
        let output = command.args(words).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{words:?}: {said}");
    }
}
