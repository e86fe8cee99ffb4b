//! Follows all packets of a class at once through the chains of a port.
//!
//! Of the packets that come to a chain only that is kept which all of them have in common, whatever their way. So a filter may seem to be met
//! that no packet meets, and a class is at worst told to be less in hardware than it is.

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::action::{Ct, Gact, TunnelAddresses, TunnelKey};
use tc_filter::{Action, ChainId, Filter, FilterId, HwPolicy};

use super::Destination;
use super::asked::{Asked, asked};
use super::class::{Connection, Region};
use super::cover::{Keys, may_leave};
use crate::compile::ir::{Key, KeyField};
use crate::openflow::Masked;

/// The filters of a port, each with what it asks and where it leads.
pub(super) struct Chains<'a> {
    by_number: BTreeMap<ChainId, Vec<Step<'a>>>,
    /// What is known of packets that come in, whichever way: of those of a tunnel, the outer addresses.
    ways: Vec<Key>,
    /// Packets that OVS gets without a filter, all of each.
    left: Vec<Key>,
}

struct Step<'a> {
    filter: &'a Filter,
    asked: Asked,
    end: End,
}

/// Where a filter leads.
enum End {
    /// To OVS.
    Pass,
    /// Nothing of the packet goes further.
    Done(BTreeSet<Destination>),
    /// To another chain.
    Goto(ChainId, Through),
}

/// What happens to packets on their way to another chain.
#[derive(Clone, Copy, Default)]
struct Through {
    tracked: bool,
    cleared: bool,
    /// Addresses and ports may be others than before.
    translated: bool,
}

/// Packets at the beginning of a chain: the chain, and what connection tracking has found in some zone so far.
type Place = (ChainId, Option<Connection>);

/// What was met on the way, by what connection tracking found.
pub(super) type Met<'a> = BTreeMap<Option<Connection>, Ends<'a>>;

/// What some packets meet.
#[derive(Clone, Default)]
pub(super) struct Ends<'a> {
    /// Filters that finish them.
    pub(super) done: BTreeMap<FilterId, (&'a Filter, BTreeSet<Destination>)>,
    /// Filters that pass them to OVS.
    pub(super) passed: BTreeSet<FilterId>,
    /// No filter may take them.
    pub(super) missed: bool,
    /// Nor a guard that is not there because it would have nothing behind it.
    pub(super) unruled: bool,
}

impl Ends<'_> {
    pub(super) fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.passed.extend(other.passed);
        self.missed |= other.missed;
        self.unruled |= other.unruled;
    }
}

