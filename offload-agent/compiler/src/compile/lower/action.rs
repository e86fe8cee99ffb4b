//! Effects to TC actions: every output but the last is a mirror, the last one a redirect.

use tc_filter::action::{Ct, Gact, Mirred, TunnelKey, Vlan, VlanTag};
use tc_filter::{Action, ChainId, IfIndex, Pcp, VlanId};

use super::{ct, header, police, tunnel};
use crate::compile::Input;
use crate::compile::ir::{CtStep, Effect, FlowerChain, FlowerEntry, Op, PortRef};
use crate::openflow::{Field, Masked};

/// Where a filter stands, as far as its actions care.
pub(super) struct Context<'a> {
    pub(super) input: &'a Input<'a>,
    /// The chain it is in.
    pub(super) chain: &'a FlowerChain,
    /// Packets come with a tunnel header.
    pub(super) from_tunnel: bool,
}

/// On to a chain, tracked on the way.
pub(super) fn goto(through: &[CtStep], number: ChainId) -> Vec<Action> {
    let asked = through.iter().map(|asked| Action::Ct(ct::track(asked)));
    asked.chain([Action::Gact(Gact::Goto(number))]).collect()
}

impl Context<'_> {
    /// The actions on a port that fills headers in with this; `None` if a port has no device.
    pub(super) fn act_on(
        &self,
        entry: &FlowerEntry,
        filling: &[(Field, Masked)],
    ) -> Option<Vec<Action>> {
        match &entry.effect {
            Effect::Pass(_) => Some(self.pass()),
            Effect::Goto { .. } => None,
            Effect::Act(ops) => self.act(entry, ops, filling),
        }
    }

    /// OVS must not see what tracking found.
    pub(super) fn pass(&self) -> Vec<Action> {
        let clear = self.chain.arrival.tracked.then_some(Action::Ct(Ct::Clear));
        clear.into_iter().chain([Action::PASS]).collect()
    }

    fn act(
        &self,
        entry: &FlowerEntry,
        ops: &[Op],
        filling: &[(Field, Masked)],
    ) -> Option<Vec<Action>> {
        // A redirect is the end, so what comes after the last output asks for a copy.
        let last = ops.len().checked_sub(1).filter(|last| ops[*last].sends());
        let mut actions = Vec::new();
        if self.from_tunnel && ops.iter().any(Op::sends) {
            actions.push(Action::TunnelKey(TunnelKey::Unset));
        }
        let mut written = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let send = if Some(at) == last { Mirred::redirect } else { Mirred::mirror };
            match op {
                Op::Set(field, masked) => {
                    actions.push(header::set(*field, *masked, &entry.key)?);
                    written.push(*field);
                }
                Op::DecTtl(by) => {
                    actions.push(header::dec_ttl(*by, &entry.key)?);
                    written.push(Field::NwTtl);
                }
                Op::Checksum => {
                    actions.extend(header::checksum(&std::mem::take(&mut written), &entry.key))
                }
                Op::Encap(encap) => {
                    actions.push(Action::TunnelKey(tunnel::set(encap, filling, self.input)?));
                    actions.push(Action::Mirred(send(self.device(encap.to)?)));
                }
                Op::Output(port) => actions.push(Action::Mirred(send(self.device(*port)?))),
                Op::Track(asked) => actions.push(Action::Ct(ct::track(asked))),
                Op::Meter(bridge, id) => {
                    actions.push(Action::Police(police::meter(self.input.meter(*bridge, *id)?)?));
                }
                Op::PopVlan => actions.push(Action::Vlan(Vlan::Pop)),
                Op::PushVlan { tpid, id, pcp } => actions.push(Action::Vlan(Vlan::Push(VlanTag {
                    tpid: *tpid,
                    id: VlanId::new(*id).ok()?,
                    pcp: Pcp::new(*pcp).ok()?,
                }))),
            }
        }
        if last.is_none() {
            actions.push(Action::DROP);
        }
        Some(actions)
    }

    fn device(&self, port: PortRef) -> Option<IfIndex> {
        self.input.port_at(port)?.ifindex.map(|index| IfIndex(index.0))
    }
}
