//! Whether a device is what a selector asks for, and if not, which key refuses it.
//!
//! The keys are asked in the order in which `sriov-network-device-plugin` applies them; ours come last.

use std::fmt;

use crate::config::{FunctionRange, PoolConfig, Selector};
use crate::device::{Barred, Device, Role};

/// Why a pool does not want a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No pool may have it.
    Barred(Barred),
    /// It is another kind of device.
    OtherType,
    /// A key of the selector with this number does not fit.
    Key {
        /// Which of the pool's selectors.
        selector: usize,
        /// How it does not fit.
        mismatch: Mismatch,
    },
}

/// A key that does not fit a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The key.
    pub key: Key,
    /// What it asks for, in the file's words.
    pub wants: String,
    /// What the device has.
    pub has: String,
}

/// The keys of a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the key of the configuration that is spelled like it")]
pub enum Key {
    Vendors,
    Devices,
    Drivers,
    PciAddresses,
    AcpiIndexes,
    AuxTypes,
    PfNames,
    RootDevices,
    LinkTypes,
    DdpProfiles,
    PKeys,
    IsRdma,
    VdpaType,
    EswitchMode,
    Representor,
}

/// The first selector of a pool that wants the device, or why none does: the refusal of the selector
/// that got furthest.
///
/// # Errors
/// [`Refusal`]: not a failure, the answer "no" with its reason.
pub fn select(pool: &PoolConfig, device: &Device) -> Result<usize, Refusal> {
    if device.device_type() != pool.device_type {
        return Err(Refusal::OtherType);
    }
    if let Some(barred) = device.barred {
        return Err(Refusal::Barred(barred));
    }
    let mut furthest: Option<(usize, Mismatch)> = None;
    for (index, selector) in pool.selectors.iter().enumerate() {
        let Some(mismatch) = mismatch(selector, device) else { return Ok(index) };
        if furthest.as_ref().is_none_or(|(_, best)| best.key < mismatch.key) {
            furthest = Some((index, mismatch));
        }
    }
    let refusal = furthest.map(|(selector, mismatch)| Refusal::Key { selector, mismatch });
    Err(refusal.unwrap_or(Refusal::OtherType))
}

/// The first key of a selector that does not fit the device.
#[must_use]
pub fn mismatch(selector: &Selector, device: &Device) -> Option<Mismatch> {
    CHECKS.iter().find_map(|check| check(selector, device))
}

/// Whether one key fits: nothing where it does, or asks nothing.
type Check = fn(&Selector, &Device) -> Option<Mismatch>;

const CHECKS: [Check; 15] = [
    |s, d| one_of(Key::Vendors, &s.vendors, |v| *v == d.vendor, hex, hex(&d.vendor)),
    |s, d| one_of(Key::Devices, &s.devices, |p| *p == d.product, hex, hex(&d.product)),
    drivers,
    |s, d| {
        one_of(
            Key::PciAddresses,
            &s.pci_addresses,
            |a| *a == d.address,
            ToString::to_string,
            d.address.to_string(),
        )
    },
    |s, d| text(Key::AcpiIndexes, &s.acpi_indexes, d.userspace.acpi_index.as_deref()),
    aux_types,
    pf_names,
    root_devices,
    link_types,
    |s, d| text(Key::DdpProfiles, &s.ddp_profiles, d.ddp_profile.as_deref()),
    |s, d| text(Key::PKeys, &s.p_keys, d.userspace.pkey.as_deref()),
    |s, d| required(Key::IsRdma, s.is_rdma, !d.rdma_devices.is_empty(), "an RDMA device"),
    vdpa_type,
    eswitch_mode,
    representor,
];

fn drivers(selector: &Selector, device: &Device) -> Option<Mismatch> {
    text(Key::Drivers, &selector.drivers, device.driver.as_deref())
}

fn aux_types(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let Role::Auxiliary { kind, .. } = &device.role else { return None };
    text(Key::AuxTypes, &selector.aux_types, Some(kind))
}

/// Names are compared without regard to case, and of two entries for one PF the first counts.
fn pf_names(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let name = device.on().and_then(|port| port.netdev.as_deref());
    let is_pf =
        |range: &&FunctionRange<String>| name.is_some_and(|n| range.pf.eq_ignore_ascii_case(n));
    on_pf(Key::PfNames, &selector.pf_names, device, name, is_pf)
}

