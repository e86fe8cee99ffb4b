//! What a filter asks of a packet, read back from TC's own structures: the opposite of `lower::key`.

use std::net::IpAddr;

use tc_filter::key::{EncKey, IpMatch, PortMatch, VlanKey};
use tc_filter::{EtherType, Filter, FlowerMatch, Mac, Masked as TcMasked};

use crate::compile::ir::{Key, KeyField, UNTAGGED};
use crate::openflow::Masked;

/// What a filter asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The packets it takes, or more.
    pub(super) key: Key,
    /// It takes all packets of the key; of those in a tunnel, all with such an option.
    pub(super) whole: bool,
}

/// Reads a filter's key.
pub(super) fn asked(filter: &Filter) -> Asked {
    let mut asking = Asking { key: ethertype(filter), whole: true };
    asking.link(filter);
    asking.network(filter);
    asking.transport(filter);
    asking.tunnel(&filter.key.enc);
    asking.tracked(filter);
    Asked { key: asking.key, whole: asking.whole }
}

/// The outermost EtherType is the filter's `protocol`, and behind a tag the next one is a key.
fn ethertype(filter: &Filter) -> Key {
    let vlan = &filter.key.vlan;
    match filter.protocol {
        EtherType::ALL => Key::any(),
        tag if tag.is_vlan() => {
            let key = Key::any().with(KeyField::Tpid, tag.0.into());
            vlan.ethertype.iter().fold(key, |key, next| key.with(KeyField::EthType, next.0.into()))
        }
        plain => Key::any().with(KeyField::Tpid, UNTAGGED).with(KeyField::EthType, plain.0.into()),
    }
}

struct Asking {
    key: Key,
    whole: bool,
}

impl Asking {
    fn add(&mut self, field: KeyField, bits: Option<Masked>) {
        if let Some(bits) = bits {
            self.key = std::mem::take(&mut self.key).with_masked(field, bits);
        }
    }

    fn exact(&mut self, field: KeyField, value: Option<u128>) {
        self.add(field, value.map(|value| Masked::new(value, field.full_mask())));
    }

    fn link(&mut self, filter: &Filter) {
        let FlowerMatch { eth, vlan, cvlan, .. } = &*filter.key;
        self.add(KeyField::DstMac, eth.dst.map(mac));
        self.add(KeyField::SrcMac, eth.src.map(mac));
        self.exact(KeyField::VlanId, vlan.id.map(|id| id.get().into()));
        self.exact(KeyField::VlanPrio, vlan.pcp.map(|pcp| pcp.get().into()));
        self.whole &= *cvlan == VlanKey::default();
    }

    fn network(&mut self, filter: &Filter) {
        let FlowerMatch { ip, arp, .. } = &*filter.key;
        self.exact(KeyField::IpProto, ip.proto.map(|proto| proto.0.into()));
        self.add(KeyField::IpTos, ip.tos.map(number));
        self.add(KeyField::IpTtl, ip.ttl.map(number));
        self.exact(KeyField::Frag, ip.frag.fragment.map(u128::from));
        self.exact(KeyField::FirstFrag, ip.frag.first.map(u128::from));
        self.address([KeyField::Ipv4Src, KeyField::Ipv6Src], ip.src);
        self.address([KeyField::Ipv4Dst, KeyField::Ipv6Dst], ip.dst);
        self.add(KeyField::ArpOp, arp.op.map(number));
        self.add(KeyField::ArpSip, arp.sip.map(ip_bits));
        self.add(KeyField::ArpTip, arp.tip.map(ip_bits));
        self.add(KeyField::ArpSha, arp.sha.map(mac));
        self.add(KeyField::ArpTha, arp.tha.map(mac));
    }

    fn transport(&mut self, filter: &Filter) {
        let FlowerMatch { l4, icmp, .. } = &*filter.key;
        self.port(KeyField::SrcPort, l4.src);
        self.port(KeyField::DstPort, l4.dst);
        self.add(KeyField::TcpFlags, l4.tcp_flags.map(number));
        self.add(KeyField::IcmpType, icmp.kind.map(number));
        self.add(KeyField::IcmpCode, icmp.code.map(number));
    }

