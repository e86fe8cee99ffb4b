//! PCI addresses and numbers, in the kernel's own spelling.
//!
//! Everything about a card hangs on its PCI address: sysfs directories, devlink handles and the VF
//! ledger are all named by it. It is parsed once, here, so that `01:00.0` and `0000:01:00.0` are
//! one card everywhere else.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize};

/// Where a function sits: `domain:bus:device.function`, all hexadecimal.
///
/// The domain is usually four digits, but Intel VMD uses five (`10000:e1:00.0`), so it is kept as
/// 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// The text is no PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "PCI address {0:?} is not of the form domain:bus:device.function, for example 0000:01:00.0"
)]
pub struct InvalidPciAddress(pub String);

impl PciAddress {
    /// An address from its numbers; `None` where the device is above 31 or the function above 7.
    #[must_use]
    pub fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        (device < 32 && function < 8).then_some(Self { domain, bus, device, function })
    }

    /// The function's number within its device, 0 to 7.
    #[must_use]
    pub fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for PciAddress {
    type Err = InvalidPciAddress;

    /// The domain may be left out, as `lspci` does; it is then 0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidPciAddress(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    PciAddress::new(
        hex(domain, 8)?,
        hex(bus, 2)?.try_into().ok()?,
        hex(device, 2)?.try_into().ok()?,
        hex(function, 1)?.try_into().ok()?,
    )
}

/// One to `most` hexadecimal digits and nothing else: `from_str_radix` alone would also take a
/// sign.
fn hex(text: &str, most: usize) -> Option<u32> {
    let digits =
        !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok())?
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for PciAddress {
    type Error = InvalidPciAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A PCI vendor or device number with its name from the PCI id database.
///
/// The names come from the `pci-ids` crate, compiled in, so that a container image needs no
/// `pci.ids` file and two nodes never show two names for one card. They are for people: no decision
/// may rest on them. A name is looked up when it is shown, and a program that shows none does not
/// carry the database: its megabyte of pointers would be made ready at each start of a CNI plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The number as the card reports it.
    pub id: u16,
    /// Of a device, its vendor.
    vendor: Option<u16>,
}

impl Named {
    /// The vendor `id`, `8086` say.
    #[must_use]
    pub fn vendor(id: u16) -> Self {
        Self { id, vendor: None }
    }

    /// The device `id` of `vendor`.
    #[must_use]
    pub fn device(vendor: u16, id: u16) -> Self {
        Self { id, vendor: Some(vendor) }
    }

    /// The database's name for it, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self.vendor {
            None => {
                let vendor = <pci_ids::Vendor as pci_ids::FromId<u16>>::from_id(self.id);
                vendor.map(pci_ids::Vendor::name)
            }
            Some(vendor) => {
                pci_ids::Device::from_vid_pid(vendor, self.id).map(pci_ids::Device::name)
            }
        }
    }
}

impl Serialize for Named {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Named", 2)?;
        fields.serialize_field("id", &format!("{:04x}", self.id))?;
        fields.serialize_field("name", &self.name())?;
        fields.end()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} [{:04x}]", self.id),
            None => write!(f, "[{:04x}]", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, shown: Option<&str>) {
        assert_eq!(
            text.parse::<PciAddress>().ok().map(|a| a.to_string()).as_deref(),
            shown,
            "{text}"
        );
    }

    #[test]
    fn an_address_is_domain_bus_device_function() {
        check("0000:01:00.0", Some("0000:01:00.0"));
        check("0000:AF:1f.7", Some("0000:af:1f.7"));
    }

    #[test]
    fn the_domain_may_be_left_out_or_longer_than_four_digits() {
        check("01:00.0", Some("0000:01:00.0"));
        check("10000:e1:00.0", Some("10000:e1:00.0"));
    }

    #[test]
    fn what_no_bus_has_is_refused() {
        for text in [
            "",
            "eth0",
            "0000:01:00",
            "0000:01:00.8",
            "0000:01:20.0",
            "0000:100:00.0",
            "+000:01:00.0",
            "0:0:0:01:00.0",
            "0000:01:00.0\n",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn names_come_from_the_database_and_their_lack_is_no_error() {
        assert_eq!(Named::vendor(0x15b3).to_string(), "Mellanox Technologies [15b3]");
        assert_eq!(
            Named::device(0x8086, 0x10c9).to_string(),
            "82576 Gigabit Network Connection [10c9]"
        );
        assert_eq!(Named::device(0x15b3, 0xffff).to_string(), "[ffff]");
        let written = serde_json::to_value([Named::vendor(0x15b3), Named::device(0x15b3, 0xffff)]);
        let wanted = serde_json::json!([{"id": "15b3", "name": "Mellanox Technologies"}, {"id": "ffff", "name": null}]);
        assert_eq!(written.unwrap(), wanted);
    }

    proptest! {
        #[test]
        fn any_address_reads_back(domain: u32, bus: u8, device in 0u8..32, function in 0u8..8) {
            let address = PciAddress::new(domain, bus, device, function).unwrap();
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<PciAddress>();
        }
    }
}
