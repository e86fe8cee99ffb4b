//! Device features over ethtool netlink, `hw-tc-offload` above all.
//!
//! A netdev has features it *can* change, and of those some are *active*. The kernel acknowledges a
//! change that the driver then does not carry out, so every change is read back.
//!
//! What `ethtool -i` shows is not here: ethtool netlink has no such message, and of what the old
//! ioctl says the driver's name is in the [inventory](crate::inventory) and the firmware's version,
//! in more detail, in [`devlink::Info`](crate::devlink::Info).

use std::collections::BTreeSet;

use crate::error::CardError;
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::netlink::generic::{Family, Generic};

/// The feature that lets a driver take TC filters into hardware.
pub const HW_TC_OFFLOAD: &str = "hw-tc-offload";

const FAMILY: Family = Family { name: "ethtool", version: 1, option: "CONFIG_ETHTOOL_NETLINK" };

/// Numbers of `linux/ethtool_netlink.h`.
mod uapi {
    pub(super) const FEATURES_GET: u8 = 11;
    pub(super) const FEATURES_SET: u8 = 12;

    pub(super) const FEATURES_HEADER: u16 = 1;
    pub(super) const FEATURES_HW: u16 = 2;
    pub(super) const FEATURES_WANTED: u16 = 3;
    pub(super) const FEATURES_ACTIVE: u16 = 4;

    pub(super) const HEADER_DEV_NAME: u16 = 2;

    pub(super) const BITSET_NOMASK: u16 = 1;
    pub(super) const BITSET_BITS: u16 = 3;
    pub(super) const BITS_BIT: u16 = 1;
    pub(super) const BIT_NAME: u16 = 2;
    pub(super) const BIT_VALUE: u16 = 3;
}

/// A connection to ethtool netlink, of the network namespace it was opened in.
#[derive(Debug)]
pub struct Ethtool {
    generic: Generic,
}

/// The features of a netdev, by the names `ethtool -k` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Those that can be switched; the others are `[fixed]`.
    pub changeable: BTreeSet<String>,
    /// Those that are on.
    pub active: BTreeSet<String>,
}

