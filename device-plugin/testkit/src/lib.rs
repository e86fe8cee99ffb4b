//! What stands in for a node when the device plugin is tested.
//!
//! - [`kubelet`]: a kubelet as far as device plugins can tell, with both ways of registration, its books
//!   and its restarts;
//! - [`tree`]: a sysfs tree with as many cards as one likes;
//! - [`process`]: the plugin's own process, with all its directories, to be killed at any moment;
//! - [`random`]: moments and damages that a seed decides.
//!
//! It is used by the plugin's tests, by the cases of the simulated node and by the benches, so that all of
//! them speak with the same kubelet.

pub mod kubelet;
pub mod process;
pub mod random;
pub mod tree;

pub use kubelet::{Allocated, Kubelet};
pub use process::{Dirs, Plugin};
pub use random::Random;
pub use tree::Tree;
