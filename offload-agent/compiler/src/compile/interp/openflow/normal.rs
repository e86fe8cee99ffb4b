//! `NORMAL`: a learning switch with VLANs, its addresses given (`xlate_normal`).

use super::effects::Doubt;
use super::flow::{Flow, Tag};
use super::walk::{State, Walk};
use crate::openflow::{Field, OfPort, VLAN_PRESENT};
use crate::ports::{BridgePorts, FdbKey, Port, PriorityTags, VlanMode};

const DOT1Q: u16 = 0x8100;
const VID: u16 = 0x0fff;
const PCP: u16 = 0xe000;
/// OVS keeps track of so many tags.
const MAX_TAGS: usize = 2;

/// The VLANs of a packet inside the switch, the outer one first; 0 is none.
type Vlans = [Vlan; MAX_TAGS];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vlan {
    tpid: u16,
    vid: u16,
    pcp: u16,
}

impl<'w> Walk<'w> {
    pub(super) fn normal(&mut self, state: &mut State<'w>) {
        let Some(bridge) = self.world.ports.bridges.get(state.bridge) else { return };
        let number = state.flow.in_port();
        // Packets from nowhere are the controller's; rules that set the input port say so.
        let Some(port) = bridge.ports.get(&number) else {
            return self.lost(Doubt::Unspecified("NORMAL for a packet from no port"));
        };
        if bridge.mcast_snooping || port.bond.is_some() || !bridge.mirrors.is_empty() {
            return self
                .lost(Doubt::NotUnderstood("NORMAL with bonds, mirrors or snooping".into()));
        }
        let outer = state.flow.tags.first();
        if is_tag(state.flow.ethertype()) && outer.is_none() {
            return;
        }
        let came = vlans(&state.flow);
        if !admits(port, came[0].vid) || is_reserved(bridge, &state.flow) {
            return;
        }
        let vlans = inside(port, came);
        // The address is learned before one is looked up.
        self.learn(bridge, state, number, vlans[0].vid);
        self.forward(bridge, state, number, vlans);
    }

    /// Where an address is, by what was known and by what was learned on the way.
    fn find(&self, bridge: &BridgePorts, state: &State<'w>, vlan: u16, mac: u64) -> Option<OfPort> {
        let learned = self.learned.get(&(state.bridge, FdbKey { vlan, mac })).copied();
        learned.or_else(|| bridge.fdb.lookup(vlan, mac).map(|entry| entry.port))
    }

    /// `is_mac_learning_update_needed`: nothing is learned from group addresses, nor in VLANs that flood.
    fn learn(&mut self, bridge: &BridgePorts, state: &State<'w>, port: OfPort, vlan: u16) {
        let mac = mac(&state.flow, Field::EthSrc);
        if is_group(mac) || bridge.flood_vlans.contains(&vlan) {
            return;
        }
        let is_static = bridge.fdb.lookup(vlan, mac).is_some_and(|known| known.is_static);
        if !is_static && self.find(bridge, state, vlan, mac) != Some(port) {
            self.doubts.insert(Doubt::LearnsAddress);
            self.learned.insert((state.bridge, FdbKey { vlan, mac }), port);
        }
    }

    fn forward(
        &mut self,
        bridge: &BridgePorts,
        state: &mut State<'w>,
        came_by: OfPort,
        vlans: Vlans,
    ) {
        let mac = mac(&state.flow, Field::EthDst);
        let known =
            Some(mac).filter(|mac| !is_group(*mac) && !bridge.flood_vlans.contains(&vlans[0].vid));
        let learned = known.and_then(|mac| self.find(bridge, state, vlans[0].vid, mac));
        let targets: Vec<OfPort> = match learned {
            Some(port) if port == came_by => Vec::new(),
            Some(port) => vec![port],
            None => {
                let others = bridge.ports.iter().filter(|(port, _)| **port != came_by);
                others.filter(|(_, port)| carries(port, vlans)).map(|(port, _)| *port).collect()
            }
        };
        let protected = bridge.ports.get(&came_by).is_some_and(|port| port.protected);
        for target in targets {
            let Some(port) = bridge.ports.get(&target) else { continue };
            if protected && port.protected {
                continue;
            }
            self.leave(state, target, port, vlans);
        }
    }

    fn leave(&mut self, state: &mut State<'w>, number: OfPort, port: &Port, vlans: Vlans) {
        if port.bond.is_some() {
            return self.lost(Doubt::NotUnderstood("NORMAL with a bond".into()));
        }
        let mut out = outside(port, vlans);
        if port.priority_tags != PriorityTags::Never {
            out[0].pcp = state.flow.tags.first().map_or(0, |tag| tag.tci & PCP);
        }
        let tags = std::mem::replace(&mut state.flow.tags, tags(out, port.priority_tags));
        self.emit(state, number);
        state.flow.tags = tags;
    }
}

fn is_tag(ethertype: u128) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

fn mac(flow: &Flow, field: Field) -> u64 {
    u64::try_from(flow.get(field)).unwrap_or(0)
}

