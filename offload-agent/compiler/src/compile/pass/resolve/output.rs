//! Whether a card can send to the ports a rule names.

use crate::compile::ir::Step;
use crate::compile::verdict::Reason;
use crate::openflow::OfPort;
use crate::ports::{BridgePorts, Port, PortKind};

/// Looks at every output; the input port itself is looked at when it is known.
pub(super) fn check(steps: &[Step], ports: &BridgePorts) -> Result<(), Reason> {
    steps.iter().try_for_each(|step| match step {
        Step::Output(OfPort::IN_PORT) => Ok(()),
        Step::Output(number) => {
            let port = ports.ports.get(number).ok_or(Reason::NoSuchPort(*number))?;
            check_port(port)
        }
        Step::PopVlan | Step::PushVlan(_) | Step::SetVid { .. } | Step::SetPcp { .. } => Ok(()),
    })
}

fn check_port(port: &Port) -> Result<(), Reason> {
    if let Some(kind) = unfit(port) {
        return Err(Reason::PortKind { port: port.name.clone(), kind });
    }
    if port.link_up == Some(false) {
        return Err(Reason::LinkDown(port.name.clone()));
    }
    Ok(())
}

/// What the port is, where that is nothing a card can send to.
fn unfit(port: &Port) -> Option<&'static str> {
    match &port.kind {
        PortKind::Internal => Some("an internal port"),
        PortKind::Patch { .. } => Some("a patch port"),
        PortKind::Tunnel(_) => Some("a tunnel"),
        PortKind::Other(_) => Some("of a type that the kernel does not forward to"),
        PortKind::System if port.bond.is_some() => Some("a member of a bond"),
        PortKind::System if port.switch.is_none() => Some("not a port of a card's switch"),
        PortKind::System if port.ifindex.is_none() => Some("without a device"),
        PortKind::System => None,
    }
}
