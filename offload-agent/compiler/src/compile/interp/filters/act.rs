//! What a filter's actions do, one at a time (`net/sched/act_*.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tc_filter::action::{
    Conform, Ct, CtNat, CtTrack, Exceed, Gact, Mirred, MirredDirection, MirredMode, NatAddresses,
    NatRange, Police, PoliceRate, TunnelAddresses, TunnelKey, TunnelSet, Vlan,
};
use tc_filter::{Action, ChainId};

use super::super::conntrack::{Commit, NatAsked, Range, Tracking};
use super::super::l4::layers;
use super::super::{Delivery, Egress, Frame, Limit, TunnelHeader, rewrite};
use super::{Filters, Passing, csum, pedit};
use crate::ports::PortKind;

/// How a chain ends for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing of it goes further.
    Done,
    /// It goes on to OVS.
    Pass,
    /// On in another chain.
    Goto(ChainId),
    /// No filter takes it.
    Miss,
    /// Something was done to it that no card or kernel would do right.
    Spoiled,
}

/// What comes behind an action.
pub(super) enum Next {
    Action,
    Filter,
    End(End),
}

const SPOILED: Next = Next::End(End::Spoiled);

impl Filters<'_> {
    pub(super) fn act(&self, action: &Action, passing: &mut Passing<'_>) -> Next {
        match action {
            Action::Gact(gact) => verdict(*gact),
            Action::Mirred(mirred) => self.send(*mirred, passing),
            Action::Vlan(vlan) => tag(*vlan, &mut passing.frame),
            Action::Pedit(edits) => right(pedit::write(&mut passing.frame, edits)),
            Action::Csum(which) => right(csum::compute(&mut passing.frame, *which)),
            Action::TunnelKey(key) => tunnel(key, passing),
            Action::Police(police) => limit(police, passing),
            Action::Ct(Ct::Clear) => {
                passing.tracked = None;
                Next::Action
            }
            Action::Ct(Ct::Track(track)) => self.track(track, passing),
        }
    }

    fn send(&self, mirred: Mirred, passing: &mut Passing<'_>) -> Next {
        let Some((to, port)) = self.egress(mirred.to) else { return SPOILED };
        // What a bridge's own device "receives" goes to the host; anything else would come back to OVS.
        let to_host = port.kind == PortKind::Internal;
        if to_host != (mirred.direction == MirredDirection::Ingress) {
            return SPOILED;
        }
        // A card takes a tunnel header off only if it is told to.
        let through = matches!(to, Egress::Tunnel(_));
        if passing.tunnel.is_some() || through != passing.set.is_some() {
            return SPOILED;
        }
        let mut tunnel = passing.set.clone();
        if let Some(header) = tunnel.as_mut().filter(|_| self.encap_ecn) {
            header.tos = with_ecn(header.tos, passing);
        }
        passing.effects.deliveries.push(Delivery { to, frame: passing.frame.clone(), tunnel });
        match mirred.mode {
            MirredMode::Redirect => Next::End(End::Done),
            MirredMode::Mirror => Next::Action,
        }
    }

    fn track(&self, track: &CtTrack, passing: &mut Passing<'_>) -> Next {
        // act_ct drops what is not IP, and puts fragments together.
        let Some(layers) = layers(&passing.frame).filter(|layers| !layers.fragment) else {
            return SPOILED;
        };
        let asked = Tracking {
            zone: track.zone,
            tuple: layers.tuple(&passing.frame),
            nat: nat(track.nat),
            commit: track.commit.then(|| Commit {
                force: track.force,
                mark: track.mark.map(|mark| (mark.value(), mark.mask())),
                label: track.label.map(|label| (label.value(), label.mask())),
            }),
        };
        let before = passing.tracked.map_or((0, 0), |(_, found)| (found.mark, found.label));
        let found = self.conntrack.ask(&asked, before);
        rewrite::translate(&mut passing.frame, found.translation);
        passing.tracked = Some((track.zone, found));
        passing.effects.tracked.push(asked);
        Next::Action
    }
}

fn right(done: Option<()>) -> Next {
    done.map_or(SPOILED, |()| Next::Action)
}

fn verdict(gact: Gact) -> Next {
    match gact {
        // In software a trapped packet goes on as if it had passed; in hardware it does so by way of the CPU.
        Gact::Pass | Gact::Trap => Next::End(End::Pass),
        Gact::Drop => Next::End(End::Done),
        Gact::Pipe => Next::Action,
        Gact::Continue => Next::Filter,
        Gact::Goto(chain) => Next::End(End::Goto(chain)),
    }
}

