//! The verdicts of a port as a table. Classes of which the same is to say share a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tc_filter::IfIndex;

use super::{Class, ClassVerdict, Destination, Kept, Kind, Lane, PortVerdict, Tag, Tunnel};
use crate::compile::verdict::{Outcome, Reason};

/// So many rules are named; of more, how many there are.
const MOST_RULES: usize = 4;
/// In front of what is said of a class below its line.
const INDENT: &str = "                  ";

/// The table of a port, with the kernel's names of devices.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The port.
    pub port: &'a PortVerdict,
    /// The devices by name.
    pub devices: &'a BTreeMap<String, IfIndex>,
}

/// What is said of classes, apart from which they are.
type Said<'a> = (Outcome, String, Vec<String>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortVerdict { bridge, ports, filters, chains, .. } = self.port;
        write!(f, "{} of {bridge}: ", ports.join(", "))?;
        if let Some(why) = &self.port.idle {
            return writeln!(f, "ovs; {why}");
        }
        let s = if *chains == 1 { "" } else { "s" };
        writeln!(f, "{filters} filters in {chains} chain{s}")?;
        let lanes = self.port.classes.iter().map(|one| one.class.lane).collect();
        for ((outcome, counts, lines), classes) in self.alike() {
            for (at, names) in names(&classes, &lanes).into_iter().enumerate() {
                match at {
                    0 => writeln!(f, "  {outcome:<8} {counts:>7} {names}")?,
                    _ => writeln!(f, "{INDENT}{names}")?,
                }
            }
            lines.iter().try_for_each(|line| writeln!(f, "{INDENT}  {line}"))?;
        }
        Ok(())
    }
}

impl Shown<'_> {
    /// Classes of which the same is to say, in the order of the first of each.
    fn alike(&self) -> Vec<(Said<'_>, Vec<&ClassVerdict>)> {
        let mut alike: Vec<(Said<'_>, Vec<&ClassVerdict>)> = Vec::new();
        for class in self.port.classes.iter().filter(|one| one.outcome != Outcome::Dead) {
            let said = self.said(class);
            match alike.iter_mut().find(|(other, _)| *other == said) {
                Some((_, classes)) => classes.push(class),
                None => alike.push((said, vec![class])),
            }
        }
        alike
    }

    fn said(&self, verdict: &ClassVerdict) -> Said<'_> {
        let guards: usize = verdict.kept.values().map(|kept| kept.guards.len()).sum();
        let counts = format!("{}+{guards}", verdict.filters.len());
        let mut lines = Vec::new();
        lines.extend(self.destinations(&verdict.to));
        if verdict.outcome == Outcome::Split && verdict.leaves_odd_frames_only() {
            lines.push("only odd frames go to OVS:".to_owned());
        }
        let mut kept: Vec<(&Reason, &Kept)> = verdict.kept.iter().collect();
        kept.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.guards.len()));
        lines.extend(kept.into_iter().map(|(reason, kept)| guarded(reason, kept)));
        lines.extend(verdict.missed.as_ref().map(unguarded));
        (verdict.outcome, counts, lines)
    }

    fn destinations(&self, to: &BTreeMap<Destination, usize>) -> Option<String> {
        let words = to.iter().map(|(to, filters)| format!("{} {filters}", self.place(*to)));
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| format!("TC: {}", words.join(", ")))
    }

    fn place(&self, to: Destination) -> String {
        let Destination::Device { device, remote } = to else { return "dropped".to_owned() };
        let known = self.devices.iter().find(|(_, index)| **index == device);
        let name = known.map_or_else(|| format!("device {device}"), |(name, _)| name.clone());
        remote.map_or_else(|| format!("to {name}"), |remote| format!("to {name} {remote}"))
    }
}

