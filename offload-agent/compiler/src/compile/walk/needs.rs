//! What the steps at the ends of a way depend on: which steps they are, and what they write into the headers of tunnels.
//!
//! Two packets may go on in one chain if all their steps are the same. The port that they came by is a part of most of what is known of
//! them, but few steps depend on it: those that would send a packet back where it came from, which OVS does not do, and headers of tunnels
//! that name it, which are filled in port by port.

use super::graph::{Micro, before, is_of_the_pipeline};
use super::reads::Reads;
use super::state::Slot;
use crate::compile::ir::CtAsked;
use crate::openflow::{Field, OfPort, Zone};

/// What ends depend on.
#[derive(Clone, Debug, Default)]
pub(in crate::compile) struct Needs {
    /// What decides which steps they are.
    pub(in crate::compile) steps: Reads,
    /// Where to find the port that a packet came by: it is not sent back there.
    pub(in crate::compile) came_by: Reads,
    /// What is only written into the headers of tunnels.
    pub(in crate::compile) headers: Reads,
    /// Where packets may be sent.
    pub(in crate::compile) outputs: Ports,
}

/// A set of ports that may say of one that it has it though it has not.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::compile) struct Ports(u128);

impl Ports {
    fn add(&mut self, port: OfPort) {
        self.0 |= 1 << (port.0 % 128);
    }

    /// Whether it may have a port.
    pub(in crate::compile) fn may_have(self, port: OfPort) -> bool {
        self.0 >> (port.0 % 128) & 1 == 1
    }
}

impl Needs {
    pub(super) fn merge(&mut self, other: &Needs) {
        self.steps.merge(&other.steps);
        self.came_by.merge(&other.came_by);
        self.headers.merge(&other.headers);
        self.outputs.0 |= other.outputs.0;
    }

    /// Before these operations.
    pub(super) fn before(mut self, ops: &[Micro]) -> Needs {
        for op in ops {
            if let Micro::Output(to) | Micro::Encap(to, ..) = op {
                self.outputs.add(to.port);
            }
        }
        self.steps = before(ops, self.steps, needed_by);
        self.came_by = before(ops, self.came_by, |op, came_by| {
            if matches!(op, Micro::Output(_) | Micro::Encap(..)) {
                came_by.field(Field::InPort, Field::InPort.full_mask());
            }
        });
        self.headers = before(ops, self.headers, |op, headers| {
            if let Micro::Encap(_, fields, _) = op {
                fields.iter().for_each(|field| headers.field(*field, u128::MAX));
            }
        });
        self
    }

    /// Before connection tracking.
    pub(super) fn before_tracking(&mut self, asked: &CtAsked) {
        self.steps.before_tracking(asked.translates());
        self.came_by.before_tracking(asked.translates());
        self.headers.before_tracking(asked.translates());
        needed_by_ct(asked, &mut self.steps);
    }
}

/// What an operation depends on itself.
fn needed_by(op: &Micro, needs: &mut Reads) {
    match op {
        Micro::Output(to) if to.port == OfPort::IN_PORT => {
            needs.field(Field::InPort, Field::InPort.full_mask());
        }
        Micro::Commit(asked) => needed_by_ct(asked, needs),
        Micro::Copy(from, to) if !is_of_the_pipeline(to.field) => needs.part(*from),
        Micro::Pop(to, depth) if !is_of_the_pipeline(to.field) => {
            needs.slot(Slot::Stack(*depth), u128::MAX);
        }
        _ => {}
    }
}

fn needed_by_ct(asked: &CtAsked, needs: &mut Reads) {
    if let Zone::From(part) = asked.zone {
        needs.part(part);
    }
}
