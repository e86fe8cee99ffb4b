//! OpenFlow actions to steps. What is not compiled is a reason, under the action's own name.

use crate::compile::ir::{OnUntagged, Step};
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, OfPort, SetField, VLAN_PRESENT};

/// The EtherTypes a tag may have: 802.1Q and 802.1ad.
const TAG_TYPES: [u16; 2] = [0x8100, 0x88a8];

/// The step that an action is; none for one that does nothing to packets.
pub(super) fn step(action: &Action) -> Result<Option<Step>, Reason> {
    let step = match action {
        Action::Note(_) => return Ok(None),
        Action::Output(port) => output(*port)?,
        Action::PopVlan | Action::StripVlan => Step::PopVlan,
        Action::PushVlan(tpid) => push(*tpid)?,
        Action::ModVlanVid(id) => Step::SetVid { id: *id, untagged: OnUntagged::Push },
        Action::SetVlanVid(id) => Step::SetVid { id: *id, untagged: OnUntagged::Leave },
        Action::ModVlanPcp(pcp) => Step::SetPcp { pcp: *pcp, untagged: OnUntagged::Push },
        Action::SetVlanPcp(pcp) => Step::SetPcp { pcp: *pcp, untagged: OnUntagged::Leave },
        Action::SetField(_) | Action::Load { .. } => {
            action.assignment().and_then(set_tag).ok_or_else(|| Reason::Action(name(action)))?
        }
        other => return Err(Reason::Action(name(other))),
    };
    Ok(Some(step))
}

fn output(port: OfPort) -> Result<Step, Reason> {
    let reserved = match port {
        OfPort::NORMAL => "NORMAL",
        OfPort::FLOOD => "FLOOD",
        OfPort::ALL => "ALL",
        OfPort::CONTROLLER => "CONTROLLER",
        OfPort::TABLE => "TABLE",
        _ => return Ok(Step::Output(port)),
    };
    Err(Reason::Action(reserved))
}

fn push(tpid: u16) -> Result<Step, Reason> {
    if TAG_TYPES.contains(&tpid) { Ok(Step::PushVlan(tpid)) } else { Err(Reason::TagType(tpid)) }
}

/// A write to the whole VLAN id with its presence bit, or to the whole priority.
fn set_tag(set: SetField) -> Option<Step> {
    if set.masked.mask != set.field.full_mask() {
        return None;
    }
    let value = u16::try_from(set.masked.value).ok()?;
    match set.field {
        Field::VlanVid if value & VLAN_PRESENT != 0 => {
            Some(Step::SetVid { id: value & !VLAN_PRESENT, untagged: OnUntagged::Forbidden })
        }
        Field::VlanPcp => {
            Some(Step::SetPcp { pcp: u8::try_from(value).ok()?, untagged: OnUntagged::Leave })
        }
        _ => None,
    }
}

/// The name of an action that is not compiled; also its label in metrics.
fn name(action: &Action) -> &'static str {
    match action {
        Action::Output(_) => "output",
        Action::OutputController { .. } | Action::Controller(_) => "controller",
        Action::OutputReg { .. } => "output to a register",
        Action::OutputTrunc { .. } => "output with max_len",
        Action::Group(_) => "group",
        Action::Enqueue { .. } => "enqueue",
        Action::Bundle(_) => "bundle",
        Action::SetField(_) => "set_field",
        Action::Load { .. } => "load",
        Action::Move { .. } => "move",
        Action::Push(_) => "push",
        Action::Pop(_) => "pop",
        Action::DeleteField(_) => "delete_field",
        Action::ModDlSrc(_) => "mod_dl_src",
        Action::ModDlDst(_) => "mod_dl_dst",
        Action::ModNwSrc(_) => "mod_nw_src",
        Action::ModNwDst(_) => "mod_nw_dst",
        Action::ModNwTos(_) => "mod_nw_tos",
        Action::ModNwEcn(_) => "mod_nw_ecn",
        Action::ModNwTtl(_) => "mod_nw_ttl",
        Action::ModTpSrc(_) => "mod_tp_src",
        Action::ModTpDst(_) => "mod_tp_dst",
        Action::ModVlanVid(_) => "mod_vlan_vid",
        Action::SetVlanVid(_) => "set_vlan_vid",
        Action::ModVlanPcp(_) => "mod_vlan_pcp",
        Action::SetVlanPcp(_) => "set_vlan_pcp",
        Action::SetTunnel { .. } => "set_tunnel",
        Action::SetQueue(_) => "set_queue",
        Action::PopQueue => "pop_queue",
        Action::SetMplsLabel(_) => "set_mpls_label",
        Action::SetMplsTc(_) => "set_mpls_tc",
        Action::SetMplsTtl(_) => "set_mpls_ttl",
        Action::DecMplsTtl => "dec_mpls_ttl",
        Action::DecTtl { .. } => "dec_ttl",
        Action::DecNshTtl => "dec_nsh_ttl",
        Action::PushVlan(_) => "push_vlan",
        Action::PopVlan | Action::StripVlan => "strip_vlan",
        Action::PushMpls(_) => "push_mpls",
        Action::PopMpls(_) => "pop_mpls",
        Action::Encap(_) => "encap",
        Action::Decap { .. } => "decap",
        Action::Resubmit(_) => "resubmit",
        Action::Clone(_) => "clone",
        Action::Ct(_) => "ct",
        Action::CtClear => "ct_clear",
        Action::Nat(_) => "nat",
        Action::Conjunction { .. } => "conjunction",
        Action::Learn(_) => "learn",
        Action::Multipath(_) => "multipath",
        Action::FinTimeout { .. } => "fin_timeout",
        Action::CheckPktLarger { .. } => "check_pkt_larger",
        Action::Sample(_) => "sample",
        Action::Note(_) => "note",
        Action::Exit => "exit",
        Action::Debug(_) => "debug",
        Action::Meter(_) => "meter",
        Action::ClearActions => "clear_actions",
        Action::WriteActions(_) => "write_actions",
        Action::WriteMetadata(_) => "write_metadata",
        Action::GotoTable(_) => "goto_table",
        Action::Unsupported(_) => "unknown action",
    }
}