fn guarded(reason: &Reason, kept: &Kept) -> String {
    let guards = kept.guards.len();
    let filters = if guards == 1 { "filter" } else { "filters" };
    let numbers: Vec<String> =
        kept.rules.iter().take(MOST_RULES).map(|rule| rule.0.to_string()).collect();
    let rules = match (kept.rules.len(), numbers.join(" ")) {
        (0, _) => String::new(),
        (1, number) => format!(" (rule {number})"),
        (all, numbers) if all <= MOST_RULES => format!(" (rules {numbers})"),
        (all, numbers) => format!(" (rules {numbers} and {} more)", all - MOST_RULES),
    };
    format!("OVS by {guards} {filters}: {reason}{rules}")
}

fn unguarded(reasons: &BTreeSet<Reason>) -> String {
    let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => "OVS without a filter".to_owned(),
        false => format!("OVS without a filter: {}", words.join("; ")),
    }
}

/// Classes by name, a line for those that come in alike.
fn names(classes: &[&ClassVerdict], all: &BTreeSet<Lane>) -> Vec<String> {
    let mut by_lane: BTreeMap<Lane, Vec<Class>> = BTreeMap::new();
    for one in classes {
        by_lane.entry(one.class.lane).or_default().push(one.class);
    }
    let mut by_traffic: Vec<(String, BTreeSet<Lane>)> = Vec::new();
    for (lane, classes) in by_lane {
        let traffic = traffic(&classes);
        match by_traffic.iter_mut().find(|(other, _)| *other == traffic) {
            Some((_, lanes)) => drop(lanes.insert(lane)),
            None => by_traffic.push((traffic, BTreeSet::from([lane]))),
        }
    }
    let lines = by_traffic.into_iter().flat_map(|(traffic, lanes)| {
        ways(&lanes, all).into_iter().map(move |lane| format!("{lane}: {traffic}"))
    });
    lines.collect()
}

/// What packets they are; a family of protocols is named whole where all of it is there.
fn traffic(classes: &[Class]) -> String {
    if Kind::all().all(|kind| has(classes, kind)) {
        return "all packets".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut whole = BTreeSet::new();
    for class in classes {
        match class.kind {
            Kind::Ip(family, _) if Kind::of(family).all(|kind| has(classes, kind)) => {
                if whole.insert(family) {
                    words.push(format!("{family:?}"));
                }
            }
            _ => words.push(class.traffic()),
        }
    }
    words.join(", ")
}

/// Whether all packets of a kind are there, whatever connection tracking says.
fn has(classes: &[Class], kind: Kind) -> bool {
    classes.iter().any(|class| class.kind == kind && class.connection.is_none())
}

/// How packets come in: for each list of tags the tunnel keys.
fn ways(lanes: &BTreeSet<Lane>, all: &BTreeSet<Lane>) -> Vec<String> {
    let every = by_tunnel(all);
    let mut by_tags: Vec<(BTreeSet<Tag>, Vec<Option<Tunnel>>)> = Vec::new();
    for (tunnel, tags) in by_tunnel(lanes) {
        match by_tags.iter_mut().find(|(other, _)| *other == tags) {
            Some((_, tunnels)) => tunnels.push(tunnel),
            None => by_tags.push((tags, vec![tunnel])),
        }
    }
    let way = |(tags, tunnels): (BTreeSet<Tag>, Vec<Option<Tunnel>>)| {
        let all_tags = tunnels.iter().all(|tunnel| every.get(tunnel) == Some(&tags));
        let tags = if all_tags { "with or without a tag".to_owned() } else { list(&tags) };
        match tunnels.as_slice() {
            [None] => tags,
            some if some.len() == every.len() => format!("any key, {tags}"),
            some => format!("{}, {tags}", list(some.iter().flatten())),
        }
    };
    by_tags.into_iter().map(way).collect()
}

fn by_tunnel(lanes: &BTreeSet<Lane>) -> BTreeMap<Option<Tunnel>, BTreeSet<Tag>> {
    let mut tags: BTreeMap<Option<Tunnel>, BTreeSet<Tag>> = BTreeMap::new();
    for lane in lanes {
        tags.entry(lane.tunnel).or_default().insert(lane.tag);
    }
    tags
}

fn list<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    words.join(", ")
}
