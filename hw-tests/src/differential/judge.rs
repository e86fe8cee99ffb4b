//! One ruleset and its packets: what OVS says, what our reading says, and whether they agree.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{
    self, Connection, Conntrack, Delivery, Doubt, Effects, Egress, Fate, Filters, Limit, Outcome,
    Parser, State, World,
};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::openflow::{Action, BridgeName, OfPort, Ruleset, TunnelOption};
use flow_compiler::plan::Plan;
use flow_compiler::ports::PortMap;
use tc_filter::CtZone;
use tc_filter::text::Numbered;

use super::bytes;
use super::carried::carried;
use super::chance::Chance;
use super::datapath::{self, DatapathPorts};
use super::generate::Scenario;
use super::generate::packets::{self, Arrival};
use super::switch::{Switch, UNDERLAY};
use super::trace::{self, Traced};

/// How many tags OVS looks through on the dummy datapath.
const VLAN_LIMIT: u8 = 1;
/// Zones that connections may be known in.
const ZONES: [u16; 4] = [0, 5, 6, 7];
/// The ends that a connection may be translated at.
const TRANSLATIONS: [&[u128]; 4] = [&[], &[SNAT], &[DNAT], &[SNAT, DNAT]];
const SNAT: u128 = trace::TRANSLATED[0].0;
const DNAT: u128 = trace::TRANSLATED[1].0;
/// A packet that recirculates more often is not asked about.
const MOST_STARTS: usize = 12;

/// OVS, as it answers.
#[derive(Debug)]
pub(crate) struct Oracle {
    switch: Switch,
    ports: DatapathPorts,
}

/// A ruleset as filters for one card.
pub(crate) struct Compiled {
    card: &'static str,
    plan: Plan,
    encap_ecn: bool,
}

impl Compiled {
    fn of(scenario: &Scenario, card: &'static str) -> anyhow::Result<Compiled> {
        // What no profile asks for is to be right, too, but for what nobody can see here.
        let capabilities = Capabilities::profile(card)?.tolerant();
        let compiled = flow_compiler::compile(&scenario.ruleset, &scenario.ports, &capabilities);
        Ok(Compiled { card, plan: compiled.plan, encap_ecn: capabilities.copies_ecn() })
    }
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Where differences are kept.
    pub(crate) save: Option<std::path::PathBuf>,
    pub(crate) pairs: u64,
    pub(crate) traced: u64,
    pub(crate) not_compared: BTreeMap<String, u64>,
    /// Filters that were compiled, fates of filters that were judged, and how many of them did not end in OVS.
    pub(crate) filters: u64,
    pub(crate) judged: u64,
    pub(crate) finished: u64,
    pub(crate) rulesets: u64,
    pub(crate) refused: u64,
    pub(crate) rules_refused: u64,
    pub(crate) differences: u64,
    /// How often ovs-vswitchd ended by itself.
    pub(crate) crashes: u64,
}

impl Tally {
    pub(crate) fn line(&self, elapsed: Duration) -> String {
        format!(
            "{} rulesets ({} refused by OVS), {} pairs, {} traced by OVS ({:.0}/s), {} not comparable; {} filters, {} fates judged, {} finished; {} differences {:?}",
            self.rulesets,
            self.refused,
            self.pairs,
            self.traced,
            self.traced as f64 / elapsed.as_secs_f64(),
            self.not_compared.values().sum::<u64>(),
            self.filters,
            self.judged,
            self.finished,
            self.differences,
            self.not_compared,
        )
    }

    /// Tells a difference, and keeps it as a file where that is wanted.
    fn differ(&mut self, with: &str, story: &str) {
        self.differences += 1;
        println!("DIFFERENCE with {with}: {story}");
        if let Some(directory) = &self.save {
            let file = directory.join(format!("difference-{}.txt", self.differences));
            let kept =
                std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&file, story));
            match kept {
                Ok(()) => println!("kept as {}", file.display()),
                Err(error) => eprintln!("hw-tests: cannot write {}: {error}", file.display()),
            }
        }
    }

    fn skip(&mut self, why: &str) {
        *self.not_compared.entry(why.to_owned()).or_default() += 1;
    }
}

