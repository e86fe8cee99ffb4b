//! The legacy settings of a VF, made on its PF's link: `ip link set PF vf N …`.
//!
//! They belong to the e-switch's legacy mode. In switchdev mode the representor and devlink's port
//! function take their place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tc_filter::{IfIndex, Mac, Pcp, VlanId};

use super::{Links, message, uapi};
use crate::error::CardError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::phys_port::VfIndex;

const VF_INFO: u16 = 1;
const VF_MAC: u16 = 1;
const VF_VLAN: u16 = 2;
const VF_SPOOFCHK: u16 = 4;
const VF_LINK_STATE: u16 = 5;
const VF_RATE: u16 = 6;
const VF_TRUST: u16 = 9;
const VF_VLAN_LIST: u16 = 12;
const VF_VLAN_INFO: u16 = 1;

/// The kernel's word for "the driver does not say" (-1).
const NOT_REPORTED: u32 = u32::MAX;

/// What a PF's driver reports of a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VfSettings {
    /// Which VF.
    pub vf: VfIndex,
    /// The MAC address it must use; all zeros where it may choose.
    pub mac: Mac,
    /// The VLAN its packets are put into.
    pub vlan: Option<VfVlan>,
    /// Whether packets with another MAC address are dropped; `None` where the driver does not say.
    pub spoof_check: Option<bool>,
    /// Whether it may change its MAC address and go promiscuous; `None` where the driver does not
    /// say.
    pub trust: Option<bool>,
    /// What it gets for sure, in Mbit/s; 0 is nothing.
    pub min_tx_rate: u32,
    /// The most it gets, in Mbit/s; 0 is no limit.
    pub max_tx_rate: u32,
    /// Whether its link follows the PF's.
    pub link_state: VfLinkState,
}

/// A VLAN that the card puts a VF's packets into, unseen by the VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VfVlan {
    /// The VLAN.
    pub id: VlanId,
    /// The priority its packets get.
    pub qos: Pcp,
    /// The tag's kind.
    pub protocol: VlanProtocol,
}

/// The kind of a VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanProtocol {
    /// 802.1Q, the customer's tag.
    Dot1q,
    /// 802.1ad, the service provider's.
    Dot1ad,
}

/// Whether a VF's link follows the PF's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfLinkState {
    /// It does.
    Auto,
    /// Always up, so that VFs reach each other when the cable is out.
    Enable,
    /// Always down.
    Disable,
}

/// One setting of a VF and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VfChange {
    /// The MAC address.
    Mac(Mac),
    /// The VLAN; `None` takes it away.
    Vlan(Option<VfVlan>),
    /// The spoof check.
    SpoofCheck(bool),
    /// The trust.
    Trust(bool),
    /// What it gets for sure and at most, in Mbit/s. They are one request, for the kernel would
    /// read a missing one as 0.
    Rate {
        /// For sure; most cards know only 0.
        min: u32,
        /// At most; 0 is no limit.
        max: u32,
    },
    /// Whether its link follows the PF's.
    LinkState(VfLinkState),
}

/// The text is no VLAN of a VF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "VLAN {0:?} is not a number of 0 to 4095 with, after it, qos 0 to 7 and proto 802.1Q or 802.1ad"
)]
pub struct InvalidVfVlan(pub String);

