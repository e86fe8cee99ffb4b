//! The ports of bridges from a file: a dump of OVS's database, what `ovs-ofctl` prints of one bridge, or YAML.

use std::collections::{BTreeMap, BTreeSet};

use flow_compiler::openflow::{BridgeName, OfPort};
use flow_compiler::ports::{
    BridgePorts, Database, DumpError, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole,
    Tunnel, TunnelKind, VlanMode,
};
use serde::Deserialize;

use super::card::ONE_CARD;

/// The bridge of a file that names none.
const BRIDGE: &str = "br0";

/// What is wrong with the ports.
#[derive(Debug, thiserror::Error)]
pub enum PortsFileError {
    /// It is not YAML or JSON of the shape expected.
    #[error("{0}")]
    Yaml(String),
    /// It begins like a dump of the database, and goes on otherwise.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// There is no port in it.
    #[error(
        "no port found; give what `ovsdb-client dump Open_vSwitch` or `ovs-ofctl dump-ports-desc BRIDGE` prints, or YAML \
         with `ports:` (see --help)"
    )]
    Empty,
    /// The YAML has the same bridge twice.
    #[error("bridge {0} appears twice; put its ports together")]
    BridgeTwice(BridgeName),
    /// It is no kind of tunnel.
    #[error(
        "`type: {0}` is no kind of tunnel; it must be vxlan, geneve, gre or another interface type of OVS"
    )]
    TunnelType(String),
    /// Two ports have one number.
    #[error("port {number} appears twice, as {first} and as {second}; give each its own number")]
    Twice {
        /// The number.
        number: OfPort,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// It is no port number.
    #[error("`{0}` is no port number; it must be 1 to 65279, or LOCAL")]
    Number(String),
}

/// Reads the ports of one bridge or several.
pub(super) fn parse(text: &str) -> Result<PortMap, PortsFileError> {
    if text.lines().any(|line| line == "Interface table") {
        return from_dump(text);
    }
    if text.lines().any(|line| described(line).is_some()) {
        return from_ofctl(text);
    }
    if text.trim().is_empty() || text.starts_with("OFPST_") {
        return Err(PortsFileError::Empty);
    }
    from_yaml(text)
}

/// What `ovsdb-client dump` prints of all bridges.
fn from_dump(text: &str) -> Result<PortMap, PortsFileError> {
    let mut ports = Database::from_dump(text)?.ports();
    let all = ports.bridges.values_mut().flat_map(|bridge| bridge.ports.values_mut());
    // In a sandbox without a kernel, dummies stand in for devices.
    let dummies = all.filter(|port| port.kind == PortKind::Other("dummy".to_owned()));
    dummies.for_each(|port| port.kind = PortKind::System);
    if ports.bridges.values().all(|bridge| bridge.ports.is_empty()) {
        return Err(PortsFileError::Empty);
    }
    Ok(ports)
}

/// ` 1(np0): addr:...`: the number and the name of a port.
fn described(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.strip_prefix(' ')?.split_once('(')?;
    let (name, _) = rest.split_once("): addr:")?;
    (number == "LOCAL" || number.parse::<u16>().is_ok()).then_some((number, name))
}

fn from_ofctl(text: &str) -> Result<PortMap, PortsFileError> {
    let mut found: Vec<Entry> = Vec::new();
    for line in text.lines() {
        match (described(line), found.last_mut()) {
            (Some((number, name)), _) => found.push(Entry::plain(number, name)),
            (None, Some(last)) if is_down(line) => last.link = Some(Link::Down),
            _ => {}
        }
    }
    let local = found.iter().find(|entry| entry.number == Number::Name("LOCAL".to_owned()));
    let bridge = local.map_or_else(default_bridge, |entry| entry.name.clone());
    collect(File { bridge, ports: found, bridges: Vec::new() })
}

/// `config: PORT_DOWN` or `state: LINK_DOWN` below a port.
fn is_down(line: &str) -> bool {
    let line = line.trim();
    let told = line.starts_with("config:") || line.starts_with("state:");
    told && line.split_whitespace().any(|word| matches!(word, "PORT_DOWN" | "LINK_DOWN"))
}

fn from_yaml(text: &str) -> Result<PortMap, PortsFileError> {
    let file =
        serde_saphyr::from_str(text).map_err(|error| PortsFileError::Yaml(first_line(&error)))?;
    collect(file)
}

/// What a YAML parser says first: the place and the problem; a picture of the file follows.
pub(super) fn first_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn collect(file: File) -> Result<PortMap, PortsFileError> {
    let only = Bridge { bridge: file.bridge, ports: file.ports };
    let told = [only].into_iter().filter(|bridge| !bridge.ports.is_empty()).chain(file.bridges);
    let mut map = PortMap::default();
    for bridge in told {
        let (name, ports) = bridge.ports()?;
        if map.bridges.insert(name.clone(), ports).is_some() {
            return Err(PortsFileError::BridgeTwice(name));
        }
    }
    if map.bridges.is_empty() { Err(PortsFileError::Empty) } else { Ok(map) }
}