impl Oracle {
    /// Starts OVS with these ports.
    pub(crate) fn start(
        ports: &PortMap,
        options: &BTreeMap<u8, TunnelOption>,
    ) -> anyhow::Result<Oracle> {
        let mut switch = Switch::start(ports)?;
        let mut named = Ruleset::default();
        for bridge in ports.bridges.keys() {
            named.bridges.entry(bridge.clone()).or_default().tunnel_options.clone_from(options);
        }
        switch.name_options(&named)?;
        let shown = switch.ask("dpif/show", &[])?;
        Ok(Oracle { switch, ports: datapath_ports(&shown) })
    }

    fn trace(
        &mut self,
        scenario: &Scenario,
        arrival: &Arrival,
        states: &[State],
        told: u128,
    ) -> anyhow::Result<Option<Traced>> {
        let bridge = &arrival.ingress.bridge;
        let rules = scenario.ruleset.bridges.get(bridge);
        let (port, packet) = (arrival.ingress.port, &arrival.packet);
        let words = trace::request(&bridge.0, port, rules, packet, states, told);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = self.switch.ask("ofproto/trace", &words)?;
        if trace::learned(&answer) {
            // The next packet is to find the addresses that were given, and no others.
            self.switch.ask("fdb/flush", &[])?;
        }
        Ok(Traced::parse(&answer))
    }
}

/// `    vf1 1/5: (dummy)` below `  br-int:`.
fn datapath_ports(shown: &str) -> DatapathPorts {
    let mut ports = DatapathPorts::new();
    let mut bridge = String::new();
    for line in shown.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ([name], true) = (words.as_slice(), line.starts_with("  ")) {
            bridge = name.trim_end_matches(':').to_owned();
        }
        let numbers = words.get(1).and_then(|word| word.trim_end_matches(':').split_once('/'));
        let Some((openflow, datapath)) = numbers else { continue };
        let Ok(number) = openflow.parse().map(OfPort) else { continue };
        let to = Egress::Port(Ingress { bridge: BridgeName(bridge.clone()), port: number });
        ports.insert(datapath.to_owned(), (bridge != UNDERLAY).then_some(to));
    }
    ports
}

/// So many rules of a ruleset may be refused by OVS until it is given up.
const MOST_REFUSED: usize = 12;

/// Loads a ruleset without the rules that OVS refuses; `None` if too many are.
fn load(oracle: &mut Oracle, scenario: &Scenario, tally: &mut Tally) -> Option<Scenario> {
    let mut scenario = scenario.clone();
    for _ in 0..MOST_REFUSED {
        let error = match oracle.switch.load(&scenario.ruleset) {
            Ok(()) => return Some(scenario),
            Err(error) => format!("{error:#}"),
        };
        tally.rules_refused += 1;
        if !without_refused(&mut scenario.ruleset, &error) {
            break;
        }
    }
    None
}

/// Takes out the rule that OVS names by its line; where it names none, it means a tag that may not be there.
fn without_refused(ruleset: &mut Ruleset, error: &str) -> bool {
    let named = |name: &BridgeName| error.contains(&format!("/{name}.mgmt"));
    let Some((_, rules)) = ruleset.bridges.iter_mut().find(|(name, _)| named(name)) else {
        return false;
    };
    let line = error.rsplit("bundle.txt:").next().and_then(|rest| rest.split(':').next());
    let before = rules.rules.len();
    match line.and_then(|line| line.parse::<usize>().ok()) {
        Some(line) => {
            let place = line.checked_sub(super::switch::LINES_BEFORE + 1 + rules.groups.len());
            let key = place.and_then(|place| rules.rules.keys().nth(place).cloned());
            key.and_then(|key| rules.rules.remove(&key));
        }
        None => rules.rules.retain(|_, rule| {
            !rule.actions.iter().any(|action| matches!(action, Action::StripVlan | Action::PopVlan))
        }),
    }
    rules.rules.len() < before
}

