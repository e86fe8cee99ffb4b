//! Rules to entries: actions become steps, port numbers are looked up, and what is not compiled becomes a reason.
//!
//! ```text
//! priority=5,ip actions=strip_vlan,output:2      #0 priority=5 dl_type=0x800 -> pop_vlan,output:2
//! priority=4,arp actions=NORMAL                  #1 priority=4 dl_type=0x806 -> ovs: NORMAL is not offloaded
//! ```

mod action;
mod output;

use crate::compile::Input;
use crate::compile::ir::{Does, Entry, Program, RuleId, Step};
use crate::compile::verdict::Reason;
use crate::openflow::Rule;
use crate::ports::BridgePorts;

pub(in crate::compile) fn run(input: &Input<'_>) -> Program {
    let nowhere = BridgePorts::default();
    let mut program = Program::default();
    for (id, bridge, rule) in input.rules.iter() {
        let ports = input.ports.bridges.get(bridge).unwrap_or(&nowhere);
        let table = program.tables.entry((bridge.clone(), rule.table)).or_default();
        table.push(entry(id, rule, ports));
    }
    program
}

fn entry(id: RuleId, rule: &Rule, ports: &BridgePorts) -> Entry {
    let does = match does(rule, ports) {
        Ok(does) => does,
        Err(reason) => Does::Ovs(reason),
    };
    Entry { rule: id, priority: rule.priority, takes: rule.match_.clone(), does }
}

fn does(rule: &Rule, ports: &BridgePorts) -> Result<Does, Reason> {
    if rule.idle_timeout != 0 {
        return Err(Reason::IdleTimeout);
    }
    let (steps, refused): (Vec<_>, Vec<_>) =
        rule.actions.iter().map(action::step).partition(Result::is_ok);
    if let Some(reason) = most_telling(refused.into_iter().filter_map(Result::err)) {
        return Err(reason);
    }
    let steps: Vec<Step> = steps.into_iter().flatten().flatten().collect();
    output::check(&steps, ports)?;
    Ok(Does::Steps(steps))
}

/// Of several actions that are not compiled, the one that decides where a packet goes says more than one that writes a
/// field: an OVN rule sets registers and then resubmits.
fn most_telling(refused: impl Iterator<Item = Reason>) -> Option<Reason> {
    const WRITES: [&str; 5] = ["set_field", "load", "move", "push", "pop"];
    refused.min_by_key(|reason| WRITES.contains(&reason.label()))
}
