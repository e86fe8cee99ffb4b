//! What ADD answers, and what IPAM plugins answer: interfaces, addresses, routes, name servers.
//!
//! One value for all versions; what a version does not know is left out when it is written for it.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{IpNet, Version};

/// The result of an ADD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CniResult {
    /// The interfaces that were made or moved.
    pub interfaces: Vec<Interface>,
    /// The addresses, and on which of the interfaces they are.
    pub ips: Vec<IpConfig>,
    /// The routes in the container.
    pub routes: Vec<Route>,
    /// Name servers, as IPAM gave them.
    pub dns: Map<String, Value>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name; empty where there is none, as for a VF with a driver for user space.
    pub name: String,
    /// Its MAC address.
    pub mac: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The network namespace it is in; `None` for the host's.
    pub sandbox: Option<String>,
    /// The PCI function it is on.
    pub pci: Option<String>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The address.
    pub address: IpNet,
    /// The network's router.
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces it is on.
    pub interface: Option<usize>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// By which router; without one the network's is meant.
    pub gw: Option<IpAddr>,
    /// The largest packet that goes this way.
    pub mtu: Option<u32>,
    /// The largest TCP segment that is announced.
    pub advmss: Option<u32>,
    /// Among several, the smallest is taken.
    pub priority: Option<u32>,
    /// In which routing table.
    pub table: Option<u32>,
    /// How far the destination is (`rtnetlink(7)`).
    pub scope: Option<u8>,
}

/// A result that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field} is {value}; it must be {wanted}")]
pub struct BadResult {
    /// Where in the result.
    pub field: String,
    /// What is there.
    pub value: String,
    /// What should be.
    pub wanted: &'static str,
}

impl CniResult {
    /// Reads a result of any version.
    ///
    /// # Errors
    /// [`BadResult`] naming the field.
    pub fn from_json(value: &Value) -> Result<Self, BadResult> {
        let list = |member: &str| value.get(member).filter(|list| !list.is_null());
        Ok(Self {
            interfaces: each(list("interfaces"), "interfaces", read_interface)?,
            ips: each(list("ips"), "ips", read_ip)?,
            routes: each(list("routes"), "routes", read_route)?,
            dns: value.get("dns").and_then(Value::as_object).cloned().unwrap_or_default(),
        })
    }

    /// Writes it for a version.
    #[must_use]
    pub fn to_json(&self, version: Version) -> Value {
        let mut result = json!({"cniVersion": version.to_string()});
        set_list(&mut result, "interfaces", self.interfaces.iter().map(|i| i.to_json(version)));
        set_list(&mut result, "ips", self.ips.iter().map(|ip| ip.to_json(version)));
        set_list(&mut result, "routes", self.routes.iter().map(|route| route.to_json(version)));
        result["dns"] = Value::Object(self.dns.clone());
        result
    }
}

fn set_list(result: &mut Value, member: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<Value> = values.collect();
    if !values.is_empty() {
        result[member] = Value::Array(values);
    }
}

fn each<T>(
    list: Option<&Value>,
    field: &str,
    read: impl Fn(&Value, &str) -> Result<T, BadResult>,
) -> Result<Vec<T>, BadResult> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let elements = list.as_array().ok_or_else(|| bad(field, list, "a list"))?;
    elements.iter().enumerate().map(|(at, value)| read(value, &format!("{field}[{at}]"))).collect()
}

fn bad(field: &str, value: &Value, wanted: &'static str) -> BadResult {
    BadResult { field: field.to_owned(), value: value.to_string(), wanted }
}

/// A member that is text, read by its type; `None` where it is not there, `null` or empty.
fn text<T: std::str::FromStr>(
    value: &Value,
    field: &str,
    member: &str,
    wanted: &'static str,
) -> Result<Option<T>, BadResult> {
    let found = match value.get(member) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(found) => found,
    };
    let parsed = found.as_str().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| bad(&format!("{field}.{member}"), found, wanted))
}

fn number<T: TryFrom<u64>>(
    value: &Value,
    field: &str,
    member: &str,
) -> Result<Option<T>, BadResult> {
    let found = match value.get(member) {
        None | Some(Value::Null) => return Ok(None),
        Some(found) => found,
    };
    let parsed = found.as_u64().and_then(|number| T::try_from(number).ok());
    parsed
        .map(Some)
        .ok_or_else(|| bad(&format!("{field}.{member}"), found, "a whole number that fits"))
}

fn read_interface(value: &Value, field: &str) -> Result<Interface, BadResult> {
    Ok(Interface {
        name: text(value, field, "name", "text")?.unwrap_or_default(),
        mac: text(value, field, "mac", "text")?,
        mtu: number(value, field, "mtu")?,
        sandbox: text(value, field, "sandbox", "a path")?,
        pci: text(value, field, "pciID", "a PCI address")?,
    })
}

const NET_WANTED: &str = "an address with the length of its prefix";
const IP_WANTED: &str = "an address";