/// Loads a ruleset and asks about so many packets.
pub(crate) fn scenario(
    oracle: &mut Oracle,
    scenario: &Scenario,
    packets: usize,
    chance: &mut Chance,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let Some(scenario) = &load(oracle, scenario, tally) else {
        tally.refused += 1;
        return Ok(());
    };
    tally.rulesets += 1;
    // What holds on the card that can do most is what has most to be shown.
    let card = if chance.one_in(2) { "nicsim" } else { *chance.of(&Capabilities::PROFILES) };
    let compiled = Compiled::of(scenario, card)?;
    let loaded = &Scenario { ruleset: carried(&scenario.ruleset), ..scenario.clone() };
    tally.filters += u64::try_from(compiled.plan.filters.len())?;
    for _ in 0..packets {
        let arrival = packets::arrival(chance, scenario);
        tally.pairs += 1;
        let mut conntrack = made_up(chance);
        if scenario.twists.translated {
            conntrack.told = chance.of(&TRANSLATIONS).iter().sum();
        }
        if let Some(difference) = against_ovs(oracle, loaded, &arrival, &conntrack, tally)? {
            tally.differ("OVS", &difference);
        }
        on_the_card(&compiled, scenario, &arrival, conntrack, chance, tally)?;
    }
    Ok(())
}

/// What OVS would answer in `ofproto/trace`: one state everywhere, or one a zone.
fn made_up(chance: &mut Chance) -> Conntrack {
    let mut conntrack = Conntrack { oracle: interp::Oracle::Trace, ..Conntrack::default() };
    let uniform = *chance.of(&State::ALL);
    let mixed = chance.one_in(2);
    for zone in ZONES {
        let state = if mixed { *chance.of(&State::ALL) } else { uniform };
        conntrack.zones.insert(CtZone(zone), Connection { state, ..Connection::default() });
    }
    conntrack
}

/// Without application helpers, which no ruleset here asks for, nobody expects a connection of TCP or UDP, and nothing else is
/// tracked by filters: what is *related* in a trace cannot be.
fn without_helpers(conntrack: &mut Conntrack) {
    for found in conntrack.zones.values_mut() {
        found.state = match found.state {
            State::Related => State::New,
            State::EstablishedRelated => State::Established,
            State::RelatedReply => State::Reply,
            other => other,
        };
    }
}

/// What the kernel might know: connections with marks, and some that are translated.
fn known(chance: &mut Chance) -> Conntrack {
    let mut conntrack = Conntrack::default();
    for zone in ZONES {
        let state = *chance.of(&[
            State::New,
            State::Established,
            State::Established,
            State::Reply,
            State::Invalid,
        ]);
        let mut found =
            Connection { state, mark: *chance.of(&[0, 0, 1, 2, 3]), ..Connection::default() };
        if chance.one_in(4) {
            found.translation.dst.address = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)));
        }
        if chance.one_in(4) {
            found.translation.src.address = Some(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 5)));
        }
        conntrack.zones.insert(CtZone(zone), found);
    }
    conntrack
}

/// One packet: our reading against the filters, with this answer of connection tracking and with another.
fn on_the_card(
    compiled: &Compiled,
    scenario: &Scenario,
    arrival: &Arrival,
    conntrack: Conntrack,
    chance: &mut Chance,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut world = World::new(&scenario.ruleset, &scenario.ports, VLAN_LIMIT);
    world.conntrack = conntrack;
    without_helpers(&mut world.conntrack);
    for vlan_limit in [VLAN_LIMIT, 2] {
        if against_filters(compiled, scenario, arrival, &world, tally).is_some() {
            let smaller = smaller(compiled.card, scenario, arrival, &world)?;
            tally.differ("FILTERS", &smaller);
        }
        world.vlan_limit = vlan_limit;
        world.conntrack = known(chance);
    }
    Ok(())
}

