//! From a placed program to TC's own structures, and to the verdicts. The only module that knows both languages.

mod action;
mod ct;
mod header;
mod key;
pub(super) mod police;
mod tunnel;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tc_filter::{Attach, ChainId, Cookie, Filter, FilterId, Handle, HwPolicy, IfIndex};

use super::ir::{Effect, FlowerChain, FlowerEntry, FlowerProgram, Ingress, Trail, fnv1a, protocol};
use super::verdict::Reason;
use super::{Compiled, Input, Left};
use crate::capabilities::Target;
use crate::openflow::TunnelOption;
use crate::plan::Plan;
use crate::ports::PortKind;
use action::Context;

/// A filter, and whose it is.
struct Lowered {
    trail: Rc<Trail>,
    /// Why OVS gets its packets, if it is a guard.
    keeps: Option<Reason>,
    filter: Filter,
}

pub(super) fn run(program: &FlowerProgram, input: &Input<'_>) -> Compiled {
    let mut lowered = Vec::new();
    for (ingress, chains) in &program.ports {
        lowered.extend(port(ingress, chains, input).into_iter().flatten());
    }
    let verdicts = verdicts::collect(&lowered, program, input);
    let guards = lowered.iter().filter_map(|one| Some((one.filter.id(), one.keeps.clone()?)));
    let guards = guards.collect();
    let plan: Plan = lowered.into_iter().map(|lowered| lowered.filter).collect();
    let left = Left {
        guards,
        unguarded: program.unguarded.clone(),
        rest: program.rest.clone(),
        ports: program.idle.clone(),
        untracked: input.tracks(),
        no_ipv6: input.tracks() && !input.has_ipv6(),
    };
    Compiled { plan, verdicts, left }
}

fn port(ingress: &Ingress, chains: &[FlowerChain], input: &Input<'_>) -> Option<Vec<Lowered>> {
    let port = input.ports.port(&ingress.bridge, ingress.port)?;
    let from_tunnel = matches!(port.kind, PortKind::Tunnel(_));
    let options = input.tunnel_options(input.bridge_number(&ingress.bridge));
    let at = Position {
        attach: Attach::Ingress(IfIndex(port.ifindex?.0)),
        input,
        hw: policy(chains, from_tunnel, input),
        option: options.get(&0).copied(),
    };
    let numbers: Vec<ChainId> = chains.iter().map(|chain| chain.number).collect();
    let mut names = Names::default();
    let mut lowered = Vec::new();
    for chain in chains {
        let context = Context { input, chain, numbers: &numbers, from_tunnel };
        for entry in &chain.entries {
            let Some(filter) = at.filter(entry, &context, &mut names) else { continue };
            let trail = entry.trail.clone();
            let keeps = match &entry.effect {
                Effect::Pass(reason) => Some(reason.clone()),
                Effect::Act(_) | Effect::Goto { .. } => None,
            };
            lowered.push(Lowered { trail, keeps, filter });
        }
    }
    Some(lowered)
}

/// Where a port's filters may run.
///
/// A packet that the card leaves in the middle of its chains goes on in the kernel's, so the kernel has to have them all:
/// then none of them is for the card alone, not even a guard, since what the card passes comes to the kernel's filters
/// next. On a tunnel device the kernel refuses `skip_sw`.
fn policy(chains: &[FlowerChain], from_tunnel: bool, input: &Input<'_>) -> HwPolicy {
    let goes = |entry: &FlowerEntry| match &entry.effect {
        Effect::Goto { .. } => true,
        Effect::Act(ops) => ops.iter().any(|op| matches!(op, super::ir::Op::Track(_))),
        Effect::Pass(_) => false,
    };
    let chained = chains.iter().flat_map(|chain| &chain.entries).any(goes);
    match input.capabilities.target {
        Target::Software => HwPolicy::SkipHw,
        Target::Hardware if chained || from_tunnel => HwPolicy::Both,
        Target::Hardware => HwPolicy::SkipSw,
    }
}

/// Where the filters of a port go.
struct Position<'a> {
    attach: Attach,
    input: &'a Input<'a>,
    hw: HwPolicy,
    option: Option<TunnelOption>,
}

impl Position<'_> {
    fn filter(
        &self,
        entry: &FlowerEntry,
        context: &Context<'_>,
        names: &mut Names,
    ) -> Option<Filter> {
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
            key: key::lower(&entry.key, self.option),
            // What cannot be said keeps its packets for OVS.
            actions: context.lower(entry).unwrap_or_else(|| context.pass()),
            hw: self.hw,
            cookie: Some(Cookie::ours(cookie)),
        })
    }

    /// The number of the rule, or that of all guards that belong to none.
    fn cookie(&self, entry: &FlowerEntry) -> u64 {
        let of_rule = entry.rule().map(|rule| self.input.rules.cookie(rule));
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