/// The file: one bridge, or several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_bridge")]
    bridge: String,
    #[serde(default)]
    ports: Vec<Entry>,
    #[serde(default)]
    bridges: Vec<Bridge>,
}

/// One of several bridges.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bridge {
    bridge: String,
    ports: Vec<Entry>,
}

impl Bridge {
    fn ports(self) -> Result<(BridgeName, BridgePorts), PortsFileError> {
        let mut ports: BTreeMap<OfPort, Port> = BTreeMap::new();
        for entry in self.ports {
            let (number, port) = entry.port()?;
            let second = port.name.clone();
            if let Some(first) = ports.insert(number, port) {
                return Err(PortsFileError::Twice { number, first: first.name, second });
            }
        }
        Ok((BridgeName(self.bridge), BridgePorts { ports, ..BridgePorts::default() }))
    }
}

fn default_bridge() -> String {
    BRIDGE.to_owned()
}

/// One port of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entry {
    number: Number,
    name: String,
    kind: Kind,
    /// Of a device: which card's switch it is on.
    switch: Option<String>,
    ifindex: Option<u32>,
    link: Option<Link>,
    tag: Option<u16>,
    trunks: BTreeSet<u16>,
    vlan_mode: Option<Mode>,
    /// Of a patch port: the name of its other end.
    peer: String,
    /// Of a tunnel: its kind, and its options as OVSDB has them.
    r#type: Option<String>,
    options: BTreeMap<String, String>,
}

/// A port number, or `LOCAL`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u16),
    Name(String),
}

impl Default for Number {
    fn default() -> Self {
        Number::Name("nothing".to_owned())
    }
}

/// How tags are treated; left out, it follows from `tag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Trunk,
    Access,
    NativeTagged,
    NativeUntagged,
    Dot1qTunnel,
}

/// What a port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Uplink,
    #[default]
    Representor,
    System,
    Internal,
    Patch,
    Tunnel,
    Bond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    Up,
    Down,
}

impl Entry {
    /// A port of which only number and name are known. What is named as OVN names patch and tunnel ports is taken for
    /// one: a filter that sends to what is no device could never be right.
    fn plain(number: &str, name: &str) -> Entry {
        let kind = match name {
            _ if number == "LOCAL" => Kind::Internal,
            _ if name.starts_with("patch-") => Kind::Patch,
            _ if is_ovn_tunnel(name) => Kind::Tunnel,
            _ => Kind::Representor,
        };
        Entry {
            number: number.parse().map_or_else(|_| Number::Name(number.to_owned()), Number::Plain),
            name: name.to_owned(),
            kind,
            ..Entry::default()
        }
    }

    fn port(self) -> Result<(OfPort, Port), PortsFileError> {
        let number = self.number()?;
        let port = Port {
            kind: self.port_kind()?,
            vlan_mode: self.vlan_mode(),
            ifindex: self.ifindex.map(PortIfIndex),
            bond: (self.kind == Kind::Bond).then(|| self.name.clone()),
            switch: self.switch_port(),
            link_up: self.link.map(|link| link == Link::Up),
            tag: self.tag,
            trunks: self.trunks,
            name: self.name,
            ..Port::default()
        };
        Ok((number, port))
    }

    fn vlan_mode(&self) -> VlanMode {
        match self.vlan_mode {
            Some(Mode::Trunk) => VlanMode::Trunk,
            Some(Mode::Access) => VlanMode::Access,
            Some(Mode::NativeTagged) => VlanMode::NativeTagged,
            Some(Mode::NativeUntagged) => VlanMode::NativeUntagged,
            Some(Mode::Dot1qTunnel) => VlanMode::Dot1qTunnel,
            None if self.tag.is_some() => VlanMode::Access,
            None => VlanMode::Trunk,
        }
    }

    fn number(&self) -> Result<OfPort, PortsFileError> {
        match &self.number {
            Number::Plain(number) if (1..OfPort::MAX.0).contains(number) => Ok(OfPort(*number)),
            Number::Name(name) if name == "LOCAL" => Ok(OfPort::LOCAL),
            Number::Plain(number) => Err(PortsFileError::Number(number.to_string())),
            Number::Name(name) => Err(PortsFileError::Number(name.clone())),
        }
    }

    fn port_kind(&self) -> Result<PortKind, PortsFileError> {
        Ok(match self.kind {
            Kind::Uplink | Kind::Representor | Kind::System | Kind::Bond => PortKind::System,
            Kind::Internal => PortKind::Internal,
            Kind::Patch => PortKind::Patch { peer: self.peer.clone() },
            Kind::Tunnel => PortKind::Tunnel(self.tunnel()?),
        })
    }

