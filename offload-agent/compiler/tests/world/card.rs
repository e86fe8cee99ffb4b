//! The card as it refuses filters: a plan for it may hold none of those.

use std::collections::{BTreeMap, BTreeSet};

use flow_compiler::capabilities::{Capabilities, Target};
use flow_compiler::compile::ir::KeyField;
use flow_compiler::plan::{CURTAIN, Plan};
use tc_filter::text::Numbered;
use tc_filter::{Action, Attach, ChainId, Filter, HwPolicy, IfIndex};

/// The words of a filter for fields that some card cannot match.
const KEYS: [(&str, KeyField); 9] = [
    ("arp_op", KeyField::ArpOp),
    ("arp_sip", KeyField::ArpSip),
    ("arp_tip", KeyField::ArpTip),
    ("arp_sha", KeyField::ArpSha),
    ("arp_tha", KeyField::ArpTha),
    ("ip_flags", KeyField::Frag),
    ("firstfrag", KeyField::FirstFrag),
    ("nofirstfrag", KeyField::FirstFrag),
    ("tcp_flags", KeyField::TcpFlags),
];

/// Stops at a filter, or a number of them, that the card would refuse.
pub(crate) fn takes(card: &Capabilities, plan: &Plan) {
    plan.filters.values().for_each(|filter| takes_one(card, filter));
    has_tables(card, plan);
    if card.target == Target::Hardware {
        has_software_behind(plan);
    }
}

fn takes_one(card: &Capabilities, filter: &Filter) {
    let text = format!("{:?}", filter.text(&Numbered));
    let (key, actions) = text.split_once(" action ").unwrap_or((&text, ""));
    let has = |what: &str| actions.contains(what);
    let asks = |word: &str| key.split([' ', '/']).any(|one| one == word);
    for (word, field) in KEYS {
        assert!(!asks(word) || card.keys.contains(&field), "{} has no {word}: {text}", card.name);
    }
    let outputs = actions.matches("mirred").count();
    let cannot = [
        (!card.pass && actions.starts_with("pass"), "pass"),
        (!card.drop && has("drop"), "drop"),
        (!card.vlan_push && has("vlan push"), "vlan push"),
        (!card.vlan_pop && has("vlan pop"), "vlan pop"),
        (!card.edit && has("pedit"), "pedit"),
        (!card.ct && (actions.starts_with("ct ") || has("action ct")), "ct"),
        (!card.nat && has(" nat "), "nat"),
        (!card.tunnels && has("tunnel_key"), "tunnel_key"),
        (outputs > card.max_outputs, "so many outputs"),
        (!card.hairpin && sends_back(filter) && !is_uplink(filter), "way back to a VF"),
        (!card.uplink_hairpin && sends_back(filter) && is_uplink(filter), "way back to the wire"),
    ];
    for (refused, what) in cannot {
        assert!(!refused, "{} has no {what}: {text}", card.name);
    }
}

/// Whether it sends packets to the device that they came by. A tunnel's device is none of the card's ports.
fn sends_back(filter: &Filter) -> bool {
    let into_a_tunnel = filter.actions.iter().any(|one| matches!(one, Action::TunnelKey(_)));
    !into_a_tunnel
        && filter.actions.iter().any(|action| match action {
            Action::Mirred(sent) => filter.attach == Attach::Ingress(sent.to),
            _ => false,
        })
}

/// Whether it is the filter of the world's uplink.
fn is_uplink(filter: &Filter) -> bool {
    filter.attach == Attach::Ingress(IfIndex(super::UPLINK))
}

/// A (chain, prio) is one table, whichever port its filters are for.
fn has_tables(card: &Capabilities, plan: &Plan) {
    let mut prios: BTreeMap<ChainId, BTreeSet<u16>> = BTreeMap::new();
    for filter in plan.filters.values() {
        assert!(
            filter.chain.get() < card.max_chains,
            "{} has no chain {}",
            card.name,
            filter.chain
        );
        let last = CURTAIN.get().saturating_add(card.max_prios);
        assert!(filter.prio.get() <= last, "{} has no prio {}", card.name, filter.prio);
        prios.entry(filter.chain).or_default().insert(filter.prio.get());
    }
    let tables: usize = prios.values().map(BTreeSet::len).sum();
    assert!(tables <= card.max_tables, "{} has no {tables} tables", card.name);
}

/// A packet that the card leaves in the middle of its chains goes on in the kernel's.
fn has_software_behind(plan: &Plan) {
    let chained = |filter: &&Filter| filter.chain != ChainId::ZERO;
    let ports: BTreeSet<Attach> =
        plan.filters.values().filter(chained).map(|filter| filter.attach).collect();
    for filter in plan.filters.values().filter(|filter| ports.contains(&filter.attach)) {
        let text = || format!("{:?}", filter.text(&Numbered));
        assert_eq!(filter.hw, HwPolicy::Both, "the kernel lacks {}", text());
    }
}
