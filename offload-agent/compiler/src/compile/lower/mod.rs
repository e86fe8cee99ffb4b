//! From a placed program to TC's own structures, and to the verdicts. The only module that knows both languages.

mod action;
mod ct;
mod header;
mod key;
pub(super) mod police;
mod tunnel;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tc_filter::{
    Action, Attach, ChainId, Cookie, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex,
};

use super::ir::{
    Effect, Filling, FlowerChain, FlowerEntry, FlowerProgram, Ingress, Op, PortChains, fnv1a,
    protocol,
};
use super::{Compiled, Input, Left};
use crate::capabilities::Target;
use crate::ports::PortKind;
use action::{Context, goto};
use verdicts::Facts;

pub(super) fn run(program: &FlowerProgram, input: &Input<'_>) -> Compiled {
    let cookies: Vec<u64> = input.rules.iter().map(|(id, ..)| input.rules.cookie(id)).collect();
    let bodies = program.chains.iter().map(|chain| bodies(chain, input, &cookies));
    let bodies: Vec<Vec<Body>> = bodies.collect();
    let mut facts = Facts::of(program, input);
    let (mut filters, mut guards) = (Vec::new(), BTreeMap::new());
    for (ingress, port) in &program.ports {
        let Some(at) = Position::of(ingress, port, program, input) else { continue };
        at.filters(&bodies, |entry, filter| {
            facts.filter(entry, filter.id());
            if let Effect::Pass(reason) = &entry.effect {
                guards.insert(filter.id(), reason.clone());
            }
            filters.push(filter);
        });
    }
    let verdicts = facts.verdicts(program, input, &cookies);
    let left = Left {
        guards,
        unguarded: program.unguarded.clone(),
        rest: program.rest.clone(),
        ports: program.idle.clone(),
        untracked: input.tracks(),
        no_ipv6: input.tracks() && !input.has_ipv6(),
    };
    Compiled { plan: filters.into_iter().collect(), verdicts, left }
}

/// What the filters of an entry have in common on all ports.
struct Body {
    /// The entry's place in its chain.
    entry: usize,
    handle: Handle,
    protocol: EtherType,
    key: Arc<FlowerMatch>,
    cookie: Cookie,
    actions: Actions,
}

/// What its filters do.
enum Actions {
    /// The same on all ports.
    Same(Arc<[Action]>),
    /// What depends on the numbers of the port's chains, or on what it fills headers in with.
    OfPort,
}

/// What becomes of the entries of a chain, in the order of their filters.
fn bodies(chain: &FlowerChain, input: &Input<'_>, cookies: &[u64]) -> Vec<Body> {
    let options = input.tunnel_options(input.bridge_number(&chain.of.bridge));
    let option = options.get(&0).copied();
    let context = Context { input, chain, from_tunnel: is_tunnel(&chain.of, input) };
    let mut names = Names::default();
    let bodies = chain.entries.iter().enumerate().map(|(at, entry)| {
        // The number of the rule, or that of all guards that belong to none.
        let of_rule = entry.rule().and_then(|rule| cookies.get(rule.0).copied());
        let cookie = of_rule.unwrap_or_else(|| fnv1a(b"link protocols"));
        Body {
            entry: at,
            handle: names.handle(entry, cookie),
            protocol: protocol(&entry.key),
            key: key::lower(&entry.key, option).into(),
            cookie: Cookie::ours(cookie),
            actions: Actions::of(entry, &context),
        }
    });
    let mut bodies: Vec<Body> = bodies.collect();
    bodies.sort_by_key(|body| (chain.entries[body.entry].depth, body.protocol, body.handle));
    bodies
}

impl Actions {
    fn of(entry: &FlowerEntry, context: &Context<'_>) -> Actions {
        if depends_on_port(&entry.effect) {
            return Actions::OfPort;
        }
        // What cannot be said keeps its packets for OVS.
        Actions::Same(context.act_on(entry, &[]).unwrap_or_else(|| context.pass()).into())
    }
}

fn depends_on_port(effect: &Effect) -> bool {
    match effect {
        Effect::Goto { .. } => true,
        Effect::Pass(_) => false,
        Effect::Act(ops) => ops.iter().any(|op| match op {
            Op::Encap(encap) => {
                let id = encap.id.iter();
                let mut bits = encap.options.iter().map(|(_, bits)| bits).chain(id);
                bits.any(|bits| !bits.open.is_empty())
            }
            _ => false,
        }),
    }
}

fn is_tunnel(ingress: &Ingress, input: &Input<'_>) -> bool {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    port.is_some_and(|port| matches!(port.kind, PortKind::Tunnel(_)))
}

