//! What a card says of itself: driver, serial numbers, firmware.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Devlink, Handle, uapi};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes};

/// `devlink dev info`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Info {
    /// The driver's name.
    pub driver: Option<String>,
    /// The card's serial number.
    pub serial_number: Option<String>,
    /// The board's serial number.
    pub board_serial_number: Option<String>,
    /// Versions of what cannot change, the board's revision say, by name.
    pub fixed: BTreeMap<String, String>,
    /// Versions of the firmware that runs, by name.
    pub running: BTreeMap<String, String>,
    /// Versions of the firmware that will run after the next reset, by name.
    pub stored: BTreeMap<String, String>,
}

impl Devlink {
    /// Asks the card what it is.
    ///
    /// # Errors
    /// `ENODEV` where there is no such devlink instance.
    pub fn info(&mut self, card: &Handle) -> Result<Info, NetlinkError> {
        let what = format!("devlink dev info {card}");
        self.generic.ask(uapi::CMD_INFO_GET, card.write(), &what, parse)
    }
}

pub(super) fn parse(attributes: &Attributes<'_>) -> Result<Info, AttrError> {
    Ok(Info {
        driver: attributes.string(uapi::INFO_DRIVER_NAME)?,
        serial_number: attributes.string(uapi::INFO_SERIAL_NUMBER)?,
        board_serial_number: attributes.string(uapi::INFO_BOARD_SERIAL_NUMBER)?,
        fixed: versions(attributes, uapi::INFO_VERSION_FIXED)?,
        running: versions(attributes, uapi::INFO_VERSION_RUNNING)?,
        stored: versions(attributes, uapi::INFO_VERSION_STORED)?,
    })
}

fn versions(attributes: &Attributes<'_>, kind: u16) -> Result<BTreeMap<String, String>, AttrError> {
    attributes.all(kind).map(version).collect()
}

fn version(nest: &[u8]) -> Result<(String, String), AttrError> {
    let version = Attributes::parse(nest)?;
    let name = version.require_string(uapi::INFO_VERSION_NAME, "the version's name")?;
    Ok((name, version.require_string(uapi::INFO_VERSION_VALUE, "the version")?))
}

impl fmt::Display for Info {
    /// `driver mlx5_core, serial MT2, running fw.version 22.31.1014`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.driver.iter().map(|driver| format!("driver {driver}")));
        parts.extend(self.serial_number.iter().map(|number| format!("serial {number}")));
        parts
            .extend(self.board_serial_number.iter().map(|number| format!("board serial {number}")));
        for (kind, versions) in
            [("fixed", &self.fixed), ("running", &self.running), ("stored", &self.stored)]
        {
            parts.extend(versions.iter().map(|(name, version)| format!("{kind} {name} {version}")));
        }
        f.write_str(&parts.join(", "))
    }
}