fn tag(vlan: Vlan, frame: &mut Frame) -> Next {
    const PCP: u16 = 0xe000;
    match vlan {
        Vlan::Pop => frame.pop(),
        Vlan::Push(tag) => {
            frame.push(tag.tpid.ethertype().0, u16::from(tag.pcp.get()) << 13 | tag.id.get());
        }
        Vlan::Modify { tpid, id, pcp } => {
            if let Some((_, tci)) = frame.tag() {
                let pcp = pcp.map_or(tci & PCP, |pcp| u16::from(pcp.get()) << 13);
                frame.pop();
                frame.push(tpid.ethertype().0, pcp | tci & 0x1000 | id.get());
            }
        }
    }
    Next::Action
}

fn tunnel(key: &TunnelKey, passing: &mut Passing<'_>) -> Next {
    match key {
        TunnelKey::Unset => {
            (passing.tunnel, passing.set) = (None, None);
            Next::Action
        }
        // Set without unset leaves the old header on a card.
        TunnelKey::Set(_) if passing.tunnel.is_some() => SPOILED,
        TunnelKey::Set(set) => {
            passing.set = Some(header(set));
            Next::Action
        }
    }
}

/// `ip_tunnel_ecn_encap`: the bits of the packet, "congested" as "capable". The kernel finds the same ones whoever sends the packet into the tunnel,
/// OVS or a filter; here it finds those that OVS speaks of, and that are none where it did not see the IP header behind two tags.
fn with_ecn(tos: u8, passing: &Passing<'_>) -> u8 {
    const ECN: u8 = 3;
    const CAPABLE: u8 = 2;
    const MOST_TAGS: usize = 1;
    let seen = layers(&passing.arrived.frame).is_some_and(|layers| layers.tags <= MOST_TAGS);
    let found = layers(&passing.frame).filter(|_| seen);
    let outer = match found.map_or(0, |layers| layers.tos(&passing.frame) & ECN) {
        ECN => CAPABLE,
        ecn => ecn,
    };
    tos & !ECN | outer
}

fn header(set: &TunnelSet) -> TunnelHeader {
    let (src, dst): (IpAddr, IpAddr) = match set.addresses {
        TunnelAddresses::V4 { src, dst } => (src.into(), dst.into()),
        TunnelAddresses::V6 { src, dst } => (src.into(), dst.into()),
    };
    TunnelHeader {
        id: set.id.map(|id| u64::from(id.0)),
        src,
        dst,
        tos: set.tos.unwrap_or(0),
        ttl: set.ttl.unwrap_or(0),
        src_port: 0,
        dst_port: set.dst_port.unwrap_or(0),
        csum: set.csum,
        no_frag: set.no_frag,
        options: set.geneve.clone(),
    }
}

/// Within the rate; only a packet that is too long is not.
fn limit(police: &Police, passing: &mut Passing<'_>) -> Next {
    match police.rate {
        Some(PoliceRate::Bytes { per_second, .. }) => {
            passing.effects.limits.push(Limit::Bytes(per_second));
        }
        Some(PoliceRate::Packets { per_second, .. }) => {
            passing.effects.limits.push(Limit::Packets(per_second));
        }
        None => {}
    }
    let length = u32::try_from(passing.frame.0.len()).unwrap_or(u32::MAX);
    if police.mtu.is_some_and(|mtu| length > mtu) {
        return match police.exceed {
            Exceed::Drop => Next::End(End::Done),
            Exceed::Pass => Next::End(End::Pass),
            Exceed::Pipe => Next::Action,
            Exceed::Continue => Next::Filter,
        };
    }
    match police.conform {
        Conform::Pass => Next::End(End::Pass),
        Conform::Pipe => Next::Action,
        Conform::Continue => Next::Filter,
        Conform::Drop => Next::End(End::Done),
    }
}

fn nat(nat: Option<CtNat>) -> NatAsked {
    match nat {
        None => NatAsked::Nothing,
        Some(CtNat::Committed) => NatAsked::Committed,
        Some(CtNat::Src(range)) => NatAsked::Src(self::range(range)),
        Some(CtNat::Dst(range)) => NatAsked::Dst(self::range(range)),
    }
}

fn range(range: NatRange) -> Range {
    let v4 = |address: Ipv4Addr| IpAddr::from(address);
    let v6 = |address: Ipv6Addr| IpAddr::from(address);
    Range {
        addresses: range.addresses.map(|addresses| match addresses {
            NatAddresses::V4 { min, max } => (v4(min), v4(max)),
            NatAddresses::V6 { min, max } => (v6(min), v6(max)),
        }),
        ports: range.ports.map(|ports| (ports.min, ports.max)),
    }
}