impl<'a> Chains<'a> {
    pub(super) fn of(filters: &[&'a Filter], ways: Vec<Key>, left: Vec<Key>) -> Chains<'a> {
        let mut by_number: BTreeMap<ChainId, Vec<Step<'a>>> = BTreeMap::new();
        for filter in filters {
            let step = Step { filter, asked: asked(filter), end: end(filter) };
            by_number.entry(filter.chain).or_default().push(step);
        }
        Chains { by_number, ways, left }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// What the filters of the first chain ask.
    pub(super) fn first(&self) -> impl Iterator<Item = &Key> + Clone {
        self.by_number.get(&ChainId::ZERO).into_iter().flatten().map(|step| &step.asked.key)
    }

    /// The chains as packets of a region may meet them.
    pub(super) fn within(&'a self, region: &Region) -> Walk<'a> {
        let first = self.by_number.get(&ChainId::ZERO).into_iter().flatten();
        Walk { chains: self, first: first.filter(|step| meets(region, step)).collect() }
    }
}

/// The chains of a port, as some of its packets may meet them.
pub(super) struct Walk<'a> {
    chains: &'a Chains<'a>,
    first: Vec<&'a Step<'a>>,
}

impl<'a> Walk<'a> {
    /// Follows the packets of a region.
    pub(super) fn follow(&self, region: &Region) -> Met<'a> {
        let mut met = Met::new();
        let mut todo: BTreeMap<Place, Region> = BTreeMap::new();
        todo.insert((ChainId::ZERO, None), untracked(region));
        // A jump leads to a higher number, so all ways to the first chain of the rest are known.
        while let Some((place, region)) = todo.pop_first() {
            let ends = met.entry(place.1).or_default();
            for (to, then) in self.chain(place, &region, ends) {
                match todo.get_mut(&to) {
                    Some(known) => known.key = in_common(&known.key, &then.key),
                    None => {
                        todo.insert(to, then);
                    }
                }
            }
        }
        met
    }

    /// What packets meet in a chain, and where they go on.
    fn chain(&self, at: Place, region: &Region, ends: &mut Ends<'a>) -> Vec<(Place, Region)> {
        let (chain, found) = at;
        let mut on = Vec::new();
        let (mut tried, mut whole) = (Vec::<&Asked>::new(), Keys::default());
        for step in self.steps(chain) {
            let Some(taken) = region.and(&step.asked.key) else { continue };
            if whole.cover(&taken) {
                continue;
            }
            match &step.end {
                End::Pass if !reaches(&taken, &region.but, &tried) => {}
                End::Pass => drop(ends.passed.insert(step.filter.id())),
                End::Done(to) => {
                    ends.done.insert(step.filter.id(), (step.filter, to.clone()));
                }
                // The kernel would go round for ever.
                End::Goto(to, _) if *to <= chain => ends.missed = true,
                End::Goto(to, through) => {
                    let and = Region { key: taken, but: region.but.clone() };
                    on.extend(arrivals(*to, *through, found, &and));
                }
            }
            tried.push(&step.asked);
            if step.asked.whole {
                whole.add(&step.asked.key);
            }
        }
        // A chain behind the first has a filter for whatever comes there: a miss would be no way back.
        if chain == ChainId::ZERO {
            self.miss(region, &tried, ends);
        }
        on
    }

    /// Whether some packet may be taken by no filter of the first chain.
    fn miss(&self, region: &Region, tried: &[&Asked], ends: &mut Ends<'a>) {
        // Packets without an option pass by those that ask for one.
        let sure = |asked: &&&Asked| asked.whole && asked.key.get(KeyField::OneOption).is_none();
        let mut keys: Vec<&Key> = tried.iter().filter(sure).map(|asked| &asked.key).collect();
        keys.extend(&region.but);
        ends.missed |= self.leaves(region, &keys);
        keys.extend(&self.chains.left);
        ends.unruled |= ends.missed && self.leaves(region, &keys);
    }

    fn leaves(&self, region: &Region, keys: &[&Key]) -> bool {
        let ways = self.chains.ways.iter().filter_map(|way| region.key.and(way));
        ways.into_iter().any(|region| may_leave(&region, keys))
    }

    fn steps(&self, chain: ChainId) -> Box<dyn Iterator<Item = &'a Step<'a>> + '_> {
        if chain == ChainId::ZERO {
            return Box::new(self.first.iter().copied());
        }
        Box::new(self.chains.by_number.get(&chain).into_iter().flatten())
    }
}

fn meets(region: &Region, step: &Step<'_>) -> bool {
    region.and(&step.asked.key).is_some()
}

/// Whether some packets get past the filters that were tried before.
fn reaches(taken: &Key, but: &[Key], tried: &[&Asked]) -> bool {
    let before = tried.iter().filter(|asked| asked.whole).map(|asked| &asked.key);
    // Packets of the key have a tunnel's option if it asks for one, and else they may have none.
    let optional = taken.get(KeyField::OneOption).is_none();
    let before = before.filter(|key| !optional || key.get(KeyField::OneOption).is_none());
    may_leave(taken, &before.chain(but).collect::<Vec<_>>())
}

/// What is known of packets that nobody has tracked.
fn untracked(region: &Region) -> Region {
    let key = region.key.clone().with(KeyField::CtState, 0);
    Region { key: key.with(KeyField::CtMark, 0).with(KeyField::CtLabel, 0), ..region.clone() }
}

/// As what packets come to the next chain: once for each answer of connection tracking.
fn arrivals(
    to: ChainId,
    through: Through,
    found: Option<Connection>,
    region: &Region,
) -> Vec<(Place, Region)> {
    let mut key = region.key.clone();
    if through.translated {
        key = key.only(|field| !TRANSLATED.contains(&field));
    }
    if through.cleared {
        key = key.with(KeyField::CtState, 0);
    }
    if !through.tracked {
        return vec![((to, found), Region { key, but: region.but.clone() })];
    }
    let key = key.without(KeyField::CtMark).without(KeyField::CtLabel);
    let with = |state: Masked| Region {
        key: key.clone().with_masked(KeyField::CtState, state),
        but: region.but.clone(),
    };
    let answers = Connection::next(found).iter();
    answers
        .map(|answer| match found {
            // Once it is new somewhere, what later zones say does not matter.
            Some(before) if before == *answer && before != Connection::Established => {
                ((to, found), with(TRACKED))
            }
            _ => ((to, Some(*answer)), with(answer.state())),
        })
        .collect()
}

/// `TCA_FLOWER_KEY_CT_FLAGS_TRACKED`.
const TRACKED: Masked = Masked { value: 8, mask: 8 };

/// What an address translation writes.
const TRANSLATED: [KeyField; 6] = [
    KeyField::Ipv4Src,
    KeyField::Ipv4Dst,
    KeyField::Ipv6Src,
    KeyField::Ipv6Dst,
    KeyField::SrcPort,
    KeyField::DstPort,
];

/// What packets of both keys have in common.
fn in_common(one: &Key, other: &Key) -> Key {
    one.fields().fold(Key::any(), |key, (field, asked)| {
        let Some(too) = other.get(field) else { return key };
        let mask = asked.mask & too.mask & !(asked.value ^ too.value);
        key.with_masked(field, Masked::new(asked.value, mask))
    })
}

/// What a filter's actions come to.
fn end(filter: &Filter) -> End {
    let (mut through, mut sent, mut tunnel) = (Through::default(), BTreeSet::new(), None);
    for action in filter.actions.iter() {
        match action {
            Action::Gact(Gact::Goto(chain)) => return End::Goto(*chain, through),
            Action::Gact(Gact::Drop) => return done(sent),
            Action::Gact(_) => return End::Pass,
            Action::Ct(Ct::Clear) => through = Through { cleared: true, tracked: false, ..through },
            Action::Ct(Ct::Track(track)) => {
                through.tracked = true;
                through.translated |= track.nat.is_some();
            }
            Action::TunnelKey(TunnelKey::Set(set)) => tunnel = Some(remote(set.addresses)),
            Action::TunnelKey(TunnelKey::Unset) => tunnel = None,
            Action::Mirred(mirred) => {
                sent.insert(Destination::Device { device: mirred.to, remote: tunnel });
            }
            Action::Vlan(_) | Action::Pedit(_) | Action::Csum(_) | Action::Police(_) => {}
        }
    }
    if sent.is_empty() { End::Pass } else { End::Done(sent) }
}

fn done(mut sent: BTreeSet<Destination>) -> End {
    if sent.is_empty() {
        sent.insert(Destination::Dropped);
    }
    End::Done(sent)
}

fn remote(addresses: TunnelAddresses) -> std::net::IpAddr {
    match addresses {
        TunnelAddresses::V4 { dst, .. } => dst.into(),
        TunnelAddresses::V6 { dst, .. } => dst.into(),
    }
}

/// Whether a card runs a filter for the packets of a connection. Those of one that is not established it never takes as far as that.
pub(super) fn in_card(filter: &Filter, found: Option<Connection>) -> bool {
    filter.hw != HwPolicy::SkipHw && matches!(found, None | Some(Connection::Established))
}

#[cfg(test)]
mod tests {
    use tc_filter::text::Numbered;

