//! vlan: pushes, pops or changes a VLAN tag. The id is in host order.

use tc_filter::action::{Vlan, VlanTag, VlanTpid};
use tc_filter::{EtherType, Pcp, VlanId};

use super::{generic_and, number_after_generic, pipes, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

pub(super) const TIMES: u16 = 1;
const PARAMETERS: u16 = 2;
const ID: u16 = 3;
const PROTOCOL: u16 = 4;
const PAD: u16 = 5;
const PRIORITY: u16 = 6;

const POP: u32 = 1;
const PUSH: u32 = 2;
const MODIFY: u32 = 3;

pub(super) fn emit(vlan: &Vlan) -> Writer {
    let mut out = Writer::default();
    match vlan {
        Vlan::Pop => out.bytes(PARAMETERS, generic_and(verdict::PIPE, POP)),
        Vlan::Push(VlanTag { tpid, id, pcp }) => {
            out.bytes(PARAMETERS, generic_and(verdict::PIPE, PUSH));
            tag(&mut out, *tpid, *id, Some(*pcp));
        }
        Vlan::Modify { tpid, id, pcp } => {
            out.bytes(PARAMETERS, generic_and(verdict::PIPE, MODIFY));
            tag(&mut out, *tpid, *id, *pcp);
        }
    }
    out
}

fn tag(out: &mut Writer, tpid: VlanTpid, id: VlanId, pcp: Option<Pcp>) {
    out.u16(ID, id.get());
    out.be16(PROTOCOL, tpid.ethertype().0);
    if let Some(pcp) = pcp {
        out.u8(PRIORITY, pcp.get());
    }
}

pub(super) fn parse(options: &Attrs) -> Result<Vlan, Unreadable> {
    options.only(&[TIMES, PARAMETERS, ID, PROTOCOL, PAD, PRIORITY])?;
    let parameters = need(options.bytes(PARAMETERS), "vlan parameters")?;
    pipes(parameters)?;
    let what = number_after_generic(parameters)?;
    if what == POP {
        return Ok(Vlan::Pop);
    }
    let id = need(options.u16(ID)?, "VLAN id").map(VlanId::new)?.map_err(Unreadable::new)?;
    let pcp = options.u8(PRIORITY)?.map(Pcp::new).transpose().map_err(Unreadable::new)?;
    let tpid = parse_tpid(options)?;
    match what {
        PUSH => Ok(Vlan::Push(VlanTag { tpid, id, pcp: pcp.unwrap_or(Pcp::MIN) })),
        MODIFY => Ok(Vlan::Modify { tpid, id, pcp }),
        other => Err(Unreadable::new(format!("vlan action {other}"))),
    }
}

fn parse_tpid(options: &Attrs) -> Result<VlanTpid, Unreadable> {
    match options.be16(PROTOCOL)? {
        None => Ok(VlanTpid::Dot1Q),
        Some(number) => need(VlanTpid::from_ethertype(EtherType(number)), "a VLAN protocol"),
    }
}
