//! Random filters for property tests, here and in the crates that carry filters to the kernel.
//!
//! What is made is what the kernel would accept as a message: ports come with a protocol that
//! has ports, ARP keys with ARP, and so on. It is in normal form.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::action::{
    Burst, Conform, Csum, Ct, CtNat, CtTrack, Edit, Exceed, Gact, Mirred, MirredDirection,
    MirredMode, NatAddresses, NatPorts, NatRange, Pedit, Police, PoliceRate, TunnelAddresses,
    TunnelKey, TunnelSet, Vlan, VlanTag, VlanTpid,
};
use crate::key::{
    ArpKey, CtKey, CtState, EncKey, EthKey, FragKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch,
    PortRange, VlanKey,
};
use crate::{
    Action, Attach, Bits, BlockId, ChainId, Cookie, CtZone, EtherType, Filter, FlowerMatch,
    GeneveOption, GeneveOptionMatch, Handle, HwPolicy, IfIndex, IpProto, Mac, Masked, Pcp, Prio,
    TunnelKeyId, VlanId,
};

/// Any filter.
pub fn filter() -> impl Strategy<Value = Filter> {
    let place = (attach(), 0..=0x0fff_ffffu32, 1..=u16::MAX, 1..=u32::MAX);
    let hw = select(vec![HwPolicy::Both, HwPolicy::SkipSw, HwPolicy::SkipHw]);
    let parts = (place, packets(), vec(action(), 1..6), hw, of(any::<u64>()));
    parts.prop_map(|((attach, chain, prio, handle), (protocol, key), actions, hw, cookie)| {
        let filter = Filter {
            attach,
            chain: ChainId::new(chain).unwrap_or(ChainId::MAX),
            prio: Prio::new(prio).unwrap_or(Prio::MAX),
            handle: Handle::new(handle).unwrap_or(Handle::MAX),
            protocol,
            key: key.into(),
            actions: actions.into(),
            hw,
            cookie: cookie.map(Cookie::ours),
        };
        filter.normalized()
    })
}

fn attach() -> impl Strategy<Value = Attach> {
    let device = 1..=0x7fff_ffffu32;
    prop_oneof![
        device.clone().prop_map(|index| Attach::Ingress(IfIndex(index))),
        device.prop_map(|index| Attach::Egress(IfIndex(index))),
        (1..=u32::MAX).prop_map(|block| Attach::Block(BlockId(block))),
    ]
}

/// A protocol and keys that go with it.
fn packets() -> impl Strategy<Value = (EtherType, FlowerMatch)> {
    let common = (eth(), enc(), ct());
    (common, prop_oneof![plain(), arp(), ip()], of(vlan_tags())).prop_map(
        |((eth, enc, ct), (inner, key), tags)| {
            let mut key = FlowerMatch { eth, enc, ct, ..key };
            let protocol = tags.map_or(inner, |tags| tags.around(inner, &mut key));
            (protocol, key)
        },
    )
}

/// One or two VLAN tags.
#[derive(Debug, Clone)]
struct Tags {
    outer: (EtherType, VlanKey),
    inner: Option<(EtherType, VlanKey)>,
}

impl Tags {
    /// Puts the tags around a protocol; the outermost one is the filter's.
    fn around(self, inner: EtherType, key: &mut FlowerMatch) -> EtherType {
        let (protocol, outer) = self.outer;
        let next = |ethertype| (ethertype != EtherType::ALL).then_some(ethertype);
        match self.inner {
            None => key.vlan = VlanKey { ethertype: next(inner), ..outer },
            Some((tpid, tag)) => {
                key.vlan = VlanKey { ethertype: Some(tpid), ..outer };
                key.cvlan = VlanKey { ethertype: next(inner), ..tag };
            }
        }
        protocol
    }
}

fn vlan_tags() -> impl Strategy<Value = Tags> {
    (vlan_tag(), of(vlan_tag())).prop_map(|(outer, inner)| Tags { outer, inner })
}

fn vlan_tag() -> impl Strategy<Value = (EtherType, VlanKey)> {
    let key = (of(0..=0xfffu16), of(0..=7u8)).prop_map(|(id, pcp)| VlanKey {
        id: id.and_then(|id| VlanId::new(id).ok()),
        pcp: pcp.and_then(|pcp| Pcp::new(pcp).ok()),
        ethertype: None,
    });
    (select(vec![EtherType::VLAN, EtherType::QINQ]), key)
}

fn plain() -> BoxedStrategy<(EtherType, FlowerMatch)> {
    let ethertypes = select(vec![EtherType::ALL, EtherType(0x88cc), EtherType(0x8906)]);
    ethertypes.prop_map(|ethertype| (ethertype, FlowerMatch::default())).boxed()
}

