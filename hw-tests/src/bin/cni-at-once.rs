//! One call of the CNI plugin with everybody it asks in memory, for `hw-tests bench cni`: a program of its own, as the plugin is, because what
//! a process costs to start grows with its program.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(verb), Some(dir)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: cni-at-once VERB DIR");
        return ExitCode::FAILURE;
    };
    match hw_tests::bench::cni::call(&verb, Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cni-at-once: {error:#}");
            ExitCode::FAILURE
        }
    }
}
