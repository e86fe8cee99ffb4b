//! Tunnel ports: what their OVSDB options say, with OVS's defaults filled in (`set_tunnel_config` of `netdev-vport.c`).
//!
//! OVS makes one kernel device a kind and destination port, whatever the number of tunnel ports; filters for what comes
//! in hang there.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A tunnel port: its kind and its OVSDB options as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which encapsulation.
    pub kind: TunnelKind,
    /// `remote_ip`, `local_ip`, `key`, `dst_port`, `csum`, `tos`, `ttl`, `df_default`, ...
    pub options: BTreeMap<String, String>,
}

/// The encapsulations that OVS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the encapsulation by its own name")]
pub enum TunnelKind {
    Vxlan,
    Geneve,
    Gre,
    Ip6Gre,
    Erspan,
    Ip6Erspan,
    Bareudp,
    Lisp,
    Stt,
    Gtpu,
    Srv6,
}

/// What the options of a tunnel port mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// The other end: packets from elsewhere are not this port's.
    pub remote: TunnelEnd,
    /// Our end.
    pub local: TunnelEnd,
    /// The key of packets that come in.
    pub in_key: TunnelKey,
    /// The key of packets that go out.
    pub out_key: TunnelKey,
    /// The UDP (STT: TCP) destination port, where the encapsulation has one.
    pub dst_port: Option<u16>,
    /// The outer type of service; the ECN bits are the packet's own either way.
    pub tos: OuterByte,
    /// The outer TTL.
    pub ttl: OuterByte,
    /// The outer don't-fragment bit.
    pub dont_fragment: bool,
    /// The outer checksum; `None` is OVS's default, off over IPv4 and on over IPv6.
    pub csum: Option<bool>,
    /// Extensions of VXLAN in use: `gbp`, `gpe`.
    pub extensions: Vec<String>,
    /// Options that change packets and that this program does not know.
    pub unknown: Vec<String>,
}

/// One end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelEnd {
    /// Not given: any address comes in, the kernel chooses what goes out.
    Any,
    /// The rules say it, in `tun_src` and `tun_dst` (or `tun_ipv6_*`).
    Flow,
    /// This one.
    Addr(IpAddr),
}

/// The key of a tunnel: VNI, GRE key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelKey {
    /// Not given: packets carry none (VNI 0), and `tun_id` is 0.
    Absent,
    /// The rules say it, in `tun_id`.
    Flow,
    /// This one.
    Fixed(u64),
}

/// A byte of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OuterByte {
    /// Copied from the packet inside.
    Inherit,
    /// Always this.
    Fixed(u8),
}

/// An option that OVS would not take either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("options:{option}={value} of the tunnel port is not {wanted}")]
pub struct TunnelError {
    /// Its name.
    pub option: String,
    /// What it holds.
    pub value: String,
    /// What would be right.
    pub wanted: &'static str,
}

/// `DEFAULT_TTL`.
const DEFAULT_TTL: OuterByte = OuterByte::Fixed(64);
const AN_ADDRESS: &str = "an IP address, or flow";
const A_NUMBER: &str = "a number, in decimal or as 0x...";

/// Options that are read below, or that change no packet we would offload.
const KNOWN: [&str; 15] = [
    "remote_ip",
    "local_ip",
    "key",
    "in_key",
    "out_key",
    "dst_port",
    "tos",
    "ttl",
    "df_default",
    "csum",
    "exts",
    // For the IPsec daemon and for people.
    "psk",
    "remote_cert",
    "remote_name",
    "ipsec_encapsulation",
];

