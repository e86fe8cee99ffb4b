//! Takes out what never matters: rules no packet can satisfy, and rules hidden by one of higher priority. Rules of one
//! priority that take the same packet go to OVS, since OpenFlow does not say which of them wins.
//!
//! ```text
//! #0 priority=9 dl_type=0x800 -> output:2             #0 priority=9 dl_type=0x800 -> output:2
//! #1 priority=5 dl_type=0x800,nw_proto=6 -> drop      #1 settled: rule 0 takes all its packets
//! ```

use crate::compile::Input;
use crate::compile::ir::{Does, Entry, Ingress, Program, RuleId, Settled, covers, overlaps};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match, VLAN_PRESENT};

pub(in crate::compile) fn run(program: &mut Program, _: &Input<'_>) {
    for (ingress, entries) in &mut program.ports {
        leave_ties_to_ovs(entries);
        let settled = take_out_the_dead(entries);
        program.settled.extend(settled.into_iter().map(|(rule, reason)| Settled {
            rule,
            ingress: Some(Ingress::clone(ingress)),
            reason,
        }));
    }
}

fn leave_ties_to_ovs(entries: &mut [Entry]) {
    let rivals: Vec<Option<RuleId>> = (0..entries.len()).map(|at| rival(entries, at)).collect();
    for (entry, rival) in entries.iter_mut().zip(rivals) {
        if let (Some(rival), Does::Steps(_)) = (rival, &entry.does) {
            entry.does = Does::Ovs(Reason::SamePriority(rival));
        }
    }
}

/// A rule of the same priority that takes some of the same packets and does something else. Entries are in the order of
/// their priority, so the rivals stand around the entry.
fn rival(entries: &[Entry], at: usize) -> Option<RuleId> {
    let entry = entries.get(at)?;
    let first = entries.partition_point(|other| other.priority > entry.priority);
    let equals = entries[first..].iter().take_while(|other| other.priority == entry.priority);
    equals
        .filter(|other| other.rule != entry.rule && other.does != entry.does)
        .find(|other| overlaps(&other.takes, &entry.takes))
        .map(|other| other.rule)
}

fn take_out_the_dead(entries: &mut Vec<Entry>) -> Vec<(RuleId, Reason)> {
    let mut settled = Vec::new();
    let mut alive: Vec<Entry> = Vec::new();
    for entry in std::mem::take(entries) {
        match death(&entry, &alive) {
            Some(reason) => settled.push((entry.rule, reason)),
            None => alive.push(entry),
        }
    }
    *entries = alive;
    settled
}

fn death(entry: &Entry, higher: &[Entry]) -> Option<Reason> {
    if contradicts_itself(&entry.takes) {
        return Some(Reason::NeverMatches);
    }
    higher
        .iter()
        .filter(|other| other.priority > entry.priority)
        .find(|other| covers(&other.takes, &entry.takes))
        .map(|other| Reason::Hidden(other.rule))
}

/// A packet without a tag has no VLAN id and no priority: `vlan_tci=0x0005/0x1fff` asks for both.
fn contradicts_itself(takes: &Match) -> bool {
    let present = u128::from(VLAN_PRESENT);
    takes
        .get(Field::VlanTci)
        .is_some_and(|tci| tci.mask & present != 0 && tci.value & present == 0 && tci.value != 0)
}