    fn tunnel(&mut self, enc: &EncKey) {
        self.exact(KeyField::EncKeyId, enc.id.map(|id| id.0.into()));
        self.address([KeyField::EncIpv4Src, KeyField::EncIpv6Src], enc.src);
        self.address([KeyField::EncIpv4Dst, KeyField::EncIpv6Dst], enc.dst);
        self.whole &= enc.src_port.is_none() && enc.dst_port.is_none();
        self.whole &= enc.tos.is_none() && enc.ttl.is_none();
        match enc.geneve.as_slice() {
            [] => {}
            [option] if option.data().len() <= size_of::<u128>() => {
                self.add(KeyField::EncOption, Some(option_bits(option.data(), option.mask())));
                self.exact(KeyField::OneOption, Some(1));
            }
            _ => self.whole = false,
        }
    }

    fn tracked(&mut self, filter: &Filter) {
        let ct = &filter.key.ct;
        let state =
            ct.state.map(|state| Masked::new(state.value().0.into(), state.mask().0.into()));
        self.add(KeyField::CtState, state);
        self.add(KeyField::CtMark, ct.mark.map(number));
        self.add(KeyField::CtLabel, ct.label.map(number));
        self.whole &= ct.zone.is_none();
    }

    fn address(&mut self, [four, six]: [KeyField; 2], asked: Option<IpMatch>) {
        match asked {
            Some(IpMatch::V4(asked)) => self.add(four, Some(ip_bits(asked))),
            Some(IpMatch::V6(asked)) => self.add(six, Some(ip_bits(asked))),
            None => {}
        }
    }

    fn port(&mut self, field: KeyField, asked: Option<PortMatch>) {
        match asked {
            Some(PortMatch::Masked(asked)) => self.add(field, Some(number(asked))),
            Some(PortMatch::Range(_)) => self.whole = false,
            None => {}
        }
    }
}

fn number<T: tc_filter::Bits + Into<u128>>(asked: TcMasked<T>) -> Masked {
    Masked::new(asked.value().into(), asked.mask().into())
}

fn mac(asked: TcMasked<Mac>) -> Masked {
    let bits = |mac: Mac| mac.0.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
    Masked::new(bits(asked.value()), bits(asked.mask()))
}

fn ip_bits<T: tc_filter::Bits + Into<IpAddr>>(asked: TcMasked<T>) -> Masked {
    let bits = |address: T| match address.into() {
        IpAddr::V4(four) => four.to_bits().into(),
        IpAddr::V6(six) => six.to_bits(),
    };
    Masked::new(bits(asked.value()), bits(asked.mask()))
}

fn option_bits(data: &[u8], mask: &[u8]) -> Masked {
    let bits = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
    Masked::new(bits(data), bits(mask))
}

#[cfg(test)]
mod tests {
    use tc_filter::text::Numbered;

    use super::*;

    fn read(key: &str) -> (String, bool) {
        let line =
            format!("filter add dev if1 ingress chain 0 prio 2 handle 0x1 {key} action drop");
        let asked = asked(&Filter::parse(&line, &Numbered).unwrap());
        (asked.key.to_string(), asked.whole)
    }

    #[test]
    fn a_filters_key_is_read_back() {
        for (tc, key, whole) in [
            ("protocol all flower", "any", true),
            (
                "protocol ip flower dst_mac 00:00:00:00:00:00/01:00:00:00:00:00 ip_proto tcp dst_ip 10.0.0.0/8 ip_flags nofrag dst_port 80",
                "tpid=none,eth_type=0x800,dst_mac=00:00:00:00:00:00/01:00:00:00:00:00,ip_proto=6,frag=0,ipv4_dst=10.0.0.0/255.0.0.0,dst_port=80",
                true,
            ),
            (
                "protocol 802.1Q flower vlan_id 100 vlan_ethtype ipv6",
                "tpid=0x8100,vlan_id=100,eth_type=0x86dd",
                true,
            ),
            (
                "protocol ip flower ct_state +trk+est-new",
                "tpid=none,eth_type=0x800,ct_state=trk+est/trk+new+est",
                true,
            ),
            (
                "protocol ip flower enc_key_id 7 enc_src_ip 192.0.2.1 geneve_opts 0102:80:00030004/ffff:ff:7fffffff",
                "tpid=none,eth_type=0x800,enc_key_id=0x7,enc_ipv4_src=192.0.2.1,enc_option=0x30004/0x7fffffff,one_option=0x1",
                true,
            ),
            (
                "protocol ip flower ip_proto tcp dst_port 1-9",
                "tpid=none,eth_type=0x800,ip_proto=6",
                false,
            ),
        ] {
            assert_eq!(read(tc), (key.to_owned(), whole), "{tc}");
        }
    }
}