impl Links {
    /// Changes one setting of a VF of the PF whose link is `pf`, and reads back that it is so.
    ///
    /// # Errors
    /// [`CardError::NoSuchVf`] before anything is changed; the kernel's errno and sentence
    /// (`EOPNOTSUPP` where the driver has no such setting); [`CardError::VfNotApplied`] where the
    /// kernel said yes and the driver reports another value.
    pub fn set_vf(&mut self, pf: IfIndex, vf: VfIndex, change: VfChange) -> Result<(), CardError> {
        let before = self.get_by_index(pf)?;
        if !before.vfs.iter().any(|settings| settings.vf == vf) {
            return Err(CardError::NoSuchVf { pf: before.name, vf, present: before.vfs.len() });
        }
        let what = format!("ip link set {} vf {vf} {change}", before.name);
        self.set(&write(pf, vf, change), &what)?;
        let after = self.get_by_index(pf)?.vfs.into_iter().find(|settings| settings.vf == vf);
        match after {
            Some(after) if after.contradicts(change) => Err(CardError::VfNotApplied {
                pf: before.name,
                vf,
                wanted: change.to_string(),
                found: after.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl VfSettings {
    /// Whether what the driver reports is other than `change` made it. What it does not report
    /// contradicts nothing.
    fn contradicts(&self, change: VfChange) -> bool {
        match change {
            VfChange::Mac(mac) => self.mac != mac,
            VfChange::Vlan(vlan) => self.vlan != vlan,
            VfChange::SpoofCheck(on) => self.spoof_check.is_some_and(|found| found != on),
            VfChange::Trust(on) => self.trust.is_some_and(|found| found != on),
            VfChange::Rate { min, max } => (self.min_tx_rate, self.max_tx_rate) != (min, max),
            VfChange::LinkState(state) => self.link_state != state,
        }
    }
}

fn write(pf: IfIndex, vf: VfIndex, change: VfChange) -> Vec<u8> {
    let info = Writer::default().nested(VF_INFO, write_setting(vf, change));
    message(pf, 0, 0, Writer::default().nested(uapi::VFINFO_LIST, info))
}

fn write_setting(vf: VfIndex, change: VfChange) -> Writer {
    let writer = Writer::default();
    match change {
        // `struct ifla_vf_mac` has room for 32 bytes.
        VfChange::Mac(mac) => {
            writer.bytes(VF_MAC, &[&words(vf, &[]), &mac.0[..], &[0; 26]].concat())
        }
        VfChange::Vlan(vlan) => {
            let info = Writer::default().bytes(VF_VLAN_INFO, &vlan_info(vf, vlan));
            writer.nested(VF_VLAN_LIST, info)
        }
        VfChange::SpoofCheck(on) => writer.bytes(VF_SPOOFCHK, &words(vf, &[on.into()])),
        VfChange::Trust(on) => writer.bytes(VF_TRUST, &words(vf, &[on.into()])),
        VfChange::Rate { min, max } => writer.bytes(VF_RATE, &words(vf, &[min, max])),
        VfChange::LinkState(state) => writer.bytes(VF_LINK_STATE, &words(vf, &[state.number()])),
    }
}

/// The shape of all `struct ifla_vf_*`: the VF's index, then 32-bit numbers.
fn words(vf: VfIndex, values: &[u32]) -> Vec<u8> {
    let words = std::iter::once(u32::from(vf.0)).chain(values.iter().copied());
    words.flat_map(u32::to_ne_bytes).collect()
}

/// `struct ifla_vf_vlan_info`: VLAN 0 takes it away, and the protocol is in network order.
fn vlan_info(vf: VfIndex, vlan: Option<VfVlan>) -> Vec<u8> {
    let (id, qos) = vlan.map_or((0, 0), |vlan| (vlan.id.get().into(), vlan.qos.get().into()));
    let protocol = vlan.map_or(VlanProtocol::Dot1q, |vlan| vlan.protocol);
    let mut bytes = words(vf, &[id, qos]);
    bytes.extend(protocol.ether_type().to_be_bytes());
    bytes.extend([0; 2]);
    bytes
}

pub(super) fn parse_list(link: &Attributes<'_>) -> Result<Vec<VfSettings>, AttrError> {
    let Some(list) = link.nested(uapi::VFINFO_LIST)? else { return Ok(Vec::new()) };
    list.all(VF_INFO).map(|info| parse(&Attributes::parse(info)?)).collect()
}

fn parse(info: &Attributes<'_>) -> Result<VfSettings, AttrError> {
    let Some(mac) = info.fixed::<36>(VF_MAC, "36 bytes: a VF's index and its address")? else {
        return Err(AttrError::Missing { kind: VF_MAC, wanted: "a VF's address" });
    };
    let [v0, v1, _, _, a, b, c, d, e, f, ..] = mac;
    let [min_tx_rate, max_tx_rate] = numbers(info, VF_RATE)?.unwrap_or_default();
    Ok(VfSettings {
        vf: VfIndex(u16::from_ne_bytes([v0, v1])),
        mac: Mac([a, b, c, d, e, f]),
        vlan: parse_vlan(info)?,
        spoof_check: reported(info, VF_SPOOFCHK)?,
        trust: reported(info, VF_TRUST)?,
        min_tx_rate,
        max_tx_rate,
        link_state: numbers(info, VF_LINK_STATE)?
            .map_or(VfLinkState::Auto, |[state]: [u32; 1]| VfLinkState::from_number(state)),
    })
}

/// The numbers after the VF's index.
fn numbers<const N: usize>(
    info: &Attributes<'_>,
    kind: u16,
) -> Result<Option<[u32; N]>, AttrError> {
    let Some(value) = info.get(kind) else { return Ok(None) };
    let words = value.get(4..4 + 4 * N).ok_or_else(|| AttrError::Value {
        kind,
        found: format!("{} bytes", value.len()),
        wanted: "a VF's index and numbers of 4 bytes",
    })?;
    let word = |i: usize| words[4 * i..4 * i + 4].try_into().map(u32::from_ne_bytes);
    Ok(Some(std::array::from_fn(|i| word(i).unwrap_or_default())))
}

fn reported(info: &Attributes<'_>, kind: u16) -> Result<Option<bool>, AttrError> {
    let setting = numbers(info, kind)?.map(|[setting]: [u32; 1]| setting);
    Ok(setting.filter(|setting| *setting != NOT_REPORTED).map(|setting| setting != 0))
}

/// The list has the protocol; kernels before 4.9 have only the plain record.
fn parse_vlan(info: &Attributes<'_>) -> Result<Option<VfVlan>, AttrError> {
    let plain: Option<[u32; 2]> = numbers(info, VF_VLAN)?;
    let listed = info.nested(VF_VLAN_LIST)?;
    let listed = listed.as_ref().map(|l| l.fixed::<16>(VF_VLAN_INFO, "16 bytes")).transpose()?;
    let protocol = match listed.flatten() {
        Some([.., p0, p1, _, _]) => VlanProtocol::from_ether_type(u16::from_be_bytes([p0, p1])),
        None => VlanProtocol::Dot1q,
    };
    let Some([id, qos]) = plain.filter(|[id, qos]| (*id, *qos) != (0, 0)) else { return Ok(None) };
    let invalid = || AttrError::Value {
        kind: VF_VLAN,
        found: format!("VLAN {id} with priority {qos}"),
        wanted: "VLAN 0 to 4095 with priority 0 to 7",
    };
    vlan(id, qos, protocol).map(Some).ok_or_else(invalid)
}

fn vlan(id: u32, qos: u32, protocol: VlanProtocol) -> Option<VfVlan> {
    let id = u16::try_from(id).ok().and_then(|id| VlanId::new(id).ok());
    let qos = u8::try_from(qos).ok().and_then(|qos| Pcp::new(qos).ok());
    id.zip(qos).map(|(id, qos)| VfVlan { id, qos, protocol })
}

impl VlanProtocol {
    fn ether_type(self) -> u16 {
        match self {
            Self::Dot1q => 0x8100,
            Self::Dot1ad => 0x88a8,
        }
    }

    fn from_ether_type(ether_type: u16) -> Self {
        if ether_type == Self::Dot1ad.ether_type() { Self::Dot1ad } else { Self::Dot1q }
    }
}

impl VfLinkState {
    fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Enable => 1,
            Self::Disable => 2,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Enable,
            2 => Self::Disable,
            _ => Self::Auto,
        }
    }
}

impl fmt::Display for VfSettings {
    /// As `ip link show` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vf {} link/ether {}", self.vf, self.mac)?;
        self.vlan.iter().try_for_each(|vlan| write!(f, ", vlan {vlan}"))?;
        if (self.min_tx_rate, self.max_tx_rate) != (0, 0) {
            write!(f, ", max_tx_rate {} min_tx_rate {}", self.max_tx_rate, self.min_tx_rate)?;
        }
        self.spoof_check.iter().try_for_each(|on| write!(f, ", spoof checking {}", on_off(*on)))?;
        write!(f, ", link-state {}", self.link_state)?;
        self.trust.iter().try_for_each(|on| write!(f, ", trust {}", on_off(*on)))
    }
}

impl fmt::Display for VfChange {
    /// In the words of `ip link set PF vf N`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "mac {mac}"),
            Self::Vlan(Some(vlan)) => write!(f, "vlan {vlan}"),
            Self::Vlan(None) => write!(f, "vlan 0"),
            Self::SpoofCheck(on) => write!(f, "spoofchk {}", on_off(*on)),
            Self::Trust(on) => write!(f, "trust {}", on_off(*on)),
            Self::Rate { min, max } => write!(f, "max_tx_rate {max} min_tx_rate {min}"),
            Self::LinkState(state) => write!(f, "state {state}"),
        }
    }
}

