//! `phys_port_name` and `phys_switch_id`: what a netdev says of its place on a card.
//!
//! A switchdev driver names every port of its embedded switch; the kernel's own names are made in
//! `devlink_port_phys_port_name_get()` (`net/devlink/port.c`), older drivers made theirs alike:
//!
//! | name | port |
//! | --- | --- |
//! | `p0`, `p0s1` | the uplink: physical port 0, or part 1 of it when it is split |
//! | `pf0`, `c1pf0` | a PF's representor; with a controller where the PF is on another host |
//! | `pf0vf3`, `c1pf0vf3` | a VF's representor |
//! | `pf1sf2`, `c1pf1sf2` | a sub-function's representor |
//! | `3` | a VF's representor on kernels before 5.0, which gave the bare VF number |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a VF among those of its PF, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VfIndex(pub u16);

impl fmt::Display for VfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which host's PCI bus a function is on: 0 (unsaid in names) is this one, others are hosts that a
/// DPU or a multi-host card serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Controller(pub u32);

/// The number of a PF on its card, which is not its PCI function number on every card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PfNumber(pub u16);

/// The PCI function that a port of the embedded switch leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// The PF itself.
    Pf,
    /// One of its VFs.
    Vf(VfIndex),
    /// One of its sub-functions.
    Sf(u32),
}

/// A parsed `phys_port_name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PhysPortName {
    /// A port of the card to the outside: `p0`, or `p0s1` when split.
    Uplink {
        /// The port's number on the panel.
        port: u32,
        /// The part's number, when the port is split by a breakout cable.
        split: Option<u32>,
    },
    /// The representor of a function: `pf0vf3`, `c1pf0sf2`.
    Function {
        /// Whose bus it is on, where the name says so.
        controller: Option<Controller>,
        /// The PF it belongs to.
        pf: PfNumber,
        /// Which of the PF's functions.
        function: Function,
    },
    /// A VF's representor by an old driver: `3`.
    Legacy(VfIndex),
}

/// The text is no `phys_port_name` of a switchdev port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("phys_port_name {0:?} is none of p0, p0s1, pf0, pf0vf3, pf0sf2, c1pf0vf3 or a bare number")]
pub struct InvalidPhysPortName(pub String);

impl PhysPortName {
    /// Whether this is the card's port to the outside.
    #[must_use]
    pub fn is_uplink(&self) -> bool {
        matches!(self, Self::Uplink { .. })
    }

    /// Whether this names `vf` of the PF numbered `pf` on this host.
    ///
    /// A name with a controller other than 0 is a function of another host, never one of ours. An
    /// old bare number says nothing of its PF, so the caller must know the card otherwise.
    #[must_use]
    pub fn is_local_vf(&self, pf: Option<PfNumber>, vf: VfIndex) -> bool {
        match self {
            Self::Function { controller, pf: named, function } => {
                controller.unwrap_or_default() == Controller(0)
                    && pf.is_none_or(|pf| pf == *named)
                    && *function == Function::Vf(vf)
            }
            Self::Legacy(index) => *index == vf,
            Self::Uplink { .. } => false,
        }
    }
}

impl fmt::Display for PhysPortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uplink { port, split: None } => write!(f, "p{port}"),
            Self::Uplink { port, split: Some(part) } => write!(f, "p{port}s{part}"),
            Self::Legacy(vf) => write!(f, "{vf}"),
            Self::Function { controller, pf, function } => {
                if let Some(controller) = controller {
                    write!(f, "c{}", controller.0)?;
                }
                write!(f, "pf{}{function}", pf.0)
            }
        }
    }
}

impl fmt::Display for Function {
    /// The part of the name after the PF's: nothing, `vf3` or `sf2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pf => Ok(()),
            Self::Vf(vf) => write!(f, "vf{vf}"),
            Self::Sf(sf) => write!(f, "sf{sf}"),
        }
    }
}

impl FromStr for PhysPortName {
    type Err = InvalidPhysPortName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        legacy(text)
            .or_else(|| function(text))
            .or_else(|| uplink(text))
            .ok_or_else(|| InvalidPhysPortName(text.to_owned()))
    }
}

fn legacy(text: &str) -> Option<PhysPortName> {
    number(text).map(VfIndex).map(PhysPortName::Legacy)
}

fn uplink(text: &str) -> Option<PhysPortName> {
    let text = text.strip_prefix('p')?;
    let (port, split) = match text.split_once('s') {
        Some((port, part)) => (port, Some(number(part)?)),
        None => (text, None),
    };
    Some(PhysPortName::Uplink { port: number(port)?, split })
}

