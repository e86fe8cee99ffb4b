//! The ports of the embedded switch, and the functions behind them.

use std::fmt;

use serde::{Deserialize, Serialize};
use tc_filter::{IfIndex, Mac};

use super::{Devlink, Handle, handle, uapi};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::phys_port::{Controller, PfNumber, VfIndex};

/// The number of a port on its card, chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortIndex(pub u32);

/// `devlink port show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The card.
    pub card: Handle,
    /// The port's number on it.
    pub index: PortIndex,
    /// What the port leads to.
    pub flavour: Flavour,
    /// Its netdev in this network namespace: the uplink or a representor.
    pub netdev: Option<PortNetdev>,
    /// Whether the function is on another host's bus.
    pub external: bool,
    /// What is set on the function behind the port.
    pub function: Option<PortFunction>,
}

/// What a port leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// A port on the panel, with its number where it has one.
    Physical {
        /// The number on the panel.
        number: Option<u32>,
    },
    /// A PF.
    PciPf {
        /// Whose bus it is on.
        controller: Controller,
        /// Its number.
        pf: PfNumber,
    },
    /// A VF.
    PciVf {
        /// Whose bus it is on.
        controller: Controller,
        /// Its PF's number.
        pf: PfNumber,
        /// Its index.
        vf: VfIndex,
    },
    /// A sub-function.
    PciSf {
        /// Whose bus it is on.
        controller: Controller,
        /// Its PF's number.
        pf: PfNumber,
        /// Its number.
        sf: u32,
    },
    /// One of the others, of which offload needs nothing: `cpu`, `dsa`, `virtual`, `unused`, or one
    /// that this program does not know. The number is devlink's.
    Other(u16),
}

/// A port's netdev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortNetdev {
    /// Its number.
    #[serde(serialize_with = "plain_number")]
    pub ifindex: IfIndex,
    /// Its name.
    pub name: String,
}

/// What is set on the function behind a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PortFunction {
    /// Its MAC address; all zeros until one is set, on some drivers.
    #[serde(serialize_with = "as_text")]
    pub hw_addr: Option<Mac>,
    /// Whether it is to be active. VFs have no state, sub-functions do.
    pub state: Option<FunctionState>,
    /// Whether a driver is attached to it.
    pub opstate: Option<OperationalState>,
}

/// Whether a function is to be active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FunctionState {
    /// It is not.
    Inactive,
    /// It is.
    Active,
}

/// Whether a driver is attached to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationalState {
    /// There is none.
    Detached,
    /// There is one.
    Attached,
}

/// One property of a function and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortFunctionChange {
    /// The MAC address, before the function's driver is bound.
    HwAddr(Mac),
    /// Active or not.
    State(FunctionState),
}

impl Devlink {
    /// All ports of all cards, by card and index.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn ports(&mut self) -> Result<Vec<Port>, NetlinkError> {
        let what = "devlink port show";
        let mut ports = self.generic.list(uapi::CMD_PORT_GET, Writer::default(), what, parse)?;
        ports.sort_by(|a, b| (&a.card, a.index).cmp(&(&b.card, b.index)));
        Ok(ports)
    }

    /// One port.
    ///
    /// # Errors
    /// `ENODEV` where there is no such card or port.
    pub fn port(&mut self, card: &Handle, index: PortIndex) -> Result<Port, NetlinkError> {
        let what = format!("devlink port show {card}/{index}");
        self.generic.ask(uapi::CMD_PORT_GET, address(card, index), &what, parse)
    }

    /// Changes the function behind a port.
    ///
    /// # Errors
    /// The driver's errno and sentence: `EOPNOTSUPP` where the port has no such property, `EBUSY`
    /// where the function's driver is bound and the card does not allow it then.
    pub fn set_port_function(
        &mut self,
        card: &Handle,
        index: PortIndex,
        change: PortFunctionChange,
    ) -> Result<(), NetlinkError> {
        let what = format!("devlink port function set {card}/{index} {change}");
        let request = write_function(card, index, change);
        self.generic.request(uapi::CMD_PORT_SET, request, &what).map(drop)
    }
}

fn address(card: &Handle, index: PortIndex) -> Writer {
    card.write().u32(uapi::PORT_INDEX, index.0)
}

pub(super) fn write_function(
    card: &Handle,
    index: PortIndex,
    change: PortFunctionChange,
) -> Writer {
    let function = Writer::default();
    let function = match change {
        PortFunctionChange::HwAddr(mac) => function.bytes(uapi::PORT_FUNCTION_HW_ADDR, &mac.0),
        PortFunctionChange::State(state) => {
            function.u8(uapi::PORT_FUNCTION_STATE, u8::from(state == FunctionState::Active))
        }
    };
    address(card, index).nested(uapi::PORT_FUNCTION, function)
}

