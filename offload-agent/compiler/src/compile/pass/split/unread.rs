//! What flower gives up on where OVS reads on: IPv6 behind an authentication header, and behind more headers than the kernel
//! looks through (`MAX_FLOW_DISSECT_HDRS`; tags count, too). Flower then has the protocol of the header it stopped at, which no packet
//! that it read has. Where it stopped in front of TCP or ICMP, flags, type and code are 0, which no packet has that means something.
//!
//! So guards for these stand in front of the first filter of a chain that asks what may not have been read.
//!
//! ```text
//! #0 eth_type=0x86dd,ip_proto=6,dst_port=80 -> drop      eth_type=0x86dd,ip_proto=0 -> pass: flower gives up on ...
//! #1 eth_type=0x86dd -> output:2                         (the same for 43, 44, 51 and 60)
//!                                                        #0 eth_type=0x86dd,ip_proto=6,dst_port=80 -> drop
//!                                                        #1 eth_type=0x86dd -> output:2
//! ```

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Here;
use crate::compile::ir::{Effect, FlowerEntry, Key, KeyField, Trail};
use crate::compile::verdict::Reason;

const IPV6: u128 = 0x86dd;
const TCP: u128 = 6;
const ICMPV6: u128 = 58;
/// Hop-by-hop, routing, fragment, authentication and destination headers.
pub(super) const EXTENSION_HEADERS: [u128; 5] = [0, 43, 44, AUTH_HEADER, 60];
const AUTH_HEADER: u128 = 51;

/// The filters of a chain with the guards they need.
pub(super) fn guarded(filters: Vec<FlowerEntry>, here: Here<'_>) -> Vec<FlowerEntry> {
    let mut guarded = Vec::with_capacity(filters.len());
    let mut done = BTreeSet::new();
    for filter in filters {
        let tag = filter.key.exact(KeyField::Tpid);
        for kind in asked(&filter.key, here) {
            if done.insert((tag, kind)) {
                let lane = filter.key.only(|field| field == KeyField::Tpid);
                guarded.extend(kind.guards(&lane.with(KeyField::EthType, IPV6)));
            }
        }
        guarded.push(filter);
    }
    guarded
}

/// What may not have been read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unread {
    Protocol,
    Flags,
    Icmp,
}

/// What a key asks of IPv6 that may not have been read. A key that the card cannot match becomes that of a guard for all values.
fn asked(key: &Key, here: Here<'_>) -> impl Iterator<Item = Unread> {
    let asks = |field: KeyField| key.get(field).is_some();
    let matches = |field: KeyField| asks(field) && here.capabilities.keys.contains(&field);
    let protocol = !here.tracked && (asks(KeyField::IpProto) || asks(KeyField::Frag));
    let icmp = matches(KeyField::IcmpType) || matches(KeyField::IcmpCode);
    let kinds = [
        (protocol, Unread::Protocol),
        (matches(KeyField::TcpFlags), Unread::Flags),
        (icmp, Unread::Icmp),
    ];
    let v6 = key.exact(KeyField::EthType) == Some(IPV6);
    kinds.into_iter().filter(move |(holds, _)| v6 && *holds).map(|(_, kind)| kind)
}

impl Unread {
    fn guards(self, v6: &Key) -> Vec<FlowerEntry> {
        let of = |protocol| v6.clone().with(KeyField::IpProto, protocol);
        match self {
            Unread::Protocol => EXTENSION_HEADERS.map(|header| guard(of(header), header)).into(),
            Unread::Flags => vec![guard(of(TCP).with(KeyField::TcpFlags, 0), TCP)],
            Unread::Icmp => {
                let nothing = of(ICMPV6).with(KeyField::IcmpType, 0).with(KeyField::IcmpCode, 0);
                vec![guard(nothing, ICMPV6)]
            }
        }
    }
}

fn guard(key: Key, protocol: u128) -> FlowerEntry {
    let reason = if protocol == AUTH_HEADER { Reason::AuthHeader } else { Reason::Ipv6Headers };
    let nobody = Rc::new(Trail::default());
    FlowerEntry { trail: nobody, key, effect: Effect::Pass(reason), depth: None }
}
