//! What a container runtime and a CNI plugin say to each other: environment in, configuration in, a result or an error
//! out. (The CNI specification, versions 0.3.1 to 1.1.0.)

mod env;
mod error;
mod ip;
mod result;
mod version;

pub use env::{Attachment, Call, EnvError, PodIdentity, Verb};
pub use error::{CniError, Code};
pub use ip::{InvalidIpNet, IpNet};
pub(crate) use result::read_route;
pub use result::{BadResult, CniResult, Interface, IpConfig, Route};
pub use version::{UnknownVersion, Version};