    fn tunnel(&self) -> Result<Tunnel, PortsFileError> {
        let name = self.r#type.as_deref().unwrap_or("vxlan");
        let kind = TunnelKind::from_name(name);
        let kind = kind.ok_or_else(|| PortsFileError::TunnelType(name.to_owned()))?;
        Ok(Tunnel { kind, options: self.options.clone() })
    }

    fn switch_port(&self) -> Option<SwitchPort> {
        let role = match self.kind {
            Kind::Uplink => SwitchRole::Uplink,
            Kind::Representor => SwitchRole::Representor,
            Kind::System | Kind::Internal | Kind::Patch | Kind::Tunnel | Kind::Bond => return None,
        };
        Some(SwitchPort { id: self.switch.clone().unwrap_or_else(|| ONE_CARD.to_owned()), role })
    }
}

/// `ovn-` and the chassis, and a number at the end.
fn is_ovn_tunnel(name: &str) -> bool {
    let rest = name.strip_prefix("ovn-").and_then(|rest| rest.rsplit_once('-'));
    rest.is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFCTL: &str = "\
OFPST_PORT_DESC reply (OF1.5) (xid=0x2):
 1(np0): addr:aa:55:aa:55:00:11
     config:     0
     state:      LIVE
 2(np0r0): addr:aa:55:aa:55:00:12
     config:     PORT_DOWN
     state:      LINK_DOWN
 3(patch-br-int-to.): addr:46:9c:22:27:90:41
 4(ovn-node2-0): addr:46:9c:22:27:90:42
 LOCAL(br-int): addr:46:9c:22:27:90:40
     config:     0
     state:      LIVE
";

    fn bridge(text: &str, name: &str) -> BridgePorts {
        parse(text).unwrap().bridges.remove(&BridgeName::from(name)).unwrap()
    }

    #[test]
    fn what_ofctl_prints() {
        let ports = bridge(OFCTL, "br-int").ports;
        assert_eq!(ports[&OfPort(1)].link_up, None);
        assert_eq!(ports[&OfPort(2)].link_up, Some(false));
        assert!(matches!(ports[&OfPort(3)].kind, PortKind::Patch { .. }));
        assert!(matches!(ports[&OfPort(4)].kind, PortKind::Tunnel(_)));
        assert_eq!(ports[&OfPort::LOCAL].kind, PortKind::Internal);
    }

    #[test]
    fn yaml_says_more() {
        let text = "bridge: br1\nports:\n- {number: 1, name: np0, kind: uplink, switch: a}\n\
                    - {number: LOCAL, name: br1, kind: internal}\n\
                    - {number: 2, name: np0r0, tag: 10}\n\
                    - {number: 3, name: t, kind: tunnel, type: geneve, options: {remote_ip: 10.0.0.1, key: flow}}\n\
                    - {number: 4, name: p, kind: patch, peer: q}\n";
        let ports = bridge(text, "br1").ports;
        let switch = ports[&OfPort(1)].switch.clone().unwrap();
        assert_eq!(switch, SwitchPort { id: "a".to_owned(), role: SwitchRole::Uplink });
        assert_eq!(
            (ports[&OfPort(2)].tag, ports[&OfPort(2)].vlan_mode),
            (Some(10), VlanMode::Access)
        );
        let PortKind::Tunnel(tunnel) = &ports[&OfPort(3)].kind else { panic!("3 is a tunnel") };
        assert_eq!((tunnel.kind, tunnel.options["key"].as_str()), (TunnelKind::Geneve, "flow"));
        assert_eq!(ports[&OfPort(4)].kind, PortKind::Patch { peer: "q".to_owned() });
    }

    #[test]
    fn yaml_of_several_bridges() {
        let text = "bridges:\n- {bridge: a, ports: [{number: 1, name: p}]}\n- {bridge: b, ports: [{number: 1, name: q}]}\n";
        assert_eq!(parse(text).unwrap().bridges.len(), 2);
        let twice = text.replace("bridge: b", "bridge: a");
        assert!(parse(&twice).unwrap_err().to_string().contains("bridge a appears twice"));
    }

    #[test]
    fn json_is_yaml() {
        assert!(parse(r#"{"ports": [{"number": 1, "name": "np0"}]}"#).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("", "no port found"),
            ("ports: []", "no port found"),
            ("ports: [{number: 1, name: a}, {number: 1, name: b}]", "port 1 appears twice"),
            ("ports: [{number: 0, name: a}]", "`0` is no port number"),
            ("ports: [{name: a}]", "`nothing` is no port number"),
            ("ports: [{number: FLOOD, name: a}]", "`FLOOD` is no port number"),
            ("ports: [{number: 1, name: a, kind: veth}]", "veth"),
            ("ports: [{number: 1, name: a, kind: tunnel, type: ipip}]", "`type: ipip`"),
            ("Interface table\n_uuid\n", "no line of dashes"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
