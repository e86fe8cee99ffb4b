//! The keys of a NetConf: the one table that the reader, the schema, the hints and the reference go by.

/// A key, and what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it does, in a sentence.
    pub help: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number of this range.
    Number(u64, u64),
    /// `true` or `false`.
    Bool,
    /// Ethernet's: six bytes in hexadecimal.
    Mac,
    /// A PCI address.
    Pci,
    /// An object with these keys.
    Object(&'static [Key]),
    /// A list of objects with these keys.
    List(&'static [Key]),
    /// A list of texts.
    Texts,
    /// An object that is somebody else's to judge.
    Opaque,
    /// A list that is somebody else's to judge.
    OpaqueList,
}

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, help }
}

const ON_OFF: Kind = Kind::OneOf(&["on", "off"]);
/// The largest rate that fits OVS's and the kernel's counters in kbit/s, in Mbit/s.
const RATE: Kind = Kind::Number(0, 4_000_000);

/// The largest frame the kernel's drivers are ever set to.
pub(crate) const MTU_RANGE: (u64, u64) = (68, 65_535);

/// The keys of `trunk`'s elements.
const TRUNK: &[Key] = &[
    key("id", Kind::Number(0, 4095), "One VLAN."),
    key("minID", Kind::Number(0, 4095), "The first VLAN of a range."),
    key("maxID", Kind::Number(0, 4095), "The last VLAN of a range."),
];

/// The keys of `mirrors`' elements.
const MIRROR: &[Key] = &[
    key("name", Kind::Text, "The Mirror, by its name in OVSDB; it must be on the same bridge."),
    key(
        "ingress",
        Kind::Bool,
        "What the pod sends is copied (the port is one of select_src_port).",
    ),
    key("egress", Kind::Bool, "What the pod gets is copied (the port is one of select_dst_port)."),
];

/// What a runtime may put into `runtimeConfig.bandwidth`.
const BANDWIDTH: &[Key] = &[
    key("ingressRate", Kind::Number(0, u64::MAX), "To the pod, bit/s."),
    key("ingressBurst", Kind::Number(0, u64::MAX), "To the pod, bits."),
    key("egressRate", Kind::Number(0, u64::MAX), "From the pod, bit/s."),
    key("egressBurst", Kind::Number(0, u64::MAX), "From the pod, bits."),
];

/// Of `runtimeConfig`, what is used here; other capabilities go to the IPAM plugin as they are.
const RUNTIME: &[Key] = &[
    key("mac", Kind::Mac, "The pod's MAC address; goes before all other places that give one."),
    key("deviceID", Kind::Pci, "The VF that the kubelet allocated."),
    key("ips", Kind::Texts, "Addresses that IPAM shall give."),
    key("bandwidth", Kind::Object(BANDWIDTH), "Rates, in the runtime's units."),
    key("CNIDeviceInfoFile", Kind::Text, "Where the runtime wants to read the device-info."),
];