fn arp() -> BoxedStrategy<(EtherType, FlowerMatch)> {
    let parts = (masked(any::<u8>()), masked(v4()), masked(v4()), masked(mac()), masked(mac()));
    let keys = parts.prop_map(|(op, sip, tip, sha, tha)| {
        let arp = ArpKey { op, sip, tip, sha, tha };
        (EtherType::ARP, FlowerMatch { arp, ..FlowerMatch::default() })
    });
    keys.boxed()
}

fn ip() -> BoxedStrategy<(EtherType, FlowerMatch)> {
    let v4 = ip_addresses(v4().boxed(), IpMatch::V4).prop_map(|ends| (EtherType::IPV4, ends));
    let v6 = ip_addresses(v6().boxed(), IpMatch::V6).prop_map(|ends| (EtherType::IPV6, ends));
    let rest = (masked(any::<u8>()), masked(any::<u8>()), frag());
    let parts = (prop_oneof![v4, v6], rest, upper());
    parts
        .prop_map(|((ethertype, (src, dst)), (tos, ttl, frag), (proto, l4, icmp))| {
            let proto = proto.map(|proto| icmp_of(ethertype, proto));
            let ip = IpKey { proto, src, dst, tos, ttl, frag };
            (ethertype, FlowerMatch { ip, l4, icmp, ..FlowerMatch::default() })
        })
        .boxed()
}

fn icmp_of(ethertype: EtherType, proto: IpProto) -> IpProto {
    if proto == IpProto::ICMP && ethertype == EtherType::IPV6 { IpProto::ICMPV6 } else { proto }
}

type Ends = (Option<IpMatch>, Option<IpMatch>);

fn ip_addresses<T: Bits + std::fmt::Debug + 'static>(
    address: BoxedStrategy<T>,
    family: fn(Masked<T>) -> IpMatch,
) -> impl Strategy<Value = Ends> {
    (masked(address.clone()), masked(address))
        .prop_map(move |(src, dst)| (src.map(family), dst.map(family)))
}

fn frag() -> impl Strategy<Value = FragKey> {
    (of(any::<bool>()), of(any::<bool>())).prop_map(|(fragment, first)| FragKey { fragment, first })
}

type Upper = (Option<IpProto>, L4Key, IcmpKey);

fn upper() -> impl Strategy<Value = Upper> {
    let protos = select(vec![IpProto::TCP, IpProto::UDP, IpProto::SCTP]);
    let ported = (protos, of(port()), of(port()), masked(any::<u16>())).prop_map(
        |(proto, src, dst, flags)| {
            let tcp_flags = flags.filter(|_| proto == IpProto::TCP);
            (Some(proto), L4Key { src, dst, tcp_flags }, IcmpKey::default())
        },
    );
    let icmp = (masked(any::<u8>()), masked(any::<u8>()))
        .prop_map(|(kind, code)| (Some(IpProto::ICMP), L4Key::default(), IcmpKey { kind, code }));
    let other = of(any::<u8>()).prop_map(|number| {
        let proto = number.map(IpProto).filter(|proto| !proto.has_ports());
        (proto, L4Key::default(), IcmpKey::default())
    });
    prop_oneof![ported, icmp, other]
}

fn port() -> impl Strategy<Value = PortMatch> {
    let range = (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| {
        PortRange::new(a.min(b), a.max(b)).map_or_else(|_| PortMatch::exact(a), PortMatch::Range)
    });
    let masked = (any::<u16>(), 1..=u16::MAX);
    prop_oneof![masked.prop_map(|(port, mask)| PortMatch::Masked(Masked::new(port, mask))), range]
}

fn eth() -> impl Strategy<Value = EthKey> {
    (masked(mac()), masked(mac())).prop_map(|(dst, src)| EthKey { dst, src })
}

fn enc() -> impl Strategy<Value = EncKey> {
    let ends = prop_oneof![
        ip_addresses(v4().boxed(), IpMatch::V4),
        ip_addresses(v6().boxed(), IpMatch::V6),
    ];
    let ports = (masked(any::<u16>()), masked(any::<u16>()));
    let fields = (masked(any::<u8>()), masked(any::<u8>()));
    (of(any::<u32>()), ends, ports, fields, vec(geneve_match(), 0..3)).prop_map(
        |(id, (src, dst), (src_port, dst_port), (tos, ttl), geneve)| EncKey {
            id: id.map(TunnelKeyId),
            src,
            dst,
            src_port,
            dst_port,
            tos,
            ttl,
            geneve,
        },
    )
}