pub(super) fn parse(attributes: &Attributes<'_>) -> Result<Port, AttrError> {
    Ok(Port {
        card: handle::parse(attributes)?,
        index: PortIndex(attributes.require_u32(uapi::PORT_INDEX, "the port's number")?),
        flavour: parse_flavour(attributes)?,
        netdev: parse_netdev(attributes)?,
        external: attributes.u8(uapi::PORT_EXTERNAL)?.is_some_and(|external| external != 0),
        function: attributes
            .nested(uapi::PORT_FUNCTION)?
            .map(|f| parse_function(&f))
            .transpose()?,
    })
}

const PHYSICAL: u16 = 0;
const PCI_PF: u16 = 3;
const PCI_VF: u16 = 4;
const PCI_SF: u16 = 7;
/// For a driver that names no flavour, which the kernel allows until its port is registered.
const NO_FLAVOUR: u16 = u16::MAX;

fn parse_flavour(attributes: &Attributes<'_>) -> Result<Flavour, AttrError> {
    let flavour = attributes.u16(uapi::PORT_FLAVOUR)?.unwrap_or(NO_FLAVOUR);
    let controller = Controller(attributes.u32(uapi::PORT_CONTROLLER_NUMBER)?.unwrap_or(0));
    let pf = || attributes.require_u16(uapi::PORT_PCI_PF_NUMBER, "the PF's number").map(PfNumber);
    Ok(match flavour {
        PHYSICAL => Flavour::Physical { number: attributes.u32(uapi::PORT_NUMBER)? },
        PCI_PF => Flavour::PciPf { controller, pf: pf()? },
        PCI_VF => {
            let vf = attributes.require_u16(uapi::PORT_PCI_VF_NUMBER, "the VF's number")?;
            Flavour::PciVf { controller, pf: pf()?, vf: VfIndex(vf) }
        }
        PCI_SF => {
            let sf = attributes.require_u32(uapi::PORT_PCI_SF_NUMBER, "the SF's number")?;
            Flavour::PciSf { controller, pf: pf()?, sf }
        }
        other => Flavour::Other(other),
    })
}

/// The kernel leaves both out while the netdev is in another network namespace.
fn parse_netdev(attributes: &Attributes<'_>) -> Result<Option<PortNetdev>, AttrError> {
    let ifindex = attributes.u32(uapi::PORT_NETDEV_IFINDEX)?;
    let name = attributes.string(uapi::PORT_NETDEV_NAME)?;
    Ok(ifindex.zip(name).map(|(ifindex, name)| PortNetdev { ifindex: IfIndex(ifindex), name }))
}

fn parse_function(function: &Attributes<'_>) -> Result<PortFunction, AttrError> {
    let state = function.u8(uapi::PORT_FUNCTION_STATE)?;
    let opstate = function.u8(uapi::PORT_FUNCTION_OPSTATE)?;
    Ok(PortFunction {
        hw_addr: function.get(uapi::PORT_FUNCTION_HW_ADDR).and_then(ethernet_address),
        state: state.map(|s| if s == 0 { FunctionState::Inactive } else { FunctionState::Active }),
        opstate: opstate
            .map(|s| if s == 0 { OperationalState::Detached } else { OperationalState::Attached }),
    })
}

/// An InfiniBand address has 20 bytes.
fn ethernet_address(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

impl fmt::Display for PortIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Port {
    /// As `devlink port show` prints it, without its own line for the function.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:", self.card, self.index)?;
        self.netdev.iter().try_for_each(|netdev| write!(f, " netdev {}", netdev.name))?;
        write!(f, " {}", self.flavour)?;
        if self.external {
            write!(f, " external")?;
        }
        self.function.iter().try_for_each(|function| write!(f, "{function}"))
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Physical { number: None } => write!(f, "flavour physical"),
            Self::Physical { number: Some(number) } => write!(f, "flavour physical port {number}"),
            Self::PciPf { controller, pf } => {
                write!(f, "flavour pcipf controller {} pfnum {}", controller.0, pf.0)
            }
            Self::PciVf { controller, pf, vf } => {
                write!(f, "flavour pcivf controller {} pfnum {} vfnum {vf}", controller.0, pf.0)
            }
            Self::PciSf { controller, pf, sf } => {
                write!(f, "flavour pcisf controller {} pfnum {} sfnum {sf}", controller.0, pf.0)
            }
            Self::Other(number) => write!(f, "flavour number {number}"),
        }
    }
}

impl fmt::Display for PortFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hw_addr.iter().try_for_each(|mac| write!(f, " hw_addr {mac}"))?;
        self.state.iter().try_for_each(|state| write!(f, " state {state}"))?;
        self.opstate.iter().try_for_each(|opstate| write!(f, " opstate {opstate}"))
    }
}

impl fmt::Display for FunctionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inactive => "inactive",
            Self::Active => "active",
        })
    }
}

impl fmt::Display for OperationalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detached => "detached",
            Self::Attached => "attached",
        })
    }
}

impl fmt::Display for PortFunctionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HwAddr(mac) => write!(f, "hw_addr {mac}"),
            Self::State(state) => write!(f, "state {state}"),
        }
    }
}

fn plain_number<S: serde::Serializer>(ifindex: &IfIndex, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(ifindex.0)
}

fn as_text<S: serde::Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    mac.map(|mac| mac.to_string()).serialize(serializer)
}
