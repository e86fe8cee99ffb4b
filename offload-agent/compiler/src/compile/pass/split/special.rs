//! Frames that OVS takes before the first table sees them, on a port where it speaks a link protocol
//! (`ofproto-dpif-xlate.c`, `process_special`): no filter may touch them.

use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};
use crate::ports::LinkProtocols;

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
const UDP: u128 = 17;
const BFD_PORT: u128 = 3784;
/// It is not a table that looks at the port here, so OVS sees that of a first fragment.
const FIRST_FRAGMENT: u128 = 1;
const CFM: u128 = 0x8902;
const LACP: u128 = 0x8809;
const LLDP: u128 = 0x88cc;

/// What OVS takes on a port with these protocols. A port with spanning tree has no filters.
pub(super) fn entries(protocols: LinkProtocols) -> Vec<(Match, Reason)> {
    let ethertype = |value| Match::any().with(Field::EthType, value);
    let udp = |family| ethertype(family).with(Field::NwProto, UDP);
    let bfd = |family| udp(family).with(Field::UdpDst, BFD_PORT);
    let all = [
        (protocols.bfd, bfd(IPV4), "BFD"),
        (protocols.bfd, udp(IPV4).with(Field::IpFrag, FIRST_FRAGMENT), "BFD"),
        (protocols.bfd, bfd(IPV6), "BFD"),
        (protocols.cfm, ethertype(CFM), "CFM"),
        (protocols.lacp, ethertype(LACP), "LACP"),
        (protocols.lldp, ethertype(LLDP), "LLDP"),
    ];
    all.into_iter()
        .filter(|(spoken, _, _)| *spoken)
        .map(|(_, takes, name)| (takes, Reason::LinkProtocol(name)))
        .collect()
}
