//! The rules of one compilation by number, so that every later form can say whose it is.

use std::fmt;

use crate::openflow::{BridgeName, Group, GroupId, Rule, RuleKey, Ruleset, TableId};

/// The number of a rule in one compilation: its place in the order of bridge, table, priority and match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub usize);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.0)
    }
}

/// All rules of a compilation, by number.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    ruleset: &'a Ruleset,
    by_number: Vec<(&'a BridgeName, &'a Rule)>,
}

impl<'a> Rules<'a> {
    /// Numbers the rules.
    pub fn of(ruleset: &'a Ruleset) -> Rules<'a> {
        let bridges = ruleset.bridges.iter();
        let by_number = bridges
            .flat_map(|(name, bridge)| bridge.rules.values().map(move |rule| (name, rule)))
            .collect();
        Rules { ruleset, by_number }
    }

    /// Every rule with its number and bridge.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &'a BridgeName, &'a Rule)> {
        self.by_number.iter().enumerate().map(|(at, (bridge, rule))| (RuleId(at), *bridge, *rule))
    }

    /// The rules of one table.
    pub fn of_table(&self, bridge: &BridgeName, table: TableId) -> impl Iterator<Item = &'a Rule> {
        self.ruleset.bridges.get(bridge).into_iter().flat_map(move |rules| rules.table(table))
    }

    /// A group.
    pub fn group(&self, bridge: &BridgeName, id: GroupId) -> Option<&'a Group> {
        self.ruleset.bridges.get(bridge)?.groups.get(&id)
    }

    /// The number that the filters of a rule carry.
    pub fn cookie(&self, id: RuleId) -> u64 {
        self.by_number.get(id.0).map_or(0, |(bridge, rule)| fingerprint(bridge, &rule.key()))
    }
}

/// A number for a rule that is the same in every run, on every machine: 64-bit FNV-1a over its name.
pub fn fingerprint(bridge: &BridgeName, key: &RuleKey) -> u64 {
    let name = format!("{bridge} {} {} {}", key.table, key.priority.0, key.match_);
    fnv1a(name.as_bytes())
}

/// 64-bit FNV-1a (Fowler, Noll, Vo): small, and fixed for ever, which the standard library's hashes are not.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
