//! What the switch says of its rules after the first dump: this one is there now, that one is gone.

use super::number::BridgeName;
use super::ruleset::{BridgeRules, Rule, Ruleset};

/// One change of a bridge's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleUpdate {
    /// The rule is there now, new or changed.
    ///
    /// Whether it is new is not told apart: after a pause OVS reports rules that were never announced as modified.
    Present(Rule),
    /// The rule is gone. It may never have been announced.
    Gone(Rule),
    /// A change that this connection made itself.
    Own {
        /// The request that made it.
        xid: u32,
    },
    /// The switch is too busy; until [`RuleUpdate::Resumed`] only removals are told.
    Paused,
    /// All that changed in the pause has been told.
    Resumed,
}

impl BridgeRules {
    /// Takes a change in; `true` when the rules are not what they were.
    ///
    /// The same rule announced again is no change: controllers that replace all rules every few seconds cause many.
    pub fn apply(&mut self, update: RuleUpdate) -> bool {
        match update {
            RuleUpdate::Present(rule) => {
                let old = self.rules.insert(rule.key(), rule.clone());
                old.as_ref() != Some(&rule)
            }
            RuleUpdate::Gone(rule) => self.rules.remove(&rule.key()).is_some(),
            RuleUpdate::Own { .. } | RuleUpdate::Paused | RuleUpdate::Resumed => false,
        }
    }

    /// Takes changes in, in their order; `true` when the rules are not what they were.
    pub fn apply_all(&mut self, updates: impl IntoIterator<Item = RuleUpdate>) -> bool {
        let mut changed = false;
        for update in updates {
            changed |= self.apply(update);
        }
        changed
    }
}

impl Ruleset {
    /// Takes a change of one bridge in; `true` when the rules are not what they were.
    pub fn apply(&mut self, bridge: &BridgeName, update: RuleUpdate) -> bool {
        self.bridges.entry(bridge.clone()).or_default().apply(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn updated(updates: Vec<RuleUpdate>) -> (Vec<bool>, Vec<String>) {
        let mut rules = BridgeRules::default();
        let changed = updates.into_iter().map(|update| rules.apply(update)).collect();
        (changed, rules.rules.values().map(Rule::to_string).collect())
    }

    #[test]
    fn a_rule_with_new_actions_takes_the_place_of_the_old_one() {
        let (changed, left) = updated(vec![
            RuleUpdate::Present(rule("priority=1,ip,actions=drop")),
            RuleUpdate::Present(rule("priority=1,ip,actions=output:2")),
        ]);
        assert_eq!(changed, [true, true]);
        assert_eq!(left, ["priority=1,ip actions=output:2"]);
    }

    #[test]
    fn the_same_rule_again_and_the_end_of_an_unknown_one_change_nothing() {
        let (changed, _) = updated(vec![
            RuleUpdate::Present(rule("ip,actions=drop")),
            RuleUpdate::Present(rule("ip,actions=drop")),
            RuleUpdate::Gone(rule("arp,actions=drop")),
            RuleUpdate::Paused,
        ]);
        assert_eq!(changed, [true, false, false, false]);
    }
}