    use super::*;

    fn filter(line: &str) -> Filter {
        let place = "filter add dev if1 ingress chain 0 prio 2 handle 0x1";
        Filter::parse(&format!("{place} {line}"), &Numbered).unwrap()
    }

    #[test]
    fn a_card_knows_established_connections_only() {
        let both = filter("protocol ip flower action drop");
        assert!(in_card(&both, None) && in_card(&both, Some(Connection::Established)));
        assert!(!in_card(&both, Some(Connection::New)));
        assert!(!in_card(&both, Some(Connection::NewLater)));
        assert!(!in_card(&filter("protocol ip flower skip_hw action drop"), None));
    }

    #[test]
    fn packets_of_two_ways_have_in_common_what_both_know() {
        let port = |port| Key::any().with(KeyField::IpProto, 6).with(KeyField::DstPort, port);
        let both = in_common(&port(80), &port(81));
        assert_eq!(both.to_string(), "ip_proto=6,dst_port=80/65534");
        assert_eq!(in_common(&both, &Key::any()), Key::any());
    }

    #[test]
    fn packets_meet_what_those_of_any_way_meet() {
        let tcp = |place: &str, port: u16, action: &str| {
            let key = format!("protocol ip flower ip_proto tcp dst_port {port}");
            let line = format!("filter add dev if1 ingress {place} {key} action {action}");
            Filter::parse(&line, &Numbered).unwrap()
        };
        let first = |number: u16| {
            let place = format!("chain 0 prio 2 handle {number}");
            tcp(&place, number, "goto chain 1")
        };
        let second = |number: u16| tcp(&format!("chain 1 prio 2 handle {number}"), number, "drop");
        let filters: Vec<Filter> =
            [80, 81].into_iter().flat_map(|n| [first(n), second(n)]).collect();
        let filters: Vec<&Filter> = filters.iter().collect();
        let region = Region { key: Key::any(), but: Vec::new() };
        let chains = Chains::of(&filters, vec![Key::any()], Vec::new());
        let met = chains.within(&region).follow(&region);
        assert_eq!(met[&None].done.len(), 2);
    }

    #[test]
    fn a_translation_may_write_addresses_and_ports() {
        let key = Key::any().with(KeyField::IpProto, 6).with(KeyField::Ipv4Dst, 1);
        let region = Region { key, but: Vec::new() };
        let through = Through { tracked: true, translated: true, cleared: false };
        let to = ChainId::new(1).unwrap();
        let on = arrivals(to, through, None, &region);
        assert_eq!(on.len(), 2);
        assert!(on.iter().all(|(_, on)| on.key.get(KeyField::Ipv4Dst).is_none()));
        assert!(on.iter().all(|(_, on)| on.key.exact(KeyField::IpProto) == Some(6)));
    }

    /// A packet without an option, or with another one, passes by a filter that asks for one.
    #[test]
    fn an_option_is_not_all_packets() {
        let line = |key: &str| filter(&format!("protocol all flower {key} action drop"));
        let region = Region { key: Key::any(), but: Vec::new() };
        for (key, missed) in [
            ("geneve_opts 0102:80:00000000/ffff:ff:00000000", true),
            ("geneve_opts 0102:80:00000000/ffff:ff:00000001", true),
            ("", false),
        ] {
            let filter = line(key);
            let chains = Chains::of(&[&filter], vec![Key::any()], Vec::new());
            let met = chains.within(&region).follow(&region);
            assert_eq!(met[&None].missed, missed);
        }
    }
}
