//! devlink: the card itself, beside its netdevs.
//!
//! A [`Devlink`] is a blocking connection of the network namespace it was opened in. Each subject
//! has a file: the value the kernel shows, how it is read from attributes and how a change to it is
//! written, and last the requests. Reading needs no privilege, changing needs `CAP_NET_ADMIN`.
//!
//! ```no_run
//! use switchdev::devlink::{Devlink, EswitchChange};
//! use switchdev::eswitch::EswitchMode;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let card = "pci/0000:01:00.0".parse()?;
//! let mut devlink = Devlink::open()?;
//! println!("{}", devlink.info(&card)?);
//! devlink.set_eswitch(&card, EswitchChange::Mode(EswitchMode::Switchdev))?;
//! for port in devlink.ports()? {
//!     println!("{port}");
//! }
//! # Ok(())
//! # }
//! ```

mod eswitch;
mod handle;
mod health;
mod info;
mod port;
mod rate;
#[cfg(test)]
mod tests;
mod uapi;

pub use eswitch::EswitchChange;
pub use handle::{Handle, InvalidHandle};
pub use health::{Health, HealthReporter};
pub use info::Info;
pub use port::{
    Flavour, FunctionState, OperationalState, Port, PortFunction, PortFunctionChange, PortIndex,
    PortNetdev,
};
pub use rate::{InvalidRate, Rate, RateChange, RateObject, RateTarget};

use crate::netlink::NetlinkError;
use crate::netlink::attr::Writer;
use crate::netlink::generic::{Family, Generic, multicast_group};

const FAMILY: Family = Family { name: "devlink", version: 1, option: "CONFIG_NET_DEVLINK" };

/// The number of the multicast group that devlink's notifications come in.
pub(crate) fn notifications() -> Result<u32, NetlinkError> {
    let group = multicast_group(FAMILY, "config")?;
    group.ok_or(NetlinkError::NoFamily { family: FAMILY.name, option: FAMILY.option })
}

/// A connection to devlink.
#[derive(Debug)]
pub struct Devlink {
    generic: Generic,
}

impl Devlink {
    /// Opens a connection in this thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::NoFamily`] on a kernel without devlink.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { generic: Generic::open(FAMILY)? })
    }

    /// The devlink instances of this network namespace, in their order.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn devices(&mut self) -> Result<Vec<Handle>, NetlinkError> {
        let what = "listing devlink devices";
        let mut handles =
            self.generic.list(uapi::CMD_GET, Writer::default(), what, handle::parse)?;
        handles.sort();
        Ok(handles)
    }
}
