//! The host's side of the simulated node.
//!
//! A run is: find or build the kernel ([`kernel`]), pack the initramfs ([`initramfs`]), build `nicsim.ko` for that kernel
//! ([`module`]), start QEMU ([`machine`], [`node`]) on the host's root, and follow what the guest reports ([`job`]) until it
//! has ended, one way or another ([`exit`]).

pub mod accel;
pub mod cache;
pub mod console;
pub mod cpio;
pub mod exit;
pub mod initramfs;
pub mod job;
pub mod kernel;
pub mod machine;
pub mod module;
pub mod node;
pub mod process;
pub mod progress;
pub mod suite;
pub mod watch;