fn root_devices(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let address = device.on().map(|port| port.address);
    let shown = address.map(|address| address.to_string());
    on_pf(Key::RootDevices, &selector.root_devices, device, shown.as_deref(), |range| {
        Some(range.pf) == address
    })
}

fn on_pf<T: fmt::Display>(
    key: Key,
    ranges: &[FunctionRange<T>],
    device: &Device,
    pf: Option<&str>,
    is_pf: impl Fn(&&FunctionRange<T>) -> bool,
) -> Option<Mismatch> {
    let fits = ranges.iter().find(is_pf).is_some_and(|range| range.indexes.contain(device.index()));
    if ranges.is_empty() || fits {
        return None;
    }
    let has = match (pf, device.index()) {
        (None, _) => "no PF of that kind".to_owned(),
        (Some(pf), None) => pf.to_owned(),
        (Some(pf), Some(index)) => format!("{pf}#{index}"),
    };
    Some(Mismatch { key, wants: list(ranges, ToString::to_string), has })
}

fn link_types(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let has = device.link_layer;
    let shown = has.map_or_else(|| "no netdev".to_owned(), |layer| word(&layer));
    one_of(Key::LinkTypes, &selector.link_types, |wanted| Some(*wanted) == has, word, shown)
}

fn vdpa_type(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let wanted = selector.vdpa_type?;
    let has = device.userspace.vdpa.as_ref().and_then(|vdpa| vdpa.driver);
    let shown = has.map_or_else(|| "no vDPA device".to_owned(), |driver| word(&driver));
    (has != Some(wanted)).then(|| Mismatch { key: Key::VdpaType, wants: word(&wanted), has: shown })
}

fn eswitch_mode(selector: &Selector, device: &Device) -> Option<Mismatch> {
    let wanted = selector.eswitch_mode?;
    let has = device.port.as_ref().and_then(|port| port.eswitch);
    let shown = has
        .map_or_else(|| "an e-switch whose mode is not known".to_owned(), |mode| mode.to_string());
    let mismatch = || Mismatch { key: Key::EswitchMode, wants: wanted.to_string(), has: shown };
    (has != Some(wanted)).then(mismatch)
}

fn representor(selector: &Selector, device: &Device) -> Option<Mismatch> {
    match (selector.representor, &device.representor) {
        (Some(true), None) => Some("a representor".to_owned()).zip(Some("none".to_owned())),
        (Some(false), Some(name)) => Some("no representor".to_owned()).zip(Some(name.clone())),
        _ => None,
    }
    .map(|(wants, has)| Mismatch { key: Key::Representor, wants, has })
}

fn required(key: Key, wanted: bool, there: bool, what: &str) -> Option<Mismatch> {
    (wanted && !there).then(|| Mismatch { key, wants: what.to_owned(), has: "none".to_owned() })
}

fn text(key: Key, wanted: &[String], has: Option<&str>) -> Option<Mismatch> {
    one_of(key, wanted, |w| Some(w.as_str()) == has, Clone::clone, has.unwrap_or("none").to_owned())
}

fn one_of<T>(
    key: Key,
    wanted: &[T],
    fits: impl Fn(&T) -> bool,
    show: impl Fn(&T) -> String,
    has: String,
) -> Option<Mismatch> {
    if wanted.is_empty() || wanted.iter().any(fits) {
        return None;
    }
    Some(Mismatch { key, wants: list(wanted, show), has })
}

fn list<T>(wanted: &[T], show: impl Fn(&T) -> String) -> String {
    wanted.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn hex(number: &u16) -> String {
    format!("{number:04x}")
}

/// The word that the kernel and the file have for a value.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barred(barred) => write!(f, "{barred}"),
            Self::OtherType => f.write_str("the pool is for another deviceType"),
            Self::Key { selector, mismatch } => write!(f, "selectors[{selector}].{mismatch}"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wants {}, the device has {}", self.key, self.wants, self.has)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendors => "vendors",
            Self::Devices => "devices",
            Self::Drivers => "drivers",
            Self::PciAddresses => "pciAddresses",
            Self::AcpiIndexes => "acpiIndexes",
            Self::AuxTypes => "auxTypes",
            Self::PfNames => "pfNames",
            Self::RootDevices => "rootDevices",
            Self::LinkTypes => "linkTypes",
            Self::DdpProfiles => "ddpProfiles",
            Self::PKeys => "pKeys",
            Self::IsRdma => "isRdma",
            Self::VdpaType => "vdpaType",
            Self::EswitchMode => "eswitchMode",
            Self::Representor => "representor",
        })
    }
}
