//! The kernel takes some packets for what they carry: flower compares the EtherType of a filter with that of the last
//! header it came to (`__skb_flow_dissect`, `n_proto`). MPLS in IP matches no filter for IP, not even a guard, nor do frames
//! of HSR, PRP, B.A.T.M.A.N. and unknown PPPoE match one for their EtherType. They go on to the filters that ask for none.
//!
//! So a filter that asks for none, behind one that they may have missed, is for those EtherTypes that are always told right and
//! frequent; all others go to OVS.
//!
//! ```text
//! #0 tpid=none,eth_type=0x800,ipv4_src=10.0.0.1 -> drop    #0 tpid=none,eth_type=0x800,ipv4_src=10.0.0.1 -> drop
//! #1 tpid=none -> output:2                                 #1 tpid=none,eth_type=0x800 -> output:2
//!                                                          #1 tpid=none,eth_type=0x86dd -> output:2
//!                                                          #1 tpid=none,eth_type=0x806 -> output:2
//!                                                          #1 tpid=none -> pass: flower takes ...
//! ```

use super::overlap::Index;
use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerEntry, FlowerProgram, Key, KeyField};
use crate::compile::verdict::Reason;

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
const ARP: u128 = 0x0806;
/// What an open filter is written out for.
const WRITTEN_OUT: [u128; 3] = [IPV4, IPV6, ARP];
/// PPPoE, PRP, HSR, B.A.T.M.A.N.
const CARRIERS: [u128; 4] = [0x8864, 0x88fb, 0x892f, 0x4305];
const MPLS_IN_IP: u128 = 137;
/// So many filters are compared one by one.
const FEW: usize = 256;

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    for chain in &mut program.chains {
        let (mut missed, mut all) = (Missed::default(), Index::default());
        let mut entries = Vec::with_capacity(chain.entries.len());
        for entry in std::mem::take(&mut chain.entries) {
            let open = !entry.is_guard() && entry.key.get(KeyField::EthType).is_none();
            missed.note(&entry);
            let key = entry.key.clone();
            if open && missed.before(&entry) {
                // What another takes before is that one's alone.
                entries.extend(written_out(entry).filter(|one| all.over(&one.key).is_none()));
            } else {
                entries.push(entry);
            }
            all.add(&key, 0);
        }
        chain.entries = entries;
    }
}

/// Filters so far that some of their packets do not match.
#[derive(Default)]
struct Missed {
    index: Index,
    filters: Vec<(Key, Effect)>,
}

impl Missed {
    fn note(&mut self, entry: &FlowerEntry) {
        if may_miss(&entry.key) {
            self.index.add(&entry.key, 0);
            self.filters.push((entry.key.clone(), entry.effect.clone()));
        }
    }

    /// Whether one that does something else stands before.
    fn before(&mut self, entry: &FlowerEntry) -> bool {
        let differs =
            |(key, effect): &(Key, Effect)| *effect != entry.effect && key.overlaps(&entry.key);
        self.index.greatest(&entry.key).is_some()
            && (self.filters.len() > FEW || self.filters.iter().any(differs))
    }
}

/// Whether a packet with these headers may be taken for what it carries. Inside a fragment the kernel looks for nothing.
fn may_miss(key: &Key) -> bool {
    let Some(ethertype) = key.exact(KeyField::EthType) else { return false };
    let carries = key.exact(KeyField::IpProto).is_none_or(|proto| proto == MPLS_IN_IP);
    let whole = key.exact(KeyField::Frag) != Some(1);
    CARRIERS.contains(&ethertype) || [IPV4, IPV6].contains(&ethertype) && carries && whole
}

fn written_out(entry: FlowerEntry) -> impl Iterator<Item = FlowerEntry> {
    let guard = FlowerEntry { effect: Effect::Pass(Reason::Carries), ..entry.clone() };
    let each = WRITTEN_OUT.map(|ethertype| {
        let key = entry.key.clone().with(KeyField::EthType, ethertype);
        FlowerEntry { key, ..entry.clone() }
    });
    each.into_iter().chain([guard])
}