impl fmt::Display for VfVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            VlanProtocol::Dot1q => "802.1Q",
            VlanProtocol::Dot1ad => "802.1ad",
        };
        write!(f, "{} qos {} proto {protocol}", self.id, self.qos)
    }
}

impl FromStr for VfVlan {
    type Err = InvalidVfVlan;

    /// `100`, `100 qos 3` or `100 qos 3 proto 802.1ad`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_vlan_text(text).ok_or_else(|| InvalidVfVlan(text.to_owned()))
    }
}

fn parse_vlan_text(text: &str) -> Option<VfVlan> {
    let mut words = text.split_whitespace();
    let id = words.next()?.parse().ok()?;
    let (mut qos, mut protocol) = (0, VlanProtocol::Dot1q);
    while let Some(word) = words.next() {
        match (word, words.next()?) {
            ("qos", value) => qos = value.parse().ok()?,
            ("proto", "802.1Q") => protocol = VlanProtocol::Dot1q,
            ("proto", "802.1ad") => protocol = VlanProtocol::Dot1ad,
            _ => return None,
        }
    }
    vlan(id, qos, protocol)
}

impl fmt::Display for VfLinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Enable => "enable",
            Self::Disable => "disable",
        })
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vlan_100() -> VfVlan {
        vlan(100, 3, VlanProtocol::Dot1ad).unwrap()
    }

    /// What the kernel fills in for a VF (`rtnl_fill_vfinfo()` in `net/core/rtnetlink.c`).
    fn reported_vf(trust: u32) -> Vec<u8> {
        let vf = VfIndex(1);
        let vlan_list = Writer::default().bytes(VF_VLAN_INFO, &vlan_info(vf, Some(vlan_100())));
        let mac = VfChange::Mac(Mac([2, 0, 0, 0, 0, 9]));
        let mut bytes = write_setting(vf, mac).into_bytes();
        let rest = Writer::default()
            .bytes(VF_VLAN, &words(vf, &[100, 3]))
            .bytes(VF_RATE, &words(vf, &[0, 500]))
            .bytes(VF_SPOOFCHK, &words(vf, &[1]))
            .bytes(VF_LINK_STATE, &words(vf, &[2]))
            .bytes(VF_TRUST, &words(vf, &[trust]))
            .nested(VF_VLAN_LIST, vlan_list);
        bytes.extend(rest.into_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> VfSettings {
        parse(&Attributes::parse(bytes).unwrap()).unwrap()
    }

    #[test]
    fn a_vf_is_shown_as_ip_link_shows_it() {
        assert_eq!(
            read(&reported_vf(0)).to_string(),
            "vf 1 link/ether 02:00:00:00:00:09, vlan 100 qos 3 proto 802.1ad, \
             max_tx_rate 500 min_tx_rate 0, spoof checking on, link-state disable, trust off"
        );
    }

    #[test]
    fn what_the_driver_does_not_report_contradicts_nothing() {
        let settings = read(&reported_vf(NOT_REPORTED));
        assert_eq!(settings.trust, None);
        assert!(!settings.contradicts(VfChange::Trust(true)));
        assert!(settings.contradicts(VfChange::SpoofCheck(false)));
    }

    #[test]
    fn a_change_is_contradicted_by_another_value_only() {
        let settings = read(&reported_vf(0));
        for change in [
            VfChange::Mac(Mac([2, 0, 0, 0, 0, 9])),
            VfChange::Vlan(Some(vlan_100())),
            VfChange::Rate { min: 0, max: 500 },
            VfChange::LinkState(VfLinkState::Disable),
        ] {
            assert!(!settings.contradicts(change), "{change}");
        }
        assert!(settings.contradicts(VfChange::Vlan(None)));
        assert!(settings.contradicts(VfChange::Mac(Mac([0; 6]))));
    }

    /// Our request against what `ip link set lo vf 1 …` (iproute2 6.1) sends after the netlink
    /// header, recorded with `strace -e write`. iproute2 does not mark its nests.
    fn check(change: VfChange, iproute2: &str) {
        let mut ours = write(IfIndex(1), VfIndex(1), change);
        // The upper bytes of the kinds of the two or three outermost attributes.
        [19, 23, 27].into_iter().for_each(|mark| ours[mark] &= 0x7f);
        let ours: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ours, format!("{LO}{}", iproute2.replace(' ', "")));
    }

    const LO: &str = "00000000010000000000000000000000";

    #[test]
    fn requests_are_those_of_ip_link_set() {
        let ad = VfChange::Vlan(Some(vlan_100()));
        check(ad, "20001600 1c000100 18000c00 14000100 01000000 64000000 03000000 88a80000");
        let rate = VfChange::Rate { min: 100, max: 500 };
        check(rate, "18001600 14000100 10000600 01000000 64000000 f4010000");
        check(VfChange::SpoofCheck(false), "14001600 10000100 0c000400 01000000 00000000");
        check(VfChange::Trust(true), "14001600 10000100 0c000900 01000000 01000000");
        let state = VfChange::LinkState(VfLinkState::Disable);
        check(state, "14001600 10000100 0c000500 01000000 02000000");
        let mac = VfChange::Mac(Mac([2, 0, 0, 0, 0, 9]));
        let zeros = "00".repeat(26);
        check(mac, &format!("30001600 2c000100 28000100 01000000 020000000009 {zeros}"));
    }

    #[test]
    fn a_vlan_is_read_as_ip_link_shows_it() {
        let vlan = |text: &str| text.parse::<VfVlan>().map(|vlan| vlan.to_string());
        assert_eq!(vlan("100"), Ok("100 qos 0 proto 802.1Q".to_owned()));
        assert_eq!(vlan("7 qos 3 proto 802.1ad"), Ok("7 qos 3 proto 802.1ad".to_owned()));
        for text in ["", "0x", "4096", "7 qos", "7 qos 8", "7 proto ipv4", "7 8"] {
            assert!(vlan(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(values: Vec<(u8, Vec<u8>)>) {
            let write = |w: Writer, (k, v): &(u8, Vec<u8>)| w.bytes(u16::from(k % 16), v);
            let bytes = values.iter().fold(Writer::default(), write).into_bytes();
            let _ = parse(&Attributes::parse(&bytes).unwrap());
        }
    }
}