fn words() -> impl Strategy<Value = Vec<(u8, u8)>> {
    vec(any::<(u8, u8)>(), 4..24).prop_map(|mut bytes| {
        bytes.truncate(bytes.len() / 4 * 4);
        bytes
    })
}

fn geneve_match() -> impl Strategy<Value = GeneveOptionMatch> {
    (any::<(u16, u16)>(), any::<(u8, u8)>(), words()).prop_filter_map(
        "an option",
        |(class, kind, words)| {
            let (data, mask): (Vec<u8>, Vec<u8>) = words.into_iter().unzip();
            let (class, kind) = (Masked::new(class.0, class.1), Masked::new(kind.0, kind.1));
            GeneveOptionMatch::with_masks(class, kind, &data, &mask).ok()
        },
    )
}

fn ct() -> impl Strategy<Value = CtKey> {
    let state = (0..0x40u16, 0..0x40u16)
        .prop_map(|(value, mask)| Masked::new(CtState(value), CtState(mask)).unless_any());
    (state, masked(any::<u16>()), masked(any::<u32>()), masked(any::<u128>()))
        .prop_map(|(state, zone, mark, label)| CtKey { state, zone, mark, label })
}

fn masked<T: Bits + std::fmt::Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Option<Masked<T>>> {
    let some = prop_oneof![
        value.clone().prop_map(Masked::exact),
        (value.clone(), value).prop_map(|(value, mask)| Masked::new(value, mask)),
    ];
    of(some).prop_map(|key| key.and_then(Masked::unless_any))
}

fn mac() -> impl Strategy<Value = Mac> + Clone {
    any::<[u8; 6]>().prop_map(Mac)
}

fn v4() -> impl Strategy<Value = Ipv4Addr> + Clone {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn v6() -> impl Strategy<Value = Ipv6Addr> + Clone {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        gact().prop_map(Action::Gact),
        mirred().prop_map(Action::Mirred),
        vlan().prop_map(Action::Vlan),
        pedit().prop_map(Action::Pedit),
        (1..0x80u32).prop_map(|flags| Action::Csum(Csum(flags))),
        tunnel_key().prop_map(Action::TunnelKey),
        police().prop_map(Action::Police),
        ct_action().prop_map(Action::Ct),
    ]
    .boxed()
}

fn gact() -> impl Strategy<Value = Gact> {
    let goto = (0..=0x0fff_ffffu32)
        .prop_map(|chain| Gact::Goto(ChainId::new(chain).unwrap_or(ChainId::MAX)));
    let others = vec![Gact::Pass, Gact::Drop, Gact::Trap, Gact::Pipe, Gact::Continue];
    prop_oneof![select(others), goto]
}

fn mirred() -> impl Strategy<Value = Mirred> {
    let mode = select(vec![MirredMode::Redirect, MirredMode::Mirror]);
    let direction = select(vec![MirredDirection::Egress, MirredDirection::Ingress]);
    (mode, direction, 1..=0x7fff_ffffu32).prop_map(|(mode, direction, to)| Mirred {
        mode,
        direction,
        to: IfIndex(to),
    })
}

fn vlan() -> impl Strategy<Value = Vlan> {
    let tpid = select(vec![VlanTpid::Dot1Q, VlanTpid::Dot1Ad]);
    (tpid, 0..0xfffu16, of(0..=7u8), 0..3u8).prop_map(|(tpid, id, pcp, which)| {
        let id = VlanId::new(id).unwrap_or(VlanId::MIN);
        let pcp = pcp.and_then(|pcp| Pcp::new(pcp).ok());
        match which {
            0 => Vlan::Pop,
            1 => Vlan::Push(VlanTag { tpid, id, pcp: pcp.unwrap_or(Pcp::MIN) }),
            _ => Vlan::Modify { tpid, id, pcp },
        }
    })
}