impl Tunnel {
    /// What the options mean.
    ///
    /// # Errors
    ///
    /// [`TunnelError`] for a value that cannot be read; OVS does not forward by such a port.
    pub fn config(&self) -> Result<TunnelConfig, TunnelError> {
        let key = self.key("key")?.unwrap_or(TunnelKey::Absent);
        Ok(TunnelConfig {
            remote: self.end("remote_ip")?,
            local: self.end("local_ip")?,
            in_key: self.key("in_key")?.unwrap_or(key),
            out_key: self.key("out_key")?.unwrap_or(key),
            dst_port: self.dst_port()?,
            tos: self.outer_byte("tos")?.unwrap_or(OuterByte::Fixed(0)),
            ttl: self.outer_byte("ttl")?.unwrap_or(DEFAULT_TTL),
            dont_fragment: self.option("df_default") != Some("false"),
            csum: self.option("csum").map(|csum| csum == "true"),
            extensions: self.extensions(),
            unknown: self.unknown(),
        })
    }

    /// The name of the kernel's device for it (`netdev_vport_get_dpif_port`); `None` for a kind that only OVS's user
    /// space knows.
    pub fn device(&self) -> Option<String> {
        let numbered = |name: &str| Some(format!("{name}_{}", self.dst_port().ok()??));
        match self.kind {
            TunnelKind::Vxlan => numbered("vxlan_sys"),
            TunnelKind::Geneve => numbered("genev_sys"),
            TunnelKind::Bareudp => numbered("bareudp_sys"),
            TunnelKind::Gre => Some("gre_sys".to_owned()),
            TunnelKind::Ip6Gre => Some("ip6gre_sys".to_owned()),
            TunnelKind::Erspan => Some("erspan_sys".to_owned()),
            TunnelKind::Ip6Erspan => Some("ip6erspan_sys".to_owned()),
            TunnelKind::Lisp | TunnelKind::Stt | TunnelKind::Gtpu | TunnelKind::Srv6 => None,
        }
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn wrong(&self, option: &str, wanted: &'static str) -> TunnelError {
        let value = self.option(option).unwrap_or_default().to_owned();
        TunnelError { option: option.to_owned(), value, wanted }
    }

    fn end(&self, option: &str) -> Result<TunnelEnd, TunnelError> {
        match self.option(option) {
            None => Ok(TunnelEnd::Any),
            Some("flow") => Ok(TunnelEnd::Flow),
            Some(text) => {
                text.parse().map(TunnelEnd::Addr).map_err(|_| self.wrong(option, AN_ADDRESS))
            }
        }
    }

    fn key(&self, option: &str) -> Result<Option<TunnelKey>, TunnelError> {
        match self.option(option) {
            None => Ok(None),
            Some("flow") => Ok(Some(TunnelKey::Flow)),
            Some(text) => match number(text) {
                Some(key) => Ok(Some(TunnelKey::Fixed(key))),
                None => Err(self.wrong(option, "a number, or flow")),
            },
        }
    }

    fn dst_port(&self) -> Result<Option<u16>, TunnelError> {
        let Some(default) = self.kind.default_port() else { return Ok(None) };
        let Some(text) = self.option("dst_port") else { return Ok(Some(default)) };
        let port = number(text).and_then(|port| u16::try_from(port).ok());
        port.map(Some).ok_or_else(|| self.wrong("dst_port", "a port from 0 to 65535"))
    }

    fn outer_byte(&self, option: &str) -> Result<Option<OuterByte>, TunnelError> {
        match self.option(option) {
            None => Ok(None),
            Some("inherit") => Ok(Some(OuterByte::Inherit)),
            Some(text) => {
                let byte = number(text).and_then(|byte| u8::try_from(byte).ok());
                byte.map(|byte| Some(OuterByte::Fixed(byte)))
                    .ok_or_else(|| self.wrong(option, A_NUMBER))
            }
        }
    }

    fn extensions(&self) -> Vec<String> {
        let extensions = self.option("exts").unwrap_or_default().split(',').map(str::trim);
        extensions.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn unknown(&self) -> Vec<String> {
        self.options.keys().filter(|name| !KNOWN.contains(&name.as_str())).cloned().collect()
    }
}

impl TunnelKind {
    /// The kind of an OVSDB interface type.
    pub fn from_name(name: &str) -> Option<TunnelKind> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The OVSDB interface type.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    const NAMES: [(TunnelKind, &'static str); 11] = [
        (TunnelKind::Vxlan, "vxlan"),
        (TunnelKind::Geneve, "geneve"),
        (TunnelKind::Gre, "gre"),
        (TunnelKind::Ip6Gre, "ip6gre"),
        (TunnelKind::Erspan, "erspan"),
        (TunnelKind::Ip6Erspan, "ip6erspan"),
        (TunnelKind::Bareudp, "bareudp"),
        (TunnelKind::Lisp, "lisp"),
        (TunnelKind::Stt, "stt"),
        (TunnelKind::Gtpu, "gtpu"),
        (TunnelKind::Srv6, "srv6"),
    ];

    /// The port that OVS uses when `dst_port` says nothing.
    fn default_port(self) -> Option<u16> {
        match self {
            TunnelKind::Vxlan => Some(4789),
            TunnelKind::Geneve => Some(6081),
            TunnelKind::Lisp => Some(4341),
            TunnelKind::Stt => Some(7471),
            TunnelKind::Gtpu => Some(2152),
            TunnelKind::Bareudp => Some(6635),
            TunnelKind::Gre
            | TunnelKind::Ip6Gre
            | TunnelKind::Erspan
            | TunnelKind::Ip6Erspan
            | TunnelKind::Srv6 => None,
        }
    }
}

/// A number as `strtoull(..., 0)` reads it, without octal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(kind: TunnelKind, options: &[(&str, &str)]) -> Tunnel {
        let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Tunnel { kind, options: options.collect() }
    }

    #[test]
    fn what_ovn_sets_up() {
        let options = [("csum", "true"), ("key", "flow"), ("remote_ip", "192.168.100.2")];
        let geneve = tunnel(TunnelKind::Geneve, &options);
        let config = geneve.config().unwrap();
        assert_eq!(config.remote, TunnelEnd::Addr("192.168.100.2".parse().unwrap()));
        assert_eq!((config.local, config.csum), (TunnelEnd::Any, Some(true)));
        assert_eq!((config.in_key, config.out_key), (TunnelKey::Flow, TunnelKey::Flow));
        assert_eq!((config.ttl, config.dont_fragment), (OuterByte::Fixed(64), true));
        assert_eq!(config.unknown, Vec::<String>::new());
        assert_eq!(geneve.device().as_deref(), Some("genev_sys_6081"));
    }

    #[test]
    fn all_that_can_be_set_is_read() {
        let options = [
            ("remote_ip", "flow"),
            ("local_ip", "fd00::1"),
            ("in_key", "0x10"),
            ("key", "7"),
            ("dst_port", "8472"),
            ("tos", "inherit"),
            ("ttl", "inherit"),
            ("df_default", "false"),
            ("exts", "gbp"),
            ("egress_pkt_mark", "5"),
        ];
        let vxlan = tunnel(TunnelKind::Vxlan, &options);
        let config = vxlan.config().unwrap();
        assert_eq!(config.remote, TunnelEnd::Flow);
        assert_eq!(config.local, TunnelEnd::Addr("fd00::1".parse().unwrap()));
        assert_eq!((config.in_key, config.out_key), (TunnelKey::Fixed(16), TunnelKey::Fixed(7)));
        assert_eq!((config.tos, config.ttl), (OuterByte::Inherit, OuterByte::Inherit));
        assert_eq!((config.dont_fragment, config.csum), (false, None));
        assert_eq!(
            (config.extensions.as_slice(), config.dst_port),
            (&["gbp".to_owned()][..], Some(8472))
        );
        assert_eq!(config.unknown, ["egress_pkt_mark"]);
        assert_eq!(vxlan.device().as_deref(), Some("vxlan_sys_8472"));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named() {
        let gre = tunnel(TunnelKind::Gre, &[("remote_ip", "gateway.example")]);
        assert_eq!(
            gre.config().unwrap_err().to_string(),
            "options:remote_ip=gateway.example of the tunnel port is not an IP address, or flow"
        );
        assert!(tunnel(TunnelKind::Vxlan, &[("dst_port", "70000")]).config().is_err());
        assert!(tunnel(TunnelKind::Vxlan, &[("key", "red")]).config().is_err());
    }
}
