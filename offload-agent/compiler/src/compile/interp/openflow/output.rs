//! Where a packet goes: ports of all kinds (`xlate_output_action`, `compose_output_action__`).

use super::effects::Doubt;
use super::walk::{State, Walk};
use super::{SPANNING_TREE, before_the_first_table, has_to_see};
use crate::compile::interp::{Delivery, Egress};
use crate::compile::ir::Ingress;
use crate::openflow::{Action, Bundle, Field, OfPort, Subfield, TableId};
use crate::ports::PortKind;

impl<'w> Walk<'w> {
    pub(super) fn output(&mut self, state: &mut State<'w>, port: OfPort) {
        let came_by = state.flow.in_port();
        match port {
            OfPort::IN_PORT => self.emit(state, came_by),
            OfPort::TABLE => self.first_table(state, TableId(0)),
            OfPort::NORMAL => self.normal(state),
            OfPort::FLOOD => self.lost(Doubt::Unspecified("which ports flooding leaves out")),
            OfPort::ALL => self.everywhere(state, came_by),
            OfPort::CONTROLLER => drop(self.doubts.insert(Doubt::Controller)),
            OfPort::NONE => {}
            port if port == came_by => {}
            port => self.emit(state, port),
        }
    }

    pub(super) fn output_to_field(&mut self, state: &mut State<'w>, source: Subfield) {
        if let Ok(port) = u16::try_from(state.flow.read(source)) {
            self.output(state, OfPort(port));
        }
    }

    /// The packet leaves shortened; behind it, it is whole again.
    pub(super) fn output_cut(&mut self, state: &mut State<'w>, port: OfPort, len: u32) {
        let mut copy = state.clone();
        self.commit(&mut copy);
        copy.frame.0.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        self.output(&mut copy, port);
    }

    fn everywhere(&mut self, state: &mut State<'w>, came_by: OfPort) {
        let Some(ports) = self.world.ports.bridges.get(state.bridge) else { return };
        for port in ports.ports.keys().filter(|port| **port != came_by) {
            self.emit(state, *port);
        }
    }

    /// One of several ports by hash, and which depends on which are up.
    pub(super) fn bundle(&mut self, state: &mut State<'w>, bundle: &'w Bundle) {
        let chosen = self.choices.of(bundle.members.len() + 1);
        let port = bundle.members.get(chosen).copied().unwrap_or(OfPort::NONE);
        match bundle.dst {
            Some(dst) => state.flow.store(dst, u128::from(port.0)),
            None => self.output(state, port),
        }
    }

    /// Sends the packet as its fields say.
    pub(super) fn emit(&mut self, state: &mut State<'w>, number: OfPort) {
        let Some(port) = self.world.ports.port(state.bridge, number) else { return };
        if port.protocols.stp {
            self.doubts.insert(SPANNING_TREE);
        }
        match &port.kind {
            PortKind::Patch { .. } => self.cross(state, number),
            PortKind::Tunnel(tunnel) => self.encapsulate(state, tunnel),
            kind => {
                if *kind == PortKind::Internal && state.flow.get(Field::PktMark) != 0 {
                    self.doubts.insert(Doubt::Unspecified("what the host does with the mark"));
                }
                self.commit(state);
                let to = Egress::Port(Ingress { bridge: state.bridge.clone(), port: number });
                let delivery = Delivery { to, frame: state.frame.clone(), tunnel: None };
                self.effects.deliveries.push(delivery);
            }
        }
    }

    /// Through a patch port into the other bridge; whatever happens there, the packet goes on here as it was.
    fn cross(&mut self, state: &mut State<'w>, number: OfPort) {
        let Some((bridge, port)) = self.world.ports.patch_peer(state.bridge, number) else {
            return;
        };
        if self.world.ports.bridges.get(bridge).is_some_and(has_to_see) {
            self.doubts.insert(Doubt::Sampled);
        }
        let ports = self.world.ports.bridges.get(bridge);
        let end = ports.and_then(|ports| Some((ports, ports.ports.get(&port)?)));
        let doubt = end.and_then(|(ports, end)| before_the_first_table(ports, end, &state.flow));
        self.doubts.extend(doubt);
        let before = self.translations;
        let mut beyond = State {
            bridge,
            action_set: Vec::<&'w Action>::new(),
            stack: Vec::new(),
            depth: state.depth + 1,
            ..state.clone()
        };
        beyond.flow.enter_bridge(port);
        self.first_table(&mut beyond, TableId(0));
        self.finish(&mut beyond);
        self.after_a_copy(state, &beyond, before);
    }
}
