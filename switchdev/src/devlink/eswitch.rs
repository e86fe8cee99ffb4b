//! The e-switch's settings, read and changed one at a time.

use std::fmt;

use rustix::io::Errno;

use super::{Devlink, Handle, uapi};
use crate::eswitch::{EncapMode, Eswitch, EswitchMode, InlineMode};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};

/// One setting of the e-switch and its new value.
///
/// The kernel would take all three in one request, but stops at the first that fails and leaves
/// those before it changed. One a request says which one failed, and what has to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EswitchChange {
    /// Legacy or switchdev. All netdevs of VFs and all representors are made anew.
    Mode(EswitchMode),
    /// The headers to inline.
    InlineMode(InlineMode),
    /// Tunnels or none.
    EncapMode(EncapMode),
}

impl Devlink {
    /// What the e-switch is set to. Drivers leave out what they do not know.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the card has no e-switch, `ENODEV` where there is no such card.
    pub fn eswitch(&mut self, card: &Handle) -> Result<Eswitch, NetlinkError> {
        let what = format!("devlink dev eswitch show {card}");
        self.generic.ask(uapi::CMD_ESWITCH_GET, card.write(), &what, parse)
    }

    /// As [`Devlink::eswitch`]; `None` where the card has no e-switch or no devlink instance, as
    /// plain SR-IOV cards.
    ///
    /// # Errors
    /// What any other card may answer.
    pub fn eswitch_if_any(&mut self, card: &Handle) -> Result<Option<Eswitch>, NetlinkError> {
        match self.eswitch(card) {
            Err(error) if error.is(Errno::NODEV) || error.is(Errno::OPNOTSUPP) => Ok(None),
            eswitch => eswitch.map(Some),
        }
    }

    /// Changes one setting, and returns when the driver has carried it out.
    ///
    /// # Errors
    /// The driver's errno and sentence: `EBUSY` where the card is in use (filters, IPsec, a change
    /// under way), `EOPNOTSUPP` where it cannot.
    pub fn set_eswitch(
        &mut self,
        card: &Handle,
        change: EswitchChange,
    ) -> Result<(), NetlinkError> {
        let what = format!("devlink dev eswitch set {card} {change}");
        self.generic.request(uapi::CMD_ESWITCH_SET, write(card, change), &what).map(drop)
    }
}

pub(super) fn write(card: &Handle, change: EswitchChange) -> Writer {
    let writer = card.write();
    match change {
        EswitchChange::Mode(mode) => writer.u16(uapi::ESWITCH_MODE, mode.number().into()),
        EswitchChange::InlineMode(mode) => writer.u8(uapi::ESWITCH_INLINE_MODE, mode.number()),
        EswitchChange::EncapMode(mode) => writer.u8(uapi::ESWITCH_ENCAP_MODE, mode.number()),
    }
}

/// A number that this program does not know reads as a value that is not known.
pub(super) fn parse(attributes: &Attributes<'_>) -> Result<Eswitch, AttrError> {
    let mode = attributes.u16(uapi::ESWITCH_MODE)?.and_then(|number| u8::try_from(number).ok());
    Ok(Eswitch {
        mode: mode.and_then(EswitchMode::from_number),
        inline_mode: attributes.u8(uapi::ESWITCH_INLINE_MODE)?.and_then(InlineMode::from_number),
        encap_mode: attributes.u8(uapi::ESWITCH_ENCAP_MODE)?.and_then(EncapMode::from_number),
    })
}

impl Eswitch {
    /// Whether the e-switch is set so already.
    #[must_use]
    pub fn has(&self, change: EswitchChange) -> bool {
        match change {
            EswitchChange::Mode(mode) => self.mode == Some(mode),
            EswitchChange::InlineMode(mode) => self.inline_mode == Some(mode),
            EswitchChange::EncapMode(mode) => self.encap_mode == Some(mode),
        }
    }
}

impl fmt::Display for EswitchChange {
    /// In the words of the `devlink` command: `mode switchdev`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "mode {mode}"),
            Self::InlineMode(mode) => write!(f, "inline-mode {mode}"),
            Self::EncapMode(mode) => write!(f, "encap-mode {mode}"),
        }
    }
}
