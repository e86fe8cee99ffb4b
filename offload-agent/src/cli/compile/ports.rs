//! The ports of a bridge from a file: what `ovs-ofctl` prints, or YAML that says more.

use std::collections::BTreeMap;

use flow_compiler::openflow::{BridgeName, OfPort};
use flow_compiler::ports::{
    BridgePorts, Port, PortIfIndex, PortKind, SwitchPort, SwitchRole, Tunnel, TunnelKind,
};
use serde::Deserialize;

/// The bridge of a file that names none.
const BRIDGE: &str = "br0";
/// The switch of a port of which no switch is told.
const ONE_CARD: &str = "card";

/// What is wrong with the ports.
#[derive(Debug, thiserror::Error)]
pub enum PortsFileError {
    /// It is not YAML or JSON of the shape expected.
    #[error("{0}")]
    Yaml(String),
    /// There is no port in it.
    #[error(
        "no port found; give what `ovs-ofctl dump-ports-desc BRIDGE` prints, or YAML with `ports:` (see --help)"
    )]
    Empty,
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

/// Reads the ports of one bridge.
pub(super) fn parse(text: &str) -> Result<(BridgeName, BridgePorts), PortsFileError> {
    if text.lines().any(|line| described(line).is_some()) {
        return from_ofctl(text);
    }
    if text.trim().is_empty() || text.starts_with("OFPST_") {
        return Err(PortsFileError::Empty);
    }
    from_yaml(text)
}

/// ` 1(np0): addr:...`: the number and the name of a port.
fn described(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.strip_prefix(' ')?.split_once('(')?;
    let (name, _) = rest.split_once("): addr:")?;
    (number == "LOCAL" || number.parse::<u16>().is_ok()).then_some((number, name))
}

fn from_ofctl(text: &str) -> Result<(BridgeName, BridgePorts), PortsFileError> {
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
    collect(File { bridge, ports: found })
}

/// `config: PORT_DOWN` or `state: LINK_DOWN` below a port.
fn is_down(line: &str) -> bool {
    let line = line.trim();
    let told = line.starts_with("config:") || line.starts_with("state:");
    told && line.split_whitespace().any(|word| matches!(word, "PORT_DOWN" | "LINK_DOWN"))
}

fn from_yaml(text: &str) -> Result<(BridgeName, BridgePorts), PortsFileError> {
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

fn collect(file: File) -> Result<(BridgeName, BridgePorts), PortsFileError> {
    let mut ports: BTreeMap<OfPort, Port> = BTreeMap::new();
    for entry in file.ports {
        let (number, port) = entry.port()?;
        let second = port.name.clone();
        if let Some(first) = ports.insert(number, port) {
            return Err(PortsFileError::Twice { number, first: first.name, second });
        }
    }
    if ports.is_empty() {
        return Err(PortsFileError::Empty);
    }
    Ok((BridgeName(file.bridge), BridgePorts { ports, ..BridgePorts::default() }))
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_bridge")]
    bridge: String,
    ports: Vec<Entry>,
}

fn default_bridge() -> String {
    BRIDGE.to_owned()
}

/// One port of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: Number,
    name: String,
    #[serde(default)]
    kind: Kind,
    switch: Option<String>,
    ifindex: Option<u32>,
    link: Option<Link>,
}

/// A port number, or `LOCAL`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u16),
    Name(String),
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
    /// A port of which only number and name are known.
    fn plain(number: &str, name: &str) -> Entry {
        let local = number == "LOCAL";
        Entry {
            number: number.parse().map_or_else(|_| Number::Name(number.to_owned()), Number::Plain),
            name: name.to_owned(),
            kind: if local { Kind::Internal } else { Kind::Representor },
            switch: None,
            ifindex: None,
            link: None,
        }
    }

    fn port(self) -> Result<(OfPort, Port), PortsFileError> {
        let number = self.number()?;
        // Without the kernel's numbers, OpenFlow's do: they only have to differ.
        let ifindex = self.ifindex.unwrap_or_else(|| u32::from(number.0));
        let port = Port {
            name: self.name.clone(),
            ifindex: Some(PortIfIndex(ifindex)),
            kind: self.port_kind(),
            bond: (self.kind == Kind::Bond).then(|| self.name.clone()),
            switch: self.switch_port(),
            link_up: self.link.map(|link| link == Link::Up),
            ..Port::default()
        };
        Ok((number, port))
    }

    fn number(&self) -> Result<OfPort, PortsFileError> {
        match &self.number {
            Number::Plain(number) if (1..OfPort::MAX.0).contains(number) => Ok(OfPort(*number)),
            Number::Name(name) if name == "LOCAL" => Ok(OfPort::LOCAL),
            Number::Plain(number) => Err(PortsFileError::Number(number.to_string())),
            Number::Name(name) => Err(PortsFileError::Number(name.clone())),
        }
    }

    fn port_kind(&self) -> PortKind {
        match self.kind {
            Kind::Uplink | Kind::Representor | Kind::System | Kind::Bond => PortKind::System,
            Kind::Internal => PortKind::Internal,
            Kind::Patch => PortKind::Patch { peer: String::new() },
            Kind::Tunnel => {
                PortKind::Tunnel(Tunnel { kind: TunnelKind::Vxlan, options: BTreeMap::new() })
            }
        }
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
 LOCAL(br-int): addr:46:9c:22:27:90:40
     config:     0
     state:      LIVE
";

    #[test]
    fn what_ofctl_prints() {
        let (bridge, ports) = parse(OFCTL).unwrap();
        assert_eq!(bridge.0, "br-int", "the bridge's own port has its name");
        assert_eq!(ports.ports[&OfPort(1)].link_up, None);
        assert_eq!(ports.ports[&OfPort(2)].link_up, Some(false));
        assert_eq!(ports.ports[&OfPort::LOCAL].kind, PortKind::Internal);
    }

    #[test]
    fn yaml_says_more() {
        let text = "bridge: br1\nports:\n- {number: 1, name: np0, kind: uplink, switch: a}\n- {number: LOCAL, name: br1, kind: internal}\n";
        let (bridge, ports) = parse(text).unwrap();
        assert_eq!(bridge.0, "br1");
        let switch = ports.ports[&OfPort(1)].switch.clone().unwrap();
        assert_eq!(switch, SwitchPort { id: "a".to_owned(), role: SwitchRole::Uplink });
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
            ("ports: [{number: FLOOD, name: a}]", "`FLOOD` is no port number"),
            ("ports: [{number: 1, name: a, kind: veth}]", "veth"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