/// The difference with as few rules as show it.
fn smaller(
    card: &'static str,
    scenario: &Scenario,
    arrival: &Arrival,
    world: &World<'_>,
) -> anyhow::Result<String> {
    let mut scenario = scenario.clone();
    let mut shown = String::new();
    let differs = |scenario: &Scenario| -> anyhow::Result<Option<String>> {
        let mut smaller = World::new(&scenario.ruleset, &scenario.ports, world.vlan_limit);
        smaller.conntrack = world.conntrack.clone();
        let compiled = Compiled::of(scenario, card)?;
        Ok(against_filters(&compiled, scenario, arrival, &smaller, &mut Tally::default()))
    };
    let all: Vec<_> = scenario
        .ruleset
        .bridges
        .iter()
        .flat_map(|(name, bridge)| bridge.rules.keys().map(move |key| (name.clone(), key.clone())))
        .collect();
    for (name, key) in all {
        let mut without = scenario.clone();
        without.ruleset.bridges.entry(name).or_default().rules.remove(&key);
        if let Some(story) = differs(&without)? {
            (scenario, shown) = (without, story);
        }
    }
    match shown.is_empty() {
        true => Ok(differs(&scenario)?.unwrap_or_default()),
        false => Ok(shown),
    }
}

/// One packet: OVS, which has these rules, against our reading.
fn against_ovs(
    oracle: &mut Oracle,
    loaded: &Scenario,
    arrival: &Arrival,
    conntrack: &Conntrack,
    tally: &mut Tally,
) -> anyhow::Result<Option<String>> {
    let mut world = World::new(&loaded.ruleset, &loaded.ports, VLAN_LIMIT);
    world.conntrack = conntrack.clone();
    let world = &world;
    let outcomes = interp::outcomes(world, &arrival.ingress, &arrival.packet);
    if let Some(why) = outcomes.iter().find_map(not_followed) {
        tally.skip(&why);
        return Ok(None);
    }
    if outcomes.len() >= interp::MAX_WAYS {
        tally.skip("more choices than are looked at");
        return Ok(None);
    }
    let Some(states) = agreed(&outcomes) else {
        tally.skip("the choices recirculate differently");
        return Ok(None);
    };
    let Some(traced) = oracle.trace(loaded, arrival, &states, conntrack.told)? else {
        tally.skip("OVS does not translate it");
        return Ok(None);
    };
    let frame = &arrival.packet.frame;
    let said = match datapath::execute(&traced, frame, &oracle.ports, conntrack) {
        Ok(said) => plain(said),
        Err(error) => {
            if std::env::var_os("DIFFERENTIAL_VERBOSE").is_some() {
                println!(
                    "NOT READ {error}: {}",
                    story(loaded, arrival, world, &format!("{traced:?}"), &outcomes)
                );
            }
            tally.skip(if error.0.starts_with("recirc") {
                "a start that is not traced"
            } else {
                "a datapath action"
            });
            return Ok(None);
        }
    };
    if outcomes.iter().any(|outcome| plain(outcome.effects.clone()) == said) {
        tally.traced += 1;
        return Ok(None);
    }
    if let Some(what) = outcomes.iter().find_map(|outcome| outcome.untraceable.first()) {
        tally.skip(&format!("not known to the trace: {what}"));
        return Ok(None);
    }
    if traced.learned_by_length() {
        tally.skip("an address learned where the packet may not go");
        return Ok(None);
    }
    tally.traced += 1;
    Ok(Some(story(loaded, arrival, world, &format!("traced {traced:?}\nOVS: {said:?}"), &outcomes)))
}

