//! The simulated node, its tests and benches.
//!
//! ```text
//! cli/    what a user types; one file a subcommand
//! sim/    the host's side: kernel, initramfs, nicsim.ko, QEMU, and what became of a run
//! guest/  the guest's side: the first process, and fixtures for cases (nicsim, namespaces, OVS, packets)
//! setup/  the system packages all this needs
//! cases/  the tests that run in the guest; one file a subject
//! demo/   the main job, told step by step
//! differential/  the compiler against Open vSwitch itself, on any machine
//! key_lines/  whether a test fails for each line of the compiler that matters
//! ```
//!
//! Host and guest run the same binary. The host's root file system is the guest's root (read-only, with a layer of
//! memory on top), so a path that is right on the host is right in the guest.

pub mod bench;
pub mod cases;
pub mod cli;
pub mod demo;
pub mod differential;
pub mod guest;
pub mod key_lines;
pub mod setup;
pub mod sim;
