//! The addresses that a bridge has learned: where `NORMAL` sends a packet.
//!
//! OVS keeps them to itself; `ovs-appctl fdb/show BRIDGE` prints them, and so does the switch's control socket. The age
//! changes every second and decides nothing, so it is no part of the table.

use std::collections::BTreeMap;
use std::fmt;

use crate::openflow::OfPort;

/// What a bridge has learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fdb {
    /// Where each address is.
    pub entries: BTreeMap<FdbKey, FdbEntry>,
}

/// An address in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbKey {
    /// The VLAN; 0 is none.
    pub vlan: u16,
    /// The address.
    pub mac: u64,
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbEntry {
    /// Behind which port; of a bond it is the one that is shown, which may be any of its members.
    pub port: OfPort,
    /// It was put there by hand: it does not age, and packets from elsewhere do not move it.
    pub is_static: bool,
}

/// A line of `fdb/show` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: `{text}`: not an entry of `ovs-appctl fdb/show`; it has port, VLAN, MAC and age"
)]
pub struct FdbError {
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

impl Fdb {
    /// Where packets of this VLAN to this address go.
    pub fn lookup(&self, vlan: u16, mac: u64) -> Option<FdbEntry> {
        self.entries.get(&FdbKey { vlan, mac }).copied()
    }

    /// Reads what `ovs-appctl fdb/show BRIDGE` prints. Names of ports (`--names`) are looked up in `ports`.
    ///
    /// # Errors
    ///
    /// [`FdbError`] names the line.
    pub fn parse(text: &str, ports: &BTreeMap<String, OfPort>) -> Result<Fdb, FdbError> {
        let mut fdb = Fdb::default();
        for (at, line) in text.lines().enumerate() {
            if is_header(line) {
                continue;
            }
            let wrong = || FdbError { line: at + 1, text: line.trim().to_owned() };
            let (key, entry) = entry(line, ports).ok_or_else(wrong)?;
            fdb.entries.insert(key, entry);
        }
        Ok(fdb)
    }
}

fn is_header(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.is_empty() || words == ["port", "VLAN", "MAC", "Age"]
}

fn entry(line: &str, ports: &BTreeMap<String, OfPort>) -> Option<(FdbKey, FdbEntry)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [port, vlan, mac, age] = words.as_slice() else { return None };
    let is_static = *age == "static";
    if !is_static && age.parse::<u32>().is_err() {
        return None;
    }
    let key =
        FdbKey { vlan: vlan.parse().ok().filter(|vlan| *vlan < VLANS)?, mac: super::mac(mac)? };
    Some((key, FdbEntry { port: named_port(port, ports)?, is_static }))
}

const VLANS: u16 = 4096;

fn named_port(word: &str, ports: &BTreeMap<String, OfPort>) -> Option<OfPort> {
    let name = word.trim_matches('"');
    let known = ports.get(name).copied().or_else(|| OfPort::from_reserved_name(name));
    known.or_else(|| word.parse().ok().map(OfPort)).filter(|port| port.is_physical())
}

impl fmt::Display for Fdb {
    /// As `fdb/show` prints it, with every age 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, " port  VLAN  MAC                Age")?;
        self.entries.iter().try_for_each(|(key, entry)| {
            let age = if entry.is_static { "static" } else { "0" };
            let bytes = key.mac.to_be_bytes();
            let [_, _, a, b, c, d, e, g] = bytes;
            let port = entry.port.to_string();
            writeln!(
                f,
                "{port:>5}  {:>4}  {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}  {age:>3}",
                key.vlan
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = " port  VLAN  MAC                Age
    1     0  aa:55:aa:55:00:0f   12
LOCAL    10  ce:e5:26:8c:86:48    0
   10  4095  50:54:00:00:00:06  static
";

    #[test]
    fn what_fdb_show_prints() {
        let fdb = Fdb::parse(SHOWN, &BTreeMap::new()).unwrap();
        let at = |vlan, mac| fdb.lookup(vlan, mac).map(|entry| (entry.port, entry.is_static));
        assert_eq!(at(0, 0xaa55_aa55_000f), Some((OfPort(1), false)));
        assert_eq!(at(10, 0xcee5_268c_8648), Some((OfPort::LOCAL, false)));
        assert_eq!(at(4095, 0x5054_0000_0006), Some((OfPort(10), true)));
        assert_eq!(at(1, 0xaa55_aa55_000f), None, "another VLAN is another entry");
    }

    #[test]
    fn names_are_ports_and_ages_do_not_count() {
        let ports = BTreeMap::from([("eth1".to_owned(), OfPort(7))]);
        let young = Fdb::parse("eth1 0 aa:55:aa:55:00:0f 1\n", &ports).unwrap();
        assert_eq!(young, Fdb::parse("    7     0  aa:55:aa:55:00:0f  299\n", &ports).unwrap());
    }

    #[test]
    fn it_prints_as_it_is_read() {
        let fdb = Fdb::parse(SHOWN, &BTreeMap::new()).unwrap();
        assert_eq!(Fdb::parse(&fdb.to_string(), &BTreeMap::new()), Ok(fdb));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let none = BTreeMap::new();
        let error = Fdb::parse("ovs-appctl: no bridge br9\n", &none).unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (1, "ovs-appctl: no bridge br9"));
        for line in [
            "1 0 aa:55 3",
            "1 4096 aa:55:aa:55:00:0f 3",
            "99999 0 aa:55:aa:55:00:0f 3",
            "1 0 aa:55:aa:55:00:0f old",
        ] {
            assert!(Fdb::parse(line, &none).is_err(), "{line}");
        }
    }
}