fn against_filters(
    compiled: &Compiled,
    scenario: &Scenario,
    arrival: &Arrival,
    world: &World<'_>,
    tally: &mut Tally,
) -> Option<String> {
    let Arrival { ingress, packet } = arrival;
    let expected = interp::openflow(world, ingress, packet);
    let filters = Filters {
        plan: &compiled.plan,
        ports: &scenario.ports,
        conntrack: &world.conntrack,
        encap_ecn: compiled.encap_ecn,
    };
    for parser in [Parser::Kernel, Parser::Card] {
        let followed = filters.follow(ingress, packet, parser);
        tally.judged += 1;
        tally.finished += u64::from(matches!(followed.fate, Fate::Delivered(_)));
        if !followed.fate.agrees(&expected) {
            let mut said = format!(
                "expected {expected:?}\nfilters on {} {parser:?}: {:?}\n",
                compiled.card, followed.fate
            );
            for hit in &followed.hits {
                let filter = compiled
                    .plan
                    .filters
                    .get(hit)
                    .map(|filter| format!("{:?}", filter.text(&Numbered)));
                said.push_str(&format!("  {}\n", filter.unwrap_or_default()));
            }
            let outcomes = interp::outcomes(world, ingress, packet);
            return Some(story(scenario, arrival, world, &said, &outcomes));
        }
    }
    None
}

/// Why a way cannot be compared.
fn not_followed(outcome: &Outcome<'_>) -> Option<String> {
    outcome.doubts.iter().find_map(|doubt| match doubt {
        Doubt::NotUnderstood(what) => Some(format!("not understood: {what}")),
        Doubt::Unspecified(what) => Some(format!("unspecified: {what}")),
        Doubt::TooDeep => Some("too deep".to_owned()),
        Doubt::LinkProtocol | Doubt::Sampled => Some("taken by OVS".to_owned()),
        _ => None,
    })
}

/// What connection tracking says at each start, if all ways have the same.
fn agreed(outcomes: &[Outcome<'_>]) -> Option<Vec<State>> {
    let first = outcomes.first()?;
    let same = outcomes.iter().all(|outcome| outcome.answers == first.answers);
    let few = first.answers.len() <= MOST_STARTS;
    (same && few).then(|| first.answers.clone())
}

/// Effects as both sides can say them: how many limits, and no address that the kernel chooses.
fn plain(mut effects: Effects) -> Effects {
    for limit in &mut effects.limits {
        *limit = Limit::Packets(0);
    }
    for Delivery { tunnel, frame, .. } in &mut effects.deliveries {
        bytes::forget_fragment_checksum(frame);
        if let Some(header) = tunnel {
            header.id = Some(header.id.unwrap_or(0));
        }
    }
    effects.sorted()
}

fn story(
    scenario: &Scenario,
    arrival: &Arrival,
    world: &World<'_>,
    said: &str,
    outcomes: &[Outcome<'_>],
) -> String {
    let mut rules = String::new();
    for (name, bridge) in &scenario.ruleset.bridges {
        for rule in bridge.rules.values() {
            rules.push_str(&format!("  {name} {rule}\n"));
        }
        for group in bridge.groups.values() {
            rules.push_str(&format!("  {name} {group}\n"));
        }
    }
    let mut ours = String::new();
    for outcome in outcomes {
        ours.push_str(&format!("  {:?} doubts {:?}\n", outcome.effects, outcome.doubts));
        for hop in &outcome.hops {
            let rule = hop.rule.map_or_else(|| "none".to_owned(), |rule| rule.to_string());
            ours.push_str(&format!("    {} {}: {rule}\n", hop.bridge, hop.table));
        }
    }
    format!(
        "{}\n{rules}on {} {:?}\n{:?}\n{said}\nours:\n{ours}",
        scenario.name, arrival.ingress, arrival.packet, world.conntrack
    )
}
