//! What a card's firmware and queues report of their health, and how they are recovered.

use std::fmt;

use serde::Serialize;

use super::{Devlink, Handle, PortIndex, handle, uapi};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};

/// `devlink health show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReporter {
    /// The card.
    pub card: Handle,
    /// The port, for what concerns one port only.
    pub port: Option<PortIndex>,
    /// The reporter's name: `fw`, `fw_fatal`, `tx`, `rx`, …
    pub name: String,
    /// How it is.
    pub state: Health,
    /// How many errors were reported.
    pub errors: u64,
    /// How many times it was recovered.
    pub recoveries: u64,
    /// Whether the driver recovers it without being asked; `None` where it cannot be recovered.
    pub auto_recover: Option<bool>,
}

/// How a part of a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Well.
    Healthy,
    /// In error, and not recovered.
    Error,
}

impl Devlink {
    /// All health reporters of all cards.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn health(&mut self) -> Result<Vec<HealthReporter>, NetlinkError> {
        let what = "devlink health show";
        self.generic.list(uapi::CMD_HEALTH_REPORTER_GET, Writer::default(), what, parse)
    }

    /// Asks the driver to recover what `reporter` reports.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where it cannot be recovered, or the driver's errno and sentence.
    pub fn recover(&mut self, card: &Handle, reporter: &str) -> Result<(), NetlinkError> {
        let what = format!("devlink health recover {card} reporter {reporter}");
        let request = write_recover(card, reporter);
        self.generic.request(uapi::CMD_HEALTH_REPORTER_RECOVER, request, &what).map(drop)
    }
}

pub(super) fn write_recover(card: &Handle, reporter: &str) -> Writer {
    card.write().string(uapi::HEALTH_REPORTER_NAME, reporter)
}

pub(super) fn parse(attributes: &Attributes<'_>) -> Result<HealthReporter, AttrError> {
    let missing = AttrError::Missing { kind: uapi::HEALTH_REPORTER, wanted: "a health reporter" };
    let reporter = attributes.nested(uapi::HEALTH_REPORTER)?.ok_or(missing)?;
    let healthy = reporter.u8(uapi::HEALTH_REPORTER_STATE)?.unwrap_or_default() == 0;
    Ok(HealthReporter {
        card: handle::parse(attributes)?,
        port: attributes.u32(uapi::PORT_INDEX)?.map(PortIndex),
        name: reporter.require_string(uapi::HEALTH_REPORTER_NAME, "the reporter's name")?,
        state: if healthy { Health::Healthy } else { Health::Error },
        errors: reporter.u64(uapi::HEALTH_REPORTER_ERR_COUNT)?.unwrap_or_default(),
        recoveries: reporter.u64(uapi::HEALTH_REPORTER_RECOVER_COUNT)?.unwrap_or_default(),
        auto_recover: reporter.u8(uapi::HEALTH_REPORTER_AUTO_RECOVER)?.map(|auto| auto != 0),
    })
}

impl fmt::Display for HealthReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.card)?;
        self.port.iter().try_for_each(|port| write!(f, "/{port}"))?;
        let Self { name, state, errors, recoveries, .. } = self;
        write!(f, ": reporter {name} state {state} error {errors} recover {recoveries}")
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Error => "error",
        })
    }
}
