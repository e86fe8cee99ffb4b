//! VLAN tags. The id is in host order although the header file says otherwise (`nla_get_u16` in
//! `fl_set_key_vlan`).

use tc_filter::key::VlanKey;
use tc_filter::{EtherType, FlowerMatch, Pcp, VlanId};

use super::{Key, Unreadable, pick};

pub(super) fn emit(key: &FlowerMatch, out: &mut Vec<Key>) {
    let FlowerMatch { vlan, cvlan, .. } = key;
    out.extend(vlan.id.map(|id| Key::VlanId(id.get())));
    out.extend(vlan.pcp.map(|pcp| Key::VlanPrio(pcp.get())));
    out.extend(vlan.ethertype.map(|ethertype| Key::VlanEthType(ethertype.0)));
    out.extend(cvlan.id.map(|id| Key::CvlanId(id.get())));
    out.extend(cvlan.pcp.map(|pcp| Key::CvlanPrio(pcp.get())));
    out.extend(cvlan.ethertype.map(|ethertype| Key::CvlanEthType(ethertype.0)));
}

/// The outer and the inner tag.
pub(super) fn parse(options: &[Key]) -> Result<(VlanKey, VlanKey), Unreadable> {
    let outer = VlanKey {
        id: vlan_id(pick!(options, VlanId))?,
        pcp: pcp(pick!(options, VlanPrio))?,
        ethertype: pick!(options, VlanEthType).map(EtherType),
    };
    let inner = VlanKey {
        id: vlan_id(pick!(options, CvlanId))?,
        pcp: pcp(pick!(options, CvlanPrio))?,
        ethertype: pick!(options, CvlanEthType).map(EtherType),
    };
    Ok((outer, inner))
}

fn vlan_id(number: Option<u16>) -> Result<Option<VlanId>, Unreadable> {
    number.map(VlanId::new).transpose().map_err(Unreadable::new)
}

fn pcp(number: Option<u8>) -> Result<Option<Pcp>, Unreadable> {
    number.map(Pcp::new).transpose().map_err(Unreadable::new)
}