fn is_group(mac: u64) -> bool {
    mac >> 40 & 1 == 1
}

/// `eth_addr_is_reserved`: link protocols, which a switch does not forward.
fn is_reserved(bridge: &BridgePorts, flow: &Flow) -> bool {
    /// Addresses with masks, as in `lib/packets.c`.
    const RESERVED: [(u64, u64); 9] = [
        (0x00e0_2b00_0000, 0xffff_ffff_ffff),
        (0x00e0_2b00_0004, 0xffff_ffff_ffff),
        (0x00e0_2b00_0006, 0xffff_ffff_ffff),
        (0x0100_0c00_0000, 0xffff_ffff_ffff),
        (0x0100_0ccc_cccc, 0xffff_ffff_ffff),
        (0x0100_0ccc_cccd, 0xffff_ffff_ffff),
        (0x0100_0ccd_cdcd, 0xffff_ffff_ffff),
        (0x0100_0ccc_ccc0, 0xffff_ffff_fff8),
        (0x0180_c200_0000, 0xffff_ffff_fff0),
    ];
    let mac = mac(flow, Field::EthDst);
    let listed = RESERVED.iter().any(|(known, mask)| mac & mask == *known);
    !bridge.forward_bpdu && listed
}

fn vlans(flow: &Flow) -> Vlans {
    let mut vlans = Vlans::default();
    for (vlan, tag) in vlans.iter_mut().zip(&flow.tags) {
        *vlan = Vlan { tpid: tag.tpid, vid: tag.tci & VID, pcp: tag.tci & PCP };
    }
    vlans
}

/// `input_vid_is_valid`.
fn admits(port: &Port, vid: u16) -> bool {
    match port.vlan_mode {
        VlanMode::Access => vid == 0,
        VlanMode::NativeTagged | VlanMode::NativeUntagged => vid == 0 || trunks(port, vid),
        VlanMode::Trunk => trunks(port, vid),
        VlanMode::Dot1qTunnel => port.cvlans.is_empty() || port.cvlans.contains(&vid),
    }
}

/// A native VLAN is always carried, and VLAN 0 is it, whatever the list says (`bundle_set`).
fn trunks(port: &Port, vid: u16) -> bool {
    let listed = port.trunks.is_empty() || port.trunks.contains(&vid);
    match (port.vlan_mode, port.tag) {
        (VlanMode::NativeTagged | VlanMode::NativeUntagged, Some(native)) if native != 0 => {
            vid == native || vid != 0 && listed
        }
        _ => listed,
    }
}

/// `xvlan_input_translate`.
fn inside(port: &Port, came: Vlans) -> Vlans {
    let own = port.tag.unwrap_or(0);
    let tpid = if came[0].tpid == 0 { DOT1Q } else { came[0].tpid };
    let untagged = Vlan { tpid, vid: own, pcp: came[0].pcp };
    match port.vlan_mode {
        VlanMode::Access => [untagged, Vlan::default()],
        VlanMode::NativeTagged | VlanMode::NativeUntagged if came[0].vid == 0 => {
            [untagged, came[1]]
        }
        VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged => came,
        VlanMode::Dot1qTunnel => [Vlan { tpid: QINQ, vid: own, pcp: 0 }, came[0]],
    }
}

/// `qinq-ethtype` unless it is configured.
const QINQ: u16 = 0x88a8;

/// `xbundle_includes_vlan`: whether a flooded packet leaves here.
fn carries(port: &Port, vlans: Vlans) -> bool {
    let own = port.tag.unwrap_or(0);
    match port.vlan_mode {
        VlanMode::Access => vlans[0].vid == own && vlans[1].vid == 0,
        VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged => {
            trunks(port, vlans[0].vid)
        }
        VlanMode::Dot1qTunnel => {
            let inner = port.cvlans.is_empty() || port.cvlans.contains(&vlans[1].vid);
            vlans[0].vid == own && inner
        }
    }
}

/// `xvlan_output_translate`.
fn outside(port: &Port, vlans: Vlans) -> Vlans {
    let popped = [vlans[1], Vlan::default()];
    match port.vlan_mode {
        VlanMode::Access => Vlans::default(),
        VlanMode::NativeUntagged if vlans[0].vid == port.tag.unwrap_or(0) => popped,
        VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged => vlans,
        VlanMode::Dot1qTunnel => popped,
    }
}

/// `xvlan_put`: a tag that says nothing is no tag, unless the port wants it.
fn tags(vlans: Vlans, priority_tags: PriorityTags) -> Vec<Tag> {
    let mut tags = Vec::new();
    for vlan in vlans {
        let always = priority_tags == PriorityTags::Always && vlan.tpid != 0;
        let tci = vlan.vid | vlan.pcp;
        if tci == 0 && !always {
            break;
        }
        let tpid = if vlan.tpid == 0 { DOT1Q } else { vlan.tpid };
        tags.push(Tag { tpid, tci: tci | VLAN_PRESENT });
    }
    tags
}
