//! The header of the tunnel by which an explained packet comes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flow_compiler::compile::interp::TunnelHeader;
use flow_compiler::openflow::{Field, Match, TunnelOption};
use flow_compiler::ports::{Port, PortKind, TunnelEnd, TunnelKey};
use tc_filter::GeneveOption;

use super::PacketError;

const TTL: u8 = 64;

/// What the flow says of the header, and for the rest what the port expects; none for a port that is no tunnel.
pub(super) fn header(
    flow: &Match,
    port: &Port,
    options: &BTreeMap<u8, TunnelOption>,
) -> Result<Option<TunnelHeader>, PacketError> {
    let PortKind::Tunnel(tunnel) = &port.kind else { return Ok(None) };
    let unfit = |why: String| PacketError::OfTunnel { port: port.name.clone(), why };
    let config = tunnel.config().map_err(|error| unfit(error.to_string()))?;
    let id = flow.get(Field::TunId).and_then(|id| u64::try_from(id.value).ok());
    let id = match config.in_key {
        _ if id.is_some() => id,
        TunnelKey::Fixed(key) => Some(key),
        TunnelKey::Flow => return Err(unfit("the key is missing; give tun_id".to_owned())),
        TunnelKey::Absent => None,
    };
    let missing = |field| unfit(format!("an address is missing; give {field}"));
    let src = address(flow, Field::TunSrc, Field::TunIpv6Src).or_else(|| fixed(config.remote));
    let src = src.ok_or_else(|| missing("tun_src"))?;
    let dst = address(flow, Field::TunDst, Field::TunIpv6Dst).or_else(|| fixed(config.local));
    let dst = dst.ok_or_else(|| missing("tun_dst"))?;
    Ok(Some(TunnelHeader {
        id,
        src,
        dst,
        tos: 0,
        ttl: TTL,
        src_port: 0,
        dst_port: config.dst_port.unwrap_or(0),
        csum: false,
        no_frag: true,
        options: options
            .iter()
            .filter_map(|(number, option)| value(flow, *number, *option))
            .collect(),
    }))
}

fn fixed(end: TunnelEnd) -> Option<IpAddr> {
    match end {
        TunnelEnd::Addr(address) => Some(address),
        TunnelEnd::Any | TunnelEnd::Flow => None,
    }
}

fn address(flow: &Match, four: Field, six: Field) -> Option<IpAddr> {
    let four = flow.get(four).and_then(|found| u32::try_from(found.value).ok());
    let six = flow.get(six).map(|found| found.value).filter(|value| *value != 0);
    four.map(|value| IpAddr::from(value.to_be_bytes()))
        .or_else(|| six.map(|value| IpAddr::from(value.to_be_bytes())))
}

/// An option that the flow has a value for; OVS keeps it to the right.
fn value(flow: &Match, number: u8, option: TunnelOption) -> Option<GeneveOption> {
    let bytes = flow.get(Field::TunMetadata(number))?.value.to_be_bytes();
    let data = bytes.get(bytes.len().checked_sub(usize::from(option.length))?..)?;
    GeneveOption::new(option.class, option.kind, data).ok()
}

#[cfg(test)]
mod tests {
    use flow_compiler::openflow::text::{Names, parse_rules};
    use flow_compiler::ports::{Tunnel, TunnelKind};

    use super::*;

    fn geneve() -> Port {
        let options = [("key", "flow"), ("remote_ip", "192.0.2.2")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let kind = PortKind::Tunnel(Tunnel { kind: TunnelKind::Geneve, options });
        Port { name: "gnv0".to_owned(), kind, ..Port::default() }
    }

    fn of(flow: &str, port: &Port) -> Result<Option<TunnelHeader>, PacketError> {
        let rules = parse_rules(&format!("{flow} actions=drop"), &Names::default()).unwrap();
        let option = TunnelOption { class: 0x0102, kind: 0x80, length: 4 };
        header(&rules[0].match_, port, &[(0, option)].into())
    }

    #[test]
    fn the_flow_says_it_and_the_port_knows_the_rest() {
        let header = of("tun_id=2,tun_dst=192.0.2.1,tun_metadata0=0x80003", &geneve());
        let header = header.unwrap().unwrap();
        assert_eq!((header.id, header.src.to_string()), (Some(2), "192.0.2.2".to_owned()));
        assert_eq!(header.options, [GeneveOption::new(0x0102, 0x80, &[0, 8, 0, 3]).unwrap()]);
        assert_eq!(of("tun_id=2", &Port::default()).unwrap(), None, "the port is no tunnel");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (flow, missing) in [("tun_dst=192.0.2.1", "give tun_id"), ("tun_id=2", "give tun_dst")]
        {
            let error = of(flow, &geneve()).unwrap_err().to_string();
            assert!(error.contains("tunnel gnv0") && error.ends_with(missing), "{error}");
        }
    }
}