/// The keys of a NetConf.
pub const KEYS: &[Key] = &[
    // The specification's.
    key(
        "cniVersion",
        Kind::OneOf(&["0.3.1", "0.4.0", "1.0.0", "1.1.0"]),
        "The version of the specification.",
    ),
    key("name", Kind::Text, "The network's name."),
    key("type", Kind::Text, "The plugin's name: sriov-cni."),
    key("ipam", Kind::Opaque, "The IPAM plugin and its own configuration; {} or nothing for none."),
    key("dns", Kind::Opaque, "Name servers for the result."),
    key("args", Kind::Opaque, "args.cni: what a pod's annotation asks for."),
    key("capabilities", Kind::Opaque, "What the runtime shall put into runtimeConfig."),
    key("runtimeConfig", Kind::Object(RUNTIME), "What the runtime put there."),
    key("prevResult", Kind::Opaque, "The result of the plugin before, or of ADD."),
    // The VF: sriov-cni's.
    key("deviceID", Kind::Pci, "The VF's PCI address; Multus puts it there."),
    key("pciBusID", Kind::Text, "Accepted, for Multus puts it beside deviceID; not used."),
    key("resourceName", Kind::Text, "The pool that the VF comes from; STATUS counts its free VFs."),
    key(
        "mac",
        Kind::Mac,
        "The pod's MAC address. Without one it is the VF's own, or a random one where it has none.",
    ),
    key(
        "mtu",
        Kind::Number(MTU_RANGE.0, MTU_RANGE.1),
        "The largest packet, of the VF and its representor.",
    ),
    key("vlan", Kind::Number(0, 4094), "The VLAN that the pod is in, unseen by it; 0 is none."),
    key(
        "vlanQoS",
        Kind::Number(0, 7),
        "The priority in that VLAN's tag; by the card, without a bridge.",
    ),
    key(
        "vlanProto",
        Kind::OneOf(&["802.1q", "802.1ad", "802.1Q", "802.1AD"]),
        "The kind of that VLAN's tag.",
    ),
    key(
        "min_tx_rate",
        Kind::Number(0, u32::MAX as u64),
        "What the VF may send for sure, Mbit/s; 0 is nothing.",
    ),
    key(
        "max_tx_rate",
        Kind::Number(0, u32::MAX as u64),
        "The most the VF may send, Mbit/s; 0 is no limit.",
    ),
    key("spoofchk", ON_OFF, "The pod may only use its own MAC address; on unless said otherwise."),
    key(
        "trust",
        ON_OFF,
        "The pod may change its MAC address and see others' packets; off unless said otherwise.",
    ),
    key(
        "link_state",
        Kind::OneOf(&["auto", "enable", "disable"]),
        "Whether the VF's link follows the PF's.",
    ),
    // The bridge: ovs-cni's.
    key(
        "bridge",
        Kind::Text,
        "The bridge for the representor: of OVS, or of Linux. Without one the VF is the card's business.",
    ),
    key("bridgeType", Kind::OneOf(&["ovs", "linux"]), "Whose bridge; found out unless said."),
    key("trunk", Kind::List(TRUNK), "The VLANs that the pod may use with its own tags."),
    key("ofport_request", Kind::Number(1, 65_279), "The OpenFlow port number that is asked for."),
    key("interface_type", Kind::Text, "The Interface's type in OVSDB; system for a representor."),
    key(
        "ovnPort",
        Kind::Text,
        "OVN's logical port, as iface-id; the bridge is then br-int unless said.",
    ),
    key(
        "provider",
        Kind::Text,
        "Kube-OVN's provider, <attachment>.<namespace>.ovn: iface-id is <pod>.<namespace>.<provider>.",
    ),
    key("mirrors", Kind::List(MIRROR), "Mirrors of the bridge that the port is part of."),
    key("portSecurity", Kind::Bool, "The pod may also only use its own IP addresses."),
    key("socket_file", Kind::Text, "Where ovsdb-server listens: unix:/PATH or tcp:HOST:PORT."),
    key("configuration_path", Kind::Text, "A file with more keys; those here go before."),
    key(
        "link_state_check_retries",
        Kind::Number(1, 1000),
        "How often it is looked whether the switch took the port.",
    ),
    key("link_state_check_interval", Kind::Number(1, 60_000), "The time between two looks, ms."),
    // Rates on the bridge: Kube-OVN's.
    key("ingress_rate", RATE, "The most the pod gets, Mbit/s; 0 is no limit."),
    key("ingress_burst", RATE, "How much more it may get at once, Mbit."),
    key("egress_rate", RATE, "The most the bridge takes from the pod, Mbit/s; 0 is no limit."),
    key("egress_burst", RATE, "How much more is taken at once, Mbit."),
    // Logs.
    key(
        "logFile",
        Kind::Text,
        "A file for the log; without one only errors are told, to the runtime.",
    ),
    key(
        "logLevel",
        Kind::OneOf(&["panic", "error", "warning", "info", "debug"]),
        "How much is logged; info unless said.",
    ),
];

/// Members that a runtime or a configuration list may put beside ours.
pub(crate) const PASSED_OVER: &[&str] = &[
    "ipMasq",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "cniVersions",
    "confVersion",
];

/// The specification reserves this prefix for what runtimes tell plugins.
pub(crate) const RESERVED_PREFIX: &str = "cni.dev/";