/// Where a port's filters may run.
///
/// A packet that the card leaves in the middle of its chains goes on in the kernel's, so the kernel has to have them all:
/// then none of them is for the card alone, not even a guard, since what the card passes comes to the kernel's filters
/// next. On a tunnel device the kernel refuses `skip_sw`.
fn policy(
    port: &PortChains,
    from_tunnel: bool,
    program: &FlowerProgram,
    input: &Input<'_>,
) -> HwPolicy {
    let goes = |entry: &FlowerEntry| match &entry.effect {
        Effect::Goto { .. } => true,
        Effect::Act(ops) => ops.iter().any(|op| matches!(op, Op::Track(_))),
        Effect::Pass(_) => false,
    };
    // Where there is a second chain, something goes there.
    let chained = || {
        let chains = port.uses.iter().filter_map(|used| program.chains.get(used.chain));
        port.uses.len() > 1 || chains.flat_map(|chain| &chain.entries).any(goes)
    };
    match input.capabilities.target {
        Target::Software => HwPolicy::SkipHw,
        Target::Hardware if from_tunnel || chained() => HwPolicy::Both,
        Target::Hardware => HwPolicy::SkipSw,
    }
}

/// Where the filters of a port go.
struct Position<'a> {
    attach: Attach,
    from_tunnel: bool,
    hw: HwPolicy,
    port: &'a PortChains,
    numbers: FxHashMap<(usize, Filling), ChainId>,
    program: &'a FlowerProgram,
    input: &'a Input<'a>,
}

impl<'a> Position<'a> {
    fn of(
        ingress: &Ingress,
        port: &'a PortChains,
        program: &'a FlowerProgram,
        input: &'a Input<'a>,
    ) -> Option<Position<'a>> {
        let device = input.ports.port(&ingress.bridge, ingress.port)?.ifindex?;
        let from_tunnel = is_tunnel(ingress, input);
        let uses = port.uses.iter();
        Some(Position {
            attach: Attach::Ingress(IfIndex(device.0)),
            from_tunnel,
            hw: policy(port, from_tunnel, program, input),
            port,
            numbers: uses.map(|one| ((one.chain, one.filling.clone()), one.number)).collect(),
            program,
            input,
        })
    }

    /// Every filter, with the entry it is of.
    fn filters(&self, bodies: &[Vec<Body>], mut tell: impl FnMut(&FlowerEntry, Filter)) {
        for used in &self.port.uses {
            let (Some(chain), Some(bodies)) =
                (self.program.chains.get(used.chain), bodies.get(used.chain))
            else {
                continue;
            };
            let context = Context { input: self.input, chain, from_tunnel: self.from_tunnel };
            let mut last = None;
            for body in bodies {
                let entry = &chain.entries[body.entry];
                // Those of one table follow each other.
                let prio = last
                    .filter(|(table, _)| *table == entry.table())
                    .map_or_else(|| self.program.prio(entry, used.number), |(_, prio)| prio);
                last = Some((entry.table(), prio));
                let Some(prio) = prio else { continue };
                let filter = Filter {
                    attach: self.attach,
                    chain: used.number,
                    prio,
                    handle: body.handle,
                    protocol: body.protocol,
                    key: body.key.clone(),
                    actions: self.actions(entry, body, &context, &used.filling),
                    hw: self.hw,
                    cookie: Some(body.cookie),
                };
                tell(entry, filter);
            }
        }
    }

    fn actions(
        &self,
        entry: &FlowerEntry,
        body: &Body,
        context: &Context<'_>,
        filling: &Filling,
    ) -> Arc<[Action]> {
        let actions = match (&body.actions, &entry.effect) {
            (Actions::Same(actions), _) => return actions.clone(),
            (Actions::OfPort, Effect::Goto { through, .. }) => {
                let to = entry.effect.leads_to(filling);
                let number = to.and_then(|to| self.numbers.get(&to));
                number.map(|number| goto(through, *number))
            }
            (Actions::OfPort, _) => context.act_on(entry, filling),
        };
        actions.unwrap_or_else(|| context.pass()).into()
    }
}

/// The handles in use. A handle follows from the rule and the key, not from the place in a list, so that a filter keeps
/// its name when its neighbours change.
#[derive(Default)]
struct Names(BTreeMap<(Option<usize>, EtherType), BTreeSet<Handle>>);

impl Names {
    /// A free handle for an entry of a chain, in its prio.
    fn handle(&mut self, entry: &FlowerEntry, cookie: u64) -> Handle {
        const BITS: u64 = 0x7fff_ffff;
        let used = self.0.entry((entry.depth, protocol(&entry.key))).or_default();
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
