//! Keys that exclude each other, or mean nothing without another. Each rule is one line of a table or one function.

use serde_json::Value;

use super::fields::Fields;
use super::problem::Problem;
use crate::protocol::Call;

/// Keys that only say how the representor is on its bridge.
const OF_A_BRIDGE: &[(&str, &str)] = &[
    ("trunk", "which tags pass is decided on the bridge; without one, vlan is the card's"),
    ("bridgeType", "there is no bridge whose kind could be said"),
    ("ofport_request", "only a port of an OVS bridge has a number"),
    ("interface_type", "only an OVS bridge has interfaces with a type"),
    ("mirrors", "only a bridge mirrors"),
    (
        "portSecurity",
        "addresses are checked on the bridge; without one, spoofchk makes the card check the MAC address",
    ),
    ("ingress_rate", "only a bridge limits what the pod gets"),
    ("egress_rate", "without a bridge, max_tx_rate makes the card limit what the VF sends"),
];

/// Keys that a bridge of Linux has no use for.
const OF_OVS: &[(&str, &str)] = &[
    ("ofport_request", "a Linux bridge has no OpenFlow ports"),
    ("interface_type", "a Linux bridge has no OVSDB"),
    ("ovnPort", "OVN's ports are on OVS bridges"),
    ("provider", "Kube-OVN's ports are on OVS bridges"),
    ("mirrors", "mirrors are rows of OVSDB"),
    ("socket_file", "a Linux bridge has no OVSDB"),
    ("ingress_rate", "a Linux bridge limits nothing; use max_tx_rate for what the VF sends"),
    ("egress_rate", "a Linux bridge limits nothing; use max_tx_rate for what the VF sends"),
    ("portSecurity", "a Linux bridge checks MAC addresses only, which spoofchk is for"),
];

/// A key that needs another one beside it.
const PAIRS: &[(&str, &str, &str)] = &[
    ("vlanQoS", "vlan", "it is the priority in that VLAN's tag"),
    ("vlanProto", "vlan", "it is the kind of that VLAN's tag"),
    ("ingress_burst", "ingress_rate", "it is how much more than that rate may come at once"),
    ("egress_burst", "egress_rate", "it is how much more than that rate is taken at once"),
];

const REQUIRED: &[(&str, &str)] =
    &[("name", "give the network a name"), ("type", "say \"type\": \"sriov-cni\"")];

/// Finds all of them.
pub(crate) fn check(conf: Fields<'_>, call: Option<&Call>, problems: &mut Vec<Problem>) {
    let missing = REQUIRED.iter().filter(|(field, _)| conf.text(field).is_none());
    problems.extend(missing.map(|(field, remedy)| Problem::Missing { field, remedy }));
    problems.extend(lone(conf));
    if has_bridge(conf) {
        problems.extend(on_a_bridge(conf));
    } else {
        problems.extend(without(conf, OF_A_BRIDGE));
    }
    if conf.text("bridgeType") == Some("linux") {
        problems.extend(on_linux(conf));
    }
    problems.extend(names_of_the_port(conf, call));
    problems.extend(rates(conf));
    problems.extend(devices(conf));
    problems.extend(addresses(conf));
}

fn has_bridge(conf: Fields<'_>) -> bool {
    ["bridge", "ovnPort", "provider"].iter().any(|key| conf.text(key).is_some())
}

/// Whether a key says something: `0`, `""`, `[]`, `false` and `null` are how generators leave it out.
fn says(conf: Fields<'_>, key: &str) -> bool {
    match conf.0.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_u64() != Some(0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Bool(true) | Value::Object(_)) => true,
    }
}

/// A field with its value, as in the configuration.
fn shown(conf: Fields<'_>, key: &str) -> String {
    conf.0.get(key).map_or_else(|| key.to_owned(), |value| format!("{key} {value}"))
}

fn conflict(conf: Fields<'_>, one: &str, other: &str, why: &'static str) -> Problem {
    Problem::Conflict { one: shown(conf, one), other: shown(conf, other), why }
}

fn without<'a>(
    conf: Fields<'a>,
    keys: &'a [(&str, &'static str)],
) -> impl Iterator<Item = Problem> + 'a {
    let said = keys.iter().filter(move |(key, _)| says(conf, key));
    said.map(move |(key, why)| Problem::Needs { field: shown(conf, key), needs: "bridge", why })
}

fn lone(conf: Fields<'_>) -> impl Iterator<Item = Problem> {
    let lone = PAIRS.iter().filter(move |(key, other, _)| says(conf, key) && !says(conf, other));
    lone.map(move |(key, other, why)| Problem::Needs { field: shown(conf, key), needs: other, why })
}