/// Each field at most once, as a pedit must.
fn pedit() -> impl Strategy<Value = Pedit> {
    let bytes = any::<[u8; 6]>();
    let parts = (bytes, any::<u32>(), any::<u128>(), any::<u16>(), any::<u8>(), any::<u16>());
    parts
        .prop_map(|(mac, v4, v6, port, byte, picked)| {
            let all = [
                Edit::EthDst(Masked::exact(Mac(mac))),
                Edit::EthSrc(Masked::new(Mac(mac), Mac([0xff, 0, 0xf0, 0, 1, 0]))),
                Edit::IpSrc(Masked::exact(Ipv4Addr::from_bits(v4))),
                Edit::IpDst(Masked::new(Ipv4Addr::from_bits(v4), Ipv4Addr::new(255, 0, 255, 0))),
                Edit::IpTos(Masked::new(byte, 0xfc)),
                Edit::IpTtlAdd(byte),
                Edit::Ip6Src(Masked::exact(Ipv6Addr::from_bits(v6))),
                Edit::Ip6Dst(Masked::new(
                    Ipv6Addr::from_bits(v6),
                    Ipv6Addr::from_bits(0xffff << 64),
                )),
                Edit::Ip6TrafficClass(Masked::new(byte, 0xfc)),
                Edit::Ip6HopLimit(Masked::exact(byte)),
                Edit::TcpSrc(Masked::exact(port)),
                Edit::TcpDst(Masked::new(port, 0xff00)),
                Edit::UdpSrc(Masked::exact(port)),
                Edit::UdpDst(Masked::exact(port)),
            ];
            let chosen = all.into_iter().enumerate().filter(|(bit, _)| picked & (1 << bit) != 0);
            Pedit { edits: chosen.map(|(_, edit)| edit).collect() }
        })
        .prop_filter("at least one edit", |pedit| !pedit.edits.is_empty())
}

fn tunnel_key() -> impl Strategy<Value = TunnelKey> {
    let addresses = prop_oneof![
        (v4(), v4()).prop_map(|(src, dst)| TunnelAddresses::V4 { src, dst }),
        (v6(), v6()).prop_map(|(src, dst)| TunnelAddresses::V6 { src, dst }),
    ];
    let numbers = (of(any::<u32>()), of(1..=u16::MAX), of(1..=u8::MAX), of(1..=u8::MAX));
    let option = (any::<u16>(), any::<u8>(), words()).prop_filter_map(
        "an option",
        |(class, kind, words)| {
            let data: Vec<u8> = words.into_iter().map(|(byte, _)| byte).collect();
            GeneveOption::new(class, kind, &data).ok()
        },
    );
    let set = (addresses, numbers, vec(option, 0..3), any::<bool>(), any::<bool>()).prop_map(
        |(addresses, (id, dst_port, tos, ttl), geneve, csum, no_frag)| TunnelSet {
            id: id.map(TunnelKeyId),
            addresses,
            dst_port,
            tos,
            ttl,
            geneve,
            csum,
            no_frag,
        },
    );
    prop_oneof![Just(TunnelKey::Unset), set.prop_map(TunnelKey::Set)]
}

fn police() -> impl Strategy<Value = Police> {
    let amounts = (1..=12_500_000_000u64, 1..=10_000_000u64);
    let rate = (amounts, any::<bool>()).prop_map(|((per_second, burst), bytes)| {
        let burst = Burst(burst);
        if bytes {
            PoliceRate::Bytes { per_second, burst }
        } else {
            PoliceRate::Packets { per_second, burst }
        }
    });
    let conform = select(vec![Conform::Pass, Conform::Pipe, Conform::Continue, Conform::Drop]);
    let exceed = select(vec![Exceed::Drop, Exceed::Pass, Exceed::Pipe, Exceed::Continue]);
    (of(rate), of(1..=65_535u32), conform, exceed).prop_map(|(rate, mtu, conform, exceed)| Police {
        rate,
        mtu,
        conform,
        exceed,
    })
}

fn ct_action() -> impl Strategy<Value = Ct> {
    let flags = (any::<bool>(), any::<bool>());
    let track = (any::<u16>(), flags, masked(any::<u32>()), masked(any::<u128>()), of(ct_nat()));
    let track = track.prop_map(|(zone, (commit, force), mark, label, nat)| CtTrack {
        zone: CtZone(zone),
        commit,
        force,
        mark,
        label,
        nat,
    });
    prop_oneof![Just(Ct::Clear), track.prop_map(Ct::Track)]
}

fn ct_nat() -> impl Strategy<Value = CtNat> {
    let v4 = (v4(), v4()).prop_map(|(a, b)| NatAddresses::V4 { min: a.min(b), max: a.max(b) });
    let v6 = (v6(), v6()).prop_map(|(a, b)| NatAddresses::V6 { min: a.min(b), max: a.max(b) });
    let ports = any::<(u16, u16)>().prop_map(|(a, b)| NatPorts { min: a.min(b), max: a.max(b) });
    let range = (of(prop_oneof![v4, v6]), of(ports), 0..3u8);
    range.prop_map(|(addresses, ports, which)| match which {
        0 => CtNat::Committed,
        1 => CtNat::Src(NatRange { addresses, ports }),
        _ => CtNat::Dst(NatRange { addresses, ports }),
    })
}