fn read_ip(value: &Value, field: &str) -> Result<IpConfig, BadResult> {
    let address = text(value, field, "address", NET_WANTED)?;
    Ok(IpConfig {
        address: address
            .ok_or_else(|| bad(&format!("{field}.address"), &Value::Null, NET_WANTED))?,
        gateway: text(value, field, "gateway", IP_WANTED)?,
        interface: number(value, field, "interface")?,
    })
}

/// Reads a route, of a result or of an annotation.
pub(crate) fn read_route(value: &Value, field: &str) -> Result<Route, BadResult> {
    let dst = text(value, field, "dst", NET_WANTED)?;
    Ok(Route {
        dst: dst.ok_or_else(|| bad(&format!("{field}.dst"), &Value::Null, NET_WANTED))?,
        gw: text(value, field, "gw", IP_WANTED)?,
        mtu: number(value, field, "mtu")?,
        advmss: number(value, field, "advmss")?,
        priority: number(value, field, "priority")?,
        table: number(value, field, "table")?,
        scope: number(value, field, "scope")?,
    })
}

/// The members that have a value.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

impl Interface {
    fn to_json(&self, version: Version) -> Value {
        let new = version >= Version::V1_1_0;
        object([
            ("name", Some(json!(self.name))),
            ("mac", self.mac.as_ref().map(|mac| json!(mac))),
            ("mtu", self.mtu.filter(|_| new).map(|mtu| json!(mtu))),
            ("sandbox", self.sandbox.as_ref().map(|path| json!(path))),
            ("pciID", self.pci.as_ref().filter(|_| new).map(|pci| json!(pci))),
        ])
    }
}

impl IpConfig {
    fn to_json(&self, version: Version) -> Value {
        let family = if self.address.address.is_ipv4() { "4" } else { "6" };
        object([
            ("version", (version < Version::V1_0_0).then(|| json!(family))),
            ("address", Some(json!(self.address.to_string()))),
            ("gateway", self.gateway.map(|gateway| json!(gateway.to_string()))),
            ("interface", self.interface.map(|interface| json!(interface))),
        ])
    }
}

impl Route {
    /// With all it has, for the ledger.
    #[must_use]
    pub fn recorded(&self) -> Value {
        self.to_json(Version::LATEST)
    }

    fn to_json(&self, version: Version) -> Value {
        let number = |value: Option<u32>| {
            value.filter(|_| version >= Version::V1_1_0).map(|value| json!(value))
        };
        object([
            ("dst", Some(json!(self.dst.to_string()))),
            ("gw", self.gw.map(|gw| json!(gw.to_string()))),
            ("mtu", number(self.mtu)),
            ("advmss", number(self.advmss)),
            ("priority", number(self.priority)),
            ("table", number(self.table)),
            ("scope", number(self.scope.map(u32::from))),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "np0r0", "mac": "02:00:00:00:00:01", "mtu": 1500},
                {"name": "net1", "mac": "02:00:00:00:00:02", "mtu": 9000, "sandbox": "/run/netns/a",
                 "pciID": "0000:01:10.0"}],
            "ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 1},
                    {"address": "fd00::5/64", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "advmss": 1360, "priority": 5,
                        "table": 100, "scope": 0}],
            "dns": {"nameservers": ["10.0.0.2"]},
        })
    }

    #[test]
    fn a_result_is_written_as_it_was_read() {
        assert_eq!(CniResult::from_json(&full()).unwrap().to_json(Version::V1_1_0), full());
    }

    #[test]
    fn an_older_version_is_not_told_what_it_does_not_know() {
        let old = CniResult::from_json(&full()).unwrap().to_json(Version::V0_4_0);
        assert_eq!(old["ips"][0]["version"], json!("4"));
        assert_eq!(old["ips"][1]["version"], json!("6"));
        let interface = &old["interfaces"][1];
        assert_eq!((interface.get("mtu"), interface.get("pciID")), (None, None));
        assert_eq!(old["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "10.0.0.1"}));
        let v1 = CniResult::from_json(&full()).unwrap().to_json(Version::V1_0_0);
        assert_eq!(v1["ips"][0].get("version"), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |value: Value| CniResult::from_json(&value).unwrap_err().to_string();
        assert!(
            error(json!({"ips": [{"address": "10.0.0.5"}]}))
                .starts_with("field ips[0].address is \"10.0.0.5\"")
        );
        assert!(error(json!({"ips": {}})).contains("ips is {}; it must be a list"));
        assert!(error(json!({"routes": [{"gw": "x"}]})).contains("routes[0]"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(address in ".{0,12}", gw in ".{0,12}", number in any::<i64>()) {
            let value = json!({"ips": [{"address": address, "interface": number}],
                "routes": [{"dst": "::/0", "gw": gw, "mtu": number}], "interfaces": [{"mtu": number}]});
            let _ = CniResult::from_json(&value);
        }
    }
}
