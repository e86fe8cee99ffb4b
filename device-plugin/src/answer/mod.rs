//! What a container gets with its devices: variables, device files, a CDI name, a device-info file.

pub mod cdi;
pub mod devinfo;
pub mod env;
pub mod files;
mod write;

pub use write::WriteError;

use crate::config::{PoolConfig, Selector};
use crate::device::Device;

/// A device as a container is given it.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The device.
    pub device: &'a Device,
    /// The pool it comes out of.
    pub pool: &'a PoolConfig,
    /// The selector it came by, which says what of it is wanted.
    pub selector: &'a Selector,
}
