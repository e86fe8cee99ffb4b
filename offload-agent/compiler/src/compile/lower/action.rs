//! Effects to TC actions: every output but the last is a mirror, the last one a redirect.

use tc_filter::action::{Mirred, Vlan, VlanTag};
use tc_filter::{Action, IfIndex, Pcp, VlanId};

use crate::compile::ir::{Effect, Op};
use crate::openflow::OfPort;
use crate::ports::BridgePorts;

/// The actions; `None` if a port has no device, which `resolve` has seen to.
pub(super) fn lower(effect: &Effect, ports: &BridgePorts) -> Option<Vec<Action>> {
    match effect {
        Effect::Pass(_) => Some(vec![Action::PASS]),
        Effect::Act(ops) => match ops.split_last() {
            None => Some(vec![Action::DROP]),
            Some((last, before)) => {
                let mut actions: Vec<Action> = before
                    .iter()
                    .map(|op| one(op, ports, Mirred::mirror))
                    .collect::<Option<_>>()?;
                actions.push(one(last, ports, Mirred::redirect)?);
                Some(actions)
            }
        },
    }
}

fn one(op: &Op, ports: &BridgePorts, send: fn(IfIndex) -> Mirred) -> Option<Action> {
    Some(match op {
        Op::PopVlan => Action::Vlan(Vlan::Pop),
        Op::PushVlan { tpid, id, pcp } => Action::Vlan(Vlan::Push(VlanTag {
            tpid: *tpid,
            id: VlanId::new(*id).ok()?,
            pcp: Pcp::new(*pcp).ok()?,
        })),
        Op::Output(port) => Action::Mirred(send(device(*port, ports)?)),
    })
}

fn device(port: OfPort, ports: &BridgePorts) -> Option<IfIndex> {
    ports.ports.get(&port)?.ifindex.map(|index| IfIndex(index.0))
}