fn on_a_bridge(conf: Fields<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut exclude = |fires: bool, one: &str, other: &str, why| {
        if fires {
            problems.push(conflict(conf, one, other, why));
        }
    };
    let both = |one, other| says(conf, one) && says(conf, other);
    let bridge = if conf.text("bridge").is_some() { "bridge" } else { "ovnPort" };
    exclude(
        both("vlan", "trunk"),
        "vlan",
        "trunk",
        "vlan puts all of the pod's packets into one VLAN, trunk lets it use tags of its own; say one of them",
    );
    exclude(
        says(conf, "vlanQoS"),
        "vlanQoS",
        bridge,
        "a bridge port writes no priority; leave it out, or set it by a rule of the bridge",
    );
    exclude(
        conf.on_off("trust") == Some(true),
        "trust",
        bridge,
        "trust is the PF's word in legacy mode; on a bridge, spoofchk off lets the pod use other addresses",
    );
    exclude(
        conf.bool("portSecurity") == Some(true) && conf.on_off("spoofchk") == Some(false),
        "portSecurity",
        "spoofchk",
        "who may use any MAC address cannot be held to an IP address; say one of them",
    );
    problems
}

fn on_linux(conf: Fields<'_>) -> Vec<Problem> {
    let said = OF_OVS.iter().filter(|(key, _)| says(conf, key));
    let mut problems: Vec<Problem> =
        said.map(|(key, why)| conflict(conf, key, "bridgeType", why)).collect();
    if conf.text("vlanProto").is_some_and(|protocol| protocol.eq_ignore_ascii_case("802.1ad")) {
        problems.push(conflict(
            conf,
            "vlanProto",
            "bridgeType",
            "all of a Linux bridge has one kind of tag; set its vlan_protocol, and leave this out",
        ));
    }
    problems
}

fn names_of_the_port(conf: Fields<'_>, call: Option<&Call>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let logical = if conf.text("ovnPort").is_some() { "ovnPort" } else { "provider" };
    if says(conf, "ovnPort") && says(conf, "provider") {
        problems.push(conflict(
            conf,
            "ovnPort",
            "provider",
            "both say the port's iface-id; say one of them",
        ));
    }
    if says(conf, logical) && says(conf, "portSecurity") {
        problems.push(conflict(
            conf,
            "portSecurity",
            logical,
            "OVN checks what its ports send; set port_security on the logical port",
        ));
    }
    if says(conf, "provider")
        && call.is_some_and(|call| call.attachment.is_some() && call.pod().is_none())
    {
        problems.push(Problem::Needs {
            field: shown(conf, "provider"),
            needs: "K8S_POD_NAME and K8S_POD_NAMESPACE in CNI_ARGS",
            why: "Kube-OVN's ports are named by the pod",
        });
    }
    problems
}

fn rates(conf: Fields<'_>) -> Option<Problem> {
    let rate = |key| conf.number::<u64>(key).filter(|rate| *rate != 0);
    let (min, max) = (rate("min_tx_rate")?, rate("max_tx_rate")?);
    let why = "what the VF gets for sure cannot be more than the most it gets";
    (min > max).then(|| conflict(conf, "min_tx_rate", "max_tx_rate", why))
}

fn devices(conf: Fields<'_>) -> Option<Problem> {
    let runtime = conf.fields("runtimeConfig")?.pci("deviceID")?;
    let own = conf.pci("deviceID").filter(|own| *own != runtime)?;
    Some(Problem::Conflict {
        one: format!("deviceID \"{own}\""),
        other: format!("runtimeConfig.deviceID \"{runtime}\""),
        why: "the runtime names two VFs for one interface; look at the NetworkAttachmentDefinition's resourceName",
    })
}

fn addresses(conf: Fields<'_>) -> Option<Problem> {
    let asks = ["wished addresses", "wished pool"];
    let asked: Vec<&str> = asks.into_iter().filter(|key| says(conf, key)).collect();
    let ipam = conf.fields("ipam").and_then(|ipam| ipam.text("type"));
    match asked.as_slice() {
        [_, _] => Some(Problem::Conflict {
            one: "args.cni.ip_address".to_owned(),
            other: "args.cni.ip_pool".to_owned(),
            why: "the one is the address, the other says several to choose from; say one of them",
        }),
        [_] if ipam.is_none() => Some(Problem::Needs {
            field: "args.cni.ip_address".to_owned(),
            needs: "ipam",
            why: "addresses are given by the IPAM plugin; static gives what is asked for",
        }),
        _ => None,
    }
}
