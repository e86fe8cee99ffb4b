//! The rules, groups and meters of all bridges, as one value in a fixed order.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::action::Action;
use super::field::Field;
use super::matches::Match;
use super::number::{BridgeName, Cookie, GroupId, MeterId, OfPort, OfPriority, TableId};

/// One OpenFlow entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The table it is in.
    pub table: TableId,
    /// Its priority in that table.
    pub priority: OfPriority,
    /// What it matches.
    pub match_: Match,
    /// What it does, instructions included; empty drops.
    pub actions: Vec<Action>,
    /// The controller's mark.
    pub cookie: Cookie,
    /// Seconds without a packet until it goes; 0 is never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 is never.
    pub hard_timeout: u16,
    /// Which rules go first when a table is full; 0 is first.
    pub importance: u16,
    /// What else the controller asked for.
    pub flags: RuleFlags,
}

impl Rule {
    /// Where the rule stands in the order of its bridge, and what makes it that rule: OVS keeps one rule for each.
    pub fn key(&self) -> RuleKey {
        RuleKey { table: self.table, priority: Reverse(self.priority), match_: self.match_.clone() }
    }
}

/// The flags of an OpenFlow entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleFlags {
    /// Tell the controller when the rule goes.
    pub send_flow_rem: bool,
    /// The controller asked for a check that no rule overlaps.
    pub check_overlap: bool,
    /// The controller reset the counters.
    pub reset_counts: bool,
    /// The controller does not need packets counted.
    pub no_packet_counts: bool,
    /// The controller does not need bytes counted.
    pub no_byte_counts: bool,
}

/// What makes a rule that rule. Sorted by table, then the higher priority first, then by match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleKey {
    /// The table.
    pub table: TableId,
    /// The priority, the higher one first.
    pub priority: Reverse<OfPriority>,
    /// The match.
    pub match_: Match,
}

/// All rules, groups and meters of one bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeRules {
    /// The rules, in the order of their keys.
    pub rules: BTreeMap<RuleKey, Rule>,
    /// The groups.
    pub groups: BTreeMap<GroupId, Group>,
    /// The meters.
    pub meters: BTreeMap<MeterId, Meter>,
    /// Which tunnel option each `tun_metadata` field is.
    pub tunnel_options: BTreeMap<u8, TunnelOption>,
}

impl BridgeRules {
    /// The rules of one table, the highest priority first.
    pub fn table(&self, table: TableId) -> impl Iterator<Item = &Rule> {
        let start =
            RuleKey { table, priority: Reverse(OfPriority(u16::MAX)), match_: Match::any() };
        self.rules.range(start..).map(|(_, rule)| rule).take_while(move |rule| rule.table == table)
    }

    /// Adds a rule, or replaces the one with the same table, priority and match.
    pub fn upsert(&mut self, rule: Rule) {
        self.rules.insert(rule.key(), rule);
    }
}

impl FromIterator<Rule> for BridgeRules {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        BridgeRules {
            rules: rules.into_iter().map(|rule| (rule.key(), rule)).collect(),
            ..BridgeRules::default()
        }
    }
}

/// All bridges of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The bridges by name.
    pub bridges: BTreeMap<BridgeName, BridgeRules>,
}

/// How a group chooses among its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupType {
    /// Every bucket, each on a copy.
    All,
    /// One bucket, by hash.
    Select,
    /// Its only bucket.
    Indirect,
    /// The first bucket that is alive.
    FastFailover,
}

/// An OpenFlow group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// How it chooses.
    pub kind: GroupType,
    /// How a select group hashes, when it says.
    pub selection: Option<Selection>,
    /// What it chooses from.
    pub buckets: Vec<Bucket>,
}

/// How a select group hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// `hash` or `dp_hash`.
    pub method: String,
    /// The method's own number.
    pub param: u64,
    /// What is hashed: fields and, where not all bits count, their mask.
    pub fields: BTreeMap<Field, u128>,
}

/// One of a group's choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its number, from OpenFlow 1.5 on.
    pub id: Option<u32>,
    /// Its share in a select group.
    pub weight: u16,
    /// The port that keeps it alive in a fast-failover group.
    pub watch_port: Option<OfPort>,
    /// The group that keeps it alive in a fast-failover group.
    pub watch_group: Option<GroupId>,
    /// What it does.
    pub actions: Vec<Action>,
}

/// What a meter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterUnit {
    /// Kilobits per second; the burst is in kilobits.
    Kbps,
    /// Packets per second; the burst is in packets.
    Pktps,
}

/// An OpenFlow meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Its number.
    pub id: MeterId,
    /// What it counts.
    pub unit: MeterUnit,
    /// Whether the bands' burst sizes count.
    pub burst: bool,
    /// Whether it keeps counters.
    pub stats: bool,
    /// What happens above which rate.
    pub bands: Vec<Band>,
}

/// One limit of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// What happens above the rate.
    pub kind: BandKind,
    /// In the meter's unit.
    pub rate: u32,
    /// In the meter's unit; the rate, where the meter counts no bursts.
    pub burst_size: u32,
}

/// What a meter's band does to packets above its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandKind {
    /// They are dropped.
    Drop,
    /// Their drop precedence goes up by so much.
    DscpRemark {
        /// By how much.
        precedence: u8,
    },
    /// Something this program does not know.
    Unsupported(u16),
}

/// The Geneve option that a `tun_metadata` field stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelOption {
    /// The option's class.
    pub class: u16,
    /// The option's type.
    pub kind: u8,
    /// Bytes of its value.
    pub length: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(table: u8, priority: u16) -> Rule {
        Rule { table: TableId(table), priority: OfPriority(priority), ..Rule::default() }
    }

    #[test]
    fn a_table_starts_with_its_highest_priority() {
        let rules: BridgeRules = [rule(1, 5), rule(0, 1), rule(1, 9)].into_iter().collect();
        let order: Vec<u16> = rules.table(TableId(1)).map(|rule| rule.priority.0).collect();
        assert_eq!(order, [9, 5]);
    }

    #[test]
    fn the_same_match_and_priority_is_the_same_rule() {
        let mut rules = BridgeRules::default();
        rules.upsert(rule(0, 7));
        rules.upsert(Rule { cookie: Cookie(1), ..rule(0, 7) });
        assert_eq!(rules.rules.len(), 1);
    }
}