fn function(text: &str) -> Option<PhysPortName> {
    let (controller, rest) = match text.strip_prefix('c') {
        Some(text) => {
            let (controller, rest) = text.split_once("pf")?;
            (Some(Controller(number(controller)?)), rest)
        }
        None => (None, text.strip_prefix("pf")?),
    };
    let (pf, function) = if let Some((pf, vf)) = rest.split_once("vf") {
        (pf, Function::Vf(VfIndex(number(vf)?)))
    } else if let Some((pf, sf)) = rest.split_once("sf") {
        (pf, Function::Sf(number(sf)?))
    } else {
        (rest, Function::Pf)
    };
    Some(PhysPortName::Function { controller, pf: PfNumber(number(pf)?), function })
}

/// Decimal digits as the kernel prints them: no sign and no leading zero.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

impl From<PhysPortName> for String {
    fn from(name: PhysPortName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for PhysPortName {
    type Error = InvalidPhysPortName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The identity of an embedded switch: all ports with the same id forward to one another in hardware.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SwitchId(Vec<u8>);

/// The text is no switch id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("phys_switch_id {0:?} is not 1 to 32 bytes in hexadecimal")]
pub struct InvalidSwitchId(pub String);

impl fmt::Display for SwitchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for SwitchId {
    type Err = InvalidSwitchId;

    /// The kernel's ids are at most `MAX_PHYS_ITEM_ID_LEN` (32) bytes, printed without separators.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(hex_byte).collect();
        let bytes = bytes.filter(|bytes| (1..=32).contains(&bytes.len()));
        bytes.map(Self).ok_or_else(|| InvalidSwitchId(text.to_owned()))
    }
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

impl From<SwitchId> for String {
    fn from(id: SwitchId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SwitchId {
    type Error = InvalidSwitchId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vf(controller: Option<u32>, pf: u16, vf: u16) -> PhysPortName {
        let controller = controller.map(Controller);
        PhysPortName::Function { controller, pf: PfNumber(pf), function: Function::Vf(VfIndex(vf)) }
    }

    fn check(text: &str, name: PhysPortName) {
        assert_eq!(text.parse(), Ok(name.clone()));
        assert_eq!(name.to_string(), text);
    }

    #[test]
    fn each_kind_of_port_has_its_spelling() {
        check("p0", PhysPortName::Uplink { port: 0, split: None });
        check("p1s3", PhysPortName::Uplink { port: 1, split: Some(3) });
        check("pf0vf3", vf(None, 0, 3));
        check("c1pf0vf3", vf(Some(1), 0, 3));
        check("3", PhysPortName::Legacy(VfIndex(3)));
        let (controller, pf) = (None, PfNumber(1));
        check("pf1sf2", PhysPortName::Function { controller, pf, function: Function::Sf(2) });
        check("pf1", PhysPortName::Function { controller, pf, function: Function::Pf });
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            "p",
            "pf",
            "pf0vf",
            "vf3",
            "c1",
            "c1p0",
            "p0vf1",
            "pf0vf+1",
            "pf00",
            "eth0",
            "-1",
            "pf0vf65536",
        ] {
            assert!(text.parse::<PhysPortName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_function_of_another_host_is_never_ours() {
        assert!(vf(None, 0, 3).is_local_vf(Some(PfNumber(0)), VfIndex(3)));
        assert!(vf(Some(0), 0, 3).is_local_vf(Some(PfNumber(0)), VfIndex(3)));
        assert!(!vf(Some(1), 0, 3).is_local_vf(Some(PfNumber(0)), VfIndex(3)));
    }

    #[test]
    fn the_same_vf_of_the_other_pf_is_another_port() {
        assert!(!vf(None, 1, 3).is_local_vf(Some(PfNumber(0)), VfIndex(3)));
        assert!(vf(None, 1, 3).is_local_vf(None, VfIndex(3)));
    }

    #[test]
    fn a_switch_id_is_bytes_in_hexadecimal() {
        assert_eq!("02AB00".parse::<SwitchId>().unwrap().to_string(), "02ab00");
        for text in ["", "2", "0g", "+1", &"00".repeat(33)] {
            assert!(text.parse::<SwitchId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_shown_as_it_came(text in "c?[0-9]{0,2}(p|pf)?[0-9]{0,6}(vf|sf|s)?[0-9]{0,6}") {
            if let Ok(name) = text.parse::<PhysPortName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (text.parse::<PhysPortName>(), text.parse::<SwitchId>());
        }
    }
}
