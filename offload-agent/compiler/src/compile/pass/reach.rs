//! Settles the rules of every table but the first: nothing leads there, or only rules that stay in OVS do.
//!
//! ```text
//! table 0  #0 ... -> ovs: resubmit is not offloaded      table 0  #0 ...
//! table 8  #1 ... -> output:2                            #1 settled: only rules that stay in OVS lead to table 8
//! table 9  #2 ... -> output:3                            #2 settled: nothing leads to table 9
//! ```

use std::collections::BTreeSet;

use crate::compile::Input;
use crate::compile::ir::{Program, Settled};
use crate::compile::verdict::Reason;
use crate::openflow::{Action, BridgeName, GroupId, TableId};

/// Where every packet starts.
const FIRST: TableId = TableId(0);

pub(in crate::compile) fn run(program: &mut Program, input: &Input<'_>) {
    let bridges: BTreeSet<BridgeName> =
        program.tables.keys().map(|(name, _)| name.clone()).collect();
    let reached: BTreeSet<(BridgeName, TableId)> = bridges
        .into_iter()
        .flat_map(|bridge| {
            reachable(&bridge, input).into_iter().map(move |table| (bridge.clone(), table))
        })
        .collect();
    let later: Vec<_> =
        program.tables.keys().filter(|(_, table)| *table != FIRST).cloned().collect();
    for name in later {
        let table = name.1;
        let reason = match reached.contains(&name) {
            true => Reason::BehindOvs(table),
            false => Reason::UnreachableTable(table),
        };
        for entry in program.tables.remove(&name).into_iter().flatten() {
            let settled = Settled { rule: entry.rule, ingress: None, reason: reason.clone() };
            program.settled.push(settled);
        }
    }
}

fn reachable(bridge: &BridgeName, input: &Input<'_>) -> BTreeSet<TableId> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![FIRST];
    while let Some(table) = todo.pop() {
        if seen.insert(table) {
            let rules = input.rules.of_table(bridge, table);
            rules.for_each(|rule| Leads { input, bridge, table }.follow(&rule.actions, &mut todo));
        }
    }
    seen
}

/// Where actions of one table lead.
struct Leads<'a> {
    input: &'a Input<'a>,
    bridge: &'a BridgeName,
    table: TableId,
}

impl Leads<'_> {
    fn follow(&self, actions: &[Action], todo: &mut Vec<TableId>) {
        actions.iter().for_each(|action| self.follow_one(action, todo));
    }

    fn follow_one(&self, action: &Action, todo: &mut Vec<TableId>) {
        match action {
            Action::Resubmit(resubmit) => todo.push(resubmit.table.unwrap_or(self.table)),
            Action::GotoTable(table) => todo.push(*table),
            Action::Ct(ct) => {
                todo.extend(ct.table);
                self.follow(&ct.actions, todo);
            }
            Action::Clone(actions) | Action::WriteActions(actions) => self.follow(actions, todo),
            Action::Group(id) => self.follow_group(*id, todo),
            _ => {}
        }
    }

    /// A bucket may hold a group again; OVS refuses rings of groups, so this ends.
    fn follow_group(&self, id: GroupId, todo: &mut Vec<TableId>) {
        let group = self.input.rules.group(self.bridge, id);
        let buckets = group.into_iter().flat_map(|group| &group.buckets);
        buckets.for_each(|bucket| self.follow(&bucket.actions, todo));
    }
}