impl Ethtool {
    /// Opens a connection in this thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::NoFamily`] on a kernel without it (before 5.6).
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { generic: Generic::open(FAMILY)? })
    }

    /// All features of `netdev`.
    ///
    /// # Errors
    /// `ENODEV` where there is no such netdev.
    pub fn features(&mut self, netdev: &str) -> Result<Features, NetlinkError> {
        let what = format!("ethtool -k {netdev}");
        self.generic.ask(uapi::FEATURES_GET, header(netdev), &what, parse)
    }

    /// Whether `netdev` takes TC filters into hardware.
    ///
    /// # Errors
    /// As [`Ethtool::features`].
    pub fn hw_tc_offload(&mut self, netdev: &str) -> Result<bool, NetlinkError> {
        Ok(self.features(netdev)?.active.contains(HW_TC_OFFLOAD))
    }

    /// Switches [`HW_TC_OFFLOAD`].
    ///
    /// # Errors
    /// As [`Ethtool::set_feature`].
    pub fn set_hw_tc_offload(&mut self, netdev: &str, on: bool) -> Result<(), CardError> {
        self.set_feature(netdev, HW_TC_OFFLOAD, on)
    }

    /// Switches a feature on or off, and reads back that it is so.
    ///
    /// # Errors
    /// [`CardError::FeatureFixed`] where it cannot be switched, [`CardError::FeatureNotApplied`]
    /// where the kernel said yes and the driver did not do it.
    pub fn set_feature(&mut self, netdev: &str, feature: &str, on: bool) -> Result<(), CardError> {
        let before = self.features(netdev)?;
        if before.active.contains(feature) == on {
            return Ok(());
        }
        let (netdev, feature) = (netdev.to_owned(), feature.to_owned());
        if !before.changeable.contains(&feature) {
            return Err(CardError::FeatureFixed { netdev, feature, wanted: on_off(on) });
        }
        let what = format!("ethtool -K {netdev} {feature} {}", on_off(on));
        self.generic.request(uapi::FEATURES_SET, write(&netdev, &feature, on), &what)?;
        if self.features(&netdev)?.active.contains(&feature) != on {
            // The kernel remembers what was wanted and does not ask the driver for the same again
            // (`ethnl_set_features()`), so a wish that was refused is taken back.
            self.generic.request(uapi::FEATURES_SET, write(&netdev, &feature, !on), &what)?;
            return Err(CardError::FeatureNotApplied { netdev, feature, wanted: on_off(on) });
        }
        Ok(())
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn header(netdev: &str) -> Writer {
    let header = Writer::default().string(uapi::HEADER_DEV_NAME, netdev);
    Writer::default().nested(uapi::FEATURES_HEADER, header)
}

/// A bit set with a mask: a bit that is named without a value is to be 0, others stay.
fn write(netdev: &str, feature: &str, on: bool) -> Writer {
    let bit = Writer::default().string(uapi::BIT_NAME, feature);
    let bit = if on { bit.flag(uapi::BIT_VALUE) } else { bit };
    let bits = Writer::default().nested(uapi::BITS_BIT, bit);
    let bitset = Writer::default().nested(uapi::BITSET_BITS, bits);
    header(netdev).nested(uapi::FEATURES_WANTED, bitset)
}

fn parse(attributes: &Attributes<'_>) -> Result<Features, AttrError> {
    Ok(Features {
        changeable: parse_bitset(attributes, uapi::FEATURES_HW)?,
        active: parse_bitset(attributes, uapi::FEATURES_ACTIVE)?,
    })
}

/// The names of the bits that are 1. A set with a mask names all bits and flags those that are 1;
/// one without names those that are 1 (`ethnl_put_bitset32()` in `net/ethtool/bitset.c`).
fn parse_bitset(attributes: &Attributes<'_>, kind: u16) -> Result<BTreeSet<String>, AttrError> {
    let Some(bitset) = attributes.nested(kind)? else { return Ok(BTreeSet::new()) };
    let Some(bits) = bitset.nested(uapi::BITSET_BITS)? else { return Ok(BTreeSet::new()) };
    let all_listed_are_set = bitset.has(uapi::BITSET_NOMASK);
    let mut names = BTreeSet::new();
    for bit in bits.all(uapi::BITS_BIT) {
        let bit = Attributes::parse(bit)?;
        if all_listed_are_set || bit.has(uapi::BIT_VALUE) {
            names.insert(bit.require_string(uapi::BIT_NAME, "the feature's name")?);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_has_features_of_both_kinds() {
        let features = Ethtool::open().unwrap().features("lo").unwrap();
        assert!(
            features.changeable.contains("generic-receive-offload")
                || features.changeable.contains("rx-gro")
        );
        assert!(features.active.contains("loopback"), "{features:?}");
        assert!(!features.changeable.contains("loopback"));
    }

    #[test]
    fn a_fixed_feature_is_refused_beforehand() {
        let error = Ethtool::open().unwrap().set_feature("lo", HW_TC_OFFLOAD, true).unwrap_err();
        assert!(
            error.to_string().starts_with("lo: hw-tc-offload is fixed, it cannot be switched on"),
            "{error}"
        );
    }

    #[test]
    fn a_feature_to_switch_off_is_named_without_a_value() {
        let off = write("np0", HW_TC_OFFLOAD, false).into_bytes();
        let read = Attributes::parse(&off).unwrap();
        assert_eq!(parse_bitset(&read, uapi::FEATURES_WANTED).unwrap(), BTreeSet::new());
        let on = write("np0", HW_TC_OFFLOAD, true).into_bytes();
        let read = Attributes::parse(&on).unwrap();
        let named = BTreeSet::from([HW_TC_OFFLOAD.to_owned()]);
        assert_eq!(parse_bitset(&read, uapi::FEATURES_WANTED).unwrap(), named);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let nested = Writer::default().bytes(uapi::FEATURES_ACTIVE, &bytes).into_bytes();
            let _ = parse(&Attributes::parse(&nested).unwrap());
        }
    }
}
