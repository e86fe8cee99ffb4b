//! From a placed program to TC's own structures, and to the verdicts. The only module that knows both languages.

mod action;
mod key;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::{Attach, Cookie, Filter, FilterId, Handle, HwPolicy, IfIndex};

use super::ir::{FlowerEntry, FlowerProgram, Ingress, RuleId, fnv1a, protocol};
use super::{Compiled, Input};
use crate::capabilities::Target;
use crate::plan::Plan;
use crate::ports::BridgePorts;

/// A filter, and whose it is.
struct Lowered {
    rule: Option<RuleId>,
    ingress: Ingress,
    guard: bool,
    filter: Filter,
}

pub(super) fn run(program: &FlowerProgram, input: &Input<'_>) -> Compiled {
    let mut lowered = Vec::new();
    for (ingress, entries) in &program.ports {
        lowered.extend(port(ingress, entries, input));
    }
    let verdicts = verdicts::collect(&lowered, program, input);
    let plan: Plan = lowered.into_iter().map(|lowered| lowered.filter).collect();
    Compiled { plan, verdicts }
}

fn port(ingress: &Ingress, entries: &[FlowerEntry], input: &Input<'_>) -> Vec<Lowered> {
    let Some(ports) = input.ports.bridges.get(&ingress.bridge) else { return Vec::new() };
    let device = ports.ports.get(&ingress.port).and_then(|port| port.ifindex);
    let Some(device) = device else { return Vec::new() };
    let mut names = Names::default();
    entries
        .iter()
        .filter_map(|entry| {
            let at = Position { attach: Attach::Ingress(IfIndex(device.0)), ports, input };
            let filter = at.filter(entry, &mut names)?;
            let guard = entry.is_guard();
            Some(Lowered { rule: entry.rule, ingress: ingress.clone(), guard, filter })
        })
        .collect()
}

/// Where the filters of a port go.
struct Position<'a> {
    attach: Attach,
    ports: &'a BridgePorts,
    input: &'a Input<'a>,
}

impl Position<'_> {
    fn filter(&self, entry: &FlowerEntry, names: &mut Names) -> Option<Filter> {
        let place = entry.place?;
        let cookie = self.cookie(entry);
        let id = FilterId {
            attach: self.attach,
            chain: place.chain,
            prio: place.prio,
            handle: Handle::MIN,
        };
        Some(Filter {
            attach: self.attach,
            chain: place.chain,
            prio: place.prio,
            handle: names.handle(id, entry, cookie),
            protocol: protocol(&entry.key),
            key: key::lower(&entry.key),
            actions: action::lower(&entry.effect, self.ports)?,
            hw: match self.input.capabilities.target {
                Target::Hardware => HwPolicy::SkipSw,
                Target::Software => HwPolicy::SkipHw,
            },
            cookie: Some(Cookie::ours(cookie)),
        })
    }

    /// The number of the rule, or that of all guards that belong to none.
    fn cookie(&self, entry: &FlowerEntry) -> u64 {
        let of_rule = entry.rule.map(|rule| self.input.rules.cookie(rule));
        of_rule.unwrap_or_else(|| fnv1a(b"link protocols"))
    }
}

/// The handles in use. A handle follows from the rule and the key, not from the place in a list, so that a filter keeps
/// its name when its neighbours change.
#[derive(Default)]
struct Names(BTreeMap<FilterId, BTreeSet<Handle>>);

impl Names {
    /// A free handle at this place; `id` with the lowest handle stands for the place.
    fn handle(&mut self, id: FilterId, entry: &FlowerEntry, cookie: u64) -> Handle {
        const BITS: u64 = 0x7fff_ffff;
        let used = self.0.entry(id).or_default();
        let wish = fnv1a(format!("{cookie:x} {}", entry.key).as_bytes()) & BITS;
        let mut tries = (wish..=BITS).chain(0..wish);
        let free = tries.find_map(|number| {
            let handle = Handle::new(u32::try_from(number).ok()?).ok()?;
            (!used.contains(&handle)).then_some(handle)
        });
        let handle = free.unwrap_or(Handle::MAX);
        used.insert(handle);
        handle
    }
}
